#!/usr/bin/env bats
# DoRA from the first step to the merged model.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export LATENTS=$BATS_FILE_TMPDIR/few.tar D=$BATS_FILE_TMPDIR/dora
	few_latents "$LATENTS"
	# A high rate, so that lengths and directions are far from where they began; convolutions too.
	local axis
	for axis in input output; do
		train 4 "$D.$axis" --dora --dora-axis "$axis" "${FAR[@]}" > "$BATS_FILE_TMPDIR/log.$axis"
	done
	PLAIN_LOSS=$(O=$BATS_FILE_TMPDIR/plain loss "$MODEL"); export PLAIN_LOSS        # without an adapter
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	O=$BATS_TEST_TMPDIR/o
}

FAR=(--conv-dim 2 --learning-rate 3e-2 --lr-scheduler constant --lr-warmup-steps 0)

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
	local axis
	for axis in input output; do
		near "$PLAIN_LOSS" "$(loss "$MODEL" --dora --dora-axis "$axis" --conv-dim 2)"
	done
}

@test "merged into the model it does what it does beside it, by any weight" {
	local w axis merged
	# A merged weight is rounded to the model's half precision, of which the loss keeps some 1e-4.
	for axis in input output; do
		for w in 1 0.5 -0.3; do
			"$BIN/lora-merge" into -q -m "$MODEL" --lora "$D.$axis/t.safetensors:$w" \
				-o "$O.$axis$w" > /dev/null
			merged=$(loss "$O.$axis$w")
			near "$merged" "$(loss "$MODEL" --base-weights "$D.$axis/t.safetensors" \
				--base-weights-multiplier "$w")" 1e-3
			far "$merged" "$PLAIN_LOSS"
		done
	done
}

@test "the file: a length for each input, and the metadata says so" {
	[ "$(shapes "$D.input/t.safetensors" | sed 's/[0-9][0-9]*/N/2' | sort -u)" = '[1,N,1,1]
[1,N]' ]
	"$BIN/lora-inspect" --metadata "$D.input/t.safetensors" > "$O.meta"
	grep -q 'lora_tools.dora_axis = input' "$O.meta"
	grep -q 'ss_network_args = .*"use_dora":"True"' "$O.meta"
	! grep -q 'wd_on_output' "$O.meta" || false
	"$BIN/lora-inspect" "$D.input/t.safetensors" > "$O.text"
	grep -q 'DoRA' "$O.text"
	grep -q '0 modules have a length for each output' "$O.text"
	! grep -q 'dora_axis' "$BATS_FILE_TMPDIR/log.input"
}

@test "a length for each output, where it is asked for: who misreads it is said" {
	[ "$(shapes "$D.output/t.safetensors" | sed 's/[0-9][0-9]*/N/' | sort -u)" = '[N,1,1,1]
[N,1]' ]
	[ "$(shapes "$D.output/t.safetensors" | grep -c '^\[1,[^1]')" = 0 ]
	"$BIN/lora-inspect" --metadata "$D.output/t.safetensors" > "$O.meta"
	grep -q 'lora_tools.dora_axis = output' "$O.meta"
	grep -q 'ss_network_args = .*"dora_axis":"output","wd_on_output":"True"' "$O.meta"
	run --separate-stderr train_loud --dora --dora-axis output
	[[ "$stderr" == *"fewer programs read lengths of outputs rightly"* ]]
	[[ "$stderr" == *"A1111: wrong, ComfyUI: wrong, InvokeAI: wrong"* ]]
	run --separate-stderr train_loud --dora
	[[ "$stderr" != *"A1111"* ]]
}

# train_loud [options]: one step, with notes
train_loud() {
	"$BIN/lora-train" -m "$MODEL" --network-dim 4 --network-train-unet-only --max-train-steps 1 \
		--output-dir "$O.loud" "$@" "$LATENTS"
}

@test "a run begins with a DoRA's lengths, and with those that a plain adapter makes" {
	local axis
	for axis in input output; do
		near "$(loss "$MODEL" --dora --dora-axis "$axis" --conv-dim 2 \
			--network-weights "$D.$axis/t.safetensors")" \
			"$(loss "$MODEL" --base-weights "$D.$axis/t.safetensors")"
	done
	train 3 "$O" > /dev/null
	for axis in input output; do
		near "$(loss "$MODEL" --dora --dora-axis "$axis" --network-weights "$O/t.safetensors")" \
			"$(loss "$MODEL" --network-weights "$O/t.safetensors")"
	done
	status_of 2 train 3 "$O.no" --network-weights "$D.input/t.safetensors" --dim-from-weights
	[[ "$output" == *"is a DoRA"*"dora = true"* ]]
	status_of 2 train 3 "$O.no" --dora --network-weights "$D.output/t.safetensors" --dim-from-weights
	[[ "$output" == *"lengths of outputs"*"set dora_axis = output"* ]]
	status_of 2 train 3 "$O.no" --dora --dora-axis output --network-weights "$D.input/t.safetensors" \
		--dim-from-weights
	[[ "$output" == *"lengths of inputs"*"set dora_axis = input"* ]]
}

# What versions wrote that knew lengths of outputs alone: the identity's word is dora=1.
@test "a state of lengths of outputs goes on as such, or is refused with the setting that it needs" {
	train 2 "$O" --dora --dora-axis output > /dev/null
	[[ "$(head -c 4000 "$O"/t-step00000002-state.safetensors)" == *" dora=1 "* ]] ||
		[[ "$(head -c 4000 "$O"/t-step00000002-state.safetensors)" == *" dora=1\""* ]]
	status_of 2 train 4 "$O.no" --dora --resume "$O"/t-step00000002-state.safetensors
	[[ "$output" == *"lengths of outputs, which goes on with dora_axis = output"* ]]
	train 4 "$O" --dora --dora-axis output --resume "$O"/t-step00000002-state.safetensors > /dev/null
	train 4 "$O.whole" --dora --dora-axis output > /dev/null
	cmp "$O"/t.safetensors "$O.whole"/t.safetensors
}

same_adapter() {
	cmp <(shapes "$1/t.safetensors") <(shapes "$2/t.safetensors")
	[ "$("$BIN/lora-inspect" "$1/t.safetensors" | grep hash)" = \
		"$("$BIN/lora-inspect" "$2/t.safetensors" | grep hash)" ]
}

@test "network_args, and what does not go together" {
	train 4 "$O" --network-args use_dora=True --network-args conv_dim=2 "${FAR[@]:2}" > /dev/null
	same_adapter "$O" "$D.input"
	train 4 "$O.out" --network-args dora_wd=True --network-args wd_on_output=True "${FAR[@]}" > /dev/null
	same_adapter "$O.out" "$D.output"
	train 4 "$O.axis" --network-args dora_wd=True --network-args dora_axis=output "${FAR[@]}" > /dev/null
	same_adapter "$O.axis" "$D.output"
	train 4 "$O.in" --network-args dora_wd=True --network-args wd_on_output=False "${FAR[@]}" > /dev/null
	same_adapter "$O.in" "$D.input"
	status_of 2 train 3 "$O.no" --dora --base-weights "$D.input/t.safetensors"
	[[ "$output" == *"base_weights"*"lora-merge first"* ]]
	status_of 2 train 3 "$O.no" --dora --scale-weight-norms 1
	[[ "$output" == *"dora and scale_weight_norms"* ]]
	status_of 2 train 3 "$O.no" --network-args use_dora=perhaps
	[[ "$output" == *"neither True nor False"* ]]
	status_of 2 train 3 "$O.no" --dora --network-args dora_axis=sideways
	[[ "$output" == *"none of input|output"* ]]
	status_of 2 train 3 "$O.no" --dora --dora-axis sideways
	status_of 2 train 3 "$O.no" --network-args conv_dim=2 --network-args conv_alpha=1 --network-args conv_dim=4
	[[ "$output" == *"network_args: 'conv_dim=2' and 'conv_dim=4' are given; leave one out"* ]]
	status_of 2 train 3 "$O.no" --optimizer-args weight_decay=0 --optimizer-args weight_decay=0
	[[ "$output" == *"optimizer_args: 'weight_decay=0' and "* ]]
}

@test "around a LoHa and a LoKr, both axes: nothing new at first, merged it does the same, a state goes on byte for byte" {
	local module axis kind merged
	for module in networks.loha networks.lokr; do
		for axis in input output; do
			kind=(--network-module "$module" --network-args conv_dim=2 --dora --dora-axis "$axis")
			near "$PLAIN_LOSS" "$(loss "$MODEL" "${kind[@]}")"
			rm -rf "$O" "$O.m"
			train 4 "$O" "${kind[@]}" "${FAR[@]:2}" --save-every-n-steps 2 > /dev/null
			[ "$(shapes "$O/t.safetensors" | wc -l)" = "$(shapes "$D.$axis/t.safetensors" | wc -l)" ]
			"$BIN/lora-merge" into -q -m "$MODEL" --lora "$O/t.safetensors:0.5" -o "$O.m" > /dev/null
			merged=$(loss "$O.m")
			near "$merged" "$(loss "$MODEL" --base-weights "$O/t.safetensors" \
				--base-weights-multiplier 0.5)" 1e-3
			far "$merged" "$PLAIN_LOSS"
			near "$(loss "$MODEL" "${kind[@]}" --network-weights "$O/t.safetensors")" \
				"$(loss "$MODEL" --base-weights "$O/t.safetensors")"
			mv "$O/t.safetensors" "$O.whole"
			train 4 "$O" "${kind[@]}" "${FAR[@]:2}" --resume "$O"/t-step00000002-state.safetensors > /dev/null
			cmp "$O/t.safetensors" "$O.whole"
		done
	done
}

@test "of LyCORIS' networks the lengths are of inputs too, and that is said" {
	run --separate-stderr train_loud --network-module lycoris.kohya --network-args dora_wd=True
	[ "$status" = 0 ]
	[[ "$stderr" == *"LyCORIS' own default is True"* ]]
	[ "$(shapes "$O.loud/last.safetensors" | sed 's/[0-9][0-9]*/N/2' | sort -u)" = '[1,N,1,1]
[1,N]' ]
}
