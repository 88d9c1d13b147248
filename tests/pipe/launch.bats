#!/usr/bin/env bats
# pipelines/lora-launch: the tutorial from its folder of pictures to a picture painted with the adapter; the cache; exit
# codes.

setup() {
	load pipe.bash
	cd "$BATS_TEST_TMPDIR" || return 1
	export BIN
	pipeline=$ROOT/pipelines/lora-launch
	mkdir -p "training data/10_mysubject_person" "training data/100_person" models
	cp "$ROOT"/demo/train/*/gizmo0[0-5].* "training data/10_mysubject_person"
	ln -s "$MODEL" models/base
	mkdir models/vae
	cp "$MODEL"/vae/* models/vae
	printf '# sample_prompts.txt\na big gizmo robot on a blue background --w 64 --h 64 --s 2\n' > sample_prompts.txt
	cat > config.toml <<-'END'
	[model_arguments]
	pretrained_model_name_or_path = "./models/base"
	vae = "./models/vae"
	[dataset_arguments]
	resolution = 64
	batch_size = 1
	max_train_steps = 4
	learning_rate = 1e-4
	lr_scheduler = "cosine_with_restarts"
	lr_warmup_steps = 1
	min_bucket_reso = 48
	max_bucket_reso = 80
	bucket_reso_steps = 16
	[training_arguments]
	output_dir = "./output"
	output_name = "my_lora"
	save_precision = "fp16"
	mixed_precision = "fp16"
	gradient_checkpointing = true
	gradient_accumulation_steps = 2
	[lora_arguments]
	network_module = "networks.lora"
	network_dim = 4
	network_alpha = 2
	network_train_unet_only = false
	network_train_text_encoder_only = false
	[optimizer_arguments]
	optimizer_type = "AdamW8bit"
	learning_rate = 1e-4
	max_grad_norm = 1.0
	[sample_arguments]
	sample_every_n_steps = 2
	sample_prompts = "./sample_prompts.txt"
	END
}

launch() { "$pipeline" --config_file config.toml --train_data_dir "./training data" "$@"; }

# said STATUS [options]: launches, standard error in $output
said() {
	local want=$1; shift
	run bash -c '"$@" 2>&1 > metrics.jsonl' - "$pipeline" --config_file config.toml "$@"
	[ "$status" -eq "$want" ] || { echo "status $status, not $want: $output"; return 1; }
}

@test "the tutorial's launch line, text encoders too, to an adapter that paints" {
	run bash -c '"$@" 2>&1 > metrics.jsonl' - "$pipeline" --config_file config.toml \
		--train_data_dir "./training data" \
		--logging_dir "./logs" --log_with tensorboard --xformers
	[ "$status" -eq 0 ] || { echo "$output"; return 1; }
	[ "$(jq -r 'select(.event == "end") | .why' metrics.jsonl)" = "done" ]
	[ "$(jq -s 'map(select(.event == "step")) | length' metrics.jsonl)" = 4 ]
	"$BIN/lora-inspect" --verify output/my_lora.safetensors output/my_lora.latents.tar > /dev/null
	[ -n "$(find logs -name 'events.out.tfevents.*')" ]
	[ "$(find output -name '*.png' | wc -l)" = 2 ]
	[[ "$output" == *"'batch_size': sd-scripts ignores"*"'xformers' is ignored"*"never restarts"* ]]
	"$BIN/lora-sample" -q -m models/base --lora output/my_lora.safetensors -W 64 -H 64 --steps 2 \
		-p "mysubject person" -o test.png > /dev/null
	[ -s test.png ]
	# The text encoders are trained, so their outputs are not in the tar.
	[ "$(tar -tf output/my_lora.latents.tar | grep -c text.safetensors)" = 0 ]
}

@test "a variable that no program reads is warned of once" {
	LORA_NETWORK_DMI=8 said 0 --train_data_dir "./training data" --network_train_unet_only
	[ "$(grep -c 'LORA_NETWORK_DMI is no setting of any program here; did you mean LORA_NETWORK_DIM?' \
		<<< "$output")" = 1 ]
}

@test "the latents are taken over: all of them, and all but what changed" {
	said 0 --train_data_dir "./training data" --network_train_unet_only
	before=$(sum output/my_lora.latents.tar)
	said 0 --train_data_dir "./training data" --network_train_unet_only
	[[ "$output" == *"6 of 6 samples taken over"* ]]
	[ "$(sum output/my_lora.latents.tar)" = "$before" ]
	echo "another caption" > "training data/10_mysubject_person/gizmo01.txt"
	touch "training data/10_mysubject_person/gizmo02.jpg"
	said 0 --train_data_dir "./training data" --network_train_unet_only
	[[ "$output" == *"5 of 6 samples taken over"* ]]
	rm "training data/10_mysubject_person/"gizmo00.*
	said 0 --train_data_dir "./training data" --network_train_unet_only
	[[ "$output" == *"5 of 5 samples taken over"* ]]
	truncate -s 5000 output/my_lora.latents.tar
	said 0 --train_data_dir "./training data" --network_train_unet_only
	[[ "$output" == *"my_lora.latents.tar: "*"every picture is encoded again"* ]]
}

@test "a warm cache gives the adapter of a cold one" {
	launch -q --network_train_unet_only > /dev/null
	cp output/my_lora.safetensors cold.safetensors
	launch -q --network_train_unet_only > /dev/null
	cmp cold.safetensors output/my_lora.safetensors
}

@test "presets behind the own file, words of the launch line behind both; what was said is kept" {
	said 0 --config_file "$ROOT/pipelines/fast-iteration.toml" --train_data_dir "training data" \
		--max_train_steps=3 --network_args conv_dim=2 \
		conv_alpha=1 --no-gradient-checkpointing --shuffle_caption
	[ "$(jq -s 'map(select(.event == "step")) | length' metrics.jsonl)" = 3 ]
	diff - output/my_lora.launch.toml <<-'END'
	# The launch line of lora-launch.
	train_data_dir = "training data"
	max_train_steps = "3"
	network_args = ["conv_dim=2", "conv_alpha=1"]
	gradient_checkpointing = false
	shuffle_caption = true
	END
	[ "$("$BIN/lora-inspect" --metadata output/my_lora.safetensors --json |
		jq -r '[.. | .ss_network_dim? // empty] | first')" = 32 ]
}

@test "regularisation pictures and a dataset config" {
	mkdir "reg data" "reg data/1_shape"
	cp $(ls -d "$ROOT"/demo/reg/*/*.jpg | head -2) "reg data/1_shape"
	said 0 --train_data_dir "training data" --reg_data_dir "reg data" --network_train_unet_only --max_train_steps 1
	[[ "$output" == *"8 pictures, 2 of them for regularisation"* ]]
	cat > dataset.toml <<-'END'
	[[datasets]]
	  [[datasets.subsets]]
	  image_dir = "training data/10_mysubject_person"
	  num_repeats = 2
	END
	said 0 --dataset_config dataset.toml --network_train_unet_only --max_train_steps 1
	[[ "$output" == *"6 pictures, 0 of them for regularisation, 12 samples"* ]]
}

@test "exit codes of every stage survive" {
	said 3 --train_data_dir nowhere
	[[ "$output" == *"train_data_dir: nowhere: "* ]]
	said 2 --train_data_dir "training data" --max_train_step 3
	[[ "$output" == *"did you mean 'max_train_steps'"* ]]
	said 2 -q stray --train_data_dir "training data"
	said 2
	[[ "$output" == *"no folder with pictures"* ]]
	said 3 --train_data_dir "training data" --vae models/none
	[[ "$output" == *"vae: models/none: "* ]]
	said 2 --train_data_dir "training data" --optimizer_type Sgd
	[ ! -e output/my_lora.safetensors ]
	said 75 --train_data_dir "training data" --max_train_steps 99999 --max_duration 1s --network_train_unet_only
	[[ "$output" == *"--resume auto"* ]]
	ls output/*-state.safetensors
	said 75 --train_data_dir "training data" --max_train_steps 99999 --max_duration=1s \
		--network_train_unet_only --resume
	[[ "$output" == *"state.safetensors"* ]]
}

@test "a signal reaches the training itself: saved, exit 75" {
	(exec "$pipeline" -q --config_file config.toml --train_data_dir "training data" --network_train_unet_only \
		--max_train_steps 99999 \
		> metrics.jsonl) & pid=$!
	wait_for 60 grep -q '"step":3' metrics.jsonl
	kill -TERM $pid
	status=0; wait $pid || status=$?
	[ "$status" = 75 ]
	ls output/*-state.safetensors
}

@test "a name without its ending is found, as with kohya; --help says what to write" {
	mv config.toml mine.toml
	"$pipeline" -q --config_file mine --train_data_dir "training data" --network_train_unet_only \
		--max_train_steps 1 > /dev/null
	[ -e output/my_lora.safetensors ]
	run "$pipeline" --help
	[ "$status" -eq 0 ]
	[[ "$output" == *--train_data_dir* ]]
}

@test "on a terminal of 80 columns: bars, each note once, the adapter, the command to paint, the curves; the lines go to a file" {
	script -qec "stty cols 80; $pipeline --config_file config.toml --train_data_dir 'training data' --xformers --logging_dir logs --network_train_unet_only" \
		typescript > /dev/null
	tr '\r' '\n' < typescript | grep -v '^ *$' > screen
	lacks screen '"event"'
	[ "$(jq -rs '.[0].event + " " + .[-1].event + " " + .[-1].adapter' output/my_lora.jsonl)" = \
		"start end ./output/my_lora.safetensors" ]
	grep -q '^training \[' screen
	lacks screen '^(training|encoding|scanning|preparing) \[.{70}'
	for note in "'xformers' is ignored" "'batch_size': sd-scripts" 'never restarts' 'captions are read from' \
		'6 pictures, 0 of them'; do
		[ "$(grep -c "$note" screen)" = 1 ] || { echo "$note"; cat screen; return 1; }
	done
	grep -q 'the adapter is ./output/my_lora.safetensors; paint with it:' screen
	grep -q 'tensorboard --logdir logs' screen
	grep -q "each step's numbers are in ./output/my_lora.jsonl" screen
	# the command works as it stands
	sed -n 's/^lora-train:     //p' screen > command
	[ "$(wc -l < command)" = 1 ]
	sh -c "$(cat command) --steps 1" > /dev/null 2>&1
	[ -s my_lora.png ]
}

@test "an interrupted launch goes on: what was encoded is not encoded again" {
	# programs of which lora-prep hands over a part, and no more until the launcher has been stopped
	mkdir bin
	for t in encode train inspect; do ln -s "$BIN/lora-$t" bin; done
	printf '#!/bin/sh\ncase "$*" in *--scan*) exec "%s/lora-prep" "$@" ;; esac\n"%s/lora-prep" "$@" | head -c 60000; until [ -e stop ]; do sleep 0.1; done\n' "$BIN" "$BIN" > bin/lora-prep
	chmod +x bin/lora-prep
	(BIN=$PWD/bin exec "$pipeline" --config_file config.toml --train_data_dir "training data" \
		--network_train_unet_only > lines 2> first 3>&-) & pid=$!
	wait_for 60 eval '[ "$(cat output/.my_lora.latents.tar.*.tmp | wc -c)" -gt 150000 ]'
	kill -TERM $pid
	sleep 1 && touch stop
	status=0; wait $pid || status=$?
	[ $status = 143 ] || { echo "status $status"; cat first; return 1; }
	[ ! -e output/my_lora.latents.tar ]
	said 0 --train_data_dir "training data" --network_train_unet_only --max_train_steps 1
	[[ $output =~ "which had encoded "([1-5])" pictures" ]] || { echo "$output"; return 1; }
	[[ $output == *"${BASH_REMATCH[1]} of 6 samples taken over"* ]]
	"$BIN/lora-inspect" --verify output/my_lora.latents.tar > /dev/null
	[ -z "$(temporaries output)" ]
}

@test "of a key that is given twice the last one counts; strange words are refused, no temporary file is named" {
	said 0 --train_data_dir "training data" --network_train_unet_only --max_train_steps 3 --max_train_steps=1
	[ "$(jq -s 'map(select(.event == "step")) | length' metrics.jsonl)" = 1 ]
	said 2 --train_data_dir "training data" --a.b c
	[[ $output == *"'--a.b' is no option"* ]]
	said 0 --train_data_dir "training data" --network_train_unet_only --max_train_steps 1 --vae '' \
		--caption_prefix 'a "b" \ c'
	grep -q 'caption_prefix = "a \\"b\\" \\\\ c"' output/my_lora.launch.toml
}

@test "line ends and other control characters in paths, in words of the launch line and in the settings" {
	local odd=$'o"u\n\\t\t\001\177\302\205\342\200\256 \303\244\n'
	mv "training data" $'pictures\nof mine'; mkdir $'pictures\nof mine/2_x\ny'
	cp "$ROOT"/demo/train/*/gizmo06.* $'pictures\nof mine/2_x\ny'
	said 0 --train_data_dir $'pictures\nof mine' --network_train_unet_only --max_train_steps 1 --output_dir "$odd" \
		--caption_suffix $'a \\n\tb'
	[ -s "$odd/my_lora.safetensors" ]
	[ -s "$odd/my_lora.latents.tar" ]
	[ ! -e output ]
	grep -qxF 'train_data_dir = "pictures\nof mine"' "$odd/my_lora.launch.toml"
	grep -qxF 'caption_suffix = "a \\n\tb"' "$odd/my_lora.launch.toml"
	printf 'output_dir = "a\\nb"\n' > dir.toml
	said 0 --config_file dir.toml --train_data_dir $'pictures\nof mine' --network_train_unet_only --max_train_steps 1
	[ -s $'a\nb/my_lora.safetensors' ]
	[ -s $'a\nb/my_lora.latents.tar' ]
}

@test "README's recipe for regularisation pictures, with the demo's model; --threads for all programs" {
	"$BIN/lora-sample" -q -m models/base -p "a red circle" -W 64 -H 64 --steps 5 --cfg 3 --count 8 \
		-o reg/1_circle > /dev/null
	[ "$(find reg/1_circle -name '*.png' | wc -l)" = 8 ]
	said 0 --train_data_dir "training data" --reg_data_dir reg --network_train_unet_only \
		--max_train_steps 1 --threads 1
	[[ $output == *"14 pictures, 8 of them for regularisation, 120 samples"* && $output != *"left out"* ]] ||
		{ echo "$output"; return 1; }
	[ "$(tar -xOf output/my_lora.latents.tar 00000006.json | jq -c '[.regularization, .captions[0]]')" = \
		'[true,"circle"]' ]
}
