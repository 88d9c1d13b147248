#!/usr/bin/env bats
# lora-inspect as a user meets it.

setup() {
	root=$BATS_TEST_DIRNAME/../..
	bin=${BIN:-$root/build/gcc/bin}
	golden=$root/tests/golden
	work=$(mktemp -d)
	cd "$work" || return 1
}

teardown() {
	cd / && rm -rf "$work"
}

inspect() {
	"$bin/lora-inspect" "$@"
}

# byte N: one byte of that value
byte() {
	printf '%b' "\\x$(printf %x "$1")"
}

# the eight bytes before a header of at most 255 bytes in the file header
header_length() {
	byte "$(stat -c %s header)"
	printf '\0\0\0\0\0\0\0'
}

# change FILE OFFSET: flip one bit
change() {
	byte $(($(od -An -tu1 -j "$2" -N 1 "$1") ^ 1)) | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

@test "an adapter: kind, ranks, modules, hash" {
	run inspect --verify "$golden/tiny-a/lora_conv.safetensors"
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == *": a LoRA adapter" ]]
	[[ $output == *"rank        2, alpha 1: 220 modules"* ]]
	[[ $output == *"3, alpha 2: 38 modules"* ]]
	[[ $output == *"modules     258: UNet 258"* ]]
	[[ $output == *"base        sdxl_base_v1-0"* ]]
	[[ $output == *"(matches the content)"* ]]
}

@test "text fits 80 columns" {
	cp "$golden/tiny-a/lora_unet.safetensors" "$golden/single-file/tiny-b.safetensors" .
	run inspect --verify lora_unet.safetensors tiny-b.safetensors
	[ "$status" -eq 0 ]
	[ "$(printf '%s\n' "$output" | awk 'length > 80' | wc -l)" -eq 0 ]
}

@test "--json: one object a file" {
	inspect --json "$golden/tiny-a/lora_text.safetensors" "$golden/tiny-b/model" \
		"$golden/single-file/tiny-a.safetensors" \
		"$golden/tiny-a/unet.safetensors" >out.jsonl
	[ "$(jq -r .kind out.jsonl | xargs)" = "adapter checkpoint checkpoint tensors" ]
	jq -es 'all(.sound)' out.jsonl >/dev/null
	[ "$(jq -c 'select(.kind == "adapter").modules' out.jsonl)" = \
		'{"unet":0,"te1":18,"te2":24,"other":0,"total":42}' ]
}

@test "--keys and --metadata" {
	inspect --json --keys --metadata "$golden/tiny-a/lora_unet.safetensors" >out.json
	[ "$(jq '.keys | length' out.json)" -eq 576 ]
	[ "$(jq -r .metadata.ss_network_dim out.json)" = 2 ]
	inspect --keys "$golden/tiny-a/lora_unet.safetensors" |
		grep -q 'F32 .*\[2,16\] .*lora_unet_input_blocks_4_1_proj_in.lora_down.weight'
	inspect --metadata "$golden/tiny-a/lora_unet.safetensors" | grep -qx '  ss_base_model_version = sdxl_base_v1-0'
}

@test "--norms agree with what a merge adds" {
	"$bin/lora-merge" into -q -m "$golden/tiny-a/model" --lora "$golden/tiny-a/lora_conv.safetensors" -o merged \
		--report report.jsonl
	inspect --json --norms "$golden/tiny-a/lora_conv.safetensors" >norms.json
	# relative difference below 1e-6: both work in double on the same floats
	jq -es --slurpfile n norms.json '($n[0].norms | map({(.module): .norm}) | add) as $norm
		| map(select(.event == "module"))
		| length == 258 and all((.update_norm / $norm[.module] - 1) | fabs < 1e-6)' report.jsonl
}

@test "-m MODEL: norms, largest values and effective ranks of each kind's true update are NumPy's" {
	cd "$golden/adapters"
	# figures.json: of the update in the effect files, which are F32: 2^-24 an element shows in a norm as 1e-7 and
	# in an effective rank, where it makes small values of zeros, as 1e-5
	for f in $(jq -r keys[] figures.json); do
		inspect --json --norms --spectrum -m ../tiny-a/model "$f" | jq -e --arg f "$f" --slurpfile figures \
			figures.json 'def near($b; $t): . / $b - 1 | fabs < $t;
			(.norms | map({(.module): .norm}) | add) as $norm
			| (.spectrum | map({(.module): .}) | add) as $s | $figures[0][$f] | length > 1 and
			all(to_entries[]; .key as $m | .value as [$n, $largest, $rank]
				| ($norm[$m] | near($n; 1e-6)) and ($s[$m].singular_values[0] | near($largest; 1e-6))
				and ($s[$m].effective_rank | near($rank; 1e-4)))' > /dev/null || { echo "$f"; return 1; }
	done
}

@test "--norms says what it does not know without the model" {
	inspect --json --norms "$golden/adapters/oft_kohya_tight.safetensors" |
		jq -e '[.norms[] | has("norm")] | any | not' > /dev/null
	inspect --norms "$golden/adapters/oft_kohya_tight.safetensors" |
		grep -q '^  norms       14 modules turn the model.s own weights; -m MODEL gives the'
	run inspect --norms "$golden/adapters/loha_dora_in.safetensors"
	[[ $output == *"without the lengths of 9 DoRA modules; -m MODEL gives the true"* ]]
	inspect "$golden/adapters/lokr_tucker.safetensors" | grep -qE '^  +whole: 3 modules$'
	inspect --norms "$golden/adapters/lokr_tucker.safetensors" | grep -qE ' whole lora_unet_input_blocks_3_0_op$'
}

@test "--spectrum: values whose squares are the norm's, their effective rank, blocks" {
	for f in tiny-a/lora_conv adapters/{locon_tucker,loha_tucker,lokr_both,lokr_tucker}; do
		# within 1e-6: both work in double, on factors rounded to floats once where the file has three
		inspect --json --norms --spectrum "$golden/$f.safetensors" | jq -e '
			(.norms | map({(.module): .norm}) | add) as $norm | (.spectrum | length) == .modules.total
			and (.spectrum | all(.[]; (.singular_values | map(. * .) | add | sqrt) / $norm[.module] - 1
				| fabs < 1e-6))
			and (.spectrum | all(.[]; (.singular_values | add) as $sum | .effective_rank / (.singular_values
				| map(. / $sum | select(. > 0) | -. * log) | add | exp) - 1 | fabs < 1e-9))
			and (.blocks | map(.modules) | add) == .modules.total' > /dev/null || { echo "$f"; return 1; }
	done
}

@test "a model that nobody here has: ranks, norms and spectrum by names" {
	printf '{"%s.lora_A.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"%s.lora_B.weight":{%s}}' \
		transformer.single_transformer_blocks.0.proj_mlp transformer.single_transformer_blocks.0.proj_mlp \
		'"dtype":"F32","shape":[2,1],"data_offsets":[8,16]' > header
	{ header_length; cat header; printf '\0\0\200\77\0\0\0\0\0\0\200\77\0\0\200\77'; } > x
	# down (1,0), up (1,1): a norm of sqrt 2, which is the one singular value
	inspect --json --norms --spectrum x | jq -e '.sound and .modules.total == 1 and .ranks[0].rank == 1 and
		(.norms[0].norm - 1.4142135623730951 | fabs < 1e-15) and
		(.spectrum[0].singular_values[0] - 1.4142135623730951 | fabs < 1e-15) and
		(.spectrum[0].effective_rank - 1 | fabs < 1e-15)' > /dev/null
	inspect --json --diff x x | jq -e '.diff.modules.cosine == 1' > /dev/null
}

@test "what changes nothing is dead" {
	# two modules with an up of zeros and one without: F32 1 is 0 0 128 63
	printf '{' > header
	for i in 0 1 2; do
		printf '"lora_unet_x%d.lora_down.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[%d,%d]},' \
			$i $((8 * i)) $((8 * i + 4))
		printf '"lora_unet_x%d.lora_up.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[%d,%d]}%s' \
			$i $((8 * i + 4)) $((8 * i + 8)) "$([ $i = 2 ] && echo '}' || echo ,)"
	done >> header
	truncate -s $((($(stat -c %s header) + 7) / 8 * 8)) header
	tr '\0' ' ' < header > padded
	{ printf '%b' "\\x$(printf %x $(($(stat -c %s padded) % 256)))\\x$(printf %x $(($(stat -c %s padded) / 256)))\0\0\0\0\0\0"
	  cat padded; for up in '\0\0\0\0' '\0\0\200\77' '\0\0\0\0'; do printf "\\0\\0\\200\\77$up"; done; } > x
	inspect --json --norms x | jq -e '.untrained == 2 and .dead == ["lora_unet_x0", "lora_unet_x2"]' > /dev/null
	[[ $(inspect --norms x) == *"dead        2 modules change nothing"* ]]
	inspect --html page.html x
	grep -qF '<tr><th>dead</th><td class="long">lora_unet_x0<br>lora_unet_x2</td></tr>' page.html
}

# value of the first cell of a class behind a name in a page's table
cells() {
	grep "^<tr><td[^>]*>$2<" "$1" | grep -o '<td class="n">[^<]*' | sed 's/.*>//' | tr '\n' ' '
}

# facts of a page, as an object
facts() {
	sed -n 's:.*<script type="application/json" id="facts">\(.*\)</script>.*:\1:p' "$1"
}

@test "--html: a page of its own, whose figures are --json's" {
	f=$golden/tiny-a/lora_conv.safetensors
	inspect --html page.html "$f" > said
	[ ! -s said ]
	inspect --json --norms --spectrum --metadata "$f" > facts.json
	[ "$(facts page.html | jq -cS .)" = "$(jq -cS . facts.json)" ]
	# with --json the same object is printed too
	inspect --json --html other.html "$f" | cmp - facts.json
	cmp page.html other.html
	# what is seen is the same number with five digits: of a block, and of a module
	[ "$(cells page.html IN04)" = "$(jq -r '.blocks[] | select(.block == "IN04") |
		"\(.modules) \(.effective_rank) \(.norm)"' facts.json | xargs -n 1 printf '%.5g ')" ]
	m=lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k
	[ "$(cells page.html $m)" = "$(jq -r --arg m $m '(.norms[] | select(.module == $m)) as $n |
		.spectrum[] | select(.module == $m) | "\($n.rank) \($n.alpha) \($n.norm) - " +
		"\(.singular_values[0]) \(.effective_rank)"' facts.json | xargs -n 1 |
		while read -r x; do [ "$x" = - ] && printf -- '- ' || printf '%.5g ' "$x"; done)" ]
	# nothing from elsewhere
	[ "$(grep -cE '(src|href|url)[=(]"?[^d"]' page.html)" -eq 0 ]
	run inspect --html page.html "$f" "$f"
	[ "$status" -eq 2 ]
	cp "$f" mine.safetensors
	run inspect --html mine.safetensors mine.safetensors
	[ "$status" -eq 2 ]
	cmp "$f" mine.safetensors
}

@test "--html: texts of the file are texts of the page; a thumbnail is a picture in it or nothing" {
	# page METADATA: of a file with one module and this metadata
	page() {
		printf '{"__metadata__":%s,"lora_unet_out_2.lora_down.weight":{"dtype":"F32","shape":[1,1],%s},%s}' "$1" \
			'"data_offsets":[0,4]' '"lora_unet_out_2.lora_up.weight":{"dtype":"F32","shape":[1,1],
			"data_offsets":[4,8]}' > header
		{ byte $(($(stat -c %s header) % 256)); byte $(($(stat -c %s header) / 256)); printf '\0\0\0\0\0\0'
		  cat header; printf '\0\0\200\77\0\0\200\77'; } > x
		inspect --html page.html x
	}
	page '{"ss_tag_frequency":"{\"a\":{\"<b>\":3,\"c\":1},\"d\":{\"c\":4}}",
		"modelspec.thumbnail":"data:image/png;base64,iVBORw0KGgo="}'
	grep -q '<img alt="sample" src="data:image/png;base64,iVBORw0KGgo=">' page.html
	grep -o '<td class="long">[^<]*</td><td class="n">[^<]*' page.html | sed 's/<[^>]*>/ /g' | xargs > tags
	grep -q 'c 5 &lt;b&gt; 3' tags
	lacks() { ! grep -qF -- "$2" "$1"; }
	lacks page.html '<b>'
	for url in 'https://example.org/x.png' 'data:image/png;base64,AA\" onerror=\"x' 'data:text/html;base64,AAAA'; do
		page "{\"modelspec.thumbnail\":\"$url\",\"</script>\":\"<script>\"}"
		lacks page.html '<img'
		[ "$(grep -o '</*script' page.html | wc -l)" -eq 2 ]
		facts page.html | jq -e '.metadata["</script>"] == "<script>"' > /dev/null
	done
}

@test "--tokens: how far each encoder's states of a text move is what PyTorch's states say" {
	# NumPy on context and pooled of text.safetensors and train_text.safetensors, captions 0 and 1, without BOS and
	# what follows the words; F32 states differ by some 1e-6 of the largest, and a change is 5 % of that
	printf '%s\n' 'a big red circle on a blue background' 'mysubject person! portrait, high quality!!' > words
	inspect --json -m "$golden/tiny-a/model" --tokens words "$golden/tiny-a/lora_text.safetensors" | jq -e '
		def near($b; $t): . / $b - 1 | fabs < $t;
		def is($c; $d): (.cosine | near($c; 1e-6)) and (.change | near($d; 1e-5));
		(.tokens | map({(.word): .}) | add) as $w | (.tokens | length) == 3
		and ($w["a big red circle on a blue background"] | (.te1 | is(0.998437404; 0.0566881519))
			and (.te2 | is(0.998434103; 0.0565701573)) and (.pooled | is(0.997725604; 0.0686984759)))
		and ($w["mysubject person! portrait, high quality!!"] | (.te1 | is(0.99859299; 0.0530949195))
			and (.te2 | is(0.997807718; 0.0662404935)) and (.pooled | is(0.998024954; 0.0632234284)))
		' > /dev/null
}

@test "--tokens: words, tags, and what there is to say without them" {
	f=$golden/tiny-a/lora_text.safetensors m=$golden/tiny-a/model
	inspect -m "$m" --tokens='cat, a dog' "$f" > said
	[ "$(grep -cE '^  +0\.[0-9]+ .* (cat|a dog|\(no words\))$' said)" -eq 3 ]
	inspect -m "$m" --tokens=cat "$golden/tiny-a/lora_unet.safetensors" | grep -q 'it has no modules on text encoders'
	run inspect -m "$m" --tokens -- "$f"
	[ "$status" -eq 3 ]
	[[ $output == *"its metadata have no tags; say which words"* ]]
	run inspect --tokens=cat "$f"
	[ "$status" -eq 2 ]
	[[ $output == *"say -m MODEL"* ]]
	run inspect -m "$m" --tokens "$f"
	[ "$status" -eq 2 ]
	[[ $output == *"is taken for the words of --tokens"* ]]
	# an adapter of everything: its UNet's modules are not asked for
	"$bin/lora-merge" add -q "$golden/tiny-a/lora_unet.safetensors" "$f" -o both.safetensors
	diff <(inspect --json -m "$m" --tokens=cat both.safetensors | jq -c .tokens) \
		<(inspect --json -m "$m" --tokens=cat "$f" | jq -c .tokens)
	inspect -m "$m" --html page.html --tokens=cat both.safetensors
	[ "$(cells page.html cat)" = "$(facts page.html | jq -r '.tokens[] | select(.word == "cat") |
		"\(.te1.change) \(.te2.change) \(.pooled.change)"' | xargs -n 1 printf '%.5g ')" ]
}

@test "--diff: the same adapter in other dialects has the same modules" {
	for to in comfy diffusers peft; do
		"$bin/lora-merge" convert -q "$golden/tiny-a/lora_text.safetensors" --to $to -o $to.safetensors || continue
		# diffusers' names have no alpha: its scale goes into a factor, rounded to 2^-24
		inspect --json --diff "$golden/tiny-a/lora_text.safetensors" $to.safetensors | jq -e '.diff.modules |
			(.only_here + .only_there | length) == 0 and (.both | length) == 42 and
			(.cosine - 1 | fabs < 1e-12) and (.norm_ratio - 1 | fabs < 1e-6) and
			(.both | all(.[]; .cosine - 1 | fabs < 1e-12))' > /dev/null
	done
	[ -s peft.safetensors ]
}

@test "--diff: what one has alone, and what is otherwise" {
	a=$golden/tiny-a/lora_unet.safetensors b=$golden/tiny-a/lora_conv.safetensors
	inspect --json --diff $b $a | jq -e '.diff | .tensors.equal == 192 and .tensors.other_values == 384 and
		(.tensors.only_there | length) == 198 and (.modules.only_there | length) == 66 and
		.metadata.only_there.ss_network_args == "{\"conv_dim\": \"3\", \"conv_alpha\": \"2\"}" and
		.metadata.other_values.ss_output_name == ["lora_unet", "lora_conv"]' > /dev/null
	run inspect --diff $b $a
	[[ $output == *"layers      192 in both, 0 only here, 66 only there"* ]]
	[ "$(grep -c '^  > lora_unet_' <<< "$output")" -eq 66 ]
	# A - A: an angle of 0, and half the strength is half the norm
	inspect --json --diff $a $a | jq -e '.diff.modules | .cosine == 1 and .norm_ratio == 1' > /dev/null
	# any two files of tensors
	inspect --json --diff "$golden/tiny-a/unet.safetensors" "$golden/tiny-a/vae.safetensors" |
		jq -e '.diff | has("modules") == false and (.tensors.only_here | length) > 0' > /dev/null
	run inspect --diff nowhere $a
	[ "$status" -eq 3 ]
}

@test "--verify sees one flipped bit in the data" {
	cp "$golden/tiny-a/lora_unet.safetensors" a.safetensors
	cp "$golden/single-file/tiny-a.safetensors" b.safetensors
	chmod u+w ./*
	for f in a.safetensors b.safetensors; do
		change $f $(($(stat -c %s $f) - 1000))
		run inspect $f
		[ "$status" -eq 0 ]
		run inspect --verify $f
		[ "$status" -eq 3 ]
		[[ $output == *"$f: its content does not match"* ]]
	done
}

@test "a truncated file is exit 3 and still one JSON object" {
	head -c 20000 "$golden/tiny-a/lora_unet.safetensors" >cut.safetensors
	run inspect --json cut.safetensors
	[ "$status" -eq 3 ]
	[ "$(printf '%s\n' "$output" | grep '^{' | jq -r .sound)" = false ]
	[[ $output == *"download incomplete"* ]]
}

@test "all files are looked at, the worst decides" {
	echo nonsense >text
	run inspect text "$golden/tiny-a/lora_unet.safetensors"
	[ "$status" -eq 3 ]
	[[ $output == *"a LoRA adapter"* ]]
	run inspect nowhere
	[ "$status" -eq 3 ]
	mkdir empty
	run inspect empty
	[ "$status" -eq 3 ]
	[[ $output == *"no known kind"* ]]
}

@test "names do not matter, contents do" {
	cp "$golden/tiny-a/lora_unet.safetensors" picture.png
	[[ $(inspect picture.png) == *"a LoRA adapter"* ]]
}

@test "what was not trained is counted" {
	# an up of zeros: the data of a small file by hand
	printf '%s' '{"lora_unet_out_2.lora_down.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},' \
		'"lora_unet_out_2.lora_up.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]}}' >header
	{ header_length; cat header; printf '\0\0\200\77\0\0\0\0'; } >zero
	[ "$(inspect --json zero | jq .untrained)" -eq 1 ]
	{ header_length; cat header; printf '\0\0\200\77\0\0\300\177'; } >nan
	run inspect nan
	[ "$status" -eq 3 ]
	[[ $output == *"1 values are NaN or infinite, the first in 'lora_unet_out_2.lora_up.weight'"* ]]
	run inspect --quick nan
	[ "$status" -eq 0 ]
}

@test "a picture" {
	run inspect "$root/demo/train/10_gizmo robot/gizmo01.png"
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == *": a PNG" ]]
}

@test "an image tar, whole and cut" {
	mkdir -p "pictures/3_thing"
	cp "$root/demo/train/10_gizmo robot/gizmo01.png" pictures/3_thing/a.png
	"$bin/lora-prep" -q --resolution 64 --min-bucket-reso 64 pictures >images.tar
	run inspect --verify images.tar
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == "images.tar: an image tar" ]]
	[[ $output == *"samples     1"* ]]
	[ "$(inspect --json --keys - <images.tar | jq -r '.kind + " " + .keys[0]')" = "image tar 00000000" ]
	head -c 3000 images.tar >cut.tar
	run inspect cut.tar
	[ "$status" -eq 3 ]
}

@test "a latent tar, whole and with one flipped bit" {
	mkdir -p pictures/3_thing
	cp "$root/demo/train/10_gizmo robot/gizmo01.png" pictures/3_thing/a.png
	"$bin/lora-prep" -q --resolution 64 --min-bucket-reso 64 pictures | "$bin/lora-encode" \
		-q -m "$root/demo/tiny-sdxl" >latents.tar
	[ "$(inspect --json --verify latents.tar | jq -c '[.kind, .samples, .sound, .buckets[0].size]')" = \
		'["latent tar",1,true,[64,64]]' ]
	change latents.tar 2000
	run inspect latents.tar
	[ "$status" -eq 3 ]
	[[ $output == *CRC-32C* ]]
}

@test "TensorBoard events: whole, torn, and with one flipped bit" {
	model=$root/demo/tiny-sdxl
	mkdir pictures && cp "$root"/demo/train/*/gizmo00.jpg pictures
	"$bin/lora-prep" -q --resolution 64 --min-bucket-reso 48 --bucket-reso-steps 16 --class-tokens x pictures |
		"$bin/lora-encode" -q -m "$model" -o l.tar
	"$bin/lora-train" -q -m "$model" --network-dim 2 --network-train-unet-only --max-train-steps 3 --output-name t \
		--logging-dir logs \
		--log-with tensorboard l.tar > log.jsonl
	cp logs/t/events.* events
	inspect --json events |
		jq -e '.kind == "events" and .sound and .first_step == 0 and .last_step == 3 and .values > 10' \
		> /dev/null
	run inspect events
	[[ $output == *"steps       0 to 3"* ]]
	head -c -5 events > torn
	run inspect torn
	[ "$status" -eq 3 ]
	[[ $output == *"ends within a record"* ]]
	cp events flipped
	change flipped $(($(stat -c %s events) - 9))
	run inspect flipped
	[ "$status" -eq 3 ]
	[[ $output == *"is damaged; TensorBoard reads no further"* ]]
}

@test "options that exclude each other are refused" {
	run inspect --verify --quick x
	[ "$status" -eq 2 ]
	run inspect
	[ "$status" -eq 2 ]
}

@test "--will-it-load: a line a program, and status 3 where one of those that were asked fails" {
	run inspect --will-it-load a1111 "$golden/tiny-a/lora_unet.safetensors"
	[ "$status" -eq 0 ]
	[[ $output == *"  a1111       applied: 192 of 192 modules"* ]]
	[[ $output != *comfy* ]]
	run inspect --will-it-load all "$golden/adapters/loha_tucker.safetensors"
	[ "$status" -eq 3 ]
	[[ $output == *"  comfy       applied: 8 of 8 modules"* ]]
	[[ $output == *"  diffusers   refused: 0 of 8 modules"* ]]
	[[ $output == *"  kohya       silent: 0 of 8 modules"* ]]
	[[ $output == *"will not load as it is meant (diffusers: refused, sd-scripts: silent)"* ]]
	run inspect --will-it-load automatic x
	[ "$status" -eq 2 ]
}

@test "--will-it-load: one object a file, which stays sound" {
	"$bin/lora-merge" convert "$golden/tiny-a/lora_unet.safetensors" --to diffusers -o d.safetensors
	inspect --json --will-it-load comfy d.safetensors > facts || [ $? -eq 3 ]
	[ "$(wc -l < facts)" -eq 1 ]
	jq -e '.sound and (.readers | length == 1) and .readers[0].reader == "comfy"' facts
	# the UNet's attention is dropped; the rest runs at twice its strength, as only the metadata say its alpha
	jq -e '.readers[0] | .verdict == "wrong" and .applied == 56 and .in_file == 192 and .wrong == 56' facts
	jq -e '.readers[0].why | test("names that it does not know: 272, as unet")' facts
}

@test "--will-it-load: the shapes are those of the model where -m names one" {
	run inspect --will-it-load kohya -m "$golden/tiny-b/model" "$golden/tiny-a/lora_unet.safetensors"
	[ "$status" -eq 3 ]
	[[ $output == *"refused: 0 of"*"a factor has another shape than the layer's own"* ]]
}

@test "--will-it-load: several programs; which there are" {
	inspect --json --will-it-load kohya --will-it-load a1111 "$golden/tiny-a/lora_unet.safetensors" |
		jq -e '[.readers[].reader] == ["a1111", "kohya"]'
	run inspect --will-it-load kohya --will-it-load web "$golden/tiny-a/lora_unet.safetensors"
	[ "$status" -eq 2 ]
	[[ $output == *"'web' is none of a1111|comfy|invoke|diffusers|sdcpp|kohya|all"* ]]
}

@test "--will-it-load names convert only where that helps" {
	"$bin/lora-merge" convert -q "$golden/tiny-a/lora_unet.safetensors" --to diffusers -o d.safetensors
	run inspect --will-it-load kohya d.safetensors
	[[ $output == *"(sd-scripts: silent); lora-merge convert --to kohya writes it under names that they know" ]]
	"$bin/lora-merge" convert -q d.safetensors --to kohya -o k.safetensors
	inspect --will-it-load kohya k.safetensors
	# another kind, and another model
	run inspect --will-it-load diffusers "$golden/adapters/loha_tucker.safetensors"
	[[ $output == *"(diffusers: refused)" ]]
	run inspect --will-it-load kohya -m "$golden/tiny-b/model" "$golden/tiny-a/lora_unet.safetensors"
	[[ $output != *convert* ]]
}

@test "what is asked of a file of another kind is said to be no matter of it" {
	local model=$golden/tiny-a/model adapter=$golden/tiny-a/lora_unet.safetensors
	for file in "$model" "$model"/unet/*.safetensors; do
		run inspect --will-it-load all "$file"
		[ "$status" -eq 3 ]
		[[ $output == *"--will-it-load: this is no adapter; name one"* ]]
	done
	run inspect --norms --spectrum "$model"
	[ "$status" -eq 0 ]
	[[ $output == *"--norms: of adapters alone"*"--spectrum: of adapters alone"* ]]
	run inspect --metadata "$model"
	[[ $output == *"--metadata: of safetensors files alone, and this is none"* ]]
	for html in "" "--html page.html"; do
		inspect --json $html --norms --metadata "$model" > line.json 2> words
		jq -e .sound line.json
		[ "$(cat words)" = "lora-inspect: warning: $model: --norms: of adapters alone, and this is none
lora-inspect: warning: $model: --metadata: of safetensors files alone, and this is none" ]
	done
	inspect --json --norms --spectrum --metadata "$adapter" 2> words > line.json
	[ ! -s words ]
	inspect --model-config "$model" "$adapter" 2>&1 > line.json |
		grep -x 'lora-inspect: warning: --model-config does nothing without -m; name .*'
	run inspect --diff "$adapter" "$model"
	[ "$status" -eq 3 ]
	[[ $output == *"--diff compares safetensors files, and this is none"* ]]
	run inspect --diff "$adapter" "$golden/tiny-a/unet.safetensors"
	[[ $output == *"only one of them is an adapter"* ]]
	for option in --norms --spectrum "--diff $adapter" --verify; do
		run inspect --quick $option "$adapter"
		[ "$status" -eq 2 ]
		[[ $output == *"--quick reads headers only"* ]]
	done
}

# one_module STEM [BYTES]: of rank 1, 1 by 1; the second factor
one_module() {
	printf '{"%s.lora_down.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},%s}' "$1" \
		"\"$1.lora_up.weight\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[4,8]}" > header
	header_length
	cat header
	printf '\0\0\200\77%b' "${2:-\0\0\200\77}"
}

@test "--diff: what is not finite in the other file; adapters of different parts" {
	one_module lora_unet_out_2 > a
	one_module lora_unet_out_2 '\0\0\300\177' > nan
	one_module lora_unet_input_blocks_0_0 > b
	run inspect --diff nan a
	[ "$status" -eq 3 ]
	[[ $output == *"nan: 1 values are NaN or infinite, the first in 'lora_unet_out_2.lora_up.weight'"* ]]
	run inspect --diff b a
	[ "$status" -eq 0 ]
	[[ $output == *"no layer in common"* ]]
	run inspect --diff a a
	[[ $output != *"no layer in common"* ]]
}

@test "--norms: what is of no kind that can be measured" {
	while read -r method part shape bytes; do
		printf '{"lora_unet_out_2.%s":{"dtype":"F32","shape":%s,"data_offsets":[0,%d]}}' "$part" "$shape" \
			"$bytes" > header
		{ header_length; cat header; head -c "$bytes" /dev/zero; } > x
		for option in --norms --spectrum; do
			run inspect $option x
			[ "$status" -eq 0 ]
			[[ $output == *"of $method the update is not known here"* ]]
		done
	done <<-'END'
		IA3 on_input [1] 4
		BOFT oft_blocks [1,1,2,2] 16
	END
}

@test "--html: controls of the metadata are escaped" {
	printf '{"__metadata__":{"note":"a\\u001b[31mb\\u202ec"},"lora_unet_out_2.diff":{"dtype":"F32","shape":[1,1],%s}}' \
		'"data_offsets":[0,4]' > header
	{ header_length; cat header; printf '\0\0\200\77'; } > x
	inspect --html page.html x
	grep -qF 'a\x1b[31mb\u202ec' page.html
	run grep -P '[\x00-\x08\x0b-\x1f]' page.html
	[ "$status" -eq 1 ]
}

@test "a folder of PEFT's without an adapter that is read" {
	mkdir bin json
	echo '{}' | tee json/adapter_config.json > bin/adapter_config.json
	: > bin/adapter_model.bin
	for folder in bin json; do
		run inspect $folder
		[ "$status" -eq 3 ]
		[[ $output == *"a folder of PEFT's without adapter_model.safetensors"*"a pickle, is not read"* ]]
	done
}
