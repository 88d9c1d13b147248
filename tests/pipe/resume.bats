#!/usr/bin/env bats
# Resume is bit for bit: a run that is cut anywhere and goes on gives the bytes of one that was not.

setup_file() {
	load pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar
	encode "$LATENTS"
	train 12 "$BATS_FILE_TMPDIR/straight" > "$BATS_FILE_TMPDIR/straight.jsonl"
}
setup() { load pipe.bash; cd "$BATS_TEST_TMPDIR"; }

@test "two runs give the same adapter and the same state" {
	train 12 again > /dev/null
	[ "$(sum again/t.safetensors)" = "$(sum "$BATS_FILE_TMPDIR/straight/t.safetensors")" ]
	[ "$(sum again/t-step00000012-state.safetensors)" = "$(sum "$BATS_FILE_TMPDIR/straight/t-step00000012-state.safetensors")" ]
}

@test "any number of threads gives the same adapter" {
	OMP_NUM_THREADS=1 train 12 one > /dev/null
	[ "$(sum one/t.safetensors)" = "$(sum "$BATS_FILE_TMPDIR/straight/t.safetensors")" ]
}

@test "checkpointing changes memory, not bytes" {
	train 12 checkpointed --gradient-checkpointing > /dev/null
	cmp <(tail -c 4096 checkpointed/t.safetensors) <(tail -c 4096 "$BATS_FILE_TMPDIR/straight/t.safetensors")
}

@test "killed at random moments and resumed: the same bytes" {
	local i
	for i in 1 2 3 4 5 6; do
		train 12 cut --save-every-n-steps 1 --resume auto > /dev/null 2>&1 &
		local pid=$!
		sleep "0.$((RANDOM % 6 + 2))"
		kill -9 $pid 2> /dev/null || true
		wait $pid || true
	done
	train 12 cut --save-every-n-steps 1 --resume auto > log.jsonl
	[ "$(sum cut/t.safetensors)" = "$(sum "$BATS_FILE_TMPDIR/straight/t.safetensors")" ]
	[ "$(sum cut/t-step00000012-state.safetensors)" = "$(sum "$BATS_FILE_TMPDIR/straight/t-step00000012-state.safetensors")" ]
	[ -z "$(find cut -name '.*.tmp')" ]
}

@test "the log of a resumed run goes on as the straight one did" {
	train 12 part --save-every-n-steps 5 > /dev/null
	rm part/t-step00000012-state.safetensors part/t.safetensors
	train 12 part --resume auto > log.jsonl
	diff <(jq -c 'select(.event == "step") | del(.seconds, .samples_per_s)' log.jsonl) \
		<(jq -c 'select(.event == "step" and .step > 10) | del(.seconds, .samples_per_s)' "$BATS_FILE_TMPDIR/straight.jsonl")
}

@test "resume for accumulation and text encoders too" {
	"$BIN/lora-prep" -q "${PREP[@]}" "$ROOT/demo/train" | "$BIN/lora-encode" -q --no-text -m "$MODEL" -o text.tar
	both() {
		"$BIN/lora-train" -q -m "$MODEL" --network-dim 2 --conv-dim 2 --gradient-accumulation-steps 2 --learning-rate 1e-3 \
			--max-train-steps "$1" --output-dir "$2" --output-name t --save-state --save-every-n-steps 3 --resume auto text.tar > /dev/null
	}
	both 6 whole
	both 6 halves & pid=$!
	sleep 0.7; kill -9 $pid 2> /dev/null || true; wait $pid || true
	both 6 halves
	[ "$(sum whole/t.safetensors)" = "$(sum halves/t.safetensors)" ]
	[ "$(sum whole/t-step00000006-state.safetensors)" = "$(sum halves/t-step00000006-state.safetensors)" ]
}

@test "a damaged newest state is named and the one before is taken" {
	train 12 damaged --save-every-n-steps 6 > /dev/null
	printf 'x' | dd of=damaged/t-step00000012-state.safetensors bs=1 seek=20000 conv=notrunc 2> /dev/null
	run train 12 damaged --resume auto
	[ "$status" -eq 0 ]
	[[ "$output" == *"t-step00000012-state.safetensors"*"damaged"* ]]
	[ "$(sum damaged/t.safetensors)" = "$(sum "$BATS_FILE_TMPDIR/straight/t.safetensors")" ]
}

@test "other settings do not resume: exit 2 names the difference" {
	train 4 other > /dev/null
	run train 12 other --resume auto --seed 7
	[ "$status" -eq 2 ]
	[[ "$output" == *"seed=42"*"seed=7"* ]]
}

@test "the batch order does not depend on the locale" {
	LC_ALL=C.UTF-8 train 12 locale > /dev/null
	[ "$(sum locale/t.safetensors)" = "$(sum "$BATS_FILE_TMPDIR/straight/t.safetensors")" ]
}
