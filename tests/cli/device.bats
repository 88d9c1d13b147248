#!/usr/bin/env bats
# --device: what is there, and what is said where it is not.

setup() {
	ROOT=$BATS_TEST_DIRNAME/../..
	BIN=${BIN:-$ROOT/build/gcc/bin}
	case $BIN in /*) ;; *) BIN=$ROOT/$BIN ;; esac
	cd "$BATS_TEST_TMPDIR" || return 1
	MODEL=$ROOT/demo/tiny-sdxl
}

# sample DEVICE: a picture; status, output and errors in files
sample() {
	status=0; "$BIN/lora-sample" -m "$MODEL" -W 32 -H 32 --steps 1 -p robot --device "$1" -o a.png > out \
		2> err || status=$?
}

one_line() { [ "$(wc -l < err)" = 1 ] || { cat err; return 1; }; }

@test "a device that does not exist: status 2, the names of those that do" {
	sample gpu
	[ $status = 2 ] && one_line && grep -q "cpu or cuda" err
	[ ! -e a.png ]
}

@test "cuda without its shared object: status 5, one line that names the file" {
	export LORA_CUDA=$PWD/nowhere.so
	sample cuda
	[ $status = 5 ] && one_line && grep -q "$PWD/nowhere.so" err && grep -q -- "--device cpu" err
	[ ! -e a.png ]
}

@test "a shared object of another kind: status 5, one line" {
	echo "int nothing;" | gcc -shared -x c -o other.so -
	export LORA_CUDA=$PWD/other.so
	sample cuda
	[ $status = 5 ] && one_line && grep -q "another version" err
}
