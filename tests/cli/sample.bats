#!/usr/bin/env bats
# lora-sample as its users see it: seeds, sheets, noise, latents, parameters in the PNG, adapters, refusals.

setup_file() {
	load ../pipe/pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar ADAPTER=$BATS_FILE_TMPDIR/run/t.safetensors
	few_latents "$LATENTS"
	train 40 "$BATS_FILE_TMPDIR/run" --learning-rate 3e-3 --network-alpha 4 > /dev/null
}
setup() { load ../pipe/pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

small=(-W 64 -H 64 --steps 4 -p "a big gizmo robot on a green background")
sample() { "$BIN/lora-sample" -q -m "$MODEL" "${small[@]}" "$@"; }
png_size() { od -An -j16 -N8 -tu1 "$1" | awk '{print $1*16777216+$2*65536+$3*256+$4, $5*16777216+$6*65536+$7*256+$8}'; }

# difference A B: mean absolute difference of the tensor "latents" of two files
difference() {
	paste <(values "$1") <(values "$2") | awk '{d = $1 - $2; s += d < 0 ? -d : d; n++} END {printf "%.6f\n", s / n}'
}
values() {
	local length; length=$(od -An -N8 -tu8 "$1")
	tail -c +$((9 + length)) "$1" | od -An -v -w4 -tf4
}

@test "same seed, same bytes, whatever the threads, the locale and the place; another seed, another picture" {
	sample -o one.png > /dev/null
	LC_ALL=C.UTF-8 TZ=Asia/Tokyo OMP_NUM_THREADS=3 sample -o two.png > /dev/null
	cmp one.png two.png
	sample -o other.png --seed 43 > /dev/null
	differ one.png other.png
	[ "$(png_size one.png)" = "64 64" ]
}

@test "-o -: the picture on standard output and nothing else; a folder: one line of JSON a picture" {
	sample -o - > stream.png
	sample -o folder > lines.jsonl
	cmp stream.png folder/00000-42.png
	[ "$(jq -c '[.event, .path, .seed]' lines.jsonl)" = '["sample","folder/00000-42.png","42"]' ]
	sample -o file.png > /dev/null
	cmp stream.png file.png
}

@test "--count paints seeds N, N+1, ..." {
	sample --count 3 --seed 7 -o many > lines.jsonl
	[ "$(cd many && echo *)" = "00000-7.png 00001-8.png 00002-9.png" ]
	sample --seed 8 -o eight.png > /dev/null
	cmp many/00001-8.png eight.png
	[ "$(jq -rs 'map(.seed) | join(" ")' lines.jsonl)" = "7 8 9" ]
}

@test "--grid alone writes the sheet and no pictures; with -o both" {
	mkdir alone && cd alone && sample --count 2 --grid sheet.png > ../lines.jsonl && cd ..
	[ "$(ls alone)" = sheet.png ]
	sample --count 2 --grid sheet.png -o pictures > /dev/null
	cmp sheet.png alone/sheet.png
	[ "$(ls pictures | wc -l)" = 2 ]
	[ "$(png_size sheet.png)" = "280 177" ]         # 8 + 2 (128 + 8) wide; 8 + 128 + 3 + 3 lines of 10 + 8 high
}

@test "--grid: many pictures are continued below, the seeds of a prompt beside each other" {
	sample --count 6 --grid six.png
	sample --count 20 --steps 1 --grid twenty.png
	[ "$(png_size six.png)" = "824 177" ]           # six beside each other
	[ "$(png_size twenty.png)" = "960 515" ]        # 7 + 7 + 6
	printf '%s\n' "one --w 64 --h 64" "two --w 64 --h 64" "three --w 64 --h 64" > prompts.txt
	"$BIN/lora-sample" -q -m "$MODEL" --prompts prompts.txt --steps 1 --count 3 --grid three.png
	[ "$(png_size three.png)" = "824 326" ]         # 6 + 3, not 5 + 4; two lines: prompt, seed
}

@test "--grid: a sheet of more than 65,535 pixels is refused before anything is painted" {
	status_of 2 sample --count 4000 --grid sheet.png
	[[ "$output" == \
		*"--grid sheet.png: 4000 pictures make a sheet of more than 65535 pixels a side; paint fewer"* ]]
	[ ! -e sheet.png ]
}

@test "--grid: a label of another script gives the same bytes again" {
	for t in "кот" "猫"; do
		"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 --cfg 1 -p "$t" --grid "$t.png"
		"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 --cfg 1 -p "$t" --grid "$t.again.png"
		cmp "$t.png" "$t.again.png"
	done
}

@test "--each: a row for each adapter alone, named on the sheet and in the files' names" {
	cp "$ADAPTER" one.safetensors; mkdir sub; cp "$ADAPTER" sub/one.safetensors; cp "$ADAPTER" base.safetensors
	sample --lora one.safetensors --lora base.safetensors --each --compare --grid sheet.png -o rows > /dev/null
	[ "$(cd rows && echo *)" = "00000-42-base-2.png 00000-42-base.png 00000-42-one.png" ]
	sample -o without.png > /dev/null
	sample --lora one.safetensors -o alone.png > /dev/null
	sample --lora base.safetensors -o second.png > /dev/null
	cmp rows/00000-42-base.png without.png
	cmp rows/00000-42-one.png alone.png
	cmp rows/00000-42-base-2.png second.png
	[ "$(png_size sheet.png)" = "144 545" ]         # 8 + three rows of 10 + 128 + 3 + 3 lines of 10 + 8
	sample --lora one.safetensors --lora sub/one.safetensors:0.5 --each -o weights > /dev/null
	[ "$(cd weights && echo *)" = "00000-42-one-1.png 00000-42-one-2.png" ]
	sample --lora one.safetensors --lora base.safetensors:-1 --each --grid minus.png
	sample --lora one.safetensors --lora base.safetensors --each --grid plus.png
	differ minus.png plus.png
}

@test "--each and --compare want an adapter, and all prompts at once" {
	status_of 2 sample --each --grid sheet.png
	[[ "$output" == *"--each without --lora has nothing to compare"* ]]
	status_of 2 "$BIN/lora-sample" -m "$MODEL" --lora "$ADAPTER" --each --prompts - < /dev/null
	[[ "$output" == *"--each wants all of them, from a file"* ]]
	cp "$ADAPTER" sound.safetensors; head -c 500 "$ADAPTER" > cut.safetensors
	status_of 3 sample --lora sound.safetensors --lora cut.safetensors --each -o rows
	[ -z "$(ls rows)" ]                             # the second adapter is looked at before the first picture
}

@test "--compare: the first row is without the adapter, the second with it" {
	sample --compare --lora "$ADAPTER" --grid sheet.png -o both > /dev/null
	sample -o base.png > /dev/null
	sample --lora "$ADAPTER" -o adapted.png > /dev/null
	cmp both/00000-42-base.png base.png
	cmp both/00000-42.png adapted.png
	differ base.png adapted.png
	status_of 2 sample --compare --grid sheet.png
	[[ "$output" == *--lora* ]]
}

@test "a PNG carries the parameters as A1111 writes them" {
	sample --lora "$ADAPTER:0.5" -n "a blue ball" --cfg 3 -o p.png > /dev/null
	status_of 0 "$BIN/lora-inspect" p.png
	text=$(strings -n 6 p.png)
	[[ "$text" == *"a big gizmo robot on a green background <lora:t:0.5>"* ]]
	[[ "$text" == *"Negative prompt: a blue ball"* ]]
	[[ "$text" == *"Steps: 4, Sampler: Euler, CFG scale: 3, Seed: 42, Size: 64x64, Model: tiny-sdxl"* ]]
}

@test "<lora:...> in a prompt is left out with a warning, and no picture says that it was applied" {
	local what="is no word here: left out; name the file with --lora"
	few=("$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1)
	"${few[@]}" -p "a robot" -n "a box" -o plain.png > /dev/null
	"${few[@]}" -p "a robot <lora:last:1>" -n "<LORA:x>a box<lyco:y:.5:1>" -o tag.png 2> said > /dev/null
	cmp plain.png tag.png
	[ "$(cat said)" = "lora-sample: warning: negative: <LORA:x> $what
lora-sample: warning: negative: <lyco:y:.5:1> $what
lora-sample: warning: prompt: <lora:last:1> $what" ]
	printf 'a ball\n<lora:last:1>a robot --n a box <lora:x:1>\n' > prompts.txt
	"${few[@]}" --prompts prompts.txt -o file 2> said > /dev/null
	cmp plain.png file/00001-42.png
	[ "$(cat said)" = "lora-sample: warning: prompts.txt:2: <lora:last:1> $what
lora-sample: warning: prompts.txt:2: <lora:x:1> $what" ]
	"${few[@]}" --prompts - -o stream < prompts.txt 2> said > /dev/null
	cmp plain.png stream/00001-42.png
	grep -q 'standard input:2: <lora:x:1>' said
	"${few[@]}" -p "a <lora robot <lora:> <b:c>" -o words.png 2> said > /dev/null
	[ "$(wc -l < said)" = 1 ]
	strings -n 6 words.png | grep -q 'a <lora robot  <b:c>'
	"${few[@]}" -p "a <lora robot" -o words.png 2>&1 > /dev/null | lacks /dev/stdin .
	# the last one has no end
	"${few[@]}" -p "a <lora:x> robot <lora:y" -o words.png 2> said > /dev/null
	[ "$(wc -l < said)" = 1 ]
	strings -n 6 words.png | grep -q 'a  robot <lora:y$'
}

@test "--noise from --save-latents: what goes out comes in; its shape, its number and its values are checked" {
	# One step at guidance 1 is near enough to a copy for the file to be used as noise: only its shape and
	# finiteness matter.
	sample --count 2 --save-latents l.safetensors -o a > /dev/null
	[ "$("$BIN/lora-inspect" --keys l.safetensors | grep -c 'latents')" = 1 ]
	sed 's/"latents"/"noise"  /' l.safetensors > noise.safetensors
	sample --noise noise.safetensors --count 2 --save-latents m1.safetensors -o b > /dev/null
	sample --noise noise.safetensors --count 2 --save-latents m2.safetensors --seed 99 -o b > /dev/null
	cmp m1.safetensors m2.safetensors                      # the file decides, not the seed
	differ b/00000-99.png b/00001-100.png
	status_of 3 sample --noise noise.safetensors --count 3 -o c
	[[ "$output" == *"picture 3"* ]]
	status_of 3 sample --noise noise.safetensors -W 80 -o c
	[[ "$output" == *"[2,4,16,16]"* ]]
	status_of 3 sample --noise l.safetensors -o c
	[[ "$output" == *'"noise"'* ]]
	{ head -c -4 noise.safetensors; printf '\0\0\300\177'; } > nan.safetensors
	status_of 3 sample --noise nan.safetensors --count 2 -o d
	[[ "$output" == *NaN* ]]
}

@test "an adapter of weight 0 is no adapter, byte for byte; weight 1 is the default" {
	sample --save-latents none.safetensors -o none.png > /dev/null
	sample --lora "$ADAPTER:0" --save-latents zero.safetensors -o zero.png > /dev/null
	cmp none.safetensors zero.safetensors
	sample --lora "$ADAPTER" --save-latents one.safetensors -o one.png > /dev/null
	sample --lora "$ADAPTER:1.0" --save-latents said.safetensors -o said.png > /dev/null
	cmp one.safetensors said.safetensors
	sample --lora "$ADAPTER:0.5" --lora "$ADAPTER:0.5" --save-latents halves.safetensors -o halves.png > /dev/null
	# Two halves are one in exact arithmetic; in float32 each update is rounded by itself, 1e-4 after four steps
	# leaves two digits.
	awk -v d="$(difference one.safetensors halves.safetensors)" 'BEGIN { exit !(d < 1e-4) }'
}

@test "a file whose name ends like a weight is still a file" {
	cp "$ADAPTER" "odd:0.5"
	sample --lora "odd:0.5" --save-latents odd.safetensors -o odd.png > /dev/null
	sample --lora "$ADAPTER" --save-latents one.safetensors -o one.png > /dev/null
	cmp one.safetensors odd.safetensors
}

@test "the merged model paints nearly what the adapter paints" {
	"$BIN/lora-merge" into -q -m "$MODEL" --lora "$ADAPTER" -o merged > /dev/null
	sample --lora "$ADAPTER" --save-latents lora.safetensors -o lora.png > /dev/null
	"$BIN/lora-sample" -q -m merged "${small[@]}" --save-latents merged.safetensors -o merged.png > /dev/null
	sample --save-latents base.safetensors -o base.png > /dev/null
	# The merged weights are rounded to the model's own half precision (11 bits), the adapter's update is not: a
	# weight moves by up to 2^-12 of itself.  The effect must be far smaller than the adapter's own.
	rounding=$(difference lora.safetensors merged.safetensors)
	effect=$(difference lora.safetensors base.safetensors)
	echo "rounding $rounding, the adapter's effect $effect"
	awk -v r="$rounding" -v x="$effect" 'BEGIN { exit !(x > 0.01 && r < x / 10) }'
}

@test "sizes the model cannot take are refused with the step that works" {
	status_of 2 sample -W 72 -o x.png
	[[ "$output" == *72* && "$output" == *16* ]]
	[ ! -e x.png ]
	printf 'a ball\na ball --w 64 --h 60\n' > prompts.txt
	status_of 2 "$BIN/lora-sample" -q -m "$MODEL" --prompts prompts.txt -o x
	[[ "$output" == *": prompts.txt:2: 64x60 is no multiple of 16; 64x64 is" ]]
}

@test "-p several times: a picture for each, in order, as of a prompt file" {
	printf 'a ball\na cup\n' > prompts.txt
	few=("$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1)
	"${few[@]}" --prompts prompts.txt --count 2 -o file > /dev/null
	"${few[@]}" -p "a ball" -p "a cup" --count 2 -o typed > lines.jsonl
	diff -r file typed
	[ "$(jq -r .prompt lines.jsonl | tr '\n' ,)" = "a ball,a ball,a cup,a cup," ]
	status_of 2 "$BIN/lora-sample" -m nowhere -p a -p b -o one.png
	[[ "$output" == *"-o one.png takes one picture, these are 2; name a folder" ]]
	"${few[@]}" -p "" -o empty.png > /dev/null      # no words, which is a prompt
}

@test "prompt files: kohya's options, and a mistake at its line" {
	printf '# a comment\na ball --w 48 --h 80 --d 5 --s 2 --l 2 --n a box\n\na cup --d 6\n' > prompts.txt
	"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 4 --prompts prompts.txt -o x > lines.jsonl
	[ "$(cd x && echo *)" = "00000-5.png 00001-6.png" ]
	[ "$(png_size x/00000-5.png)" = "48 80" ]
	strings -n 6 x/00000-5.png | grep -q 'Steps: 2, Sampler: Euler, CFG scale: 2, Seed: 5, Size: 48x80'
	printf 'a ball\na cup --s none\n' > bad.txt
	status_of 2 "$BIN/lora-sample" -q -m "$MODEL" --prompts bad.txt -o x
	[[ "$output" == *"bad.txt:2:"* ]]
	printf 'a ball\na cup --ss foo\n' > bad.txt
	status_of 2 "$BIN/lora-sample" -q -m "$MODEL" --prompts bad.txt -o x
	[[ "$output" == *"bad.txt:2: no sampler is called 'foo'"* ]]
	printf 'a ball\na \xe4 cup\n' > bad.txt
	status_of 2 "$BIN/lora-sample" -q -m "$MODEL" --prompts bad.txt -o x
	[[ "$output" == *"bad.txt:2: byte 2 (0xe4) is no valid UTF-8"* ]]
	# a seed is any of 64 bits, in JSON too, whose library stops at 2^63
	printf '[{"prompt": "18446744073709551615 \\" 99999999999999999999", "seed": 18446744073709551615},
		{"prompt": "a", "seed":9223372036854775808}, "a --d 18446744073709551615"]' > seeds.json
	"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 --prompts seeds.json -o seeds > lines.jsonl
	[ "$(jq -r .seed lines.jsonl | tr '\n' ' ')" = "18446744073709551615 9223372036854775808 18446744073709551615 " ]
	[ "$(jq -r .prompt lines.jsonl | head -n 1)" = '18446744073709551615 " 99999999999999999999' ]
	for bad in 18446744073709551616 -9223372036854775809; do
		printf '[{"prompt": "a", "seed": %s}]' $bad > bad.json
		status_of 2 "$BIN/lora-sample" -q -m "$MODEL" --prompts bad.json -o x
		[[ "$output" == *"bad.json: entry 1: --d '$bad' is no seed"* ]]
	done
	printf '\xef\xbb\xbf# what Windows writes\r\na cup\r\n' > mark.txt
	"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 --prompts mark.txt -o marked > /dev/null
	[ "$(ls marked)" = 00000-42.png ]
	"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 --prompts - -o piped < mark.txt > /dev/null
	[ "$(ls piped)" = 00000-42.png ]
}

# as_diffusers NAME OPTION...: what --rng torch gives, against samplers-extra/pipeline_NAME.safetensors
as_diffusers() {
	local reference=$ROOT/tests/golden/samplers-extra/pipeline_$1.safetensors
	"$BIN/lora-sample" -q -m "$ROOT/tests/golden/tiny-a/model" --rng torch --seed 42 "${@:2}" \
		--save-latents ours.safetensors \
		-o ours.png > /dev/null
	# Latents up to 63; float32 leaves 1e-4 at most after 12 steps (measured), on average far less.
	difference "$reference" ours.safetensors
	awk -v d="$(difference "$reference" ours.safetensors)" 'BEGIN { exit !(d < 1e-4) }'
}

@test "--rng torch paints what diffusers paints for the seed, noise between steps too" {
	whole=(-W 64 -H 64 --steps 12 --cfg 5 -p "a big red circle on a blue background" -n "blurry, bad")
	as_diffusers euler "${whole[@]}"
	strings -n 6 ours.png | grep -q "RNG: CPU"
	as_diffusers euler_a "${whole[@]}" --sampler euler_a
	strings -n 6 ours.png | grep -q "Sampler: Euler a,"
}

@test "clip skip, weights and long prompts against diffusers" {
	size=(-W 48 -H 32 --steps 6)
	as_diffusers clip_skip "${size[@]}" --cfg 1 --clip-skip 3 -p "a big red circle on a blue background"
	as_diffusers weights "${size[@]}" --cfg 5 -p "a (big:1.3) red circle on a [blue] background" -n "(blurry), bad"
	as_diffusers long "${size[@]}" --cfg 5 \
		-p "$(printf 'a big red circle on a blue background, %.0s' {1..12})the end" -n "blurry, bad"
}

@test "every sampler paints its own picture, the same one each time; kohya's names" {
	for s in euler euler_a ddim dpm++2m heun lms pndm; do
		sample --sampler $s -o "$s.png" > /dev/null
		sample --sampler $s -o again.png > /dev/null
		cmp "$s.png" again.png
	done
	[ "$(sha256sum ./*.png | cut -c-64 | sort -u | wc -l)" = 7 ]
	sample --sampler k_euler_a -o k.png > /dev/null
	cmp k.png euler_a.png
	sample --sampler dpmsolver++ -o k.png > /dev/null
	cmp k.png dpm++2m.png
	status_of 2 sample --sampler eulre -o k.png
	[[ "$output" == *"did you mean 'euler'?"*"pndm"* ]]
}

@test "weights: brackets count, weight 1 and --plain do not, and escaped brackets are words" {
	at() { "$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 2 "$@" > /dev/null; }
	at -p "a big gizmo robot" -o none.png
	at -p "a (big:1) gizmo robot" -o one.png
	at -p "a (big:1.6) gizmo robot" -o more.png
	at -p "a [big] gizmo robot" -o less.png
	at -p "a (big) gizmo robot" --plain -o words.png
	at -p "a \\(big\\) gizmo robot" -o escaped.png
	cmp <(pixels none.png) <(pixels one.png)
	cmp <(pixels words.png) <(pixels escaped.png)
	[ "$(for f in none more less words; do pixels $f.png | sha256sum; done | sort -u | wc -l)" = 4 ]
}
# The picture without what it says about itself.
pixels() { tail -c +42 "$1" | grep -abo IDAT | head -n 1 | cut -d: -f1 | { read -r at; tail -c +$((42 + at)) "$1"; }; }

@test "a long prompt is read to its end, in chunks" {
	at() { "$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 2 "$@" > /dev/null; }
	local long; long=$(printf 'a red ball and %.0s' {1..30})
	at -p "$long a cup" -o cup.png
	at -p "$long a box" -o box.png
	differ <(pixels cup.png) <(pixels box.png)
	at -p "a cup" -n "$long a box" -o negative.png
	status_of 2 at -p "$(printf 'ball %.0s' {1..3000})" -o much.png
	[[ "$output" == *"2400 tokens"* ]]
}

@test "--clip-skip: 2 is the default; further from the end is another picture, which says so" {
	sample -o none.png > /dev/null
	sample --clip-skip 2 -o two.png > /dev/null
	cmp none.png two.png
	sample --clip-skip 3 -o three.png > /dev/null
	differ <(pixels none.png) <(pixels three.png)
	strings -n 6 three.png | grep -q "Clip skip: 3, RNG"
	status_of 2 sample --clip-skip 99 -o x.png
	[[ "$output" == *"clip skip 99"* ]]
}

@test "--prompts -: each line is painted before the next is read; a bad one does not cost the model" {
	mkfifo lines
	"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 2 --prompts - -o x < lines > told 2> errors 3>&- &
	local painter=$! i
	exec 5> lines
	echo 'a ball --d 5' >&5
	for i in {1..300}; do [ -s told ] && break; sleep 0.1; done
	[ "$(jq -r .path told)" = x/00000-5.png ]
	printf '# no prompt\n\na cup --s none\na cup --w 50\na cup --n a box\n' >&5
	exec 5>&-
	status=0; wait $painter || status=$?
	[ "$status" = 2 ]
	[ "$(jq -r .path told | tail -n 1)" = x/00001-42.png ]
	grep -q 'standard input:4: --s .none' errors
	grep -q 'standard input:5: 50x64 is no multiple of 16; 48x64 is; line 5 is left out' errors
	"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 2 -p 'a ball' --seed 5 -o one.png > /dev/null
	cmp one.png x/00000-5.png
	status_of 2 "$BIN/lora-sample" -m "$MODEL" --prompts - --grid g.png < /dev/null
	status_of 2 "$BIN/lora-sample" -m "$MODEL" --prompts - -o one.png < /dev/null
	status_of 0 "$BIN/lora-sample" -q -m "$MODEL" --prompts - -o y < /dev/null
}

@test "hashes: a single file's first ten digits, an adapter's as A1111 finds it" {
	local model=$ROOT/tests/golden/single-file/tiny-a.safetensors
	"$BIN/lora-sample" -q -m "$model" --model-config "$ROOT/tests/golden/tiny-a/model" "${small[@]}" \
		-o m.png > /dev/null
	strings -n 6 m.png | grep -q "Model hash: $(sha256sum "$model" | cut -c-10), Model: tiny-a, RNG: Philox"
	sample --lora "$ADAPTER" -o l.png > /dev/null
	hash=$(tail -c +$((9 + $(od -An -N8 -tu8 "$ADAPTER"))) "$ADAPTER" | sha256sum)
	strings -n 6 l.png | grep -q "Lora hashes: \"t: ${hash:0:12}\""
}

@test "mistakes are status 2 before anything is loaded, and leave nothing behind" {
	status_of 2 "$BIN/lora-sample" -p x
	[[ "$output" == *"-m"* ]]
	# The model does not exist: what is said is about the mistake, so the model was not looked for.
	status_of 2 "$BIN/lora-sample" -m nowhere -p x --sampler heun3
	[[ "$output" == *heun3*euler* ]]
	status_of 2 "$BIN/lora-sample" -m nowhere -p x --seed -1
	status_of 2 "$BIN/lora-sample" -m nowhere -p x --seed 18446744073709551616
	status_of 2 "$BIN/lora-sample" -m nowhere -p x --count 2 -o -
	status_of 2 "$BIN/lora-sample" -m nowhere -p x --count 2 -o one.png
	status_of 2 "$BIN/lora-sample" -m nowhere
	status_of 2 "$BIN/lora-sample" -m nowhere -p x --prompts y
	status_of 2 "$BIN/lora-sample" -m nowhere -p x --rng dice
	[ -z "$(ls -A)" ]
	status_of 3 "$BIN/lora-sample" -m nowhere -p x -o out.png
	[[ "$output" == *nowhere* ]]
}

@test "an adapter that is not there or not this model's is status 3, before the first picture" {
	status_of 3 sample --lora nowhere.safetensors --compare -o x
	[[ "$output" == *nowhere.safetensors* ]]
	[ -z "$(ls x)" ]
	status_of 3 sample --lora "$MODEL/vae/diffusion_pytorch_model.safetensors" -o x.png
	[ ! -e x.png ]
}

@test "a model with NaN paints no picture: status 3" {
	cp -rL "$MODEL" broken && chmod -R u+w broken
	# The last bytes of the file are a weight, and all ones are NaN in F32, F16 and BF16.
	size=$(stat -c %s broken/unet/diffusion_pytorch_model.safetensors)
	printf '\377\377\377\377' | dd of=broken/unet/diffusion_pytorch_model.safetensors bs=1 seek=$((size - 4)) \
		conv=notrunc 2> /dev/null
	"$BIN/lora-inspect" --keys broken/unet/diffusion_pytorch_model.safetensors | tail -n 3
	status_of 3 "$BIN/lora-sample" -q -m broken "${small[@]}" -o x.png
	[[ "$output" == *NaN* ]]
	[ ! -e x.png ]
}

@test "a spacing of timesteps that is not followed is said" {
	cp -r "$MODEL" spaced
	jq '.timestep_spacing = "trailing"' "$MODEL/scheduler/scheduler_config.json" \
		> spaced/scheduler/scheduler_config.json
	"$BIN/lora-sample" -q -m spaced -W 32 -H 32 --steps 1 -p robot -o a.png > /dev/null 2> err
	grep -q "warning: spaced: its scheduler's timestep_spacing is not followed" err
	"$BIN/lora-sample" -q -m "$MODEL" -W 32 -H 32 --steps 1 -p robot -o a.png > /dev/null 2> err
	[ ! -s err ]
}

@test "a folder's picture is replaced by none: the same one stays as it is, another takes the next free number" {
	paint() { "$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 -o x "$@" | jq -r .path | xargs; }
	[ "$(paint -p 'a ball')" = x/00000-42.png ]
	[ "$(paint -p 'a cup')" = x/00001-42.png ]
	[ "$(paint -p 'a cup' --seed 7)" = x/00000-7.png ]
	(cd x && sha256sum -- *) > sums
	touch -d '2001-01-01' x/*
	# again: the same names, and nothing is written
	[ "$(paint -p 'a cup')" = x/00001-42.png ]
	[ "$(paint -p 'a ball')" = x/00000-42.png ]
	[ -z "$(find x -newermt 2002-01-01 -type f)" ]
	# several at once, among them one that is there; and identical ones
	printf 'a ball\na box\na box\n' > three.txt
	[ "$(paint --prompts three.txt)" = "x/00000-42.png x/00002-42.png x/00002-42.png" ]
	[ "$(paint --prompts - < three.txt)" = "x/00000-42.png x/00002-42.png x/00002-42.png" ]
	# what only looks like a picture is none
	mkdir x/00003-42.png && ln -s nowhere x/00004-42.png
	[ "$(paint -p 'a dog')" = x/00005-42.png ]
	(cd x && sha256sum -c --quiet ../sums)
	# a file that was named is replaced
	"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 -p 'a ball' -o one.png > /dev/null
	"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 -p 'a cup' -o one.png > /dev/null
	cmp one.png x/00001-42.png
}

@test "several at once into one folder: each keeps its picture" {
	local i
	for i in 1 2 3 4 5 6; do
		"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 -o x -p "prompt $i" > /dev/null &
	done
	wait
	[ "$(ls x | wc -l)" = 6 ]
	[ "$(sha256sum x/*.png | cut -c1-64 | sort -u | wc -l)" = 6 ]
	[ "$(find x -name '.*' | wc -l)" = 0 ]
}

@test "-o: a file that is there and does not end in .png is refused before anything is read, and keeps its bytes" {
	cp "$ROOT"/demo/train/*/gizmo01.png gizmo.jpg; chmod 444 gizmo.jpg
	cp "$ADAPTER" a.safetensors; echo text > png; : > .PNG; ln -s png link
	for f in gizmo.jpg a.safetensors png .PNG link; do
		cp "$f" before
		status_of 2 "$BIN/lora-sample" -m nowhere -p a -o "$f"
		[[ "$output" == "lora-sample: $f: is there and no folder; name a folder, or a file that ends in .png" ]] ||
			{ echo "$output"; return 1; }
		status_of 2 "$BIN/lora-sample" -m nowhere --prompts - -o "$f" < /dev/null
		cmp "$f" before
	done
	# what the caller opened is written, whatever it is called
	sample -o a.png > /dev/null; sample -o a.png > /dev/null
	for to in /dev/stdout /dev/fd/3 /proc/self/fd/3; do
		sample -o $to > o.dat 3> three.dat
		case $to in *3) cmp a.png three.dat ;; *) head -c "$(wc -c < a.png)" o.dat | cmp - a.png ;; esac
	done
	sample -o /dev/stdout | head -c "$(wc -c < a.png)" | cmp - a.png
	sample -o /dev/null > /dev/null
	mkfifo pipe; cat pipe > piped & sample -o pipe > /dev/null; wait $!; cmp a.png piped
}

# idle OPTION...: the warnings of settings that change nothing
idle() { sample --steps 1 -o idle.png "$@" 2>&1 > /dev/null | sed 's/^lora-sample: warning: //'; }

@test "a setting that changes nothing is warned of in one line, and only there" {
	sample --steps 1 --save-latents l.safetensors -o l.png > /dev/null
	sed 's/"latents"/"noise"  /' l.safetensors > noise.safetensors
	[ "$(idle --strength 0.5)" = "--strength does nothing without --image and --mask" ]
	[[ "$(idle --discrete-flow-shift 3)" == "--discrete-flow-shift does nothing: the model predicts no flow"* ]]
	[ "$(idle -n blurry --cfg 1)" = "--negative does nothing with --cfg 1, which is no guidance" ]
	[ "$(idle --zero-negative --cfg 1)" = "--zero-negative does nothing with --cfg 1, which is no guidance" ]
	[ "$(idle --zero-negative -n blurry)" = "--zero-negative does nothing: no negative prompt is empty" ]
	[ "$(idle --noise noise.safetensors --seed 42)" = "--seed does nothing beside --noise but name the pictures" ]
	[ "$(idle --noise noise.safetensors --rng torch)" = "--rng does nothing beside --noise" ]
	[ "$(idle --noise noise.safetensors --rng torch --seed 1 --strength .5 | wc -l)" = 3 ]
	# what acts, in one picture at least
	for says in "--strength 1" "--flow-model --discrete-flow-shift 3" "-n blurry" "--negative= --cfg 1" "--cfg 1" \
		"--zero-negative" "--seed 1 --rng torch" "--noise noise.safetensors" \
		"--noise noise.safetensors --sampler euler_a --seed 1 --rng torch"; do
		[ -z "$(idle $says)" ] || { echo "$says: $(idle $says)"; return 1; }
	done
	printf 'a --l 1 --d 5\na --l 3 --n blurry --d 6\na --n blurry\n' > prompts.txt
	for says in "-n dark" "--zero-negative" "--zero-negative --negative= --cfg 1"; do
		"$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 --prompts prompts.txt -o many $says 2>&1 > /dev/null |
			lacks /dev/stdin .
	done
	echo a | "$BIN/lora-sample" -q -m "$MODEL" -W 64 -H 64 --steps 1 --prompts - -o many -n dark --cfg 1 2>&1 \
		> /dev/null | lacks /dev/stdin .
}
