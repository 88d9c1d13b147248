#!/usr/bin/env bats
# Several ranks of MPI write the bytes that one writes: adapter, state, numbers of the log.

# shellcheck disable=SC2154    # launcher is scale.bash's

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
	# rank 0 has something to say, and nothing of options that nobody gave
	"${launcher[@]}" -n 2 "$BIN/lora-train" -m "$MODEL" --network-dim 4 --replicas 2 --max-train-steps 1 \
		--output-dir said --output-name t "$LATENTS" 2> said.txt > /dev/null
	grep -q 'lora-train: 4 pictures' said.txt
	lacks said.txt 'does nothing without'
}

@test "five leaves over four ranks, with text encoders, weighted norms and validation" {
	for n in 1 4; do
		ranks $n 2 of$n --gradient-accumulation-steps 5 --no-network-train-unet-only --text-encoder-lr 1e-4 \
			--scale-weight-norms 0.01 --validation-split 0.25 --validate-every-n-steps 1
	done
	same of1 of4 2
	[ "$(jq -s 'map(select(.event == "validation")) | length' of4.jsonl)" -ge 2 ]
}

@test "every optimizer: its state lies where its parameters' owners are, and goes on with other owners" {
	for o in AdamW AdamW8bit Lion Adafactor Prodigy DAdaptAdam AdamWScheduleFree; do
		words=(--replicas 5 --optimizer-type "$o" --network-dim 16 --lr-scheduler constant --lr-warmup-steps 0)
		for n in 1 3; do
			ranks $n 2 $o$n "${words[@]}" --save-every-n-steps 1 --validation-split 0.25 \
				--validate-every-n-steps 1
		done
		same ${o}1 ${o}3 2
		cmp ${o}1/t-step00000001.safetensors ${o}3/t-step00000001.safetensors
		for n in 1 2; do
			mkdir ${o}on$n
			cp ${o}3/t-step00000001-state.safetensors ${o}on$n
			ranks $n 2 ${o}on$n "${words[@]}" --validation-split 0.25 --resume auto
		done
		cmp ${o}on1/t.safetensors ${o}1/t.safetensors
		cmp ${o}on2/t.safetensors ${o}1/t.safetensors
	done
}

# moved FOLDER: bytes that all ranks sent
moved() { cat "$1"/* | awk '{ sum += $1 } END { print sum }'; }

@test "a step moves 2 N (P - 1) numbers between P ranks" {
	for p in 2 3; do
		n=$("$BIN/lora-train" -q -m "$MODEL" --network-dim 16 --network-train-unet-only --replicas $p --ranks $p \
			--plan --json "$LATENTS" | jq .ranks.numbers)
		for steps in 1 2; do
			mkdir list$p$steps
			LORA_MPI=$MOVER MOVER_LIST=$PWD/list$p$steps ranks $p $steps of$p$steps --replicas $p \
				--network-dim 16
		done
		step=$(($(moved list${p}2) - $(moved list${p}1))) want=$((2 * n * (p - 1) * 4))
		echo "$p ranks, $n numbers: $step bytes, $want of them weights and sums"
		# losses, flags and sums of each parameter, signals: less than a hundredth
		[ $step -ge $want ]
		[ $step -le $((want + want / 100)) ]
	done
}

@test "regularisation pictures" {
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/set" --reg "$ROOT/demo/reg" |
		"$BIN/lora-encode" -q -m "$MODEL" -o reg.tar
	for n in 1 3; do
		LATENTS=reg.tar ranks $n 2 of$n --replicas 5
	done
	[ "$(jq 'select(.event == "start").regularization_pictures' of3.jsonl)" -gt 0 ]
	same of1 of3 2
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
	"$BIN/lora-prep" -q --resolution 256 --no-bucket "$BATS_FILE_TMPDIR/set" |
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
