#!/usr/bin/env bats
# Where things go: locks, umask, folders that may not be written.

setup_file() {
	load ../pipe/pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar IMAGES=$BATS_FILE_TMPDIR/images.tar
	few_latents "$LATENTS"
	"$BIN/lora-prep" -q "${PREP[@]}" -o "$IMAGES" "$BATS_FILE_TMPDIR/four"
}
setup() { load ../pipe/pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

@test "a second lora-train on the same output is status 2 at once; another name is welcome" {
	train_exec 3000 out > log.jsonl 2> err 3>&- & pid=$!
	wait_for 60 test -s log.jsonl
	# At once: before the model, which is not there, is looked at.
	status_of 2 "$BIN/lora-train" -m nowhere --output-dir out --output-name t "$LATENTS"
	[[ "$output" == *"another lora-train"* ]]
	"$BIN/lora-train" -q -m "$MODEL" --network-dim 2 --network-train-unet-only --max-train-steps 1 \
		--output-dir out --output-name other "$LATENTS" > /dev/null
	kill -9 $pid; wait $pid || true
	# The lock of a dead process holds nobody up.
	[ -e out/.t.lock ]
	train 2 out > /dev/null
}

@test "output has the mode of the umask, or of the file that it replaces" {
	for mask in 022 077 002; do
		(umask $mask; train 2 "out$mask" > /dev/null
			"$BIN/lora-encode" -q -m "$MODEL" -o "l$mask.tar" "$IMAGES"
			"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 -p x -o "x$mask.png" > /dev/null)
		want=$(printf %o $((0666 & ~mask)))
		[ "$(stat -c %a "out$mask/t.safetensors" "out$mask/t-step00000002-state.safetensors" "l$mask.tar" \
			"x$mask.png" | sort -u)" = "$want" ]
	done
	chmod 640 l022.tar
	"$BIN/lora-encode" -q -m "$MODEL" -o l022.tar "$IMAGES"
	[ "$(stat -c %a l022.tar)" = 640 ]
}

@test "a link stays a link and what it points to is replaced" {
	mkdir real && echo old > real/l.tar && ln -s real/l.tar l.tar
	"$BIN/lora-encode" -q -m "$MODEL" -o l.tar "$IMAGES"
	[ -L l.tar ]
	cmp real/l.tar "$LATENTS"
}

# as_nobody COMMAND...: root may write everywhere
as_nobody() {
	if [ "$(id -u)" != 0 ]; then "$@"; else setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; fi
}

@test "a folder that may not be written is status 4 before the model is read" {
	# The programs and the data where nobody may read them.
	mkdir closed bin
	chmod 755 . closed
	cp "$BIN"/lora-* bin && cp "$LATENTS" latents.tar && cp "$IMAGES" images.tar && cp -rL "$MODEL" model
	chmod -R a+rX bin model latents.tar images.tar
	path=$PWD; while [ "$path" != / ]; do [ -O "$path" ] && chmod a+x "$path"; path=$(dirname "$path"); done
	as_nobody test -r model/unet/config.json || skip "another user cannot reach the test's folder"
	[ "$(id -u)" = 0 ] || chmod a-w closed
	! as_nobody touch closed/x 2> /dev/null || false
	# A model whose weights are one byte of rubbish shows what is looked at first.
	for f in $(find model -name '*.safetensors'); do echo x > "$f"; done
	status_of 4 as_nobody bin/lora-train -m model --output-dir closed --output-name t --network-train-unet-only \
		--max-train-steps 1 latents.tar
	[[ "$output" == *closed* ]]
	status_of 4 as_nobody bin/lora-encode -m model -o closed/l.tar images.tar
	[[ "$output" == *closed/l.tar* ]]
	status_of 4 as_nobody bin/lora-sample -m model -W 64 -H 64 -p x -o closed
	[[ "$output" == *closed* ]]
	status_of 4 as_nobody bin/lora-sample -m model -W 64 -H 64 -p x --grid closed/x.png
	status_of 4 as_nobody bin/lora-sample -m model -W 64 -H 64 -p x --grid x.png --save-latents closed/l.safetensors
	# A lock file from the time when it could be written must not make it look so.
	touch closed/.t.lock && chmod 666 closed/.t.lock
	status_of 4 as_nobody bin/lora-train -m model --output-dir closed --output-name t --network-train-unet-only \
		--max-train-steps 1 latents.tar
}

@test "mistakes leave no folder and no lock behind" {
	status_of 2 "$BIN/lora-train" --output-dir out "$LATENTS"
	status_of 2 "$BIN/lora-train" -m "$MODEL" --output-dir out --output-name a/b "$LATENTS"
	status_of 2 "$BIN/lora-train" -m "$MODEL" --output-dir out --optimizer-type Nonesuch "$LATENTS"
	status_of 0 "$BIN/lora-train" -m "$MODEL" --output-dir out --print-lr --max-train-steps 2 "$LATENTS"
	[ -z "$(ls -A)" ]
}
