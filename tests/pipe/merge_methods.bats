#!/usr/bin/env bats
# lora-merge add --method: TIES, DARE and pruning of whole updates.
bats_require_minimum_version 1.5.0

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	TINY=$ROOT/tests/golden/tiny-a
	A=$TINY/lora_unet.safetensors B=$TINY/lora_conv.safetensors
	cd "$BATS_TEST_TMPDIR" || return 1
}

add() { "$BIN/lora-merge" add "$@"; }
tensors() { perl "$BATS_TEST_DIRNAME/tensors.pl" "$@"; }
merge() { rm -rf "$2"; "$BIN/lora-merge" into -q -m "$TINY/model" --lora "$1" -o "$2"; }
bytes() { tail -c +$((9 + $(od -An -tu8 -N8 "$1"))) "$1"; }

@test "ties and prune are PEFT's, on whole updates" {
	local said status
	for method in ties prune; do
		for density in 0.2 0.55 1; do
			# no layer has a side of more, so that nothing is lost
			add -q "$A:0.8" "$B:-0.6" --method $method --density $density --rank 999 -o out
			status=0
			said=$("${PYTHON:-python3}" "$ROOT/tests/tools/merge_by_method.py" $method $density out \
				"$A:0.8" "$B:-0.6" 2> err) || status=$?
			[ "$status" -ne 77 ] || skip "no PEFT for ${PYTHON:-python3}"
			[ "$status" -eq 0 ] || { cat err; return 1; }
			echo "$method at $density: $said"
			jq -en "$said < 1e-6"           # factors are rounded to F32
		done
	done
}

@test "one adapter at weight 1 and density 1 is itself, by any method" {
	for method in ties dare dare_ties prune; do
		add -q "$A" --method $method --density 1 -o out
		cmp <(bytes out) <(bytes "$A")
	done
}

@test "pruning one adapter leaves its greatest elements" {
	add "$A" --method prune --density 0.5 --rank 999 -o half 2> said
	add -q "$A" --rank 999 -o whole
	merge half merged
	merge whole all
	local far
	far=$(tensors near all/unet/*.safetensors merged/unet/*.safetensors "$TINY"/model/unet/*.safetensors 1)
	# of products of normal numbers the smaller half holds a small part of the squares
	jq -en "$far > 0.02 and $far < 0.25"
}

@test "dare: the seed decides, whatever the number of threads" {
	for t in 1 3; do
		OMP_NUM_THREADS=$t add -q "$A:0.8" "$B" --method dare_ties --density 0.3 --seed 5 --rank 4 -o $t
	done
	cmp <(bytes 1) <(bytes 3)
	add -q "$A:0.8" "$B" --method dare_ties --density 0.3 --seed 6 --rank 4 -o other
	differ <(bytes 1) <(bytes other)
	add -q "$A" --method dare --density 0.3 --seed 5 --rank 999 -o drawn
	add -q "$A" --method dare --density 0.3 --rank 999 -o again
	differ <(bytes drawn) <(bytes again)
}

@test "the error of the rank is said; DoRA takes -m" {
	add "$A" "$B" --method ties --density 0.5 --rank 2 -o out 2> said
	grep -Eq 'out: 258 modules, rank 2, norm [0-9.]+, relative error 0\.[0-9]+' said
	run -2 add "$ROOT/tests/golden/adapters/lora_dora_in.safetensors" --method ties --rank 4 -o x
	[[ $output == *"say -m MODEL"* ]]
	add -q "$ROOT/tests/golden/adapters/lora_dora_in.safetensors" --method ties --rank 999 --density 0.999999 \
		-m "$TINY/model" -o out
	run -2 add "$A" --method ties --exact -o x
	[[ $output == *"say --rank R"* ]]
	run -2 add "$A" --method linear -o x
	[[ $output == *"dare_ties"* ]]
}
