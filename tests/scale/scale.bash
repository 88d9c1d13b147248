# scale.bash - what the tests of several ranks share: starting them on one machine.
# MPIRUN: another launcher than Open MPI's, of the MPI that liblora-mpi.so was built for
load ../pipe/pipe.bash
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
# shellcheck disable=SC2034
read -ra launcher <<< "${MPIRUN:-mpirun --oversubscribe --bind-to none -q}"

# What stands between the ranks and MPI's engine (mover.c), which it opens.
export MOVER=$BIN/../tests/scale/mover.so MOVER_UNDER=${LORA_MPI:-$BIN/../lib/lora-tools/liblora-mpi.so}

# Four pictures, each four times an epoch: 16 batches.  Without MPI nothing here is tried, so nothing passes.
setup_file() {
	[ -e "${LORA_MPI:-$BIN/../lib/lora-tools/liblora-mpi.so}" ] ||
		{ echo "liblora-mpi.so was not built; tests/tools/deps scale installs MPI's compiler, then make mpi"; return 1; }
	[ -e "$MOVER" ] || { echo "there is no $MOVER; make check-scale builds it"; return 1; }
	command -v "${launcher[0]}" > /dev/null || { echo "there is no ${launcher[0]}"; return 1; }
	export LATENTS=$BATS_FILE_TMPDIR/few.tar
	mkdir -p "$BATS_FILE_TMPDIR/set/4_gizmo"
	cp "$ROOT"/demo/train/*/gizmo0[0-3].* "$BATS_FILE_TMPDIR/set/4_gizmo"
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/set" | "$BIN/lora-encode" -q -m "$MODEL" -o "$LATENTS"
}
setup() { cd "$BATS_TEST_TMPDIR" || return 1; }

# ranks N STEPS FOLDER [options]: a training run of N ranks; its log is FOLDER.jsonl.  TRAIN: what each rank is
ranks() {
	local n=$1 steps=$2 out=$3; shift 3
	timeout 300 "${launcher[@]}" -n "$n" "${TRAIN:-$BIN/lora-train}" -q -m "$MODEL" --network-dim 4 --network-train-unet-only \
		--learning-rate 1e-3 --lr-scheduler cosine --lr-warmup-steps 1 --max-train-steps "$steps" \
		--output-dir "$out" --output-name t --save-state --log "$out.jsonl" "$@" "$LATENTS"
}

# numbers LOG: what a log says of steps and validation, without times
numbers() {
	jq -c 'select(.event == "step" or .event == "validation") | del(.seconds, .seconds_data, .seconds_compute,
		.seconds_optimizer, .samples_per_s, .memory_bytes, .wait_ms, .time)' "$1"
}

# same FOLDER FOLDER STEPS: adapter, last state and the numbers of the log
same() {
	local file
	for file in t.safetensors "t-step$(printf %08d "$3")-state.safetensors"; do
		cmp "$1/$file" "$2/$file" || return 1
	done
	diff <(numbers "$1.jsonl") <(numbers "$2.jsonl")
}

# steps LOG N: it tells of so many steps
steps() { [ "$(grep -c '"event":"step"' "$1")" -ge "$2" ]; }
