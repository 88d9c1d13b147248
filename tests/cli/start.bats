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

# loads COMMAND...: which shared libraries it opens, a name a line
loads() {
	strace -f -qq -e trace=openat -o trace "$@" > out 2> err || true
	sed -n 's/.*openat(.*\/\([^/]*\.so[^/"]*\)".* = [0-9].*/\1/p' trace | sort -u
}

# lean NAME COMMAND...: nothing of what only some runs need, and nothing that a tar needs: libarchive would bring
# libxml2 and 30 MB of ICU
lean() {
	local name=$1; shift
	loads "$@" > libraries
	! grep -E 'libarchive|libxml2|libicu|libstdc|libheif|libpango|libcairo' libraries &&
		[ "$(wc -l < libraries)" -le 12 ] && [ "$(wc -l < libraries)" -ge 3 ] || { echo "$name"; cat libraries err; return 1; }
}

# streams: one small picture and its latent, in i.tar and l.tar
streams() {
	load ../pipe/pipe.bash
	mkdir -p one
	cp "$ROOT"/demo/train/*/gizmo00.* one
	"$BIN/lora-prep" -q "${PREP[@]}" one -o i.tar
	"$BIN/lora-encode" -q -m "$MODEL" i.tar -o l.tar
}

@test "what only some runs need is not loaded at the start: libheif, Pango; nor what a tar does not need: libxml2, ICU" {
	streams
	for t in $tools; do
		lean "lora-$t" "$BIN/lora-$t" --help
		grep -q "lora-$t" out
	done
	lean "lora-prep writes a tar" "$BIN/lora-prep" -q "${PREP[@]}" one -o out.tar
	cmp i.tar out.tar
	lean "lora-encode from tar to tar" "$BIN/lora-encode" -q -m "$MODEL" i.tar -o out.tar
	cmp l.tar out.tar
	lean "lora-train reads a tar" "$BIN/lora-train" -q -m "$MODEL" --network-dim 1 --network-train-unet-only \
		--max-train-steps 1 --output-dir trained --output-name t l.tar
	[ -s trained/t.safetensors ]
	for tar in i.tar l.tar; do
		lean "lora-inspect $tar" "$BIN/lora-inspect" $tar
		grep -q 'samples  *1$' out
	done
}

@test "--help, --version, a usage error and a tar's summary take 3 ms on an idle machine; here at most 25" {
	streams
	for t in $tools; do
		prompt "lora-$t --help" "$BIN/lora-$t" --help
		prompt "lora-$t --version" "$BIN/lora-$t" --version
		prompt "lora-$t, a usage error" "$BIN/lora-$t" --nonesuch
	done
	prompt "lora-inspect, a tar" "$BIN/lora-inspect" l.tar
	head -c 512 l.tar > cut.tar
	prompt "lora-encode, a cut tar" "$BIN/lora-encode" -q -m "$MODEL" cut.tar -o out.tar
	prompt "lora-train, a cut tar" "$BIN/lora-train" -q -m "$MODEL" --max-train-steps 1 --output-dir out cut.tar
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
	# once, however often threads are counted
	OMP_NUM_THREADS=0 "$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only --network-dim 2 \
		--max-train-steps 2 --output-dir . --output-name t list.tar 2> err > /dev/null
	OMP_NUM_THREADS=0 "$BIN/lora-merge" scale t.safetensors:0.5 -q -o half.safetensors 2>> err
	OMP_NUM_THREADS=0 "$BIN/lora-merge" scale --threads 1 t.safetensors:0.5 -q -o half.safetensors 2>> err
	[ "$(cut -d: -f1-2 err)" = $'lora-train: warning\nlora-merge: warning' ] || { cat err; return 1; }
	OMP_NUM_THREADS=1 strace -f -e trace=clone,clone3 -o trace "$BIN/lora-prep" -q --threads 4 "${PREP[@]}" \
		pictures > four.tar
	[ "$(grep -c 'clone.* = [0-9]' trace)" = 4 ]
	cmp images.tar four.tar
}

@test "a dlsym() that calls calloc(), as glibc's did before 2.34" {
	if grep -q __asan_init "$BIN/lora-prep"; then skip "ASan has a malloc of its own"; fi
	gcc -shared -fPIC -D_GNU_SOURCE -x c -o old.so - <<-'EOF'
		#include <dlfcn.h>
		#include <stdlib.h>
		void *dlsym(void *object, const char *name)
		{
			static void *(*next)(void *, const char *);

			if (!next)
				next = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
			free(calloc(1, 32));
			return next(object, name);
		}
	EOF
	for t in $tools; do
		[ "$(LD_PRELOAD=$PWD/old.so "$BIN/lora-$t" --version)" = "$("$BIN/lora-$t" --version)" ]
	done
}
