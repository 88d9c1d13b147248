#!/usr/bin/env bats
# The wrong kind of file is named by what it is, in every reader.

setup_file() {
	load ../pipe/pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar K=$BATS_FILE_TMPDIR/k
	few_latents "$LATENTS"
	mkdir "$K"; cd "$K" || return 1
	train 2 out --logging-dir ev > /dev/null
	cp "$ROOT"/demo/train/*/gizmo00.jpg jpeg; cp "$ROOT"/demo/train/*/gizmo01.png png
	"$BIN/lora-prep" -q "${PREP[@]}" -o image "$BATS_FILE_TMPDIR/four"
	cp "$LATENTS" latent; cp out/t.safetensors adapter; cp out/t-step00000002-state.safetensors state
	cp ev/t/events* events
	printf '# settings\nseed = 1\n' > toml; printf 'PK\3\4\24\0\0\0\10\0xx' > zip; printf '\200\2}q\0.' > pickle
	printf '{"a": 1}' > json
	for i in 0 1; do "$BIN/lora-encode" -q -m "$MODEL" --shard $i/2 -o parts/ image; done; cp parts/latents.list list
	printf 'version https://git-lfs.github.com/spec/v1\n' > lfs; printf '<!DOCTYPE html><html>' > html
}
setup() { load ../pipe/pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

# -g: bats reads the file within a function
declare -gA SAY=([jpeg]="a JPEG picture" [png]="a PNG picture" [image]="an image tar" [latent]="a latent tar" \
	[toml]="a TOML file" [zip]="a zip file"
	[pickle]="a PyTorch pickle" [json]="JSON" [events]="TensorBoard events" [adapter]="an adapter" \
		[state]="a state of lora-train"
	[lfs]="a git-lfs pointer" [html]="an HTML page"
	[list]="a list of latent tars (lora-train reads it as NAME.list)")

# named KINDS STATUS COMMAND...: given as a file X to a reader of another kind, each is named
named() {
	local kinds=$1 want=$2 k; shift 2
	for k in $kinds; do
		[ -n "${SAY[$k]}" ]
		cp "$K/$k" X; cp X X.toml; cp X X.json
		status_of "$want" timeout 60 "$@"
		[[ "$output" == *X*"${SAY[$k]}"* ]] || { echo "$k to $*: $output"; return 1; }
	done
}
TRAIN=(-q -m "$MODEL" --network-train-unet-only --network-dim 4 --max-train-steps 1)

@test "configurations, data sets, prompts" {
	named "jpeg png image latent zip pickle events adapter state html" 2 "$BIN/lora-train" --config X
	named "jpeg png image latent zip pickle events adapter state html" 2 "$BIN/lora-prep" --dataset-config X
	named "jpeg png image latent zip pickle events adapter state" 2 "$BIN/lora-sample" -m "$MODEL" --prompts X
	named "jpeg png image latent zip pickle events adapter state html json" 2 "$BIN/lora-sample" -m "$MODEL" \
		--prompts X.toml
	named "jpeg png image latent zip pickle events adapter state toml lfs" 3 "$BIN/lora-sample" -m "$MODEL" \
		--prompts X.json
}

@test "models, adapters, states, noise" {
	all="jpeg png image latent toml zip pickle json events lfs html list"
	named "$all" 3 "$BIN/lora-merge" into -m "$MODEL" --lora X -o out
	named "$all" 3 "$BIN/lora-sample" -m X -p a
	named "$all" 3 "$BIN/lora-train" "${TRAIN[@]}" -m "$MODEL" --network-weights X "$LATENTS"
	named "$all" 3 "$BIN/lora-train" "${TRAIN[@]}" -m "$MODEL" --resume X "$LATENTS"
	named "$all" 3 "$BIN/lora-sample" -m "$MODEL" -p a -W 64 -H 64 --noise X
}

@test "latents, pictures, old streams, the log" {
	some="jpeg png toml zip pickle json events adapter state lfs html list"
	named "$some" 3 "$BIN/lora-train" "${TRAIN[@]}" -m "$MODEL" X
	named "$some" 3 "$BIN/lora-encode" -m "$MODEL" -o o X
	named "$some" 3 "$BIN/lora-encode" -m "$MODEL" -o o --reuse X "$K/image"
	named "jpeg png image latent toml zip pickle events adapter state lfs html" 2 "$BIN/lora-train" "${TRAIN[@]}" \
		-m "$MODEL" --log X "$LATENTS"
	for k in image latent toml zip pickle json adapter state events; do
		rm -rf d; mkdir d; cp "$K/$k" d/a.png
		status_of 3 "$BIN/lora-prep" -q --strict -o o d
		[[ "$output" == *"${SAY[$k]}"* ]] || { echo "$k as a picture: $output"; return 1; }
	done
}

@test "tokenizers and captions" {
	for k in jpeg png image latent toml zip pickle events adapter state; do
		rm -rf tok d; cp -r "$MODEL/tokenizer" tok; cp "$K/$k" tok/vocab.json; mkdir d; cp "$K/png" d/a.png
		status_of 3 "$BIN/lora-prep" --lint --tokenizer tok d
		[[ "$output" == *"${SAY[$k]}"* ]] || { echo "$k as a vocabulary: $output"; return 1; }
		cp "$MODEL"/tokenizer/vocab.json tok; cp "$K/$k" tok/merges.txt
		status_of 3 "$BIN/lora-prep" --lint --tokenizer tok d
		[[ "$output" == *"${SAY[$k]}"* ]] || { echo "$k as merges: $output"; return 1; }
		case $k in toml | image | latent | adapter | state) continue ;; esac
		cp "$K/$k" d/a.txt
		status_of 3 "$BIN/lora-prep" -q "${PREP[@]}" --strict -o o d
		[[ "$output" == *"${SAY[$k]}"* ]] || { echo "$k as a caption: $output"; return 1; }
	done
}

@test "lora-inspect tells the kinds apart through a pipe too, and reads all of it" {
	for k in latent image events png; do
		"$BIN/lora-inspect" --json "$K/$k" | jq -S 'del(.file, .bytes)' > file
		"$BIN/lora-inspect" --json <(cat "$K/$k") | jq -S 'del(.file, .bytes)' > pipe
		cmp file pipe || { diff file pipe; return 1; }
	done
	status_of 3 "$BIN/lora-inspect" <(head -c 300 "$K/events")
	status_of 3 "$BIN/lora-inspect" <(cat "$K/adapter")
	status_of 3 timeout 5 "$BIN/lora-inspect" <(:)
}
