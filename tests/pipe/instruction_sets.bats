#!/usr/bin/env bats
# The same bytes from every set of vector instructions that this processor has: pictures, latents, adapter, state, a
# picture painted with it and a merged model.

setup() {
	load pipe.bash
	cd "$BATS_TEST_TMPDIR" || return 1
	GOLDEN=$ROOT/tests/golden/tiny-a/model
	mkdir four
	cp "$ROOT"/demo/train/*/gizmo0[0-3].* four
	available=()
	for set in avx512 avx2 portable; do
		LORA_CPU=$set "$BIN/lora-train" --version > /dev/null 2>&1 && available+=("$set")
	done
	true
}

# pipe SET: everything, in a folder of that name
pipe() {
	mkdir "$1"
	export LORA_CPU=$1
	"$BIN/lora-prep" -q --resolution 32 --min-bucket-reso 16 --max-bucket-reso 48 --bucket-reso-steps 16 four > "$1/images.tar"
	"$BIN/lora-encode" -q -m "$GOLDEN" "$1/images.tar" -o "$1/latents.tar"
	"$BIN/lora-train" -q -m "$GOLDEN" --network-dim 4 --conv-dim 2 --train-batch-size 2 --max-train-steps 4 \
		--noise-offset 0.1 --multires-noise-iterations 2 --loss-type huber --huber-schedule exponential \
		--lr-scheduler cosine --save-state --output-dir "$1" --output-name t "$1/latents.tar" > "$1/log"
	"$BIN/lora-sample" -q -m "$GOLDEN" --lora "$1/t.safetensors" -p gizmo -W 32 -H 32 --steps 4 --sampler dpm++2m \
		--rng torch -o "$1/picture.png" > /dev/null
	"$BIN/lora-merge" into -q -m "$GOLDEN" --lora "$1/t.safetensors" -o "$1/merged"
	grep -q "\"instruction_set\":\"$1\"" "$1/log"
}

@test "every instruction set gives the same bytes" {
	[ "${#available[@]}" -ge 1 ]
	for set in "${available[@]}"; do pipe "$set"; done
	for set in "${available[@]:1}"; do
		for file in images.tar latents.tar t.safetensors t-step00000004-state.safetensors picture.png; do
			cmp "$set/$file" "${available[0]}/$file"
		done
		diff -r "$set/merged" "${available[0]}/merged"
	done
}

@test "--version names the set; one that there is not is a usage error" {
	[[ "$("$BIN/lora-merge" --version)" == *", ${available[0]}" ]]
	[[ "$(LORA_CPU=portable "$BIN/lora-merge" --version)" == *", portable" ]]
	status_of 2 env LORA_CPU=mmx "$BIN/lora-prep" --version
	[[ "$output" == *"LORA_CPU: 'mmx' is no instruction set; choose avx512, avx2 or portable, or leave it out" ]]
}
