# pipe.bash - what pipe and fault tests share: the demo's pictures encoded once, and a short training run.
ROOT=$BATS_TEST_DIRNAME/../..
BIN=${BIN:-$ROOT/build/gcc/bin}
MODEL=$ROOT/demo/tiny-sdxl
PREP=(--resolution 64 --min-bucket-reso 48 --max-bucket-reso 80 --bucket-reso-steps 16)
export OMP_WAIT_POLICY=passive

# encode OUT: all the demo's pictures, regularisation too
encode() {
	"$BIN/lora-prep" -q "${PREP[@]}" "$ROOT/demo/train" --reg "$ROOT/demo/reg" | "$BIN/lora-encode" -q -m "$MODEL" -o "$1"
}

# train STEPS FOLDER [options]: rank 4, batch 2, UNet only unless told otherwise
train() {
	local steps=$1 out=$2; shift 2
	"$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --network-train-unet-only --train-batch-size 2 --learning-rate 1e-3 \
		--lr-scheduler cosine --lr-warmup-steps 2 --max-train-steps "$steps" --output-dir "$out" --output-name t --save-state "$@" "$LATENTS"
}

sum() { sha256sum "$@" | cut -d' ' -f1; }
