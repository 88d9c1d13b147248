#!/usr/bin/env bats
# lora-train as its users see it: metrics, files, settings from everywhere, refusals, divergence.

setup_file() {
	load ../pipe/pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar
	few_latents "$LATENTS"
}
setup() { load ../pipe/pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

lora_train() { "$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only --network-dim 2 --output-name t \
	"$@" "$LATENTS"; }

@test "metrics are JSON lines: start, steps, saves, end" {
	train 4 out --save-every-n-steps 2 > log.jsonl
	[ "$(jq -rs 'map(.event) | join(" ")' log.jsonl)" = "start step step save state step step save state end" ]
	[ "$(jq -s 'map(select(.event == "step") | .step) == [1,2,3,4]' log.jsonl)" = true ]
	[ "$(jq -s 'map(select(.event == "step")) | all(.loss > 0 and .grad_norm > 0 and .samples_per_s > 0 and .seconds > 0)' log.jsonl)" = true ]
	[ "$(jq -c 'select(.event == "start") | [.steps, .pictures, .regularization_pictures, .seed, .device]' \
		log.jsonl)" = '[4,4,0,"42","cpu"]' ]
	[ "$(jq 'select(.event == "start") | .activation_bytes > 100000' log.jsonl)" = true ]
	for f in $(jq -r 'select(.event == "save" or .event == "state").path' log.jsonl); do
		"$BIN/lora-inspect" --verify "$f" > /dev/null
	done
	[ "$(cd out && echo *)" = \
		"t-step00000002-state.safetensors t-step00000002.safetensors t-step00000004-state.safetensors t.safetensors" ]
}

@test "every record is one write, so that lines of several runs do not mix" {
	strace -o trace -f -qq -e trace=write "$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only --network-dim \
		2 --output-name t --output-dir out \
		--max-train-steps 3 "$LATENTS" > log.jsonl 2> err || skip "strace may not trace here: $(tail -n 1 err)"
	[ "$(grep -c 'write(1, ' trace)" = "$(wc -l < log.jsonl)" ]
}

@test "the same settings by options, by a config file, by kohya's spelling and by the environment" {
	lora_train --output-dir options --learning-rate 1e-3 --max-train-steps 3 --network-alpha 2 > /dev/null
	printf '[training]\nlearning_rate = 1e-3\nmax_train_steps = 3\nnetwork_alpha = 2\nnetwork_dim = 2\nnetwork_train_unet_only = true\noutput_name = "t"\n' > run.toml
	"$BIN/lora-train" -q -m "$MODEL" --config run.toml --output_dir file "$LATENTS" > /dev/null
	lora_train --output_dir kohya --learning_rate=1e-3 --max_train_steps 3 --network_alpha 2 > /dev/null
	LORA_LEARNING_RATE=1e-3 LORA_MAX_TRAIN_STEPS=3 LORA_NETWORK_ALPHA=2 lora_train \
		--output-dir environment > /dev/null
	cmp options/t.safetensors file/t.safetensors
	cmp options/t.safetensors kohya/t.safetensors
	cmp options/t.safetensors environment/t.safetensors
	# The command line comes last.
	"$BIN/lora-train" -q -m "$MODEL" --config run.toml --output-dir over --max-train-steps 4 "$LATENTS" > log.jsonl
	[ "$(jq 'select(.event == "end").step' log.jsonl)" = 4 ]
	# What --print-config prints is a config that does the same.
	"$BIN/lora-train" -m "$MODEL" --config run.toml --output-dir printed --print-config > printed.toml
	"$BIN/lora-train" -q --config printed.toml "$LATENTS" > /dev/null
	cmp options/t.safetensors printed/t.safetensors
}

@test "an unknown key is status 2 with its line and the nearest name, before anything else" {
	printf 'max_train_steps = 3\n\nlearning_rte = 1e-3\n' > run.toml
	status_of 2 "$BIN/lora-train" -m nowhere --config run.toml --output-dir out "$LATENTS"
	[[ "$output" == *"run.toml:3:"*learning_rte*learning_rate* ]]
	[ ! -e out ]
	status_of 2 "$BIN/lora-train" --learning-rte 1
	[[ "$output" == *learning-rate* ]]
}

@test "settings out of range or without sense are status 2 and name themselves" {
	local bad
	for bad in "--network-dim 0" "--max-train-steps 0" "--train-batch-size 0" "--learning-rate -1" \
		"--lr-scheduler cosin" "--seed -1" "--seed x" \
		"--lr-warmup-steps 20" "--lr-warmup-steps x" "--optimizer-type Nonesuch" "--optimizer-args nonesuch=1" \
		"--optimizer-args betas=1,2" \
		"--network-args nonesuch=1" "--network-module networks.nonesuch" "--network-train-text-encoder-only" \
		"--output-name a/b" "--max-duration soon" "--mixed-precision fp8"; do
		# shellcheck disable=SC2086
		status_of 2 lora_train --output-dir out --max-train-steps 10 --lr-scheduler constant_with_warmup $bad
		name=${bad%% *} name=${name#--}
		[[ "${output//_/-}" == *"$name"* ]] || { echo "$bad: $output"; return 1; }
	done
}

@test "--print-lr: the whole schedule, and nothing is trained" {
	lora_train --max-train-steps 4 --learning-rate 1 --lr-scheduler linear --lr-warmup-steps 2 --print-lr > lr.jsonl
	[ "$(jq -sc 'map([.step, .lr])' lr.jsonl)" = "[[1,0],[2,0.5],[3,1],[4,0.5]]" ]
	[ "$(ls)" = lr.jsonl ]
}

@test "lr_decay_steps and lr_scheduler_timescale: the curves of the golden schedules" {
	lora_train --max-train-steps 50 --learning-rate 1 --lr-scheduler warmup_stable_decay --lr-warmup-steps 10 \
		--lr-decay-steps 12 \
		--lr-scheduler-min-lr-ratio 0.1 --print-lr > lr.jsonl
	# Both have at least 15 digits.
	jq -en --slurpfile got lr.jsonl --slurpfile all "$ROOT/tests/golden/schedules.json" '
			($all[0] | map(select(.lr_scheduler == "warmup_stable_decay" and
				.lr_warmup_steps == 10))[0].multipliers) as $want |
			[$got | to_entries[] | .value.lr - $want[.key] | fabs] | length == 50 and max < 1e-12'
	# transformers: 1/sqrt((k + scale - warmup) / scale)
	lora_train --max-train-steps 13 --learning-rate 1 --lr-scheduler inverse_sqrt --lr-scheduler-timescale 4 \
		--print-lr > lr.jsonl
	[ "$(jq -sc '[.[0].lr, .[12].lr]' lr.jsonl)" = "[1,0.5]" ]
	status_of 2 lora_train --max-train-steps 20 --lr-scheduler warmup_stable_decay --lr-warmup-steps 10 \
		--lr-decay-steps 60% --print-lr
	[[ "$output" == *"10 and 12 are more than the run's 20 together"* ]]
}

@test "--dry-run checks everything and trains nothing" {
	lora_train --max-train-steps 4 --output-dir out --dry-run > log.jsonl
	[ "$(jq -r .event log.jsonl)" = start ]
	[ "$(ls -A out)" = .t.lock ]
}

@test "epochs instead of steps" {
	# Four pictures in three buckets, batch 2: as many batches as the buckets make, repeats 1.
	lora_train --max-train-epochs 2 --train-batch-size 2 --output-dir out > log.jsonl
	batches=$(jq 'select(.event == "start").batches_per_epoch' log.jsonl)
	[ "$(jq 'select(.event == "end").step' log.jsonl)" = $((2 * batches)) ]
	[ "$(jq -s 'map(select(.event == "step").epoch) | max' log.jsonl)" = 2 ]
}

@test "steps and epochs: the epochs win, and it is said where they are other steps" {
	both() { "$BIN/lora-train" -m "$MODEL" --network-train-unet-only --max-train-epochs 1 --check "$@" 2>&1; }
	both --max-train-steps 5 "$LATENTS" | grep -xF "lora-train: max_train_steps = 5 does nothing: max_train_epochs = 1 is 4 steps; leave one out"
	both --max-train-steps 5 < /dev/null | grep -F "max_train_steps = 5 does nothing: max_train_epochs = 1 says how long"
	[ "$(both --max-train-steps 4 "$LATENTS" | grep -c 'does nothing')" = 0 ]
	[ "$(both "$LATENTS" | grep -c 'does nothing')" = 0 ]
	# a file of all settings has the default too
	printf 'max_train_steps = 1600\n' > all.toml
	[ "$(both --config all.toml "$LATENTS" | grep -c 'does nothing')" = 0 ]
	both --max-train-steps 1600 "$LATENTS" | grep -F "max_train_steps = 1600 does nothing"
}

@test "the precision of the saved adapter" {
	local p
	for p in fp32 fp16 bf16; do
		lora_train --max-train-steps 2 --output-dir $p --save-precision $p > /dev/null
		"$BIN/lora-inspect" --json --verify $p/t.safetensors >> dtypes
	done
	[ "$(jq -rs 'map(.dtype) | join(" ")' dtypes)" = "F32 F16 BF16" ]
}

@test "SOURCE_DATE_EPOCH and --stamp put dates into the metadata; without them there are none" {
	lora_train --max-train-steps 1 --output-dir plain > /dev/null
	"$BIN/lora-inspect" --metadata plain/t.safetensors > plain.txt
	lacks plain.txt 'ss_training_started_at|modelspec.date'
	SOURCE_DATE_EPOCH=1700000000 lora_train --max-train-steps 1 --output-dir epoch > /dev/null
	"$BIN/lora-inspect" --metadata epoch/t.safetensors > epoch.txt
	grep -q '1700000000' epoch.txt
	SOURCE_DATE_EPOCH=1700000000 lora_train --max-train-steps 1 --output-dir again > /dev/null
	cmp epoch/t.safetensors again/t.safetensors
	for bad in abc 1e9 -1 ' 5' 5x 123456789012; do
		SOURCE_DATE_EPOCH=$bad status_of 2 lora_train --max-train-steps 1 --output-dir never
		[[ $output == *"SOURCE_DATE_EPOCH '$bad' is no number of seconds"* ]]
	done
	[ ! -e never ]
	lora_train --max-train-steps 1 --output-dir stamped --stamp > /dev/null
	"$BIN/lora-inspect" --metadata stamped/t.safetensors | grep -q ss_training_started_at
}

@test "from the file of any kind of adapter comes the same file again" {
	for kind in lycoris.kohya:algo=loha lycoris.kohya:algo=lokr lycoris.kohya:algo=locon,dora_wd=True \
		lycoris.kohya:algo=loha,conv_dim=2 lycoris.kohya:algo=diag-oft networks.loha:conv_dim=2,conv_alpha=1 \
		networks.lora:conv_dim=2 networks.oft: lycoris.kohya:algo=lokr,factor=2,conv_alpha=3; do
		args=(); for a in $(echo "${kind#*:}" | tr , ' '); do args+=(--network-args "$a"); done
		rm -rf out again
		lora_train --max-train-steps 2 --output-dir out --network-module "${kind%%:*}" "${args[@]}" > /dev/null
		"$BIN/lora-inspect" --rebuild-config out/t.safetensors > again.toml
		"$BIN/lora-train" -q --config again.toml --output-dir again --output-name t "$LATENTS" > /dev/null
		cmp out/t.safetensors again/t.safetensors || { echo "$kind"; return 1; }
	done
}

@test "metadata_title and its kin: in the file, and rebuilt from it; no_metadata: next to nothing" {
	cat > notes.toml <<-'END'
	metadata_title = "Gizmo \"the\" robot"
	metadata_author = "Zoë"
	metadata_description = "two\nlines"
	metadata_license = "CC0-1.0"
	metadata_tags = "robot,toy"
	metadata_trigger_phrase = "a gizmo robot"
	metadata_usage_hint = "weight 0.8"
	metadata_thumbnail = "thumb.png"
	training_comment = "first try"
	END
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" | tar -xO --wildcards '00000000.png' > thumb.png
	lora_train --max-train-steps 1 --output-dir out --config notes.toml > /dev/null
	"$BIN/lora-inspect" --json --metadata out/t.safetensors > out.json
	field() { jq -r ".metadata.\"$1\"" out.json; }
	[ "$(field modelspec.title)" = 'Gizmo "the" robot' ]
	[ "$(field modelspec.author)" = Zoë ]
	[ "$(field modelspec.description)" = $'two\nlines' ]
	[ "$(field modelspec.thumbnail)" = "data:image/png;base64,$(base64 -w 0 thumb.png)" ]
	[ "$(field modelspec.trigger_phrase),$(field modelspec.usage_hint),$(field modelspec.tags)" = \
		"a gizmo robot,weight 0.8,robot,toy" ]
	[ "$(field modelspec.license),$(field ss_training_comment)" = "CC0-1.0,first try" ]
	# From the file alone comes the same file again.
	"$BIN/lora-inspect" --rebuild-config out/t.safetensors > again.toml
	"$BIN/lora-train" -q --config again.toml --output-dir again --output-name t "$LATENTS" > /dev/null
	cmp out/t.safetensors again/t.safetensors
	# A URL goes in as it is; what is no picture, or not there, is refused with its line, before anything is
	# trained.
	lora_train --max-train-steps 1 --output-dir url --metadata-thumbnail data:image/png,x > /dev/null
	"$BIN/lora-inspect" --metadata url/t.safetensors | grep -q 'modelspec.thumbnail.*data:image/png,x$'
	sed -i 's/thumb.png/notes.toml/' notes.toml
	status_of 3 "$BIN/lora-train" -m "$MODEL" --config notes.toml --output-dir not "$LATENTS"
	[[ "$output" == *"notes.toml:8: metadata_thumbnail: notes.toml: not a PNG, JPEG or WebP"* ]]
	[ ! -e not ]
	lora_train --max-train-steps 1 --output-dir none --no-metadata > /dev/null
	"$BIN/lora-inspect" --json --metadata none/t.safetensors > none.json
	[ "$(jq -r '.metadata | keys | map(select(startswith("ss_"))) | join(" ")' none.json)" = \
		"ss_base_model_version ss_network_alpha ss_network_args ss_network_dim ss_network_module ss_v2" ]
	[ "$(jq -r '.metadata."modelspec.title", .metadata."lora_tools.config"' none.json)" = $'t\nnull' ]
	status_of 3 "$BIN/lora-inspect" --rebuild-config none/t.safetensors
}

@test "an adapter's own file rebuilds its name and its checkpointing too, which its metadata shows" {
	lora_train --max-train-steps 1 --output-dir out --output-name 'a "b"' --gradient-checkpointing > /dev/null
	"$BIN/lora-inspect" --rebuild-config 'out/a "b".safetensors' > again.toml
	"$BIN/lora-train" -q --config again.toml --output-dir again "$LATENTS" > /dev/null
	cmp 'out/a "b".safetensors' 'again/a "b".safetensors'
}

@test "a setting that does nothing because another is off is said; at its default it is not" {
	idle() { "$BIN/lora-train" -m "$MODEL" --network-train-unet-only --print-lr --max-train-steps 2 "$@" \
		< /dev/null 2>&1 || true; }
	while read -r option value needs; do
		idle "--$option" "$value" > said
		grep -q "^lora-train: ${option//-/_}: does nothing without $needs" said || {
			cat said
			echo "$option"; return 1
		}
	done <<- 'END'
		huber-c 0.3 loss_type
		huber-scale 2 loss_type
		huber-schedule exponential loss_type
		multires-noise-discount 0.5 multires_noise_iterations
		conv-alpha 4 conv_dim
		lr-scheduler-power 2 lr_scheduler
		lr-scheduler-num-cycles 3 lr_scheduler
		lr-scheduler-min-lr-ratio 0.1 lr_scheduler
		lr-decay-steps 5 lr_scheduler
		lr-scheduler-timescale 5 lr_scheduler
		save-last-n-steps 2 save_every_n_steps
		save-last-n-epochs 2 save_every_n_epochs
		save-last-n 2 save_every_n_steps
		validation-seed 3 validation_split
		max-validation-steps 2 validation_split
		log-prefix x logging_dir
		sample-prompts x sample_every_n_steps
		text-encoder-lr 1e-4 network_train_unet_only
		loraplus-text-encoder-lr-ratio 4 network_train_unet_only
		block-lr-zero-threshold 0.1 down_lr_weight
		save-last-n-states 3 save_state
		save-last-n-steps-state 3 save_state
		save-last-n-epochs-state 3 save_state
		sample-sampler heun sample_prompts
	END
	# what has no key is told by its name
	idle --ranks 2 > said
	grep -q "^lora-train: --ranks: does nothing without --plan; " said || { cat said; return 1; }
	# a rate of 0 is what leaves the text encoders alone
	"$BIN/lora-train" -m "$MODEL" --text-encoder-lr 0 --print-lr --max-train-steps 2 < /dev/null > said 2>&1 || true
	[ "$(grep -c "does nothing" said)" = 0 ]
	for option in noise-offset-random-strength ip-noise-gamma-random-strength; do idle --$option |
		grep -q "does nothing"; done
	idle --huber-c 0.1 --huber-schedule snr --lr-scheduler-power 1 --conv-alpha 1 > said
	[ "$(grep -c "does nothing" said)" = 0 ]
	idle --loss-type huber --huber-c 0.3 --conv-dim 2 --conv-alpha 4 --lr-scheduler polynomial \
		--lr-scheduler-power 2 > said
	[ "$(grep -c "does nothing" said)" = 0 ]
}

@test "training that diverges is status 6 and publishes no number that is not finite" {
	status_of 6 lora_train --output-dir out --max-train-steps 400 --learning-rate 1e6 --max-grad-norm 0 \
		--save-every-n-steps 1 --save-state
	[[ "$output" == *"learning rate; what was saved before is intact"* ]]
	all_sound out
	[ ! -e out/t.safetensors ]
	# Its log says null, not NaN.
	grep '^{' <<< "$output" > log.jsonl
	jq -es 'map(select(.event == "step")) | length > 0' log.jsonl
	lacks log.jsonl '[Nn]a[Nn][,}]|[Ii]nf[,}]'
	status_of 6 lora_train --output-dir none --max-train-steps 400 --learning-rate 1e6 --max-grad-norm 0
	[[ "$output" == *"learning rate; nothing was saved"* ]]
}

@test "latents that hold a NaN are refused: status 3 names sample and tensor" {
	# The payload's checksum is right for the broken value: a file as another program could have written it.
	mkdir unpacked && tar -xf "$LATENTS" -C unpacked 2> /dev/null || true
	status_of 3 "$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only --max-train-steps 1 \
		--output-dir out <(flip_payload)
	[ ! -e out/t.safetensors ]
}
# A payload byte turned without its checksum, which is what a bad disk does
flip_payload() {
	cp "$LATENTS" flipped.tar
	at=$(tar -tRvf "$LATENTS" | awk '/latent.safetensors/ { sub(":", "", $2); print ($2 + 1) * 512 + 700; exit }')
	printf '\377' | dd of=flipped.tar bs=1 seek="$at" conv=notrunc 2> /dev/null
	cat flipped.tar
}

@test "a model with NaN trains nothing: status 6 or 3, no adapter" {
	cp -rL "$MODEL" broken && chmod -R u+w broken
	size=$(stat -c %s broken/unet/diffusion_pytorch_model.safetensors)
	printf '\377\377\377\377' | dd of=broken/unet/diffusion_pytorch_model.safetensors bs=1 seek=$((size - 4)) \
		conv=notrunc 2> /dev/null
	run "$BIN/lora-train" -q -m broken --network-train-unet-only --max-train-steps 30 --output-dir out \
		--output-name t "$LATENTS"
	[ "$status" -eq 6 ] || [ "$status" -eq 3 ]
	[ ! -e out/t.safetensors ]
}

@test "latents of another model, or for sizes it cannot take, are refused with what to do" {
	status_of 3 "$BIN/lora-train" -q -m "$ROOT/tests/golden/tiny-a/model" --network-train-unet-only \
		--max-train-steps 1 --output-dir out "$LATENTS"
	[[ "$output" == *"encode"* ]]
	status_of 3 "$BIN/lora-train" -q -m nowhere --max-train-steps 1 --output-dir out "$LATENTS"
	[[ "$output" == *nowhere* ]]
}

@test "text encoders, convolutions, accumulation: the modules are there, and move" {
	"$BIN/lora-train" -q -m "$MODEL" --network-dim 2 --conv-dim 1 --learning-rate 1e-2 \
		--gradient-accumulation-steps 2 --max-train-steps 2 \
		--output-dir all --output-name t "$LATENTS" > /dev/null
	"$BIN/lora-inspect" --json --verify all/t.safetensors > all.json
	# The first encoder's last layer leads nowhere: the UNet reads the output of the one before.  Its six modules
	# stay as they were.
	[ "$(jq -c '[.modules.te1, .modules.te2, .modules.unet, .untrained]' all.json)" = "[18,24,258,6]" ]
	lora_train --network-train-text-encoder-only --no-network-train-unet-only --learning-rate 1e-2 \
		--max-train-steps 2 --output-dir text > /dev/null
	[ "$("$BIN/lora-inspect" --json text/t.safetensors | jq '.modules.unet')" = 0 ]
}

@test "regularisation pictures count with their weight" {
	encode all.tar
	"$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only --network-dim 2 --max-train-steps 1 \
		--output-dir out --dry-run all.tar > log.jsonl
	[ "$(jq -c '[.pictures, .regularization_pictures]' log.jsonl)" = "[16,24]" ]
}

@test "a schedule that cannot be, and rates that learn nothing: told by --check and by a run, with latents or without" {
	schedule() { run "$BIN/lora-train" -m "$MODEL" --network-dim 2 --output-dir out --max-train-steps 10 \
		"$@" < /dev/null; }
	while IFS='|' read -r want says options; do
		for how in "--check" "--check $LATENTS" "--dry-run $LATENTS"; do
			# shellcheck disable=SC2086
			schedule $options $how
			[ "$status" -eq "$want" ] && [[ "$output" == *"$says"* ]] ||
				{ echo "$options $how: status $status: $output"; return 1; }
		done
	done <<- 'END'
		2|lr_warmup_steps: 20 are more than the run's 10|--lr-scheduler cosine --lr-warmup-steps 20
		2|'constant' has no warm-up|--lr-warmup-steps 2
		2|'constant' has no warm-up|--lr-warmup-steps 10%
		2|are more than the run's 10 together|--lr-scheduler warmup_stable_decay --lr-warmup-steps 6 --lr-decay-steps 5
		0|the learning rate is 0 in every step: nothing is learnt|--learning-rate 0
		0|the learning rate is 0 in every step: nothing is learnt|--learning-rate 0 --optimizer-type Prodigy
		0|the learning rate is 0 in every step: nothing is learnt|--lr-scheduler linear --max-train-steps 1 --lr-warmup-steps 1
		0|the text encoders' learning rate is 0|--learning-rate 0 --unet-lr 1e-4
		0|the UNet's learning rate is 0|--learning-rate 0 --text-encoder-lr 1e-4
	END
	# How long the run is, only its latents tell; that a constant rate has no warm-up is so in any case.
	schedule --check --max-train-epochs 3 --lr-scheduler cosine --lr-warmup-steps 20
	[ "$status" -eq 0 ]
	schedule --check --max-train-epochs 3 --lr-warmup-steps 0.1
	[ "$status" -eq 2 ]
	schedule --check --max-train-epochs 3 --lr-scheduler cosine --lr-warmup-steps 20 "$LATENTS"
	[ "$status" -eq 2 ]
	# Adafactor's own steps are none; a part that is left out is none either.
	for options in "--learning-rate 0 --optimizer-type Adafactor" "--unet-lr 0 --text-encoder-lr 1e-4" \
		"--network-train-unet-only --learning-rate 1e-4"; do
		# shellcheck disable=SC2086
		schedule --check $options
		[ "$status" -eq 0 ]
		[[ "$output" != *"learning rate is 0"* ]]
	done
}

@test "timesteps are those of the model: one of 500 and one of 2000" {
	for n in 500 2000; do
		cp -r "$MODEL" model$n
		jq ".num_train_timesteps = $n" "$MODEL/scheduler/scheduler_config.json" \
			> model$n/scheduler/scheduler_config.json
	done
	shown() { "$BIN/lora-inspect" --json --metadata "$1/t.safetensors" | jq -r '.metadata."lora_tools.config"' |
		grep timestep; }
	for options in "--min-timestep 600" "--min-timestep 500" "--max-timestep 501"; do
		# shellcheck disable=SC2086
		status_of 2 lora_train -m model500 --output-dir few --max-train-steps 1 $options
		[[ "$output" == *"the model"*500* ]]
	done
	lora_train -m model500 --output-dir few --max-train-steps 30 --train-batch-size 4 > few.jsonl
	[ "$(shown few)" = $'min_timestep = 0\nmax_timestep = 500' ]
	# All ten tenths of 2000 are met, not the first half.
	lora_train -m model2000 --output-dir many --max-train-steps 30 --train-batch-size 4 > many.jsonl
	[ "$(jq -s 'map(select(.event == "step"))[-1].loss_by_timestep | map(. != null) | all' many.jsonl)" = true ]
	[ "$(shown many)" = $'min_timestep = 0\nmax_timestep = 2000' ]
	"$BIN/lora-train" -m model2000 --network-train-unet-only --output-dir half --max-train-steps 20 \
		--train-batch-size 4 --max-timestep 1000 "$LATENTS" \
		> half.jsonl 2> err
	grep -q "max_timestep 1000: the model has 2000 timesteps, those from there on are not trained" err
	[ "$(jq -sc 'map(select(.event == "step"))[-1].loss_by_timestep[5:] | unique' half.jsonl)" = "[null]" ]
}

# changed MODEL PART: a copy in which one number in the middle of the part's file is another
changed() {
	local file size byte
	cp -r "$MODEL" "$1"
	file=$(echo "$1/$2"/*.safetensors)
	size=$(stat -c %s "$file")
	byte=$(od -An -tu1 -j $((size / 2)) -N1 "$file")
	printf "\\$(printf %o $((byte ^ 1)))" | dd of="$file" bs=1 seek=$((size / 2)) conv=notrunc 2> /dev/null
}

@test "prior_loss_weight changed after encoding is heard: another run, which says so" {
	local w
	cp -r "$BATS_FILE_TMPDIR/four" reg
	for w in 1 0.25; do
		"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" --reg reg --prior-loss-weight $w |
			"$BIN/lora-encode" -q -m "$MODEL" -o weighs$w.tar
	done
	echo 'prior_loss_weight = 0.25' > weight.toml
	echo 'train_batch_size = 4' > pairs.toml
	LATENTS=weighs0.25.tar lora_train --config pairs.toml --max-train-steps 3 --output-dir one > /dev/null
	LATENTS=weighs1.tar lora_train --config pairs.toml --config weight.toml --max-train-steps 3 \
		--save-state-on-train-end --output-dir two > /dev/null
	LATENTS=weighs1.tar lora_train --config pairs.toml --max-train-steps 3 --output-dir three > /dev/null
	numbers() { tail -c 20000 "$1/t.safetensors" | sha256sum; }
	[ "$(numbers one)" = "$(numbers two)" ]
	[ "$(numbers one)" != "$(numbers three)" ]
	grep -aq '"ss_prior_loss_weight":"0.25"' two/t.safetensors
	LATENTS=weighs1.tar status_of 2 lora_train --config pairs.toml --max-train-steps 4 --output-dir two \
		--resume two/t-step00000003-state.safetensors
	told() {
		"$BIN/lora-train" -m "$MODEL" --config weight.toml --network-train-unet-only --check "$1" 2>&1 |
			grep -c "^lora-train: prior_loss_weight = 0.25: .* counts; 1, say the latents" || true
	}
	[ "$(told weighs1.tar)" = 1 ]
	[ "$(told weighs0.25.tar)" = 0 ]        # the latents' own is no other one
}

@test "latents of another VAE or other text encoders are refused, by --check too; --allow-other-encoders says so and goes on" {
	changed othertext1 text_encoder; changed othertext2 text_encoder_2; changed othervae vae
	while read -r model says; do
		for how in "" --check; do
			# shellcheck disable=SC2086
			status_of 3 lora_train -m $model --output-dir out --max-train-steps 1 $how
			[[ "$output" == *"another ${says//_/ } ("*") than that of $model ("*"--allow-other-encoders"* ]]
			# shellcheck disable=SC2086
			status_of 0 lora_train -m $model --output-dir out --max-train-steps 1 \
				--allow-other-encoders $how
			[[ "$output" == *"warning: sample"*"another ${says//_/ } ("*") than that of $model ("* ]]
		done
	done <<- 'END'
		othertext1 text_encoder
		othertext2 text_encoder_2
		othervae VAE
	END
	# Where the text encoders are trained, the text outputs are not used.
	"$BIN/lora-train" -q -m othertext2 --network-dim 2 --max-train-steps 1 --output-dir out "$LATENTS" > /dev/null
	# A VAE that is named for both programs is the run's; so is the model's own where another one paints.
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" | "$BIN/lora-encode" -q -m "$MODEL" \
		--vae othervae/vae -o vae.tar
	lora_train --max-train-steps 1 --output-dir out > /dev/null
	LATENTS=vae.tar status_of 3 lora_train --max-train-steps 1 --output-dir out
	LATENTS=vae.tar lora_train --max-train-steps 1 --output-dir out --vae othervae/vae > /dev/null
	lora_train --max-train-steps 1 --output-dir out --vae othervae/vae > /dev/null
	status_of 3 lora_train --max-train-steps 1 --output-dir out --vae nowhere
	cp -r "$MODEL/vae" novae; cp "$MODEL/unet"/*.safetensors novae/
	status_of 3 lora_train --max-train-steps 1 --output-dir out --vae novae
	echo "a ball --w 32 --h 32 --s 1" > prompts.txt
	for latents in "$LATENTS" vae.tar; do
		LATENTS=$latents lora_train --max-train-steps 1 --output-dir out --vae othervae/vae \
			--sample-prompts prompts.txt > /dev/null
	done
	# Nothing to compare with.
	cp -r "$MODEL" bare; rm -r bare/vae
	lora_train -m bare --max-train-steps 1 --output-dir out > /dev/null
}

@test "a file that is not there is told with the option or the variable that names it" {
	local check=("$BIN/lora-train" -m "$MODEL" --network-train-unet-only --output-dir out --sample-at-first --check)
	for option in network-weights base-weights resume sample-prompts; do
		variable=LORA_$(tr a-z- A-Z_ <<< $option)
		status_of 3 "${check[@]}" --$option nothere "$LATENTS"
		[[ "$output" == *"lora-train: --$option: nothere: "* ]] || { echo "$output"; return 1; }
		status_of 3 env $variable=nothere "${check[@]}" "$LATENTS"
		[[ "$output" == *"lora-train: $variable: nothere: "* ]] || { echo "$output"; return 1; }
	done
}
