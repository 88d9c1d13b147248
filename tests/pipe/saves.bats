#!/usr/bin/env bats
# What a run saves on its way and at its end: it removes, goes on from and replaces only what is its own, and says so
# where it is not.

setup_file() {
	load pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/four.tar
	few_latents "$LATENTS"
}
setup() { load pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

# t STEPS FOLDER [options]: three batches an epoch; notes are heard.  t_other: the same with another learning rate
t() { run "$BIN/lora-train" -m "$MODEL" --network-dim 2 --network-train-unet-only --train-batch-size 2 \
	--learning-rate 1e-3 --max-train-steps "$1" \
	--output-dir "$2" --output-name t "${@:3}" "$LATENTS"; }
t_other() { t "$1" "$2" --learning-rate 1e-4 "${@:3}"; }
ok() { [ "$status" -eq 0 ] || { echo "status $status: $output"; return 1; }; }

# steps FOLDER KIND: steps whose files are there ("" adapters, "-state" states)
steps() { (cd "$1" && ls | sed -n "s/^t-step0*\([0-9]*\)$2\.safetensors\$/\1/p" | tr '\n' ' '); }
are() { [ "$1" = "$2" ] || { echo "'$1', not '$2'"; return 1; }; }
everything() { (cd "$1" && find . -type f -exec stat -c '%n %Y %i' {} + |
	sort; find . -name '*.safetensors' -exec sha256sum {} + | sort); }

@test "one rhythm's rotation leaves the other's files: adapters" {
	both=(--save-every-n-steps 2 --save-every-n-epochs 1)
	t 10 a "${both[@]}" --save-last-n-epochs 1; ok
	are "$(steps a "")" "2 4 6 8 9 "
	t 10 b "${both[@]}" --save-last-n-steps 2; ok
	are "$(steps b "")" "3 6 8 9 "                  # 6 is an epoch's too
	t 10 c "${both[@]}" --save-last-n-steps 2 --save-last-n-epochs 1; ok
	are "$(steps c "")" "8 9 "
	t 10 d "${both[@]}" --save-last-n 2; ok
	are "$(steps d "")" "8 9 "
}

@test "one rhythm's rotation leaves the other's files: states" {
	both=(--save-every-n-steps 2 --save-every-n-epochs 1 --save-state)
	t 10 a "${both[@]}" --save-last-n-epochs-state 1; ok
	are "$(steps a -state)" "2 4 6 8 9 10 "
	t 10 b "${both[@]}" --save-last-n-steps-state 2; ok
	are "$(steps b -state)" "3 6 8 9 10 "
	are "$(steps b "")" "2 3 4 6 8 9 "              # adapters have their own rule: none
	t 10 c "${both[@]}"; ok
	are "$(steps c -state)" "9 10 "
}

@test "an older run's files are no part of a rotation, whatever their names; a resumed run's own are" {
	t_other 6 out --save-every-n-steps 1 --save-state --save-last-n-states 9; ok
	t 4 out --save-every-n-steps 2 --save-last-n 1 --save-state --save-last-n-states 1; ok
	[[ "$output" == *"out/t.safetensors: is the adapter of another run"*"6 steps"*"learning_rate = 0.0001, this one 0.001"* ]]
	[[ "$output" == *"out/t-step00000002.safetensors: of another run, replaced"*"out/t-step00000002-state.safetensors: of another run, replaced"* ]]
	are "$(steps out "")" "1 2 3 4 5 "
	are "$(steps out -state)" "1 3 4 5 6 "          # 2 had taken the other's place, and went for 4
	t 6 out --save-every-n-steps 1 --save-last-n 1 --save-state --save-last-n-states 1 --resume auto; ok
	[[ "$output" == *"going on from out/t-step00000004-state"*"passed by"*t-step00000006-state*"passed by"*t-step00000005-state* ]]
	are "$(steps out "")" "1 3 4 5 "                # 2 was its own; 5 took the other's place
	are "$(steps out -state)" "1 3 6 "
	[[ "$output" != *"adapter of another run"* ]]
}

@test "--resume auto takes this run's newest state and says which newer ones are another's" {
	t_other 6 out --save-every-n-steps 3 --save-state; ok
	t 2 out --save-state; ok
	t 4 out --save-state --resume auto; ok
	[[ "$output" == *"going on from out/t-step00000002-state"* ]]
	[[ "$output" == *"passed by"*"out/t-step00000006-state.safetensors: that run had learning_rate = 0.0001, this one 0.001"* ]]
	[[ "$output" == *"passed by"*"out/t-step00000003-state.safetensors"* ]]
	t 4 straight --save-state; ok
	cmp out/t.safetensors straight/t.safetensors
	are "$(steps out -state)" "2 3 4 6 "
}

@test "--resume auto among another run's states alone is refused; --resume STATE takes one all the same" {
	t_other 4 out --save-state; ok
	before=$(everything out)
	for how in "--learning-rate 1e-3" "--loss-type l1" "--lr-scheduler cosine" "--noise-offset 0.1" \
		"--optimizer-args weight_decay=0.1" "--seed 7"; do
		# shellcheck disable=SC2086
		t_other 6 out --save-state --resume auto $how
		[ "$status" -eq 2 ]
		[[ "$output" == *"out/t-step00000004-state.safetensors: that run had "* ]]
		are "$(everything out)" "$before"
	done
	# What makes no other run: its length, where and how often it saves, what a file says of itself.
	t_other 6 out --save-state --resume auto --save-every-n-steps 5 --metadata-title x --save-precision fp16; ok
	t 8 out --save-state --resume out/t-step00000006-state.safetensors; ok
	[[ "$output" == *"going on from out/t-step00000006-state"* ]]
}

@test "a state at the run's end: said, nothing written; behind it: status 2; the adapter alone is missing: written without a step" {
	t 4 out --save-state; ok
	before=$(everything out)
	t 4 out --save-state --resume auto; ok
	[[ "$output" == *"step00000004-state.safetensors: is of the last step, 4: nothing is left to do"* ]]
	[[ "$output" != *'"event"'* ]]
	are "$(everything out)" "$before"
	for more in "" --dry-run --check; do
		t 3 out --save-state --resume auto $more
		[ "$status" -eq 2 ]
		[[ "$output" == *"is of step 4, this run ends at 3"* ]]
		are "$(everything out)" "$before"
	done
	# Without latents neither their digest is known nor what an epoch is; the state alone is looked at.
	for more in "--max-train-steps 9" "--max-train-epochs 3"; do
		# shellcheck disable=SC2086
		run "$BIN/lora-train" -m "$MODEL" --network-dim 2 --network-train-unet-only --check \
			--resume out/t-step00000004-state.safetensors $more; ok
	done
	run "$BIN/lora-train" -m "$MODEL" --network-dim 8 --network-train-unet-only --check \
		--resume out/t-step00000004-state.safetensors
	[ "$status" -ne 0 ]
	mv out/t.safetensors whole
	t 4 out --save-state --resume auto; ok
	[[ "$output" == *"only the adapter is missing"* && "$output" != *'"event":"step"'* ]]
	cmp out/t.safetensors whole
	# Another run's adapter is not this one's.
	t_other 4 other; ok
	cp other/t.safetensors out
	t 4 out --save-state --resume auto; ok
	cmp out/t.safetensors whole
}

@test "no_metadata: a file tells whose it is all the same" {
	t 4 out --no-metadata --save-every-n-steps 1 --save-last-n 1; ok
	are "$(steps out "")" "3 "
	[ "$("$BIN/lora-inspect" --json --metadata out/t.safetensors | jq -r '.metadata."lora_tools.saved"')" = \
		"step=4 by=end" ]
}

@test "the last saves: a limit on the size of files that holds the adapter alone" {
	t 2 roomy --save-state-on-train-end; ok
	limit=$(($(stat -c %s roomy/t.safetensors) / 1024 + 50))
	[ $((limit * 1024)) -lt "$(stat -c %s roomy/t-step00000002-state.safetensors)" ]
	run bash -c 'ulimit -f '"$limit"'; "$@"' - "$BIN/lora-train" -m "$MODEL" --network-dim 2 \
		--network-train-unet-only --train-batch-size 2 \
		--learning-rate 1e-3 --max-train-steps 2 --output-dir tight --output-name t \
		--save-state-on-train-end "$LATENTS"
	[ "$status" -eq 4 ]
	[[ "$output" == *"tight/t-step00000002-state.safetensors: "*"too large"* ]]
	cmp tight/t.safetensors roomy/t.safetensors
}

@test "the last saves: the adapter that cannot be written costs no state, and comes out of it later" {
	t 150 roomy --save-state; ok
	"$BIN/lora-train" -m "$MODEL" --network-dim 2 --network-train-unet-only --train-batch-size 2 \
		--learning-rate 1e-3 --max-train-steps 150 --output-dir out --output-name t --save-state "$LATENTS" \
		> log 2> err 3>&- & job=$!
	wait_for 60 grep -q '"event":"step"' log
	kill -STOP $job
	mkdir out/t.safetensors                         # a folder comes in the way
	kill -CONT $job
	wait $job && status=0 || status=$?
	[ "$status" -eq 2 ]
	grep -q "out/t.safetensors: is a folder" err
	cmp out/t-step00000150-state.safetensors roomy/t-step00000150-state.safetensors
	rmdir out/t.safetensors
	t 150 out --save-state --resume auto; ok
	cmp out/t.safetensors roomy/t.safetensors
}

@test "a save on the way that cannot be written, for whatever reason, does not end the run" {
	t 4 roomy --save-state --save-every-n-steps 1; ok
	mkdir -p out/t-step00000002.safetensors out/t-step00000003-state.safetensors
	t 4 out --save-state --save-every-n-steps 1; ok
	[[ "$output" == *"warning: out/t-step00000002.safetensors: is a folder"*"training goes on"* ]]
	[[ "$output" == *"warning: out/t-step00000003-state.safetensors: is a folder"*"training goes on"* ]]
	cmp out/t.safetensors roomy/t.safetensors
	cmp out/t-step00000004-state.safetensors roomy/t-step00000004-state.safetensors
	# What failed at 2 was saved at 3, with what was due there.
	[ "$("$BIN/lora-inspect" --json --metadata out/t-step00000003.safetensors |
		jq -r '.metadata."lora_tools.saved"')" = "step=3 by=steps" ]
}

@test "a folder that cannot be read is not one without states: --resume auto does not begin anew" {
	strace -o trace true 2> trace.err || skip "strace may not trace here: $(tail -n 1 trace.err)"
	t 2 out --save-state; ok
	before=$(everything out)
	for how in "getdents64:error=EIO" "openat:error=EMFILE" "openat:error=EACCES"; do
		run strace -f -qq -o trace -P "$PWD/out" -P out -e "inject=$how" "$BIN/lora-train" -q -m "$MODEL" \
			--network-dim 2 --network-train-unet-only \
			--train-batch-size 2 --learning-rate 1e-3 --max-train-steps 4 --output-dir out --output-name t \
			--save-state --resume auto "$LATENTS"
		grep -q INJECTED trace
		[ "$status" -eq 4 ] || { echo "$how: status $status: $output"; return 1; }
		[[ "$output" == *"out: "* ]]
		are "$(everything out)" "$before"
	done
}

@test "the adapter that will be replaced is named by what is known of its run" {
	t 2 out; ok
	[[ "$output" != *"another run"* ]]
	t 2 out; ok
	[[ "$output" != *"another run"* ]]
	t 3 out --seed 7 --no-metadata; ok
	[[ "$output" == *"out/t.safetensors: is the adapter of another run ('t', 2 steps, with the default of seed, this one seed = \"7\"); it is replaced"* ]]
	t 2 out; ok
	[[ "$output" == *"out/t.safetensors: is the adapter of another run ('t', "*"); it is replaced at the end"* ]]
	cp -r "$MODEL" model
	printf '\x01' | dd of=model/unet/diffusion_pytorch_model.safetensors bs=1 conv=notrunc 2> /dev/null \
		seek=$((8 + $(od -An -tu8 -N8 model/unet/diffusion_pytorch_model.safetensors)))
	t 2 out -m model; ok
	[[ "$output" == *"is the adapter of another run ('t', 2 steps, with another model or other data)"* ]]
	t 2 out --check; ok
	[[ "$output" == *"is the adapter of another run"* ]]
}
