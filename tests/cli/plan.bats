#!/usr/bin/env bats
# lora-train --plan, --check and --vram: what a run takes is known before it takes it.

setup_file() {
	load ../pipe/pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar SDXL=$BATS_FILE_TMPDIR/sdxl
	few_latents "$LATENTS"
	# Full size, headers alone: the weights are holes.
	cp -r "$ROOT/tests/big/config" "$SDXL"
	for t in tokenizer tokenizer_2; do cp "$ROOT"/tests/golden/clip-bpe/{vocab.json,merges.txt} "$SDXL/$t/"; done
	"${BIN%/bin}/tests/big/write" --empty "$ROOT/tests/golden/single-file/sdxl_names.tsv" "$SDXL" > /dev/null 2>&1
}
setup() { load ../pipe/pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

# plan [options]: the JSON line, of the full-size model on a card that is not there.  UNDER=(time ...) is put before it.
plan() { LORA_CUDA=$PWD/nowhere.so "${UNDER[@]}" "$BIN/lora-train" -q -m "$SDXL" --device cuda --plan --json "$@"; }
small() { "$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only --network-dim 4 --output-name t --output-dir out \
	--max-train-steps 2 "$@"; }

# weights: the hash of the adapter's tensors; its metadata say what was asked for
weights() { "$BIN/lora-inspect" --json out/t.safetensors | jq -re .hash; }

# holds FILTER FILE: jq says true
holds() { [ "$(jq "$1" "$2")" = true ] || { cat "$2"; return 1; }; }

@test "SDXL at 1024x1024, rank 32, UNet only, AdamW8bit, checkpointing: 6.0 GiB are enough, the driver's share included" {
	plan --network-train-unet-only --network-dim 32 --optimizer-type AdamW8bit --gradient-checkpointing \
		--no-bucket > plan.json
	holds '.peak_bytes <= 6 * 1024 * 1024 * 1024 and .bucket == [1024, 1024] and .bytes.context > 400e6' plan.json
	holds '(.bytes | add) == .peak_bytes' plan.json
	# 2,567,463,684 weights of two bytes, those that read the text elsewhere; gains and biases are kept in four
	holds '.bytes.unet + .host_bytes >= 5134927368 and .bytes.unet + .host_bytes < 5150000000' plan.json
}

@test "--offload weights: the model is in host memory, and what it takes of the card is two of its largest matrices" {
	plan --network-train-unet-only --network-dim 32 --optimizer-type AdamW8bit --gradient-checkpointing \
		--no-bucket --offload weights --card a4000 > plan.json
	holds '.peak_bytes <= 1.9 * 1024 * 1024 * 1024 and (.bytes | add) == .peak_bytes' plan.json
	# gains and biases, and filters of 3x3 from 2560 channels to 1280 twice
	holds '.host_bytes > 5.12e9 and .host_bytes < 5134927368 and .bytes.unet < 125e6 and .bytes.unet > 117964800' plan.json
	# two to three passes over the model come to the card
	holds '.work.copies.moved_bytes > 10e9 and .work.copies.moved_bytes < 15.4e9' plan.json
	plan --network-dim 4 --offload weights --no-bucket > texts.json
	# the tables of both vocabularies, and room for their matrices
	holds '.bytes.text_encoders < 240e6 and .host_bytes > 6.5e9' texts.json
	status_of 2 small --offload weights "$LATENTS"
	[[ $output == *"with --device cpu the model is in host memory as it is"* ]]
}

@test "both presets stay below 12 GiB" {
	for preset in fast-iteration high-quality; do
		plan --config "$ROOT/pipelines/$preset.toml" > plan.json
		holds '.peak_bytes < 12 * 1024 * 1024 * 1024 and .batch == (.batches | max_by(.activations).batch)' \
			plan.json
	done
}

@test "what does not fit is refused in a second, with settings that do fit: status 5" {
	status=0; UNDER=(env time -q -o took -f "%U %S")        # of the processor: other programs do not count
	plan --config "$ROOT/pipelines/high-quality.toml" --vram 8GiB > plan.json 2> err || status=$?
	[ $status = 5 ]
	[ "$(wc -l < err)" = 1 ]
	grep -q "may have 8.00 GiB; with --" err
	holds '.fits == false and .suggestion.fits and .suggestion.peak_bytes <= 8 * 1024 * 1024 * 1024' plan.json
	awk '{ print; exit !($1 + $2 > 0 && $1 + $2 < 1) }' took
	# the suggestion is true
	read -r -a words < <(sed -n 's/.*; with \(.*\) it takes .*/\1/p' err)
	plan --config "$ROOT/pipelines/high-quality.toml" --vram 8GiB "${words[@]}" > again.json
	holds .fits again.json
	[ "$(jq .peak_bytes again.json)" = "$(jq .suggestion.peak_bytes plan.json)" ]
}

@test "--gradient-checkpointing auto takes what there is, and no more" {
	for limit in 7 8 10; do
		plan --network-train-unet-only --network-dim 16 --gradient-checkpointing auto \
			--no-bucket --vram ${limit}GiB > $limit.json
		holds ".fits and .peak_bytes <= $limit * 1024 * 1024 * 1024" $limit.json
	done
	[ "$(jq .checkpointed_blocks 7.json)" -gt "$(jq .checkpointed_blocks 8.json)" ]
	[ "$(jq .checkpointed_blocks 8.json)" -gt "$(jq .checkpointed_blocks 10.json)" ]
	holds .cheap_again 10.json
	# a quarter of a GiB stays free for cuBLAS and the driver
	for limit in 7 8 10; do holds ".peak_bytes <= ($limit - 0.25) * 1024 * 1024 * 1024" $limit.json; done
}

@test "what fits only without that quarter runs all the same" {
	plan --network-train-unet-only --network-dim 32 --optimizer-type AdamW8bit --gradient-checkpointing auto \
		--no-bucket --vram 6GiB > plan.json
	holds '.fits and .peak_bytes > 5.75 * 1024 * 1024 * 1024' plan.json
}

@test "the plan is the run's: the same figure in its first record, and no bit of the adapter depends on it" {
	small --plan --json --gradient-checkpointing "$LATENTS" > plan.json
	small --gradient-checkpointing "$LATENTS" > log.jsonl
	[ "$(jq .peak_bytes plan.json)" = "$(jq 'select(.event == "start").planned_bytes' log.jsonl)" ]
	checkpointed=$(weights)
	small --gradient-checkpointing auto "$LATENTS" > auto.jsonl
	[ "$(weights)" = "$checkpointed" ]
	least=$(jq .peak_bytes plan.json); most=$(jq 'select(.event == "start").planned_bytes' auto.jsonl)
	[ "$least" -lt "$most" ]
	small --gradient-checkpointing auto --vram $(((least + most) / 2)) "$LATENTS" > half.jsonl
	[ "$(weights)" = "$checkpointed" ]
	[ "$(jq 'select(.event == "start").planned_bytes' half.jsonl)" -le $(((least + most) / 2)) ]
}

@test "DoRA's lengths belong to the adapter: each module's, and those of the frozen rows" {
	small --plan --json --gradient-accumulation-steps 2 "$LATENTS" > plain.json
	small --plan --json --gradient-accumulation-steps 2 --dora "$LATENTS" > dora.json
	[ "$(jq -s '(.[1].bytes.adapters - .[0].bytes.adapters) == 2 * (.[1].bytes.gradients - .[0].bytes.gradients) and
		.[1].bytes.gradients > .[0].bytes.gradients' plain.json dora.json)" = true ]
}

@test "in memory a text is once, however many pictures share it, and every variant counts" {
	mkdir many
	for i in {10..29}; do
		cp "$BATS_FILE_TMPDIR/four/gizmo00.jpg" many/$i.jpg
		echo "a, b, c, d" > many/$i.txt
	done
	encoded() {
		"$BIN/lora-prep" -q "${PREP[@]}" many | "$BIN/lora-encode" -q -m "$MODEL" "${@:2}" -o "$1"
		small --plan --json "$1" | jq .bytes.data
	}
	one=$(encoded one.tar)
	ten=$(encoded ten.tar --shuffle-caption --caption-variants 10)
	for i in {10..29}; do echo "$i, b, c, d" > many/$i.txt; done
	own=$(encoded own.tar --shuffle-caption --caption-variants 10)
	texts() { tar -xOf "$1" --wildcards '*.json' | jq -s 'map(.captions[]) | unique | length'; }
	row=$(((ten - one) / ($(texts ten.tar) - 1)))
	[ "$(texts own.tar)" -gt 150 ]
	[ $((own - one)) = $((row * ($(texts own.tar) - 1))) ]
	# it is what is in the file without the words around it
	[ "$own" -gt $(($(stat -c %s own.tar) * 9 / 10)) ]
	[ "$own" -lt "$(stat -c %s own.tar)" ]
	[ "$one" -lt "$(stat -c %s one.tar)" ]
}

@test "a run that may not have its memory does not begin: nothing is written" {
	status_of 5 small --vram 1MiB "$LATENTS"
	[[ $output == "lora-train: this run takes "*" of device cpu and may have 1.0 MiB; "* ]]
	[ ! -e out ]
	status_of 2 small --vram much "$LATENTS"
	[[ $output == *"'much' is no amount of memory; write it as 12GiB"* ]]
	status_of 2 small --vram 12 "$LATENTS"
	[[ $output == *"'12' is that many bytes; write it as 12GiB or 12MiB"* ]]
}

@test "a name under which no adapter or no state can be written is refused before the first step" {
	long=$(printf 'x%.0s' {1..225})
	mkdir -p out/folder.safetensors; mkfifo out/pipe.safetensors; ln -s round.safetensors out/round.safetensors
	for name in folder pipe round "$long"; do
		for check in '' --check; do
			run timeout 60 "$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only --network-dim 2 \
				--max-train-steps 2 --output-dir out --output-name "$name" $check "$LATENTS"
			[ "$status" = 2 ] || { [ "$status" = 4 ] && [ "$name" = round ]; } ||
				{ echo "$name: status $status: $output"; return 1; }
			[[ $output != *'"event"'* ]]
			[[ $output == *"$name"* ]]
		done
	done
	[ -z "$(find out -type f)" ]
	small --output-name "${long%x}" --output-dir out "$LATENTS" > /dev/null      # its state has a name of 255 bytes
	small --output-name "${long%x}" --output-dir out --max-train-steps 3 --save-state "$LATENTS" > /dev/null
	[ "$(find out -name '*-state.safetensors' | wc -l)" = 1 ]
}

@test "--check opens an adapter to start from as the run does: text encoders that are not trained are left out" {
	"$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --max-train-steps 1 --output-dir out --output-name both \
		"$LATENTS" > /dev/null
	small --network-weights out/both.safetensors --check "$LATENTS"
	small --network-weights out/both.safetensors --output-dir out "$LATENTS" > /dev/null
	# those that are merged into the model need their layers, in both
	for check in '' --check; do status_of 3 small --base-weights out/both.safetensors $check "$LATENTS"; done
}

@test "--check looks at everything and writes nothing" {
	small --check "$LATENTS" > said
	grep -q "nothing is wrong: 4 pictures" said
	[ ! -e out ]
	small --check --json "$LATENTS" | jq -e '.event == "check" and .pictures == 4 and .steps == 2' > /dev/null
	head -c 100000 "$LATENTS" > cut.tar
	status_of 3 small --check cut.tar
	[[ $output == *cut.tar* ]]
	printf 'x' > file
	status_of 4 small --check --output-dir file/out "$LATENTS"
	status_of 2 small --check --network-weights nowhere.safetensors "$LATENTS" || [ "$status" = 3 ]
	[[ $output == *nowhere.safetensors* ]]
	[ ! -e out ]
}

@test "several ranks: slices, what a step sends, how well it uses them" {
	for n in 2 8 32 1000; do
		plan --network-train-unet-only --network-dim 32 --no-bucket --replicas $n --ranks $n > plan.json
		# 2 N (P - 1) / P numbers of four bytes; 2 N from a rank that owns nothing.  No parameter is cut: a
		# slice may have the largest one, 10240 x 32, more than its equal part.
		jq -e --argjson p $n '.ranks | .ranks == $p and .batches == $p and .batches_most == 1 and
			.sent_bytes_most >= 8 * .numbers * ($p - 1) / $p and .sent_bytes_most <= 8 * .numbers and
			.slice_most >= .numbers / $p and .slice_most <= .numbers / $p + 327680' plan.json > /dev/null
	done
	plan --network-dim 8 --no-bucket --replicas 3 --ranks 2 | jq -e '.ranks.batches_most == 2 and
		(.ranks.use | map(.use) | max <= 0.75)' > /dev/null
	LORA_CUDA=nowhere.so "$BIN/lora-train" -q -m "$SDXL" --device cuda --plan --no-bucket --replicas 8 --ranks 8 > table
	grep -q '^8 ranks, 8 batches a step: 1 a rank at most$' table
	[ "$(wc -L < table)" -le 80 ]
	small --plan --json --ranks 1 "$LATENTS" | jq -e 'has("ranks") | not' > /dev/null
}

@test "several ranks: each has its slice of the optimizer's state, and takes that much less memory" {
	full=(--network-train-unet-only --network-dim 32 --no-bucket --replicas 8 --gradient-checkpointing)
	for o in AdamW Prodigy Adafactor; do
		one=$(plan "${full[@]}" --optimizer-type $o | jq '[.bytes.optimizer, .peak_bytes]')
		plan "${full[@]}" --optimizer-type $o --ranks 8 > plan.json
		# 4 MiB: memory for the largest parameter, and a slice's one parameter too many; a card has slabs of 64,
		# and 32 in which others' sums arrive
		jq -e --argjson one "$one" '(.bytes.optimizer - $one[0] / 8 - 32 * 1048576 | . > 0 and . < 4 * 1048576) and
			$one[1] - .peak_bytes > $one[0] - .bytes.optimizer - 64 * 1048576' plan.json > /dev/null ||
			{ echo "$o $one"; jq -c . plan.json; return 1; }
	done
}

@test "a step on a card: counted without one, and modelled; what it needs is what SDXL needs" {
	for c in a4000 h200; do
		plan --network-train-unet-only --network-dim 32 --optimizer-type AdamW8bit --no-bucket \
			--card $c > $c.json
		# 15.0 TFLOP: counted apart, layer by layer (forward 6.76, gradients 7.71, LoRA 0.55)
		holds '.flop > 14.9e12 and .flop < 15.1e12 and .card == "'$c'" and .modelled_ms > 1.5 * .floor_ms' $c.json
		holds '([.work[].kernels] | add) == .kernels and ([.work[].products] | add) == .products' $c.json
		holds '([.work[].copies] | add) == .copies and ([.work[].flop] | add) - .flop < 10' $c.json
	done
	# 15.0 TFLOP at 76.7 TFLOP/s
	holds '.floor_ms > 194 and .floor_ms < 197' a4000.json
	[ "$(jq '[.kernels, .products, .copies, .moved_bytes, .flop]' a4000.json)" = \
		"$(jq '[.kernels, .products, .copies, .moved_bytes, .flop]' h200.json)" ]
	plan --network-train-unet-only --no-bucket > none.json
	holds '.kernels > 1000 and has("modelled_ms") == false' none.json
	small --plan --json "$LATENTS" > cpu.json
	holds 'has("kernels") == false' cpu.json
}

@test "the step that is counted has most pixels, whichever bucket takes most memory" {
	for c in '' no-; do
		plan --no-network-train-unet-only --network-dim 128 --optimizer-type AdamW8bit \
			"--${c}gradient-checkpointing" > "${c}again.json"
	done
	holds '.bucket[0] * .bucket[1] < 1024 * 1024' again.json
	# a forward more of the UNet, but for what backward reads nothing of
	jq -se '.[0].flop > 1.2 * .[1].flop and .[0].flop < 1.4 * .[1].flop' again.json no-again.json
}

@test "--card: a table that says modelled; a name that is none, and a plan of the CPU, are refused" {
	for c in a4000 a5000 a6000 3090 4090 l40s a100 h100 h200; do
		LORA_CUDA=nowhere.so "$BIN/lora-train" -q -m "$SDXL" --device cuda --plan --no-bucket --card $c > table
		grep -q '^modelled for .* ms a step;$' table
	done
	! grep -E '.{81}' table || false
	status_of 2 "$BIN/lora-train" -q -m "$SDXL" --device cuda --plan --card 1080
	status_of 2 small --plan --card a4000 "$LATENTS"
	[[ $output == *"--card a4000 is for a plan of a card: say --device cuda"* ]]
}

@test "a table for people: 80 columns at most" {
	LORA_CUDA=nowhere.so "$BIN/lora-train" -q -m "$SDXL" --device cuda --plan --vram 6GiB --train-batch-size 4 \
		> table 2> err || [ $? = 5 ]
	grep -q "^the limit .* 6.00 GiB: does not fit" table && grep -q "^cheaper settings" table
	[ "$(wc -L < table)" -le 80 ]
}

# says PRESET NUMBER [options]: the plan is that many GiB, as its comments have it
says() {
	plan --config "$ROOT/pipelines/$1.toml" "${@:3}" > plan.json
	local decimals=0
	[[ $2 != *.* ]] || decimals=1
	[ "$(jq .peak_bytes plan.json | awk -v d=$decimals '{ printf "%.*f", d, $1 / 1073741824 }')" = "$2" ] ||
		{ echo "$*"; jq .peak_bytes plan.json; return 1; }
}
# comment PRESET TEXT: the number in its comments
comment() { sed -n "s/.*$2.*/\\1/p" "$ROOT/pipelines/$1.toml"; }

@test "the figures in the presets' comments are the plan's" {
	for preset in fast-iteration high-quality; do
		says $preset "$(comment $preset '--plan: \([0-9.]*\) GiB')"
		without=$(comment $preset 'without it \([0-9.]*\) GiB')
		says $preset "$without" --no-gradient-checkpointing
	done
	more=$(comment high-quality 'AdamW takes \([0-9.]*\) GiB more')
	[ -n "$more" ]
	plan --config "$ROOT/pipelines/high-quality.toml" > eight.json
	plan --config "$ROOT/pipelines/high-quality.toml" --optimizer-type AdamW > adamw.json
	[ "$(jq -s '(.[1].peak_bytes - .[0].peak_bytes) / 1073741824 * 10 | round / 10' eight.json adamw.json)" = \
		"$more" ]
}
