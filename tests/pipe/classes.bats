#!/usr/bin/env bats
# tests/bench/classes: programs with a clock at each operation of the backend.  They compute what the programs do, and
# their tables are whole.

setup() {
	load pipe.bash
	CLASSES=$(cd "$BIN/.." && pwd)/tests/bench/classes
	LATENTS=$BATS_FILE_TMPDIR/latents.tar
	cd "$BATS_TEST_TMPDIR" || return 1
}

# percents TABLE: the shares of the classes and of all else, added; and the whole
percents() {
	awk '/^[a-z]/ && / ms / {
		match($0, / ms +[0-9.]+ %/); split(substr($0, RSTART), f)
		if (/^the whole/) whole = f[2]; else sum += f[2]
	} END { printf "%d %d\n", sum + 0.5, whole + 0.5 }' "$1"
}

@test "latents and adapter are the program's own" {
	few_latents "$LATENTS"
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" > images.tar
	"$CLASSES/lora-encode" -q -m "$MODEL" -o latents.tar images.tar 2> encode
	cmp latents.tar "$LATENTS"
	mkdir bare clocked
	train 3 bare --gradient-checkpointing --conv-dim 2 > bare.jsonl
	BIN=$CLASSES train 3 clocked --gradient-checkpointing --conv-dim 2 > clocked.jsonl 2> table
	cmp bare/t.safetensors clocked/t.safetensors
	cmp bare/t-step00000003-state.safetensors clocked/t-step00000003-state.safetensors
	for class in products convolutions attention norms elementwise adapter optimizer loss copies 'all else'; do
		grep "^$class  " table
	done
	grep 'mean of 2 after the first' table
	[ "$(percents table)" = "100 100" ]
	grep '^convolutions' encode
}
