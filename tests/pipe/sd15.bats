#!/usr/bin/env bats
# Stable Diffusion 1.5 through the whole pipe: text encoded beforehand and trained, clip skip, merging, planning,
# resuming.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	sd15
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar IMAGES=$BATS_FILE_TMPDIR/images.tar
	mkdir "$BATS_FILE_TMPDIR/four"
	cp "$ROOT"/demo/train/*/gizmo0[0-3].* "$BATS_FILE_TMPDIR/four"
	"$BIN/lora-prep" -q --resolution 64 --min-bucket-reso 32 --max-bucket-reso 96 --bucket-reso-steps 32 \
		"$BATS_FILE_TMPDIR/four" > "$IMAGES"
	"$BIN/lora-encode" -q -m "$MODEL" "$IMAGES" > "$LATENTS"
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	sd15
	O=$BATS_TEST_TMPDIR/o
	cd "$BATS_TEST_TMPDIR" || return 1
}

# Four levels, VAE factor 4: sides are multiples of 32.
sd15() { MODEL=$ROOT/tests/golden/families/sd15/model; }

# text_run OUT [options]: both networks learn, captions are read live
text_run() {
	local out=$1; shift
	"$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --learning-rate 1e-3 --max-train-steps 3 --output-dir "$out" \
		--output-name t "$@" "$LATENTS"
}

says() { "$BIN/lora-inspect" --metadata "$1" | grep -qxF "  $2"; }
keys() { "$BIN/lora-inspect" --keys "$1" | awk '/lora_/ { print $NF }'; }

@test "the UNet's adapter has kohya's names of the family, and says so" {
	train 3 "$O" > /dev/null
	f=$O/t.safetensors
	[ "$(keys "$f" | grep -c 'lora_down.weight$')" = 192 ]
	keys "$f" | grep -qx 'lora_unet_mid_block_attentions_0_proj_in.lora_down.weight'
	"$BIN/lora-inspect" --keys "$f" | grep -q '\[4,8,1,1\] *lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight'
	for line in 'ss_base_model_version = sd_v1' 'ss_v2 = False' 'ss_clip_skip = None' \
		'modelspec.architecture = stable-diffusion-v1/lora' 'modelspec.implementation = diffusers'; do
		says "$f" "$line"
	done
	"$BIN/lora-inspect" --verify "$f" > "$BATS_TEST_TMPDIR/says"
	grep -q 'modules *192: UNet 192, text encoder 1 0$' "$BATS_TEST_TMPDIR/says"
	[ "$("$BIN/lora-inspect" --json "$f" | jq -c '.modules | keys')" = '["other","te1","total","unet"]' ]
}

@test "with convolutions 278 modules; with text 24 more, of lora_te_" {
	train 2 "$O/conv" --conv-dim 2 --conv-alpha 1 > /dev/null
	[ "$(keys "$O/conv/t.safetensors" | grep -c 'lora_down.weight$')" = 278 ]
	text_run "$O/text" > /dev/null
	[ "$(keys "$O/text/t.safetensors" | grep -c '^lora_te_text_model_encoder_layers_.*lora_down.weight$')" = 24 ]
	[ "$(keys "$O/text/t.safetensors" | grep -c 'lora_te[12]_')" = 0 ]
	text_run "$O/logged" --log "$O/log" > /dev/null
	[ "$(jq -c 'select(.event == "step") | .update_norm | has("TE1")' "$O/log" | sort -u)" = true ]
}

@test "25 blocks: ranks and learning rates as sd-scripts counts them for the family" {
	train 2 "$O" --block-dims 0,2,2,2,2,2,2,2,2,2,2,2,8,3,3,3,3,3,3,3,3,3,3,3,3 --down-lr-weight linear > /dev/null
	"$BIN/lora-inspect" --keys "$O/t.safetensors" > "$O/keys"
	grep -q '\[8,16,1,1\] *lora_unet_mid_block_attentions_0_proj_in.lora_down.weight' "$O/keys"
	grep -q '\[3,8,1,1\] *lora_unet_up_blocks_3_attentions_2_proj_in.lora_down.weight' "$O/keys"
	grep -q '\[2,8,1,1\] *lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight' "$O/keys"
	status_of 2 train 2 "$O/b" --block-dims 0,2,2,2,2,2,2,2,2,2,8,8,8,3,3,3,3,3,3,3,3,3,0
	[[ "$output" == *"block_dims: 23 numbers, Stable Diffusion 1.5's UNet has 25 blocks"* ]]
}

@test "a run gives the same bytes again, and when it is resumed" {
	train 4 "$O/a" > /dev/null
	train 4 "$O/b" > /dev/null
	cmp "$O/a/t.safetensors" "$O/b/t.safetensors"
	train 4 "$O/c" --save-every-n-steps 2 > /dev/null
	rm "$O/c/t.safetensors" "$O"/c/t-step00000004*
	train 4 "$O/c" --resume auto > /dev/null
	cmp "$O/a/t.safetensors" "$O/c/t.safetensors"
}

@test "clip_skip: latents say which state was read, and a run that reads another refuses them" {
	"$BIN/lora-encode" -q -m "$MODEL" --clip-skip 2 "$IMAGES" > "$BATS_TEST_TMPDIR/two.tar"
	"$BIN/lora-encode" -q -m "$MODEL" --clip-skip 1 "$IMAGES" > "$BATS_TEST_TMPDIR/one.tar"
	cmp "$BATS_TEST_TMPDIR/one.tar" "$LATENTS"
	differ "$BATS_TEST_TMPDIR/two.tar" "$LATENTS"
	status_of 2 train 2 "$O" --clip-skip 2
	[[ "$output" == *"encoded with clip_skip none, and this run has 2"* ]]
	LATENTS=$BATS_TEST_TMPDIR/two.tar
	status_of 2 train 2 "$O"
	[[ "$output" == *"encoded with clip_skip 2, and this run has none"* ]]
	train 2 "$O" --clip-skip 2 > /dev/null
	says "$O/t.safetensors" 'ss_clip_skip = 2'
	says "$O/t.safetensors" 'modelspec.encoder_layer = 2'
	status_of 2 "$BIN/lora-encode" -m "$MODEL" --clip-skip 9 "$IMAGES"
	[[ "$output" == *"clip skip 9; with this model's text encoders it is from 1 (Stable Diffusion 1.5's own) to 5"* ]]
}

@test "clip_skip 2 leaves the last text layer's adapter alone, without it that layer learns" {
	up=lora_te_text_model_encoder_layers_3_mlp_fc2.lora_up.weight
	text_run "$O/whole" > /dev/null
	text_run "$O/skips" --clip-skip 2 > /dev/null
	zero_up() { perl -e '
		open F, "<:raw", shift; read F, $n, 8; $n = unpack "Q<", $n; read F, $h, $n; local $/; $d = <F>;
		$h =~ /"\Q$ARGV[0]\E":\{[^}]*"data_offsets":\[(\d+),(\d+)\]/ or die; exit substr($d, $1, $2 - $1) =~ /[^\0]/ ? 1 : 0' "$1" "$up"; }
	zero_up "$O/skips/t.safetensors"
	run -1 zero_up "$O/whole/t.safetensors"
}

@test "pictures: every sampler; one of clip skip 2 is another and says so; those on the way say it too" {
	paint() { "$BIN/lora-sample" -q -m "$MODEL" -p "a gizmo" -W 64 -H 32 --steps 3 -o "$BATS_TEST_TMPDIR/$1.png" "${@:2}" > /dev/null; }
	for s in euler euler_a ddim dpm++2m heun lms pndm; do paint $s --sampler $s; done
	[ "$(cat "$BATS_TEST_TMPDIR"/*.png | strings | grep -c 'Clip skip')" = 0 ]
	paint two --clip-skip 2
	strings -n 6 "$BATS_TEST_TMPDIR/two.png" | grep -q 'Clip skip: 2, RNG'
	paint one --clip-skip 1
	cmp "$BATS_TEST_TMPDIR/one.png" "$BATS_TEST_TMPDIR/euler.png"
	echo "a gizmo" > "$BATS_TEST_TMPDIR/p.txt"
	text_run "$O" --clip-skip 2 --sample-prompts "$BATS_TEST_TMPDIR/p.txt" --sample-every-n-steps 3 > /dev/null
	strings -n 6 "$O"/sample/*.png | grep -q 'Clip skip: 2, RNG'
	status_of 2 "$BIN/lora-sample" -m "$MODEL" -p x -W 48 -H 32 -o "$BATS_TEST_TMPDIR/x.png"
	[[ "$output" == *"48x32 is no multiple of 32"* ]]
}

@test "a merged model paints what the model with its adapter paints" {
	text_run "$O" > /dev/null
	paint() { "$BIN/lora-sample" -q -p "a gizmo" -W 64 -H 32 --steps 3 --cfg 3 --save-latents "$1" -o "$1.png" "${@:2}" > /dev/null; }
	"$BIN/lora-merge" -q into -m "$MODEL" --lora "$O/t.safetensors" -o "$O/merged"
	[ ! -e "$O/merged/text_encoder_2" ]
	paint "$O/a" -m "$MODEL" -l "$O/t.safetensors"
	paint "$O/b" -m "$O/merged"
	paint "$O/c" -m "$MODEL"
	# F16 weights: the merged one's are rounded once more, by 5e-4 of each
	far() { perl -e 'for (@ARGV) {
			open F, "<:raw", $_; read F, $n, 8; read F, $h, unpack "Q<", $n;
			local $/; push @x, [unpack "f<*", <F>]
		}
		for (0 .. $#{$x[0]}) { $d += ($x[0][$_] - $x[1][$_]) ** 2; $s += $x[0][$_] ** 2 }
		printf "%d\n", 1e4 * sqrt($d / $s)' "$@"; }
	[ "$(far "$O/a" "$O/b")" -lt 50 ]
	[ "$(far "$O/a" "$O/c")" -gt "$((2 * $(far "$O/a" "$O/b")))" ]
	"$BIN/lora-inspect" "$O/merged" | grep -q 'diffusers folder, Stable Diffusion 1.5'
}

@test "--plan, --check and --dry-run know the family" {
	"$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --plan "$LATENTS" | grep -q '^text encoders, frozen'
	"$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --check "$LATENTS" | grep -q '^216 modules'
	"$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --network-train-unet-only --plan --resolution 64 --min-bucket-reso 32 \
		--max-bucket-reso 96 --bucket-reso-steps 32 | grep -q '^UNet, frozen'
	"$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --plan > "$BATS_TEST_TMPDIR/plan"
	grep -q ' of 512x512 ' "$BATS_TEST_TMPDIR/plan"
	[ "$(grep -c ' of 1024x1024 ' "$BATS_TEST_TMPDIR/plan")" = 0 ]
}

@test "lora-launch: a configuration with clip_skip, from pictures to the adapter" {
	mkdir -p "$O/train/2_gizmo"
	cp "$BATS_FILE_TMPDIR"/four/* "$O/train/2_gizmo"
	cat > "$O/c.toml" <<-END
	pretrained_model_name_or_path = "$MODEL"
	train_data_dir = "$O/train"
	resolution = "64,64"
	min_bucket_reso = 32
	max_bucket_reso = 96
	bucket_reso_steps = 32
	clip_skip = 2
	network_dim = 4
	network_alpha = 4
	max_train_steps = 3
	network_train_unet_only = true
	output_dir = "$O"
	output_name = "r"
	END
	"$ROOT/pipelines/lora-launch" --config_file "$O/c.toml" > /dev/null
	says "$O/r.safetensors" 'ss_clip_skip = 2'
	# the resolution is the model's own where none is said
	sed -i '/resolution\|bucket_reso/d' "$O/c.toml"
	"$ROOT/pipelines/lora-launch" --config_file "$O/c.toml" --plan > "$BATS_TEST_TMPDIR/plan"
	grep -q ' of 512x512 ' "$BATS_TEST_TMPDIR/plan"
}

@test "lora-sample: the size is the model's own where nothing says another, in a stream too" {
	status_of 2 "$BIN/lora-sample" -m "$MODEL" -p x -W 48 -o "$BATS_TEST_TMPDIR/x.png"
	[[ "$output" == *"48x512 is no multiple of 32"* ]]
	status_of 2 "$BIN/lora-sample" -m "$MODEL" -p x -H 48 -W 0 -o "$BATS_TEST_TMPDIR/x.png"
	[[ "$output" == *"512x48 is no multiple of 32"* ]]
	run -2 --separate-stderr "$BIN/lora-sample" -m "$MODEL" --prompts - -o "$BATS_TEST_TMPDIR" <<< "x --w 48"
	[[ "$stderr" == *"48x512 is no multiple of 32"* ]]
	status_of 2 "$BIN/lora-sample" -m "$ROOT/demo/tiny-sdxl" -p x -W 40 -o "$BATS_TEST_TMPDIR/x.png"
	[[ "$output" == *"40x1024 is no multiple of"* ]]
}

@test "lora-prep: the resolution is that of the model named, where none is said" {
	largest() { "$BIN/lora-prep" -q "$BATS_FILE_TMPDIR/four" --scan "$@" | jq -s 'map(select(.event == "bucket") | .size[0] * .size[1]) | max'; }
	[ "$(largest -m "$MODEL")" = $((512 * 512)) ]
	[ "$(largest -m "$MODEL" --resolution 256)" = $((256 * 256)) ]
	[ "$(largest -m "$ROOT/demo/tiny-sdxl")" = "$(largest)" ]
	[ "$(largest)" = $((1024 * 1024)) ]
	status_of 3 "$BIN/lora-prep" -m nowhere.safetensors "$BATS_FILE_TMPDIR/four"
	status_of 2 "$BIN/lora-prep" --tokenizer x "$BATS_FILE_TMPDIR/four"
	[[ "$output" == *"--tokenizer counts tokens for --lint only"* ]]
}

@test "latents of one family are none of another's" {
	status_of 3 "$BIN/lora-train" -m "$ROOT/demo/tiny-sdxl" --network-dim 4 --network-train-unet-only "$LATENTS"
	[[ "$output" == *"encoded for Stable Diffusion 1.5, the model is SDXL"* ]]
}

@test "lora-inspect: the folder, the latents and their parts" {
	"$BIN/lora-inspect" "$MODEL" > "$BATS_TEST_TMPDIR/says"
	grep -q ': a checkpoint, diffusers folder, Stable Diffusion 1.5$' "$BATS_TEST_TMPDIR/says"
	lacks "$BATS_TEST_TMPDIR/says" 'text enc. 2'
	"$BIN/lora-inspect" "$LATENTS" | grep -q 'text *encoded'
}
