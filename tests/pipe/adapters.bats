#!/usr/bin/env bats
# What an adapter is made of: blocks, dropout, another adapter to begin with or to stand on, learning rates of its
# parts.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar FIRST=$BATS_FILE_TMPDIR/first
	few_latents "$LATENTS"
	train 3 "$FIRST" > /dev/null
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	O=$BATS_TEST_TMPDIR/o
	DROPOUT=(--network-dropout 0.2 --rank-dropout 0.1 --module-dropout 0.2)
}

# losses FILE: of every step, as written
losses() { jq -c 'select(.event == "step") | .loss' "$1"; }
metadata() { "$BIN/lora-inspect" --metadata "$1"; }
ranks() { "$BIN/lora-inspect" "$1" | grep -E '^ +(rank  )? *[0-9]+, alpha'; }

@test "dropout changes the run, and a checkpointed block leaves out the same when it runs again" {
	train 4 "$O/plain" > "$O.plain"
	train 4 "$O/a" "${DROPOUT[@]}" > "$O.a"
	train 4 "$O/b" "${DROPOUT[@]}" --gradient-checkpointing > "$O.b"
	diff <(losses "$O.a") <(losses "$O.b")
	differ <(losses "$O.plain") <(losses "$O.a")
	diff <("$BIN/lora-inspect" "$O/a/t.safetensors" | grep hash) \
		<("$BIN/lora-inspect" "$O/b/t.safetensors" | grep hash)
	metadata "$O/a/t.safetensors" | grep -q 'ss_network_dropout = 0.2'
	metadata "$O/a/t.safetensors" | grep -q 'rank_dropout'
}

@test "each kind of dropout changes the run by itself" {
	train 3 "$O/plain" > "$O.plain"
	for kind in network rank module; do
		train 3 "$O/$kind" --$kind-dropout 0.4 > "$O.$kind"
		differ <(losses "$O.plain") <(losses "$O.$kind")
	done
	differ <(losses "$O.network") <(losses "$O.rank")
}

@test "a resumed run leaves out what a straight one does" {
	train 4 "$O/straight" "${DROPOUT[@]}" > /dev/null
	train 4 "$O/twice" "${DROPOUT[@]}" --save-every-n-steps 2 > /dev/null
	rm "$O/twice/t.safetensors" "$O"/twice/t-step00000004*
	train 4 "$O/twice" "${DROPOUT[@]}" --resume auto > /dev/null
	cmp "$O/straight/t.safetensors" "$O/twice/t.safetensors"
}

@test "each block has the rank that block_dims says, in a file, as a list and inside network_args" {
	dims=0,2,2,2,2,2,2,2,2,2,8,8,8,3,3,3,3,3,3,3,3,3,0
	printf 'block_dims = [%s]\nblock_alphas = "%s"\n' "$dims" "$dims" > "$BATS_TEST_TMPDIR/c.toml"
	train 2 "$O/a" --config "$BATS_TEST_TMPDIR/c.toml" > /dev/null
	train 2 "$O/b" --network-args block_dims=$dims --network-args block_alphas=$dims > /dev/null
	[ "$(ranks "$O/a/t.safetensors" | wc -l)" -eq 3 ]
	diff <(ranks "$O/a/t.safetensors") <(ranks "$O/b/t.safetensors")
	metadata "$O/b/t.safetensors" | grep -q "\"block_dims\":\"$dims\""
	run -2 train 2 "$O/c" --block-dims 1,2,3
	[[ "$output" == *"block_dims: 3 numbers, SDXL's UNet has 23 blocks"* ]]
}

@test "a block whose learning rate is 0 has no adapter" {
	train 2 "$O" --down-lr-weight zeros --mid-lr-weight 1,1,1 > /dev/null
	"$BIN/lora-inspect" --keys "$O/t.safetensors" > "$O/keys"
	grep -q middle_block "$O/keys"
	lacks "$O/keys" input_blocks
}

@test "LoRA+ and block learning rates reach the parameters" {
	train 3 "$O/plain" > "$O.plain"
	train 3 "$O/plus" --loraplus-lr-ratio 16 > "$O.plus"
	train 3 "$O/half" --up-lr-weight 0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5 > "$O.half"
	differ <(losses "$O.plain") <(losses "$O.plus")
	differ <(losses "$O.plain") <(losses "$O.half")
	diff <(losses "$O.plain" | head -n 2) <(losses "$O.half" | head -n 2)         # the first update has rate 0
}

@test "network_weights: training goes on from another adapter, of its shape" {
	train 2 "$O/same" --network-weights "$FIRST/t.safetensors" --learning-rate 0 > /dev/null
	diff <("$BIN/lora-inspect" "$O/same/t.safetensors" | grep hash) \
		<("$BIN/lora-inspect" "$FIRST/t.safetensors" | grep hash)
	run -2 train 2 "$O/wrong" --network-weights "$FIRST/t.safetensors" --network-dim 8
	[[ "$output" == *"has rank 4 and alpha 1, this run 8 and 1"*dim_from_weights* ]]
	train 2 "$O/dims" --network-weights "$FIRST/t.safetensors" --network-dim 8 --dim-from-weights \
		--learning-rate 0 > /dev/null
	diff <("$BIN/lora-inspect" "$O/dims/t.safetensors" | grep hash) \
		<("$BIN/lora-inspect" "$FIRST/t.safetensors" | grep hash)
	metadata "$O/dims/t.safetensors" | grep -q 'ss_network_dim = 4'
	run -2 train 2 "$O/none" --dim-from-weights
	[[ "$output" == *"needs network_weights"* ]]
}

@test "base_weights belong to the model: the loss moves, the file stays, a state knows them" {
	train 2 "$O/with" --base-weights "$FIRST/t.safetensors" --base-weights-multiplier 2 \
		--learning-rate 0 > "$O.with"
	train 2 "$O/without" --learning-rate 0 > "$O.without"
	differ <(losses "$O.with") <(losses "$O.without")
	diff <("$BIN/lora-inspect" "$O/with/t.safetensors" | grep hash) \
		<("$BIN/lora-inspect" "$O/without/t.safetensors" | grep hash)
	run -2 train 4 "$O/with" --resume auto --learning-rate 0
	echo "$output"; [[ "$output" == *base_weights* ]]
	run -2 train 2 "$O/many" --base-weights "$FIRST/t.safetensors" --base-weights-multiplier 1,2
}

@test "a starting adapter stands for the base adapter that it is" {
	train 2 "$O/start" --network-weights "$FIRST/t.safetensors" > "$O.start"
	train 2 "$O/base" --base-weights "$FIRST/t.safetensors" > "$O.base"
	# two sums of the same numbers in another order
	jq -se '.[0] as $a | .[2] as $b | ($a - $b) / $a | fabs < 1e-5' <(losses "$O.start") <(losses "$O.base")
}

@test "scale_weight_norms keeps the norms" {
	train 4 "$O/free" --learning-rate 0.05 > /dev/null
	train 4 "$O/held" --learning-rate 0.05 --scale-weight-norms 0.01 > /dev/null
	greatest() { "$BIN/lora-inspect" --norms "$1" |
		awk '/ lora_unet_/ { if ($1 > most) most = $1 } END { print most }'; }
	awk -v free="$(greatest "$O/free/t.safetensors")" -v held="$(greatest "$O/held/t.safetensors")" \
		'BEGIN { exit !(free > 0.02 && held > 0.0099 && held < 0.01001) }'
	metadata "$O/held/t.safetensors" | grep -q 'ss_scale_weight_norms = 0.01'
}

@test "learning rates of the parts: 0 leaves one out, two are one for each text encoder" {
	run train 2 "$O/two" --no-network-train-unet-only --text-encoder-lr 1e-4,2e-4
	[ "$status" -eq 0 ]
	train 2 "$O/second" --no-network-train-unet-only --text-encoder-lr 0,2e-4 --quiet > /dev/null
	"$BIN/lora-inspect" "$O/second/t.safetensors" | grep -q 'text encoder 1 0,'
	train 2 "$O/unet" --no-network-train-unet-only --text-encoder-lr 0 > /dev/null
	"$BIN/lora-inspect" "$O/unet/t.safetensors" | grep -q 'text encoder 1 0, text encoder 2 0'
	run -2 train 2 "$O/none" --unet-lr 0
	run -2 train 2 "$O/bad" --text-encoder-lr 1,2,3
}
