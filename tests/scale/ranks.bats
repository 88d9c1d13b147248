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
