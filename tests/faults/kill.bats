#!/usr/bin/env bats
# kill -9 at every system call of a save: the old files or the new ones, never another state, and nothing left over.

setup_file() {
	load ../pipe/pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar STATE4=t-step00000004-state.safetensors
	few_latents "$LATENTS"
	train 2 "$BATS_FILE_TMPDIR/old" > /dev/null
	train 4 "$BATS_FILE_TMPDIR/new" --resume "$BATS_FILE_TMPDIR/old/t-step00000002-state.safetensors" > /dev/null
}
setup() {
	load ../pipe/pipe.bash
	cd "$BATS_TEST_TMPDIR" || return 1
	strace -o trace true 2> trace.err || skip "strace may not trace here: $(tail -n 1 trace.err)"
}

# one_save: steps 3 and 4 on top of a copy of the old folder; traced by the options given.  The shell between says
# "Killed" to a file.
one_save() {
	rm -rf out; cp -r "$BATS_FILE_TMPDIR/old" out
	traced "$@"
}
traced() {
	UNDER=(bash -c '"$@"; exit $?' - strace -f -qq -o trace -e signal=none "$@")
	OMP_NUM_THREADS=1 train 4 out --resume auto > out.jsonl 2> out.err
}

is_old_or_new() { cmp -s "$1" "$2" || cmp -s "$1" "$3"; }

# sound_and_known: what the kill left under final names is whole, and is one of the two states
sound_and_known() {
	all_sound out || return 1
	is_old_or_new out/t.safetensors "$BATS_FILE_TMPDIR/old/t.safetensors" "$BATS_FILE_TMPDIR/new/t.safetensors" ||
		{ echo "the adapter is neither the old nor the new one"; return 1; }
	[ ! -e "out/$STATE4" ] || cmp -s "out/$STATE4" "$BATS_FILE_TMPDIR/new/$STATE4" ||
		{ echo "the new state differs"; return 1; }
	cmp -s out/t-step00000002-state.safetensors "$BATS_FILE_TMPDIR/old/t-step00000002-state.safetensors" ||
		{ echo "the old state is gone"; return 1; }
}

# killed_at SYSCALL N [options]: whether the N-th such call was reached and the run died of it; what it left must be
# sound
killed_at() {
	local call=$1 n=$2 status=0; shift 2
	traced_save "$@" -e "trace=$call" -e "inject=$call:signal=KILL:when=$n" || status=$?
	sound_and_known || { echo "$call number $n"; return 2; }
	[ "$status" = 0 ] || [ "$status" = 137 ] || {
		echo "$call number $n: status $status: $(cat out.err)"
		return 2
	}
	[ "$status" = 137 ]
}
traced_save() { one_save "$@"; }

# each_boundary SYSCALL [options]: kills at the first, second, ... such call until a run gets through
each_boundary() {
	local n=0 killed
	while killed=0; n=$((n + 1)); killed_at "$1" $n "${@:2}" || killed=$?; [ $killed = 0 ]; do
		[ $n -lt 100 ] || { echo "$1: no end"; return 1; }
	done
	[ $killed = 1 ] || return 1
	echo "# $1: killed $((n - 1)) times" >&3
	[ $n -gt 1 ] || { echo "$1 was never called: the test tests nothing"; return 1; }
}

@test "killed at writes from the first to the last" {
	local total n step
	one_save -e trace=write
	total=$(grep -c '^[0-9]* *write(' trace)
	# Hundreds of writes fill one temporary file after the other: every sixteenth part, and all of the last ones.
	step=$((total / 16 + 1))
	for n in $(seq 1 $step "$total") $(seq $((total - 4)) "$total"); do
		killed_at write "$n"
	done
}

@test "killed at every fsync" { each_boundary fsync; }
@test "killed at every rename" { each_boundary rename; }
@test "killed at every opening in the output folder" { each_boundary openat -P "$PWD/out" -P out; }
@test "killed at every close in the output folder" { each_boundary close -P "$PWD/out" -P out \
	-P "$PWD/out/.t.safetensors.1.tmp"; }

@test "killed at every unlink: leftovers and old states go one by one, sound ones stay" {
	# A leftover of a process that is gone, and a state more than are kept, so that there is something to unlink.
	traced_save() {
		rm -rf out; cp -r "$BATS_FILE_TMPDIR/old" out
		echo x > "out/.t.safetensors.999999999.tmp"
		cp "$BATS_FILE_TMPDIR/old/t-step00000002-state.safetensors" out/t-step00000001-state.safetensors
		traced "$@"
	}
	each_boundary unlink
	[ -z "$(temporaries out)" ]
	[ "$(cd out && echo *-state.safetensors)" = \
		"t-step00000002-state.safetensors t-step00000004-state.safetensors" ]
}

@test "every rename comes after an fsync of its file, and an fsync of the folder follows" {
	one_save -y -e trace=fsync,rename
	# file fsync, rename, folder fsync: in this order for each file under a final name
	sed -E 's/^[0-9]+ +//' trace | grep -E '^(fsync|rename)' > order
	[ "$(grep -c '^rename' order)" = 2 ]
	awk '/^fsync/ && /\.tmp>/ { synced = 1 } /^rename/ { if (!synced) exit 1; synced = 0; renamed = 1; n++ }
		/^fsync/ && !/\.tmp>/ { renamed = 0 }
		END { if (renamed || n != 2) exit 1 }' order || { cat order; return 1; }
}

@test "what a killed writer left is removed by the next start" {
	one_save -e trace=fsync -e inject=fsync:signal=KILL:when=1 || true
	[ -n "$(temporaries out)" ]
	UNDER=()
	train 4 out --resume auto > /dev/null
	[ -z "$(temporaries out)" ]
	cmp out/t.safetensors "$BATS_FILE_TMPDIR/new/t.safetensors"
	cmp "out/$STATE4" "$BATS_FILE_TMPDIR/new/$STATE4"
}

# fails_at SYSCALL ERROR WHEN: status 4, what was there before stays, and no temporary
fails_at() {
	local status=0
	one_save -e "trace=$1" -e "inject=$1:error=$2:when=$3" || status=$?
	[ "$status" = 4 ] || { echo "$1 $2 $3: status $status: $(cat out.err)"; return 1; }
	sound_and_known && [ -z "$(temporaries out)" ] || { echo "$1 $2 $3"; ls -a out; return 1; }
}

@test "a write, fsync or rename that fails is status 4, once or for good, and the old files stay" {
	local n writes
	one_save -y -e trace=write
	# The first and the last write to each of the two temporaries; the others go to standard output.
	writes=$(grep 'write(' trace | grep -n '\.tmp>' | cut -d: -f1)
	for n in $(head -n 1 <<< "$writes") $(sed -n 700p <<< "$writes") $(tail -n 1 <<< "$writes"); do
		fails_at write ENOSPC "$n"
		[[ "$(cat out.err)" == *"out/t"*"No space left"* ]]
		fails_at write ENOSPC "$n+"
	done
	for n in 1 2 3 4 1+ 3+; do fails_at fsync EIO "$n"; done
	for n in 1 2 1+; do fails_at rename EACCES "$n"; done
	UNDER=()
	train 4 out --resume auto > /dev/null
	cmp out/t.safetensors "$BATS_FILE_TMPDIR/new/t.safetensors"
}

@test "interrupted writes lose nothing" {
	one_save -e trace=write -e inject=write:error=EINTR:when=2+3
	grep -q EINTR trace
	cmp out/t.safetensors "$BATS_FILE_TMPDIR/new/t.safetensors"
	cmp "out/$STATE4" "$BATS_FILE_TMPDIR/new/$STATE4"
}
