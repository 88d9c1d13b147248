#!/usr/bin/env bats
# A mistake in the settings is told before a picture is decoded, with the line of the file, or the option as it was
# typed.

setup() {
	load pipe.bash
	export BIN
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir -p "train/10_robot"
	cp "$ROOT"/demo/train/*/gizmo0[0-3].* train/10_robot
	# Its header is good, its pixels are not: who decodes it warns.
	head -c 700 train/10_robot/gizmo00.jpg > train/10_robot/cut.jpg
	cat > run.toml <<-END
	pretrained_model_name_or_path = "$MODEL"
	train_data_dir = "train"
	output_name = "x"
	output_dir = "out"
	resolution = "64,64"
	min_bucket_reso = 48
	max_bucket_reso = 80
	bucket_reso_steps = 16
	network_dim = 4
	network_train_unet_only = true
	max_train_steps = 4
	END
	: > file
	echo 'a robot' > prompts.txt
	printf 'a robot\na robot --ss dance\n' > dance.txt
	printf '[[datasets]]\n[[datasets.subsets]]\nimage_dirs = "train"\n' > dataset.toml
}

launch() { "$ROOT/pipelines/lora-launch" --config_file run.toml --config_file more.toml "$@" < /dev/null 2>&1 > lines; }

# told WHAT THE_LINES [OPTIONS...]: refused with the words, nothing decoded, nothing encoded, no temporary file named
told() {
	local status=0 words
	printf '%b\n' "$2" > more.toml
	rm -rf out
	words=$(launch "${@:3}") || status=$?
	[ $status != 0 ] && [[ $words == *": $1"* ]] && [[ $words != *"(skipped)"* && $words != *"lora-encode: "* &&
		$words != *"${TMPDIR:-/tmp}/tmp."* ]] &&
		[ -z "$(find out -name '*latents*' 2> /dev/null)" ] && [ ! -s lines ] ||
		{ printf 'status %s, wanted "%s":\n%s\n' $status "$1" "$words"; return 1; }
}

@test "without a mistake the damaged picture is met: the test can fail" {
	: > more.toml
	launch > words
	grep -q 'cut.jpg.*skipped' words
	[ -e out/x.latents.tar ]
	[ -e out/x.safetensors ]
}

@test "the settings of training" {
	told 'more.toml:2: lr_warmup_steps: 5000 are more than the run' \
		'lr_scheduler = "cosine"\nlr_warmup_steps = 5000'
	told '--lr_warmup_steps: 1000 are more than the run' '' --max_train_epochs 1 --lr_scheduler cosine \
		--lr_warmup_steps 1000
	told '--lr_scheduler' '' --lr_scheduler constant --lr-warmup-steps 2
	told "more.toml:1: lr_decay_steps: 'x'" 'lr_decay_steps = "x"'
	told "--optimizer_type 'Sgd'" '' --optimizer-type Sgd
	told "--optimizer_args: weight_decay: 'abc'" '' --optimizer_args betas=0.9,0.99 weight_decay=abc
	told "more.toml:1: optimizer_args: 'nonsense=1'" 'optimizer_args = ["nonsense=1"]'
	told "more.toml:1: network_args: 'foo=1'" 'network_args = ["foo=1"]'
	told "--network_args: conv_dim: 'x'" '' --network_args conv_dim=x
	told 'more.toml:1: block_dims: 3 numbers' 'block_dims = "1,2,3"'
	told "--text_encoder_lr: 'a,b'" '' --text_encoder_lr a,b
	told "more.toml:2: validation_seed 'x'" 'validation_split = 0.5\nvalidation_seed = "x"'
	told 'more.toml:1: validate_every_n_steps: ' 'validate_every_n_steps = 3'
	told 'more.toml:1: min_timestep' 'min_timestep = 900\nmax_timestep = 100'
	told "more.toml:1: seed 'abc'" 'seed = "abc"'
	told "more.toml:1: max_token_length" 'max_token_length = 80'
	told "--max-duration '1x'" '' --max_duration 1x
	told "more.toml:1: vram: 'many'" 'vram = "many"'
	told "--device 'nope'" '' --device nope
	told "unknown option '--max_train_step'; did you mean 'max_train_steps'" '' --max_train_step 3
	told "more.toml:1: unknown key 'steps'; did you mean 'max_train_steps'" 'steps = 3'
}

@test "files and folders that are named" {
	told '--pretrained_model_name_or_path: nowhere: ' '' -m nowhere
	told '--vae: nowhere: ' '' --vae nowhere
	told 'more.toml:1: vae: file: ' 'vae = "file"'
	told 'more.toml:1: sample_prompts: nowhere.txt: ' 'sample_prompts = "nowhere.txt"\nsample_every_n_steps = 1'
	told 'more.toml:1: sample_prompts: dance.txt:2: ' 'sample_prompts = "dance.txt"\nsample_every_n_steps = 1'
	told 'more.toml:2: sample_sampler: ' \
		'sample_prompts = "prompts.txt"\nsample_sampler = "dance"\nsample_every_n_steps = 1'
	told 'more.toml:1: network_weights: nowhere.safetensors: ' 'network_weights = "nowhere.safetensors"'
	told 'more.toml:1: base_weights: nowhere.safetensors: ' 'base_weights = ["nowhere.safetensors"]'
	told 'more.toml:1: resume: nowhere: ' 'resume = "nowhere"'
	told '--train_data_dir: nowhere: ' '' --train_data_dir nowhere
	told 'more.toml:1: reg_data_dir: nowhere: ' 'reg_data_dir = "nowhere"'
	told 'more.toml:1: conditioning_data_dir: nowhere: ' 'conditioning_data_dir = "nowhere"'
	told "dataset.toml:3: unknown key 'image_dirs'" '' --dataset_config dataset.toml
	told 'more.toml:1: --min-bucket-reso 500' 'min_bucket_reso = 500'
}

@test "places that cannot be written, and logs" {
	told "more.toml:1: logging_dir '/proc/none'" 'logging_dir = "/proc/none"'
	told "more.toml:1: html '/proc/none'" 'html = "/proc/none/page.html"'
	told "--html '.' is a folder" '' --html .
	told 'more.toml:1: log' 'log = "/proc/none/log"'
	told "more.toml:1: output_dir 'file/out'" 'output_dir = "file/out"'
	told "more.toml:1: output_name 'a/b'" 'output_name = "a/b"'
	told "more.toml:1: log_with 'wandb'" 'log_with = "wandb"'
	told "--log_with 'tensorboard' needs a folder" '' --log_with tensorboard
}

@test "--check, --plan and --print_lr on the launch line: nothing is encoded" {
	: > more.toml
	launch --check > words
	grep -q '^nothing is wrong: 5 pictures' lines 
	launch --plan --json > words
	[ "$(jq .fits lines)" = true ]
	launch --print_lr --max_train_epochs 1 > words
	[ "$(wc -l < lines)" -ge 40 ]
	[ ! -e out ]
}
