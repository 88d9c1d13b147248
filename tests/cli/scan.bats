#!/usr/bin/env bats
# What is known before a picture is decoded: lora-prep --scan, and lora-train --check --pictures, which reads its report.

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
	for o in "" "--validation-split 0.25" "--max-train-epochs 3" "--train-batch-size 2 --gradient-accumulation-steps 2 --max-train-epochs 2"; do
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
	LORA_MAX_TRAIN_STEPS=30 "$BIN/lora-train" --launch-line launch.toml --config run.toml --print-config > printed 2> notes
	grep -qx 'max_train_steps = 20  # launch line' printed
	grep -q -- "--xformers: 'xformers' is ignored" notes
	lacks notes launch.toml
	"$BIN/lora-train" -q --launch-line launch.toml --max-train-steps 40 --print-config | grep -qx 'max_train_steps = 40  # command line'
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
