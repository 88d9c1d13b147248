#!/usr/bin/env bats
# Other programs' names for one adapter: whatever a file calls its tensors, the merged model has the same bytes, and
# lora-sample paints what the merged model paints.
bats_require_minimum_version 1.5.0

# Code for `tensors.pl rename`, from kohya's names.  Dots come back by the words that keep their underscores.
DOTS='s/^lora_(unet|te1|te2)_([^.]*)/my ($p, $n) = ($1, $2); $n =~ tr{_}{.};
	for my $w (qw(input_blocks middle_block output_blocks transformer_blocks proj_in proj_out to_q to_k to_v to_out
		in_layers out_layers emb_layers skip_connection text_model self_attn q_proj k_proj v_proj out_proj)) {
		(my $d = $w) =~ tr{_}{.}; $n =~ s{\Q$d\E}{$w}g }
	"$p:$n"/e;'
# diffusers' blocks of tiny-a: three levels with two layers each, attention in the lower two
BLOCKS='s/input_blocks\.(\d+)\.0\.(?!op)/"down_blocks.".int(($1-1)\/3).".resnets.".(($1-1)%3)."."/e;
	s/input_blocks\.(\d+)\.1\./"down_blocks.".int(($1-1)\/3).".attentions.".(($1-1)%3)."."/e;
	s/input_blocks\.(\d+)\.0\.op/"down_blocks.".int(($1-1)\/3).".downsamplers.0.conv"/e;
	s/middle_block\.1\./mid_block.attentions.0./;
	s/middle_block\.(\d)\./"mid_block.resnets.".($1\/2)."."/e;
	s/output_blocks\.(\d+)\.2\.conv/"up_blocks.".int($1\/3).".upsamplers.0.conv"/e;
	s/output_blocks\.(\d+)\.0\./"up_blocks.".int($1\/3).".resnets.".($1%3)."."/e;
	s/output_blocks\.(\d+)\.1\./"up_blocks.".int($1\/3).".attentions.".($1%3)."."/e;
	s/in_layers\.2/conv1/; s/out_layers\.3/conv2/; s/emb_layers\.1/time_emb_proj/;
	s/skip_connection/conv_shortcut/;'
UNDERSCORES='s/^(unet|te1|te2):([^:]*?)\.(lora_(?:up|down)\.weight|alpha)$/my ($p, $n, $e) = ($1, $2, $3);
	$n =~ tr{.}{_}; "lora_${p}_$n.$e"/e'
AB='s/lora_down\.weight/lora_A.weight/; s/lora_up\.weight/lora_B.weight/;'
HF='s/^unet:/unet./; s/^te1:/text_encoder./; s/^te2:/text_encoder_2./;'

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export TINY=$ROOT/tests/golden/tiny-a/model
	export KOHYA=$BATS_FILE_TMPDIR/kohya.safetensors MERGED=$BATS_FILE_TMPDIR/merged
	tensors join "$KOHYA" "$ROOT"/tests/golden/tiny-a/lora_{conv,text}.safetensors
	merge "$KOHYA" "$MERGED"
	sample "$BATS_FILE_TMPDIR/lora" -m "$TINY" -l "$KOHYA"
	sample "$BATS_FILE_TMPDIR/merged_latents" -m "$MERGED"
	sample "$BATS_FILE_TMPDIR/base" -m "$TINY"
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
}

tensors() { perl "$BATS_TEST_DIRNAME/tensors.pl" "$@"; }
merge() { "$BIN/lora-merge" into -q -m "$TINY" --lora "$1" -o "$2"; }
sample() {
	"$BIN/lora-sample" -q "${@:2}" -p "a robot" -n x -W 32 -H 48 --steps 2 --seed 3 -o "$BATS_TEST_TMPDIR/p.png" \
		--save-latents "$1" > /dev/null
}
weights() { cat "$1"/{unet,text_encoder,text_encoder_2}/*.safetensors; }

# the_same FILE: its merged weights and its latents are the kohya file's, and lora-inspect finds nothing wrong
the_same() {
	rm -rf out
	merge "$1" out
	cmp <(weights out) <(weights "$MERGED")
	sample latents -m "$TINY" -l "$1"
	cmp latents "$BATS_FILE_TMPDIR/lora"
	"$BIN/lora-inspect" --verify "$1" > said || { cat said; return 1; }
}

# as CODE: the kohya file under the names that the code makes
as() { tensors rename "$KOHYA" named.safetensors "$DOTS $1"; }

@test "the adapter moves the picture as the merged model does" {
	tensors near "$BATS_FILE_TMPDIR/lora" "$BATS_FILE_TMPDIR/merged_latents" "$BATS_FILE_TMPDIR/base" 1e-3
}

@test "ComfyUI's generic names, with text encoders" {
	local generic='s/^unet:/diffusion_model./; s/^te1:/text_encoders.clip_l.transformer./;
		s/^te2:/text_encoders.clip_g.transformer./;'
	as "$generic"
	the_same named.safetensors
	grep -q 'names *comfy$' said
	as "$generic $AB"
	the_same named.safetensors
}

@test "OMI" {
	as 's/^unet:/unet./; s/^te1:/clip_l./; s/^te2:/clip_g./;'
	the_same named.safetensors
	grep -q 'names *omi$' said
}

@test "diffusers, with alphas, and with the names of its older releases" {
	as "$BLOCKS $HF $AB"
	the_same named.safetensors
	as "$BLOCKS $HF s/lora_down/lora.down/; s/lora_up/lora.up/;"
	the_same named.safetensors
	as "$BLOCKS $HF s/lora_down/lora_linear_layer.down/; s/lora_up/lora_linear_layer.up/;"
	the_same named.safetensors
}

@test "diffusers' attention processors" {
	OLD='s/\.to_out\.0/.to_out/; s/(unet\..*)\.(to_(q|k|v|out)\b)/$1.processor.$2/;
		s/self_attn\.(out|[qkv])_proj/self_attn.to_$1/;
		s/(to_(?:q|k|v|out))\.lora_down/$1_lora.down/; s/(to_(?:q|k|v|out))\.lora_up/$1_lora.up/;
		s/lora_down/lora.down/; s/lora_up/lora.up/;'
	as "$BLOCKS $HF $OLD"
	the_same named.safetensors
}

@test "PEFT's names, of one model and of each model" {
	as "$BLOCKS $HF s/^(unet|text_encoder|text_encoder_2)\./\$1.base_model.model./;
		s/lora_down\.weight/lora_A.default.weight/; s/lora_up\.weight/lora_B.default.weight/;"
	the_same named.safetensors
	as "$BLOCKS $HF $AB s/^/base_model.model./;"
	the_same named.safetensors
}

@test "kohya's names with diffusers' blocks, and SimpleTuner's" {
	as "$BLOCKS $UNDERSCORES;"
	the_same named.safetensors
	as "$BLOCKS $UNDERSCORES; s/^lora_unet_/lycoris_/;"
	the_same named.safetensors
}

@test "two programs' names in one file" {
	as "$BLOCKS $UNDERSCORES if /attn1|mlp/; s/^unet:/unet./; s/^te1:/text_encoder./; s/^te2:/clip_g./;"
	the_same named.safetensors
}

@test "flattened kernels" {
	tensors rename "$KOHYA" named.safetensors '@shape = ($shape[0], $shape[1] * ($shape[2] || 1) * ($shape[3] || 1)) if @shape;'
	the_same named.safetensors
}

@test "a scale in place of alpha and rank, and a factor beside them" {
	# lora_unet's and lora_text's are alpha / rank 1/2, the 3x3 convolutions' 2/3: only those keep their alpha
	tensors rename "$KOHYA" named.safetensors 'if (/\.alpha$/ && unpack("f<", $data) == 1) {
		s/\.alpha$/.scale/; $data = pack "f<", 0.5 }'
	the_same named.safetensors
	tensors rename "$KOHYA" half.safetensors 's/\.alpha$/.scalar/; $data = pack "f<", 0.5 if /\.scalar$/; $_ = "" if /conv|in_layers|out_layers|op\./'
	tensors rename "$KOHYA" alphas.safetensors '$_ = "" if /conv|in_layers|out_layers|op\./'
	merge half.safetensors half
	merge alphas.safetensors alphas
	cmp <(weights half) <(weights alphas)
}

# painted_as_merged FILE: lora-sample with it and with the model that it was merged into, of the movement
painted_as_merged() {
	rm -rf out
	merge "$1" out
	sample with -m "$TINY" -l "$1"
	sample merged -m out
	tensors near with merged "$BATS_FILE_TMPDIR/base" 1e-3
}

# trained MODEL [options]: losses and norms of gradients of two steps, one a line
trained() {
	rm -rf run
	"$BIN/lora-train" -q -m "$1" --network-dim 4 --network-train-unet-only --learning-rate 1e-2 --max-train-steps 2 \
		-o run "${@:2}" few.tar | jq 'select(.event == "step") | .loss, .grad_norm'
}

# whole_of MODEL PREFIX: a full difference of every tensor of the part but the embeddings, for `tensors.pl make`
whole_of() {
	tensors list "$1" | sed -nE "/embeddings|position_ids/d; s/^(text_model\.)?(.*)\.weight /$2\1\2.diff 0.05 /p
		s/^(text_model\.)?(.*)\.bias /$2\1\2.diff_b 0.05 /p"
}

@test "full differences of every weight, bias and norm" {
	local unet=$TINY/unet/diffusion_pytorch_model.safetensors te=$TINY/text_encoder/model.safetensors
	{ whole_of "$unet" unet.; whole_of "$te" text_encoder.; } | tensors make full.safetensors
	painted_as_merged full.safetensors
	tensors rename full.safetensors unet_part '$_ = "" unless s/^unet\.//; s/\.diff_b$/.bias/; s/\.diff$/.weight/;'
	tensors sum want "$unet" unet_part
	tensors near want out/unet/*.safetensors "$unet" 1e-6
	tensors rename full.safetensors te_part '$_ = "" unless s/^text_encoder\.//;
		s/\.diff_b$/.bias/; s/\.diff$/.weight/;'
	tensors sum want "$te" te_part
	tensors near want out/text_encoder/*.safetensors "$te" 1e-6
	"$BIN/lora-inspect" --verify full.safetensors
	# on them the training is that on the merged model: forward and backward through norms and biases
	MODEL=$TINY few_latents few.tar
	whole_of "$unet" unet. | tensors make unet.safetensors
	merge unet.safetensors of_unet
	trained "$TINY" --base-weights unet.safetensors > on
	trained of_unet > in
	trained "$TINY" > without
	jq -se '.[0][0] as $x | .[1][0] as $y | [range(4) | ($x[.] - $y[.]) / $y[.] | fabs < 1e-5] | all' \
		<(jq -s '[.]' on) <(jq -s '[.]' in)
	differ on without
}

@test "norms as LyCORIS writes them, and a LoRA with biases" {
	{
		echo lora_unet_input_blocks_1_0_in_layers_0.w_norm 0.3 8
		echo lora_unet_input_blocks_1_0_in_layers_0.b_norm 0.3 8
		echo lora_unet_input_blocks_4_1_norm.b_norm 0.3 16
		echo lora_unet_input_blocks_4_1_transformer_blocks_0_norm2.w_norm 0.3 16
		echo lora_unet_out_0.w_norm 0.3 8
		echo lora_te2_text_model_encoder_layers_0_layer_norm1.w_norm 0.3 40
		echo lora_te1_text_model_encoder_layers_0_layer_norm2.b_norm 0.3 32
	} | tensors make norms.safetensors
	painted_as_merged norms.safetensors
	tensors rename norms.safetensors dotted 's/w_norm$/diff/; s/b_norm$/diff_b/'
	sample same -m "$TINY" -l dotted
	cmp same with
	# alpha / rank is 1/2; a bias of the update's factor has it, one beside it has not
	for bias in lora_B.bias diff_b; do
		{
			echo unet.down_blocks.1.attentions.0.proj_in.lora_A.weight 0.5 2 16
			echo unet.down_blocks.1.attentions.0.proj_in.lora_B.weight 0.5 16 2
			echo unet.down_blocks.1.attentions.0.proj_in.alpha =1
			echo unet.down_blocks.1.attentions.0.proj_in.$bias 0.5 16
			echo unet.down_blocks.1.resnets.0.conv1.diff_b 0.5 16
		} | tensors make biases.safetensors
		painted_as_merged biases.safetensors
		mv with "$bias"
	done
	differ lora_B.bias diff_b
}

# named_by_all FILE WORDS: every program refuses the file with status 3, and says so
named_by_all() {
	local lora=(-q -m "$TINY")
	status_of 3 "$BIN/lora-merge" into "${lora[@]}" --lora "$1" -o never
	[[ $output == *"$2"* ]] || { echo "$output"; return 1; }
	status_of 3 "$BIN/lora-sample" "${lora[@]}" -l "$1" -p x -W 32 -H 32 --steps 1 -o never.png
	[[ $output == *"$2"* ]] || { echo "$output"; return 1; }
	[ ! -e never ]
	[ ! -e never.png ]
}

@test "an adapter for another model is told as that" {
	printf '%s\n' "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight 1 4 64" \
		"lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight 1 192 4" | tensors make flux.safetensors
	named_by_all flux.safetensors "the adapter is for Flux"
	printf '%s\n' "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight 1 4 768" \
		"lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight 1 640 4" |
		tensors make sd15.safetensors
	named_by_all sd15.safetensors "the adapter is for Stable Diffusion 1.5"
}

@test "embeddings beside an adapter are named, and the adapter is used" {
	printf '%s\n' "bundle_emb.badhand.clip_l 1 2 32" "bundle_emb.badhand.clip_g 1 2 40" \
		"bundle_emb.easy neg.v2.string_to_param.* 1 2 32" | sed 's/easy neg/easyneg/' | tensors make emb.safetensors
	tensors join both.safetensors emb.safetensors "$KOHYA"
	the_same both.safetensors
	run "$BIN/lora-merge" into -m "$TINY" --lora both.safetensors -o noted
	[ "$status" -eq 0 ]
	[[ $output == *"the embeddings in it are not used: badhand, easyneg.v2"* ]] || { echo "$output"; return 1; }
}

@test "methods that are not read are refused by name" {
	local to_k=lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k
	printf '%s\n' "$to_k.weight 1 16" "$to_k.on_input =0" | tensors make ia3.safetensors
	named_by_all ia3.safetensors "IA3 is not yet supported (tensor '$to_k.on_input')"
	printf '%s\n' "$to_k.a1.weight 1 4 72" "$to_k.b1.weight 1 16 4" | tensors make glora.safetensors
	named_by_all glora.safetensors "GLoRA is not yet supported"
	printf '%s\n' "base_model.model.x.boft_R 1 4 4" | tensors make boft.safetensors
	named_by_all boft.safetensors "BOFT is not yet supported"
}

# with_unet FOLDER FILE: the small model with another UNet
with_unet() {
	rm -rf "$1"
	cp -r "$TINY" "$1"
	chmod -R u+w "$1"
	cp "$2" "$1/unet/diffusion_pytorch_model.safetensors"
}

@test "a base in F8, with ComfyUI's scales beside its weights and without: sampled and merged" {
	local name=unet/diffusion_pytorch_model.safetensors TINY=$TINY
	local unet=$TINY/$name
	whole_of "$unet" unet. | grep -E '\.diff ' | sed 's/0\.05/0.005/' | tensors make full.safetensors
	tensors rename full.safetensors diffs '$_ = "" unless s/^unet\.//; s/\.diff$/.weight/;'
	for end in scale_weight weight_scale ''; do
		printf '%s\n' "scaled_fp8 1 0" "mid_block.attentions.0.proj_in.scale_input =1" | tensors make marks
		tensors f8 "$unet" weights "$end"
		tensors join f8 marks weights
		tensors f32 f8 f32
		with_unet reduced f8
		with_unet wide f32
		"$BIN/lora-sample" -m reduced -p x -W 32 -H 32 --steps 1 -o p.png 2> notes
		lacks notes 'not used'
		sample of_f8 -m reduced -l "$KOHYA"
		sample of_f32 -m wide -l "$KOHYA"
		if [ "$end" ]; then
			cmp of_f8 of_f32
		else
			sample base -m wide
			tensors near of_f8 of_f32 base 1e-4         # halves in memory, in another order
		fi
		TINY=reduced merge full.safetensors into"$end"
		tensors sum want f8 diffs
		cmp <(tensors list want) <(tensors list into"$end/$name")
		tensors same want into"$end/$name"
	done
	printf '%s\n' "mid_block.attentions.0.proj_in.scale_weight 1 24" | tensors make rows
	tensors join several f8 rows
	with_unet reduced several
	status_of 3 "$BIN/lora-merge" into -q -m reduced --lora "$KOHYA" -o never
	[[ $output == *"'mid_block.attentions.0.proj_in.scale_weight' must be one number"* ]] ||
		{ echo "$output"; return 1; }
}

@test "an adapter in F8" {
	tensors f8 "$KOHYA" f8.safetensors ''
	tensors f32 f8.safetensors wide.safetensors
	merge f8.safetensors of_f8
	merge wide.safetensors of_f32
	cmp <(weights of_f8) <(weights of_f32)
	sample f8 -m "$TINY" -l f8.safetensors
	sample f32 -m "$TINY" -l wide.safetensors
	cmp f8 f32
	"$BIN/lora-inspect" --verify f8.safetensors > said
}

@test "every kind with a DoRA's lengths of outputs and of inputs" {
	local G=$ROOT/tests/golden/adapters conv=input_blocks_4_0_in_layers_2 file prefix axis
	local to_k=input_blocks_4_1_transformer_blocks_0_attn2_to_k
	for file in loha_tucker lokr_both oft_kohya_tight oft_lycoris_rescaled locon_tucker; do
		for axis in output input; do
			prefix=lora_unet_
			[ "$file" != oft_kohya_tight ] || prefix=oft_unet_
			if [ $axis = output ]; then
				printf '%s\n' "$prefix$conv.dora_scale =1.3 16 1 1 1" "$prefix$to_k.dora_scale =0.8 16 1"
			else
				printf '%s\n' "$prefix$conv.dora_scale =1.3 1 8 1 1" "$prefix$to_k.dora_scale =0.8 1 72"
			fi | if grep -q "$to_k\." <(tensors list "$G/$file.safetensors"); then cat; else grep "$conv"; fi |
				tensors make lengths
			tensors join "$file" "$G/$file.safetensors" lengths
			painted_as_merged "$file" > share || { echo "$file $axis $(cat share)"; return 1; }
			cp with "with.$file.$axis"
		done
		differ "with.$file.output" "with.$file.input"
		sample with -m "$TINY" -l "$G/$file.safetensors"
		differ with "with.$file.output"
	done
}

@test "lora-inspect says what an adapter for another model is, and that it is sound" {
	local block=transformer.single_transformer_blocks.0.attn.to_q
	printf '%s\n' "$block.lora_A.weight 1 4 64" "$block.lora_B.weight 1 64 4" | tensors make flux.safetensors
	"$BIN/lora-inspect" --norms flux.safetensors > said
	grep -q 'base *Flux (by its names and shapes)' said
	grep -q 'rank *4, alpha 4: 1 modules' said
	grep -qE "^ +[0-9.]+ +4 +$block" said
}

@test "lengths of PEFT's DoRA behind the names that diffusers makes of them" {
	local q=down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q out
	out=${q%to_q}to_out.0
	for x in "$q" "$out"; do
		printf '%s\n' "unet.$x.lora_A.weight 0.3 2 16" "unet.$x.lora_B.weight 0.3 16 2" \
			"unet.$x.lora_magnitude_vector =1.2 16"
	done | tensors make peft.safetensors
	merge peft.safetensors peft
	# utils/state_dict_utils.py, convert_state_dict_to_kohya: all dots but the last two
	tensors rename peft.safetensors kohya.safetensors 's/lora_A/lora_down/; s/lora_B/lora_up/; s/^unet/lora_unet/;
		my $n = tr/.// - 2; while ($n-- > 0) { s/\./_/ }'
	tensors list kohya.safetensors | grep -q 'attn1_to_out_0\.lora_down\.weight'
	tensors list kohya.safetensors | grep -q 'attn1_to_out\.0\.lora_magnitude_vector'
	# loaders/lora_conversion_utils.py, _convert_unet_lora_key
	tensors rename peft.safetensors old.safetensors 's/attn1\./attn1.processor./; s/to_out\.0/to_out/;
		s/\.lora_A/_lora.down/; s/\.lora_B/_lora.up/; s/magnitude_vector/magnitude_vector.weight/'
	for file in kohya old; do
		merge $file.safetensors $file
		cmp <(weights $file) <(weights peft)
	done
	sample with -m "$TINY" -l kohya.safetensors
	sample merged -m peft
	tensors near with merged "$BATS_FILE_TMPDIR/base" 1e-3
}

@test "the UNet's part of an adapter is trained on where text encoders are not; a base with them is refused" {
	MODEL=$TINY few_latents few.tar
	trained "$TINY" --network-weights "$KOHYA" --dim-from-weights > both
	trained "$TINY" --network-weights "$ROOT/tests/golden/tiny-a/lora_conv.safetensors" --dim-from-weights > unet
	cmp both unet
	status_of 3 "$BIN/lora-train" -q -m "$TINY" --network-train-unet-only --network-dim 2 --max-train-steps 1 -o run \
		--base-weights "$KOHYA" few.tar
	[[ $output == *"are for a text encoder that is not here"* ]]
}

@test "OFT of OneTrainer: PEFT's tensor under kohya's names, which turns convolutions the other way" {
	peft=$ROOT/tests/golden/adapters/oft_peft/adapter_model.safetensors
	tensors rename "$peft" turned.safetensors 's/^base_model\.model\.//; my $e = s/\.oft_R\.weight$// or die;
		$data = pack "f*", map { -$_ } unpack "f*", $data if /conv_shortcut/;
		tr{.}{_}; $_ = "lora_unet_$_.oft_R.weight"'
	merge "$ROOT/tests/golden/adapters/oft_peft" ours
	merge turned.safetensors theirs
	cmp <(weights ours) <(weights theirs)
	tensors list turned.safetensors | grep -q conv_shortcut
}
