#!/usr/bin/env bats
# The leaves of a step: accumulation and replicas multiply, and say so where it matters.

setup_file() {
	load pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/few.tar
	encode "$LATENTS"
}
setup() { load pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

# weights FOLDER: the hash of the adapter's tensors; its metadata say what was asked for
weights() { "$BIN/lora-inspect" --json "$1/t.safetensors" | jq -re .hash; }

@test "a step of six batches is the same step, however accumulation and replicas make it" {
	train 3 six --gradient-accumulation-steps 6 --log six.jsonl > /dev/null
	for n in 1 2 3; do
		train 3 of$n --gradient-accumulation-steps $n --replicas $((6 / n)) --log of$n.jsonl > /dev/null
		[ "$(weights of$n)" = "$(weights six)" ]
		for field in loss grad_norm epoch lr; do
			cmp <(jq "select(.event == \"step\").$field" six.jsonl) \
				<(jq "select(.event == \"step\").$field" of$n.jsonl)
		done
	done
	[ "$(jq 'select(.event == "step")' six.jsonl | grep -c grad_norm)" = 3 ]
	train 3 one > /dev/null
	[ "$(weights one)" != "$(weights six)" ]
}

@test "replicas belong to the run: a state of others is refused; a plan of too many too" {
	train 2 two --replicas 2 > /dev/null
	status_of 2 train 3 two --resume two/t-step00000002-state.safetensors
	[[ $output == *"that run had replicas=2, this one has no replicas; "* ]]
	status_of 2 train 2 many --gradient-accumulation-steps 3 --replicas 65536
	[[ $output == *"a step of more than 65536 batches"* ]]
}

@test "an epoch has as many steps as all its batches make" {
	batches=$("$BIN/lora-train" -q -m "$MODEL" --check --json "$LATENTS" | jq .batches_per_epoch)
	for n in 1 2 5; do
		steps=$("$BIN/lora-train" -q -m "$MODEL" --check --json --max-train-epochs 3 --replicas $n "$LATENTS" |
			jq .steps)
		[ "$steps" = $((3 * ((batches + n - 1) / n))) ]
	done
}
