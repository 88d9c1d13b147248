#!/usr/bin/env bats
# lora-merge resize: ranks and errors against what sd-scripts' own resize_lora.py (48d368fa) and PyTorch's singular
# values in double gave for the same adapter.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export TINY=$ROOT/tests/golden/tiny-a/model ADAPTERS=$ROOT/tests/golden/adapters
	export TWELVE=$BATS_FILE_TMPDIR/twelve.safetensors
	modules | tensors make "$TWELVE" ss_network_dim=12 ss_network_alpha=6.0 ss_base_model_version=sdxl_base_v1-0
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
}

tensors() { perl "$BATS_TEST_DIRNAME/tensors.pl" "$@"; }
resize() { "$BIN/lora-merge" resize "$@"; }
merge() { rm -rf "$2"; "$BIN/lora-merge" into -q -m "$TINY" --lora "$1" -o "$2"; }
# near A B LIMIT: the updates of two adapters, in the UNet
near() {
	merge "$1" near.a
	merge "$2" near.b
	tensors near near.{a,b}/unet/*.safetensors "$TINY/unet"/*.safetensors "$3"
}

# values FILE NAME: the numbers of its only tensor of that name
values() { tensors rename "$1" /dev/null "print join(' ', unpack 'f<*', \$data) if /$2/"; }

# Six modules of rank 12, one of them on a layer of 8 inputs.
modules() {
	local name out in kernel
	while read -r name out in kernel; do
		echo "$name.lora_up.weight 0.2 $out 12 ${kernel:+1 1}"
		echo "$name.lora_down.weight 0.2 12 $in $kernel"
		echo "$name.alpha =6"
	done <<- END
		lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q 16 16
		lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k 16 72
		lora_unet_input_blocks_4_1_transformer_blocks_0_ff_net_0_proj 128 16
		lora_unet_input_blocks_4_0_in_layers_2 16 8 3 3
		lora_unet_input_blocks_4_0_skip_connection 16 8 1 1
		lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q 24 24
	END
}

# ranks FILE: of the modules above, in their order
ranks() {
	local name
	modules | sed -n 's/ .*//; s/lora_down/&/p' | grep lora_down | while read -r name; do
		tensors list "$1" | sed -n "s/^$name \([0-9]*\).*/\1/p"
	done | xargs
}

@test "the dynamic methods choose the ranks of sd-scripts, 1x1 convolutions by --conv-rank too" {
	local method param rank conv want
	while read -r method param rank conv want; do
		resize -q "$TWELVE" --dynamic-method "$method" --dynamic-param "$param" --rank "$rank" \
			--conv-rank "$conv" -o out
		echo "$method $param $rank: $(ranks out), not $want"
		[ "$(ranks out)" = "$want" ]
	done <<- END
		sv_ratio 1.2 64 64 3 3 3 4 2 3
		sv_ratio 3 64 64 7 9 10 10 6 9
		sv_ratio 3 6 4 6 6 6 4 4 6
		sv_ratio 10 64 64 12 13 13 13 8 13
		sv_fro 0.5 64 64 2 3 3 3 2 3
		sv_fro 0.9 64 64 6 7 7 7 5 7
		sv_fro 0.9 6 4 6 6 6 4 4 6
		sv_fro 0.99 64 64 10 11 11 11 8 11
		sv_cumulative 0.3 64 64 3 3 4 3 3 3
		sv_cumulative 0.3 6 4 3 3 4 3 3 3
		sv_cumulative 0.8 64 64 8 9 9 8 6 8
		sv_cumulative 0.99 64 64 13 13 13 13 8 13
	END
}

@test "--rank: what is lost is what the singular values behind it are, as written and as said" {
	resize -q "$TWELVE" --rank 3 -o three --report report
	[ "$(ranks three)" = "3 3 3 3 3 3" ]
	# the numbers are PyTorch's, of the modules in the order of their names
	jq -es '[.[] | select(.event == "module")] | sort_by(.module) | map(.relative_error) | to_entries |
		map(.value - [0.6400906603301822, 0.45082894143221036, 0.5840169566660097, 0.6610711184240332,
			0.6530728553619546, 0.6528145016219071][.key] | fabs < 1e-6) | all' report
	# of the whole: the first and last lines of the report agree with the files
	said=$(jq -s '.[-1].relative_error' report)
	merge "$TWELVE" was
	merge three now
	found=$(tensors near was/unet/*.safetensors now/unet/*.safetensors "$TINY/unet"/*.safetensors 1)
	jq -en "$said - $found | fabs < 1e-3"
	"$BIN/lora-inspect" --verify three > /dev/null
	[ "$(tensors metadata three ss_network_dim)" = 3 ]
	[ "$(tensors metadata three ss_network_alpha)" = 1.5 ]
	resize -q "$TWELVE" --rank 3 --conv-rank 2 -o mixed
	[ "$(tensors metadata mixed ss_network_dim)" = Dynamic ]
	[ "$(tensors metadata mixed ss_network_alpha)" = Dynamic ]
	[ "$(ranks mixed)" = "3 3 3 2 2 3" ]
}

@test "--keep: the fewest that keep the share" {
	resize -q "$TWELVE" --keep 0.9 -o out --report kept
	jq -es '[.[] | select(.event == "module") | .relative_error <= (1 - 0.9 | sqrt)] | all' kept
	for r in 1 2 3 4 5 6 7 8 9 10 11; do
		resize -q "$TWELVE" --rank $r -o less --report less.$r
	done
	# one rank less keeps too little
	while read -r module rank; do
		jq -es --arg m "$module" '.[] | select(.module == $m) | .relative_error > (1 - 0.9 | sqrt)' \
			"less.$((rank - 1))"
	done < <(jq -r 'select(.event == "module") | "\(.module) \(.rank)"' kept)
	resize -q "$TWELVE" --keep 0.9 --rank 4 -o capped
	[ "$(ranks capped)" = "4 4 4 4 4 4" ]
}

@test "a rank that a module has already leaves its tensors as they are; a higher one its update" {
	resize -q "$TWELVE" --rank 12 -o same
	[ "$(ranks same)" = "12 12 12 12 8 12" ]
	for m in attn1_to_q attn2_to_k; do
		tensors rename "$TWELVE" one '$_ = "" unless /4_1_.*'$m'/'
		tensors rename same two '$_ = "" unless /4_1_.*'$m'/'
		tensors same one two
	done
	resize -q "$TWELVE" --rank 14 -o more
	[ "$(ranks more)" = "14 14 14 14 8 14" ]
	near more "$TWELVE" 1e-6
	# the same numbers with zeros behind them, in a row of up and in rows of down
	[ "$(values more attn2_to_k.lora_down)" = "$(values "$TWELVE" attn2_to_k.lora_down)$(printf ' 0%.0s' {1..144})" ]
	values more attn2_to_k.lora_up | xargs -n 14 > rows
	[ "$(cut -d' ' -f1-12 rows | xargs)" = "$(values "$TWELVE" attn2_to_k.lora_up)" ]
	[ "$(cut -d' ' -f13- rows | sort -u)" = "0 0" ]
}

@test "types: the adapter's own, or --save-precision; alpha is never rounded" {
	resize -q "$TWELVE" --rank 5 --save-precision fp16 -o half --report report
	head -c 4000 half | grep -q '"dtype":"F16"'
	resize -q half --rank 3 -o three
	! head -c 4000 three | grep -q '"dtype":"F32"' || false
	# two factors of 11 bits each, rounded
	resize -q "$TWELVE" --rank 5 -o float
	near half float 1e-3
	# 7 * 5 / 11 is no number of F16
	tensors rename "$TWELVE" odd '$data = pack "f<", 35 / 11 * 12 / 7 if /alpha/'
	resize -q odd --rank 7 --save-precision fp16 -o seven
	resize -q odd --rank 7 -o float
	near seven float 1e-3
	head -c 4000 seven | grep -q '"F32"'
}

@test "lengths and biases of a module go along; other kinds become LoRAs, what cannot is refused" {
	resize -q "$ADAPTERS/loha_dora_in.safetensors" --rank 4 -o dora
	[ "$(tensors list dora | grep -c dora_scale)" -eq 9 ]
	[ "$(tensors list dora | grep -c lora_down)" -eq 9 ]
	near dora "$ADAPTERS/loha_dora_in.safetensors" 1e-5
	resize -q "$ADAPTERS/lokr_both.safetensors" --rank 40 -o lokr
	near lokr "$ADAPTERS/lokr_both.safetensors" 1e-5
	resize -q "$ADAPTERS/locon_tucker.safetensors" --rank 8 -o tucker
	near tucker "$ADAPTERS/locon_tucker.safetensors" 1e-6
	run -3 resize "$ADAPTERS/oft_kohya_tight.safetensors" --rank 4 -o oft
	[[ $output == *OFT* ]]
	[ ! -e oft ]
}

@test "--only and --without: the others are left out" {
	resize -q "$TWELVE" --rank 3 --only conv -o out
	[ "$(tensors list out | grep -c lora_down)" -eq 2 ]
	resize -q "$TWELVE" --rank 3 --without conv -o out
	[ "$(tensors list out | grep -c lora_down)" -eq 4 ]
}

@test "any number of threads, the same bytes" {
	mkdir one three         # a file without a name is named after its output
	OMP_NUM_THREADS=1 resize -q "$TWELVE" --keep 0.8 -o one/out --report one.jsonl
	OMP_NUM_THREADS=3 resize -q "$TWELVE" --keep 0.8 -o three/out --report three.jsonl
	cmp one/out three/out
	cmp one.jsonl three.jsonl
}

@test "what is not said, or twice, is told" {
	run -2 resize "$TWELVE" -o out
	[[ $output == *"--rank R"* ]]
	run -2 resize "$TWELVE" --keep 0.9 --dynamic-method sv_fro --dynamic-param 0.9 -o out
	run -2 resize "$TWELVE" --dynamic-method sv_fro -o out
	run -2 resize "$TWELVE" --dynamic-method sv_ratio --dynamic-param 0.5 -o out
	[[ $output == *ratio* ]]
	run -2 resize "$TWELVE" --dynamic-method sv_fro --dynamic-param 1.5 -o out
	run -2 resize "$TWELVE:0.5" --rank 4 -o out
	run -3 resize "$TINY/unet/diffusion_pytorch_model.safetensors" --rank 4 -o out
	[ ! -e out ]
}

@test "a share of 0 is none; what has no name gets its output's" {
	run -2 resize "$TWELVE" --keep 0 -o out
	[[ $output == *"'0' does not fit; give a number above 0 and up to 1"* ]]
	tensors rename "$TWELVE" bare '' format=pt
	resize -q bare --keep 0.9 -o small.safetensors
	[ "$(tensors metadata small.safetensors ss_output_name)" = small ]
	[ "$(tensors metadata small.safetensors modelspec.title)" = small ]
}
