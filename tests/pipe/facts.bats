#!/usr/bin/env bats
# What an adapter's metadata says of its data, counted as sd-scripts counts it.

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
	demo=$ROOT/demo/train/"10_gizmo robot"
}

# trained [lora-prep's arguments]: one step on them; fact KEY: what the file says
trained() {
	"$BIN/lora-prep" -q "${PREP[@]}" "$@" | "$BIN/lora-encode" -q -m "$MODEL" -o l.tar
	"$BIN/lora-train" -q -m "$MODEL" -r 1 --learning-rate 1e-3 --max-train-steps 1 -o out l.tar > /dev/null
}
fact() { "$BIN/lora-inspect" --metadata out/last.safetensors | sed -n "s/^ *$1 = //p"; }

# Two pictures thirty times each; three and one for regularisation, twice and once by their folders.
folders() {
	mkdir -p "train/30_gizmo robot" "reg/2_shape" "reg/30_gizmo robot"
	for n in 0 2; do cp "$demo/gizmo0$n.jpg" "train/30_gizmo robot/$n.jpg" &&
		echo 'Gizmo, RED' > "train/30_gizmo robot/$n.txt"; done
	for n in 3 4 7; do cp "$demo/gizmo0$n.jpg" reg/2_shape/$n.jpg && echo "shape, n$n" > reg/2_shape/$n.txt; done
	cp "$demo/gizmo08.jpg" "reg/30_gizmo robot/x.jpg" && echo 'gizmo, blue' > "reg/30_gizmo robot/x.txt"
}

@test "regularisation: repeats and pictures are the folders' own, however often each is taken" {
	folders
	trained train --reg reg
	# 60 training samples; the regularisation pictures are taken 60 times, but count 2 x 3 + 30 x 1.
	[ "$(fact ss_num_train_images),$(fact ss_num_reg_images)" = 60,36 ]
	[ "$(fact ss_dataset_dirs)" = '{"30_gizmo robot":{"n_repeats":30,"img_count":2}}' ]
	[ "$(fact ss_reg_dataset_dirs)" = \
		'{"2_shape":{"n_repeats":2,"img_count":3},"30_gizmo robot":{"n_repeats":30,"img_count":1}}' ]
	# Two of three: the folder's own words count, and what is left out too.
	mv "reg/30_gizmo robot" away; mv reg/2_shape reg/30_shape
	trained train --reg reg
	[ "$(fact ss_num_reg_images)" = 90 ]
	[ "$(fact ss_reg_dataset_dirs)" = '{"30_shape":{"n_repeats":30,"img_count":3}}' ]
}

@test "tag frequency: regularisation too, in lower case, folders of one name together" {
	folders
	echo 'Ä Robot, RED' > "train/30_gizmo robot/2.txt"
	trained train --reg reg
	fact ss_tag_frequency | jq -S -c . > tags
	echo '{"2_shape":{"n3":1,"n4":1,"n7":1,"shape":3},"30_gizmo robot":{"blue":1,"gizmo":2,"red":2,"ä robot":1}}' \
		| diff - tags
}

@test "a dataset config's num_repeats are the folders' own" {
	folders
	printf '[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "train/30_gizmo robot"\nnum_repeats = 4\n[[datasets.subsets]]\nimage_dir = "reg/2_shape"\nis_reg = true\nnum_repeats = 2\n' > d.toml
	trained --dataset-config d.toml
	[ "$(fact ss_num_train_images),$(fact ss_num_reg_images)" = 8,6 ]
	[ "$(fact ss_reg_dataset_dirs)" = '{"2_shape":{"n_repeats":2,"img_count":3}}' ]
}

@test "captions that are longer than what is read: counted once, by the program that reads them" {
	mkdir set
	for n in 0 2 3; do cp "$demo/gizmo0$n.jpg" set/$n.jpg; done
	for n in 0 2; do seq -s ', ' -f 'robot %.0f' 60 > set/$n.txt; done
	echo 'a robot' > set/3.txt
	said() { grep -c "$1" err || true; }
	"$BIN/lora-prep" -q "${PREP[@]}" set > i.tar
	"$BIN/lora-encode" -m "$MODEL" --shuffle-caption -o l.tar i.tar 2> err
	[ "$(said '2 of 3 captions have more than 75 tokens, and the rest of them is not read; .*a greater max_token_length')" = 1 ]
	"$BIN/lora-train" -m "$MODEL" --network-train-unet-only --shuffle-caption --max-train-steps 3 -o out l.tar \
		2> err > /dev/null
	[ "$(said 'tokens, and')" = 0 ]
	"$BIN/lora-train" -m "$MODEL" --shuffle-caption --max-train-steps 3 -o out l.tar 2> err > /dev/null
	[ "$(said '2 of 3 captions have more than 75 tokens')" = 1 ]
	"$BIN/lora-train" -m "$MODEL" --max-token-length 225 --max-train-steps 1 -o out l.tar 2> err > /dev/null
	[ "$(said '2 of 3 captions have more than 225 tokens, and the rest of them is not read; lora-prep --lint shows which$')" = 1 ]
	"$BIN/lora-encode" -m "$MODEL" --no-text -o l.tar i.tar 2> err
	[ "$(said 'tokens, and')" = 0 ]
	# Brackets are no tokens where they are weights.
	printf '((r)), %.0s' {1..30} > set/0.txt; rm set/2.*
	"$BIN/lora-prep" -q "${PREP[@]}" set > i.tar
	"$BIN/lora-encode" -m "$MODEL" -o l.tar i.tar 2> err
	[ "$(said '1 of 2 captions')" = 1 ]
	"$BIN/lora-encode" -m "$MODEL" --weighted-captions -o l.tar i.tar 2> err
	[ "$(said 'tokens, and')" = 0 ]
}
