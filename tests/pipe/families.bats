#!/usr/bin/env bats
# SDXL inpainting and SDXL of rectified flow through the whole pipe: encode, train, resume, sample, merge, inspect.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export IMAGES=$BATS_FILE_TMPDIR/images.tar HOLES=$BATS_FILE_TMPDIR/holes.tar PLAIN=$BATS_FILE_TMPDIR/plain.tar
	mkdir "$BATS_FILE_TMPDIR/four"
	cp "$ROOT"/demo/train/*/gizmo0[0-3].* "$BATS_FILE_TMPDIR/four"
	"$BIN/lora-prep" -q --resolution 64,48 --bucket-reso-steps 16 --min-bucket-reso 32 "$BATS_FILE_TMPDIR/four" > "$IMAGES"
	"$BIN/lora-encode" -q -m "$ROOT/tests/golden/families/sdxl-inpaint/model" --inpaint-masks 3 "$IMAGES" > "$HOLES"
	"$BIN/lora-encode" -q -m "$ROOT/tests/golden/tiny-a/model" "$IMAGES" > "$PLAIN"
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	O=$BATS_TEST_TMPDIR/o
	cd "$BATS_TEST_TMPDIR" || return 1
}

inpaint() { MODEL=$ROOT/tests/golden/families/sdxl-inpaint/model LATENTS=$HOLES; }
flow() { MODEL=$ROOT/tests/golden/tiny-a/model LATENTS=$PLAIN; }

# picture NAME MODEL: what that model paints, for an inpainting model to paint into
picture() { "$BIN/lora-sample" -q -m "$ROOT/demo/tiny-sdxl" -p "$1" -W 64 -H 48 --steps 2 -o "$2" > /dev/null; }

tensors() { tar -xOf "$1" 00000000.latent.safetensors | head -c 1000 | tr -d '\0'; }

@test "encoding for inpainting keeps each picture's holes, the same ones each time" {
	inpaint
	tensors "$HOLES" | grep -q '"hole":{"dtype":"F32","shape":\[3,'
	tensors "$HOLES" | grep -q '"hole.mean"'
	! tensors "$PLAIN" | grep -q hole || false
	"$BIN/lora-encode" -q -m "$MODEL" --inpaint-masks 3 "$IMAGES" | cmp - "$HOLES"
	! "$BIN/lora-encode" -q -m "$MODEL" --inpaint-masks 3 --seed 43 "$IMAGES" | cmp -s - "$HOLES" || false
	"$BIN/lora-encode" -q -m "$MODEL" --inpaint-masks 3 --reuse "$HOLES" "$IMAGES" | cmp - "$HOLES"
}

@test "inpainting: a run that is resumed has the bytes of one that is not" {
	inpaint
	train 4 "$O/whole" > /dev/null
	train 4 "$O/parts" --save-every-n-steps 2 > /dev/null
	rm "$O/parts/t.safetensors"
	train 4 "$O/parts" --resume "$O/parts/t-step00000002-state.safetensors" > /dev/null
	[ "$(sum "$O/whole/t.safetensors")" = "$(sum "$O/parts/t.safetensors")" ]
	"$BIN/lora-inspect" --verify "$O/whole/t.safetensors" > /dev/null
}

@test "inpainting: latents without holes are refused, and so is another model with train_inpainting" {
	inpaint
	LATENTS=$PLAIN status_of 3 train 2 "$O"
	[[ $output == *"no holes were encoded"* ]]
	flow
	status_of 2 train 2 "$O" --train-inpainting
	[[ $output == *"is SDXL, whose UNet has no channels for a mask"* ]]
	LATENTS=$HOLES train 2 "$O" --allow-other-encoders > /dev/null
}

@test "inpainting: the adapter changes what is painted into a picture; merged, it is the same" {
	inpaint
	train 4 "$O" > /dev/null
	picture "a robot" "$O/in.png"
	picture "a mask" "$O/mask.png"
	paint() { "$BIN/lora-sample" -q --image "$O/in.png" --mask "$O/mask.png" -p "a robot" --steps 3 --strength "$@" > /dev/null; }
	paint 1 -m "$MODEL" -o "$O/base.png"
	paint 1 -m "$MODEL" -l "$O/t.safetensors" -o "$O/with.png"
	paint 0.7 -m "$MODEL" -l "$O/t.safetensors" -o "$O/some.png"
	! cmp -s "$O/base.png" "$O/with.png" || false
	! cmp -s "$O/some.png" "$O/with.png" || false
	"$BIN/lora-merge" -q into -m "$MODEL" --lora "$O/t.safetensors" -o "$O/merged"
	paint 1 -m "$O/merged" -o "$O/merged.png"
	! cmp -s "$O/base.png" "$O/merged.png" || false
	"$BIN/lora-inspect" "$O/merged" > /dev/null
}

@test "inpainting: a model without a picture, a picture without a mask, and a picture for another model are refused" {
	inpaint
	mkdir "$O"
	picture "a robot" "$O/in.png"
	status_of 2 "$BIN/lora-sample" -m "$MODEL" -p x -o "$O/x.png"
	[[ $output == *"the model is for inpainting"* ]]
	status_of 2 "$BIN/lora-sample" -m "$MODEL" -p x --image "$O/in.png" -o "$O/x.png"
	[[ $output == *"--image and --mask belong together"* ]]
	flow
	status_of 2 "$BIN/lora-sample" -m "$MODEL" -p x --image "$O/in.png" --mask "$O/in.png" -o "$O/x.png"
	[[ $output == *"for an inpainting model"* ]]
}

@test "a flow: trained, resumed, painted; the adapter says so" {
	flow
	train 4 "$O/whole" --flow-model --timestep-sampling shift --discrete-flow-shift 3 > /dev/null
	train 4 "$O/parts" --flow-model --timestep-sampling shift --discrete-flow-shift 3 --save-every-n-steps 2 > /dev/null
	rm "$O/parts/t.safetensors"
	train 4 "$O/parts" --flow-model --timestep-sampling shift --discrete-flow-shift 3 \
		--resume "$O/parts/t-step00000002-state.safetensors" > /dev/null
	[ "$(sum "$O/whole/t.safetensors")" = "$(sum "$O/parts/t.safetensors")" ]
	"$BIN/lora-inspect" --metadata "$O/whole/t.safetensors" | grep -qxF '  modelspec.prediction_type = flow'
	train 4 "$O/even" --flow-model > /dev/null
	! cmp -s "$O/whole/t.safetensors" "$O/even/t.safetensors" || false
	"$BIN/lora-sample" -q -m "$MODEL" --flow-model -l "$O/whole/t.safetensors" -p "a robot" -W 64 -H 48 --steps 3 \
		-o "$O/a.png" > /dev/null
	"$BIN/lora-sample" -q -m "$MODEL" -l "$O/whole/t.safetensors" -p "a robot" -W 64 -H 48 --steps 3 -o "$O/b.png" > /dev/null
	! cmp -s "$O/a.png" "$O/b.png" || false
}

@test "a flow's scheduler says what --flow-model says" {
	flow
	mkdir "$O"
	cp -r "$MODEL" "$O/model"
	chmod -R u+w "$O/model"
	printf '{"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}' \
		> "$O/model/scheduler/scheduler_config.json"
	"$BIN/lora-sample" -q -m "$O/model" -p "a robot" -W 64 -H 48 --steps 3 -o "$O/a.png" > /dev/null
	"$BIN/lora-sample" -q -m "$MODEL" --flow-model --discrete-flow-shift 3 -p "a robot" -W 64 -H 48 --steps 3 -o "$O/b.png" \
		> /dev/null
	cmp "$O/a.png" "$O/b.png"
}

@test "a flow: what goes by the noise of timesteps is refused by name, and so are other samplers" {
	flow
	for option in '--min-snr-gamma 5' --zero-terminal-snr --debiased-estimation-loss '--min-timestep 5' --v-parameterization; do
		# shellcheck disable=SC2086
		status_of 2 train 2 "$O" --flow-model $option
		[[ $output == *"which a flow has not"* ]]
	done
	status_of 2 "$BIN/lora-sample" -m "$MODEL" --flow-model --sampler ddim -p x -o "$BATS_TEST_TMPDIR/x.png"
	[[ $output == *"'ddim' is not there for a model of rectified flow"* ]]
}
