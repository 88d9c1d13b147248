#!/usr/bin/env bats
# DoRA from the first step to the merged model.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export LATENTS=$BATS_FILE_TMPDIR/few.tar D=$BATS_FILE_TMPDIR/dora
	few_latents "$LATENTS"
	# A high rate, so that lengths and directions are far from where they began; convolutions too.
	train 4 "$D" --dora --conv-dim 2 --learning-rate 3e-2 --lr-scheduler constant --lr-warmup-steps 0 \
		> "$BATS_FILE_TMPDIR/log"
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	O=$BATS_TEST_TMPDIR/o
}

# loss MODEL [options]: of the first step, whose adapter changes nothing yet
loss() {
	"$BIN/lora-train" -q -m "$1" --network-dim 4 --network-train-unet-only --train-batch-size 2 \
		--max-train-steps 1 \
		--output-dir "$O.loss" "${@:2}" "$LATENTS" | jq 'select(.event == "step").loss'
}

# near A B [TOLERANCE]: by default that of sums of floats in another order
near() { holds '($a - $b | fabs) < $t * $a' "$1" "$2" "${3:-2e-5}"; }
far() { holds '($a - $b | fabs) > $t * $a' "$1" "$2" 1e-2; }
holds() { jq -ne --argjson a "$2" --argjson b "$3" --argjson t "$4" "$1" > /dev/null ||
	{ echo "$2 and $3"; return 1; }; }

# shapes FILE: of the lengths
shapes() {
	local n
	n=$(od -An -tu8 -N8 "$1" | tr -d ' ')
	tail -c +9 "$1" | head -c "$n" | jq -c 'to_entries[] | select(.key | endswith("dora_scale")).value.shape'
}

@test "a new DoRA changes nothing" {
	near "$(loss "$MODEL")" "$(loss "$MODEL" --dora --conv-dim 2)"
}

@test "merged into the model it does what it does beside it, by any weight" {
	local w
	# A merged weight is rounded to the model's half precision, of which the loss keeps some 1e-4.
	for w in 1 0.5 -0.3; do
		"$BIN/lora-merge" into -q -m "$MODEL" --lora "$D/t.safetensors:$w" -o "$O.merged$w" > /dev/null
		near "$(loss "$O.merged$w")" \
			"$(loss "$MODEL" --base-weights "$D/t.safetensors" --base-weights-multiplier "$w")" 1e-3
		far "$(loss "$O.merged$w")" "$(loss "$MODEL")"
	done
}

@test "the file: a length for each output, and the metadata says so" {
	[ "$(shapes "$D/t.safetensors" | sed 's/[0-9][0-9]*/N/' | sort -u)" = '[N,1,1,1]
[N,1]' ]
	[ "$(shapes "$D/t.safetensors" | grep -c '^\[1,[^1]')" = 0 ]
	"$BIN/lora-inspect" --metadata "$D/t.safetensors" > "$O.meta"
	grep -q 'lora_tools.dora_axis = output' "$O.meta"
	grep -q 'ss_network_args = .*"use_dora":"True"' "$O.meta"
	"$BIN/lora-inspect" "$D/t.safetensors" | grep -q 'DoRA'
}

@test "a run begins with a DoRA's lengths, and with those that a plain adapter makes" {
	near "$(loss "$MODEL" --dora --conv-dim 2 --network-weights "$D/t.safetensors")" \
		"$(loss "$MODEL" --base-weights "$D/t.safetensors")"
	train 3 "$O" > /dev/null
	near "$(loss "$MODEL" --dora --network-weights "$O/t.safetensors")" \
		"$(loss "$MODEL" --network-weights "$O/t.safetensors")"
	status_of 2 train 3 "$O.no" --network-weights "$D/t.safetensors" --dim-from-weights
	[[ "$output" == *"is a DoRA"*"dora = true"* ]]
}

@test "network_args, and what does not go together" {
	train 4 "$O" --network-args use_dora=True --network-args conv_dim=2 --learning-rate 3e-2 \
		--lr-scheduler constant --lr-warmup-steps 0 > /dev/null
	cmp <(shapes "$O/t.safetensors") <(shapes "$D/t.safetensors")
	[ "$("$BIN/lora-inspect" "$O/t.safetensors" | grep hash)" = \
		"$("$BIN/lora-inspect" "$D/t.safetensors" | grep hash)" ]
	status_of 2 train 3 "$O.no" --dora --base-weights "$D/t.safetensors"
	[[ "$output" == *"base_weights"*"lora-merge first"* ]]
	status_of 2 train 3 "$O.no" --dora --scale-weight-norms 1
	[[ "$output" == *"dora and scale_weight_norms"* ]]
	status_of 2 train 3 "$O.no" --network-args use_dora=perhaps
	[[ "$output" == *"neither True nor False"* ]]
}
