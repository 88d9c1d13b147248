#!/usr/bin/env bats
# Many machines encode one data set: each its part, into one folder; the list of parts is read as one tar.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export TINY=$ROOT/tests/golden/tiny-a/model IMAGES=$BATS_FILE_TMPDIR/images.tar
	export WHOLE=$BATS_FILE_TMPDIR/whole.tar PARTS=$BATS_FILE_TMPDIR/parts
	mkdir "$BATS_FILE_TMPDIR/four"
	cp "$ROOT"/demo/train/*/gizmo0[0-3].* "$BATS_FILE_TMPDIR/four"
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/four" > "$IMAGES"
	"$BIN/lora-encode" -q -m "$TINY" "$IMAGES" -o "$WHOLE"
	for i in 2 0 1; do part $i 3 "$PARTS"; done
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
	cp -r "$PARTS" parts
}

# part I N FOLDER [options]: as a launcher would start it
part() {
	OMPI_COMM_WORLD_RANK=$1 OMPI_COMM_WORLD_SIZE=$2 "$BIN/lora-encode" -q -m "$TINY" --shard auto "$IMAGES" \
		-o "$3" "${@:4}"
}

train_on() {
	"$BIN/lora-train" -q -m "$TINY" --network-train-unet-only -r 2 --learning-rate 1e-2 --max-train-steps 3 \
		--output-name a -o "$1" "${@:2}" > /dev/null
}

@test "parts have their names, and the list their samples and hashes; it trains to the bytes of the whole" {
	[ "$(ls parts)" = "latents-00000-of-00003.list
latents-00000-of-00003.tar
latents-00001-of-00003.list
latents-00001-of-00003.tar
latents-00002-of-00003.list
latents-00002-of-00003.tar
latents.list" ]
	(cd parts && awk -F'\t' '{ print $3 "  " $1 }' latents.list | sha256sum -c --quiet)
	[ "$(awk -F'\t' '{ n += $2 } END { print n }' parts/latents.list)" = 4 ]
	train_on whole "$WHOLE"
	train_on listed parts/latents.list
	cmp whole/a.safetensors listed/a.safetensors
	train_on joined <(cat parts/latents-*.tar)
	cmp whole/a.safetensors joined/a.safetensors
	"$BIN/lora-inspect" --verify parts/latents.list > told
	grep -Eq '^ *samples +4$' told
	grep -Eq '^ *parts +3$' told
	train_on planned --plan parts/latents.list
}

@test "a second run changes nothing and encodes nothing; a part that was lost comes back with its bytes" {
	(cd parts && sha256sum -- *) > before
	part 1 3 parts
	rm parts/latents-00002-of-00003.*
	part 2 3 parts
	(cd parts && sha256sum -c --quiet ../before)
	OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=3 "$BIN/lora-encode" -m "$TINY" --shard auto "$IMAGES" -o parts 2> err
	grep -q "1 of 1 samples taken over" err
	grep -q "all 3 parts are there: parts/latents.list is the whole" err
}

@test "another number of parts in the same folder makes a list of its own" {
	for i in 0 1; do part $i 2 parts; done
	[ "$(wc -l < parts/latents.list)" = 2 ]
	train_on whole "$WHOLE"
	train_on two parts/latents.list
	cmp whole/a.safetensors two/a.safetensors
}

@test "what is missing, damaged or changed is named, and nothing is trained" {
	for damage in "rm parts/latents-00001-of-00003.tar" "sed -i 2d parts/latents.list" \
		"cp parts/latents-00000-of-00003.tar parts/latents-00001-of-00003.tar" \
		"sed -i 's/^\(.*\)\t1\t/\1\t2\t/' parts/latents.list" \
		"sed -i 's/.$/g/' parts/latents.list" "sed -i 's/[0-9a-f]$/0/' parts/latents.list" \
		"sed -i 's/^/..\//' parts/latents.list" "cat parts/latents-*.list >> parts/latents.list" \
		"truncate -s -1 parts/latents-00001-of-00003.tar" ": > parts/latents.list" \
		"head -c 64 /dev/zero > parts/latents.list"; do
		rm -rf parts && cp -r "$PARTS" parts
		bash -c "$damage"
		status_of 3 train_on out parts/latents.list || { echo "after $damage"; return 1; }
		[[ "$output" == *parts/latents* ]] || { echo "after $damage: $output"; return 1; }
		[ ! -e out/a.safetensors ]
	done
	mkdir elsewhere
	sed 's/^/..\/parts\//' "$PARTS/latents.list" > elsewhere/latents.list
	rm -rf parts && cp -r "$PARTS" parts
	status_of 3 train_on out elsewhere/latents.list
	[[ "$output" == *"elsewhere/latents.list:1: is no line of a list"* ]]
	mv parts/latents-00000-of-00003.tar parts/mine.tar
	head -n 1 parts/latents.list | sed 's/^[^\t]*/mine.tar/' | tee parts/once.list > parts/twice.list
	train_on out parts/once.list
	cat parts/once.list >> parts/twice.list
	status_of 3 train_on out parts/twice.list
	[[ "$output" == *"lists parts/mine.tar twice"* ]]
	rm -rf parts && cp -r "$PARTS" parts
	rm parts/latents-00001-of-00003.tar
	status_of 3 "$BIN/lora-inspect" parts/latents.list
	[[ "$output" == *"latents-00001-of-00003.tar is missing"* ]]
}

@test "a part's own list is told from the list of all, by lora-inspect too" {
	for by in "train_on out" "$BIN/lora-inspect"; do
		status_of 3 $by parts/*
		[[ "$output" == *"parts/latents-00000-of-00003.list: is the line of one part; name the list of all, parts/latents.list"* ]]
	done
	# of one part it is the list of all
	part 0 1 one
	train_on out one/latents-00000-of-00001.list
}

@test "a tar that is named twice is refused: by another name, a link, and as a part of a list" {
	ln -s "$WHOLE" link.tar; ln "$WHOLE" hard.tar 2> /dev/null || ln -s "$WHOLE" hard.tar
	for twice in "$WHOLE $WHOLE" "$WHOLE link.tar" "hard.tar $WHOLE" "parts/latents.list parts/latents-00001-of-00003.tar" \
		"parts/latents.list parts/latents.list"; do
		for option in -q --check; do
			status_of 2 train_on out $option $twice
			[[ "$output" == *": is named twice, as "*" before; leave one out"* ]] || { echo "$output"; return 1; }
		done
		[ ! -e out/a.safetensors ]
	done
	train_on out parts/latents-00001-of-00003.tar parts/latents-00002-of-00003.tar
}

@test "the list is reused, and none of its parts is written over" {
	"$BIN/lora-encode" -m "$TINY" --reuse parts/latents.list "$IMAGES" -o new.tar 2> err
	grep -q "4 of 4 samples taken over" err
	cmp new.tar "$WHOLE"
	status_of 2 "$BIN/lora-encode" -q -m "$TINY" --reuse parts/latents.list "$IMAGES" -o parts/latents-00001-of-00003.tar
}

@test "a mistake leaves no folder and nothing half done; a folder that was there stays" {
	status_of 3 part 0 2 new -m nowhere
	status_of 3 env OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 "$BIN/lora-encode" -q -m "$TINY" \
		--shard auto nothing.tar -o new
	[ ! -e new ]
	mkdir empty
	status_of 3 part 0 2 empty -m nowhere
	status_of 3 "$BIN/lora-encode" -q -m "$TINY" --continue nothing.tar -o alone.tar
	[ -d empty ]
	[ -z "$(ls -A empty)" ]
	[ -z "$(temporaries .)" ]
}

@test "a folder is asked of --shard auto; two launchers that disagree encode nothing" {
	: > file
	status_of 2 part 0 2 file
	[[ "$output" == *"is no folder"* ]]
	SLURM_PROCID=1 SLURM_NTASKS=2 status_of 2 part 0 2 new
	[ ! -e new ]
	"$BIN/lora-encode" -q -m "$TINY" --shard 1/3 "$IMAGES" -o named/
	cmp named/latents-00001-of-00003.tar parts/latents-00001-of-00003.tar
	"$BIN/lora-encode" -q -m "$TINY" --shard 1/3 "$IMAGES" -o alone.tar
	cmp alone.tar parts/latents-00001-of-00003.tar
	[ ! -e named/latents.list ]
}
