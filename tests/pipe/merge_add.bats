#!/usr/bin/env bats
# lora-merge add, scale and negate: what is written and what is said; the numbers are those of tests/unit/merge_add.c.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export TINY=$ROOT/tests/golden/tiny-a ADAPTERS=$ROOT/tests/golden/adapters
	export A=$BATS_FILE_TMPDIR/a.safetensors
	tensors join "$A" "$TINY"/lora_{conv,text}.safetensors
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
}

tensors() { perl "$BATS_TEST_DIRNAME/tensors.pl" "$@"; }
lora_merge() { "$BIN/lora-merge" "$@"; }
weights() { cat "$1"/{unet,text_encoder,text_encoder_2}/*.safetensors; }
into() { rm -rf "${*: -1}"; lora_merge into -q -m "$TINY/model" --lora "$1" "${@:2:$#-2}" -o "${*: -1}"; }
# said FILE KEY
said() { tensors metadata "$1" "$2"; }

# near A B [LIMIT]: two merged models, by what they are away from the one that both were merged into
near() {
	local part
	for part in unet text_encoder text_encoder_2; do
		cmp -s "$1/$part"/*.safetensors "$2/$part"/*.safetensors ||
			tensors near "$1/$part"/*.safetensors "$2/$part"/*.safetensors \
				"$TINY/model/$part"/*.safetensors "${3:-1e-6}"
	done
}

@test "what the sum does to a model is what both adapters do" {
	lora_merge add -q "$A:0.7" "$ADAPTERS/loha_tucker.safetensors:-0.3" "$ADAPTERS/lokr_both.safetensors:2" -o sum
	into sum one
	lora_merge into -q -m "$TINY/model" --lora "$A:0.7" --lora "$ADAPTERS/loha_tucker.safetensors:-0.3" \
		--lora "$ADAPTERS/lokr_both.safetensors:2" -o two
	near one two
	lora_merge add -q "$A:0.7" "$ADAPTERS/loha_tucker.safetensors:-0.3" "$ADAPTERS/lokr_both.safetensors:2" \
		--save-precision fp16 -o half
	into half three
	near three two 1e-3
	"$BIN/lora-inspect" --verify sum half > verified
}

@test "--save-precision is the type of copies too: rounded once, and back they are the same numbers" {
	local way
	for way in "add $A" "scale $A:0.5" "negate $A" "resize $A --keep 1" \
		"add $ADAPTERS/lora_dora_in.safetensors" "add $ADAPTERS/loha_tucker.safetensors $ADAPTERS/lokr_both.safetensors"; do
		# shellcheck disable=SC2086
		lora_merge $way -q --save-precision fp16 -o half
		[ "$("$BIN/lora-inspect" --json half | jq -r .dtype)" = F16 ]
		# shellcheck disable=SC2086
		lora_merge $way -q -o whole
		lora_merge add -q half --save-precision float -o back
		[ "$("$BIN/lora-inspect" --json back | jq -r .dtype)" = F32 ]
		into half one
		into back two
		into whole three
		cmp <(weights one) <(weights two)
		near one three 4e-3     # a length is rounded to 2^-11 of itself, which is more of the movement
	done
	lora_merge add -q "$A" --save-precision float -o same
	tensors same "$A" same
}

@test "dialects: an adapter less itself under other names is 0" {
	lora_merge convert -q "$A" --to diffusers -o other
	lora_merge add "$A" other:-1 -o none 2> said
	grep -q '^lora-merge: none: 300 modules, rank 1, norm 0, relative error 0$' said
	into none out
	cmp <(weights out) <(weights "$TINY/model")
}

@test "one adapter alone keeps its tensors, and what is left out is left out" {
	lora_merge add -q "$A" -o same
	tensors same "$A" same
	lora_merge add -q "$A" "$TINY/lora_unet.safetensors:0" -o same
	tensors same "$A" same
	lora_merge add "$A" --only unet -o unet 2> said
	tensors same "$TINY/lora_conv.safetensors" unet
	grep -q ': 42 of 300 modules left out$' said
	grep -q '^lora-merge: unet: 258 modules, all byte for byte, norm [0-9.]*$' said
	lora_merge add -q "$A" --without unet -o text
	tensors same "$TINY/lora_text.safetensors" text
	lora_merge add -q "$A" --only te1 --only te2 -o text
	tensors same "$TINY/lora_text.safetensors" text
	run lora_merge add "$A" --only nothing -o x
	[ "$status" -eq 2 ]
	[ ! -e x ]
}

@test "another method keeps it, with any weight" {
	for kind in loha_tucker lokr_both tlora; do
		lora_merge scale -q "$ADAPTERS/$kind.safetensors:-0.3" -o scaled
		[ "$(tensors list scaled | sort)" = "$(tensors list "$ADAPTERS/$kind.safetensors" | sort)" ]
		into scaled one
		into "$ADAPTERS/$kind.safetensors:-0.3" two
		near one two
	done
}

@test "negate and scale" {
	lora_merge negate -q "$A" -o minus
	lora_merge add -q minus "$A" -o none
	lora_merge negate -q minus -o plus
	tensors same "$A" plus
	into "$A:-0.25" two
	lora_merge negate -q "$A:0.25" -o quarter
	into quarter one
	near one two
	lora_merge scale -q "$A:-0.25" -o quarter
	into quarter one
	near one two
	run lora_merge scale "$A" "$A" -o x
	[ "$status" -eq 2 ]
}

@test "block weights: what each block gets is said, and into takes them too" {
	lora_merge add "$A:0.5" --block 0,1,1,1,1,0.5,1,1,1,1,1,0 --block 'attn1=2' -o blocks 2> said
	grep -q ': BASE: weight 0 (42 modules)$' said
	grep -q ': MID: weight 0.25 ([0-9]* modules)$' said
	grep -q ': MID: weight 0.5 ([0-9]* modules)$' said
	grep -q ': OUT05: weight 0 ([0-9]* modules)$' said
	[ "$(tensors list blocks | grep -c 'lora_te\|output_blocks_5')" -eq 0 ]
	into blocks one
	into "$A:0.5" --block 0,1,1,1,1,0.5,1,1,1,1,1,0 --block attn1=2 two
	near one two
	into "$A" --block .=0.5 half
	into "$A:0.5" same
	cmp <(weights half) <(weights same)
	into "$A" --only te1 some
	cmp some/unet/*.safetensors "$TINY"/model/unet/*.safetensors
	! cmp -s some/text_encoder/*.safetensors "$TINY"/model/text_encoder/*.safetensors
}

@test "the second adapter's blocks are its own" {
	lora_merge add -q "$A" "$A" --block 2:.=-1 -o none
	lora_merge add -q "$A" "$A:-1" -o same
	cmp none same || tensors same none same
}

@test "metadata: what all say, tags together, who they were, and true dimensions" {
	tensors rename "$TINY/lora_unet.safetensors" one.safetensors '' ss_base_model_version=sdxl_base_v1-0 \
		ss_network_dim=2 ss_sd_model_name=m 'ss_tag_frequency={"x":{"cat":2,"dog":1}}' lora_tools.run=1
	tensors rename "$TINY/lora_conv.safetensors" two.safetensors '' ss_base_model_version=sdxl_base_v1-0 \
		ss_network_dim=2 ss_sd_model_name=m 'ss_tag_frequency={"x":{"cat":3},"y":{"sun":1}}' ss_seed=5
	lora_merge add -q one.safetensors two.safetensors:0.5 -o both.safetensors
	[ "$(said both.safetensors ss_base_model_version)" = sdxl_base_v1-0 ]
	[ "$(said both.safetensors ss_sd_model_name)" = m ]
	[ "$(said both.safetensors ss_network_dim)" = Dynamic ]
	[ "$(said both.safetensors ss_network_alpha)" = Dynamic ]
	[ "$(said both.safetensors ss_output_name)" = both ]
	[ "$(said both.safetensors modelspec.title)" = both ]
	[ "$(said both.safetensors modelspec.merged_from)" = "one.safetensors, two.safetensors" ]
	said both.safetensors ss_tag_frequency | jq -e '. == {"x":{"cat":5,"dog":1},"y":{"sun":1}}'
	said both.safetensors lora_tools.merged_from | jq -e --arg hash "$(said one.safetensors sshs_model_hash)" \
		'map(.file) == ["one.safetensors","two.safetensors"] and map(.weight) == [1,0.5]'
	run ! said both.safetensors lora_tools.run
	run ! said both.safetensors ss_seed
	[ "$(said both.safetensors modelspec.hash_sha256)" = "0x$(said both.safetensors sshs_model_hash)" ]
	"$BIN/lora-inspect" --verify both.safetensors > /dev/null
	lora_merge add -q "$TINY/lora_conv.safetensors" --rank 1 -o low
	[ "$(said low ss_network_dim)" = 1 ]
	[ "$(said low ss_network_alpha)" = 1.0 ]
	run ! said low ss_network_args
	lora_merge add -q "$TINY/lora_unet.safetensors" "$TINY/lora_unet.safetensors" -o twice
	[ "$(said twice ss_network_dim)" = 2 ]
	[ "$(said twice ss_network_alpha)" = 2.0 ]
}

@test "the report has a line a module and one for all" {
	lora_merge add -q "$A" "$TINY/lora_unet.safetensors" --rank 2 -o out --report report
	jq -se '(.[:-1] | length == 300 and all(.event == "module" and .relative_error < 1)) and
		(.[-1] | .event == "total" and .modules == 300)' report
	jq -se 'map(select(.module == "lora_te1_text_model_encoder_layers_0_mlp_fc1"))[0] |
		.adapters == 1 and .rank == 2 and .copied == false' report
}

@test "DoRA, OFT and whole differences are added with the model's weights and a rank" {
	local some=(--lora "$A:0.7") all=("$A:0.7") kind
	for kind in lora_dora_in lokr_dora_out oft_kohya_tight; do
		all+=("$ADAPTERS/$kind.safetensors:-0.5")
		some+=(--lora "$ADAPTERS/$kind.safetensors:-0.5")
	done
	# no layer of the model has a side above 1000: nothing is cut off
	lora_merge add "${all[@]}" -m "$TINY/model" --rank 1000 -o sum 2> said
	tail -1 said | grep -qE 'relative error [0-9.]+e-0[789]$'
	into sum one
	lora_merge into -q -m "$TINY/model" "${some[@]}" -o two
	near one two
	lora_merge add "${all[@]}" -m "$TINY/model" --rank 2 -o sum 2> said
	tail -1 said | grep -q 'rank 2, norm'
}

@test "what has no sum is refused with the reason" {
	run lora_merge add "$A" "$ADAPTERS/lora_dora_in.safetensors" --rank 4 -o x
	[ "$status" -eq 3 ]
	[[ $output == *"with -m MODEL and --rank R"* ]]
	run lora_merge add "$A" "$ADAPTERS/lora_dora_in.safetensors" -m "$TINY/model" -o x
	[ "$status" -eq 3 ]
	[[ $output == *"makes a LoRA of it with --rank R"* ]]
	run lora_merge add "$A" "$ADAPTERS/lora_dora_in.safetensors" -o x
	[ "$status" -eq 3 ]
	[[ $output == *"is a DoRA, whose lengths change every number"* ]]
	run lora_merge add "$A" "$ROOT/tests/golden/families/sd15/lora_conv.safetensors" -o x
	[ "$status" -eq 3 ]
	[[ $output == *"adapters of one model go together"* ]]
	run lora_merge add "$A" --exact --rank 3 -o x
	[ "$status" -eq 2 ]
	[ ! -e x ]
}

@test "the same bytes with any number of threads and any vector instructions" {
	mkdir 1 3 plain
	for t in 1 3; do
		OMP_NUM_THREADS=$t lora_merge add -q "$A:0.3" "$ADAPTERS/lokr_both.safetensors" --rank 2 -o $t/out
	done
	LORA_CPU=portable lora_merge add -q "$A:0.3" "$ADAPTERS/lokr_both.safetensors" --rank 2 -o plain/out
	cmp 1/out 3/out
	cmp 1/out plain/out
}

@test "OFT beside a LoRA asks for the model and a rank, as DoRA does; options of --method alone ask for it" {
	local oft=$ROOT/tests/golden/adapters/oft_kohya_tight.safetensors \
		lora=$ROOT/tests/golden/tiny-a/lora_unet.safetensors
	for order in "$oft $lora" "$lora $oft"; do
		run -3 "$BIN/lora-merge" add $order -o x
		[[ $output == *"oft_kohya_tight"*"with -m MODEL and --rank R"* ]]
	done
	run -2 "$BIN/lora-merge" add "$lora" --density 0.3 -o x
	[[ $output == *"--density says nothing without --method"* ]]
	run -2 "$BIN/lora-merge" add "$lora" --seed 3 -o x
	[[ $output == *"--seed says nothing without --method"* ]]
}

# alphas FILE: "TYPE VALUE" of all, each once; VALUE as Perl unpacks it
alphas() {
	tensors rename "$1" /dev/null 'my %as = (F64 => "d<", F32 => "f<", I64 => "q<", I32 => "l<", F16 => "v", BF16 => "v");
		printf "%s %.9g\n", $dtype, unpack $as{$dtype}, $data if /alpha$/' | sort -u
}

# with_alpha FILE TYPE PACKED: A's modules of the UNet with that alpha
with_alpha() {
	tensors rename "$TINY/lora_unet.safetensors" "$1" "(\$dtype, \$data) = ('$2', pack $3) if /alpha\$/"
}

@test "a weight is not lost in an alpha whose type does not hold it" {
	local type code weight want
	tensors rename "$TINY/lora_text.safetensors" text '($dtype, $data) = ("I64", pack "q<", 1) if /alpha$/'
	while read -r type code weight want; do
		with_alpha in "$type" "$code"
		lora_merge scale "in:$weight" -o out 2> said
		echo "$type $weight: $(alphas out), not $want; $(tail -1 said)"
		[ "$(alphas out)" = "${want/_/ }" ]
		[ "$(lora_merge add -q "in:$weight" --rank 9 -o ranked && alphas ranked)" = "${want/_/ }" ]
		[ "$(lora_merge add -q "in" --block ".=$weight" -o blocks && alphas blocks)" = "${want/_/ }" ]
		lora_merge add -q "in:$weight" "text:$weight" -o both
		alphas both | grep -qx "${want/_/ }"
		lora_merge add -q in -o same
		tensors same in same
	done <<- 'END'
		I64 "q<",1 0.5 F32_0.5
		I64 "q<",2 0.5 I64_1
		I64 "q<",1 3e20 F32_3.00000006e+20
		I32 "l<",1 0.5 F32_0.5
		I32 "l<",1 -3 I32_3
		F16 "v",0x3d33 1e6 F32_1299804.75
		F16 "v",0x3c00 1e-9 F32_9.99999972e-10
		F16 "v",0x3c00 0.5 F16_14336
		BF16 "v",0x4000 -0.3 F32_0.600000024
		F64 "d<",0.1 0.5 F64_0.05
	END
}

@test "an alpha that no F32 holds is refused; what is rounded is said" {
	for weight in 1e39 1e-46; do
		run -3 lora_merge scale "$TINY/lora_unet.safetensors:$weight" -o x
		[[ $output == *"alpha' would be 1e"*"which no F32 holds"* ]]
		[ ! -e x ]
	done
	# the least F32 is 1.401298e-45
	lora_merge scale "$TINY/lora_unet.safetensors:1e-45" -o x 2> said
	tail -1 said | grep -q 'relative error 0.401,'
	# 0.3 as an F32 is 0.300000012
	lora_merge scale "$TINY/lora_unet.safetensors:0.3" -o x --report report 2> said
	tail -1 said | grep -q 'relative error 3.97e-08$'
	jq -es 'map(.relative_error - 3.9736e-8 | fabs < 1e-11) | all' report
}

# ones UP WEIGHT OUT: a module whose up holds that number, alpha its rank
ones() {
	printf '%s\n' "$LAYER.lora_up.weight =$1 16 2" "$LAYER.lora_down.weight 0.2 2 16" "$LAYER.alpha =$2" |
		tensors make "$3" ss_base_model_version=sdxl_base_v1-0
}

@test "what cancels has the norm that is left, and never an infinite error" {
	lora_merge negate -q "$A" -o minus
	lora_merge add "$A" minus -o none 2> said
	tail -1 said | grep -q ', norm 0, relative error 0$'
	of() { jq -s '.[-1].update_norm' "$1"; }
	lora_merge add -q "$A" -o same --report whole
	lora_merge add -q "$A" minus:0.999999999 -o rest --report rest.report
	jq -en "$(of rest.report) / $(of whole) / 1e-9 - 1 | fabs < 1e-5"
	# the same product from other factors: what their rounding leaves is no share of nothing
	local LAYER=lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q
	ones 1 2 one
	ones 3 2 three
	lora_merge add one:3 three:-1 -o nothing --report report 2> said
	tail -1 said | grep -q ', norm 0, error [0-9.]*e-0[789]$'
	run ! grep -i inf said report
}

@test "a bias less itself is a bias of zeros, and the file one that can be read" {
	local LAYER=lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_out_0
	echo "$LAYER.diff_b 0.1 16" | tensors make bias ss_base_model_version=sdxl_base_v1-0
	lora_merge add bias bias:-1 -o none 2> said
	tail -1 said | grep -q '1 modules, norm 0'
	[ "$(tensors list none)" = "$LAYER.diff_b 16" ]
	tensors rename none /dev/null 'die if $data =~ /[^\0]/'
	lora_merge add none -o again
	tensors same none again
	# of a norm too
	echo "lora_unet_input_blocks_4_1_norm.w_norm 0.1 16" |
		tensors make norm ss_base_model_version=sdxl_base_v1-0
	lora_merge add norm norm:-1 bias -o both 2> said
	tail -1 said | grep -q '2 modules'
	[ "$(tensors list both | wc -l)" -eq 2 ]
}

@test "OFT that cancels out asks for the model, which knows the layers' shapes" {
	local kind minus
	for kind in oft_kohya_tight.safetensors oft_lycoris_rescaled.safetensors oft_peft oft_peft_exact; do
		for minus in "$ADAPTERS/$kind:-0.5" "$ADAPTERS/$kind:-0.25 $ADAPTERS/$kind:-0.25"; do
			run -3 lora_merge add "$ADAPTERS/$kind:0.5" $minus -o x
			[[ $output == *"$kind"*"cancels out"*"say -m MODEL"* ]]
			[ ! -e x ]
		done
		lora_merge add -q "$ADAPTERS/$kind:0.5" "$ADAPTERS/$kind:-0.5" -m "$TINY/model" -o none
		into none out
		cmp <(weights out) <(weights "$TINY/model")
		rm none
	done
}

@test "a bias alone goes with any module of its layer, whichever is named first" {
	local LAYER=lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_out_0 what order
	echo "$LAYER.diff_b 0.1 16" | tensors make bias ss_base_model_version=sdxl_base_v1-0
	ones 1 2 lora
	echo "$LAYER.diff 0.1 16 16" | tensors make full ss_base_model_version=sdxl_base_v1-0
	for what in lora full; do
		for order in "bias $what:0.5" "$what:0.5 bias" "bias $what:0.5 $what:-0.5" "$what:0.5 bias:-1 bias"; do
			lora_merge add -q $order -o sum
			into sum one
			rm -rf two
			lora_merge into -q -m "$TINY/model" $(printf -- '--lora %s ' $order) -o two
			near one two
		done
	done
}
