#!/usr/bin/env bats
# Ranks that differ, stop, stall or die: no wrong bytes, and the next start goes on with any number of them.

# shellcheck disable=SC2154    # launcher is scale.bash's

load scale.bash

# pid_of RANK OUT: of the program with that rank and output folder
pid_of() {
	local f
	for f in /proc/[0-9]*/environ; do
		if tr '\0' '\n' < "$f" | grep -qE "^(OMPI_COMM_WORLD_RANK|PMI_RANK)=$1\$" &&
			tr '\0' ' ' < "${f%environ}cmdline" | grep -q "^[^ ]*lora-train .*--output-dir $2 "; then
			basename "${f%/environ}"
			return
		fi
	done 2> /dev/null
	return 1
}

# begin N FOLDER: a run of two hundred steps in the background, that has done two; $job, a process group of its own
begin() {
	set -m
	ranks "$1" 200 "$2" --replicas 5 "${@:3}" > said 2>&1 3>&- & job=$!
	set +m
	wait_for 100 steps "$2.jsonl" 2
}

@test "SIGTERM to any rank: a state, exit 75; other numbers of ranks go on from it to the same bytes" {
	begin 3 cut
	kill -TERM "$(pid_of 1 cut)"
	wait $job && status=0 || status=$?
	[ $status = 75 ] || { echo "status $status"; cat said; return 1; }
	state=$(basename cut/t-step*-state.safetensors)
	[ "$(jq -r 'select(.event == "end").why' cut.jsonl)" = SIGTERM ]
	done=$((10#${state:6:8}))
	for n in 1 2 4; do
		cp -r cut of$n
		ranks $n $((done + 3)) of$n --replicas 5 --resume auto
		[ $n = 1 ] || same of1 of$n $((done + 3))
	done
}

@test "SIGTERM to rank 0 while it alone paints: all ranks end, with a state and exit 75" {
	echo 'a robot' > prompts.txt
	# a step takes little of the time that a picture takes; a signal that comes in a step is no other case
	begin 2 cut --sample-prompts prompts.txt --sample-every-n-steps 1
	kill -TERM "$(pid_of 0 cut)"
	wait $job && status=0 || status=$?
	[ $status = 75 ] || { echo "status $status"; cat said; return 1; }
	[ "$(jq -r 'select(.event == "end").why' cut.jsonl)" = SIGTERM ]
}

@test "a rank that is killed ends the job, and the next start goes on from the state" {
	begin 2 cut --save-every-n-steps 1 --lr-scheduler constant --lr-warmup-steps 0
	kill -KILL "$(pid_of 1 cut)"
	wait $job && status=0 || status=$?
	[ $status != 0 ]
	states=(cut/t-step*-state.safetensors)
	done=${states[-1]#*step}; done=$((10#${done:0:8}))
	ranks 3 $((done + 2)) cut --replicas 5 --lr-scheduler constant --lr-warmup-steps 0 --resume auto
	ranks 1 $((done + 2)) whole --replicas 5 --lr-scheduler constant --lr-warmup-steps 0
	cmp cut/t.safetensors whole/t.safetensors
}

# The places where a rank is killed, found in the list of a run that nothing happened to (mover.c).
# exchange RANK N: the number of its Nth exchange of sums, the move that sends most
exchange() {
	awk -v nth="$2" '{ out[NR] = $1; if ($1 > most) most = $1 } END { for (i = 1; i <= NR; i++)
		if (out[i] == most && ++n == nth) { print i; exit } }' "calm/$1"
}
# leaves RANK: where the first step's batches are done: twice around the ring before the sums, for losses and for flags
leaves() { echo $(($(exchange "$1" 1) - 4)); }
# giving RANK: the first tensor of the state that the second save takes from it; of rank 0 the first that it gets
giving() {
	awk -v from="$(exchange "$1" 2)" -v rank="$1" 'NR > from && (rank ? $1 : $2) >= 256 && !(rank ? $2 : $1) {
		print NR; exit }' "calm/$1"
}

@test "each rank killed in the first step, in the exchange, while saving: another number goes on to the same bytes" {
	plain=(--replicas 3 --lr-scheduler constant --lr-warmup-steps 0 --save-every-n-steps 1)
	ranks 1 3 whole "${plain[@]}"
	mkdir calm
	LORA_MPI=$MOVER MOVER_LIST=$PWD/calm ranks 3 3 listed "${plain[@]}"
	cmp listed/t.safetensors whole/t.safetensors
	for rank in 0 1 2; do
		for place in leaves "exchange 1" giving; do
			# shellcheck disable=SC2086    # a place may have a number
			at=$(set -- $place; "$1" $rank "${@:2}")
			rm -rf cut; status=0
			LORA_MPI=$MOVER MOVER_KILL=$rank,$at ranks 3 3 cut "${plain[@]}" > said 2>&1 || status=$?
			saved=$(find cut -name 't-step*-state.safetensors' | wc -l)
			echo "rank $rank, $place, move $at: status $status, $saved states"
			[ $status != 0 ]
			case $place in leaves | "exchange 1") [ "$saved" = 0 ] ;; *) [ "$saved" = 1 ] ;; esac
			all_sound cut
			ranks $((rank == 2 ? 4 : rank + 1)) 3 cut "${plain[@]}" --resume auto
			cmp cut/t.safetensors whole/t.safetensors
			cmp cut/t-step00000003-state.safetensors whole/t-step00000003-state.safetensors
		done
	done
}

@test "rank 0 killed amid the writing of a state: what is there is whole, and another number goes on" {
	strace -o trace true 2> trace.err || skip "strace may not trace here: $(tail -n 1 trace.err)"
	plain=(--replicas 3 --lr-scheduler constant --lr-warmup-steps 0 --save-every-n-steps 1)
	ranks 1 3 whole "${plain[@]}"
	one=("$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --network-train-unet-only --learning-rate 1e-3
		--max-train-steps 3 --output-dir cut --output-name t --save-state "${plain[@]}" "$LATENTS")
	# a step's adapter, its folder, its state, the folder: in the first step and in the second
	for when in 3 7; do
		rm -rf cut; status=0
		timeout 300 "${launcher[@]}" -n 1 strace -f -qq -o trace -e trace=fsync \
			-e inject=fsync:signal=KILL:when=$when "${one[@]}" : -n 2 "${one[@]}" > said 2>&1 || status=$?
		[ $status != 0 ]
		[ "$(temporaries cut | wc -l)" = 1 ]
		all_sound cut
		ranks 2 3 cut "${plain[@]}" --resume auto
		cmp cut/t.safetensors whole/t.safetensors
		cmp cut/t-step00000003-state.safetensors whole/t-step00000003-state.safetensors
	done
}

# stopped PID: SIGSTOP came to it
stopped() { grep -q '^State:.T' "/proc/$1/status"; }

# Rank 1 stops where its batches of the third step begin: elsewhere the others would lose the time in another wait.
@test "a rank that stalls costs time alone, and its name is in the log" {
	plain=(--replicas 5 --lr-scheduler constant --lr-warmup-steps 0)
	ranks 1 6 whole "${plain[@]}"
	mkdir calm
	LORA_MPI=$MOVER MOVER_LIST=$PWD/calm ranks 3 4 listed "${plain[@]}"
	at=$(($(exchange 1 3) - 5))
	LORA_MPI=$MOVER MOVER_STOP=1,$at begin 3 slow "${plain[@]:2}"
	pid=$(pid_of 1 slow)
	wait_for 60 stopped "$pid"
	sleep 4
	kill -CONT "$pid"
	wait_for 60 steps slow.jsonl 4
	kill -TERM "$pid"
	wait $job && status=0 || status=$?
	[ $status = 75 ]
	jq -c 'select(.event == "step").wait_ms' slow.jsonl | tee waits
	jq -e '.[0] > 2000 and .[1] < 1000 and .[2] > 2000' <<< "$(sed -n 3p waits)"
	diff <(numbers whole.jsonl | head -n 3) <(numbers slow.jsonl | head -n 3)
}

@test "ranks that would train something else are refused before the first step" {
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/set" --caption-extension .none |
		"$BIN/lora-encode" -q -m "$MODEL" -o other.tar
	one=("$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --output-dir out --output-name t --max-train-steps 2
		--replicas 2 --network-train-unet-only)
	status_of 2 "${launcher[@]}" -n 1 "${one[@]}" "$LATENTS" : -n 1 "${one[@]}" other.tar
	[[ $output == *"lora-train: rank 1 has data="*", rank 0 data="*": they would not train the same adapter"* ]]
	[ "$(grep -c 'would not train' <<< "$output")" = 1 ]
	status_of 2 "${launcher[@]}" -n 1 "${one[@]}" "$LATENTS" : -n 1 "${one[@]}" --learning-rate 1e-5 "$LATENTS"
	[[ $output == *"rank 1 has "*"learning_rate"* ]]
	status_of 3 "${launcher[@]}" -n 1 "${one[@]}" "$LATENTS" : -n 1 "${one[@]}" nowhere.tar
	[[ $output == *"rank 1: nowhere.tar"* ]]
	[ -z "$(compgen -G 'out/*.safetensors')" ]
}

@test "a full disk under rank 0: exit 4, and what is there is whole" {
	export -f ranks
	declare -p launcher BIN MODEL LATENTS > words
	mkdir disk
	unshare -Urm true 2> /dev/null || skip "no name spaces"
	status_of 4 unshare -Urm bash -c ". ./words; mount -t tmpfs -o size=300k tmpfs disk || exit 99
		ranks 2 4 disk --replicas 2 --save-every-n-steps 1 --log log.jsonl; status=\$?
		cp -r disk after; exit \$status"
	[[ $output == *"No space left on device"* ]]
	all_sound after
}

@test "a run that diverges ends on all ranks with status 6" {
	status_of 6 ranks 3 30 out --replicas 5 --learning-rate 1e6 --lr-scheduler constant --lr-warmup-steps 0
	[ "$(grep -c 'was not finite for 10 steps' <<< "$output")" = 1 ]
}

@test "without the engine a launcher's ranks are refused, and one program needs none" {
	LORA_MPI=nowhere.so status_of 5 "${launcher[@]}" -n 2 "$BIN/lora-train" -q -m "$MODEL" "$LATENTS"
	[[ $output == *"started several ranks, but they cannot be connected"* && $output != *"LORA_MPI is no setting"* ]]
	LORA_MPI=nowhere.so "$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --max-train-steps 1 --output-dir alone \
		--output-name t "$LATENTS" > /dev/null
	[ -e alone/t.safetensors ]
}
