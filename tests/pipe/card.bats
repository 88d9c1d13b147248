#!/usr/bin/env bats
# What a card does, in the log: a lora-train that computes on the CPU and looks at a card as the CUDA backend does
# (tests/nvml/backend.c), beside a libnvidia-ml.so.1 of our own (tests/nvml/fake.c).  No card is needed.

setup_file() {
	load pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar STRAIGHT=$BATS_FILE_TMPDIR/straight
	few_latents "$LATENTS"
	train 30 "$STRAIGHT" > "$BATS_FILE_TMPDIR/straight.jsonl"
}
setup() {
	load pipe.bash
	NVML=$(cd "$BIN/.." && pwd)/tests/nvml
	cd "$BATS_TEST_TMPDIR" || return 1
}

# on_card LIBRARY WORDS STEPS FOLDER [options]: a run that looks at a card
on_card() { (on_card_exec "$@"); }
on_card_exec() {
	export LD_LIBRARY_PATH=$NVML/$1 FAKE_NVML=$2
	exec "$NVML/lora-train" --device cuda -m "$MODEL" --network-dim 4 \
		--network-train-unet-only --train-batch-size 2 --learning-rate 1e-3 --lr-scheduler cosine \
		--lr-warmup-steps 2 --max-train-steps "$3" --output-dir "$4" --output-name t --save-state "${@:5}" "$LATENTS"
}
# on_card_until LIBRARY WORDS COMMAND...: until the command holds, and two more looks
on_card_until() {
	on_card_exec "$1" "$2" 1000000 out > log.jsonl 2> words 3>&- &
	pid=$!
	wait_for 60 "${@:3}"
	sleep 2
	kill -TERM $pid
	status=0; wait $pid || status=$?
	[ $status = 75 ]
}
looks_are() { [ "$(wc -l < looks)" -ge "$1" ]; }
steps() { jq -c 'select(.event == "step")' "$@"; }
FIELDS='["gpu_utilization_percent","gpu_memory_bytes","gpu_memory_planned_bytes","gpu_memory_percent","gpu_power_watts","gpu_clock_mhz"]'

@test "a run's lines, TensorBoard and page have it; its bytes are the same" {
	on_card whole varies 30 out --log log.jsonl --logging-dir tb --html page.html 2> words
	[ "$(sum out/t.safetensors)" = "$(sum "$STRAIGHT/t.safetensors")" ]
	[ "$(steps log.jsonl | jq -c 'keys_unsorted | map(select(startswith("gpu")))' | sort -u)" = "$FIELDS" ]
	# They stand behind all others.
	[ "$(steps log.jsonl | head -n 1 | jq -c 'keys_unsorted[-7:]')" = "[\"memory_bytes\",${FIELDS#[}" ]
	[ "$(steps log.jsonl | head -n 1 | jq '.gpu_memory_percent, .gpu_clock_mhz' | tr '\n' ' ')" = '75 1395 ' ]
	# What is planned is what --plan and the start say.
	[ "$(steps log.jsonl | jq .gpu_memory_planned_bytes | sort -u)" = \
		"$(jq 'select(.event == "start").planned_bytes' log.jsonl)" ]
	perl "$BATS_TEST_DIRNAME/scalars.pl" tb/t/events* > scalars
	for field in utilization_percent memory_bytes memory_planned_bytes memory_percent power_watts clock_mhz; do
		[ "$(grep -c "	gpu/$field\$" scalars)" = 30 ]
	done
	diff <(steps log.jsonl | jq .gpu_utilization_percent | awk '{ printf "%.4f\n", $1 }') \
		<(awk -F '\t' '$3 == "gpu/utilization_percent" { printf "%.4f\n", $2 }' scalars)
	grep -q '<h2>The card</h2>' page.html
	for title in 'Utilisation of the card' 'Memory of the card' 'Seconds a step' 'Power' 'Clock'; do
		[ "$(grep -c "aria-label=\"$title" page.html)" = 1 ]
	done
	grep -q '<td>memory</td><td class="n">75 %</td><td class="n">80-90 %</td><td>there is room' page.html
	[ "$(grep -c 'class="good"' page.html)" -ge 2 ]
	grep -q 'card: utilisation .* % (good: 85-95), memory 75 % (80-90), step .* s (2-8)' words
	[ "$(jq -c 'select(.event == "finding")' log.jsonl)" = '' ]
	"$BIN/lora-inspect" --verify out/t.safetensors > /dev/null
}

@test "without NVML, or where it refuses: not a field, not a word; the same run" {
	local library
	for words in none/ torn/ bare/ whole/refuses whole/no-init whole/no-card; do
		library=${words%/*}
		rm -rf out
		on_card "$library" "${words#*/}" 30 out --html page.html > log.jsonl 2> words
		[ "$(sum out/t.safetensors)" = "$(sum "$STRAIGHT/t.safetensors")" ]
		lacks log.jsonl gpu_
		lacks words 'card:'
		lacks page.html 'The card'
	done
}

@test "a card that is slowed down or shared is said once, in lines, page and on standard error" {
	on_card_until whole 'hot power strangers' grep -q '"shared"' log.jsonl
	[ "$(jq -r 'select(.event == "finding") | .kind' log.jsonl | tr '\n' ' ')" = 'throttled throttled shared ' ]
	jq -r 'select(.event == "finding") | .say' log.jsonl > said
	grep -q '^the card lowers its clock (1395 of 1695 MHz, 137 of 140 W): it is too hot' said
	grep -q '^2 other programs compute on this card, one is python3, process 4242; 3.5 GiB' said
	[ "$(grep -c 'lowers its clock' words),$(grep -c 'warning: .*too hot' words),$(grep -c 'programs compute' words)" = 2,1,1 ]
}

@test "the driver is asked once a second; a card that is lost in the middle costs figures, not the run" {
	export FAKE_NVML_LOG=$PWD/looks
	on_card_until whole lost looks_are 3
	awk 'NR > 1 && $1 - last < 0.999 { exit 1 } { last = $1 }' looks
	grep -q stopped words
	[ "$(steps log.jsonl | tail -n 1 | jq .gpu_memory_bytes)" = null ]
}

@test "a log from before goes on with the new fields, and without them again" {
	train 10 out --log log.jsonl --save-every-n-steps 10
	on_card whole '' 20 out --log log.jsonl --resume auto --html page.html 2> words
	[ "$(steps log.jsonl | jq 'has("gpu_memory_bytes")' | sort | uniq -c | awk '{ print $1, $2 }' | tr '\n' ' ')" = \
		'10 false 10 true ' ]
	grep -q 'The card' page.html
	train 30 out --log log.jsonl --resume auto --html page.html
	grep -q 'The card' page.html
	grep -q 'Step 30 of 30' page.html
}
