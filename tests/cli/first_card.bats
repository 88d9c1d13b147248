#!/usr/bin/env bats
# tests/cuda/card without a card: its stages with an nvidia-smi, programs, a Python and a compute-sanitizer of our own,
# which do well, fail or never end; and the table that is made of its lines.  Every figure here is synthetic.

setup() {
	ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir -p path tree/build/fake/{bin,lib/lora-tools,tests/{cuda,ops,golden,big}} tree/tests
	cp -r "$ROOT/tests/cuda" "$ROOT/tests/big" tree/tests/
	mkdir -p tree/tests/golden; ln -s "$ROOT/tests/golden/clip-bpe" tree/tests/golden/; ln -s "$ROOT/demo" "$ROOT/pipelines" tree/
	touch tree/build/fake/lib/lora-tools/liblora-cuda.so
	program path/nvidia-smi 'case "$*" in
		-L) echo "GPU 0: a synthetic card"; exit ;;
		*memory.used*) while :; do echo 4321; sleep 0.1; done ;;
		esac; behave; case "$*" in *name,driver*) echo "NVIDIA H200, 580.65, 143771" ;; *) echo "NVIDIA H200" ;; esac'
	program path/compute-sanitizer 'behave'
	program path/python3 'case "$*" in
		"-c "*) echo 2.99 ;;
		*ceilings.py*) behave; echo "{\"what\":\"kernel\",\"by\":\"PyTorch\",\"name\":\"linear\",\"rows\":4096,\"in\":640,\"out\":5120,\"ms\":0.05}" ;;
		*peer.py*) behave; echo "{\"what\":\"peer\",\"case\":\"kept\",\"ms\":240,\"seen_mib\":20480}" ;;
		esac'
	for p in products attention entries; do
		program tree/build/fake/tests/cuda/$p 'behave; echo "ok 1 - a"; echo "ok 2 - b"; echo 1..2'; done
	for p in ops/ops golden/golden; do program tree/build/fake/tests/$p 'behave; echo "x: 5 passed, 0 failed"'; done
	program tree/build/fake/tests/big/write 'behave'
	program tree/build/fake/tests/cuda/bench_ops \
		'behave; echo "linear    4096 x   640 ->  5120     0.100 ms     268.4 TFLOP/s"; echo "add   16384 x   320 ->   320     0.010 ms     100.0 GB/s"'
	program tree/build/fake/tests/cuda/bench_attention 'behave'
	for p in prep encode sample; do program tree/build/fake/bin/lora-$p 'behave; while [ $# -gt 1 ]; do [ "$1" != -o ] || : > "$2"; shift; done'; done
	program tree/build/fake/bin/lora-train 'behave
		case "$*" in *--plan*) echo "{\"modelled_ms\":170.5,\"floor_ms\":22}"; exit ;; *--resume*) first=2 ;; esac
		while [ $# -gt 1 ]; do case $1 in --output-dir) dir=$2 ;; --max-train-steps) n=$2 ;; esac; shift; done
		mkdir -p "$dir"; echo adapter > "$dir/a.safetensors"
		echo "{\"event\":\"start\",\"planned_bytes\":6442450944}"
		for i in $(seq $((first ? n / 2 + 1 : 1)) "$n"); do
			printf "{\"event\":\"step\",\"step\":%d,\"loss\":0.1,\"seconds\":%s,\"seconds_data\":0.001," $i "$([ "$i" = 1 ] && echo 2.5 || echo 0.2)"
			echo "\"seconds_compute\":0.15,\"seconds_optimizer\":0.01,\"gpu_memory_bytes\":6492450944,\"gpu_utilization_percent\":93}"
		done'
	export PATH=$BATS_TEST_TMPDIR/path:$PATH BUILD=build/fake BIG=$BATS_TEST_TMPDIR/big OUT=out STEPS=4 FAKE=well
}

# program FILE TEXT: behave() does as FAKE says: well, fail, hang
program() {
	{
		echo '#!/bin/bash'
		echo 'behave() { case $FAKE in fail) echo "it failed: error 7"; exit 7 ;; hang) sleep 60 ;; esac; }'
		echo "$2"
	} > "$1"
	chmod +x "$1"
}
card() { (cd tree && tests/cuda/card "$@"); }
status_of() { jq -r --arg s "$1" 'select(.what == "stage" and .stage == $s) | .status' tree/out/card.jsonl; }
STAGES='machine products attention entries operations golden demo model kept checkpointed serial kernels attentions
	ceilings peer vram12 memcheck batch4 encode sample racecheck initcheck'

@test "every stage does well: in this order, with what it counted and measured" {
	card > said
	[ "$(jq -r 'select(.what == "stage") | .stage' tree/out/card.jsonl | xargs)" = "$(xargs <<< "$STAGES")" ]
	for s in $STAGES; do
		[ "$(status_of "$s")" = ok ] || { echo "$s: $(status_of "$s")"; cat "tree/out/$s.log"; false; }
	done
	# 6 of the programs, 5 each of the two, 12 of the demo, and 16 stages that count for one
	[ "$(tail -n 1 said)" = "44 passed, 0 failed" ]
	jq -es 'map(select(.what == "step" and .case == "kept"))[0] | .ms == 200 and .first_ms == 2500
		and .planned_mib == 6144 and .seen_mib == 6192 and .modelled_ms == 170.5 and .floor_ms == 22
		and .steps == 16' tree/out/card.jsonl
	jq -es '.[0] | .card == "NVIDIA H200" and .driver == "580.65" and .torch == "2.99"' tree/out/card.jsonl
	[ "$(jq -c 'select(.what == "kernel") | [.by, .name, .ms]' tree/out/card.jsonl | xargs)" = \
		'[here,linear,0.1] [here,add,0.01] [PyTorch,linear,0.05]' ]
}

@test "every stage fails: each is said, none stops the others" {
	FAKE=fail run card
	[ "$status" = 1 ]
	for s in $STAGES; do
		case $s in
		# of what failed before
		kept | checkpointed | serial | ceilings | vram12 | batch4 | encode | sample) want=skipped ;;
		*) want=failed ;;
		esac
		[ "$(status_of "$s")" = $want ] || { echo "$s: $(status_of "$s")"; false; }
	done
	grep -q 'it failed: error 7' <<< "$output"
}

@test "steps, kernels and pictures that fail where the model is there" {
	card > /dev/null
	mv tree/out/kernels.tsv .
	for s in kept checkpointed serial vram12 batch4 encode sample kernels; do
		FAKE=fail ONLY=$s run card
		[ "$status" = 1 ] && [ "$(status_of "$s")" = failed ] || { echo "$s: $(status_of "$s")"; false; }
	done
	mv kernels.tsv tree/out/
	FAKE=fail ONLY=ceilings run card
	[ "$(status_of ceilings)" = failed ]
}

@test "a stage that never ends is ended at its limit" {
	card > /dev/null
	for s in $STAGES; do
		cp -r tree/out "tree/$s.out"
		(cd tree && FAKE=hang LIMIT=1 ONLY=$s OUT=$s.out tests/cuda/card > "$s.said") 3>&- &
	done
	wait
	for s in $STAGES; do
		[ "$(jq -r 'select(.what == "stage") | .status' "tree/$s.out/card.jsonl")" = 'too long' ] ||
			{ cat "tree/$s.said"; false; }
		grep -q '0 passed, [0-9]* failed$' "tree/$s.said"
	done
	! pgrep -f "$BATS_TEST_TMPDIR/tree/build/fake"
}

@test "no stage begins without time for it; a stage's limit is what is left" {
	FAKE=hang TIME=2 run card
	[ "$status" = 1 ]
	[ "$(status_of machine)" = 'too long' ]
	[ "$(jq -r 'select(.stage == "machine") | .limit' tree/out/card.jsonl)" = 2 ]
	[ "$(jq -r 'select(.what == "stage") | .status' tree/out/card.jsonl | sort | uniq -c | xargs)" = '21 no time 1 too long' ]
	grep -q '0 passed, 1 failed, 21 skipped' <<< "$output"
}

@test "no PyTorch, no compute-sanitizer, no model: skipped, with the reason" {
	program path/python3 'exit 1'; rm path/compute-sanitizer
	mkdir bare; for t in bash awk sed grep; do ln -s "$(command -v $t)" bare/; done
	! command -v compute-sanitizer > /dev/null || skip "compute-sanitizer is here"
	ONLY='kernels|ceilings|peer|memcheck|kept' run card
	[ "$status" = 0 ]
	[ "$(jq -r 'select(.what == "stage") | .stage, .status' tree/out/card.jsonl | xargs)" = \
		'kept skipped kernels ok ceilings skipped peer skipped memcheck skipped' ]
	[[ $output == *'not here: torch diffusers peft'* && $output == *'no full-size model'* ]]
}

@test "no card: nothing runs, and all is skipped" {
	program path/nvidia-smi 'exit 9'
	run card
	[ "$status" = 0 ]
	[ "${lines[-1]}" = '0 passed, 0 failed, 22 skipped' ]
	[ ! -e tree/out ]
}

@test "a copy of the tree with the kit beside it unpacks it" {
	mkdir -p kit/gpu-kit/build; mv tree/build/fake kit/gpu-kit/build/
	tar cJf tree/build/gpu-kit.tar.xz -C kit gpu-kit
	ONLY=products run card
	[ "$status" = 0 ]
	[ "${lines[-1]}" = '2 passed, 0 failed' ]
}

readme() { printf '%s\n' before '' '<!-- gpu-table -->' old '<!-- end of gpu-table -->' '' after > README.md; }
table() { "$ROOT/tests/cuda/card_table" README.md "$@"; }

@test "the table of synthetic lines: the last of each counts, and what did not go well is said" {
	readme
	cat > card.jsonl <<- 'L'
		{"what":"machine","card":"SYNTHETIC","driver":"1.2","torch":"2.99","date":"2026-01-01","toolkit":"13.0"}
		{"what":"tests","stage":"products","passed":120,"failed":0}
		{"what":"stage","stage":"products","status":"ok","seconds":5}
		{"what":"stage","stage":"peer","status":"too long","why":"more than 120 s"}
		{"what":"step","case":"kept","ms":400,"seen_mib":11000,"planned_mib":10711}
		{"what":"step","case":"kept","ms":151.2,"seen_mib":11264,"planned_mib":10711,"modelled_ms":130.4,"floor_ms":22}
		{"what":"step","case":"checkpointed","ms":180,"planned_mib":6000}
		{"what":"peer","case":"kept","ms":226.8,"seen_mib":20480}
		{"what":"kernel","by":"here","name":"linear","rows":4096,"in":640,"out":5120,"ms":0.1}
		{"what":"kernel","by":"PyTorch","name":"linear","rows":4096,"in":640,"out":5120,"ms":0.05}
		{"what":"kernel","by":"here","name":"nobody else","rows":1,"in":1,"out":1,"ms":1}
		{"what":"time","case":"encode","seconds":3.21,"seen_mib":4096}
	L
	table card.jsonl
	grep -qxF '| step, all kept | 151 ms | 11 GiB, 10.5 GiB | 227 ms | 20 GiB | 1.5 | 130 ms | 22 ms |' README.md
	grep -qxF '| step, checkpointing | 180 ms | , 5.9 GiB |  |  |  |  |  |' README.md
	grep -qxF '| linear | 4096 x 640 -> 5120 | 100 us | 50 us | 0.5 |' README.md
	grep -qF 'On an SYNTHETIC, driver 1.2, CUDA 13.0, 2026-01-01' README.md
	grep -qF '120 passed, 0 failed. Not well: peer (too long: more than 120 s).' README.md
	! grep -q 'nobody else\|old\|400 ms' README.md || false
	[ "$(head -1 README.md)" = before ]
	[ "$(tail -n 1 README.md)" = after ]
	cp README.md once; table card.jsonl; cmp once README.md
}

@test "no lines, no figures: the section says so; a page without the section is left alone" {
	readme; table
	grep -q '^Not measured: no card was at hand' README.md
	echo '{"what":"tests","stage":"products","passed":1,"failed":0}' > card.jsonl
	cp README.md once; table card.jsonl; cmp once README.md
	echo nothing > other.md
	run "$ROOT/tests/cuda/card_table" other.md
	[ "$status" = 1 ]; [ "$(cat other.md)" = nothing ]
}

@test "README's table is what its lines make" {
	cp "$ROOT/README.md" .
	lines=$ROOT/tests/cuda/card.jsonl; [ -e "$lines" ] || lines=
	table $lines
	cmp "$ROOT/README.md" README.md
}

@test "the tree and the largest kit fit into 64 MiB" {
	cd "$ROOT"
	git ls-files > /dev/null 2>&1 || skip "not a repository"
	[ $(($(git ls-files -z | xargs -0 stat -c %s | paste -sd +) + (16 << 20))) -lt $((64 << 20)) ]
}
