#!/usr/bin/env bats
# Streams that end early, are cut, empty, or closed; readers that go away; terminals; small pipes.

setup_file() {
	load pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar IMAGES=$BATS_FILE_TMPDIR/images.tar ALL=$BATS_FILE_TMPDIR/all.tar
	few_latents "$LATENTS"
	"$BIN/lora-prep" -q "${PREP[@]}" -o "$IMAGES" "$BATS_FILE_TMPDIR/four"
	prepare > "$ALL"
}
setup() { load pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

tiny=(--network-dim 2 --network-train-unet-only --max-train-steps 1 --output-name t)

@test "the whole pipe in one line" {
	set -o pipefail
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" | "$BIN/lora-encode" -q -m "$MODEL" |
		"$BIN/lora-train" -q -m "$MODEL" "${tiny[@]}" --output-dir out |
		jq -es 'map(.event) == ["start", "step", "save", "end"]'
	[ "$("$BIN/lora-encode" -q -m "$MODEL" "$IMAGES" | sum)" = "$(sum "$LATENTS")" ]
	"$BIN/lora-inspect" --verify out/t.safetensors > /dev/null
}

@test "a producer killed in mid-stream: status 3 about the end record, no output under its final name" {
	local i n=0
	for i in 1 2 3 4 5 6; do
		rm -f l.tar err
		mkfifo pipe
		"$BIN/lora-prep" -q "${PREP[@]}" -j1 "$ROOT/demo/train" --reg "$ROOT/demo/reg" > pipe 3>&- & producer=$!
		# The writer stands still in a full pipe until it is read: killed after some of it, in the middle of a
		# member or between two.
		run bash -c '{ head -c $((1 + RANDOM % 400000)); kill -9 '"$producer"'; cat; } < pipe | "$@" 2>&1' \
			- "$BIN/lora-encode" -q -m "$MODEL" -o l.tar
		wait $producer || n=$((n + 1))
		rm pipe
		[ "$status" -eq 3 ] || { [ "$status" -eq 0 ] && "$BIN/lora-inspect" --verify l.tar; } ||
			{ echo "status $status: $output"; return 1; }
		[ "$status" -eq 0 ] || { [[ "$output" == *"end record"* ]] && [ ! -e l.tar ] &&
			[ -z "$(temporaries .)" ]; } || { echo "$output"; ls -a; return 1; }
	done
	[ $n -gt 0 ]
}

@test "a stream cut at any of many places is status 3 and leaves nothing" {
	local size at
	size=$(stat -c %s "$LATENTS")
	# Member boundaries are the traps: each is a whole tar to other readers.
	for at in 1 511 512 1024 $(tar -tRf "$LATENTS" | sed -n 's/^block \([0-9]*\):.*/\1/p' |
		awk '{print $1 * 512}') $((size - 10240)) $((size - 1)); do
		[ "$at" -lt "$size" ] && [ "$at" -gt 0 ] || continue
		# The last blocks are zeros behind the end record: padding that a reader needs not see.
		run bash -c 'head -c '"$at"' "$0" | "$@" 2>&1' "$LATENTS" "$BIN/lora-train" -q -m "$MODEL" \
			"${tiny[@]}" --output-dir out --dry-run
		if [ "$status" -eq 0 ]; then
			[ "$at" -ge "$(end_of_data "$LATENTS")" ] || { echo "cut at $at was not noticed"; return 1; }
		else
			[ "$status" -eq 3 ] || { echo "cut at $at: status $status: $output"; return 1; }
		fi
		[ ! -e out/t.safetensors ]
	done
}
# end_of_data TAR: where the end record's payload ends
end_of_data() { tar -tRvf "$1" | awk '/__lora__\/end/ { sub(":", "", $2); print ($2 + 1) * 512 }'; }

@test "image tars, cut: lora-encode publishes nothing" {
	for at in 512 10240 $(($(end_of_data "$IMAGES") - 1)); do
		head -c $at "$IMAGES" > cut.tar
		status_of 3 "$BIN/lora-encode" -q -m "$MODEL" -o l.tar cut.tar
		[[ "$output" == *cut.tar* ]]
		[ ! -e l.tar ]
		[ -z "$(temporaries .)" ]
	done
}

@test "empty standard input is status 3, and says so" {
	status_of 3 bash -c '"$@" < /dev/null' - "$BIN/lora-encode" -q -m "$MODEL" -o l.tar
	[[ "$output" == *"standard input"* || "$output" == *"-:"* ]]
	status_of 3 bash -c '"$@" < /dev/null' - "$BIN/lora-train" -q -m "$MODEL" "${tiny[@]}" --output-dir out
	status_of 3 bash -c '"$@" < /dev/null' - "$BIN/lora-inspect" -
	[ ! -e l.tar ]
	[ ! -e out/t.safetensors ]
}

@test "the wrong kind of stream is status 3 and says which is wanted" {
	status_of 3 "$BIN/lora-train" -q -m "$MODEL" "${tiny[@]}" --output-dir out "$IMAGES"
	[[ "$output" == *encode* ]]
	status_of 3 "$BIN/lora-encode" -q -m "$MODEL" -o l.tar "$LATENTS"
	echo "no tar at all" > text
	status_of 3 "$BIN/lora-encode" -q -m "$MODEL" -o l.tar text
	[ ! -e l.tar ]
}

@test "a file that begins wrong is refused before the model is read; a pipe is read after it" {
	head -c 700 "$IMAGES" > cut.tar
	status_of 3 "$BIN/lora-encode" -q -m nowhere "$IMAGES" "$LATENTS" -o l.tar
	[[ "$output" == *"$LATENTS: holds latents"* ]]
	status_of 3 "$BIN/lora-encode" -q -m nowhere cut.tar -o l.tar
	[[ "$output" == *"cut.tar: "*"end record"* ]]
	status_of 3 "$BIN/lora-encode" -q -m nowhere none.tar -o l.tar
	[[ "$output" == *none.tar* ]]
	status_of 3 "$BIN/lora-train" -q -m nowhere "${tiny[@]}" --output-dir out "$LATENTS" "$IMAGES"
	[[ "$output" == *"$IMAGES: holds images"* ]]
	run bash -c '"$@" < cut.tar' - "$BIN/lora-encode" -q -m nowhere - -o l.tar
	[[ "$output" == *nowhere* ]]
	[ ! -e l.tar ]
	[ ! -e out/t.safetensors ]
}

@test "several tars after one another, as operands and through cat" {
	"$BIN/lora-encode" -q -m "$MODEL" -o parts.tar --shard 0/2 "$IMAGES"
	"$BIN/lora-encode" -q -m "$MODEL" --shard 1/2 "$IMAGES" > second.tar
	"$BIN/lora-train" -q -m "$MODEL" "${tiny[@]}" --output-dir operands parts.tar second.tar > /dev/null
	cat parts.tar second.tar | "$BIN/lora-train" -q -m "$MODEL" "${tiny[@]}" --output-dir stream > /dev/null
	cmp operands/t.safetensors stream/t.safetensors
	# A second part without its end record is noticed.
	{ cat parts.tar; head -c 20000 second.tar; } > cut.tar
	status_of 3 "$BIN/lora-train" -q -m "$MODEL" "${tiny[@]}" --output-dir cut cut.tar
}

@test "a reader that goes away: filters die of SIGPIPE and say nothing" {
	run bash -c '"$@" 2> err | head -c 1 > /dev/null; echo "${PIPESTATUS[0]}"' - "$BIN/lora-prep" -q "${PREP[@]}" \
		"$ROOT/demo/train" --reg "$ROOT/demo/reg"
	[ "$output" = 141 ]
	[ ! -s err ]
	run bash -c '"$@" 2> err | head -c 1 > /dev/null; echo "${PIPESTATUS[0]}"' - "$BIN/lora-encode" \
		-q -m "$MODEL" "$ALL"
	[ "$output" = 141 ]
	[ ! -s err ]
	run bash -c '{ "$@" 2> err; echo $? > status; } | true; cat status' - "$BIN/lora-sample" -q -m "$MODEL" -W 64 \
		-H 64 --steps 1 -p x -o -
	[ "$output" = 141 ]
	[ ! -s err ]
	run bash -c '{ sleep 0.2; "$@" 2> err; echo $? > status; } | true; cat status' - "$BIN/lora-inspect" \
		--keys "$MODEL/unet/diffusion_pytorch_model.safetensors"
	[ "$output" = 141 ]
	[ ! -s err ]
}

@test "lora-train goes on when the reader of its metrics goes away: one warning, the same adapter" {
	train 6 whole > /dev/null
	run bash -c '{ "$@" 2> err; echo $? > status; } | head -n 1 > /dev/null; cat status' - "$BIN/lora-train" \
		-q -m "$MODEL" --network-dim 4 \
		--network-train-unet-only --train-batch-size 2 --learning-rate 1e-3 --lr-scheduler cosine \
		--lr-warmup-steps 2 --max-train-steps 6 \
		--output-dir alone --output-name t --save-state "$LATENTS"
	[ "$output" = 0 ]
	[ "$(grep -c . err)" = 1 ]
	grep -q "warning: standard output" err
	cmp whole/t.safetensors alone/t.safetensors
}

# on_terminal STATUS COMMAND: a shell command whose standard streams are a terminal; what it showed in "seen"
on_terminal() {
	local want=$1; shift
	status_of "$want" script -qec "$*" seen < /dev/null
}

@test "binary to a terminal is refused, and so is reading from one" {
	on_terminal 2 "$BIN/lora-prep -q ${PREP[*]} $BATS_FILE_TMPDIR/four"
	grep -q 'terminal' seen
	lacks seen PNG
	on_terminal 2 "$BIN/lora-encode -q -m $MODEL $IMAGES"
	grep -q terminal seen
	on_terminal 2 "$BIN/lora-sample -q -m $MODEL -W 64 -H 64 --steps 1 -p x -o -"
	grep -q terminal seen
	on_terminal 2 "$BIN/lora-encode -q -m $MODEL -o l.tar"
	grep -q 'lora-prep DIR' seen
	on_terminal 2 "$BIN/lora-train -q -m $MODEL --output-dir out"
	grep -q 'lora-encode' seen
	[ ! -e l.tar ]
}

@test "a progress bar on a terminal only" {
	on_terminal 0 "$BIN/lora-encode -m $MODEL -o l.tar $IMAGES"
	grep -q "$(printf '\r')" seen
	"$BIN/lora-encode" -m "$MODEL" -o l.tar "$IMAGES" 2> err
	lacks err "$(printf '\r')"
}

@test "closed standard streams, in all eight combinations" {
	local i status
	reference=$(sum "$LATENTS")
	for i in 0 1 2 3 4 5 6 7; do
		for tool in prep encode train sample inspect; do
			case $tool in
			prep) set -- "$BIN/lora-prep" -q "${PREP[@]}" -o out.$i.tar "$BATS_FILE_TMPDIR/four" ;;
			encode) set -- "$BIN/lora-encode" -q -m "$MODEL" -o lat.$i.tar "$IMAGES" ;;
			train) set -- "$BIN/lora-train" -q -m "$MODEL" "${tiny[@]}" --output-dir run.$i "$LATENTS" ;;
			sample) set -- "$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 -p x \
				--grid grid.$i.png ;;
			inspect) set -- "$BIN/lora-inspect" --verify "$LATENTS" ;;
			esac
			status=0
			bash -c '(( $0 & 1 )) && exec 0<&-; (( $0 & 2 )) && exec 1>&-; (( $0 & 4 )) && exec 2>&-; exec "$@"' $i "$@" > shown 2> err || status=$?
			# What is printed on a closed standard output is lost, and lora-inspect has nothing but that.
			if [ $tool = inspect ] && [ $((i & 2)) != 0 ]; then [ $status = 4 ]; else [ $status = 0 ]; fi ||
				{ echo "$tool, combination $i: status $status: $(cat err)"; return 1; }
		done
		[ "$(sum lat.$i.tar)" = "$reference" ]
		cmp out.$i.tar "$IMAGES"
		cmp run.$i/t.safetensors run.0/t.safetensors
		cmp grid.$i.png grid.0.png
	done
}

@test "slow readers that take a few bytes at a time: no deadlock, the same bytes" {
	# Diamond: the image tar goes to the encoder and to a slow second reader through tee.
	mkfifo side
	(exec 3>&-; dd of=copy.tar bs=512 status=none < side) & other=$!
	timeout 120 "$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" | tee side | dd bs=512 status=none |
		"$BIN/lora-encode" -q -m "$MODEL" | dd bs=700 status=none > l.tar
	wait $other
	cmp l.tar "$LATENTS"
	cmp copy.tar "$IMAGES"
}

@test "nothing is left in the folder for temporary files" {
	mkdir tmp
	export TMPDIR=$PWD/tmp
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" | "$BIN/lora-encode" -q -m "$MODEL" -o l.tar
	train 2 out > /dev/null
	strace -f -qq -e trace=openat,open -o trace "$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 -p x \
		-o x.png > /dev/null 2> err ||
		skip "strace may not trace here: $(tail -n 1 err)"
	grep -v "$PWD" trace > elsewhere
	lacks elsewhere '"/(tmp|var/tmp|dev/shm)/[^"]*".*O_CREAT'
	[ -z "$(ls -A tmp)" ]
}

@test "same bytes whatever the locale and the time zone" {
	"$BIN/lora-encode" -q -m "$MODEL" "$IMAGES" > a.tar
	LC_ALL=C.UTF-8 TZ=Pacific/Apia "$BIN/lora-encode" -q -m "$MODEL" "$IMAGES" > b.tar
	LC_ALL=C TZ=UTC OMP_NUM_THREADS=3 "$BIN/lora-encode" -q -m "$MODEL" "$IMAGES" > c.tar
	cmp a.tar b.tar
	cmp a.tar c.tar
	cmp a.tar "$LATENTS"
}

# stalled file|pipe FOLDER: a run whose standard output is a pipe that nobody reads any more, told to stop; its
# standard error is FOLDER.err, or the same pipe
stalled() {
	local err=$1 out=$2
	mkfifo "$out.pipe"
	sleep 600 < "$out.pipe" 3>&- & reader=$!
	exec 7> "$out.pipe"
	timeout 9 head -c 61440 /dev/zero >&7                   # a pipe holds 65536: room for the lines of a few steps
	[ "$err" = file ] && exec 8> "$out.err" || exec 8>&7
	"$BIN/lora-train" -m "$MODEL" --network-dim 2 --network-train-unet-only --max-train-steps 100000 --save-state \
		--threads 1 --output-name t --output-dir "$out" "$LATENTS" >&7 2>&8 3>&- 7>&- 8>&- & run=$!
	wait_for 1 idle $run && kill -TERM $run && wait_for 60 state_of "$out" || { kill -9 $run $reader; return 1; }
}
# It has written, and writes no more.  A try takes three seconds: fifty are enough.
idle() {
	local bytes
	bytes=$(sed -n 's/^wchar: //p' "/proc/$1/io")
	sleep 3
	[ "$bytes" -gt 3000 ] || return 1
	grep -qx "wchar: $bytes" "/proc/$1/io"
}
state_of() { compgen -G "$1/t-step*-state.safetensors"; }

@test "SIGTERM while nobody takes the metrics: they are lost, the state is saved, exit 75" {
	stalled file out
	wait $run && status=0 || status=$?
	kill $reader; exec 7>&- 8>&-
	[ $status = 75 ]
	grep -q 'warning: standard output: writing a line of JSON: its reader takes nothing; no more metrics' out.err
	"$BIN/lora-inspect" --verify out/*-state.safetensors
}

@test "SIGTERM while nobody takes metrics and messages, which share a pipe: the state is saved" {
	stalled pipe out
	kill $reader; exec 7>&- 8>&-
	wait $run && status=0 || status=$?
	[ $status = 75 ]
	"$BIN/lora-inspect" --verify out/*-state.safetensors
}
