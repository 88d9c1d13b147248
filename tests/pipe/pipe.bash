# pipe.bash - what pipe and fault tests share: the demo's pictures encoded once, and a short training run.
ROOT=$BATS_TEST_DIRNAME/../..
BIN=${BIN:-$ROOT/build/gcc/bin}
case $BIN in /*) ;; *) BIN=$PWD/$BIN ;; esac
MODEL=$ROOT/demo/tiny-sdxl
PREP=(--resolution 64 --min-bucket-reso 48 --max-bucket-reso 80 --bucket-reso-steps 16)
export OMP_WAIT_POLICY=passive

# prepare: all the demo's pictures, regularisation too, to standard output
prepare() { "$BIN/lora-prep" -q "${PREP[@]}" "$ROOT/demo/train" --reg "$ROOT/demo/reg"; }

# encode OUT [options]
encode() {
	local out=$1; shift
	prepare | "$BIN/lora-encode" -q -m "$MODEL" -o "$out" "$@"
}

# few_latents OUT: four pictures, for runs that are about files and not about training
few_latents() {
	mkdir -p "$BATS_FILE_TMPDIR/four"
	cp "$ROOT"/demo/train/*/gizmo0[0-3].* "$BATS_FILE_TMPDIR/four"
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" | "$BIN/lora-encode" -q -m "$MODEL" -o "$1"
}

# train STEPS FOLDER [options]: rank 4, batch 2, UNet only unless told otherwise.  train_exec replaces the shell, so
# that in `train_exec ... & kill $!` the signal reaches the program and not a subshell, whose orphan would keep the
# lock.  UNDER=(strace ...) is put before it.
train_exec() {
	local steps=$1 out=$2; shift 2
	exec "${UNDER[@]}" "$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --network-train-unet-only \
		--train-batch-size 2 --learning-rate 1e-3 \
		--lr-scheduler cosine --lr-warmup-steps 2 --max-train-steps "$steps" --output-dir "$out" \
		--output-name t --save-state "$@" "$LATENTS"
}
train() { (train_exec "$@"); }

sum() { sha256sum "$@" | cut -d' ' -f1; }

# status_of STATUS COMMAND...: standard error (and output) in $output; says what came when the status is another
status_of() {
	local want=$1; shift
	run "$@"
	[ "$status" -eq "$want" ] || { echo "status $status, not $want: $output"; return 1; }
}

# wait_for SECONDS COMMAND...: polls until the command holds
wait_for() {
	local tries=$(($1 * 50)); shift
	until "$@" 2> /dev/null; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || { echo "never came: $*"; return 1; }
		sleep 0.02
	done
}

# temporaries FOLDER...: what an unfinished writer leaves behind
temporaries() { find "$@" -name '.*.tmp'; }

# all_sound FOLDER: every file under its final name verifies
all_sound() {
	local f
	for f in "$1"/*.safetensors; do
		[ ! -e "$f" ] || "$BIN/lora-inspect" --verify "$f" > /dev/null || { echo "$f is damaged"; return 1; }
	done
}

# differ A B: a plain `! cmp` in the middle of a test fails nothing
differ() { ! cmp -s "$1" "$2"; }

# lacks FILE PATTERN: no line matches
lacks() { ! grep -qE "$2" "$1"; }
