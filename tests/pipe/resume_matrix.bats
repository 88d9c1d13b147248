#!/usr/bin/env bats
# Every optimizer with every schedule, and every kind of adapter, with accumulation and without: twenty steps, and the
# same twenty killed once, twice or thrice, leave the same bytes and the same log.  On the golden tests' model and
# pictures of 32 pixels: a step takes milliseconds.

setup_file() {
	load pipe.bash
	export GOLDEN=$ROOT/tests/golden/tiny-a/model LATENTS=$BATS_FILE_TMPDIR/few.tar
	mkdir "$BATS_FILE_TMPDIR/four"
	cp "$ROOT"/demo/train/*/gizmo0[0-3].* "$BATS_FILE_TMPDIR/four"
	"$BIN/lora-prep" -q --resolution 32 --min-bucket-reso 16 --max-bucket-reso 48 --bucket-reso-steps 16 \
		"$BATS_FILE_TMPDIR/four" |
		"$BIN/lora-encode" -q -m "$GOLDEN" -o "$LATENTS"
	export OMP_NUM_THREADS=1
}
setup() { load pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

SCHEDULES=(constant constant_with_warmup linear cosine "cosine_with_restarts --lr-scheduler-num-cycles 3"
	"polynomial --lr-scheduler-power 2" "cosine_with_min_lr --lr-scheduler-min-lr-ratio 0.1" \
		warmup_stable_decay inverse_sqrt)
CUTS=(10 "5 15" "5 10 15")

# adapter_of NUMBER: its options, one rate for everything where the optimizer wants it
adapter_of() {
	case $1 in
	0) echo --network-train-unet-only ;;
	1) echo --network-train-unet-only --conv-dim 2 ;;
	2) echo --text-encoder-lr "$RATE" ;;
	3) echo --network-train-unet-only --dora --conv-dim 1 ;;
	4) [ -n "$ONE_RATE" ] && echo --network-train-text-encoder-only --dora || echo --loraplus-lr-ratio 4 --dora ;;
	5) echo --network-train-unet-only --network-dropout 0.2 --rank-dropout 0.2 --module-dropout 0.2 \
		--ema-decay "$EMA" ;;
	esac
}

go() {
	exec "$BIN/lora-train" -q -m "$GOLDEN" --network-dim 2 --train-batch-size 2 --max-train-steps 20 \
		--output-name t --save-state "$@" \
		"$LATENTS"
}

# cut_at STEP [options]: killed once the state of this step is there; what came after it is lost
cut_at() {
	local state log; state=cut/t-step$(printf %08d "$1")-state.safetensors
	shift
	go --output-dir cut --save-every-n-steps 5 --save-last-n-states 9 --resume auto "$@" > /dev/null \
		2>&1 3>&- & log=$!
	wait_for 60 test -e "$state"
	kill -9 $log 2> /dev/null || true
	wait $log || true
	for log in cut/t*.safetensors; do
		[[ "$log" < "$state" || "$log" = "$state" ]] && [ "$log" != cut/t.safetensors ] || rm "$log"
	done
}

timeless() {
	jq -c 'select(.event == "step") | del(.samples_per_s, .memory_bytes) | with_entries(select(.key | startswith("seconds") | not))' \
		"$1"
}

# goes_on NUMBER NAME RATE [options]: the optimizer of this number with every schedule
goes_on() {
	local number=$1 s step whole; RATE=$3
	local -a optimizer=(--optimizer-type "$2" --learning-rate "$3" "${@:4}") all
	for s in "${!SCHEDULES[@]}"; do
		# 9 schedules, 6 adapters, 2 accumulations, 3 ways to cut: eight optimizers meet all pairs.
		read -ra all <<< "--lr-scheduler ${SCHEDULES[s]} $(adapter_of $(((number + s) % 6)))"
		all+=("${optimizer[@]}" --gradient-accumulation-steps $(((number + s / 3) % 2 + 1)))
		[ "$s" = 0 ] || all+=(--lr-warmup-steps 3)
		rm -rf whole cut
		go --output-dir whole "${all[@]}" > whole.log 3>&- & whole=$!
		for step in ${CUTS[(number + s / 2) % 3]}; do
			cut_at "$step" "${all[@]}"
		done
		(go --output-dir cut --resume auto "${all[@]}") > cut.log
		wait $whole
		[ "$(sum whole/t.safetensors whole/t-step00000020-state.safetensors)" = \
			"$(sum cut/t.safetensors cut/t-step00000020-state.safetensors)" ] ||
			{ echo "another end: ${all[*]}"; return 1; }
		diff <(timeless whole.log | tail -n "$((20 - step))") <(timeless cut.log) ||
			{ echo "another log: ${all[*]}"; return 1; }
	done
}

@test "AdamW" { EMA=0.9 goes_on 0 AdamW 1e-3; }
@test "AdamW8bit" { EMA=0.9 goes_on 1 AdamW8bit 1e-3; }
@test "Lion" { EMA=0.9 goes_on 2 Lion 1e-4; }
@test "Adafactor" { EMA=0.9 goes_on 3 Adafactor 1e-3 --optimizer-args relative_step=False \
	--optimizer-args scale_parameter=False; }
@test "Adafactor with steps of its own" { EMA=0.9 goes_on 4 Adafactor 0; }
@test "Prodigy" { ONE_RATE=1 EMA=0.9 goes_on 5 Prodigy 1 --optimizer-args d0=1e-4; }
@test "D-Adaptation" { ONE_RATE=1 EMA=0.9 goes_on 6 DAdaptAdam 1 --optimizer-args d0=1e-4; }
@test "schedule-free AdamW" { EMA=0 goes_on 7 AdamWScheduleFree 1e-3; }
