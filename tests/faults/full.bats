#!/usr/bin/env bats
# Output that cannot be written: status 4, the place is named, nothing half done under its final name, what was there
# stays.

setup_file() {
	load ../pipe/pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar IMAGES=$BATS_FILE_TMPDIR/images.tar OLD=$BATS_FILE_TMPDIR/old
	few_latents "$LATENTS"
	"$BIN/lora-prep" -q "${PREP[@]}" -o "$IMAGES" "$BATS_FILE_TMPDIR/four"
	train 2 "$OLD" > /dev/null
}
setup() { load ../pipe/pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

paint=(-W 64 -H 64 --steps 1 -p "a ball")

# full STATUS NAME COMMAND...: standard output is /dev/full; the message holds NAME
full() {
	local want=$1 name=$2; shift 2
	status_of "$want" bash -c '"$@" 2>&1 > /dev/full' - "$@"
	[[ "$output" == *"$name"*"No space left"* ]] || { echo "no '$name' in: $output"; return 1; }
}

@test "/dev/full as standard output" {
	full 4 "standard output" "$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four"
	for report in --scan "-o /dev/null --report -"; do
		full 4 "lora-prep: standard output: writing a line" \
			"$BIN/lora-prep" -q "${PREP[@]}" $report "$BATS_FILE_TMPDIR/four"
	done
	full 4 "standard output" "$BIN/lora-encode" -q -m "$MODEL" "$IMAGES"
	full 4 "standard output" "$BIN/lora-sample" -q -m "$MODEL" "${paint[@]}" -o -
	full 4 "standard output" "$BIN/lora-sample" -q -m "$MODEL" "${paint[@]}" -o pictures
	full 4 "standard output" "$BIN/lora-inspect" "$LATENTS"
	full 4 "standard output" "$BIN/lora-inspect" --json "$LATENTS"
	full 4 "standard output" "$BIN/lora-train" -m "$MODEL" --print-lr --max-train-steps 3 "$LATENTS"
	local t
	for t in prep encode train sample merge inspect; do
		full 4 "standard output" "$BIN/lora-$t" --help
		full 4 "standard output" "$BIN/lora-$t" --version
	done
	full 4 "standard output" "$BIN/lora-train" --print-config
}

@test "/dev/full as -o and beside it" {
	full 4 /dev/full "$BIN/lora-prep" -q "${PREP[@]}" -o /dev/full "$BATS_FILE_TMPDIR/four"
	full 4 /dev/full "$BIN/lora-prep" -q "${PREP[@]}" -o x.tar --report /dev/full "$BATS_FILE_TMPDIR/four"
	full 4 /dev/full "$BIN/lora-encode" -q -m "$MODEL" -o /dev/full "$IMAGES"
	full 4 /dev/full "$BIN/lora-sample" -q -m "$MODEL" "${paint[@]}" -o /dev/full
	full 4 /dev/full "$BIN/lora-sample" -q -m "$MODEL" "${paint[@]}" --grid /dev/full
	full 4 /dev/full "$BIN/lora-sample" -q -m "$MODEL" "${paint[@]}" --grid s.png --save-latents /dev/full
	full 4 /dev/full "$BIN/lora-merge" into -q -m "$MODEL" --lora "$OLD/t.safetensors" -o merged --report /dev/full
	[ -c /dev/full ]
}

@test "lora-train whose metrics cannot be written finishes, saves, and is status 4" {
	train 3 out > whole.jsonl
	run bash -c '"$@" 2>&1 > /dev/full' - "$BIN/lora-train" -q -m "$MODEL" --network-dim 4 \
		--network-train-unet-only --train-batch-size 2 \
		--learning-rate 1e-3 --lr-scheduler cosine --lr-warmup-steps 2 --max-train-steps 3 --output-dir lost \
		--output-name t --save-state "$LATENTS"
	[ "$status" -eq 4 ]
	[ "$(grep -c warning <<< "$output")" = 1 ]
	cmp out/t.safetensors lost/t.safetensors
}

# in_small SIZE COMMAND: a shell command inside a folder "disk" of SIZE KiB that is its own file system, in a namespace
# of its own
in_small() {
	mkdir -p disk
	unshare -Urm true 2> unshare.err || skip "no namespaces here: $(tail -n 1 unshare.err)"
	# The user's number is another in there; the command runs as its own root.
	UNDER=() BIN=$BIN MODEL=$MODEL LATENTS=$LATENTS IMAGES=$IMAGES OLD=$OLD timeout 120 \
		unshare -Urm bash -c 'mount -t tmpfs -o size='"$1"'k tmpfs disk || exit 99; '"$2"
}

@test "a small disk: lora-encode is status 4, no file under its name" {
	in_small 64 '"$BIN/lora-encode" -q -m "$MODEL" -o disk/l.tar "$IMAGES" 2> err; echo $? > status; ls -A disk > left'
	[ "$(cat status)" = 4 ]
	[ -z "$(cat left)" ]
	grep -q 'disk/l.tar: writing.*No space left' err
}

@test "a small disk: lora-encode leaves the old file as it was" {
	in_small 64 'echo old > disk/l.tar; "$BIN/lora-encode" -q -m "$MODEL" -o disk/l.tar "$IMAGES" 2> err; echo $? > status; cat disk/l.tar > left; ls -A disk | wc -l >> left'
	[ "$(cat status)" = 4 ]
	[ "$(cat left)" = "old
1" ]
}

@test "a small disk: lora-prep and lora-sample too" {
	in_small 4 '"$BIN/lora-prep" -q --resolution 64 --min-bucket-reso 48 --max-bucket-reso 80 \
			--bucket-reso-steps 16 -o disk/i.tar "$(dirname "$IMAGES")/four" 2> err
		echo $? > status
		"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 -p x -o disk/x.png 2>> err
		echo $? >> status; ls -A disk > left'
	[ "$(cat status)" = "4
4" ]
	[ -z "$(cat left)" ]
}

@test "a small disk: lora-prep leaves no report with a torn line" {
	mkdir many
	cp "$(dirname "$IMAGES")/four"/* many/
	for i in {1..60}; do : > "many/empty$i.png"; done
	in_small 4 '"$BIN/lora-prep" -q --report disk/r.jsonl -o /dev/null many 2> err; echo $? > status; ls -A disk > left'
	[ "$(cat status)" = 4 ]
	[ -z "$(cat left)" ]
	grep -q 'disk/r.jsonl.*No space left' err
}

@test "a small disk: lora-merge leaves no model" {
	in_small 64 '"$BIN/lora-merge" into -q -m "$MODEL" --lora "$OLD/t.safetensors" -o disk/merged 2> err > out; echo $? > status; ls -A disk > left'
	[ "$(cat status)" = 4 ]
	[ -z "$(cat left)" ]
	grep -q 'disk/.*merged.*No space left' err
}

@test "a small disk: lora-train is status 4 before its first step, no adapter; the older adapter stays" {
	in_small 64 '"$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --network-train-unet-only --max-train-steps 2 \
			--output-dir disk --output-name t "$LATENTS" 2> err > out
		echo $? > status; ls -A disk > left'
	[ "$(cat status)" = 4 ]
	[ "$(cat left)" = .t.lock ]
	grep -q 'disk/t.safetensors: writing.*No space left' err
	lacks out '"event":"step"'
	in_small 64 'echo old > disk/t.safetensors
		"$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --network-train-unet-only --max-train-steps 2 --output-dir disk \
		--output-name t "$LATENTS" 2> err > out; echo $? > status; cat disk/t.safetensors > left'
	[ "$(cat status)" = 4 ]
	[ "$(cat left)" = old ]
}

@test "a save on the way that finds no room is a warning, and the next one that does is taken" {
	# 2000 KiB hold two adapters, and one of them is the last; a file in the way takes the room from the first step
	# until step 3 is out.
	in_small 2000 '"$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --network-train-unet-only --max-train-steps 400 \
		--save-every-n-steps 2 --output-dir disk --output-name t "$LATENTS" 2> err > out & pid=$!
		for i in $(seq 1500); do grep -q "event\":\"start" out 2> /dev/null && break; sleep 0.002; done
		kill -STOP $pid; grep -q "event\":\"save" out && echo "too late" >> err; head -c 1200000 /dev/zero > disk/way; kill -CONT $pid
		for i in $(seq 1500); do grep -q "\"step\":3,\"epoch\"" out 2> /dev/null && break; sleep 0.02; done
		rm disk/way; for i in $(seq 1500); do grep -q "event\":\"save" out && break; sleep 0.02; done
		kill -9 $pid; wait $pid; ls disk > left'
	grep -q 'warning: disk: what is saved takes' err
	grep -q 'warning: disk/t-step00000002.safetensors: .*training goes on' err
	grep -q '^t-step.*safetensors$' left
}

# kept SIZE RANK [options]: a run of ten steps on a disk of SIZE KiB; its status, what it said and what is left
kept() {
	local size=$1; shift
	rm -rf disk
	in_small "$size" '"$BIN/lora-train" -m "$MODEL" --network-dim 4 --network-train-unet-only --max-train-steps 10 --output-dir disk --output-name t '"$*"' \
		"$LATENTS" 2> err > out; echo $? > status; ls disk > left
		[ ! -e disk/t.safetensors ] || cp disk/t.safetensors .'
}

@test "a disk for the adapter alone: said before the first step; whatever is saved on the way, the last adapter is there" {
	kept 20000
	[ "$(cat status)" = 0 ]
	lacks err warning
	mv t.safetensors whole
	while read -r size want says options; do
		kept "$size" "$options"
		[ "$(cat status)" = "$want" ] || { echo "$size $options: $(cat status)"; cat err; return 1; }
		sed '/steps 1 to 10/q' err | grep -q "warning: disk.*${says//_/ }" || {
			echo "$size $options"
			cat err; return 1
		}
		cmp t.safetensors whole
		rm t.safetensors
	done <<- 'END'
		1000 4 t-step00000010-state.safetensors:_writing --save-state-on-train-end
		1000 4 t-step00000010-state.safetensors:_writing --save-state --save-every-n-steps 1
		1000 0 what_is_saved_takes --save-every-n-steps 1
		4000 4 what_is_saved_takes --save-state --save-every-n-steps 2
		8000 4 what_is_saved_takes --save-state --save-every-n-steps 2
		5000 4 what_is_saved_takes --save-state --save-every-minutes 0.00001
	END
	# What rotation removes again needs no room.
	kept 3500 --save-every-n-steps 1 --save-last-n 2
	[ "$(cat status)" = 0 ]
	lacks err warning
	kept 10500 --save-every-n-steps 2 --save-last-n-steps 1 --save-state
	[ "$(cat status)" = 0 ]
	lacks err warning
}

@test "stopped where there is no room for a state: status 4, and an adapter of that step" {
	in_small 1500 '"$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --network-train-unet-only --max-train-steps 4000 \
		--output-dir disk --output-name t \
		"$LATENTS" 2> err > out & pid=$!
		for i in $(seq 1500); do grep -q "\"step\":3,\"epoch\"" out 2> /dev/null && break; sleep 0.02; done
		kill -TERM $pid; wait $pid; echo $? > status; ls disk > left; cp disk/*.safetensors .'
	[ "$(cat status)" = 4 ]
	grep -q 'warning: step [0-9]* has no state to go on from, only an adapter' err
	[[ "$(cat left)" == t-step????????.safetensors ]]
	all_sound .
}

@test "--check knows the room as a run does" {
	check() { in_small "$1" \
		'"$BIN/lora-train" --check -m "$MODEL" --network-dim 4 --network-train-unet-only --max-train-steps 10 --output-dir disk \
		--output-name t '"$2"' 2> err > out; echo $? > status'; }
	while read -r size want says options; do
		check "$size" "$options"
		[ "$(cat status)" = "$want" ] || { echo "$size $options: $(cat status)"; cat err; return 1; }
		[ "$want" = 0 ] || grep -q "$says" err
	done <<- 'END'
		400 4 t.safetensors:.writing
		1000 0 -
		1000 4 state.safetensors:.writing --save-state
		4000 4 what.is.saved.takes --save-every-n-steps 2
		8000 0 - --save-every-n-steps 2
	END
	status_of 4 bash -c 'ulimit -f 400; "$@"' - "$BIN/lora-train" --check -m "$MODEL" --network-dim 4 \
		--network-train-unet-only --output-dir small
	[[ "$output" == *"too large"*"ulimit -f"* ]] || { echo "$output"; return 1; }
}

@test "a limit on the size of files (ulimit -f) is status 4, not a death by SIGXFSZ" {
	status_of 4 bash -c 'ulimit -f 16; "$@" 2>&1' - "$BIN/lora-encode" -q -m "$MODEL" -o l.tar "$IMAGES"
	[[ "$output" == *l.tar*"too large"* ]]
	[ -z "$(ls -A)" ]
	status_of 4 bash -c 'ulimit -f 16; "$@" 2>&1 > /dev/null' - "$BIN/lora-train" -q -m "$MODEL" --network-dim 4 \
		--network-train-unet-only \
		--max-train-steps 1 --output-dir out --output-name t "$LATENTS"
	[ "$(ls -A out)" = .t.lock ]
}

# reads STATUS FILE INJECTION COMMAND...: what happens to reads of one file
reads() {
	local want=$1 file=$2 how=$3; shift 3
	status_of "$want" strace -f -qq -o trace -P "$file" -e "inject=read:$how" "$@"
	grep -q INJECTED trace
	[ "$want" = 0 ] || [[ "$output" == *"$file"* ]]
}

@test "a read that fails is status 4 and names the file; one that is interrupted is read again" {
	strace -o trace true 2> trace.err || skip "strace may not trace here: $(tail -n 1 trace.err)"
	local encode=("$BIN/lora-encode" -q -m "$MODEL" -o l.tar "$IMAGES") config
	config=$(realpath "$MODEL/unet/config.json")
	for n in 1 2; do
		reads 4 "$IMAGES" error=EIO:when=$n "${encode[@]}"
		[ ! -e l.tar ]
		[ -z "$(temporaries .)" ]
	done
	reads 0 "$IMAGES" error=EINTR:when=1+2 "${encode[@]}"
	cmp l.tar "$LATENTS"
	reads 4 "$LATENTS" error=EIO:when=2 "$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only \
		--max-train-steps 1 --output-dir out "$LATENTS"
	reads 4 "$config" error=EIO:when=1 "$BIN/lora-train" -q -m "$(dirname "$(dirname "$config")")" \
		--network-train-unet-only --max-train-steps 1 \
		--output-dir out "$LATENTS"
}
