#!/usr/bin/env bats
# Damaged adapters of every kind: each program says in one line what is wrong with which tensor, with status 3, and
# writes nothing.
bats_require_minimum_version 1.5.0

G=$BATS_TEST_DIRNAME/../golden
FILES=(tiny-a/lora_conv tiny-a/lora_text adapters/loha_tucker adapters/loha_dora_in adapters/lokr_both
	adapters/lokr_tucker adapters/lokr_dora_out adapters/oft_kohya_tight adapters/oft_lycoris_rescaled
	adapters/oft_peft/adapter_model adapters/locon_tucker adapters/rslora_peft/adapter_model)

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export TINY=$ROOT/tests/golden/tiny-a/model LATENTS=$BATS_FILE_TMPDIR/latents.tar
	MODEL=$TINY few_latents "$LATENTS"
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
}

tensors() { perl "$BATS_TEST_DIRNAME/tensors.pl" "$@"; }

# one_line STATUS NAMED COMMAND...: its standard error is one line with NAMED
one_line() {
	local status=0
	"${@:3}" > out.txt 2> err.txt || status=$?
	[ "$status" -eq "$1" ] && [ "$(wc -l < err.txt)" -eq 1 ] && grep -qF "$2" err.txt && return
	echo "status $status, not $1, or not '$2' in one line: ${*:3}"
	cat err.txt
	return 1
}

# refused FILE NAMED [quick|merge]: by each program; quick: by the two that need no model's weights in memory; merge:
# by one that knows the model's sizes
refused() {
	rm -rf never
	[ "$3" = merge ] || one_line 3 "$2" "$BIN/lora-inspect" --verify "$1"
	one_line 3 "$2" "$BIN/lora-merge" into -q -m "$TINY" --lora "$1" -o never
	[ -z "$3" ] || return 0
	one_line 3 "$2" "$BIN/lora-sample" -q -m "$TINY" -l "$1" -p x -W 32 -H 32 --steps 1 -o never.png
	one_line 3 "$2" "$BIN/lora-train" -q -m "$TINY" --network-dim 2 --max-train-steps 1 -o never \
		--base-weights "$1" "$LATENTS"
	one_line 3 "$2" "$BIN/lora-train" -q -m "$TINY" --network-weights "$1" --dim-from-weights --max-train-steps 1 \
		-o never "$LATENTS"
	[ ! -e never.png ]
	[ -z "$(find never -name '*.safetensors')" ]
}

# parts FILE: a tensor of each ending, but the alphas
parts() {
	tensors list "$1" | awk '{ end = $1; sub(/^.*\.(lora_|hada_|lokr_|oft_|dora_)/, "", end) }
		$1 !~ /alpha$/ && !seen[end]++ { print $1 }'
}
module() { sed -E 's/\.(lora_|hada_|lokr_|oft_|dora_|rescale).*//' <<< "$1"; }

@test "half a module" {
	for file in "${FILES[@]}"; do
		for name in $(parts "$G/$file.safetensors"); do
			# lengths, rescaling and a half that a whole matrix stands for may be missing
			case $name in *dora_scale | *rescale | *oft_*) continue ;; esac
			NAME=$name tensors rename "$G/$file.safetensors" half.safetensors '$_ = "" if $_ eq $ENV{NAME}'
			refused half.safetensors "$(module "$name")" quick
		done
	done
}

@test "a tensor of another shape" {
	for file in "${FILES[@]}"; do
		for name in $(parts "$G/$file.safetensors"); do
			NAME=$name tensors rename "$G/$file.safetensors" short.safetensors 'if ($_ eq $ENV{NAME}) {
				my $n = 1; $n *= $_ for @shape[1 .. $#shape];
				$shape[0] += 1; $data .= pack "f<*", (0.5) x $n; }'
			refused short.safetensors "$(module "$name")" merge
			NAME=$name tensors rename "$G/$file.safetensors" flat.safetensors 'if ($_ eq $ENV{NAME}) {
				my $n = 1; $n *= $_ for @shape; @shape = ($n); }'
			case $name in *dora_scale) ;; *) refused flat.safetensors "$(module "$name")" quick ;; esac
		done
	done
}

@test "a tensor that is no number, and numbers that are none" {
	for file in "${FILES[@]}"; do
		for name in $(parts "$G/$file.safetensors"); do
			NAME=$name tensors rename "$G/$file.safetensors" nan.safetensors \
				'substr($data, 0, 4) = pack "f<", 9**9**9 / 9**9**9 if $_ eq $ENV{NAME}'
			refused nan.safetensors "$name" quick
			NAME=$name tensors rename "$G/$file.safetensors" ints.safetensors \
				'$dtype = "I32" if $_ eq $ENV{NAME}'
			refused ints.safetensors "$(module "$name")" quick
		done
	done
}

@test "an alpha that is no number" {
	for file in tiny-a/lora_conv adapters/loha_tucker adapters/lokr_both adapters/oft_kohya_tight; do
		name=$(tensors list "$G/$file.safetensors" | awk '/alpha/ && !n++ { print $1 }')
		for code in '$data = pack "f<", 9**9**9 / 9**9**9' '$data = pack "f<", 9**9**9' '@shape = (2); $data x= 2' \
			'@shape = (0); $data = ""' '$dtype = "U32"'; do
			NAME=$name tensors rename "$G/$file.safetensors" alpha.safetensors "if (\$_ eq \$ENV{NAME}) { $code }"
			refused alpha.safetensors "$name" quick
		done
	done
}

@test "alphas and lengths without a module; two kinds and two dialects of one" {
	for name in $(tensors list "$G/tiny-a/lora_conv.safetensors" | awk '/alpha/ && !n++ { print $1 }'); do
		tensors rename "$G/tiny-a/lora_conv.safetensors" alone.safetensors \
			'$_ = "" if index($_, "'"${name%.alpha}"'.") == 0 && !/alpha/'
		refused alone.safetensors "'${name%.alpha}' has no lora_down"
	done
	printf '%s\n' "lora_unet_input_blocks_4_1_proj_in.dora_scale =1 1 16" | tensors make lengths.safetensors
	refused lengths.safetensors "has no lora_down"
	tensors rename "$G/tiny-a/lora_conv.safetensors" plain '$_ = "" if /alpha/'
	tensors join kinds.safetensors "$G/adapters/loha_tucker.safetensors" plain
	refused kinds.safetensors "the file mixes two adapters"
	printf '%s\n' "unet.down_blocks.1.attentions.0.proj_in.lora_A.weight 1 2 16" \
		"unet.down_blocks.1.attentions.0.proj_in.lora_B.weight 1 16 2" | tensors make other
	tensors join dialects.safetensors "$G/tiny-a/lora_unet.safetensors" other
	refused dialects.safetensors "the file mixes two dialects"
}

@test "every program says the same of a damaged file" {
	local name=lora_unet_input_blocks_4_1_proj_in
	tensors rename "$G/tiny-a/lora_unet.safetensors" orphan.safetensors '$_ = "" if /'"$name"'.lora_up/'
	refused orphan.safetensors "'$name' has no lora_up; the file is incomplete"
	tensors rename "$G/tiny-a/lora_unet.safetensors" nan.safetensors \
		'substr($data, 4, 4) = pack "f<", 9**9**9 / 9**9**9 if /'"$name"'.lora_up/'
	refused nan.safetensors "'$name.lora_up.weight'"
	head -c 50000 "$G/tiny-a/lora_unet.safetensors" > cut.safetensors
	refused cut.safetensors "download incomplete"
	printf '%s\n' "$name.diff 1 16 15" | tensors make diff.safetensors
	refused diff.safetensors "'$name'" merge
	printf '%s\n' "$name.diff_b 1 15" | tensors make bias.safetensors
	refused bias.safetensors "'$name'" merge
	printf '%s\n' "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.diff_b 1 16" |
		tensors make none.safetensors
	one_line 3 "attn1_to_q.diff_b' changes the bias of a layer that has none" "$BIN/lora-merge" into -q -m "$TINY" \
		--lora none.safetensors -o never
	printf '%s\n' "lora_unet_input_blocks_4_1_norm.lora_down.weight 1 2 1" \
		"lora_unet_input_blocks_4_1_norm.lora_up.weight 1 16 2" | tensors make norm.safetensors
	refused norm.safetensors "'lora_unet_input_blocks_4_1_norm'" quick
	printf '%s\n' "$name.lora_down.weight 1 2 16" "$name.lora_up.weight 1 16 2" "$name.scale =1 2" |
		tensors make scale.safetensors
	refused scale.safetensors "'$name.scale' must be one finite number"
}
