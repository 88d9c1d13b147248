#!/usr/bin/env bats
# Optimizers: with arguments that change the state, a run that is killed and goes on gives the bytes of one that was
# not; sixty steps learn; what is asked for is said.

setup_file() {
	load pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/few.tar ALL=$BATS_FILE_TMPDIR/all.tar
	few_latents "$LATENTS"
	encode "$ALL"
}
setup() { load pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

# same FOLDER FOLDER: adapter and last state
same() {
	[ "$(sum "$1/t.safetensors")" = "$(sum "$2/t.safetensors")" ] ||
		{ echo "the adapters of $1 and $2 differ"; return 1; }
	[ "$(sum "$1/t-step00000006-state.safetensors")" = "$(sum "$2/t-step00000006-state.safetensors")" ] ||
		{ echo "the states of $1 and $2 differ"; return 1; }
}

# from_step_3 NAME RATE [options]: six steps with warm-up and cosine, rank 16 so that tensors of 4096 elements occur;
# whole, and killed, put back to the state after step 3, resumed; once without accumulation and once with
from_step_3() {
	local name=$1 rate=$2 n pid; shift 2
	for n in 1 2; do
		set -- "$@" --network-dim 16 --optimizer-type "$name" --learning-rate "$rate" \
			--gradient-accumulation-steps $n
		train 6 "whole$n" "$@" > /dev/null
		train_exec 6 "cut$n" "$@" --save-every-n-steps 1 --save-last-n-states 9 > /dev/null 2>&1 3>&- & pid=$!
		wait_for 60 test -e "cut$n/t-step00000003-state.safetensors"
		kill -9 $pid 2> /dev/null || true
		wait $pid || true
		rm -f "cut$n/t.safetensors" "cut$n"/t-step0000000[456]*
		train 6 "cut$n" "$@" --resume auto > log.jsonl
		[ "$(jq -s 'map(select(.event == "resume"))[0].step' log.jsonl)" = 3 ]
		same "whole$n" "cut$n"
	done
}

# Every optimizer as it is goes on in resume_matrix.bats; here, what their arguments add to a state.
@test "Adafactor with a learning rate and a first moment goes on" {
	from_step_3 Adafactor 1e-3 --optimizer-args relative_step=False --optimizer-args scale_parameter=False \
		--optimizer-args beta1=0.9
}
@test "Prodigy with bias correction goes on" { from_step_3 Prodigy 1 --optimizer-args d0=1e-4 --optimizer-args use_bias_correction=True; }
@test "D-Adaptation with decoupled decay goes on" { from_step_3 DAdaptAdam 1 --optimizer-args d0=1e-4 --optimizer-args decouple=True; }
@test "schedule-free AdamW with its own warm-up goes on" { from_step_3 AdamWScheduleFree 1e-3 --optimizer-args warmup_steps=4; }

# types FILE PREFIX: types of the tensors whose names begin so
types() {
	local n
	n=$(od -An -tu8 -N8 "$1" | tr -d ' ')
	tail -c +9 "$1" | head -c "$n" |
		jq -r --arg p "$2" 'to_entries[] | select(.key | startswith($p)) | .value.dtype' | sort -u | tr '\n' ' '
}

@test "AdamW8bit goes on, and its state holds bytes" {
	from_step_3 AdamW8bit 1e-3
	[ "$(types whole1/t-step00000006-state.safetensors slot0.)" = "F32 U8 " ]
	[ "$(types whole1/t-step00000006-state.safetensors slot2.)" = "F32 " ]
	"$BIN/lora-inspect" --verify whole1/t-step00000006-state.safetensors > /dev/null
}

@test "Prodigy's state holds its numbers; another optimizer's state is refused by name" {
	train 2 p --optimizer-type prodigy --learning-rate 1 > log.jsonl
	[ "$(types p/t-step00000002-state.safetensors scalars)" = "F64 " ]
	[ "$(jq -s 'map(select(.event == "step"))[1].d < 0.0000011' log.jsonl)" = true ]
	status_of 2 train 3 p --optimizer-type lion --resume auto
	[[ "$output" == *"optimizer=Prodigy"*"optimizer=Lion"* ]]
	status_of 0 train 3 p --optimizer-type PRODIGY --learning-rate 1 --resume auto
}

# learns RATE NAME [options]: mean loss of steps 41 to 60 of the demo.  The draws are the same for all, and an adapter
# that does not move has 0.0666.
learns() {
	local rate=$1 name=$2; shift 2
	"$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --network-train-unet-only --train-batch-size 2 \
		--max-train-steps 60 --output-dir "$name" \
		--optimizer-type "$name" --learning-rate "$rate" "$@" "$ALL" > log.jsonl
	jq -es --arg name "$name" '[.[] | select(.event == "step" and .step > 40).loss] | add / length | ., . < 0.06' \
		log.jsonl
}

@test "sixty steps of every optimizer end below a loss of 0.06" {
	learns 3e-3 AdamW
	learns 3e-3 AdamW8bit
	learns 1e-3 Lion
	learns 0 Adafactor --optimizer-args scale_parameter=False
	learns 1 Prodigy --optimizer-args growth_rate=1.2
	learns 1 DAdaptAdam --optimizer-args d0=1e-4 --optimizer-args growth_rate=1.1
	learns 1e-2 AdamWScheduleFree
	(learns 0 AdamW) && return 1
	true
}

# said NAME RATE [options]: what a run says before the first step
said() {
	run "$BIN/lora-train" -m "$MODEL" --network-train-unet-only --max-train-steps 4 --output-dir said \
		--optimizer-type "$@" "$LATENTS"
	[ "$status" -eq 0 ] || { echo "$output"; return 1; }
}

@test "low rates, unused schedules and other names are said" {
	said Prodigy --learning-rate 1e-4 --dry-run
	[[ "$output" == *"1.0 is usual"* ]]
	said Prodigy --learning-rate 1 --dry-run
	[[ "$output" != *"1.0 is usual"* ]]
	said PagedAdamW8bit --dry-run
	[[ "$output" == *"is AdamW8bit here"* ]]
	said Adafactor --dry-run
	[[ "$output" == *"relative_step=True sets its own step sizes"* ]]
	said AdamWScheduleFree --lr-scheduler cosine --dry-run
	[[ "$output" == *"needs no schedule"* ]]
}

@test "--print-lr says what a rate means" {
	said DAdaptAdam --learning-rate 1 --print-lr
	[[ "$output" == *"step size d"* && "$output" == *'"step":4,"lr":1}'* ]]
	said Adafactor --optimizer-args warmup_init=True --print-lr
	[[ "$output" == *"root mean square"* && "$output" == *'"step":4,"lr":'*4e-06* ]]
	said AdamWScheduleFree --learning-rate 1 --optimizer-args warmup_steps=2 --print-lr
	[[ "$output" == *'"step":1,"lr":0.5}'*'"step":2,"lr":1}'* ]]
}

@test "kohya's old flags, and wrong settings" {
	"$BIN/lora-train" -m "$MODEL" --network-train-unet-only --use-8bit-adam --max-train-steps 1 --output-dir old \
		-q "$LATENTS" > /dev/null
	head -c 20000 old/last.safetensors | grep -qa "bitsandbytes.optim.adamw.AdamW8bit"
	printf 'use_lion_optimizer = true\n' > lion.toml
	"$BIN/lora-train" --config lion.toml -m "$MODEL" --network-train-unet-only --max-train-steps 1 \
		--output-dir old -q "$LATENTS" > /dev/null
	head -c 20000 old/last.safetensors | grep -qa "lion_pytorch.lion_pytorch.Lion"
	status_of 2 train 2 wrong --use-8bit-adam --use-lion-optimizer
	status_of 2 train 2 wrong --use-8bit-adam --optimizer-type Prodigy
	status_of 2 train 2 wrong --optimizer-type SGDNesterov
	[[ "$output" == *"AdamW, AdamW8bit, Lion"* ]]
	status_of 2 train 2 wrong --optimizer-type Prodigy --optimizer-args momentum=0.9
	[[ "$output" == *"d_coef, growth_rate"* ]]
	status_of 2 train 2 wrong --optimizer-type AdamWScheduleFree --ema-decay 0.9
	[[ "$output" == *"keeps an average itself"* ]]
}
