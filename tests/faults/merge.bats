#!/usr/bin/env bats
# lora-merge writes a whole model or none: killed at its writes and renames, and after a death nothing stays for good.

setup_file() {
	load ../pipe/pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar ADAPTER=$BATS_FILE_TMPDIR/run/t.safetensors \
		WHOLE=$BATS_FILE_TMPDIR/whole
	few_latents "$LATENTS"
	train 3 "$BATS_FILE_TMPDIR/run" > /dev/null
	"$BIN/lora-merge" into -q -m "$MODEL" --lora "$ADAPTER" -o "$WHOLE" > /dev/null
}
setup() {
	load ../pipe/pipe.bash
	cd "$BATS_TEST_TMPDIR" || return 1
	strace -o trace true 2> trace.err || skip "strace may not trace here: $(tail -n 1 trace.err)"
}

# killed_at SYSCALL N: 0 when it died of it; what stands under the name is the whole model or nothing
killed_at() {
	local status=0
	bash -c '"$@"; exit $?' - strace -f -qq -o trace -e signal=none -e trace="$1" \
		-e inject="$1:signal=KILL:when=$2" \
		"$BIN/lora-merge" into -q -m "$MODEL" --lora "$ADAPTER" -o merged > out 2> err || status=$?
	[ ! -e merged ] || diff -r merged "$WHOLE" || return 2
	[ $status = 0 ] || [ $status = 137 ] || { echo "$1 number $2: status $status: $(cat err)"; return 2; }
	[ $status = 137 ]
}

@test "killed at writes, renames and closes: the whole model or none" {
	local call n killed
	for call in write rename fsync mkdir; do
		for n in 1 2 3 5 8 13 21 34; do
			rm -rf merged
			killed=0; killed_at $call $n || killed=$?
			[ $killed != 2 ] || return 1
			[ $killed = 0 ] || break
		done
	done
	rm -rf merged
	"$BIN/lora-merge" into -q -m "$MODEL" --lora "$ADAPTER" -o merged > /dev/null
	diff -r merged "$WHOLE"
	# The next start took away what the dead ones left.
	[ -z "$(find . -name '.merged.*')" ]
}

@test "a model that is there already is not written over" {
	mkdir merged && echo mine > merged/model_index.json
	run "$BIN/lora-merge" into -q -m "$MODEL" --lora "$ADAPTER" -o merged
	[ "$status" -ne 0 ]
	[ "$(cat merged/model_index.json)" = mine ]
	run "$BIN/lora-merge" into -q -m "$MODEL" --lora "$ADAPTER" -o "$MODEL"
	[ "$status" -ne 0 ]
}
