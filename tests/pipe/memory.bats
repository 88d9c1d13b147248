#!/usr/bin/env bats
# The memory of a run on the CPU: --plan against what the process had resident at its highest, what is kept where there
# is room for it, and limits.

setup_file() {
	load pipe.bash
	export SMALL=$BATS_FILE_TMPDIR/small.tar LARGE=$BATS_FILE_TMPDIR/large.tar
	mkdir "$BATS_FILE_TMPDIR/four"
	cp "$ROOT"/demo/train/*/gizmo0[0-3].* "$BATS_FILE_TMPDIR/four"
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" -o "$BATS_FILE_TMPDIR/images.tar"
	"$BIN/lora-encode" -q -m "$MODEL" "$BATS_FILE_TMPDIR/images.tar" -o "$SMALL"
	"$BIN/lora-prep" -q --resolution 512 --no-bucket "$BATS_FILE_TMPDIR/four" -o "$BATS_FILE_TMPDIR/images.tar"
	"$BIN/lora-encode" -q -m "$MODEL" "$BATS_FILE_TMPDIR/images.tar" -o "$LARGE"
}
setup() { load pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

run_of() { "${UNDER[@]}" "$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only --output-name t --output-dir out \
	--max-train-steps 1 "$@"; }
weights() { "$BIN/lora-inspect" --json out/t.safetensors | jq -re .hash; }

# as_planned OPTIONS...: the peak of a run is the plan's, within 1 %, which is 1.5 MiB here: pages of the executable
# that the system reads ahead, and holes in the heap, make up to 1.
as_planned() {
	local planned peak off
	planned=$(run_of --plan --json "$@" | jq -re .peak_bytes)
	UNDER=(env time -q -o took -f %M)
	run_of "$@" > log.jsonl
	UNDER=()
	peak=$(($(cat took) * 1024)) off=$((planned / 100))
	echo "$*: $planned planned, $peak at the highest"
	[ "$planned" = "$(jq 'select(.event == "start").planned_bytes' log.jsonl)" ]
	[ $((planned - peak)) -le $off ]
	[ $((peak - planned)) -le $off ]
	rm -r out
}

@test "--plan tells the peak of the process: shapes, batches, checkpointing, threads" {
	! grep -q __asan_init "$BIN/lora-train" || skip "a sanitizer has memory of its own"
	as_planned --threads 1 --gradient-checkpointing --network-dim 64 --save-state "$LARGE"
	as_planned --threads 2 --no-gradient-checkpointing --network-dim 64 --save-state "$LARGE"
	for checkpointing in --gradient-checkpointing --no-gradient-checkpointing; do
		as_planned --threads 2 $checkpointing --network-dim 256 --train-batch-size 2 \
			--gradient-accumulation-steps 2 "$SMALL"
	done
	as_planned --threads 2 --gradient-checkpointing --network-dim 64 --base-precision nf4 "$LARGE"
	as_planned --threads 2 --vram 200MiB --network-dim 4 "$LARGE"
	all=$(run_of --plan --json --threads 2 --network-dim 4 "$LARGE" | jq .peak_bytes)
	as_planned --threads 2 --vram $((all - 1)) --network-dim 4 "$LARGE"
}

@test "the plan counts latents and text outputs as the tar has them" {
	one=$(run_of --plan --json "$SMALL" | jq .bytes.data)
	cp "$SMALL" again.tar
	two=$(run_of --plan --json "$SMALL" again.tar | jq .bytes.data)
	size=$(stat -c %s "$SMALL")
	[ "$two" = $((2 * one)) ]
	[ "$one" -gt $((size * 9 / 10)) ]       # the rest are headers and JSON
	[ "$one" -lt "$size" ]
}

# start_of WORDS OPTIONS...: WORDS hold of the start event of a run, and its adapter is that of the runs before
start_of() {
	local words=$1; shift
	run_of "$@" "$LARGE" > log.jsonl
	[ "$(jq "select(.event == \"start\") | $words" log.jsonl)" = true ]
	[ -e all ] || cp out/t.safetensors all
	cmp out/t.safetensors all
}

@test "where nothing is said, what fits is kept; a limit has what is cheap computed again, then blocks: the same bytes" {
	start_of '.blocks > 0 and .checkpointed_blocks == 0 and (.cheap_again | not)'
	all=$(jq 'select(.event == "start").planned_bytes' log.jsonl)
	start_of ".checkpointed_blocks == 0 and .cheap_again and .planned_bytes < $all" --vram $((all - 1))
	start_of '.checkpointed_blocks > 0 and .cheap_again and .planned_bytes <= 200 * 1048576' --vram 200MiB
}
