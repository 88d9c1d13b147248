#!/usr/bin/env bats
# Masks from transparency to the loss: lora-prep --alpha-mask, lora-encode, lora-train.

setup() {
	load pipe.bash
	cd "$BATS_TEST_TMPDIR" || return 1
}

# bytes N...: each number as a byte
bytes() { local n; for n; do printf "\\x$(printf %x "$n")"; done; }
word() { bytes $(($1 >> 24 & 255)) $(($1 >> 16 & 255)) $(($1 >> 8 & 255)) $(($1 & 255)); }

# chunk TYPE < DATA: of a PNG; gzip knows its checksum
chunk() {
	local crc
	cat > chunk.data
	word "$(stat -c %s chunk.data)"
	{ printf %s "$1"; cat chunk.data; } | tee chunk.all
	crc=$(gzip -c chunk.all | tail -c 8 | od -An -N4 -tu4)
	word "$crc"
}

# picture ROW...: 64x64, one bit a pixel of two colours, the first of them transparent; eight bytes a row
picture() {
	local i a=1 b=0 n=576 data=()
	for ((i = 0; i < 64; i++)); do data+=(0 "$@"); done
	for i in "${data[@]}"; do a=$(((a + i) % 65521)); b=$(((b + a) % 65521)); done
	printf '\x89PNG\r\n\x1a\n'
	{ word 64; word 64; bytes 1 3 0 0 0; } | chunk IHDR
	bytes 200 60 20 30 90 220 | chunk PLTE
	bytes 0 255 | chunk tRNS
	{ bytes 120 1 1 $((n & 255)) $((n >> 8)) $((~n & 255)) $((~n >> 8 & 255)); bytes "${data[@]}"
		word $((b << 16 | a)); } | chunk IDAT
	chunk IEND < /dev/null
}

latents() { local out=$1; shift; "$BIN/lora-prep" -q "${PREP[@]}" "$@" | "$BIN/lora-encode" -q -m "$MODEL" -o "$out"; }
tensors() { "$BIN/lora-inspect" --json --metadata "$1" | jq -r .metadata.sshs_model_hash; }
losses() { jq -c 'select(.event == "step").loss' "$1"; }
mask() { tar -xOf "$1" "$2.json" | jq -c .mask; }

@test "a mask that leaves out nothing is none; half a mask is another adapter; what has none counts in full" {
	mkdir opaque half mixed
	picture 255 255 255 255 255 255 255 255 > opaque/a.png
	picture 0 0 0 0 255 255 255 255 > half/a.png
	cp half/a.png mixed/a.png
	cp opaque/a.png mixed/b.png
	for d in opaque half mixed; do latents $d.tar --alpha-mask $d; done
	latents plain.tar opaque
	latents unmasked.tar half               # the same picture as half.tar's
	[ "$(mask opaque.tar 00000000) $(mask half.tar 00000000) $(mask mixed.tar 00000001)" = "null true null" ]
	for d in plain opaque half mixed unmasked; do LATENTS=$d.tar train 3 $d > $d.jsonl; done
	[ "$(tensors plain/t.safetensors)" = "$(tensors opaque/t.safetensors)" ]
	[ "$(tensors unmasked/t.safetensors)" != "$(tensors half/t.safetensors)" ]
	[ "$(losses plain.jsonl)" = "$(losses opaque.jsonl)" ]
	jq -se '(.[0] < .[1] * 0.9) and (.[0] > 0)' <(losses half.jsonl | head -n 1) <(losses unmasked.jsonl | head -n 1) > /dev/null
}

@test "a mask that leaves nothing, be it transparency or a picture of its own, is warned of and a finding of --lint" {
	local what="its mask leaves nothing: it would train nothing; make the mask anew, or remove the picture"
	mkdir clear set masks
	picture 0 0 0 0 0 0 0 0 > clear/a.png
	picture 0 0 0 0 0 0 0 1 > clear/b.png                   # one column of it counts
	picture 255 255 255 255 255 255 255 255 | tee set/a.png > set/b.png
	cp clear/*.png masks
	for i in "clear --alpha-mask clear" "set --conditioning-data-dir masks set"; do
		set -- $i
		"$BIN/lora-prep" -q "${PREP[@]}" --class-tokens x "${@:2}" 2>&1 > images.tar | tee said
		[ "$(cat said)" = "lora-prep: warning: $1/a.png: $what" ]
		"$BIN/lora-prep" -q --lint "${PREP[@]}" --class-tokens x "${@:2}" > findings
		[ "$(jq -r 'select(.code == "black-mask") | .severity, .path, .say' findings)" = "warning
$1/a.png
$what" ]
	done
	"$BIN/lora-prep" -q "${PREP[@]}" --class-tokens x clear 2>&1 > images.tar | lacks /dev/stdin .
}

@test "masked_loss says where there is no mask" {
	mkdir opaque
	picture 255 255 255 255 255 255 255 255 > opaque/a.png
	latents plain.tar opaque
	run "$BIN/lora-train" -m "$MODEL" --network-dim 2 --network-train-unet-only --max-train-steps 1 --masked-loss plain.tar
	[ "$status" = 0 ]
	[[ "$output" == *"masked_loss: no picture has a mask"* ]]
}
