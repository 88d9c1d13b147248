#!/usr/bin/env bats
# Configurations as people have them: the tutorial's, lora-scripts', the kohya_ss GUI's, dataset configs; and what is
# said of their lines.

setup() {
	ROOT=$BATS_TEST_DIRNAME/../..
	BIN=${BIN:-$ROOT/build/gcc/bin}
	case $BIN in /*) ;; *) BIN=$PWD/$BIN ;; esac
	cd "$BATS_TEST_TMPDIR" || return 1
	ln -s "$ROOT/demo" demo
}

# said STATUS COMMAND...: standard error in $output
said() {
	local want=$1; shift
	run bash -c '"$@" 2>&1 >/dev/null' - "$@"
	[ "$status" -eq "$want" ] || { echo "status $status, not $want: $output"; return 1; }
}

# value TOOL FILE KEY
value() { "$BIN/$1" -q --config "$2" --print-config | sed -n "s/^$3 = //p" | sed 's/  # .*//'; }

tutorial() {
	cat <<-'END'
	# config.toml
	[model_arguments]
	pretrained_model_name_or_path = "./models/stable-diffusion-xl-base-1.0"
	vae = "./models/sdxl-vae-fp16-fix/diffusion_pytorch_model.safetensors"

	[dataset_arguments]
	resolution = 1024
	batch_size = 1
	max_train_steps = 1500
	learning_rate = 1e-4
	lr_scheduler = "cosine_with_restarts"
	lr_warmup_steps = 100

	[training_arguments]
	output_dir = "./output"
	output_name = "my_lora"
	save_precision = "fp16"
	mixed_precision = "fp16"
	gradient_checkpointing = true
	gradient_accumulation_steps = 4

	[lora_arguments]
	network_module = "networks.lora"
	network_dim = 64
	network_alpha = 32
	network_train_unet_only = false
	network_train_text_encoder_only = false

	[optimizer_arguments]
	optimizer_type = "AdamW8bit"
	learning_rate = 1e-4
	max_grad_norm = 1.0

	[sample_arguments]
	sample_every_n_steps = 250
	sample_prompts = "./sample_prompts.txt"
	END
}

@test "the tutorial's file as it stands: every tool reads it, and its values arrive" {
	tutorial > config.toml
	for tool in lora-prep lora-encode lora-train lora-sample; do
		said 0 "$BIN/$tool" --config config.toml --print-config
	done
	[ "$(value lora-train config.toml max_train_steps)" = 1500 ]
	[ "$(value lora-train config.toml train_batch_size)" = 1 ]
	[ "$(value lora-train config.toml network_alpha)" = 32 ]
	[ "$(value lora-train config.toml optimizer_type)" = '"AdamW8bit"' ]
	[ "$(value lora-train config.toml lr_scheduler)" = '"cosine_with_restarts"' ]
	[ "$(value lora-train config.toml sample_every_n_steps)" = 250 ]
	[ "$(value lora-prep config.toml resolution)" = '"1024"' ]
	[ "$(value lora-encode config.toml vae)" = '"./models/sdxl-vae-fp16-fix/diffusion_pytorch_model.safetensors"' ]
}

@test "its traps are told: batch_size, resolution as a number, restarts that never come" {
	tutorial > config.toml
	said 0 "$BIN/lora-train" --config config.toml --print-config
	[[ "$output" == *"config.toml:8: 'batch_size': sd-scripts ignores this key"* ]]
	said 0 "$BIN/lora-prep" --config config.toml --print-config
	[[ "$output" == *"config.toml:7: 'resolution': sd-scripts stops at a number"* ]]
	# learning_rate stands there twice with one value: nothing to say
	[[ "$output" != *learning_rate* ]]
}

@test "a missing path is reported with the line and key that named it" {
	tutorial > config.toml
	said 3 "$BIN/lora-train" --config config.toml x.tar
	[[ "$output" == *"config.toml:3: pretrained_model_name_or_path: ./models/stable-diffusion-xl-base-1.0: "* ]]
	sed -i 's|^pretrained.*|pretrained_model_name_or_path = "demo/tiny-sdxl"|' config.toml
	said 3 "$BIN/lora-encode" --config config.toml -o l.tar
	[[ "$output" == *"config.toml:4: vae: ./models/sdxl-vae-fp16-fix/diffusion_pytorch_model.safetensors: "* ]]
	printf '[dataset]\ntrain_data_dir = "D:\\\\photos\\\\set 1"\nreg_data_dir = ""\n' > windows.toml
	said 3 "$BIN/lora-prep" --config windows.toml
	[[ "$output" == *"windows.toml:2: train_data_dir: D:\\photos\\set 1: "*"Windows"* ]]
	# From the command line there is no line to name.
	said 3 "$BIN/lora-prep" nowhere
	[[ "$output" == "lora-prep: nowhere: "* ]]
}

@test "both presets of the tutorial" {
	for preset in fast-iteration:800:2:2:true:32 high-quality:2000:1:4:false:128; do
		IFS=: read -r name steps batch accumulation unet dim <<< "$preset"
		file=$ROOT/pipelines/$name.toml
		[ "$(value lora-train "$file" max_train_steps)" = "$steps" ]
		[ "$(value lora-train "$file" train_batch_size)" = "$batch" ]
		[ "$(value lora-train "$file" gradient_accumulation_steps)" = "$accumulation" ]
		[ "$(value lora-train "$file" network_train_unet_only)" = "$unet" ]
		[ "$(value lora-train "$file" network_dim)" = "$dim" ]
	done
	[ "$(value lora-train "$file" network_alpha)" = 64 ]
	# Behind the tutorial's file they win.
	tutorial > config.toml
	[ "$("$BIN/lora-train" -q --config config.toml --config "$ROOT/pipelines/fast-iteration.toml" --print-config |
		grep -cE '^(max_train_steps = 800|train_batch_size = 2|network_alpha = 32|network_dim = 32) ')" = 4 ]
}

@test "a file in the manner of lora-scripts: residue, empty texts, PyTorch's own" {
	cat > scripts.toml <<-'END'
	model_train_type = "sdxl-lora"
	pretrained_model_name_or_path = "./sd-models/model.safetensors"
	vae = ""
	train_data_dir = "./train/aki"
	reg_data_dir = ""
	prior_loss_weight = 1
	resolution = "1024,1024"
	enable_bucket = true
	min_bucket_reso = 256
	max_bucket_reso = 1024
	bucket_reso_steps = 64
	output_name = "aki"
	output_dir = "./output"
	save_model_as = "safetensors"
	save_precision = "fp16"
	save_every_n_epochs = 2
	max_train_epochs = 10
	train_batch_size = 1
	gradient_checkpointing = false
	network_train_unet_only = false
	network_train_text_encoder_only = false
	learning_rate = 0.0001
	unet_lr = 0.0001
	text_encoder_lr = 1e-5
	lr_scheduler = "cosine_with_restarts"
	lr_warmup_steps = 0
	lr_scheduler_num_cycles = 1
	lr_restart_cycles = 1
	optimizer_type = "AdamW8bit"
	network_module = "networks.lora"
	network_dim = 32
	network_alpha = 32
	log_with = "tensorboard"
	logging_dir = "./logs"
	caption_extension = ".txt"
	shuffle_caption = false
	keep_tokens = 0
	max_token_length = 75
	seed = 1337
	clip_skip = 2
	mixed_precision = "fp16"
	xformers = true
	lowram = false
	cache_latents = true
	cache_latents_to_disk = true
	persistent_data_loader_workers = true
	optimizer_args = []
	noise_offset = 0
	wandb_api_key = ""
	author = "秋叶"
	version = "0.0.1"
	END
	for tool in lora-prep lora-encode lora-train lora-sample; do
		said 0 "$BIN/$tool" --config scripts.toml --print-config
	done
	said 0 "$BIN/lora-train" --config scripts.toml --print-config
	[ "$(grep -c "model_train_type" <<< "$output")" = 1 ]
	[[ "$output" == *"scripts.toml:42: 'xformers' is ignored"* ]]
	for quiet in lowram wandb_api_key noise_offset clip_skip lr_restart_cycles max_token_length; do
		[[ "$output" != *"$quiet"* ]]
	done
	[ "$(value lora-prep scripts.toml resolution)" = '"1024"' ]
	[ "$(value lora-encode scripts.toml vae)" = '""' ]
	[ "$(value lora-train scripts.toml text_encoder_lr)" = '"1e-5"' ]
}

@test "a file in the manner of the kohya_ss GUI" {
	cat > gui.toml <<-'END'
	bucket_no_upscale = true
	bucket_reso_steps = 64
	cache_latents = true
	caption_extension = ".txt"
	clip_skip = 1
	dynamo_backend = "no"
	enable_bucket = true
	epoch = 10
	gradient_accumulation_steps = 1
	huber_c = 0.1
	huber_schedule = "snr"
	loss_type = "l2"
	lr_scheduler = "cosine"
	lr_scheduler_args = []
	lr_scheduler_num_cycles = 1
	lr_scheduler_power = 1
	lr_warmup_steps = 0.1
	max_bucket_reso = 2048
	max_data_loader_n_workers = 0
	max_grad_norm = 1
	max_timestep = 1000
	max_token_length = 75
	max_train_steps = 1600
	min_bucket_reso = 256
	mixed_precision = "bf16"
	network_alpha = 1
	network_args = []
	network_dim = 8
	network_module = "networks.lora"
	noise_offset_type = "Original"
	optimizer_args = []
	optimizer_type = "AdamW8bit"
	output_dir = 'C:\Users\me\Desktop\lora\output'
	output_name = "last"
	pretrained_model_name_or_path = "stabilityai/stable-diffusion-xl-base-1.0"
	prior_loss_weight = 1
	resolution = "1024,1024"
	sample_prompts = 'C:\Users\me\Desktop\lora\sample\prompt.txt'
	sample_sampler = "euler_a"
	save_every_n_epochs = 1
	save_model_as = "safetensors"
	save_precision = "bf16"
	text_encoder_lr = 0.0001
	train_batch_size = 1
	train_data_dir = 'C:\Users\me\Desktop\lora\img'
	unet_lr = 0.0001
	xformers = true
	END
	for tool in lora-prep lora-encode lora-train lora-sample; do
		said 0 "$BIN/$tool" --config gui.toml --print-config
	done
	[ "$(value lora-train gui.toml lr_warmup_steps)" = '"0.1"' ]
	[ "$(value lora-train gui.toml output_dir)" = '"C:\\Users\\me\\Desktop\\lora\\output"' ]
	said 0 "$BIN/lora-train" --config gui.toml --print-config
	[[ "$output" == *"'epoch' is no key of sd-scripts"*max_train_epochs* ]]
}

@test "what is printed reads back to the same, lists and Windows paths too" {
	cat > all.toml <<-'END'
	output_dir = 'C:\a "b"'
	network_args = ["conv_dim=4", "conv_alpha=2"]
	optimizer_args = ["weight_decay=0.1", "betas=0.9,0.99"]
	keep_tokens_separator = "|||"
	shuffle_caption = true
	caption_dropout_rate = 0.05
	lr_warmup_steps = 0.1
	seed = "18446744073709551615"
	END
	"$BIN/lora-train" -q --config all.toml --print-config > once.toml
	"$BIN/lora-train" -q --config once.toml --print-config | sed 's/  # .*//' > twice.toml
	sed 's/  # .*//' once.toml | diff - twice.toml
	grep -q '^network_args = \["conv_dim=4", "conv_alpha=2"\]  # all.toml:2$' once.toml
	grep -qF 'output_dir = "C:\\a \"b\""  # all.toml:1' once.toml
}

@test "the command line takes kohya's flags, and says what it does not do" {
	said 0 "$BIN/lora-train" --xformers --cache_latents --max_data_loader_n_workers 8 --network_dim 7 --print-config
	[[ "$output" == *"--xformers is ignored: "*"--cache_latents is ignored: "*"--max_data_loader_n_workers is ignored: "* ]]
	[ "$("$BIN/lora-train" -q --xformers --vae_batch_size=4 --network_dim 7 --print-config |
		grep -c '^network_dim = 7 ')" = 1 ]
	said 0 "$BIN/lora-train" --fp8_base_unet --fused_backward_pass --cpu_offload_checkpointing --print-config
	[[ "$output" == *"--fp8_base_unet is ignored: "*"--fused_backward_pass is ignored: "*"--cpu_offload_checkpointing is ignored: "* ]]
	said 2 "$BIN/lora-train" --train_data_dir x
	[[ "$output" == *"--train_data_dir is an option of other programs here"* ]]
	said 2 "$BIN/lora-train" --v2
	said 2 "$BIN/lora-train" --max_data_loader_n_workers
}

@test "other programs' files are named and refused" {
	printf '[general_args.args]\nmax_train_epochs = 1\n' > easy.toml
	printf '[general]\nresolution = [960, 544]\n[[datasets]]\nvideo_directory = "x"\n' > musubi.toml
	printf 'output_dir = "x"\nmicro_batch_size_per_gpu = 1\n[model]\ntype = "sdxl"\n' > pipe.toml
	printf '[[dataset]]\nimage_dir = "x"\n' > old.toml
	said 2 "$BIN/lora-train" --config easy.toml; [[ "$output" == *"easy.toml:1: "*"Easy Training Scripts"* ]]
	said 2 "$BIN/lora-prep" --config musubi.toml; [[ "$output" == *"musubi.toml:4: "*musubi-tuner* ]]
	said 2 "$BIN/lora-encode" --config pipe.toml; [[ "$output" == *"pipe.toml:2: "*diffusion-pipe* ]]
	said 2 "$BIN/lora-prep" --config old.toml; [[ "$output" == *"old.toml:1: "*"early sd-scripts"* ]]
	printf '{"training_method": "LORA", "base_model_name": "x"}' > one.json
	printf 'job: extension\nconfig:\n  process:\n    - type: sd_trainer\n' > ai.yaml
	printf 't5xxl = "x"\ndiscrete_flow_shift = 3.1\n' > flux.toml
	for tool in lora-prep lora-encode lora-train lora-sample; do
		said 2 "$BIN/$tool" --config one.json; [[ "$output" == *OneTrainer* ]]
		said 2 "$BIN/$tool" --config ai.yaml; [[ "$output" == *ai-toolkit* ]]
		said 2 "$BIN/$tool" --config flux.toml; [[ "$output" == *FLUX* ]]
	done
	printf '[{"id": "x", "caption_strategy": "textfile"}]' > backend.json
	printf '[[directory]]\npath = "x"\n' > directory.toml
	said 2 "$BIN/lora-prep" --dataset-config backend.json; [[ "$output" == *SimpleTuner* ]]
	said 2 "$BIN/lora-prep" --dataset-config directory.toml; [[ "$output" == *diffusion-pipe* ]]
	said 2 "$BIN/lora-prep" --dataset-config musubi.toml; [[ "$output" == *musubi-tuner* ]]
}

@test "a preset of the kohya_ss GUI is refused, and what it says is printed as TOML that reads back" {
	cat > preset.json <<-'END'
	{"LoRA_type": "Standard", "optimizer": "Prodigy", "optimizer_args": "weight_decay=0.01 decouple=True", "max_resolution": "1024,1024",
	 "epoch": 4, "network_dim": 32, "network_alpha": "16", "unet_lr": 1.0, "text_encoder_lr": 0, "xformers": "xformers", "lr_warmup": 10,
	 "lr_scheduler": "cosine", "gradient_accumulation_steps": 1.0, "additional_parameters": "--max_grad_norm=0", "color_aug": true,
	 "sdxl": true, "save_precision": "bf16", "vae_batch_size": 0, "caption_dropout_every_n_epochs": 0.0}
	END
	"$BIN/lora-train" --config preset.json --print-config > run.toml 2> err && false
	grep -q 'kohya_ss GUI' err
	for tool in lora-prep lora-encode lora-train lora-sample; do
		said 0 "$BIN/$tool" --config run.toml --print-config
		[[ "$output" != *"$tool: "* ]]
	done
	[ "$(value lora-train run.toml max_grad_norm),$(value lora-train run.toml max_train_epochs)" = 0,4 ]
	[ "$(value lora-train run.toml network_dim),$(value lora-train run.toml network_alpha)" = 32,16 ]
	[ "$(value lora-train run.toml lr_warmup_steps),$(value lora-train run.toml network_train_unet_only)" \
		= '"10%",true' ]
	[ "$(value lora-train run.toml optimizer_args)" = '["weight_decay=0.01", "decouple=True"]' ]
	[ "$(value lora-prep run.toml resolution)" = '"1024"' ]
	said 2 "$BIN/lora-train" --config preset.json --check
	[[ "$output" == *"network_dim = 32"* ]]
	# Foreign text commands no terminal, and reads back as it was.
	printf '{"LoRA_type": "Standard", "output_name": "a\\u001b[2Jb\\u202ec", "sample_prompts": "x\\u009b2J\\ny"}' \
		> preset.json
	"$BIN/lora-train" --config preset.json --print-config > run.toml 2>> err && false
	"$BIN/lora-train" --config preset.json 2>> err && false
	LC_ALL=C grep -qaP '[\x00-\x08\x0b-\x1f]|\xc2[\x80-\x9f]|\xe2\x80\xae' run.toml err && false
	[ "$(value lora-train run.toml output_name)" = '"a\u001B[2Jb\u202Ec"' ]
}

@test "a kind of adapter that is not there is refused by name, before any number is judged" {
	for kind in dylora control_net_lllite; do
		printf 'network_dim = 100000\nlearning_rate = "x"\nnetwork_module = "networks.%s"\n' $kind > run.toml
		said 2 "$BIN/lora-train" --config run.toml --check
		[[ "$output" == *"run.toml:3: network_module 'networks.$kind' is not supported: "* ]]
		said 2 "$BIN/lora-train" --network_module networks.$kind --network_dim 100000
		[[ "$output" == *"network_module 'networks.$kind' is not supported: "* ]]
		said 0 "$BIN/lora-prep" --config run.toml --print-config
	done
	said 2 "$BIN/lora-train" -m demo/tiny-sdxl --network_module networks.lora_flux --check
	[[ "$output" == *"'networks.lora_flux' is not supported; networks.lora, networks.lora_fa, networks.loha, networks.lokr, networks.oft and lycoris.kohya are, for SDXL"* ]]
}

# datasets: two of them, beside training keys
datasets() {
	mkdir a b reg
	cp demo/train/*/gizmo0[0-3].* a
	cp demo/train/*/gizmo0[4-5].* b
	cp $(ls -d demo/reg/*/*.jpg | head -2) reg
	cat > run.toml <<-'END'
	pretrained_model_name_or_path = "demo/tiny-sdxl"

	[general]
	enable_bucket = true
	caption_extension = ".txt"
	shuffle_caption = true
	keep_tokens = 1

	[[datasets]]
	resolution = 64
	batch_size = 2
	min_bucket_reso = 48
	max_bucket_reso = 80
	bucket_reso_steps = 16

	  [[datasets.subsets]]
	  image_dir = "a"
	  class_tokens = ""
	  num_repeats = 3

	  [[datasets.subsets]]
	  image_dir = "./reg"
	  is_reg = true
	  class_tokens = "shape"

	[[datasets]]
	resolution = [32, 32]
	batch_size = 4
	enable_bucket = false

	  [[datasets.subsets]]
	  image_dir = 'b'
	  num_repeats = 2
	  flip_aug = true
	  keep_tokens = 0
	  caption_dropout_rate = 0.25

	[training]
	network_dim = 2
	network_train_unet_only = true
	max_train_steps = 3
	output_dir = "out"
	END
}

@test "a dataset config: every dataset in one tar, each sample with what its subset says" {
	datasets
	"$BIN/lora-prep" -q --config run.toml -o images.tar
	field() { tar -xOf images.tar "0000000$1.json" | jq -c "$2"; }
	[ "$(field 0 '[.path, .repeats, .bucket, .batch_size, .flip, .regularization]')" = \
		'["a/gizmo00.jpg",3,[64,64],2,false,false]' ]
	[ "$(field 0 .caption_options)" = '{"shuffle_caption":true,"keep_tokens":1}' ]
	[ "$(field 4 '[.path, .repeats, .bucket, .batch_size, .flip]')" = '["b/gizmo04.jpg",2,[32,32],4,true]' ]
	[ "$(field 4 .caption_options)" = '{"shuffle_caption":true,"keep_tokens":0,"caption_dropout_rate":0.25}' ]
	# Regularisation pictures count as often as the training pictures of their own dataset: 2 times 6 for 4 times 3.
	[ "$(field 6 '[.repeats, .captions, .regularization]')" = '[6,["shape"],true]' ]
	"$BIN/lora-prep" -q --dataset-config run.toml -o named.tar
	cmp images.tar named.tar
	[ "$(value lora-prep run.toml dataset_config)" = '"run.toml"' ]
}

@test "a dataset config goes through encoding and training: variants, dropout, batches of their own" {
	datasets
	for f in a/*.txt b/*.txt; do echo "a gizmo robot, at the top, on a blue background" > "$f"; done
	"$BIN/lora-prep" -q --config run.toml | "$BIN/lora-encode" -q --config run.toml \
		--caption-variants 4 -o latents.tar
	field() { tar -xOf latents.tar "0000000$1.json" | jq -c "$2"; }
	[ "$(field 0 '[.caption, (.captions | length), .empty_variant]')" = \
		'["a gizmo robot, at the top, on a blue background",4,null]' ]
	# The first tag stays.
	[ "$(field 0 '[.captions[] | startswith("a gizmo robot, ")] | all')" = true ]
	[ "$(field 0 '.captions | unique | length')" = 2 ]
	[ "$(field 4 '[(.captions | length), .empty_variant, .captions[4]]')" = '[5,4,""]' ]
	[ "$(field 6 '[.captions, .caption]')" = '[["shape"],null]' ]
	said 0 "$BIN/lora-train" --config run.toml latents.tar
	[[ "$output" == *"the dataset config says batch_size = 4"* ]]
	"$BIN/lora-train" -q --config run.toml --output-dir again latents.tar > /dev/null
	cmp out/last.safetensors again/last.safetensors
	# Other words, another adapter; and live text needs no variants.
	"$BIN/lora-train" -q --config run.toml --no-network-train-unet-only --output-dir live latents.tar > /dev/null
	"$BIN/lora-inspect" --verify live/last.safetensors > /dev/null
}

@test "captions that cannot vary or be dropped in the encoded text are refused, with what to do" {
	datasets
	for f in a/*.txt; do echo "one, two, three" > "$f"; done
	"$BIN/lora-prep" -q --resolution 64 --min-bucket-reso 48 --max-bucket-reso 80 --bucket-reso-steps 16 a |
		"$BIN/lora-encode" -q -m demo/tiny-sdxl -o plain.tar
	train=("$BIN/lora-train" -q -m demo/tiny-sdxl --network-dim 2 --max-train-steps 2 --output-dir out)
	said 2 "${train[@]}" --network-train-unet-only --shuffle-caption plain.tar
	[[ "$output" == *"cannot vary"*lora-encode* ]]
	said 2 "${train[@]}" --network-train-unet-only --caption-dropout-rate 0.1 plain.tar
	[[ "$output" == *"cannot be dropped"*lora-encode* ]]
	said 2 "${train[@]}" --network-train-unet-only --token-warmup-step 10 plain.tar
	# The text encoders read whatever is asked for.
	said 0 "${train[@]}" --shuffle-caption --caption-dropout-rate 0.5 --token-warmup-step 10 \
		--caption-tag-dropout-rate 0.2 plain.tar
}

@test "variants that are encoded are what they are: other options are refused, and those that made them are told" {
	datasets
	for f in a/*.txt; do echo "one, two, three, four, ${f//[^0-9]/}" > "$f"; done
	"$BIN/lora-prep" -q --resolution 64 --min-bucket-reso 48 --max-bucket-reso 80 --bucket-reso-steps 16 a > i.tar
	printf 'shuffle_caption = true\ncaption_tag_dropout_rate = 0.4\ncaption_separator = ","\n' > c.toml
	"$BIN/lora-encode" -q -m demo/tiny-sdxl --config c.toml -o v.tar i.tar
	made=$(tar -xOf v.tar 00000000.json | jq -c .variants_made_with)
	[ "$made" = '{"caption_tag_dropout_rate":0.4,"shuffle_caption":true}' ]
	train=("$BIN/lora-train" -q -m demo/tiny-sdxl --network-dim 2 --max-train-steps 2 --network-train-unet-only)
	for other in "--caption-tag-dropout-rate 0.95" "--keep-tokens 3" "--enable-wildcard" \
		"--shuffle-caption --caption-separator ;"; do
		# shellcheck disable=SC2086
		said 2 "${train[@]}" --output-dir never $other v.tar
		key=${other##*--}; key=${key%% *}
		[[ "$output" == *"not encoded with this ${key//-/_}; "*"--config"* ]] || { echo "$output"; return 1; }
	done
	[ -z "$(compgen -G 'never/*.safetensors')" ]
	"${train[@]}" --output-dir plain v.tar > /dev/null
	"${train[@]}" --output-dir same --config c.toml v.tar > /dev/null
	for run in plain same; do
		"$BIN/lora-inspect" --json --metadata $run/last.safetensors |
			jq -r '.hash, (.metadata | .ss_shuffle_caption, .ss_caption_tag_dropout_rate, .ss_keep_tokens)' > $run.facts
	done
	cmp plain.facts same.facts
	[ "$(sed 1d plain.facts | tr '\n' ' ')" = "True 0.4 0 " ]
}

@test "weighted_captions: beforehand and live; without it brackets are text" {
	datasets
	for f in a/*.txt; do echo "a gizmo (robot:1.4)" > "$f"; done
	"$BIN/lora-prep" -q --resolution 64 --min-bucket-reso 48 --max-bucket-reso 80 \
		--bucket-reso-steps 16 a > images.tar
	"$BIN/lora-encode" -q -m demo/tiny-sdxl -o plain.tar images.tar
	"$BIN/lora-encode" -q -m demo/tiny-sdxl --weighted-captions -o weighted.tar images.tar
	train=("$BIN/lora-train" -q -m demo/tiny-sdxl --network-dim 2 --max-train-steps 2)
	first() { "${train[@]}" --output-dir "$@" | jq 'select(.event == "step" and .step == 1).loss'; }
	# In the first step the adapter does nothing yet, so live and cached text give one loss.
	[ "$(first live --weighted-captions plain.tar)" = \
		"$(first cached --network-train-unet-only --weighted-captions weighted.tar)" ]
	[ "$(first live plain.tar)" = "$(first cached --network-train-unet-only plain.tar)" ]
	[ "$(first live plain.tar)" != "$(first live --weighted-captions plain.tar)" ]
	said 2 "${train[@]}" --network-train-unet-only --weighted-captions --output-dir out plain.tar
	[[ "$output" == *"encoded without weights; give weighted_captions to lora-encode too"* ]]
	# A run goes on from its state, but not with other weights.
	"${train[@]}" --weighted-captions --save-state-on-train-end --output-dir out plain.tar > /dev/null
	said 2 "${train[@]}" --save-state-on-train-end --output-dir out --max-train-steps 3 --resume auto plain.tar
	said 0 "${train[@]}" --weighted-captions --output-dir out --max-train-steps 3 --resume auto plain.tar
}

@test "mistakes in a dataset config name file, line and place" {
	datasets
	sed 's/num_repeats = 2/num_repeat = 2/' run.toml > bad.toml
	said 2 "$BIN/lora-prep" --config bad.toml
	[[ "$output" == \
		*"bad.toml:33: unknown key 'num_repeat' in [[datasets.subsets]]; did you mean 'num_repeats'?"* ]]
	sed "s/image_dir = 'b'/image_dir = 'C:\\\\b'/" run.toml > bad.toml
	said 3 "$BIN/lora-prep" --config bad.toml
	[[ "$output" == *"bad.toml:32: image_dir: C:\\b: "* ]]
	said 2 "$BIN/lora-prep" --config run.toml a
	[[ "$output" == *"the dataset config names the folders"* ]]
	said 0 "$BIN/lora-prep" --config run.toml --reg reg -o x.tar
	[[ "$output" == *"warning: train_data_dir and reg_data_dir are not used"* ]]
	[[ "$output" != *"only --config reads it"* ]]
	# Only a --config is looked at for keys outside of the tables.
	printf 'resolution = "512"\n[[datasets]]\n[[datasets.subsets]]\nimage_dir = "a"\n' > own.toml
	said 0 "$BIN/lora-prep" --dataset-config own.toml -o x.tar
	[[ "$output" == *"warning: own.toml:1: 'resolution' is outside of [general] and [[datasets]], so only --config reads it"* ]]
	said 0 "$BIN/lora-prep" --config own.toml -o x.tar
	[[ "$output" != *"only --config reads it"* ]]
}

@test "wildcards: every line of a caption file reaches training" {
	datasets
	printf 'a {red|blue} robot\nanother robot\n' > a/gizmo00.txt
	sed -i 's/^shuffle_caption = true/enable_wildcard = true/' run.toml
	"$BIN/lora-prep" -q --config run.toml -o images.tar
	[ "$(tar -xOf images.tar 00000000.json | jq -c .captions)" = '["a {red|blue} robot\nanother robot"]' ]
	"$BIN/lora-encode" -q --config run.toml --caption-variants 32 -o latents.tar images.tar
	[ "$(tar -xOf latents.tar 00000000.json | jq -c '.captions | unique')" = \
		'["a blue robot","a red robot","another robot"]' ]
}

@test "max_token_length = 225: three chunks, beforehand and live; the tar and the run must agree" {
	datasets
	printf 'word, %.0s' $(seq 60) > a/gizmo00.txt
	long=("$BIN/lora-encode" -q -m demo/tiny-sdxl --max-token-length 225)
	"$BIN/lora-prep" -q --resolution 64 --min-bucket-reso 48 --max-bucket-reso 80 \
		--bucket-reso-steps 16 a > images.tar
	"${long[@]}" -o long.tar images.tar
	train=("$BIN/lora-train" -q -m demo/tiny-sdxl --network-dim 2 --max-train-steps 2)
	"${train[@]}" --network-train-unet-only --max-token-length 225 --output-dir cached long.tar > /dev/null
	"${train[@]}" --max-token-length 225 --output-dir live long.tar > /dev/null
	"$BIN/lora-inspect" --json --metadata live/last.safetensors | grep -q '"ss_max_token_length": *"225"'
	said 2 "${train[@]}" --network-train-unet-only --max-token-length 150 --output-dir x long.tar
	[[ "$output" == *"max_token_length is 150, but the latents' text outputs have 225 tokens"* ]]
	said 2 "${long[@]}" --max-token-length 100 -o x.tar images.tar
	# What was read at another length is not taken over.
	run "$BIN/lora-encode" -m demo/tiny-sdxl --reuse long.tar -o short.tar images.tar
	[[ "$output" == *"0 of 4 samples taken over"* ]]
}

@test "other programs' option names lead to an option of the program at hand" {
	while read -r tool option words; do
		said 2 "$BIN/$tool" "--$option" x
		[[ "$output" == *"$words"* ]] || { echo "$tool --$option: $output"; return 1; }
	done <<-'END'
	lora-train epochs did you mean '--max-train-epochs'?
	lora-train steps did you mean '--max-train-steps'?
	lora-train lora_rank did you mean '--network-dim'?
	lora-train lr did you mean '--learning-rate'?
	lora-train snr_gamma did you mean '--min-snr-gamma'?
	lora-train report_to of diffusers' scripts; did you mean '--log-with'?
	lora-train instance_data_dir of diffusers' scripts; the key is train_data_dir, of other programs here
	lora-train train_text_encoder is of full fine-tuning and of diffusers' scripts
	lora-train push_to_hub of diffusers' scripts; no program here uses the network
	lora-prep instance_data_dir of diffusers' scripts; did you mean '--train-data-dir'?
	lora-prep center_crop of diffusers' scripts; pictures are always cut in the middle
	lora-sample guidance_scale did you mean '--cfg'?
	lora-sample num_inference_steps did you mean '--steps'?
	lora-sample lora_weights did you mean '--lora'?
	lora-merge save_to did you mean '--output'?
	END
}
