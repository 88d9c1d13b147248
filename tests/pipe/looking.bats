#!/usr/bin/env bats
# What people look at during training: lines, event files, samples, validation, a page.  None of it may change a byte of
# the run.

setup_file() {
	load pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar STRAIGHT=$BATS_FILE_TMPDIR/straight
	encode "$LATENTS"
	train 12 "$STRAIGHT" > "$BATS_FILE_TMPDIR/straight.jsonl"
}
setup() {
	load pipe.bash
	cd "$BATS_TEST_TMPDIR" || return 1
	printf '%s\n' '# a comment' 'a gizmo robot --s 4 --d 3' \
		'a gizmo robot on blue --n ugly --w 48 --h 64 --s 3 --l 3' > prompts.txt
}

STATE12=t-step00000012-state.safetensors
same_run() { [ "$(sum "$1/t.safetensors" "$1/$STATE12")" = "$(sum "$STRAIGHT/t.safetensors" "$STRAIGHT/$STATE12")" ]; }
steps() { jq -c 'select(.event == "step") | del(.seconds, .samples_per_s, .seconds_data, .seconds_compute, .seconds_optimizer, .memory_bytes)' "$@"; }

@test "a step's line: old fields first, then what is new; each line under 64 KiB" {
	local log=$BATS_FILE_TMPDIR/straight.jsonl
	[ "$(jq -sc 'map(select(.event == "step"))[0] | keys_unsorted' "$log")" = \
		'["event","step","epoch","loss","lr","grad_norm","samples_per_s","seconds","loss_smooth","loss_by_timestep","lr_unet","update_norm","seconds_data","seconds_compute","seconds_optimizer","memory_bytes"]' ]
	[ "$(jq -s 'map(select(.event == "step")) | all((.loss_by_timestep | length) == 10 and .memory_bytes > 1e6)' \
		"$log")" = true ]
	# The first update of a warm-up has rate 0 and moves nothing.
	[ "$(jq -sc 'map(select(.event == "step")) | [.[0].update_norm.M00 == 0, .[1].update_norm.M00 > 0, .[1].update_norm.IN04 > 0]' "$log")" = '[true,true,true]' ]
	[ "$(jq -s 'map(select(.event == "step")) | all(.seconds_data + .seconds_compute + .seconds_optimizer <= .seconds)' "$log")" = true ]
	awk 'length($0) > 65535 { exit 1 }' "$log"
}

@test "samples, logs, page and validation's events: the same bytes as without" {
	train 12 out --sample-prompts prompts.txt --sample-every-n-steps 5 --sample-at-first --logging-dir tb \
		--log-with all --log log.jsonl \
		--html page.html > stdout
	[ ! -s stdout ]
	same_run out
	diff <(steps log.jsonl) <(steps "$BATS_FILE_TMPDIR/straight.jsonl")
	[ "$(cd out/sample && echo *)" = \
		"t_000005_00_3.png t_000005_01_42.png t_000010_00_3.png t_000010_01_42.png t_e000000_00_3.png t_e000000_01_42.png" ]
	[ "$(jq -s 'map(select(.event == "sample")) | length' log.jsonl)" = 6 ]
	[ "$(jq 'select(.event == "start").config | test("network_dim = 4")' log.jsonl)" = true ]
	[ "$(ls tb/t)" = events.out.tfevents.0000000001.lora-train ]
	grep -q 'data:image/jpeg;base64' page.html
	grep -q '<svg' page.html
	lacks page.html 'src="http|href='
}

@test "samples are those that lora-sample paints with the saved adapter" {
	train 6 out --sample-prompts prompts.txt --sample-every-n-steps 5 --sample-sampler euler \
		--save-every-n-steps 5 > /dev/null
	"$BIN/lora-sample" -q -m "$MODEL" --lora out/t-step00000005.safetensors -p 'a gizmo robot on blue' -n ugly \
		-W 48 -H 64 --steps 3 --cfg 3 \
		--sampler euler --seed 42 -o one.png > /dev/null
	cmp <(pixels one.png) <(pixels out/sample/t_000005_01_42.png)
}

# pixels PNG: its IDAT chunks; the text chunk before them differs by the adapter's name
pixels() { grep -obUa IDAT "$1" | head -n 1 | cut -d: -f1 | { read -r at; tail -c "+$at" "$1"; }; }

@test "samples by epoch; their size is the most common bucket's; each time the same seed" {
	echo 'a gizmo robot --s 2' > one.txt
	few_latents four.tar
	LATENTS=four.tar train 6 out --sample-prompts one.txt --sample-every-n-epochs 1 \
		> log.jsonl    # three batches an epoch
	[ "$(cd out/sample && echo *)" = "t_e000001_00_42.png t_e000002_00_42.png" ]
	[ "$(jq -c 'select(.event == "sample") | [.step, .width, .height]' log.jsonl | tr '\n' ' ')" = \
		"[3,64,64] [6,64,64] " ]
}

@test "a prompt that cannot be painted is refused at the start; a sample that cannot be saved costs a warning" {
	echo 'a robot --w 50000' > wide.txt
	echo 'a robot --ss dance' > dance.txt
	status_of 2 train 2 out --sample-prompts dance.txt
	[[ $output == *dance* ]]
	printf 'a\nb --w 64 --h 60\n' > size.txt         # not 64x56, to which sd-scripts rounds it
	status_of 2 train 2 out --sample-prompts size.txt
	[[ $output == *": size.txt:2: 64x60 is no multiple of 16; 64x64 is" ]]
	status_of 3 train 2 out --sample-prompts none.txt
	mkdir -p out; : > out/sample
	train 2 out --sample-prompts prompts.txt --sample-every-n-steps 1 > log.jsonl 2> words
	grep -q 'training goes on' words
	[ "$(jq -s 'map(select(.event == "finding" and .kind == "sample")) | length' log.jsonl)" = 2 ]
	[ -e out/t.safetensors ]
}

@test "SIGUSR2: samples now, and the run goes on" {
	train_exec 1000000 out --sample-prompts prompts.txt > log.jsonl 3>&- & \
		     # more than it can do before the signals come
	pid=$!
	wait_for 60 grep -q '"event":"step"' log.jsonl
	kill -USR2 $pid
	wait_for 60 grep -q '"event":"sample"' log.jsonl
	kill -TERM $pid
	status=0; wait $pid || status=$?
	[ $status = 75 ]
	[ "$(find out/sample -name 't_0*_00_3.png' | wc -l)" = 1 ]
}

@test "--log: a killed run's log is gone on with; its torn line is cut" {
	# Killed at a line of its log: a signal from here may come when all is done.
	UNDER=(strace -f -qq -o /dev/null -P "$PWD/log.jsonl" -e trace=write -e inject=write:signal=SIGKILL:when=12)
	status_of 137 train 12 out --log log.jsonl --save-every-n-steps 1 --resume auto
	UNDER=()
	[ ! -e out/t.safetensors ]
	[ "$(find out -name 't-step*-state.safetensors' | wc -l)" -gt 0 ]
	printf '{"event":"step","st' >> log.jsonl
	train 12 out --log log.jsonl --resume auto --html page.html
	same_run out
	[ "$(jq -s 'map(select(.event == "resume")) | length' log.jsonl)" = 1 ]
	# What a reader keeps who lets a resume replace what lies behind it: the straight run's lines.
	jq -cs 'reduce .[] as $x ([]; if $x.event == "start" then map(select(.step <= $x.step)) else . + [$x] end) | .[]' log.jsonl > kept
	diff <(steps kept) <(steps "$BATS_FILE_TMPDIR/straight.jsonl")
	grep -q 'Step 12 of 12' page.html
}

@test "each start writes an event file of its own" {
	train 4 out --logging-dir tb --log-prefix run- > /dev/null
	train 6 out --logging-dir tb --log-prefix run- --resume auto > /dev/null
	[ "$(ls tb/run-t)" = "$(printf 'events.out.tfevents.000000000%d.lora-train\n' 1 2)" ]
	train 4 plain --logging-dir tb2 --log-with json > /dev/null
	[ ! -e tb2 ]
}

# scalars TAG [FOLDER]: "step value" of each, from the folder's last event file
scalars() { perl "$BATS_TEST_DIRNAME/scalars.pl" "$(ls "${2:-tb/t}"/events* | tail -n 1)" |
	awk -F '\t' -v tag="$1" '$3 == tag { print $1, $2 }'; }
# means N < "step value": of the last N values
means() { awk -v n="$1" \
	'{ v[NR] = $2; s = 0; for (i = NR; i > 0 && i > NR - n; i--) s += v[i]; printf "%d %.5f\n", $1, s / (NR < n ? NR : n) }'; }
five() { awk '{ printf "%d %.5f\n", $1, $2 }'; }

@test "TensorBoard as sd-scripts writes it: means, Prodigy's own rate, norms" {
	few_latents four.tar
	# Three batches an epoch: from the fourth on the mean is of the last three.
	LATENTS=four.tar train 7 out --logging-dir tb --optimizer-type Prodigy --learning-rate 0.5 --unet-lr 1 \
		--scale-weight-norms 1e-7 \
		--lr-scheduler constant --lr-warmup-steps 0 > log.jsonl
	diff <(scalars loss/average | five) <(scalars loss/current | means 3)
	[ "$(scalars loss/current | wc -l)" = 7 ]
	[ "$(scalars loss/epoch_average | five)" = \
		"$(printf '1 %.5f\n2 %.5f' "$(scalars loss/average | awk '$1 == 3 { print $2 }')" \
		"$(scalars loss/average | awk '$1 == 6 { print $2 }')")" ]
	# d times the rate that is used, which is unet_lr
	[ "$(scalars lr/unet | sort -u -k 2 | wc -l),$(scalars lr/unet | head -n 1)" = "1,1 1" ]
	diff <(scalars 'lr/d*lr/unet' | awk '{ printf "%.4g\n", $2 }') <(jq -r 'select(.event == "step") | .d' \
		log.jsonl | awk '{ printf "%.4g\n", $1 }')
	[ -z "$(scalars 'lr/d*lr/textencoder')" ]
	[ "$(jq -c 'select(.event == "step") | .lr' log.jsonl | sort -u)" = 1 ]
	# no norm is above the limit, and the greatest one is not below the mean
	[ "$(scalars max_norm/max_key_norm | wc -l)" = 7 ]
	join <(scalars max_norm/max_key_norm) <(scalars max_norm/average_key_norm) |
		awk '$2 > 1.0001e-7 || $3 > $2 { exit 1 }'
	[ "$(scalars max_norm/keys_scaled | awk '$2 != int($2) { exit 1 } END { print ($2 > 0) }')" = 1 ]
	# LoRA+ and blocks have groups of their own.
	LATENTS=four.tar train 1 plus --logging-dir tb3 --loraplus-lr-ratio 16 --learning-rate 0.5 \
		--lr-scheduler constant --lr-warmup-steps 0 > /dev/null
	[ "$(scalars lr/unet tb3/t),$(scalars 'lr/unet plus' tb3/t)" = "1 0.5,1 8" ]
	LATENTS=four.tar train 1 blocks --logging-dir tb4 --mid-lr-weight 0,0.5,0 --learning-rate 1 \
		--lr-scheduler constant --lr-warmup-steps 0 > /dev/null
	[ "$(scalars lr/unet_block11 tb4/t),$(scalars lr/unet_block5 tb4/t),$(scalars lr/unet tb4/t)" = "1 0.5,1 1," ]
	# Without them there is nothing of the kind.
	LATENTS=four.tar train 2 plain --logging-dir tb2 > /dev/null
	[ -z "$(perl "$BATS_TEST_DIRNAME/scalars.pl" tb2/t/events* | grep -E 'max_norm|d\*lr')" ]
}

@test "TensorBoard: validation by steps at steps, by epochs at epochs, and what divides it from training" {
	few_latents four.tar
	# Three pictures are trained on, one after another.
	LATENTS=four.tar train 6 out --train-batch-size 1 --logging-dir tb --validation-split 0.25 \
		--validate-every-n-steps 2 > log.jsonl
	[ "$(scalars loss/validation/step_average | cut -d' ' -f1 | tr '\n' ' ')" = "2 4 6 " ]
	diff <(scalars loss/validation/step_average | five) \
		<(jq -r 'select(.event == "validation") | "\(.step) \(.loss)"' log.jsonl | five)
	join <(scalars loss/validation/step_average) <(join <(scalars loss/average) \
		<(scalars loss/validation/step_divergence)) |
		awk '{ d = $2 - $3 - $4; if (d > 1e-5 || d < -1e-5) exit 1 }'
	[ -z "$(scalars loss/validation/epoch_average)" ]
	LATENTS=four.tar train 6 out2 --train-batch-size 1 --logging-dir tb2 --validation-split 0.25 > log2.jsonl
	[ "$(scalars loss/validation/epoch_average tb2/t | cut -d' ' -f1 | tr '\n' ' ')" = "1 2 " ]
	[ "$(scalars loss/validation/epoch_divergence tb2/t | wc -l),$(scalars loss/validation/step_average tb2/t \
		| wc -l)" = 2,0 ]
}

@test "a step size finder's note speaks of the rate that is used" {
	few_latents four.tar
	printf 'optimizer_type = "Prodigy"\nunet_lr = 1\n' > c.toml
	run "$BIN/lora-train" -m "$MODEL" --config c.toml --network-train-unet-only --check four.tar
	[[ $output != *"very low"* ]]
	printf 'optimizer_type = "Prodigy"\nunet_lr = 1e-4\nlearning_rate = 1\n' > c.toml
	run "$BIN/lora-train" -m "$MODEL" --config c.toml --network-train-unet-only --check four.tar
	[[ $output == *"0.0001 is very low"* ]]
	[ "$("$BIN/lora-train" -q -m "$MODEL" --config c.toml --network-train-unet-only --max-train-steps 1 --print-lr \
		four.tar | jq .lr)" = 0.0001 ]
}

@test "log_with: wandb is refused with the reason, tensorboard wants a folder" {
	status_of 2 train 2 out --log-with wandb
	[[ $output == *"no program here uses the network"* ]]
	status_of 2 train 2 out --log-with tensorboard
	[[ $output == *--logging-dir* ]]
	status_of 2 train 2 out --log-with paper
}

@test "a log or page that cannot be written" {
	status_of 4 train 2 out --log /proc/none/log
	status_of 4 train 2 out --html /proc/none/page
	[ ! -e out/t.safetensors ]                      # a folder that cannot be made is found before the first step
	[ -c /dev/full ] || skip "no /dev/full"
	status_of 4 train 2 out --html /dev/full
	[ -e out/t.safetensors ]
	status_of 4 train 2 other --log /dev/full
}

@test "validation: a part is held out, seen at the same noise each time, and not trained on" {
	train 6 out --validation-split 0.25 --validate-every-n-steps 2 > log.jsonl
	[ "$(jq -c 'select(.event == "validation") | [.step, .pictures]' log.jsonl | tr '\n' ' ')" = \
		"[2,4] [4,4] [6,4] " ]
	[ "$(jq 'select(.event == "start") | .pictures + .validation_pictures' log.jsonl)" = 16 ]
	[ "$("$BIN/lora-inspect" --json --metadata out/t.safetensors | grep -o '"ss_num_train_images": *"[0-9]*"' |
		head -n 1)" != \
		"$("$BIN/lora-inspect" --json --metadata "$STRAIGHT/t.safetensors" |
		grep -o '"ss_num_train_images": *"[0-9]*"' | head -n 1)" ]
	# How often it is looked at changes nothing.
	train 6 seldom --validation-split 0.25 --validate-every-n-steps 6 > seldom.jsonl
	cmp out/t.safetensors seldom/t.safetensors
	[ "$(jq -c 'select(.event == "validation" and .step == 6)' log.jsonl)" = \
		"$(jq -c 'select(.event == "validation")' seldom.jsonl)" ]
	# Nothing learnt: the loss at step 2 is that of step 6.
	train 6 still --validation-split 0.25 --validate-every-n-steps 2 --learning-rate 0 > still.jsonl
	[ "$(jq -c 'select(.event == "validation") | .loss' still.jsonl | sort -u | wc -l)" = 1 ]
	# Another part, and another run: not to be mixed.
	train 6 other --validation-split 0.25 --validation-seed 7 > other.jsonl
	differ <(jq 'select(.event == "validation").loss' other.jsonl | tail -n 1) \
		<(jq 'select(.event == "validation").loss' log.jsonl | tail -n 1)
	status_of 2 train 8 out --resume auto
	[[ $output == *held_out* ]]
}

@test "ema_decay: another adapter is saved, the run is the same; resumed, the same bytes" {
	train 12 whole --ema-decay 0.9 > log.jsonl
	differ whole/t.safetensors "$STRAIGHT/t.safetensors"
	diff <(steps log.jsonl) <(steps "$BATS_FILE_TMPDIR/straight.jsonl")
	train 12 cut --ema-decay 0.9 --save-every-n-steps 5 > /dev/null
	rm "cut/$STATE12" cut/t.safetensors
	train 12 cut --ema-decay 0.9 --resume auto > /dev/null
	[ "$(sum cut/t.safetensors "cut/$STATE12")" = "$(sum whole/t.safetensors "whole/$STATE12")" ]
	status_of 2 train 14 whole --resume auto
	[[ $output == *ema_decay* ]]
}

@test "a step that is not finite: its batch is written out, named by a finding, and repeats it" {
	few_latents four.tar
	# Rate 0: the weights stay, so a step that is repeated on new weights has the loss that it had.
	LATENTS=four.tar train 4 zero --gradient-accumulation-steps 2 --learning-rate 0 > zero.jsonl
	LATENTS=four.tar train 4 bad --gradient-accumulation-steps 2 --lr-scheduler constant --lr-warmup-steps 0 \
		--learning-rate 1e6 \
		--max-grad-norm 0 --save-every-n-steps 1 --save-last-n-states 9 > bad.jsonl 2> /dev/null
	tar=$(jq -r 'select(.event == "finding" and .kind == "nonfinite" and .step == 3).path' bad.jsonl)
	[ "$tar" = bad/t-nonfinite-step00000003.tar ]
	"$BIN/lora-inspect" --verify "$tar" > /dev/null
	LATENTS=$tar train 4 again --gradient-accumulation-steps 2 --learning-rate 0 --replay-step 3 > again.jsonl
	[ "$(jq 'select(.event == "step") | .loss, .grad_norm' again.jsonl)" = \
		"$(jq 'select(.event == "step" and .step == 3) | .loss, .grad_norm' zero.jsonl)" ]
	[ ! -e again/t.safetensors ]
	# On the weights that it met, it is not finite again.
	LATENTS=bad/t-nonfinite-step00000002.tar train 4 again --gradient-accumulation-steps 2 --replay-step 2 \
		--resume bad/t-step00000001-state.safetensors > again.jsonl
	[ "$(jq 'select(.event == "step").nonfinite' again.jsonl)" = true ]
	LATENTS=four.tar status_of 2 train 4 again --replay-step 2 --train-batch-size 1
}

@test "savings: by the clock, the last n, the last n steps, by epochs; at the end" {
	few_latents four.tar
	export LATENTS=four.tar
	train 6 last --save-every-n-steps 1 --save-last-n 2 > /dev/null
	[ "$(cd last && echo t-step????????.safetensors)" = "t-step00000004.safetensors t-step00000005.safetensors" ]
	train 8 steps --save-every-n-steps 2 --save-last-n-steps 3 --save-last-n-steps-state 3 > /dev/null
	[ "$(cd steps && echo t-step????????.safetensors)" = "t-step00000004.safetensors t-step00000006.safetensors" ]
	[ "$(cd steps && echo *-state.safetensors)" = \
		"t-step00000006-state.safetensors t-step00000008-state.safetensors" ]
	train 12 epochs --save-every-n-epochs 1 --save-last-n-epochs 2 \
		> /dev/null                      # three batches an epoch
	[ "$(cd epochs && echo t-step????????.safetensors)" = "t-step00000006.safetensors t-step00000009.safetensors" ]
	train 12 ratio --save-n-epoch-ratio 2 > /dev/null
	[ "$(cd ratio && echo t-step????????.safetensors)" = t-step00000006.safetensors ]
	train 4 end --no-save-state --save-state-on-train-end --save-every-n-steps 2 > /dev/null
	[ "$(cd end && echo *-state.safetensors)" = t-step00000004-state.safetensors ]
	train 4 clock --no-save-state --save-every-minutes 0.0000001 --save-last-n-states 9 > log.jsonl
	[ "$(jq -c 'select(.event == "state").step' log.jsonl | tr '\n' ' ')" = "1 2 3 " ]
	cmp clock/t.safetensors end/t.safetensors
}

@test "the page marks what differs from the defaults, whoever said it" {
	train 2 out --html page.html --log log.jsonl --max-grad-norm 1 --seed 42
	grep -q '^<mark>train_batch_size = 2</mark>$' page.html
	grep -q '^max_grad_norm = 1$' page.html
	grep -q '^network_dim = 4$' page.html
	grep -q 'seed = .*42' page.html && lacks page.html '<mark>seed'
	[ "$(jq -c 'select(.event == "start").changed | contains(["train_batch_size", "lr_scheduler"]) and (index("max_grad_norm") == null)' log.jsonl)" = true ]
}
