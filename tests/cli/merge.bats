#!/usr/bin/env bats
# lora-merge as a user meets it.

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

merge() {
	"$bin/lora-merge" "$@"
}

@test "into a folder: a new folder, configs byte for byte, only merged weights differ" {
	run merge into -q -m "$golden/tiny-a/model" --lora "$golden/tiny-a/lora_text.safetensors" -o out
	[ "$status" -eq 0 ]
	[ "$(find out -type f | sort)" = "$(cd "$golden/tiny-a/model" && find . -type f | sed 's,^\.,out,' | sort)" ]
	run diff -rq "$golden/tiny-a/model" out
	[ "${#lines[@]}" -eq 2 ]
	[[ ${lines[0]} == *text_encoder/model.safetensors* ]]
	[[ ${lines[1]} == *text_encoder_2/model.safetensors* ]]
	[ "$(find . -name '.*.tmp' | wc -l)" -eq 0 ]
}

@test "into a single file: sound, and its hash is right" {
	merge into -q -m "$golden/single-file/tiny-b.safetensors" --model-config "$golden/tiny-b/model" \
		--lora "$golden/tiny-b/lora_unet.safetensors:0.5" -o merged.safetensors
	"$bin/lora-inspect" --verify merged.safetensors | grep -q 'modelspec.hash_sha256 matches'
}

@test "the same again gives the same bytes, with any number of threads" {
	for t in 1 3; do
		OMP_NUM_THREADS=$t merge into -q -m "$golden/single-file/tiny-b.safetensors" \
			--model-config "$golden/tiny-b/model" \
			--lora "$golden/tiny-b/lora_conv.safetensors" -o "$t.safetensors" --report "$t.jsonl"
	done
	cmp 1.safetensors 3.safetensors
	cmp 1.jsonl 3.jsonl
}

@test "a file is never merged over itself" {
	cp "$golden/single-file/tiny-a.safetensors" model.safetensors
	chmod u+w model.safetensors
	run merge into -q -m model.safetensors --model-config "$golden/tiny-a/model" \
		--lora "$golden/tiny-a/lora_unet.safetensors" \
		-o model.safetensors
	[ "$status" -eq 2 ]
	cmp model.safetensors "$golden/single-file/tiny-a.safetensors"
}

@test "the whole says one line, the report has one object a layer" {
	merge into -m "$golden/tiny-a/model" --lora "$golden/tiny-a/lora_text.safetensors" -o out > said 2> noted
	[ ! -s said ]
	[ "$(grep -c 'layers changed' noted)" -eq 1 ]
	[[ "$(grep 'layers changed' noted)" == \
		"lora-merge: out: 42 layers changed, norm of the update "*", relative error of rounding "* ]]
	[ "$(grep -c 'lora_te[12]_' noted)" -eq 0 ]
	run merge into -q -m "$golden/tiny-a/model" --lora "$golden/tiny-a/lora_text.safetensors" -o out2 \
		--report report.jsonl
	[ -z "$output" ]
	[ "$(jq -r .event report.jsonl | sort | uniq -c | xargs)" = "42 module 1 total" ]
	jq -es 'all(.relative_error >= 0 and .relative_error < 1e-5)' report.jsonl >/dev/null
}

@test "weights in other forms stay behind" {
	cp -R "$golden/tiny-a/model" model
	chmod -R u+w model
	cp model/unet/diffusion_pytorch_model.safetensors model/unet/diffusion_pytorch_model.fp16.safetensors
	touch model/text_encoder/pytorch_model.bin model/.hidden
	run merge into -m model --lora "$golden/tiny-a/lora_unet.safetensors" -o out --report /dev/null
	[ "$status" -eq 0 ]
	[[ $output == *fp16.safetensors:\ left\ out* ]]
	[ ! -e out/unet/diffusion_pytorch_model.fp16.safetensors ]
	[ ! -e out/text_encoder/pytorch_model.bin ]
	[ ! -e out/.hidden ]
}

@test "what a killed merge left is removed by the next" {
	mkdir -p .out.999999999.tmp/unet
	touch .out.999999999.tmp/unet/half
	merge into -q -m "$golden/tiny-a/model" --lora "$golden/tiny-a/lora_text.safetensors" -o out --report /dev/null
	[ ! -e .out.999999999.tmp ]
}

@test "an adapter of another model is refused and nothing is written" {
	run merge into -m "$golden/tiny-a/model" --lora "$golden/tiny-b/lora_unet.safetensors" -o out
	[ "$status" -eq 3 ]
	[ "${#lines[@]}" -eq 1 ]
	[[ $output == lora-merge:*tiny-b/lora_unet.safetensors:* ]]
	[ -z "$(ls -A)" ]
}

@test "a folder that is not empty is not touched" {
	mkdir out
	echo mine >out/file
	run merge into -m "$golden/tiny-a/model" --lora "$golden/tiny-a/lora_unet.safetensors" -o out
	[ "$status" -eq 2 ]
	[[ $output == *exists* ]]
	[ "$(cat out/file)" = mine ]
}

@test "a full device is exit 4" {
	run merge into -q -m "$golden/single-file/tiny-a.safetensors" --model-config "$golden/tiny-a/model" \
		--lora "$golden/tiny-a/lora_unet.safetensors" -o /dev/full --report /dev/null
	[ "$status" -eq 4 ]
}

@test "an option of another mode is refused" {
	run merge into --rank 4
	[ "$status" -eq 2 ]
	[[ $output == *"--rank says nothing to lora-merge into; it is for add, resize, extract and convert"* ]]
}

@test "usage errors say what to write" {
	run merge
	[ "$status" -eq 2 ]
	[[ $output == *"lora-merge into -m MODEL"* ]]
	run merge into --lora x -o y
	[ "$status" -eq 2 ]
	[[ $output == *"-m MODEL"* ]]
	run merge into -m x -o y
	[ "$status" -eq 2 ]
	[[ $output == *"--lora FILE"* ]]
	run merge into -m x --lora y
	[ "$status" -eq 2 ]
	[[ $output == *"-o OUT"* ]]
	run merge bake
	[ "$status" -eq 2 ]
}

@test "a pattern that fits no module is refused by every mode that takes it, and into with nothing left" {
	local unet=$golden/tiny-a/lora_unet.safetensors mode option
	for mode in "into -m $golden/tiny-a/model --lora $unet -o x" "add $unet $unet -o x" "scale $unet:0.5 -o x" \
		"negate $unet -o x" "interference $unet $unet" "resize $unet --rank 1 -o x" \
		"convert $unet --to comfy -o x"; do
		for option in "--only atn" "--without atn1" "--block atn2=0" "--block 1:atn2=0"; do
			[[ $mode$option != @(resize|convert)*--block* ]] || continue
			run merge $mode $option
			[ "$status" -eq 2 ]
			[[ $output == *"${option%% *} '${option#* }' fits no module"*"lora-inspect --keys"* ]]
			[ ! -e x ]
		done
		run merge $mode --only te1
		[ "$status" -eq 2 ]
		[[ $output == *"nothing is left"* ]]
		[ ! -e x ]
		# what another adapter would have
		merge $mode --without te --without conv --without BASE --without OUT11 > /dev/null 2>&1
		rm -rf x
	done
	merge into -q -m "$golden/tiny-a/model" --lora "$unet" --block BASE=0 --block 'OUT1[01]=0.5' -o x
}

@test "an option that does nothing without another is refused, whatever its value" {
	local unet=$golden/tiny-a/lora_unet.safetensors arguments without
	while IFS='|' read -r arguments without; do
		run merge $arguments -q
		[ "$status" -eq 2 ]
		[[ $output == *" says nothing without $without; say that too, or leave it away" ]]
		[ ! -e x ]
	done <<- END
		add $unet $unet -o x --model-config $golden/tiny-a/model|--model
		interference $unet $unet --model-config $golden/tiny-a/model|--model
		convert $unet --to comfy -o x --model-config $golden/tiny-a/model|--model
		add $unet $unet -o x --density 0.5|--method
		add $unet $unet -o x --seed 0|--method dare or dare_ties
		add $unet $unet -o x --method ties --seed 3|--method dare or dare_ties
		add $unet $unet -o x --method prune --seed 0|--method dare or dare_ties
		convert $unet --to diffusers --keep-kind -o x|--to kohya or comfy
		convert $unet --to peft --keep-kind -o x|--to kohya or comfy
	END
	for method in ties dare dare_ties prune; do
		run merge add "$unet" "$unet" --method "$method" --density 0 -o x
		[ "$status" -eq 2 ]
		[[ $output == *"--density: '0' does not fit"* ]]
		[ ! -e x ]
	done
	merge add -q "$unet" "$unet" --method dare --seed 3 --density 0.5 --rank 2 -o x
	merge convert -q "$unet" --to comfy --keep-kind -o y
}
