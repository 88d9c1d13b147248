#!/usr/bin/env bats
# Several ranks of MPI write the bytes that one writes: adapter, state, numbers of the log.

load scale.bash

# Three nodes of the tree must be apart for the order of sums to matter, so a step has five leaves or more.
@test "1, 2, 3, 4 and 8 ranks: steps of seven batches and a short one, averages, dropout" {
	for n in 1 2 3 4 8; do
		ranks $n 4 of$n --replicas 7 --ema-decay 0.9 --network-dropout 0.1 --network-args module_dropout=0.4
		same of1 of$n 4
	done
	[ "$(jq -s 'map(select(.event == "start"))[0].batches_per_epoch' of1.jsonl)" = 16 ]
	[ "$(jq -c 'select(.event == "step") | [.epoch, (.wait_ms | length)]' of8.jsonl | tr '\n' ' ')" = \
		'[1,8] [1,8] [1,8] [2,8] ' ]
	[ "$(jq -s 'map(select(.event == "step" and has("wait_ms"))) | length' of1.jsonl)" = 0 ]
}

@test "five leaves over four ranks, with text encoders, weighted norms and validation" {
	for n in 1 4; do
		ranks $n 2 of$n --gradient-accumulation-steps 5 --no-network-train-unet-only --text-encoder-lr 1e-4 \
			--scale-weight-norms 0.01 --validation-split 0.25 --validate-every-n-steps 1
	done
	same of1 of4 2
	[ "$(jq -s 'map(select(.event == "validation")) | length' of4.jsonl)" -ge 2 ]
}

@test "every optimizer" {
	for o in AdamW AdamW8bit Lion Adafactor Prodigy DAdaptAdam AdamWScheduleFree; do
		for n in 1 3; do
			ranks $n 2 $o$n --replicas 5 --optimizer-type $o --network-dim 16
		done
		same ${o}1 ${o}3 2
	done
}

@test "other kinds of adapters" {
	for n in 1 4; do
		ranks $n 2 dora$n --replicas 5 --dora
		ranks $n 2 lokr$n --replicas 5 --network-module networks.lokr
	done
	same dora1 dora4 2
	same lokr1 lokr4 2
}

checkpointed() { jq 'select(.event == "start").checkpointed_blocks' "$1"; }

@test "ranks on one machine share its memory: two of them compute again what one keeps" {
	unshare -Urm true 2> /dev/null || skip "no name spaces"
	export -f ranks
	declare -p launcher BIN MODEL LATENTS > words
	"$BIN/lora-prep" -q --resolution 512 --no-bucket "$BATS_FILE_TMPDIR/set" |
		"$BIN/lora-encode" -q -m "$MODEL" -o large.tar
	whole=$("$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --network-train-unet-only --no-gradient-checkpointing \
		--plan --json large.tar | jq .peak_bytes)
	# one rank's need and a quarter more
	sed "s/^MemAvailable:.*/MemAvailable: $((whole * 5 / 4 / 1024)) kB/" /proc/meminfo > little
	for n in 1 2; do
		unshare -Urm bash -c ". ./words; mount --bind little /proc/meminfo || exit 99
			LATENTS=large.tar ranks $n 1 of$n --replicas 2"
	done
	[ "$(checkpointed of1.jsonl)" = 0 ]
	[ "$(checkpointed of2.jsonl)" -gt 0 ]
	cmp of1/t.safetensors of2/t.safetensors
}
