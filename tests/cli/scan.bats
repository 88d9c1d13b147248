#!/usr/bin/env bats
# What is known before a picture is decoded: lora-prep --scan, and lora-train --check --pictures, which reads its
# report.

setup() { load ../pipe/pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

scan() { "$BIN/lora-prep" -q "${PREP[@]}" "$ROOT/demo/train" --reg "$ROOT/demo/reg" --scan "$@"; }
look() { "$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --network-train-unet-only "$@"; }

@test "--scan reports what --report does, but for the pictures' hashes; nothing else is written" {
	scan > scan.jsonl
	"$BIN/lora-prep" -q "${PREP[@]}" "$ROOT/demo/train" --reg "$ROOT/demo/reg" --report whole.jsonl > images.tar
	diff scan.jsonl <(sed 's/"sha256":"[0-9a-f]*",//' whole.jsonl)
	scan --report there.jsonl > out
	[ ! -s out ] && cmp scan.jsonl there.jsonl
	status_of 2 scan -o images.tar
	status_of 2 scan --folder out
	# a picture that is none is told, as in earnest
	mkdir bad; cp "$ROOT"/demo/train/*/gizmo0[0-1].* bad; echo text > bad/x.jpg
	"$BIN/lora-prep" -q "${PREP[@]}" bad --scan 2> err > bad.jsonl
	grep -q 'x.jpg: not a picture' err
	[ "$(jq -s 'map(select(.event == "total"))[0] | [.pictures, .skipped] | tojson' bad.jsonl)" = '"[2,1]"' ]
}

@test "--check on a scan counts as on the latents; held-out pictures, batches of a dataset config and epochs too" {
	cat > dataset.toml <<-END
	[[datasets]]
	batch_size = 3
	resolution = 64
	  [[datasets.subsets]]
	  image_dir = "$ROOT/demo/train/10_gizmo robot"
	  num_repeats = 3
	[[datasets]]
	  [[datasets.subsets]]
	  image_dir = "$ROOT/demo/train/10_gizmo robot"
	END
	set -- "${PREP[@]}" --dataset-config dataset.toml
	"$BIN/lora-prep" -q "$@" --scan > scan.jsonl
	"$BIN/lora-prep" -q "$@" | "$BIN/lora-encode" -q -m "$MODEL" -o latents.tar
	for o in "" "--validation-split 0.25" "--max-train-epochs 3" \
		"--train-batch-size 2 --gradient-accumulation-steps 2 --max-train-epochs 2"; do
		# shellcheck disable=SC2086
		look --check --json $o --pictures scan.jsonl > scanned
		# shellcheck disable=SC2086
		look --check --json $o latents.tar > encoded
		diff scanned encoded || { echo "$o"; return 1; }
	done
	# what is typed on a launch line comes before a dataset config's batch_size, as on a command line
	echo 'train_batch_size = 2' > launch.toml
	[ "$(look --check --json --pictures scan.jsonl --launch-line launch.toml | jq .batches_per_epoch)" = \
		"$(look --check --json --pictures scan.jsonl --train-batch-size 2 | jq .batches_per_epoch)" ]
	[ "$(look --check --json --pictures scan.jsonl --config launch.toml | jq .batches_per_epoch)" != \
		"$(look --check --json --pictures scan.jsonl --train-batch-size 2 | jq .batches_per_epoch)" ]
	status_of 2 look --check --pictures scan.jsonl --max-train-epochs 1 --lr-scheduler cosine --lr-warmup-steps 1000
	[[ $output == *"lr_warmup_steps: 1000 are more than the run's"* ]]
	for steps in 110% 1.5 -1 x; do
		status_of 2 look --check --pictures scan.jsonl --lr-scheduler cosine "--lr-warmup-steps=$steps"
		[[ $output == *"lr_warmup_steps: '$steps' is no number of steps, ratio or percentage"* ]]
	done
	status_of 2 look --pictures scan.jsonl
	status_of 2 look --check --pictures scan.jsonl latents.tar
	echo '{"event":"picture"}' > none.jsonl
	status_of 3 look --check --pictures none.jsonl
	[ "$(look --print-lr --pictures scan.jsonl --max-train-steps 5 | wc -l)" = 5 ]
}

@test "a mistake in the settings names its line, the variable or the option that was typed" {
	printf 'max_train_steps = 10\nlr_scheduler = "cosine"\nlr_warmup_steps = 20\n' > run.toml
	scan > scan.jsonl
	status_of 2 look --check --pictures scan.jsonl --config run.toml
	[[ $output == "lora-train: run.toml:3: lr_warmup_steps: 20 are more"* ]]
	sed -i '$d' run.toml
	status_of 2 look --check --pictures scan.jsonl --config run.toml --lr-warmup-steps 20
	[[ $output == "lora-train: --lr_warmup_steps: 20 are more"* ]]
	LORA_LR_WARMUP_STEPS=20 status_of 2 look --check --pictures scan.jsonl --config run.toml
	[[ $output == "lora-train: LORA_LR_WARMUP_STEPS: lr_warmup_steps: 20 are more"* ]]
}

@test "--launch-line: keys are told as options; they win over files and the environment" {
	echo 'max_train_steps = 10' > run.toml
	printf 'max_train_steps = "20"\nvae = "nowhere"\nxformers = true\n' > launch.toml
	LORA_MAX_TRAIN_STEPS=30 "$BIN/lora-train" --launch-line launch.toml --config run.toml --print-config \
		> printed 2> notes
	grep -qx 'max_train_steps = 20  # launch line' printed
	grep -q -- "--xformers: 'xformers' is ignored" notes
	lacks notes launch.toml
	"$BIN/lora-train" -q --launch-line launch.toml --max-train-steps 40 --print-config |
		grep -qx 'max_train_steps = 40  # command line'
	echo 'max_train_step = "20"' > launch.toml
	status_of 2 "$BIN/lora-train" --launch-line launch.toml
	[[ $output == *"--max_train_step'; did you mean 'max_train_steps'"* && $output != *launch.toml* ]]
	echo 'network_dim = "many"' > launch.toml
	status_of 2 "$BIN/lora-train" --launch-line launch.toml
	[[ $output == "lora-train: --network_dim: 'many' does not fit; "* ]]
	printf 'pretrained_model_name_or_path = "%s"\n' "$MODEL" > launch.toml
	printf 'train_data_dir = "nowhere"\n' >> launch.toml
	status_of 3 "$BIN/lora-prep" --launch-line launch.toml
	[[ $output == *"lora-prep: --train_data_dir: nowhere: "* ]]
}

@test "--said: what one program has noted, the next does not; what it says itself it may repeat" {
	printf '[a]\nxformers = true\nlearning_rate = 1e-3\n[b]\nlearning_rate = 1e-4\n' > run.toml
	for tool in lora-train lora-encode lora-prep; do
		"$BIN/$tool" --config run.toml --said said --print-config > /dev/null 2>> notes
	done
	[ "$(grep -c xformers notes)" = 1 ]
	[ "$(grep -c 'learning_rate = ' notes)" = 1 ]
	"$BIN/lora-train" --config run.toml --print-config > /dev/null 2>> notes
	[ "$(grep -c xformers notes)" = 2 ]
	# errors are never dropped
	for i in 1 2; do status_of 2 "$BIN/lora-train" --said said --nonesuch; [ -n "$output" ]; done
	status_of 4 "$BIN/lora-train" --said nowhere/said --print-config
}

@test "an empty word unsets: the model's own VAE, the file's prompts; a prompt may be empty" {
	printf 'vae = "nowhere"\nlr_scheduler = "cosine"\ntrain_data_dir = "nowhere"\n' > run.toml
	"$BIN/lora-train" --config run.toml --vae '' --lr-scheduler "" --print-config > printed
	grep -qx 'vae = ""  # default' printed
	grep -qx 'lr_scheduler = "constant"  # default' printed
	status_of 2 "$BIN/lora-prep" --config run.toml --train-data-dir ''
	[[ $output == *"no folder with pictures"* ]]
	prepare > images.tar
	"$BIN/lora-encode" -q -m "$MODEL" --vae '' images.tar -o latents.tar
	"$BIN/lora-sample" -q -m "$MODEL" -p '' -W 64 -H 64 --steps 1 -o empty.png
	[ -s empty.png ]
}

@test "a picture to a terminal is refused at once: before the model is looked for" {
	status=0; script -qec "$BIN/lora-sample -m nowhere -p x -o -" /dev/null > out || status=$?
	[ $status = 2 ] && grep -q 'a terminal shows no binary data' out || { cat out; return 1; }
}

# folders SUBJECT PICTURES REG PICTURES: as pictures in train/
folders() {
	rm -rf train; mkdir -p "train/$1" "train/$3"
	local i
	for i in $(seq "$2"); do cp "$ROOT/demo/train/10_gizmo robot/gizmo00.jpg" "train/$1/$i.jpg"; done
	for i in $(seq "$4"); do cp "$ROOT/demo/train/10_gizmo robot/gizmo02.jpg" "train/$3/$i.jpg"; done
	"$BIN/lora-prep" "${PREP[@]}" train --scan 2> words > /dev/null
}

@test "a folder of the class that outweighs its subject is warned of; two subjects are not" {
	folders 10_mysubject_person 20 100_person 12
	grep -q 'warning: train/100_person gives 1200 of 1400 samples' words
	grep -q 'as 1_person, .*reg_data_dir' words
	folders "10_mysubject person" 2 100_Person 2
	grep -q 'warning: train/100_Person gives 200 of 220 samples' words
	folders 10_gizmo 2 100_reg 2
	grep -q 'warning: train/100_reg gives 200 of 220 samples' words
	folders 10_mysubject_person 5 1_person 20
	lacks words 'warning: train/'
	folders 10_cat 1 100_dog 1
	lacks words 'warning: train/'
	folders 10_person 1 100_mysubject_person 1
	lacks words 'warning: train/'
}

@test "regularisation pictures that are left out: the folder's name with which all are used" {
	folders 10_mysubject_person 4 1_x 0
	mkdir -p reg/100_person
	for i in $(seq 10); do cp "$ROOT/demo/train/10_gizmo robot/gizmo02.jpg" reg/100_person/$i.jpg; done
	"$BIN/lora-prep" "${PREP[@]}" train --reg reg --scan 2> words > /dev/null
	grep -q 'warning: 9 of 10 regularisation pictures are left out: .* 40 training samples.* 4_person' words
	mv reg/100_person reg/4_person
	"$BIN/lora-prep" "${PREP[@]}" train --reg reg --scan 2> words > report
	lacks words 'left out'
	[ "$(jq -s 'map(select(.event == "total"))[0] | [.regularization, .samples]' report |
		tr -d ' \n')" = "[10,80]" ]
	# fewer training samples than pictures: no name helps
	for i in $(seq 11 60); do cp reg/4_person/1.jpg reg/4_person/$i.jpg; done
	"$BIN/lora-prep" "${PREP[@]}" train --reg reg --scan 2> words > /dev/null
	grep -q 'left out' words && lacks words '_person'
}
