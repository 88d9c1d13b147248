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
	[ "$(tar -tf "$LATENTS" | head -n 3 | tr '\n' ' ')" = \
		"00000000.latent.safetensors 00000000.text.safetensors 00000000.json " ]
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
	cp "$ROOT"/demo/train/*/gizmo04.jpg changed/gizmo02.jpg
	mv changed/gizmo03.jpg changed/renamed.jpg; mv changed/gizmo03.txt changed/renamed.txt; touch changed/*
	"$BIN/lora-prep" -q "${PREP[@]}" -o changed.tar changed
	status_of 0 "$BIN/lora-encode" -m "$MODEL" --reuse "$LATENTS" -o reused.tar changed.tar
	[[ "$output" == *"2 of 4"* ]] || { echo "$output"; return 1; }
	said=$output
	lora_encode -o fresh.tar changed.tar
	cmp reused.tar fresh.tar
	# A text that changed costs no picture; without texts the pictures are the same.
	[[ "$said" == *"3 pictures, 3 captions"* ]] || { echo "$said"; return 1; }
	status_of 0 "$BIN/lora-encode" -m "$MODEL" --no-text --reuse "$LATENTS" -o none.tar "$IMAGES"
	[[ "$output" == *"4 of 4"*"4 pictures, 0 captions"* ]]
	lora_encode --no-text -o fresh.tar "$IMAGES"
	cmp none.tar fresh.tar
	# One bit of another VAE: all pictures, no caption.  The last byte but three is the lowest of a float.
	cp -rL "$MODEL/vae" vae && chmod -R u+w vae
	printf '\1' | dd of=vae/diffusion_pytorch_model.safetensors bs=1 seek=$(($(stat -c %s vae/*.safetensors) - 4)) \
		conv=notrunc 2> /dev/null
	status_of 0 "$BIN/lora-encode" -m "$MODEL" --vae vae --reuse "$LATENTS" -o other.tar "$IMAGES"
	[[ "$output" == *"0 of 4"*"0 pictures, 4 captions"* ]] || { echo "$output"; return 1; }
}

@test "--reuse of a stream that was cut takes over what is whole, and says so" {
	head -c $(($(stat -c %s "$LATENTS") * 6 / 10)) "$LATENTS" > cut.tar
	status_of 0 "$BIN/lora-encode" -m "$MODEL" --reuse cut.tar -o l.tar "$IMAGES"
	[[ "$output" == *"warning: cut.tar: "*"2 of 4 samples taken over"* ]] || { echo "$output"; return 1; }
	cmp l.tar "$LATENTS"
	status_of 3 lora_encode --reuse "$IMAGES" -o other.tar "$IMAGES"
	status_of 3 lora_encode --reuse nowhere.tar -o other.tar "$IMAGES"
	for no_file in . /dev/zero; do
		status_of 2 timeout 5 "$BIN/lora-encode" -m "$MODEL" --reuse $no_file -o other.tar "$IMAGES"
		[[ "$output" == *"--reuse $no_file: is no file"* ]]
	done
	status_of 2 bash -c '"$@" --reuse <(cat "$0") -o other.tar' "$LATENTS" "$BIN/lora-encode" \
		-q -m "$MODEL" "$IMAGES"
	[ ! -e other.tar ]
}

@test "several writers of one output, some killed: it is always one of theirs, whole" {
	for round in 1 2 3; do
		for i in 1 2 3 4; do
			lora_encode -o l.tar "$IMAGES" 3>&- & pids[i]=$!
		done
		sleep 0.0$round
		kill -9 "${pids[1]}" "${pids[3]}" 2> /dev/null || true
		wait
		cmp l.tar "$LATENTS"
	done
}

@test "a caption is stored once, wherever it comes again" {
	mkdir twins && cp "$BATS_FILE_TMPDIR"/four/gizmo00.jpg twins/a.jpg &&
		cp "$BATS_FILE_TMPDIR"/four/gizmo01.png twins/b.png
	echo "one caption" | tee twins/a.txt > twins/b.txt
	"$BIN/lora-prep" -q "${PREP[@]}" twins | lora_encode -o l.tar
	[ "$(member l.tar 00000000.json | jq -c .text_rows)$(member l.tar 00000001.json |
		jq -c .text_rows)" = "[0][0]" ]
	member l.tar 00000000.text.safetensors > 0.safetensors
	member l.tar 00000001.text.safetensors > 1.safetensors
	shape 0.safetensors context | grep -q '1.*77'
	[ "$(stat -c %s 1.safetensors)" -lt 300 ]
	"$BIN/lora-inspect" --verify l.tar > /dev/null
}

@test "--batch changes no byte: mixed sizes, mirrored pictures, one sample too few" {
	"$BIN/lora-prep" -q "${PREP[@]}" --flip -o flip.tar "$ROOT/demo/train"
	lora_encode -o one.tar flip.tar
	for n in 2 3 16; do
		lora_encode --batch $n -o many.tar flip.tar
		cmp one.tar many.tar
	done
}

@test "--precision is the type of what is stored, and part of the address" {
	for type in bf16 fp16; do
		lora_encode --precision $type -o $type.tar "$IMAGES"
		member $type.tar 00000000.latent.safetensors > l.safetensors
		member $type.tar 00000000.text.safetensors > t.safetensors
		shape l.safetensors mean | grep -qi "${type/fp/f}"
		shape t.safetensors context | grep -qi "${type/fp/f}"
		"$BIN/lora-inspect" --verify $type.tar > /dev/null
		"$BIN/lora-train" -q -m "$MODEL" --network-dim 2 --network-train-unet-only --max-train-steps 1 \
			--output-dir out --output-name $type \
			$type.tar > /dev/null
	done
	[ "$(for t in "$LATENTS" bf16.tar fp16.tar; do member $t 00000000.json | jq -r .id; done |
		sort -u | wc -l)" = 3 ]
	status_of 0 "$BIN/lora-encode" -m "$MODEL" --precision bf16 --reuse "$LATENTS" -o again.tar "$IMAGES"
	[[ "$output" == *"0 of 4"* ]]
	cmp again.tar bf16.tar
	status_of 2 lora_encode --precision fp64 -o l.tar "$IMAGES"
}

@test "shards in any order train to the adapter of the whole, byte for byte" {
	for i in 0 1 2; do lora_encode --shard $i/3 "$IMAGES" > $i.tar; done
	cat 2.tar 0.tar 1.tar > joined.tar
	options=(-q -m "$MODEL" --network-dim 4 --network-train-unet-only --train-batch-size 2 --learning-rate 1e-3 \
		--max-train-steps 3)
	"$BIN/lora-train" "${options[@]}" --output-dir whole --output-name t "$LATENTS" > /dev/null
	"$BIN/lora-train" "${options[@]}" --output-dir parts --output-name t joined.tar > /dev/null
	cmp whole/t.safetensors parts/t.safetensors
}

# hub ID FOLDER: a Hugging Face cache with that folder as a download leaves it: links from the snapshot to blobs
hub() {
	local repository=hub/models--${1/\//--} commit=0123456789abcdef0123456789abcdef01234567 file blob
	mkdir -p $repository/refs $repository/blobs $repository/snapshots/$commit
	printf %s $commit > $repository/refs/main
	for file in $(cd "$2" && find . -type f | cut -c3-); do
		blob=$repository/blobs/$(sha256sum < "$2/$file" | cut -c1-64)
		cp "$2/$file" "$blob"
		mkdir -p "$(dirname $repository/snapshots/$commit/$file)"
		ln -sr "$blob" $repository/snapshots/$commit/$file
	done
}

@test "hub ids: model and VAE from the local cache; a miss prints the command" {
	hub some/model "$(readlink -f "$MODEL")"
	hub madebyollin/sdxl-vae-fp16-fix "$(readlink -f "$MODEL/vae")"
	export HF_HUB_CACHE=$PWD/hub
	"$BIN/lora-encode" -q -m some/model --vae madebyollin/sdxl-vae-fp16-fix -o l.tar "$IMAGES"
	cmp l.tar "$LATENTS"
	mkdir -p home/hub && mv hub/models--some--model home/hub
	HF_HOME=$PWD/home HF_HUB_CACHE='' status_of 0 "$BIN/lora-encode" -q -m some/model -o l.tar "$IMAGES"
	status_of 3 "$BIN/lora-encode" -q -m some/model -o l.tar "$IMAGES"
	[[ "$output" == *"hf download some/model model_index.json"*"vae/diffusion_pytorch_model.fp16.safetensors"* ]]
	rm hub/models--madebyollin--sdxl-vae-fp16-fix/blobs/*
	status_of 3 "$BIN/lora-encode" -q -m "$MODEL" --vae madebyollin/sdxl-vae-fp16-fix -o l.tar "$IMAGES"
	[[ "$output" == *"hf download madebyollin/sdxl-vae-fp16-fix config.json diffusion_pytorch_model.safetensors"* ]]
}

@test "pickles are told by content, whatever their names, and refused with the way to convert them" {
	printf 'PK\3\4\0\0\10\10\0\0\0\0\0\0\0\0archive/data.pklFB' > zip
	printf '\200\2\212\nl\374\234F\371 j\250P\31.\200\2M' > legacy
	for kind in zip legacy; do
		for name in m.ckpt m.pt m.bin m.safetensors; do
			cp $kind $name
			status_of 3 "$BIN/lora-encode" -q -m $name -o l.tar "$IMAGES"
			[[ "$output" == *$name*ickle*save_file* ]] || { echo "$output"; return 1; }
			status_of 3 "$BIN/lora-encode" -q -m "$MODEL" --vae $name -o l.tar "$IMAGES"
			[[ "$output" == *$name*ickle*save_file* ]] || { echo "$output"; return 1; }
		done
	done
	[ ! -e l.tar ]
}

@test "77, 152 and 227 tokens" {
	for n in 75:77 150:152 225:227; do
		lora_encode --max-token-length ${n%:*} -o l.tar "$IMAGES"
		member l.tar 00000000.text.safetensors > t.safetensors
		shape t.safetensors context | grep -q "${n#*:}"
	done
}

@test "sizes the model cannot take are refused with the bucket step or the resolution that works" {
	"$BIN/lora-prep" -q --resolution 72 --min-bucket-reso 40 --max-bucket-reso 88 --bucket-reso-steps 8 \
		-o odd.tar "$ROOT/demo/train"
	status_of 2 lora_encode -o l.tar odd.tar
	[[ "$output" == *"--bucket-reso-steps 16 or a multiple of it"* ]]
	[ ! -e l.tar ]
	"$BIN/lora-prep" -q --resolution 100 --no-bucket -o odd.tar "$ROOT/demo/train"
	status_of 2 lora_encode -o l.tar odd.tar
	[[ "$output" == *": 100x100 is no multiple of 16; 96x96 is; "*", or, without buckets, with that --resolution" ]]
}

@test "mistakes are status 2 and name themselves" {
	status_of 2 "$BIN/lora-encode" "$IMAGES"
	[[ "$output" == *"-m"* ]]
	status_of 2 lora_encode --precison fp16 "$IMAGES"
	[[ "$output" == *precision* ]]
	for shard in 3/3 0/-1 ' 0/3' 0/0 0/99999999999 0/3x 1; do
		status_of 2 lora_encode --shard "$shard" "$IMAGES"
		[[ "$output" == *"'$shard'"* ]]
	done
	for empty in caption-separator keep-tokens-separator secondary-separator; do
		status_of 2 timeout 5 "$BIN/lora-encode" -m "$MODEL" --shuffle-caption --$empty '' "$IMAGES"
		[[ "$output" == *"${empty//-/_} is empty"* ]]
	done
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
	printf '\377\377\377\377' | dd of=broken/vae/diffusion_pytorch_model.safetensors bs=1 seek=$((size - 4)) \
		conv=notrunc 2> /dev/null
	run "$BIN/lora-encode" -q -m broken -o l.tar "$IMAGES"
	[ "$status" -eq 3 ] || { echo "$status $output"; return 1; }
	[[ "$output" == *00000000*gizmo00.jpg*NaN* ]]
	[ ! -e l.tar ]
}
