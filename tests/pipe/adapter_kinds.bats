#!/usr/bin/env bats
# Kinds of adapters beside LoRA, from the first step to the merged model: each is trained, goes on, is read, merged and
# looked at.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export LATENTS=$BATS_FILE_TMPDIR/few.tar
	few_latents "$LATENTS"
	# What the model does without an adapter
	cd "$BATS_FILE_TMPDIR" || return 1
	PLAIN_LOSS=$(loss "$MODEL"); export PLAIN_LOSS
	"$BIN/lora-sample" -q -m "$MODEL" --width 64 --height 64 --steps 2 -o plain -p gizmo
}

setup() { . "$BATS_TEST_DIRNAME/pipe.bash"; cd "$BATS_TEST_TMPDIR" || return 1; }

# loss MODEL [options]: of the first step, whose adapter changes nothing yet
loss() {
	"$BIN/lora-train" -q -m "$1" --network-dim 4 --network-train-unet-only --train-batch-size 2 \
		--max-train-steps 1 \
		--output-dir losses "${@:2}" "$LATENTS" | jq 'select(.event == "step").loss'
}

# near A B TOLERANCE
near() { holds '($a - $b | fabs) < $t * $a' "$@"; }
far() { holds '($a - $b | fabs) > $t * $a' "$@"; }
holds() { jq -ne --argjson a "$2" --argjson b "$3" --argjson t "$4" "$1" > /dev/null ||
	{ echo "$2 and $3"; return 1; }; }

# endings FILE: of the tensors' names
endings() {
	local n
	n=$(od -An -tu8 -N8 "$1" | tr -d ' ')
	tail -c +9 "$1" | head -c "$n" | jq -r 'del(.__metadata__) | keys[] | sub("^[^.]*[.]"; "")' |
		sort -u | tr '\n' ' '
}

# whole_life METHOD ENDINGS [options]: a high rate, so that dW is far from 0; stopped after three steps of six
whole_life() {
	local method=$1 endings=$2 w merged beside whole; shift 2
	set -- "$@" --learning-rate 3e-2 --lr-scheduler constant --lr-warmup-steps 0
	train 6 whole "$@" > whole.jsonl
	[ "$(endings whole/t.safetensors)" = "$endings" ]
	# Not yet trained it changes nothing.
	near "$(jq -s 'map(select(.event == "step"))[0].loss' whole.jsonl)" "$PLAIN_LOSS" 2e-5

	train 6 cut "$@" --save-every-n-steps 3 --save-last-n-states 9 > /dev/null
	rm cut/t.safetensors cut/t-step00000006*
	train 6 cut "$@" --save-every-n-steps 3 --save-last-n-states 9 --resume auto > cut.jsonl
	[ "$(jq -s 'map(select(.event == "resume"))[0].step' cut.jsonl)" = 3 ]
	cmp whole/t.safetensors cut/t.safetensors
	cmp whole/t-step00000006-state.safetensors cut/t-step00000006-state.safetensors

	# A merged weight is rounded to the model's half precision, of which the loss keeps some 1e-4.
	for w in 1 0.5; do
		beside=$(loss "$MODEL" --base-weights whole/t.safetensors --base-weights-multiplier "$w")
		[ "$w" != 1 ] || whole=$beside
		"$BIN/lora-merge" into -q -m "$MODEL" --lora "whole/t.safetensors:$w" -o "merged$w" > /dev/null
		merged=$(loss "merged$w")
		near "$merged" "$beside" 1e-3
		far "$merged" "$PLAIN_LOSS" 1e-2
	done
	"$BIN/lora-sample" -q -m "$MODEL" --lora whole/t.safetensors --width 64 --height 64 --steps 2 -o drawn -p gizmo
	differ drawn/*.png "$BATS_FILE_TMPDIR"/plain/*.png

	"$BIN/lora-inspect" --verify --norms whole/t.safetensors > said
	grep -qE "method *$method\$|: a $method adapter" said
	lacks said untrained
	[ "$(grep -cE '^  [0-9.e-]+ +([0-9]+|whole|-) +(lora|oft)_unet_' said)" = \
		"$("$BIN/lora-inspect" --json whole/t.safetensors | jq .modules.total)" ]
	[ -z "$MASKED" ] || return 0            # a run that begins with it leaves out some of its ranks
	loss "$MODEL" "$@" --network-weights whole/t.safetensors > begun
	near "$(cat begun)" "$whole" 2e-5
}

@test "LoHa" {
	whole_life LoHa 'alpha hada_w1_a hada_w1_b hada_w2_a hada_w2_b ' --network-module networks.loha --conv-dim 2
}
@test "LoHa with middle factors, as LyCORIS" {
	whole_life LoHa 'alpha hada_t1 hada_t2 hada_w1_a hada_w1_b hada_w2_a hada_w2_b ' \
		--network-module lycoris.kohya --network-args algo=loha --network-args use_tucker=True
}
@test "LoKr" {
	whole_life LoKr 'alpha lokr_w1 lokr_w2_a lokr_w2_b ' --network-module networks.lokr --network-dim 2 \
		--network-args factor=4
}
@test "LoKr with all its factors, as LyCORIS" {
	whole_life LoKr 'alpha lokr_t2 lokr_w1 lokr_w1_a lokr_w1_b lokr_w2_a lokr_w2_b ' --network-dim 2 \
		--network-module lycoris.kohya \
		--network-args algo=lokr --network-args decompose_both=True --network-args use_tucker=True
}
@test "LoKr of whole matrices" {
	whole_life LoKr 'alpha lokr_w1 lokr_w2 ' --network-module lycoris.kohya --network-args algo=lokr \
		--network-args full_matrix=True
}
@test "a LoKr of any rank, as LyCORIS' users ask for whole matrices" {
	train 3 a --network-module networks.lokr --network-dim 100000 > /dev/null
	[ "$(endings a/t.safetensors)" = 'alpha lokr_w1 lokr_w2 ' ]
	status_of 2 train 3 b --network-dim 100000
	[[ "$output" == *"--network_dim: '100000' does not fit; give a whole number from 1 to 4096"* ]]
	status_of 2 train 3 b --network-module networks.loha --conv-dim 5000
	[[ "$output" == *"--conv_dim: '5000' does not fit; give a whole number from 0 to 4096"* ]]
}
@test "LoRA with a middle factor, as LyCORIS' locon" {
	whole_life LoRA 'alpha lora_down.weight lora_mid.weight lora_up.weight ' --network-module lycoris.kohya \
		--network-args algo=locon \
		--network-args use_tucker=True
}

@test "OFT" {
	whole_life OFT 'alpha oft_blocks ' --network-module networks.oft --network-alpha 0.05 \
		--network-args enable_conv=True
}
@test "OFT, rescaled, as LyCORIS' diag-oft" {
	whole_life OFT 'alpha oft_blocks rescale ' --network-dim 2 --network-module lycoris.kohya \
		--network-args algo=diag-oft \
		--network-args rescaled=True --network-args constraint=0.05
}
@test "LoRA-FA" { whole_life LoRA 'alpha lora_down.weight lora_up.weight ' --network-module networks.lora_fa; }
@test "T-LoRA's mask" {
	MASKED=1 whole_life LoRA 'alpha lora_down.weight lora_up.weight ' --network-args tlora_min_rank=2 \
		--network-args tlora_alpha=0.5
}
@test "rsLoRA" {
	whole_life LoRA 'alpha lora_down.weight lora_up.weight ' --network-args rs_lora=True
	# 1 times the root of 4
	[ "$("$BIN/lora-inspect" --json whole/t.safetensors | jq -c '.ranks[0] | [.rank, .alpha]')" = '[4,2]' ]
}

# factor FILE ENDING: a hash of all tensors whose name ends so
factor() {
	local n
	n=$(od -An -tu8 -N8 "$1" | tr -d ' ')
	tail -c +9 "$1" | head -c "$n" |
		jq -r --arg e "$2" 'to_entries[] | select(.key | endswith($e)) | .value.data_offsets | @tsv' |
		while read -r from to; do tail -c "+$((9 + n + from))" "$1" | head -c "$((to - from))"; done | sha256sum
}

@test "LoRA-FA trains up and leaves down as it was drawn" {
	train 1 first --network-module networks.lora_fa --learning-rate 1e-2 --lr-warmup-steps 0 > /dev/null
	train 4 fa --network-module networks.lora_fa --learning-rate 1e-2 --lr-warmup-steps 0 > /dev/null
	train 4 plain --learning-rate 1e-2 --lr-warmup-steps 0 > /dev/null
	[ "$(factor first/t.safetensors lora_down.weight)" = "$(factor fa/t.safetensors lora_down.weight)" ]
	[ "$(factor first/t.safetensors lora_up.weight)" != "$(factor fa/t.safetensors lora_up.weight)" ]
	[ "$(factor plain/t.safetensors lora_down.weight)" != "$(factor fa/t.safetensors lora_down.weight)" ]
	[ "$(said fa/t.safetensors ss_network_module)" = networks.lora_fa ]
}

@test "T-LoRA: with a least rank of all there is no mask, with fewer there is" {
	train 3 plain > /dev/null
	train 3 all --network-args tlora_min_rank=4 > /dev/null
	train 3 some --network-args tlora=True > /dev/null
	[ "$(factor plain/t.safetensors .weight)" = "$(factor all/t.safetensors .weight)" ]
	[ "$(factor plain/t.safetensors .weight)" != "$(factor some/t.safetensors .weight)" ]
}

@test "OFT as sd-scripts has it: attention of the UNet alone, a limit of 1e-3, names of its own" {
	train 2 a --network-module networks.oft > /dev/null
	"$BIN/lora-inspect" --keys a/t.safetensors > keys
	grep -q 'oft_unet_.*_attn1_to_q.oft_blocks' keys
	lacks keys _ff_ in_layers lora_
	[ "$("$BIN/lora-inspect" --json a/t.safetensors | jq '.ranks[0].alpha')" = 0.001 ]
	status_of 2 train 2 no --network-module networks.oft --conv-dim 4
	[[ "$output" == *"networks.oft has one network_dim for every layer"* ]]
	status_of 2 train 2 no --network-module networks.oft --network-dim 7
	[[ "$output" == *"which network_dim 7 does not divide"* ]]
	status_of 2 train 2 no --network-module networks.oft --scale-weight-norms 1
	[[ "$output" == *"scale_weight_norms: an OFT turns weights"* ]]
	status_of 2 train 2 no --network-module networks.oft --network-args loraplus_lr_ratio=4
	[[ "$output" == *"loraplus_lr_ratio: OFT has no part"* ]]
}

# said FILE KEY: of the metadata
said() { "$BIN/lora-inspect" --metadata "$1" | sed -n "s/^ *$2 = //p"; }

@test "the metadata say what LyCORIS and kohya say" {
	train 3 a --network-module lycoris.kohya --network-args algo=lokr --network-args factor=8 \
		--network-args conv_dim=2 > /dev/null
	[ "$(said a/t.safetensors ss_network_module)" = lycoris.kohya ]
	[ "$(said a/t.safetensors ss_network_args | jq -c .)" = '{"algo":"lokr","factor":"8","conv_dim":"2"}' ]
	train 3 b --network-module networks.loha --conv-dim 2 > /dev/null
	[ "$(said b/t.safetensors ss_network_module)" = networks.loha ]
	[ "$(said b/t.safetensors ss_network_args | jq -c .)" = '{"conv_dim":"2","conv_alpha":"1"}' ]
}

@test "LyCORIS trains the 3x3 convolutions without being told, and with algo=lora it is a LoRA" {
	train 3 a --network-module lycoris.kohya > /dev/null
	train 3 b --conv-dim 4 --conv-alpha 1 > /dev/null
	[ "$(endings a/t.safetensors)" = 'alpha lora_down.weight lora_up.weight ' ]
	[ "$("$BIN/lora-inspect" a/t.safetensors | grep hash)" = "$("$BIN/lora-inspect" b/t.safetensors | grep hash)" ]
}

@test "a norm is limited of any kind" {
	train 3 a --network-module networks.loha --learning-rate 0.1 --lr-scheduler constant --lr-warmup-steps 0 \
		--scale-weight-norms 0.5 > log
	"$BIN/lora-inspect" --norms --json a/t.safetensors |
		jq -e '[.norms[].norm] | max <= 0.5001 and min > 0' > /dev/null
}

@test "what does not go together is refused by name" {
	status_of 2 train 3 no --network-module networks.oft --dora
	[[ "$output" == *"dora: lengths are trained around a LoRA, LoHa or LoKr, not of a OFT"* ]]
	status_of 2 train 3 no --network-module networks.lokr --network-dropout 0.1
	[[ "$output" == *"network_dropout: a LoKr has no values between its matrices"* ]]
	status_of 2 train 3 no --network-module lycoris.kohya --network-args algo=glora
	[[ "$output" == *"algo=glora is not there; lora, locon"* ]]
	status_of 2 train 3 no --network-module lycoris.kohya --network-args algo=loha --network-args preset=attn-mlp
	[[ "$output" == *"preset=attn-mlp"*"full is"* ]]
	status_of 2 train 3 no --network-module networks.lokr --network-args factor=0.5
	[[ "$output" == *"network_args: factor: '0.5' is no whole number"* ]]
	status_of 2 train 3 no --network-module networks.loha --network-args factor=4
	[[ "$output" == *"'factor=4' is not known"* ]]
	train 3 lora > /dev/null
	status_of 2 train 3 no --network-module networks.loha --network-weights lora/t.safetensors
	[[ "$output" == *"is a LoRA, and a LoHa would be trained"* ]]
}

@test "a state of another kind does not go on" {
	train 2 a --network-module networks.loha > /dev/null
	status_of 2 train 4 a --network-module networks.lokr --resume a/t-step00000002-state.safetensors
	[[ "$output" == *kind=LoHa* ]]
}

# told OUT [options]: what lora-train says of the adapter that it wrote
told() {
	"$BIN/lora-train" -m "$MODEL" --network-dim 4 --network-train-unet-only --max-train-steps 1 --output-dir "$1" \
		--output-name t "${@:2}" "$LATENTS" 2>&1 > /dev/null
}

@test "who writes an adapter that other programs misread says so, and only then" {
	told plain > said
	! grep "not every program" said || return 1
	told hadamard --network-module networks.loha > said
	grep -F "t.safetensors: not every program reads it as it is meant (diffusers: refused, sd-scripts: silent)" said
	told rows --dora --dora-axis output > said
	grep -F "(A1111: wrong, ComfyUI: wrong, InvokeAI: wrong, diffusers: wrong, sd-scripts: wrong)" said
	"$BIN/lora-merge" convert plain/t.safetensors --to comfy -o comfy.safetensors 2> said
	grep -F "(A1111: refused, InvokeAI: refused, diffusers: refused, sd-scripts: silent)" said
	"$BIN/lora-merge" convert comfy.safetensors --to kohya -o kohya.safetensors 2> said
	! grep "not every program" said || return 1
}
