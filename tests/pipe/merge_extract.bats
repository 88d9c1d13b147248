#!/usr/bin/env bats
# lora-merge extract: what was merged into a model comes out of it again.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export TINY=$ROOT/tests/golden/tiny-a/model SINGLE=$ROOT/tests/golden/single-file/tiny-a.safetensors
	export PLANTED=$BATS_FILE_TMPDIR/planted NOISY=$BATS_FILE_TMPDIR/noisy
	tensors join "$BATS_FILE_TMPDIR/lora" "$ROOT"/tests/golden/tiny-a/lora_{conv,text}.safetensors
	merge "$BATS_FILE_TMPDIR/lora" "$PLANTED"
	# every tensor of every part moves, by less than it is
	cp -r "$TINY" "$NOISY"
	chmod -R u+w "$NOISY"
	for part in unet text_encoder text_encoder_2; do
		tensors list "$TINY/$part"/*.safetensors | grep -v position_ids | awk '{ $1 = $1 " 0.02"; print }' |
			tensors make "$BATS_FILE_TMPDIR/noise"
		tensors sum "$BATS_FILE_TMPDIR/summed" "$TINY/$part"/*.safetensors "$BATS_FILE_TMPDIR/noise"
		mv "$BATS_FILE_TMPDIR/summed" "$(echo "$NOISY/$part"/*.safetensors)"
	done
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
}

tensors() { perl "$BATS_TEST_DIRNAME/tensors.pl" "$@"; }
extract() { "$BIN/lora-merge" extract "$@"; }
bytes() { tail -c +$((9 + $(od -An -tu8 -N8 "$1"))) "$1"; }
# merge ADAPTER OUT [MODEL]
merge() { rm -rf "$2"; "$BIN/lora-merge" into -q -m "${3:-$TINY}" --lora "$1" -o "$2"; }
# near A B LIMIT: two models of TINY's names, by how far A is from TINY
near() {
	local part
	for part in unet text_encoder text_encoder_2; do
		tensors near "$1/$part"/*.safetensors "$2/$part"/*.safetensors "$TINY/$part"/*.safetensors "$3"
	done
}

@test "what was planted comes back: linear layers, convolutions, both text encoders" {
	extract -q --base "$TINY" --tuned "$PLANTED" --rank 4 -o out --report report
	[ "$(tensors list out | grep -c lora_down)" -eq 300 ]
	merge out back
	# the planted weights were rounded to F32, by up to 2^-24 of themselves, and moved by a tenth
	near "$PLANTED" back 1e-5
	jq -es '.[-1].relative_error < 1e-4 and .[-1].modules == 300' report
	"$BIN/lora-inspect" --verify out > /dev/null
	[ "$(tensors metadata out ss_base_model_version)" = sdxl_base_v1-0 ]
	[ "$(tensors metadata out ss_network_dim)" = 4 ]
}

@test "a folder and a single file of one model give the same bytes, whichever is which" {
	"$BIN/lora-merge" into -q -m "$SINGLE" --model-config "$TINY" --lora "$BATS_FILE_TMPDIR/lora" -o file
	extract -q --base "$TINY" --tuned "$PLANTED" --rank 3 -o one
	extract -q --base "$SINGLE" --tuned "$PLANTED" --model-config "$TINY" --rank 3 -o two
	extract -q --base "$TINY" --tuned file --model-config "$TINY" --rank 3 -o three
	extract -q --base "$SINGLE" --tuned file --model-config "$TINY" --rank 3 -o four
	# the headers name the models, which have different names
	for f in two three four; do cmp <(bytes one) <(bytes $f); done
}

@test "the adapter says what it was made of, and has a name" {
	extract -q --base "$TINY/" --tuned "$PLANTED" --rank 2 -o lora.safetensors
	said() { tensors metadata lora.safetensors "$1"; }
	[ "$(said lora_tools.merged_from | jq -c 'map([.file, .weight, (.mark | length)])')" = \
		'[["planted",1,64],["model",-1,64]]' ]
	[ "$(said lora_tools.merged_from | jq -r '.[0].mark != .[1].mark')" = true ]
	[ "$(said modelspec.merged_from)" = "planted, model" ]
	[ "$(said ss_output_name)" = lora ]
	[ "$(said modelspec.title)" = lora ]
}

@test "differences of full rank: within 1.01 of the best, which PyTorch tells, and the error that is said" {
	local said status=0
	extract -q --base "$TINY" --tuned "$NOISY" --rank 4 --conv-rank 6 -o out --report report
	merge out back
	said=$("${PYTHON:-python3}" "$ROOT/tests/tools/svd_of_models.py" "$TINY" "$NOISY" back report 2> err) || status=$?
	[ "$status" -ne 77 ] || skip "no PyTorch for ${PYTHON:-python3}"
	[ "$status" -eq 0 ] || { cat err; return 1; }
	echo "$said"
	read -r missing worst apart <<< "$said"
	[ "$missing" -eq 0 ]
	jq -en "$worst <= 1.01 and $apart < 1e-5"
}

@test "--bias and --norm: with the rank of the layers themselves all that has a place in an adapter comes back" {
	extract -q --base "$TINY" --tuned "$NOISY" --rank 500 --bias --norm -o out
	merge out back
	for part in unet text_encoder text_encoder_2; do
		for model in "$NOISY" back "$TINY"; do
			tensors rename "$model/$part"/*.safetensors "$(basename "$model").t" '$_ = "" if /embeddings/'
		done
		tensors near noisy.t back.t model.t 1e-5
	done
	# a bias alone tells one side of its layer, which is not the released model's
	tensors rename out alone '$_ = "" unless /label_emb_0_0.diff_b/'
	"$BIN/lora-inspect" alone > /dev/null
	extract --base "$TINY" --tuned "$NOISY" --rank 1 -o out 2> said
	grep -q 'biases differ and are not in the adapter; say --bias' said
	grep -q 'gains of norms differ and are not in the adapter; say --norm' said
	grep -q 'embeddings differ and are not in the adapter' said
}

@test "nothing is clamped: one weight that moved far comes back" {
	mkdir spike
	cp -r "$TINY"/* spike
	chmod -R u+w spike
	printf 'down_blocks.1.attentions.0.proj_in.weight =0 16 16\n' | tensors make zero
	tensors rename zero far '$data = pack "f<*", (0) x 37, 50, (0) x 218'
	tensors sum summed spike/unet/*.safetensors far
	mv summed "$(echo spike/unet/*.safetensors)"
	extract -q --base "$TINY" --tuned spike --rank 1 -o out
	[ "$(tensors list out | wc -l)" -eq 3 ]
	merge out back
	tensors near spike/unet/*.safetensors back/unet/*.safetensors "$TINY"/unet/*.safetensors 1e-6
}

@test "any number of threads, the same bytes; F16 where it is asked for" {
	OMP_NUM_THREADS=1 extract -q --base "$TINY" --tuned "$NOISY" --rank 4 -o one --report one.jsonl
	OMP_NUM_THREADS=3 extract -q --base "$TINY" --tuned "$NOISY" --rank 4 -o three --report three.jsonl
	cmp <(bytes one) <(bytes three)
	cmp one.jsonl three.jsonl
	extract -q --base "$TINY" --tuned "$PLANTED" --rank 4 --save-precision fp16 -o half --report half.jsonl
	merge half back
	near "$PLANTED" back 1e-3
	# what rounding lost is in the report: two factors of 11 bits
	jq -es '.[-1].relative_error | . > 1e-5 and . < 1e-3' half.jsonl
}

@test "models that do not belong together, or do not differ" {
	run -3 extract --base "$TINY" --tuned "$TINY" --rank 4 -o out
	[[ $output == *"nothing to extract"* ]]
	run -3 extract --base "$TINY" --tuned "$ROOT/tests/golden/tiny-b/model" --rank 4 -o out
	[[ $output == *"another shape"* ]]
	run -3 extract --base "$TINY" --tuned "$ROOT/tests/golden/families/sd15/model" --rank 4 -o out
	[[ $output == *"Stable Diffusion 1.5"* ]]
	cp -r "$TINY" broken
	chmod -R u+w broken
	tensors rename "$TINY"/unet/*.safetensors nan '$data = pack "f<*", (9e999) x (length($data) / 4) if /^conv_in.weight/'
	mv nan "$(echo broken/unet/*.safetensors)"
	run -3 extract --base "$TINY" --tuned broken --rank 4 -o out
	[[ $output == *"conv_in.weight"* ]]
	run -2 extract --base "$TINY" --rank 4 -o out
	run -2 extract --base "$TINY" --tuned "$PLANTED" -o out
	run -2 extract --base "$TINY" --tuned "$PLANTED" --rank 4 -o "$TINY/unet/diffusion_pytorch_model.safetensors"
	[ ! -e out ]
}
