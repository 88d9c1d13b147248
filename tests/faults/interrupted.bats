#!/usr/bin/env bats
# A system call that a signal interrupts is made again: every other call on every file of a run, in all six tools, and
# the bytes are the same.

setup_file() {
	load ../pipe/pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar IMAGES=$BATS_FILE_TMPDIR/images.tar \
		ADAPTER=$BATS_FILE_TMPDIR/a/t.safetensors
	few_latents "$LATENTS"
	"$BIN/lora-prep" -q "${PREP[@]}" -o "$IMAGES" "$BATS_FILE_TMPDIR/four"
	train 2 "$BATS_FILE_TMPDIR/a" > /dev/null
	strace -qq -o /dev/null true 2> /dev/null || touch "$BATS_FILE_TMPDIR/no-trace"
}
setup() {
	load ../pipe/pipe.bash
	[ ! -e "$BATS_FILE_TMPDIR/no-trace" ] || skip "strace may not trace here"
	cd "$BATS_TEST_TMPDIR" || return 1
	cp -r "$BATS_FILE_TMPDIR/four" four; cp "$IMAGES" i.tar; cp "$LATENTS" l.tar; cp "$ADAPTER" a.safetensors
	cp -r "$MODEL" model; mkdir calm rough
}

# These are made before main() too, by the loader, which does not make them again: there only those on the run's files
# are interrupted.
EARLY=" read pread64 openat close "
CALLS=(read write pread64 pwrite64 fsync flock ftruncate openat close)

# paths FOLDER: those that are there, and those that were made in a calm run, each as an option of strace
paths() { (cd "$BATS_TEST_TMPDIR" && find . four i.tar l.tar a.safetensors model calm -print) | sed 's/^\.\///' |
	sed "s/^calm/$1/"; }

# same COMMAND...: run in a calm folder and in one where every other call on the run's files is interrupted; the files
# are the same.  OUT in the command stands for the folder.
same() {
	local call p filter=() only args
	rm -rf calm; mkdir calm; : > hit
	args=("${@//OUT/calm}")
	"${args[@]}" > calm/stdout || return 1
	for p in $(paths rough | sort -u); do filter+=(-P "$PWD/$p" -P "$p"); done
	filter+=(-P "$PWD/rough/stdout")
	for call in "${CALLS[@]}"; do
		rm -rf rough; mkdir rough
		args=("${@//OUT/rough}")
		only=(); [[ $EARLY != *" $call "* ]] || only=("${filter[@]}")
		strace -f -qq -o trace "${only[@]}" -e trace="$call" -e "inject=$call:error=EINTR:when=1+2" \
			"${args[@]}" > rough/stdout 2> err ||
			{ echo "$call interrupted: status $?: $(cat err)"; return 1; }
		sed -i 's/rough/calm/g' rough/stdout
		diff -r --exclude='.*' --exclude='*.jsonl' calm rough > differences ||
			{ echo "$call interrupted: $(head -n 5 differences)"; return 1; }
		! grep -q warning err || { echo "$call interrupted: $(cat err)"; return 1; }
		grep -q INJECTED trace && echo "$call" >> hit
	done
	hit=" $(sort -u hit | tr '\n' ' ')"
	[[ $hit == *" close "* && $hit == *" openat "* && $hit == *" read "* && $hit == *" write "* ]] ||
		{ echo "interrupted were only:$hit"; return 1; }
}

@test "lora-prep: tar, report, folder" {
	same "$BIN/lora-prep" -q "${PREP[@]}" -o OUT/i.tar --report OUT/r.json four
	same "$BIN/lora-prep" -q "${PREP[@]}" --folder OUT/f four
	[[ $hit == *" fsync "* && $hit == *" flock "* ]]
}

@test "lora-encode: images, model, an old stream" { same "$BIN/lora-encode" -q -m model --reuse l.tar -o OUT/l.tar \
	i.tar; [[ $hit == *pread64* ]]; }

@test "lora-train: latents, adapters, states, log, events, page" {
	same "$BIN/lora-train" -q -m model --network-dim 4 --network-train-unet-only --max-train-steps 2 \
		--output-dir OUT/o --output-name t --save-state \
		--network-weights a.safetensors --log OUT/log.jsonl --logging-dir OUT/.events l.tar
}

@test "lora-sample: prompts, pictures, sheet, latents" {
	echo a gizmo > four/p.txt
	same "$BIN/lora-sample" -q -m model -l a.safetensors --prompts four/p.txt --steps 1 -W 64 -H 64 -o OUT/s \
		--grid OUT/g.png --save-latents OUT/l.safetensors
}

@test "lora-merge: folder and report" { same "$BIN/lora-merge" into -q -m model --lora a.safetensors -o OUT/m \
	--report OUT/r.json; [[ $hit == *" fsync "* && $hit == *" flock "* ]]; }

@test "lora-inspect: everything" {
	same "$BIN/lora-inspect" --verify --metadata a.safetensors i.tar l.tar model
}

@test "prompts of standard input, in pieces and interrupted" {
	some() { { printf 'a giz'; sleep 0.1; printf 'mo\nan or'; sleep 0.1; printf 'c'; } | "$@" "$BIN/lora-sample" \
		-q -m model --prompts - --steps 1 -W 64 -H 64 -o rough; }
	some strace -f -qq -o trace -e trace=read > calm/stdout
	first=$(grep -n 'read(0,' trace | head -n 1 | cut -d: -f1)
	some strace -f -qq -o trace -e trace=read -e "inject=read:error=EINTR:when=$first+2" > rough/stdout
	grep -q 'read(0,.*INJECTED' trace
	cmp calm/stdout rough/stdout
	[ "$(jq -r .prompt rough/stdout | tr '\n' ,)" = "a gizmo,an orc," ]
}
