#!/usr/bin/env bats
# --base-precision: frozen weights of 8 and 4 bits.  What comes of them is near what comes of the file's, the same on
# any machine, and not mixed with what another precision made; what is lost by rounding is said.
bats_require_minimum_version 1.5.0

setup_file() {
	load pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/few.tar
	few_latents "$LATENTS"
}
setup() { load pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

# loss [options]: of the first step, whose adapter changes nothing yet
loss() {
	rm -rf "$BATS_TEST_TMPDIR/loss"
	train 2 "$BATS_TEST_TMPDIR/loss" "$@" | jq -r 'select(.event == "step" and .step == 1).loss'
}

# within A B SHARE: how far A is from B, at most
within() {
	jq -ne --argjson a "$1" --argjson b "$2" --argjson t "$3" '($a - $b | fabs) < $t * $b' > /dev/null ||
		{ echo "$1 is not within $3 of $2"; return 1; }
}

hash_of() { "$BIN/lora-inspect" --json "$1" | jq -re .hash; }

# unet_bytes PRECISION: that the plan says
unet_bytes() { train 2 out --base-precision "$1" --plan --json | jq -re .bytes.unet; }

@test "a loss of rounded weights is near that of the file's, and the nearer the more bits" {
	local whole p
	whole=$(loss)
	[ "$(loss --base-precision fp16)" = "$whole" ]
	for p in int8:0.002 fp8:0.01 nf4:0.05; do
		within "$(loss --base-precision "${p%:*}")" "$whole" "${p#*:}"
		[ "$(loss --base-precision "${p%:*}")" != "$whole" ]
	done
}

# Each matrix and filter rounded to E4M3 beforehand, in Perl: then nothing is left to round, whatever the scales are.
@test "what is E4M3 in the file stays what it is" {
	local tiny=$ROOT/tests/golden/tiny-a/model name=unet/diffusion_pytorch_model.safetensors
	cp -r "$tiny" rounded
	chmod -R u+w rounded
	perl "$ROOT/tests/pipe/tensors.pl" rename "$tiny/$name" rounded/$name \
		'if (@shape > 1) { $data = pack("f<*", map { value_of_f8(nearest_f8($_)) } unpack("f<*", $data)) }'
	differ rounded/$name "$tiny/$name"
	"$BIN/lora-prep" -q --resolution 32 --min-bucket-reso 16 --max-bucket-reso 48 --bucket-reso-steps 16 \
		"$BATS_FILE_TMPDIR/four" | "$BIN/lora-encode" -q -m rounded -o latents.tar
	MODEL=rounded LATENTS=latents.tar train 3 wide --conv-dim 2 > /dev/null
	MODEL=rounded LATENTS=latents.tar train 3 fp8 --conv-dim 2 --base-precision fp8 > log.jsonl
	[ "$(hash_of wide/t.safetensors)" = "$(hash_of fp8/t.safetensors)" ]
	[ "$(jq -s 'map(select(.event == "quantised" and .component == "unet").error) | max' log.jsonl)" = 0 ]
	MODEL=rounded LATENTS=latents.tar train 3 int8 --conv-dim 2 --base-precision int8 > /dev/null
	[ "$(hash_of wide/t.safetensors)" != "$(hash_of int8/t.safetensors)" ]
}

@test "the same bytes from any number of threads and any instruction set, text encoders trained too" {
	local p set
	for p in int8 fp8 nf4; do
		train 3 $p --conv-dim 2 --no-network-train-unet-only --base-precision $p --threads 1 > /dev/null
		train 3 $p.2 --conv-dim 2 --no-network-train-unet-only --base-precision $p --threads 2 > /dev/null
		cmp $p/t.safetensors $p.2/t.safetensors
		for set in avx2 portable; do
			LORA_CPU=$set "$BIN/lora-train" --version > /dev/null 2>&1 || continue
			LORA_CPU=$set train 3 $p.$set --conv-dim 2 --no-network-train-unet-only \
				--base-precision $p > /dev/null
			cmp $p/t.safetensors $p.$set/t.safetensors
		done
	done
}

@test "a state goes on byte for byte, and with no other precision" {
	train 4 whole --base-precision nf4 --optimizer-type AdamW8bit --network-dim 16 > /dev/null
	train 4 out --base-precision nf4 --optimizer-type AdamW8bit --network-dim 16 --save-every-n-steps 2 > /dev/null
	train 4 again --base-precision nf4 --optimizer-type AdamW8bit --network-dim 16 \
		--resume out/t-step00000002-state.safetensors > /dev/null
	cmp whole/t.safetensors again/t.safetensors
	for other in int8 fp16; do
		status_of 2 train 4 other --base-precision $other --optimizer-type AdamW8bit --network-dim 16 \
			--resume out/t-step00000002-state.safetensors
		[[ "$output" == *"base_precision=nf4"* ]]
	done
}

@test "every kind of adapter begins as nothing beside such weights, and trains" {
	local p kind plain
	for p in int8 nf4; do
		plain=$(loss --base-precision $p)
		for kind in "--conv-dim 2" "--dora" "--dora --dora-axis output --conv-dim 2" \
			"--network-module networks.loha --conv-dim 2" \
			"--network-module networks.lokr --network-args factor=4 --dora" \
			"--network-module networks.oft" "--network-module networks.lora_fa"; do
			# shellcheck disable=SC2086 # words
			within "$(loss --base-precision $p $kind)" "$plain" 2e-5
			rm -rf out
			# shellcheck disable=SC2086
			train 3 out --base-precision $p $kind | jq -es 'map(select(.event == "step")) | length == 3' > /dev/null
		done
	done
}

@test "what rounding changed is said: a line a layer, an error over all, a note; at fp16 nothing" {
	local p
	for p in int8:0.004:0.02 fp8:0.015:0.04 nf4:0.05:0.15; do
		IFS=: read -r p low high <<< "$p"
		run -0 --separate-stderr "$BIN/lora-train" -m "$MODEL" --network-train-unet-only --output-dir out \
			--base-precision "$p" --dry-run "$LATENTS"
		printf '%s\n' "$output" > log.jsonl
		[[ "$stderr" == *"base_precision = $p: "*" frozen weights are "*" % off (RMS); most of all "* ]]
		jq -es --argjson low "$low" --argjson high "$high" 'map(select(.event == "start"))[0].base_error |
			. > $low and . < $high' log.jsonl > /dev/null
		jq -es 'map(select(.event == "quantised")) | length > 50 and (map(.layer) | unique | length) == length and
			all(.error > 0 and .error < 0.3)' log.jsonl > /dev/null
		# the ends and norms are not among them
		lacks log.jsonl '"layer":"(conv_in|conv_out|time_embedding|add_embedding|.*norm)'
	done
	train 2 plain > log.jsonl
	lacks log.jsonl 'quantised|base_precision|base_error'
}

@test "the plan knows how small they are" {
	local fp16 int8 nf4
	fp16=$(unet_bytes fp16) int8=$(unet_bytes int8) nf4=$(unet_bytes nf4)
	[ "$(unet_bytes fp8)" = "$int8" ]
	# the small model has many norms and biases, in floats, and scales for rows as short as 32
	[ $((100 * int8)) -lt $((70 * fp16)) ]
	[ $((100 * nf4)) -lt $((50 * fp16)) ]
}

@test "fp8_base of sd-scripts is fp8, in configurations and metadata; what contradicts it is refused" {
	printf 'fp8_base = true\nnetwork_dim = 4\n' > run.toml
	train 2 said --base-precision fp8 > /dev/null
	train 2 kohya --config run.toml > /dev/null
	cmp said/t.safetensors kohya/t.safetensors || [ "$(hash_of said/t.safetensors)" = "$(hash_of kohya/t.safetensors)" ]
	"$BIN/lora-inspect" --metadata kohya/t.safetensors > meta
	grep -q 'ss_fp8_base = True' meta
	train 4 kohya --base-precision fp8 --resume kohya/t-step00000002-state.safetensors > /dev/null
	status_of 2 train 2 no --fp8-base --base-precision int8
	[[ "$output" == *"against fp8_base; leave one out"* ]]
	status_of 2 train 2 no --base-precision int4
}

@test "samples on the way are painted with the same weights, and validation runs" {
	printf 'gizmo --w 64 --h 64 --s 2 --d 1\n' > prompts.txt
	train 2 out --base-precision nf4 --sample-prompts prompts.txt --sample-every-n-steps 2 --validation-split 0.3 \
		--sample-at-first > log.jsonl
	[ "$(jq -s 'map(select(.event == "sample")) | length' log.jsonl)" = 2 ]
	[ "$(jq -s 'map(select(.event == "validation")) | length' log.jsonl)" -ge 1 ]
	train 2 fp16 --sample-prompts prompts.txt --sample-at-first --validation-split 0.3 > /dev/null
	differ out/sample/t_000000_*.png fp16/sample/t_000000_*.png
}
