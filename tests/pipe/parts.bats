#!/usr/bin/env bats
# A part of the model that a program does not use is not demanded; one that it uses is named, with the option that gives
# another.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar TINY=$ROOT/tests/golden/tiny-a/model BARE=$BATS_FILE_TMPDIR/bare
	MODEL=$TINY few_latents "$LATENTS"
	cp -r "$TINY" "$BARE" && chmod -R u+w "$BARE"
	rm -r "$BARE/vae" "$BARE/text_encoder" "$BARE/text_encoder_2"
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
}

unet_only() { "$BIN/lora-train" -m "$1" --network-train-unet-only -r 2 --learning-rate 1e-2 --max-train-steps 2 \
	--output-name a "${@:2}" "$LATENTS"; }

@test "latents with text outputs: the UNet alone trains, to the same weights" {
	unet_only "$TINY" -q -o whole > /dev/null
	unet_only "$BARE" -o bare > /dev/null 2> err
	cmp <("$BIN/lora-inspect" whole/a.safetensors | grep hash) <("$BIN/lora-inspect" bare/a.safetensors | grep hash)
	grep -q "the scaling factor of SDXL's own VAE is taken" err
	unet_only "$BARE" --check > /dev/null
	"$BIN/lora-merge" into -q -m "$BARE" --lora bare/a.safetensors -o merged --report /dev/null
	"$BIN/lora-merge" into -q -m "$TINY" --lora bare/a.safetensors -o merged-whole --report /dev/null
	cmp merged/unet/diffusion_pytorch_model.safetensors merged-whole/unet/diffusion_pytorch_model.safetensors
	[ ! -e merged/vae ]
	"$BIN/lora-inspect" "$BARE" | grep -q 'VAE .*none'
}

@test "what is used is demanded before a step: text encoders to train or read captions, all to paint" {
	status_of 3 "$BIN/lora-train" -q -m "$BARE" -r 2 --learning-rate 1e-2 --max-train-steps 2 -o out "$LATENTS"
	[[ "$output" == *"no text_encoder/config.json"* ]]
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" | "$BIN/lora-encode" -q -m "$TINY" \
		--no-text -o untold.tar
	LATENTS=untold.tar status_of 3 unet_only "$BARE" -q -o out
	[[ "$output" == *"no model.safetensors"* || "$output" == *"text_encoder"* ]]
	echo x > prompts.txt
	status_of 3 unet_only "$BARE" -q -o out --sample-prompts prompts.txt --sample-every-n-steps 1
	rm -r "$BATS_TEST_TMPDIR/out"
	status_of 3 "$BIN/lora-sample" -q -m "$BARE" -p x
	cp -r "$TINY" novae && chmod -R u+w novae && rm -r novae/vae
	status_of 3 "$BIN/lora-sample" -q -m novae -p x
	[[ "$output" == *"--vae"* ]]
	"$BIN/lora-sample" -q -m novae --vae "$TINY/vae" -p x -W 32 -H 32 --steps 1 -o a.png
	"$BIN/lora-sample" -q -m "$TINY" -p x -W 32 -H 32 --steps 1 -o b.png
	status_of 3 "$BIN/lora-merge" into -q -m "$BARE" --lora "$ROOT/tests/golden/tiny-a/lora_text.safetensors" -o m
}

@test "encoding needs no UNet's weights, and without text only the VAE" {
	cp -r "$TINY" nounet && chmod -R u+w nounet && rm nounet/unet/*.safetensors
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" > images.tar
	"$BIN/lora-encode" -q -m nounet -o a.tar images.tar
	cmp a.tar "$LATENTS"
	rm -r nounet/text_encoder nounet/text_encoder_2
	"$BIN/lora-encode" -q -m nounet --no-text -o b.tar images.tar
	"$BIN/lora-encode" -q -m "$TINY" --no-text -o c.tar images.tar
	cmp b.tar c.tar
	status_of 3 "$BIN/lora-encode" -q -m nounet -o d.tar images.tar
}

@test "the tutorial's snapshot_download(cache_dir=./models): its model and VAE paths as they stand in its configuration" {
	local commit=0123456789abcdef0123456789abcdef01234567 \
		xl=models/models--stabilityai--stable-diffusion-xl-base-1.0
	local vae=models/models--madebyollin--sdxl-vae-fp16-fix
	mkdir -p $xl/{refs,snapshots} $vae/{refs,snapshots/$commit}
	echo $commit | tee $xl/refs/main > $vae/refs/main
	cp -r "$TINY" $xl/snapshots/$commit
	cp "$TINY"/vae/* $vae/snapshots/$commit
	cat > c.toml <<-END
		[model_arguments]
		pretrained_model_name_or_path = "./models/stable-diffusion-xl-base-1.0"
		vae = "./models/sdxl-vae-fp16-fix/diffusion_pytorch_model.safetensors"
	END
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" | "$BIN/lora-encode" -q --config c.toml -o l.tar
	cmp l.tar "$LATENTS"
	"$BIN/lora-train" -q --config c.toml -r 2 --network-train-unet-only --learning-rate 1e-3 --max-train-steps 1 \
		-o out l.tar > /dev/null
	"$BIN/lora-sample" -q --config c.toml -p x -W 32 -H 32 --steps 1 -o a.png > /dev/null
	"$BIN/lora-merge" into -q -m ./models --lora out/last.safetensors -o merged --report /dev/null
	"$BIN/lora-inspect" ./models $xl | grep -c 'diffusers folder, SDXL' | grep -qx 2
	chmod -R u+w models && find $xl -name '*.safetensors' -delete
	status_of 3 "$BIN/lora-sample" -q --config c.toml -p x
	[[ "$output" == *"hf download stabilityai/stable-diffusion-xl-base-1.0 "*unet/diffusion_pytorch_model.fp16.safetensors*"--cache-dir ./models"* ]]
}
