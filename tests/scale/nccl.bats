#!/usr/bin/env bats
# Ranks with a card each exchange sums and weights from card to card, by NCCL: the bytes of one rank, and of MPI.
# The cards are stand-ins (tests/emu), and so is NCCL (nccl.c), which takes for an error what would hang.

# shellcheck disable=SC2154    # launcher is scale.bash's

load scale.bash

eval "$(declare -f setup_file | sed '1s/setup_file/setup_ranks/')"
setup_file() {
	setup_ranks
	export LORA_CUDA=$BIN/../cuda/liblora-cuda-emu.so LORA_NCCL=$BIN/../tests/scale/nccl.so
	for f in "$LORA_CUDA" "$LORA_NCCL"; do
		[ -e "$f" ] || { echo "there is no $f; make check-scale builds it"; return 1; }
	done
	# each rank sees a card of its own
	export TRAIN=$BATS_FILE_TMPDIR/train
	cat > "$TRAIN" <<-'END'
		#!/bin/sh
		card=${OMPI_COMM_WORLD_LOCAL_RANK:-${MPI_LOCALRANKID:-0}}
		[ -n "$ONE_CARD" ] || export CUDA_VISIBLE_DEVICES=$card
		exec "$BIN/lora-train" --device cuda "$@"
	END
	chmod 755 "$TRAIN"
}

# exchange FOLDER: what the start event of the run says of it
exchange() { jq -r 'select(.event == "start") | "\(.exchange): \(.exchange_why)"' "$1.jsonl"; }

@test "2, 3, 4 ranks by NCCL, 3 by MPI: the bytes of one rank" {
	words=(--replicas 7 --ema-decay 0.9 --network-dropout 0.1)
	ranks 1 2 of1 "${words[@]}"
	for n in 2 3 4; do
		ranks $n 2 of$n "${words[@]}"
		same of1 of$n 2
		[ "$(exchange of$n)" = "NCCL 2.28.9: null" ]
	done
	LORA_NCCL=off ranks 3 2 mpi3 "${words[@]}"
	same of1 mpi3 2
	[ "$(exchange mpi3)" = "MPI: LORA_NCCL is off" ]
	[ "$(exchange of1)" = "null: null" ]
}

@test "an average of weights, which the owners make, and a state that other numbers of ranks go on from" {
	words=(--replicas 3 --optimizer-type AdamWScheduleFree --lr-scheduler constant --lr-warmup-steps 0
		--validation-split 0.25 --validate-every-n-steps 1)
	ranks 1 2 of1 "${words[@]}"
	ranks 3 1 of3 "${words[@]}"
	ranks 2 2 of3 "${words[@]}" --resume auto
	cmp of1/t.safetensors of3/t.safetensors
	cmp of1/t-step00000002-state.safetensors of3/t-step00000002-state.safetensors
}

# sent FOLDER: bytes that all ranks sent
sent() { cat "$1"/* | awk '{ sum += $1 } END { print sum }'; }

@test "a step moves 2 N (P - 1) numbers from card to card, in parts, and next to nothing by way of the host" {
	words=(--network-dim 128 --replicas 3)
	n=$("$BIN/lora-train" -q -m "$MODEL" --network-dim 128 --network-train-unet-only --replicas 3 --ranks 3 \
		--plan --json "$LATENTS" | jq .ranks.numbers)
	for steps in 1 2; do
		mkdir cards$steps host$steps
		FAKE_NCCL_LOG=$PWD/cards$steps LORA_MPI=$MOVER MOVER_LIST=$PWD/host$steps ranks 3 $steps of$steps \
			"${words[@]}"
	done
	cards=$(($(sent cards2) - $(sent cards1))) host=$(($(sent host2) - $(sent host1)))
	groups=$(($(wc -l < cards2/0) - $(wc -l < cards1/0)))
	echo "$n numbers: $cards bytes from card to card in $groups groups, $host by MPI"
	[ $cards = $((2 * n * 2 * 4)) ]
	[ $groups -ge 2 ]
	[ $host -lt $((n * 4 / 10)) ]
}

@test "one card for two ranks, no library, no way between the cards: MPI, said once, and the same bytes" {
	ranks 1 1 of1 --replicas 2
	ONE_CARD=1 ranks 2 1 one --replicas 2
	LORA_NCCL=nowhere.so ranks 2 1 none --replicas 2
	FAKE_NCCL=no-init ranks 2 1 no --replicas 2
	FAKE_NCCL=deaf ranks 2 1 deaf --replicas 2
	for f in one none no deaf; do same of1 $f 1; done
	[ "$(exchange one)" = "MPI: two ranks have the same card: each needs one of its own" ]
	[ "$(exchange none)" = "MPI: nowhere.so is not there, or older than 2.7" ]
	[ "$(exchange no)" = "MPI: NCCL: unhandled system error" ]
	[ "$(exchange deaf)" = "MPI: NCCL: what one card sent did not arrive at another" ]
	# where the system has it, or pip
	mkdir lib
	ln -s "$LORA_NCCL" lib/libnccl.so.2
	LORA_NCCL='' LD_LIBRARY_PATH=$PWD/lib ranks 2 1 found --replicas 2
	same of1 found 1
	[ "$(exchange found)" = "NCCL 2.28.9: null" ]
}

@test "on a CPU nobody asks for NCCL" {
	LORA_NCCL=nowhere.so ranks 2 1 cpu --replicas 2 --device cpu
	[ "$(exchange cpu)" = "MPI: null" ]
}

@test "a rank that goes away, or moves in another order: the job ends with a message, and nothing torn" {
	for fault in lost,1,2 lost,0,3 swapped,1,2; do
		status=0
		FAKE_NCCL=$fault ranks 2 2 cut --replicas 2 --save-every-n-steps 1 > said 2>&1 || status=$?
		echo "$fault: status $status"; cat said
		[ $status = 5 ]
		grep -q 'lora-train: device cuda: NCCL: .*; a rank or its card may be lost: start again from the last state' \
			said
		all_sound cut
	done
}
