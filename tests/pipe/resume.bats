#!/usr/bin/env bats
# Resume is bit for bit: a run that is cut anywhere and goes on gives the bytes of one that was not.

STATE12=t-step00000012-state.safetensors

setup_file() {
	load pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar STRAIGHT=$BATS_FILE_TMPDIR/straight
	encode "$LATENTS"
	train 12 "$STRAIGHT" > "$BATS_FILE_TMPDIR/straight.jsonl"
}
setup() { load pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

same_adapter() { [ "$(sum "$1/t.safetensors")" = "$(sum "${2:-$STRAIGHT}/t.safetensors")" ]; }
same_run() { same_adapter "$1" && [ "$(sum "$1/$STATE12")" = "$(sum "$STRAIGHT/$STATE12")" ]; }

@test "two runs give the same adapter and the same state" {
	train 12 again > /dev/null
	same_run again
}

@test "1, 2 and 3 threads give the same adapter and the same state" {
	local n
	for n in 1 2 3; do
		OMP_NUM_THREADS=$n train 12 "threads$n" > /dev/null
		same_run "threads$n"
	done
}

@test "checkpointing changes memory, not bytes" {
	train 12 checkpointed --gradient-checkpointing > log.jsonl
	cmp <(tail -c 787000 checkpointed/t.safetensors) <(tail -c 787000 "$STRAIGHT/t.safetensors")
	cmp <(tail -c 2362000 "checkpointed/$STATE12") <(tail -c 2362000 "$STRAIGHT/$STATE12")
	[ "$(jq 'select(.event == "start").activation_bytes' log.jsonl)" -lt \
		"$(jq 'select(.event == "start").activation_bytes' "$BATS_FILE_TMPDIR/straight.jsonl")" ]
}

@test "neither locale nor time zone nor place changes a byte" {
	LC_ALL=C.UTF-8 TZ=Asia/Tokyo train 12 "a place" > /dev/null
	LC_ALL=C TZ=America/Lima train 12 here > /dev/null
	same_run "a place"
	same_run here
}

@test "killed at random moments and resumed: the same bytes" {
	local i pid
	for i in 1 2 3 4 5 6; do
		train_exec 12 cut --save-every-n-steps 1 --resume auto > /dev/null 2>&1 3>&- &
		pid=$!
		# Half of the kills wait for a step of their own, so that a slow machine does not die in loading each
		# time.
		[ $((i % 2)) = 0 ] || wait_for 20 test -e "cut/t-step$(printf %08d $((i + 1))).safetensors" || true
		sleep "0.0$((RANDOM % 9))$((RANDOM % 9))"
		kill -9 $pid 2> /dev/null || true
		wait $pid || true
		all_sound cut
	done
	train 12 cut --save-every-n-steps 1 --resume auto > log.jsonl
	same_run cut
	[ "$(jq -s 'map(select(.event == "resume")) | length' log.jsonl)" = 1 ]
	[ -z "$(temporaries cut)" ]
}

@test "the log of a resumed run goes on as the straight one did" {
	train 12 part --save-every-n-steps 5 > /dev/null
	rm "part/$STATE12" part/t.safetensors
	train 12 part --resume auto > log.jsonl
	timeless() { jq -c \
		"select($1) | del(.samples_per_s, .memory_bytes) | with_entries(select(.key | startswith(\"seconds\") | not))" "$2"; }
	diff <(timeless '.event == "step"' log.jsonl) <(timeless '.event == "step" and .step > 10' \
		"$BATS_FILE_TMPDIR/straight.jsonl")
	[ "$(timeless '.event == "step"' log.jsonl | wc -l)" = 2 ]
	same_run part
}

# cut_and_resume LATENTS [options]: straight against cut after every second step of six
cut_and_resume() {
	local latents=$1 s; shift
	go() {
		exec "$BIN/lora-train" -q -m "$MODEL" --network-dim 2 --learning-rate 1e-3 --max-train-steps "$1" \
			--output-dir "$2" \
			--output-name t --save-state --resume auto "${@:3}" "$latents" > /dev/null
	}
	(go 6 whole "$@")
	for s in 2 4 6; do
		go 6 pieces "$@" --save-every-n-steps 1 3>&- & pid=$!
		wait_for 60 test -e "pieces/t-step0000000$s.safetensors" -o -e pieces/t.safetensors
		kill -9 $pid 2> /dev/null || true
		wait $pid || true
	done
	(go 6 pieces "$@")
	same_adapter pieces whole
	[ "$(sum whole/t-step00000006-state.safetensors)" = "$(sum pieces/t-step00000006-state.safetensors)" ]
}

@test "resume: accumulation over the end of an epoch" {
	few_latents few.tar
	cut_and_resume few.tar --network-train-unet-only --gradient-accumulation-steps 3
}

@test "resume: convolutions too" {
	cut_and_resume "$LATENTS" --network-train-unet-only --conv-dim 2 --conv-alpha 1 --train-batch-size 2
}

@test "resume: both text encoders too" {
	"$BIN/lora-prep" -q "${PREP[@]}" "$ROOT/demo/train" | "$BIN/lora-encode" -q --no-text -m "$MODEL" -o text.tar
	cut_and_resume text.tar
}

@test "resume: text encoders alone, with weighted timesteps, no clipping and a warm-up" {
	cut_and_resume "$LATENTS" --network-train-text-encoder-only --debiased-estimation-loss --max-grad-norm 0 \
		--lr-scheduler constant_with_warmup --lr-warmup-steps 3
}

@test "a state damaged anywhere is named and the one before is taken" {
	local i size at
	train 12 sound --save-every-n-steps 6 > /dev/null
	size=$(stat -c %s "sound/$STATE12")
	rm sound/t.safetensors
	for i in 1 2 3 4 5 6 7 8; do
		rm -rf damaged; cp -r sound damaged
		# Every second flip hits the header, where identity and offsets are.
		at=$((i % 2 ? (RANDOM * 32768 + RANDOM) % size : 8 + RANDOM % 2000))
		byte=$(dd if="damaged/$STATE12" bs=1 skip=$at count=1 2> /dev/null | od -An -tu1)
		printf "\\$(printf %o $((byte ^ 1)))" | dd of="damaged/$STATE12" bs=1 seek=$at conv=notrunc 2> /dev/null
		run train 12 damaged --resume auto
		[ "$status" -eq 0 ] && [[ "$output" == *"$STATE12"*"trying the one before"* ]] ||
			{ echo "byte $at, status $status: $output"; return 1; }
		same_run damaged
	done
}

@test "a state that was cut, or is empty, is passed over too" {
	train 12 cut --save-every-n-steps 6 > /dev/null
	truncate -s 30000 "cut/$STATE12"
	status_of 0 train 12 cut --resume auto
	[[ "$output" == *"$STATE12"*"trying the one before"* ]]
	same_run cut
	: > "cut/$STATE12"
	status_of 0 train 12 cut --resume auto
	same_run cut
}

@test "with no sound state left the run starts anew and says so" {
	train 4 none > /dev/null
	truncate -s 100 none/*-state.safetensors
	status_of 0 train 12 none --resume auto
	[[ "$output" == *"t-step00000004-state.safetensors"* ]]
	same_run none
}

@test "--resume STATE takes that one; one that is not there or no state is status 3" {
	train 12 named --save-every-n-steps 4 --save-last-n-states 9 > /dev/null
	[ "$(ls named/*-state.safetensors | wc -l)" = 3 ]
	status_of 0 train 12 onwards --resume named/t-step00000004-state.safetensors
	same_run onwards
	status_of 3 train 12 onwards --resume named/t-step00000005-state.safetensors
	[[ "$output" == *t-step00000005-state.safetensors* ]]
	status_of 3 train 12 onwards --resume named/t.safetensors
	[[ "$output" == *"no state of a training run"* ]]
}

@test "only the newest states are kept" {
	train 6 kept --save-every-n-steps 1 --save-last-n-states 3 > /dev/null
	[ "$(cd kept && echo *-state.safetensors)" = \
		"t-step00000004-state.safetensors t-step00000005-state.safetensors t-step00000006-state.safetensors" ]
}

@test "other settings or other data do not resume: status 2 names the difference" {
	train 4 other > /dev/null
	status_of 2 train 12 other --resume auto --seed 7
	[[ "$output" == *"seed=42"*"seed=7"* ]]
	status_of 2 train 12 other --resume auto --network-dim 8
	[[ "$output" == *"network_dim=4"*"network_dim=8"* ]]
	few_latents few.tar
	LATENTS=few.tar status_of 2 train 12 other --resume auto
	[[ "$output" == *"data="*"data="* ]]
	# One weight of the base model is enough.
	cp -r "$MODEL" model
	printf '\x01' | dd of=model/unet/diffusion_pytorch_model.safetensors bs=1 conv=notrunc 2> /dev/null \
		seek=$((8 + $(od -An -tu8 -N8 model/unet/diffusion_pytorch_model.safetensors)))
	MODEL=model status_of 2 train 12 other --resume auto
	[[ "$output" == *"model="*"model="* ]]
	cp -r "$ROOT/demo/tiny-sdxl" moved
	# More steps are the same run going on, wherever the model lies.
	MODEL=moved status_of 0 train 5 other --resume auto
}

@test "the adapter's metadata rebuilds the run: the same bytes" {
	"$BIN/lora-inspect" --rebuild-config "$BATS_FILE_TMPDIR/straight/t.safetensors" > again.toml
	"$BIN/lora-train" -q --config again.toml --output-dir rebuilt --output-name t "$LATENTS" > /dev/null
	[ "$(sum rebuilt/t.safetensors)" = "$(sum "$BATS_FILE_TMPDIR/straight/t.safetensors")" ]
}
