#!/usr/bin/env bats
# A disk, a limit or a permission that keeps bytes from being read is never "a bad picture", "no caption" or "no mask":
# the run ends with the status of the fault, and nothing is published.

setup_file() {
	load ../pipe/pipe.bash
	export IMAGES=$BATS_FILE_TMPDIR/images.tar OLD=$BATS_FILE_TMPDIR/old.tar
	few_latents "$OLD"
	"$BIN/lora-prep" -q "${PREP[@]}" -o "$IMAGES" "$BATS_FILE_TMPDIR/four"
}
setup() {
	load ../pipe/pipe.bash
	cd "$BATS_TEST_TMPDIR" || return 1
	strace -o trace true 2> trace.err || skip "strace may not trace here: $(tail -n 1 trace.err)"
	cp -r "$BATS_FILE_TMPDIR/four" four
	mkdir masks
	cp four/gizmo01.png masks/gizmo02.png
	MASKS=(--conditioning-data-dir masks)
}

# faulty STATUS PATH CALL ERROR COMMAND...: the first CALL that concerns PATH gives ERROR
faulty() {
	local want=$1 path=$2 call=$3 error=$4; shift 4
	rm -rf out.tar out
	status_of "$want" strace -f -qq -o trace -P "$path" -e "inject=$call:error=$error:when=1" "$@"
	grep -q INJECTED trace || { echo "nothing was injected: $path $call $error"; return 1; }
	[ ! -e out.tar ] || { echo "an output after $path $call $error"; return 1; }
}
prep() { faulty "$1" "$2" "$3" "$4" "$BIN/lora-prep" -q "${PREP[@]}" "${MASKS[@]}" -o out.tar four; }
lints() { faulty "$1" "$2" "$3" "$4" "$BIN/lora-prep" -q "${PREP[@]}" "${MASKS[@]}" --lint four; }
scans() { faulty "$1" "$2" "$3" "$4" "$BIN/lora-prep" -q "${PREP[@]}" --scan --report out.jsonl four; }

@test "lora-prep: a picture that cannot be read is no bad picture" {
	local e
	for e in EIO ESTALE; do prep 4 four/gizmo02.jpg read $e; done
	for e in EIO ESTALE EMFILE ENFILE EACCES; do prep 4 four/gizmo02.jpg openat $e; done
	prep 5 four/gizmo02.jpg openat ENOMEM
	prep 5 four/gizmo02.jpg read ENOMEM
	lints 4 four/gizmo02.jpg read EIO
	lints 5 four/gizmo02.jpg openat ENOMEM
	scans 4 four/gizmo02.jpg read EIO
	scans 5 four/gizmo02.jpg openat ENOMEM
}

@test "lora-prep: a caption that cannot be looked at is no empty one" {
	local e
	for e in EIO ESTALE EACCES; do prep 4 four/gizmo02.txt newfstatat $e; done
	prep 5 four/gizmo02.txt newfstatat ENOMEM
	prep 4 four/gizmo02.txt read EIO
	prep 4 four/gizmo02.txt openat EMFILE
	rm four/gizmo02.txt
	prep 4 four/gizmo02.caption newfstatat EIO
	lints 4 four/gizmo02.caption newfstatat EIO
}

@test "lora-prep: a mask that cannot be looked at is no missing one" {
	prep 4 masks/gizmo02.png newfstatat EIO
	prep 4 masks/gizmo02.png read EIO
	prep 4 masks/gizmo02.png openat ENFILE
	prep 5 masks/gizmo02.png openat ENOMEM
	prep 4 masks/gizmo00.png newfstatat EIO         # which is not there
	prep 4 masks newfstatat EIO
}

@test "lora-prep: a folder that cannot be listed to its end is no smaller folder" {
	local e
	for e in EIO ESTALE; do prep 4 four getdents64 $e; done
	prep 4 four openat EMFILE
	prep 5 four openat ENOMEM
	prep 4 four/gizmo02.jpg newfstatat EIO
	cp four/gizmo02.jpg four/strange
	prep 4 four/strange read EIO
	mkdir -p parent && mv four parent/3_gizmo
	faulty 4 parent/3_gizmo getdents64 EIO "$BIN/lora-prep" -q "${PREP[@]}" -o out.tar parent
	faulty 4 parent/3_gizmo newfstatat EIO "$BIN/lora-prep" -q "${PREP[@]}" -o out.tar parent
}

@test "lora-prep: a link in a circle, a folder and a file that is gone are bad pictures as before" {
	ln -s circle.png four/circle.png
	ln -s circle.txt four/gizmo00.caption && rm four/gizmo00.txt
	status_of 0 "$BIN/lora-prep" -q "${PREP[@]}" --report r.jsonl -o out.tar four
	[ "$(jq -r 'select(.event == "skipped") | .path + " " + .code' r.jsonl | sort)" = "four/circle.png unreadable
four/gizmo00.jpg caption" ]
}

@test "lora-prep: the longest name there is has no .caption, which would be longer" {
	long=$(printf 'n%.0s' {1..251})
	cp four/gizmo00.jpg "four/$long.jpg"
	status_of 0 "$BIN/lora-prep" -q "${PREP[@]}" --strict -o out.tar four
}

encodes() { faulty "$1" "$2" "$3" "$4" "$BIN/lora-encode" -q -m "$MODEL" --reuse "$OLD" -o out.tar "$IMAGES"; }

@test "lora-encode: what cannot be read is not damaged" {
	encodes 4 "$IMAGES" read EIO
	encodes 5 "$IMAGES" read ENOMEM
	encodes 4 "$OLD" read EIO
	encodes 4 "$OLD" pread64 EIO
	encodes 5 "$OLD" pread64 ENOMEM
	[[ "$output" == *"no memory"* || "$output" == *"Cannot allocate"* ]]
}

# A model in a folder of its own, so that its paths can be named.
@test "lora-encode: a file of the model that cannot be looked at is no missing one" {
	cp -r "$MODEL" model
	local f
	for f in scheduler/scheduler_config.json unet/diffusion_pytorch_model.safetensors tokenizer/vocab.json \
		tokenizer/tokenizer.json \
		tokenizer/special_tokens_map.json text_encoder/config.json tokenizer; do
		faulty 4 "model/$f" newfstatat EIO "$BIN/lora-encode" -q -m model -o out.tar "$IMAGES"
	done
	faulty 5 "model/scheduler/scheduler_config.json" newfstatat ENOMEM "$BIN/lora-encode" -q -m model \
		-o out.tar "$IMAGES"
}

@test "an adapter_config.json that cannot be looked at is no missing one" {
	cp "$ROOT"/tests/golden/adapters/rslora_peft/* .        # its tensors say no alpha
	faulty 4 adapter_config.json newfstatat EIO "$BIN/lora-inspect" adapter_model.safetensors
	faulty 5 adapter_config.json newfstatat ENOMEM "$BIN/lora-inspect" adapter_model.safetensors
}

@test "lora-train --resume auto: a folder that cannot be listed is none without states" {
	local run=("$BIN/lora-train" -q -m "$MODEL" --network-dim 2 --network-train-unet-only --output-dir ad \
		--output-name a --save-state)
	"${run[@]}" --max-train-steps 2 --save-every-n-steps 1 "$OLD" > /dev/null
	rm ad/a-step00000002-state.safetensors ad/a.safetensors
	status_of 4 strace -f -qq -o trace -P ad -e inject=getdents64:error=EIO "${run[@]}" --max-train-steps 2 \
		--resume auto "$OLD"
	[ ! -e ad/a.safetensors ]
	status_of 0 "${run[@]}" --max-train-steps 2 --resume auto "$OLD"
}
