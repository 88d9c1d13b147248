#!/usr/bin/env bats
# A scale that is not in a tensor: every program that reads adapters obeys the header's lora_adapter_metadata and PEFT's
# adapter_config.json.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar TINY=$ROOT/tests/golden/tiny-a/model
	export PEFT=$BATS_FILE_TMPDIR/peft HEADER=$BATS_FILE_TMPDIR/header.safetensors \
		PLAIN=$BATS_FILE_TMPDIR/plain.safetensors
	MODEL=$TINY few_latents "$LATENTS"
	cp -r "$ROOT/tests/golden/adapters/rslora_peft" "$PEFT"
	cp "$PEFT/adapter_model.safetensors" "$PLAIN"
	with_metadata "$PLAIN" "$HEADER" "$(cat "$PEFT/adapter_config.json")"
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
}

# with_metadata IN OUT JSON: the same tensors, with lora_adapter_metadata in the header
with_metadata() {
	local n head byte i
	n=$(od -An -tu8 -N8 "$1" | tr -d ' ')
	head=$(tail -c +9 "$1" | head -c "$n" | jq -c --arg text "$3" '.__metadata__.lora_adapter_metadata = $text')
	while [ $((${#head} % 8)) -ne 0 ]; do head+=' '; done
	for ((i = 0, n = ${#head}; i < 8; i++, n /= 256)); do
		printf -v byte '\\x%02x' $((n % 256))
		printf '%b' "$byte"
	done > "$2"
	{ printf %s "$head"; tail -c +$((9 + $(od -An -tu8 -N8 "$1"))) "$1"; } >> "$2"
}

# same_effect COMMAND...: run with FILE three times; the folder and the header give the same bytes on standard output,
# the bare file others
same_effect() {
	"$@" "$PEFT" > folder 2> err || { cat err; return 1; }
	"$@" "$HEADER" > header 2> err || { cat err; return 1; }
	"$@" "$PLAIN" > plain 2> err || { cat err; return 1; }
	cmp folder header
	[ -s folder ] && differ folder plain
}

inspect() { "$BIN/lora-inspect" "$1" | grep -E 'rank  |norm'; }
merge() {
	rm -rf out
	"$BIN/lora-merge" into -q -m "$TINY" --lora "$1" -o out --report /dev/null && cat out/unet/*.safetensors
}
sample() { "$BIN/lora-sample" -q -m "$TINY" -l "$1" -p x -W 32 -H 32 --steps 1 -o p.png --save-latents latents \
	> /dev/null && cat latents; }
stand_on() { losses_of --network-dim 2 --base-weights "$1"; }
begin_with() { losses_of --network-weights "$1" --dim-from-weights; }
losses_of() {
	rm -rf o
	"$BIN/lora-train" -q -m "$TINY" --network-train-unet-only --learning-rate 1e-3 --max-train-steps 2 \
		-o o "$@" "$LATENTS" > log || return
	jq -c 'select(.event == "step") | .loss' log
}

@test "lora-inspect prints the effective alpha and where it comes from" {
	run inspect "$PEFT"
	[[ $output == *"4, alpha 2: 19 modules (alpha from adapter_config.json)"* ]]
	run inspect "$HEADER"
	[[ $output == *"4, alpha 2: 19 modules (alpha from lora_adapter_metadata)"* ]]
	run inspect "$PLAIN"
	[[ $output == *"4, alpha 4: 19 modules (alpha from the rank)"* ]]
	"$BIN/lora-inspect" --json "$PEFT" |
		jq -e '.ranks == [{"rank": 4, "alpha": 2, "alpha_from": "adapter_config.json", "modules": 19}]'
	diff <("$BIN/lora-inspect" --norms "$PEFT" | grep base_model) <("$BIN/lora-inspect" --norms "$HEADER" |
		grep base_model)
}

@test "lora-merge" { same_effect merge; }
@test "lora-sample" { same_effect sample; }
@test "lora-train --base-weights" { same_effect stand_on; }
@test "lora-train --network-weights" { same_effect begin_with; }

# uses FILE: every way to use an adapter, with notes; each says the scale once
uses() {
	local command
	for command in \
		'lora-merge into -m "$TINY" --lora "$1" -o out --report /dev/null' \
		'lora-sample -m "$TINY" -l "$1" -p x -W 32 -H 32 --steps 1 -o p.png' \
		'lora-train -m "$TINY" --network-train-unet-only --max-train-steps 1 -o o --base-weights "$1" "$LATENTS"' \
		'lora-train -m "$TINY" --network-train-unet-only --max-train-steps 1 -o o --network-weights "$1"
			--dim-from-weights "$LATENTS"' \
		'lora-train -m "$TINY" --network-train-unet-only --check --base-weights "$1" "$LATENTS"'; do
		rm -rf out o
		eval "\"\$BIN\"/"${command//$'\n'/ } > log 2> notes || { cat notes; return 1; }
		[ "$(grep -c " 19 modules, rank 4, $2\$" notes)" = 1 ] || { echo "$command"; cat notes; return 1; }
	done
}

@test "who uses an adapter says its effective alpha and where it comes from: a file in PEFT's folder, the same alone" {
	uses "$PEFT" "alpha 2 from adapter_config.json: scale 0.5"
	uses "$PEFT/adapter_model.safetensors" "alpha 2 from adapter_config.json: scale 0.5"
	uses "$HEADER" "alpha 2 from lora_adapter_metadata: scale 0.5"
	uses "$PLAIN" "alpha 4 from the rank: scale 1"
}

@test "another scale of the base weights is another run: a state is not taken over" {
	local run=(--network-dim 2 --network-train-unet-only --learning-rate 1e-3 --save-state -o o --output-name t)
	"$BIN/lora-train" -q -m "$TINY" "${run[@]}" --max-train-steps 2 --base-weights "$HEADER" "$LATENTS" > /dev/null
	run -2 "$BIN/lora-train" -q -m "$TINY" "${run[@]}" --max-train-steps 4 --base-weights "$PLAIN" \
		--resume o/t-step00000002-state.safetensors "$LATENTS"
}

@test "what cannot be obeyed is refused by every program, by name" {
	cp -r "$PEFT" bad
	jq '.r = 8' "$PEFT/adapter_config.json" > bad/adapter_config.json
	for command in inspect_all merge sample stand_on begin_with; do
		run "$command" bad
		[ "$status" -eq 3 ] || { echo "$command: $status $output"; return 1; }
	done
	mkdir empty
	status_of 3 "$BIN/lora-sample" -q -m "$TINY" -l empty -p x
	[[ $output == *"a folder without adapter_model.safetensors or pytorch_lora_weights.safetensors"* ]]
}

inspect_all() { "$BIN/lora-inspect" "$1"; }

# verdict FILE: diffusers' in one word, and why
verdict() { "$BIN/lora-inspect" --json --will-it-load diffusers "$1" | jq -r '.readers[0] | .verdict + " " + .why'; }

# without_metadata IN OUT: without the metadata that convert writes
without_metadata() {
	with_metadata "$1" all "{}"
	sed 's/"lora_adapter_metadata"/"lora_adapter_nothing0"/' all > "$2"
}

@test "diffusers does not see a configuration beside the file" {
	"$BIN/lora-merge" convert -q "$PLAIN" --to diffusers -o one.safetensors
	mkdir beside
	cp "$PEFT/adapter_config.json" beside
	without_metadata one.safetensors beside/named.safetensors
	"$BIN/lora-inspect" beside/named.safetensors | grep -q 'alpha 2: 19 modules (alpha from adapter_config.json)'
	run verdict beside/named.safetensors
	[[ $output == *"wrong without the alpha that stands in adapter_config.json alone"* ]]
	status_of 3 "$BIN/lora-inspect" --will-it-load diffusers beside/named.safetensors
}

# What diffusers 0.42.1 with PEFT 0.21 does with such files.
@test "diffusers refuses metadata of which PEFT makes no configuration, or one for other tensors" {
	local all
	"$BIN/lora-merge" convert -q "$PEFT" --to diffusers -o a.safetensors
	all=$("$BIN/lora-inspect" --json --metadata a.safetensors | jq -r '.metadata.lora_adapter_metadata')
	while IFS=$'\t' read -r change want; do
		with_metadata a.safetensors b.safetensors "$(jq -c "$change" <<< "$all")"
		run verdict b.safetensors
		[[ $output == *"$want"* ]] || { echo "$change: $output"; return 1; }
		[[ $want == applied* ]] || status_of 3 "$BIN/lora-inspect" --will-it-load diffusers b.safetensors
	done <<-'END'
		.	applied 
		."unet.target_modules" = ["to_q"]	applied 
		del(."unet.target_modules")	refused lora_adapter_metadata without this part's target_modules
		."unet.target_modules" = null	refused lora_adapter_metadata without
		{}	refused lora_adapter_metadata without
		."unet.r" = 8	refused lora_adapter_metadata of another rank
		del(."unet.r")	refused lora_adapter_metadata of another rank
		."unet.lora_alpha" = "4"	refused lora_adapter_metadata whose r or lora_alpha is no number
		."unet.foo" = 1	refused a field of lora_adapter_metadata that PEFT does not know
		."unet.target_modules" = []	applied 
		."unet.use_dora" = true	refused lora_adapter_metadata of another rank, or of lengths that are not there
	END
}
