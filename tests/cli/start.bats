#!/usr/bin/env bats
# What all six programs do alike: --help, --version, a usage error at once.

setup() {
	ROOT=$BATS_TEST_DIRNAME/../..
	BIN=${BIN:-$ROOT/build/gcc/bin}
	case $BIN in /*) ;; *) BIN=$ROOT/$BIN ;; esac
	cd "$BATS_TEST_TMPDIR" || return 1
}

tools="prep encode train sample merge inspect"

@test "--help and --version: standard output, status 0" {
	for t in $tools; do
		"$BIN/lora-$t" --help > help 2> err
		[ ! -s err ] && grep -q "lora-$t" help && [ "$(wc -l < help)" -le 24 ] || {
			echo "lora-$t"
			cat err help; return 1
		}
		"$BIN/lora-$t" --help=all > all
		[ "$(wc -l < all)" -ge "$(wc -l < help)" ]
		[ "$("$BIN/lora-$t" --version | wc -l)" = 1 ]
	done
}

@test "an unknown option: status 2, one line on standard error, nothing on standard output" {
	for t in $tools; do
		status=0; "$BIN/lora-$t" --nonesuch > out 2> err || status=$?
		[ $status = 2 ] && [ ! -s out ] && [ "$(wc -l < err)" = 1 ] && grep -q -- --nonesuch err ||
			{ echo "lora-$t: $status"; cat out err; return 1; }
	done
}

@test "a program's name may be of any length: its message keeps its end" {
	for n in 200 990 4000 5000 100000; do
		status=0; (exec -a "$(printf "%${n}s" | tr ' ' x)" "$BIN/lora-prep" --nonesuch) 2> err || status=$?
		[ $status = 2 ] && grep -q -- '--nonesuch' err && [ "$(wc -l < err)" = 1 ] &&
			[ "$(wc -c < err)" -lt 4100 ] ||
			{ echo "$n: $status"; head -c 300 err; return 1; }
	done
}

# best COMMAND...: the shortest of 20 runs, in microseconds
best() {
	local i begin end least=999999999
	for i in $(seq 20); do
		begin=${EPOCHREALTIME/[.,]/}
		"$@" > /dev/null 2>&1 || true
		end=${EPOCHREALTIME/[.,]/}
		[ $((end - begin)) -ge $least ] || least=$((end - begin))
	done
	echo $least
}

# prompt NAME COMMAND...: a loaded machine gets five chances
prompt() {
	local i least name=$1; shift
	for i in 1 2 3 4 5; do
		least=$(best "$@")
		[ "$least" -gt 25000 ] || break
	done
	echo "# $name: $((least / 1000)).$((least / 100 % 10)) ms" >&3
	[ "$least" -le 25000 ]
}

@test "what only some runs need is not loaded at the start: libarchive with libxml2 and ICU, libheif, Pango" {
	for t in $tools; do
		strace -f -e trace=openat -o trace "$BIN/lora-$t" --help > help
		! grep -E 'libarchive|libxml2|libicu|libheif|libpango|libcairo' trace || return 1
		[ "$(grep -c 'openat.*\.so.* = [0-9]' trace)" -le 12 ] || { cat trace; return 1; }
	done
}

@test "libarchive that is not there: said with what to install, when a tar comes" {
	file=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p | awk '/libarchive\.so\.13 / { print $NF; exit }')
	file=${file#/usr}
	gone() {
		status=0
		strace -f -qq -o trace -e trace=openat -e inject=openat:error=ENOENT -P "$file" -P "/usr$file" "$@" \
			> out 2> err || status=$?
	}
	gone "$BIN/lora-prep" --help
	[ $status = 0 ]
	for t in "lora-prep -q $ROOT/demo/train -o i.tar" "lora-encode -q -m $ROOT/demo/tiny-sdxl i.tar -o l.tar"; do
		: > i.tar
		# shellcheck disable=SC2086
		gone "$BIN"/$t
		[ $status = 1 ] && grep -q 'libarchive.so.13, which is not installed; install libarchive13' err ||
			{ echo "$t: $status"; cat err; return 1; }
		[ ! -e l.tar ]
	done
}

@test "--help, --version and a usage error take 3 ms on an idle machine; here at most 25" {
	for t in $tools; do
		prompt "lora-$t --help" "$BIN/lora-$t" --help
		prompt "lora-$t --version" "$BIN/lora-$t" --version
		prompt "lora-$t, a usage error" "$BIN/lora-$t" --nonesuch
	done
}

@test "--threads: in every tool, from 1 to 1024; it comes before OMP_NUM_THREADS" {
	for t in $tools; do
		for n in 0 -1 1025 many ''; do
			status=0; "$BIN/lora-$t" --threads "$n" > out 2> err || status=$?
			[ $status = 2 ] && grep -q 'threads: .*a whole number from 1 to 1024' err ||
				{ echo "lora-$t --threads '$n': $status"; cat err; return 1; }
		done
		"$BIN/lora-$t" --threads=1024 --version > out
		"$BIN/lora-$t" --help=all | grep -q -- '--threads N'
	done
	load ../pipe/pipe.bash
	cp -r "$ROOT/demo/train" pictures
	"$BIN/lora-prep" -q "${PREP[@]}" pictures > images.tar
	for n in 1 3; do
		OMP_NUM_THREADS=2 strace -f -e trace=clone,clone3 -o trace "$BIN/lora-encode" -q --threads $n \
			-m "$MODEL" images.tar -o $n.tar
		[ "$(grep -c 'clone.* = [0-9]' trace)" = $((n - 1)) ]
	done
	cmp 1.tar 3.tar
	for n in 3 ' 3' 3,2; do
		OMP_NUM_THREADS=$n strace -f -e trace=clone,clone3 -o trace "$BIN/lora-encode" -q -m "$MODEL" \
			images.tar -o list.tar 2> err
		[ "$(grep -c 'clone.* = [0-9]' trace)" = 2 ] && [ ! -s err ] || {
			echo "OMP_NUM_THREADS=$n"
			cat err; return 1
		}
	done
	for n in 0 -1 many 3x 1.5; do
		OMP_NUM_THREADS=$n "$BIN/lora-encode" -q -m "$MODEL" images.tar -o list.tar 2> err
		[ "$(cat err)" = "lora-encode: warning: OMP_NUM_THREADS is '$n', no whole number from 1; every processor computes" ] || { cat err; return 1; }
		cmp 1.tar list.tar
	done
	OMP_NUM_THREADS=1 strace -f -e trace=clone,clone3 -o trace "$BIN/lora-prep" -q --threads 4 "${PREP[@]}" \
		pictures > four.tar
	[ "$(grep -c 'clone.* = [0-9]' trace)" = 4 ]
	cmp images.tar four.tar
}
