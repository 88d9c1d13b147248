#!/usr/bin/env bats
# Small files that ask for much: refused by a limit that a manual page names, or done within memory and time that fit
# what they are.

setup_file() {
	load ../pipe/pipe.bash
	export BOMBS=$BATS_FILE_TMPDIR/bombs
	mkdir "$BOMBS"
	"$BIN/../tests/faults/make_bombs" "$BOMBS"
}
setup() { load ../pipe/pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; export OMP_NUM_THREADS=1; }

# costs STATUS MB SECONDS COMMAND...: its status, most resident memory and CPU time
costs() {
	local want=$1 mb=$2 seconds=$3 used; shift 3
	status_of "$want" /usr/bin/time -q -f "%M %U %S" -o cost timeout 60 "$@"
	used=$(tail -n 1 cost)
	awk -v mb="$mb" -v s="$seconds" '{ exit $1 / 1024 <= mb && $2 + $3 <= s ? 0 : 1 }' <<< "$used" ||
		{ echo "$used (KiB, user, system) for $* where $mb MiB and $seconds s are allowed"; return 1; }
}

# picture STATUS MEGAPIXELS FILE: 4 bytes a pixel and 64 MiB, in lora-prep, in --lint, and as a mask
picture() {
	local status=$1 mb=$(($2 * 4000000 / 1048576 + 64)) file=$3 sizes=(--resolution 64 --min-bucket-reso 16 \
		--max-bucket-reso 320 --bucket-reso-steps 16)
	rm -rf set; mkdir set; ln -s "$BOMBS/$file" set/; echo words > "set/${file%.*}.txt"
	costs "$status" "$mb" 10 "$BIN/lora-prep" -q -j 1 "${sizes[@]}" --alpha-mask --strict -o o.tar set
	[ "$status" = 0 ] || [[ "$output" == *"$file"*"limit"* ]]
	costs "$status" "$mb" 10 "$BIN/lora-prep" -q -j 1 "${sizes[@]}" --lint set
}

@test "a picture takes 4 bytes a pixel and 64 MiB: interlaced, 16 bits, transparent" {
	picture 0 25 interlaced.png
	picture 0 100 bits.png
	mkdir wide; ln -s "$BOMBS/wide.png" wide
	costs 3 138 10 "$BIN/lora-prep" -q -j 1 --strict -o o.tar wide
}

@test "a picture takes 4 bytes a pixel and 64 MiB: progressive" {
	picture 0 24 progressive.jpg
	picture 0 24 progressive-full.jpg
	picture 3 90 progressive-large.jpg
}

@test "a picture takes 4 bytes a pixel and 64 MiB: lossless WebP" {
	picture 0 12 lossless.webp
}

@test "a HEIC of 775 bytes whose canvas has 26,000 pixels a side" {
	ldconfig -p | grep -q libheif.so.1 || skip "no libheif"
	mkdir set; cp "$ROOT/tests/fuzz/corpus/heif/overlay-of-26000-pixels" set/a.heic; echo words > set/a.txt
	costs 3 96 5 "$BIN/lora-prep" -q -j 1 --strict -o o.tar set
}

@test "lora-inspect of pictures" {
	costs 0 64 5 "$BIN/lora-inspect" "$BOMBS/text.png"
	costs 0 160 10 "$BIN/lora-inspect" "$BOMBS/interlaced.png"
	costs 0 446 10 "$BIN/lora-inspect" "$BOMBS/bits.png"
}

# A file of 64 MB is read before it is judged, in a buffer that grows.
@test "JSON of 64 MB is refused before its values take memory" {
	local f
	for f in values lists objects text; do
		mkdir -p $f; cp "$BOMBS/$f.json" $f/vocab.json; echo "#version" > $f/merges.txt
		cp -r "$ROOT/demo/train" set
		costs 3 160 5 "$BIN/lora-prep" --lint --tokenizer $f set
		[[ "$output" == *"vocab.json"*"limit"* ]]
	done
}

@test "brackets of prompts take time in proportion" {
	for f in square round; do
		costs 2 400 5 "$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 \
			--prompts "$BOMBS/$f.txt" -o out/
	done
}

@test "/dev/zero is no tar" {
	costs 3 32 2 "$BIN/lora-inspect" - < /dev/zero
	costs 3 32 2 "$BIN/lora-encode" -q -m "$MODEL" -o l.tar - < /dev/zero
	costs 3 32 2 "$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only --max-train-steps 1 \
		--output-dir out - < /dev/zero
	# As many zeros as another tar pads with are none of it.
	few_latents l.tar
	costs 0 64 5 "$BIN/lora-inspect" - < <(cat l.tar; head -c 1000448 /dev/zero; cat l.tar)
}

@test "OMP_NUM_THREADS=8000 is as many threads as help" {
	"$BIN/lora-prep" -q "${PREP[@]}" -o i.tar "$ROOT/demo/train"
	costs 0 128 20 env OMP_NUM_THREADS=2 "$BIN/lora-encode" -q -m "$MODEL" -o two.tar i.tar
	costs 0 128 20 env OMP_NUM_THREADS=8000 "$BIN/lora-encode" -q -m "$MODEL" -o l.tar i.tar
	cmp two.tar l.tar
	[ "$(strace -f -e trace=clone,clone3 env OMP_NUM_THREADS=8000 "$BIN/lora-encode" -q -m "$MODEL" -o l.tar i.tar \
		2>&1 | grep -c 'clone.* = [0-9]')" -lt $((8 * $(env -u OMP_NUM_THREADS nproc))) ]
	costs 0 128 20 "$BIN/lora-prep" -j 1000 -q "${PREP[@]}" -o i.tar "$ROOT/demo/train"
}

@test "a stack of 128 KiB is enough for each of the six tools, and no limit at all is one too" {
	local s
	for s in 128 unlimited; do
		ulimit -Ss $s
		status_of 0 "$BIN/lora-prep" -q "${PREP[@]}" -o i.tar "$ROOT/demo/train"
		status_of 0 env OMP_NUM_THREADS=3 "$BIN/lora-encode" -q -m "$MODEL" -o l.tar i.tar
		status_of 0 "$BIN/lora-train" -q -m "$MODEL" --network-dim 4 --max-train-steps 2 --output-dir ad$s \
			--output-name a --save-state l.tar
		status_of 0 "$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 -p 'a (ball:1.2)' \
			-l ad$s/a.safetensors -o x.png
		status_of 0 "$BIN/lora-merge" into -q -m "$MODEL" --lora ad$s/a.safetensors -o merged$s
		for f in i.tar l.tar x.png ad$s/a.safetensors ad$s/a*-state.safetensors merged$s; do
			status_of 0 "$BIN/lora-inspect" --verify "$f"; done
	done
}
