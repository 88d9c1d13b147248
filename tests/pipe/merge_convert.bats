#!/usr/bin/env bats
# lora-merge convert: another reader's names for the same adapter, and what that reader makes of it.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export TINY=$ROOT/tests/golden/tiny-a/model ADAPTERS=$ROOT/tests/golden/adapters
	export KOHYA=$BATS_FILE_TMPDIR/kohya.safetensors MERGED=$BATS_FILE_TMPDIR/merged
	tensors join "$KOHYA" "$ROOT"/tests/golden/tiny-a/lora_{conv,text}.safetensors
	merge "$KOHYA" "$MERGED"
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
}

tensors() { perl "$BATS_TEST_DIRNAME/tensors.pl" "$@"; }
merge() { rm -rf "$2"; "$BIN/lora-merge" into -q -m "$TINY" --lora "$1" -o "$2"; }
convert() { "$BIN/lora-merge" convert "$@"; }
weights() { cat "$1"/{unet,text_encoder,text_encoder_2}/*.safetensors; }
# bytes FILE: what stands behind the header
bytes() { tail -c +$((9 + $(od -An -tu8 -N8 "$1"))) "$1"; }
names() { "$BIN/lora-inspect" "$1" | sed -nE 's/^ *names *//p'; }

# near A B LIMIT: two merged models, by what they are away from the one that both were merged into
near() {
	local part
	for part in unet text_encoder text_encoder_2; do
		cmp -s "$1/$part"/*.safetensors "$2/$part"/*.safetensors ||
			tensors near "$1/$part"/*.safetensors "$2/$part"/*.safetensors "$TINY/$part"/*.safetensors "$3"
	done
}

@test "every reader's names hold the same adapter, and the way back has kohya's tensors byte for byte" {
	for to in kohya diffusers peft comfy; do
		convert -q "$KOHYA" --to $to -o $to
		merge $to out
		cmp <(weights out) <(weights "$MERGED")
		"$BIN/lora-inspect" --verify $to > /dev/null
		convert -q $to --to kohya -o back
		cmp <(bytes back) <(bytes kohya)
		cmp <(tensors list back) <(tensors list kohya)
	done
	[ "$(names kohya)" = kohya ]
	[ "$(names diffusers)" = diffusers ]
	[[ $(names peft) == "peft, whole pipeline"* ]]
	[ "$(names comfy)" = comfy ]
}

@test "what each reader looks for" {
	for to in diffusers peft comfy; do
		convert -q "$KOHYA" --to $to -o $to
	done
	tensors list comfy | grep -q '^diffusion_model\.input_blocks\.4\.1\.proj_in\.alpha$'
	tensors list comfy | grep -q '^text_encoders\.clip_g\.transformer\.text_model\.encoder\.layers\.0\.mlp\.fc1\.lora_up\.weight '
	[ "$(tensors list diffusers | grep -c alpha)" -eq 0 ]
	tensors metadata diffusers lora_adapter_metadata | jq -e '
		."unet.rank_pattern"."down_blocks.1.resnets.0.conv1" == 3 and
		."unet.alpha_pattern"."down_blocks.1.resnets.0.conv1" == 2 and ."unet.r" == 2 and
		."text_encoder_2.r" == 4 and ."text_encoder_2.lora_alpha" == 2 and
		(."text_encoder.target_modules" | index("encoder.layers.0.mlp.fc1"))'
	jq -e '.peft_type == "LORA" and .r == 2 and .rank_pattern."unet.down_blocks.1.resnets.0.conv1" == 3 and
		(.target_modules | length) == 300' peft/adapter_config.json
	# a UNet alone is the model that PEFT is given
	convert -q "$ROOT/tests/golden/tiny-a/lora_unet.safetensors" --to peft -o unet
	tensors list unet/adapter_model.safetensors | grep -q '^base_model\.model\.down_blocks\.'
	jq -e '.r == 2 and .lora_alpha == 1 and .rank_pattern == {}' unet/adapter_config.json
}

@test "no note of an alpha's type where the names' own rule gives it" {
	convert -q "$KOHYA" --to peft -o peft
	run ! tensors metadata peft/adapter_model.safetensors lora_tools.alpha_types
	tensors rename "$KOHYA" none '$_ = "" if /alpha/'
	convert -q none --to diffusers -o diffusers
	[ "$(tensors metadata diffusers lora_tools.alpha_types)" = '{"*":"none"}' ]
}

# applies READER ADAPTER MERGED WANT: the reader changes so many layers, to what they are in the merged model
applies() {
	local said status=0
	said=$("${PYTHON:-python3}" "$ROOT/tests/tools/apply_adapter.py" "$1" "$TINY" "$2" "$3" 2> err) || status=$?
	[ "$status" -ne 77 ] || skip "no diffusers and PEFT for ${PYTHON:-python3}"
	[ "$status" -eq 0 ] || { cat err; return 1; }
	echo "$1: $said"
	# the merged model's weights are rounded to F32, by up to 2^-24 of them, and an update is a tenth of a weight
	[ "${said% *}" -eq "$4" ] && jq -en "${said#* } < 5e-6"
}

@test "diffusers' own loader, and PEFT's, apply every module with its effect" {
	convert -q "$KOHYA" --to diffusers -o adapter.safetensors
	convert -q "$KOHYA" --to peft -o folder
	applies diffusers "$PWD/adapter.safetensors" "$MERGED" 300
	applies peft "$PWD/folder" "$MERGED" 300
	convert -q "$ROOT/tests/golden/tiny-a/lora_unet.safetensors" --to peft -o unet
	merge unet merged
	applies peft "$PWD/unet" merged 192
}

@test "LoKr becomes a LoRA of the same effect, exactly where it is a product, and a middle factor is multiplied in" {
	for kind in lokr_both locon_tucker; do
		merge "$ADAPTERS/$kind.safetensors" want
		for to in kohya diffusers peft comfy; do
			rm -rf $to
			convert "$ADAPTERS/$kind.safetensors" --to $to -o $to 2> said
			merge $to out
			# factors are rounded to F32, and so are weights
			near want out 1e-6
		done
	done
}

# nearest FILE RANK: the LoRA of that rank, and its effect, which is as far from the file's as is said
nearest() {
	rm -f lora
	convert "$1" --to kohya --rank "$2" -m "$TINY" -o lora 2> said
	merge "$1" want
	merge lora out
	error=$(sed -n 's/.*relative error \([^,]*\),.*/\1/p' said)
	far=$(tensors near want/unet/*.safetensors out/unet/*.safetensors "$TINY"/unet/*.safetensors 9)
	echo "$1 at rank $2: $far, said $error"
	jq -en "(${error:-0} - $far) | fabs < 0.005 * $far + 1e-6"     # three digits are printed
}

@test "OFT, DoRA and what is no product become the nearest LoRA, with the error that is said" {
	for kind in loha_dora_in lokr_dora_out lora_dora_in oft_kohya_tight lokr_both peft_dora oft_peft; do
		file=$ADAPTERS/$kind
		[ -d "$file" ] || file=$file.safetensors
		nearest "$file" 3
		jq -en "$far > 0.01"
		nearest "$file" 64              # no layer has a side of more
		jq -en "$far < 1e-6"
	done
}

@test "a DoRA stays one where the readers take its lengths, and PEFT's own loader does" {
	convert -q "$ADAPTERS/lora_dora_in.safetensors" --to comfy -o comfy
	[ "$(tensors metadata comfy lora_tools.dora_axis)" = input ]
	tensors list comfy | grep -q 'dora_scale 1 '
	merge "$ADAPTERS/lora_dora_in.safetensors" want
	merge comfy out
	cmp <(weights out) <(weights want)
	merge "$ADAPTERS/peft_dora" want
	convert -q "$ADAPTERS/peft_dora" --to diffusers -o adapter.safetensors
	merge adapter.safetensors out
	cmp <(weights out) <(weights want)
	convert -q adapter.safetensors --to peft -o folder
	cmp <(bytes folder/adapter_model.safetensors) <(bytes "$ADAPTERS/peft_dora/adapter_model.safetensors")
	modules=$(jq '.target_modules | length' folder/adapter_config.json)
	applies diffusers "$PWD/adapter.safetensors" want "$modules"
	applies peft "$PWD/folder" want "$modules"
}

@test "lengths of the other side, where they make the same weights" {
	MODEL=$TINY few_latents latents.tar
	# before training all gains are 1
	MODEL=$TINY LATENTS=latents.tar train 2 run --dora --network-args dora_axis=output --learning-rate 1e-30
	merge run/t.safetensors want
	run -3 convert run/t.safetensors --to kohya -o x
	[[ $output == *"say -m MODEL to find whether lengths of the others give the same weights"* ]]
	convert run/t.safetensors --to kohya -m "$TINY" -o turned
	tensors list turned | grep -q 'dora_scale 1 '
	[ "$(tensors metadata turned lora_tools.dora_axis)" = input ]
	merge turned out
	# both move weights by rounding alone: 2^-22 of them
	tensors rename want/unet/*.safetensors zeros '$data = "\0" x length $data'
	tensors near want/unet/*.safetensors out/unet/*.safetensors zeros 3e-7
	run -3 convert "$ADAPTERS/peft_dora" --to kohya -m "$TINY" -o x
	[[ $output == *"no lengths of the others give the same weights; say --rank R"* ]]
}

@test "what cannot be said in another reader's way is refused with the reason" {
	refused() {
		run -3 convert "$@" -o x
		[ ! -e x ]
	}
	refused "$ADAPTERS/lora_dora_in.safetensors" --to peft
	[[ $output == *"lengths of its inputs, and peft reads them as of its outputs; say -m MODEL"* ]]
	refused "$ADAPTERS/peft_dora" --to kohya
	[[ $output == *"lengths of its outputs, and kohya reads them as of its inputs"* ]]
	refused "$ADAPTERS/oft_kohya_tight.safetensors" --to kohya
	[[ $output == *"is no LoRA of a rank below its sides; say --rank R and -m MODEL for the nearest one"* ]]
	run -2 convert "$ADAPTERS/oft_kohya_tight.safetensors" --to kohya --rank 4 -o x
	[[ $output == *"is made of the model's weights; say -m MODEL"* ]]
	echo lora_unet_out_0.w_norm 0.3 8 | tensors make norm
	refused norm --to diffusers
	[[ $output == *"changes a norm or a bias, which no LoRA does; --to kohya and --to comfy keep it"* ]]
	convert -q norm --to comfy -o comfy
	tensors list comfy | grep -q '^diffusion_model\.out\.0\.w_norm 8$'
	run -2 convert "$KOHYA" -o x
	[[ $output == *"say --to kohya, diffusers, peft or comfy"* ]]
	run -2 convert "$KOHYA:0.5" --to peft -o x
	[[ $output == *"convert takes no weight"* ]]
}

@test "--keep-kind: other kinds under the names of those who read them" {
	for kind in lokr_both loha_tucker oft_kohya_tight loha_dora_in; do
		merge "$ADAPTERS/$kind.safetensors" want
		for to in comfy kohya; do
			convert "$ADAPTERS/$kind.safetensors" --keep-kind --to $to -o $to 2> said
			grep -q 'modules, all byte for byte' said
			merge $to out
			cmp <(weights out) <(weights want)
		done
	done
	tensors list comfy | grep -q '^diffusion_model\..*hada_w1_a'
}

@test "biases go along, times the scale where the readers want that" {
	{
		echo lora_unet_input_blocks_4_1_proj_in.lora_down.weight 0.5 2 16
		echo lora_unet_input_blocks_4_1_proj_in.lora_up.weight 0.5 16 2
		echo lora_unet_input_blocks_4_1_proj_in.alpha =1
		echo lora_unet_input_blocks_4_1_proj_in.diff_b 0.5 16
	} | tensors make biases
	merge biases want
	for to in peft comfy diffusers; do
		convert -q biases --to $to -o $to
		merge $to out
		cmp <(weights out) <(weights want)
	done
	jq -e .lora_bias peft/adapter_config.json
	applies peft "$PWD/peft" want 1
	applies diffusers "$PWD/diffusers" want 1
}

@test "the same bytes with any number of threads" {
	for t in 1 3; do
		OMP_NUM_THREADS=$t convert -q "$ADAPTERS/oft_kohya_tight.safetensors" --to kohya --rank 3 -m "$TINY" -o $t
	done
	cmp 1 3
}

@test "some modules alone" {
	convert -q "$KOHYA" --to diffusers --only te2 -o te2
	[ "$(tensors list te2 | grep -vc '^text_encoder_2\.')" -eq 0 ]
	convert -q "$KOHYA" --to kohya --without te -o unet
	tensors same unet "$ROOT/tests/golden/tiny-a/lora_conv.safetensors"
}

@test "-m is asked for where it was not given" {
	local oft=$ROOT/tests/golden/adapters/oft_kohya_tight.safetensors
	run -3 "$BIN/lora-merge" convert "$oft" --to kohya -o x
	[[ $output == *"say --rank R and -m MODEL for"* ]]
	run -3 "$BIN/lora-merge" convert "$oft" -m "$ROOT/tests/golden/tiny-a/model" --to kohya -o x
	[[ $output == *"say --rank R for"* ]]
}

@test "NaN in any part of a module is refused by every mode, be the part kept byte for byte" {
	local block=lora_unet_input_blocks_4_1 file name sides mode
	while read -r file name sides; do
		echo "$name =nan $sides" | tensors make nan
		tensors rename "$file" rest "\$_ = '' if \$_ eq '$name'"
		tensors join bad rest nan
		for mode in "add bad -o x" "scale bad:0.5 -o x" "negate bad -o x" "resize bad --rank 2 -o x" \
			"convert bad --to kohya --keep-kind -o x" "average bad bad -o x" "interference $KOHYA bad" \
			"into -m $TINY --lora bad -o x"; do
			run -3 "$BIN/lora-merge" $mode
			[[ $output == *"'$name' holds NaN or infinity"* ]]
			[ ! -e x ]
		done
		# of what is left out nobody asks
		"$BIN/lora-merge" add -q bad --without "${name%%.*}" -o x
		rm x
	done <<- END
		$KOHYA ${block}_proj_in.diff_b 16
		$KOHYA ${block}_norm.w_norm 16
		$KOHYA ${block}_norm.b_norm 16
		$KOHYA ${block}_transformer_blocks_0_attn1_to_out_0.diff_b 16
		$KOHYA ${block}_transformer_blocks_0_attn1_to_q.lora_up.weight 16 2
		$ADAPTERS/lora_dora_in.safetensors ${block}_transformer_blocks_0_attn1_to_k.dora_scale 1 16
		$ADAPTERS/lora_dora_in.safetensors ${block}_transformer_blocks_0_attn1_to_k.lora_up.weight 16 4
		$ADAPTERS/lora_dora_in.safetensors ${block}_proj_in.diff 16 16
		$ADAPTERS/oft_kohya_tight.safetensors oft_unet_input_blocks_4_0_skip_connection.oft_blocks 4 4 4
	END
}
