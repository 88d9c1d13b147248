#!/usr/bin/env bats
# lora-encode as its users see it: what is in the tar, shards, reuse, sizes, refusals.

setup_file() {
	load ../pipe/pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar IMAGES=$BATS_FILE_TMPDIR/images.tar
	few_latents "$LATENTS"
	"$BIN/lora-prep" -q "${PREP[@]}" -o "$IMAGES" "$BATS_FILE_TMPDIR/four"
}
setup() { load ../pipe/pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

lora_encode() { "$BIN/lora-encode" -q -m "$MODEL" "$@"; }
member() { tar -xOf "$1" "$2"; }
shape() { "$BIN/lora-inspect" --keys "$1" | awk -v t="$2" '$NF == t'; }

@test "a sample: latent and text payloads, and what is known of the picture" {
	[ "$(tar -tf "$LATENTS" | head -n 3 | tr '\n' ' ')" = "00000000.latent.safetensors 00000000.text.safetensors 00000000.json " ]
	[ "$(tar -tf "$LATENTS" | tail -n 1)" = __lora__/end ]
	[ "$(member "$LATENTS" 00000000.json | jq -c '[(.id | length), .repeats, .weight, .bucket, .captions]')" = \
		'[64,1,1,[64,64],["a big gizmo robot on a black background"]]' ]
	member "$LATENTS" 00000000.latent.safetensors > l.safetensors
	shape l.safetensors mean | grep -q '4.*16.*16'
	shape l.safetensors std | grep -q '4.*16.*16'
	"$BIN/lora-inspect" --verify "$LATENTS" l.safetensors > /dev/null
	# std is a standard deviation
	length=$(od -An -N8 -tu8 l.safetensors)
	tail -c 4096 l.safetensors | od -An -v -w4 -tf4 | awk '$1 < 0 { bad = 1 } END { exit bad }'
}

@test "same bytes to a file, to a pipe, and from standard input" {
	lora_encode "$IMAGES" > a.tar
	lora_encode -o b.tar < "$IMAGES"
	cat "$IMAGES" | lora_encode - > c.tar
	cmp a.tar "$LATENTS"; cmp b.tar "$LATENTS"; cmp c.tar "$LATENTS"
}

@test "--no-text leaves the text outputs out and says nothing of text encoders" {
	lora_encode --no-text -o l.tar "$IMAGES"
	[ "$(tar -tf l.tar | grep -c text)" = 0 ]
	[ "$(member l.tar 00000000.json | jq 'has("text_encoder")')" = false ]
	cmp <(member l.tar 00000000.latent.safetensors) <(member "$LATENTS" 00000000.latent.safetensors)
}

@test "mirrored pictures are encoded too" {
	"$BIN/lora-prep" -q "${PREP[@]}" --flip "$BATS_FILE_TMPDIR/four" | lora_encode -o l.tar
	member l.tar 00000000.latent.safetensors > l.safetensors
	[ "$("$BIN/lora-inspect" --keys l.safetensors | grep -c 'flip')" = 2 ]
}

@test "shards join with cat to the same samples" {
	for i in 0 1 2; do lora_encode --shard $i/3 "$IMAGES" > $i.tar; done
	cat 0.tar 1.tar 2.tar > joined.tar
	"$BIN/lora-inspect" --verify joined.tar > /dev/null
	for k in 00000000 00000001 00000002 00000003; do
		cmp <(member $((10#$k % 3)).tar $k.latent.safetensors) <(member "$LATENTS" $k.latent.safetensors)
	done
	status_of 2 lora_encode --shard 3/3 "$IMAGES"
	status_of 2 lora_encode --shard x "$IMAGES"
}

@test "--reuse takes over what did not change, byte for byte, and encodes what did" {
	status_of 0 "$BIN/lora-encode" -m "$MODEL" --reuse "$LATENTS" -o again.tar "$IMAGES"
	[[ "$output" == *"4 of 4"* ]]
	cmp again.tar "$LATENTS"
	cp -r "$BATS_FILE_TMPDIR/four" changed
	echo "another caption" > changed/gizmo00.txt
	cp changed/gizmo01.png changed/gizmo02.jpg
	"$BIN/lora-prep" -q "${PREP[@]}" -o changed.tar changed
	status_of 0 "$BIN/lora-encode" -m "$MODEL" --reuse "$LATENTS" -o reused.tar changed.tar
	[[ "$output" == *"2 of 4"* ]]
	lora_encode -o fresh.tar changed.tar
	cmp reused.tar fresh.tar
	# Another VAE or another text encoder is another content.
	status_of 0 "$BIN/lora-encode" -m "$MODEL" --no-text --reuse "$LATENTS" -o none.tar "$IMAGES"
	[[ "$output" == *"0 of 4"* ]]
}

@test "equal captions are encoded alike, wherever they stand" {
	mkdir twins && cp "$BATS_FILE_TMPDIR"/four/gizmo00.jpg twins/a.jpg && cp "$BATS_FILE_TMPDIR"/four/gizmo01.png twins/b.png
	echo "one caption" | tee twins/a.txt > twins/b.txt
	"$BIN/lora-prep" -q "${PREP[@]}" twins | lora_encode -o l.tar
	cmp <(member l.tar 00000000.text.safetensors) <(member l.tar 00000001.text.safetensors)
}

@test "sizes the model cannot take are refused with the bucket step that works" {
	"$BIN/lora-prep" -q --resolution 72 --min-bucket-reso 40 --max-bucket-reso 88 --bucket-reso-steps 8 -o odd.tar "$ROOT/demo/train"
	status_of 2 lora_encode -o l.tar odd.tar
	[[ "$output" == *16* && "$output" == *bucket* ]]
	[ ! -e l.tar ]
}

@test "mistakes are status 2 and name themselves" {
	status_of 2 "$BIN/lora-encode" "$IMAGES"
	[[ "$output" == *"-m"* ]]
	status_of 2 lora_encode --precison fp16 "$IMAGES"
	[[ "$output" == *precision* ]]
	status_of 2 lora_encode --device tpu "$IMAGES"
	[[ "$output" == *tpu*cpu* ]]
	status_of 3 "$BIN/lora-encode" -m nowhere "$IMAGES"
	[[ "$output" == *nowhere* ]]
	status_of 3 lora_encode nowhere.tar
	[[ "$output" == *nowhere.tar* ]]
}

@test "an unknown key of a config is status 2 with line and nearest name; keys of other tools are welcome" {
	printf 'resolution = 64\nlearning_rate = 1e-4\n' > run.toml
	lora_encode --config run.toml -o l.tar "$IMAGES"
	cmp l.tar "$LATENTS"
	printf 'resolution = 64\n\nresolutoin = 64\n' > run.toml
	status_of 2 lora_encode --config run.toml -o l.tar "$IMAGES"
	[[ "$output" == *"run.toml:3:"*resolution* ]]
}

@test "a VAE with NaN encodes nothing: status 3 names the sample" {
	cp -rL "$MODEL" broken && chmod -R u+w broken
	size=$(stat -c %s broken/vae/diffusion_pytorch_model.safetensors)
	printf '\377\377\377\377' | dd of=broken/vae/diffusion_pytorch_model.safetensors bs=1 seek=$((size - 4)) conv=notrunc 2> /dev/null
	run "$BIN/lora-encode" -q -m broken -o l.tar "$IMAGES"
	[ "$status" -eq 3 ] || { echo "$status $output"; return 1; }
	[[ "$output" == *00000000* && "$output" == *NaN* ]]
	[ ! -e l.tar ]
}
