#!/usr/bin/env bats
# lora-encode --continue: what a killed run had encoded is not encoded again, and the tar is the same byte for byte.

setup_file() {
	load ../pipe/pipe.bash
	export IMAGES=$BATS_FILE_TMPDIR/images.tar WHOLE=$BATS_FILE_TMPDIR/whole.tar
	prepare > "$IMAGES"
	"$BIN/lora-encode" -q -m "$MODEL" "$IMAGES" -o "$WHOLE"
}
setup() { load ../pipe/pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

goes_on() { "$BIN/lora-encode" -m "$MODEL" --continue -o l.tar "$@"; }
bytes() { cat .l.tar.*.tmp 2> /dev/null | wc -c; }
at_least() { [ "$(bytes)" -ge "$1" ]; }
begun() { [ "$(temporaries . | wc -l)" -ge "$1" ]; }

# killed SHARE BYTES [SIGNAL]: a run that gets a share (percent) of the pictures and is killed once its file is
# there and so many bytes are in those of all runs.  A shell without job control starts it deaf to INT.
killed() {
	local size before; size=$(stat -c %s "$IMAGES") before=$(temporaries . | wc -l)
	mkfifo pipe
	(exec env --default-signal=INT "$BIN/lora-encode" -q -m "$MODEL" --continue -o l.tar < pipe) 3>&- & pid=$!
	exec 5> pipe
	rm pipe
	head -c $((size * $1 / 100)) "$IMAGES" >&5
	wait_for 30 begun $((before + 1)) && wait_for 30 at_least "$2" || return 1
	kill "-${3:-9}" $pid
	wait $pid || true
	exec 5>&-
}

taken() { sed -n 's/.*: \([0-9]*\) of 40 samples taken over.*/\1/p' "$1"; }

@test "killed in the middle, and started again: nothing is encoded twice, the same bytes, nothing is left" {
	for signal in 9 TERM INT; do
		killed 60 1000000 $signal
		[ ! -e l.tar ]
		[ "$(temporaries . | wc -l)" = 1 ]
		goes_on "$IMAGES" 2> words
		grep -q 'going on from an interrupted run, which had encoded [1-9]' words
		[ "$(taken words)" -ge 15 ]
		cmp l.tar "$WHOLE"
		[ -z "$(temporaries .)" ]
		rm l.tar
	done
}

@test "killed again and again, sooner each time: what the first had is not lost" {
	killed 90 1500000
	killed 20 200000
	killed 5 1
	[ "$(temporaries . | wc -l)" = 3 ]
	goes_on "$IMAGES" 2> words
	[ "$(taken words)" -ge 25 ]
	cmp l.tar "$WHOLE"
	[ -z "$(temporaries .)" ]
}

@test "the finished tar is gone on with too: whole, damaged or not a tar at all" {
	goes_on -q "$IMAGES"
	goes_on "$IMAGES" 2> words
	[ "$(taken words)" = 40 ]
	cmp l.tar "$WHOLE"
	truncate -s 200000 l.tar
	goes_on "$IMAGES" 2> words
	[ "$(taken words)" = 3 ]
	grep -q 'warning: .*what is damaged is encoded again' words
	cmp l.tar "$WHOLE"
	echo rubbish > l.tar
	goes_on "$IMAGES" 2> words
	grep -q 'warning: .*every picture is encoded again' words
	cmp l.tar "$WHOLE"
	status_of 2 "$BIN/lora-encode" -m "$MODEL" --continue "$IMAGES"
}

@test "pictures that ended early leave their part too; a live run's file is let be" {
	head -c $(($(stat -c %s "$IMAGES") / 2)) "$IMAGES" > half.tar
	status_of 3 goes_on half.tar
	[ "$(temporaries . | wc -l)" = 1 ]
	goes_on "$IMAGES" 2> words
	[ "$(taken words)" -ge 15 ]
	rm l.tar
	mkfifo pipe
	(exec "$BIN/lora-encode" -q -m "$MODEL" -o l.tar < pipe) 3>&- & pid=$!
	exec 5> pipe
	head -c $(($(stat -c %s "$IMAGES") / 2)) "$IMAGES" >&5
	wait_for 30 at_least 100000
	goes_on "$IMAGES" 2> words
	lacks words interrupted
	[ "$(temporaries . | wc -l)" = 1 ]
	tail -c +$(($(stat -c %s "$IMAGES") / 2 + 1)) "$IMAGES" >&5
	exec 5>&-
	wait $pid
	cmp l.tar "$WHOLE"
}
