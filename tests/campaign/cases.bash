# shellcheck shell=bash
# cases.bash - what a campaign does its faults to: one run of each tool, small, with what it reads and what it must
# leave behind.  Sourced in a folder that holds a copy of the inputs; a run writes into out/ alone.

prep_rules='--resolution 64 --min-bucket-reso 48 --max-bucket-reso 80 --bucket-reso-steps 16'
train_rules='--network-dim 2 --network-train-unet-only --train-batch-size 2 --learning-rate 1e-3'
train_rules+=' --save-state --output-dir out --output-name t'
paint_rules='-W 64 -H 64 --steps 1 -p ball'

# name; the input that faults are done to; does a checksum cover it?; the tool's words (MODEL and BIN are put in)
cases='
prep	four/gizmo05.png	sum	lora-prep -q --strict '$prep_rules' -o out/images.tar four
encode	images.tar	sum	lora-encode -q -m MODEL -o out/latents.tar images.tar
train	latents.tar	sum	lora-train -q -m MODEL '$train_rules' --max-train-steps 2 --log out/log.jsonl latents.tar
resume	t-step00000001-state.safetensors	sum	lora-train -q -m MODEL '$train_rules' --max-train-steps 2 --resume t-step00000001-state.safetensors latents.tar
sample	t.safetensors	none	lora-sample -q -m MODEL --lora t.safetensors '$paint_rules' -o out/x.png
merge	t.safetensors	none	lora-merge into -q -m MODEL --lora t.safetensors -o out/merged
inspect	t.safetensors	sum	lora-inspect --verify --json t.safetensors
stream	latents.tar	sum	lora-inspect --verify --json latents.tar
'

# row CASE N: word N of its row
row() { awk -F '\t' -v name="$1" -v n="$2" '$1 == name { print $n }' <<< "$cases"; }

# run_case CASE [WRAPPER...]: its standard output goes to out/.said
run_case() {
	local words; words=$(row "$1" 4); shift
	words=${words//MODEL/$MODEL}
	# shellcheck disable=SC2086
	"$@" "$BIN/"$words > out/.said 2> out/.words
}

# make_inputs: in an empty folder, all that the cases read
make_inputs() {
	local words
	mkdir -p four out
	cp "$ROOT"/demo/train/*/gizmo0[2-5].* four
	run_case prep && mv out/images.tar . || return 1
	run_case encode && mv out/latents.tar . || return 1
	words=$(row train 4); words=${words//MODEL/$MODEL}
	# shellcheck disable=SC2086
	"$BIN/"${words/--max-train-steps 2/--max-train-steps 1} > /dev/null || return 1
	mv out/t.safetensors out/t-step00000001-state.safetensors . && rm -rf out
}
