#!/usr/bin/env bats
# Signals and the clock: stop saved, save and go on, stop at once.  What follows with --resume auto gives the bytes of a
# straight run.

setup_file() {
	load ../pipe/pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar STRAIGHT=$BATS_FILE_TMPDIR/straight STEPS=120
	few_latents "$LATENTS"
	train $STEPS "$STRAIGHT" > /dev/null
}
setup() { load ../pipe/pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

# begin [options]: a run in the background that has done a step; $pid, log.jsonl, err.  Background jobs of a script
# ignore SIGINT.
begin() {
	UNDER=(env --default-signal=INT,HUP,TERM)
	: > log.jsonl
	train_exec $STEPS out "$@" > log.jsonl 2> err 3>&- & pid=$!
	wait_for 60 grep -q '"step":3,"epoch"' log.jsonl
}
# ended STATUS
ended() {
	local status=0
	wait $pid || status=$?
	[ $status = "$1" ] || { echo "status $status, not $1: $(cat err)"; return 1; }
}
steps_done() { jq -s 'map(select(.event == "step").step) | max' log.jsonl; }
goes_on() {
	UNDER=()
	train $STEPS out --resume auto > more.jsonl
	cmp out/t.safetensors "$STRAIGHT/t.safetensors"
	cmp "out/t-step00000$STEPS-state.safetensors" "$STRAIGHT/t-step00000$STEPS-state.safetensors"
	# Not a step is lost or done twice.
	[ "$(jq -s 'map(select(.event == "step").step) | min' more.jsonl)" = $(($(steps_done) + 1)) ]
}

@test "SIGTERM: the step is finished, the state saved, status 75; resumed, the same bytes" {
	begin
	kill -TERM $pid
	ended 75
	[ "$(jq -r 'select(.event == "end").why' log.jsonl)" = SIGTERM ]
	[ -e "out/t-step$(printf %08d "$(steps_done)")-state.safetensors" ]
	[ ! -e out/t.safetensors ]
	all_sound out
	goes_on
}

@test "SIGHUP is the same, unless nohup" {
	begin
	kill -HUP $pid
	ended 75
	rm -rf out
	UNDER=(nohup)
	: > log.jsonl           # the first run's step is no sign that the second one has begun
	train_exec 12 out > log.jsonl 2> err 3>&- & pid=$!
	wait_for 60 grep -q '"step":1,"epoch"' log.jsonl
	kill -HUP $pid
	ended 0
}

@test "SIGINT: saved, then death by SIGINT, so that the shell stops too" {
	begin
	kill -INT $pid
	ended 130
	[ -e "out/t-step$(printf %08d "$(steps_done)")-state.safetensors" ]
	goes_on
}

@test "SIGUSR1: an adapter and a state now, and the run goes on, to the same bytes" {
	begin
	kill -USR1 $pid
	wait_for 60 grep -q '"event":"state"' log.jsonl
	kill -0 $pid
	saved=$(jq -r 'select(.event == "state").path' log.jsonl | head -n 1)
	"$BIN/lora-inspect" --verify "$saved" "${saved%-state.safetensors}.safetensors" > /dev/null
	ended 0
	cmp out/t.safetensors "$STRAIGHT/t.safetensors"
}

# twice SIGNAL: stopped, it cannot finish its step between the two
twice() { kill -STOP $pid; kill "-$1" $pid; kill -CONT $pid; kill "-$1" $pid; }

@test "a second SIGTERM or SIGHUP in a row changes nothing: saved, status 75" {
	for signal in TERM HUP; do
		rm -rf out
		begin
		twice $signal
		ended 75
		[ -e "out/t-step$(printf %08d "$(steps_done)")-state.safetensors" ]
	done
	rm -rf out
	begin
	kill -TERM $pid; kill -HUP $pid; kill -TERM $pid
	ended 75
	goes_on
}

@test "a second SIGINT stops at once, and what is on disk is sound" {
	begin --save-every-n-steps 1
	twice INT
	ended 130
	all_sound out
	UNDER=()
	train $STEPS out --resume auto > /dev/null
	cmp out/t.safetensors "$STRAIGHT/t.safetensors"
	[ -z "$(temporaries out)" ]
}

@test "SIGTERM, SIGINT and SIGHUP before the first step end the program at once: nothing is saved" {
	UNDER=(env --default-signal=INT,HUP,TERM)
	mkfifo latents
	for signal in TERM INT HUP; do
		rm -rf out log.jsonl
		# It waits for latents that never come.
		sleep 60 > latents 3>&- & holder=$!
		LATENTS=latents train_exec $STEPS out > log.jsonl 2> err 3>&- & pid=$!
		wait_for 60 test -e out/.t.lock
		kill -$signal $pid
		ended $((128 + $(kill -l $signal)))
		kill $holder; wait $holder || true
		rm log.jsonl
		# It paints its first pictures, at length.
		echo "a ball --w 128 --h 128 --s 900" > prompts.txt
		train_exec $STEPS out --sample-prompts prompts.txt --sample-at-first > log.jsonl 2> err 3>&- & pid=$!
		wait_for 60 grep -q '"event":"start"' log.jsonl
		kill -$signal $pid
		ended $((128 + $(kill -l $signal)))
		[ "$(ls out)" = "" ] || [ "$(ls out)" = sample ]
	done
	UNDER=()
	train 3 out > /dev/null
	[ -e out/t.safetensors ]
}

@test "--max-duration: status 75 with a saved state; again and again until it is done" {
	local n status=75
	for n in $(seq 60); do
		status=0
		train $STEPS out --resume auto --max-duration 0.5s > log.jsonl 2> err || status=$?
		[ $status = 75 ] || break
		[ "$(jq -r 'select(.event == "end").why' log.jsonl)" = "time limit" ]
	done
	[ $status = 0 ]
	[ "$n" -gt 1 ]
	cmp out/t.safetensors "$STRAIGHT/t.safetensors"
	# nothing is left of the time: a step, saved
	status_of 75 train $STEPS over --max-duration 0
	[ -e over/t-step00000001-state.safetensors ]
	status_of 2 train $STEPS out --max-duration soon
	[[ "$output" == *soon*5h45m* ]]
}

@test "twenty signals at random moments: always saved or done, never a torn file" {
	local i status
	UNDER=(env --default-signal=INT,HUP,TERM)
	for i in $(seq 20); do
		train_exec $STEPS out --resume auto > log.jsonl 2> err 3>&- & pid=$!
		sleep "0.$((RANDOM % 3))$((RANDOM % 10))"
		kill -TERM $pid 2> /dev/null || true
		status=0; wait $pid || status=$?
		# 143: it had not begun yet
		[ $status = 75 ] || [ $status = 0 ] || [ $status = 143 ] ||
			{ echo "status $status: $(cat err)"; return 1; }
		all_sound out
	done
	UNDER=()
	train $STEPS out --resume auto > /dev/null
	cmp out/t.safetensors "$STRAIGHT/t.safetensors"
}

@test "filters die of their signals and leave no temporary that stays" {
	mkfifo stuck
	sleep 60 > stuck & holder=$!
	"$BIN/lora-encode" -q -m "$MODEL" -o l.tar < stuck 2> err 3>&- & pid=$!
	wait_for 60 test -n "$(echo .l.tar.*)" || true
	wait_for 60 bash -c 'ls -A | grep -q "^\.l\.tar\..*tmp"'
	kill -TERM $pid
	ended 143
	kill $holder
	[ ! -e l.tar ]
	# The next start removes what the dead one left.
	"$BIN/lora-encode" -q -m "$MODEL" -o l.tar <("$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four")
	[ "$(ls -A | grep -v '^err$\|^stuck$')" = l.tar ]
}
