#!/usr/bin/env bats
# The recipes of pipelines/, each run as far as one machine goes: a sweep by make, jobs as Slurm starts them, files for
# Kubernetes.
bats_require_minimum_version 1.5.0

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
	export BIN DEVICE=cpu TINY=$ROOT/tests/golden/tiny-a/model
	mkdir -p four "with blanks"
	cp "$ROOT"/demo/train/*/gizmo0[0-3].* four
	printf '%s\n' 'resolution = "64"' 'min_bucket_reso = 48' 'max_bucket_reso = 80' 'bucket_reso_steps = 16' \
		'network_train_unet_only = true' 'seed = 7' > run.toml
}

sweep() {
	make -s -f "$ROOT/pipelines/make/sweep.mk" -j2 sweep MODEL="$TINY" PICTURES=four CONFIG=run.toml STEPS=4 EVERY=1 \
		RATES="1e-2 5e-3" RANKS=2 PROMPT="a (robot)" PAINT="-W 32 -H 32 --steps 2" OUT=sweep "$@"
}

@test "a sweep encodes once, makes each run, a sheet and a table; a second call does nothing" {
	sweep > table
	[ "$(wc -l < sweep/table.tsv)" = 3 ]
	awk -F'\t' 'NR > 1 && ($2 != 4 || !($3 > 0) || NF != 5) { exit 1 }' sweep/table.tsv
	[ -s sweep/sheet.png ]
	[ "$(sum sweep/rate1e-2-rank2.safetensors)" != "$(sum sweep/rate5e-3-rank2.safetensors)" ]
	find sweep -type f -exec stat -c '%n %Y %i' {} + | sort > before
	sweep
	find sweep -type f -exec stat -c '%n %Y %i' {} + | sort | cmp before -
	sweep -q
	before=$(sum sweep/rate1e-2-rank2.safetensors)
	sweep RATES="1e-2 5e-3 2e-3" > /dev/null
	[ "$(wc -l < sweep/table.tsv)" = 4 ]
	[ "$(sum sweep/rate1e-2-rank2.safetensors)" = "$before" ]
}

@test "a sweep that was killed goes on, to the same adapters; a failure ends it and leaves nothing half done" {
	sweep OUT=whole > /dev/null
	(exec setsid make -s -f "$ROOT/pipelines/make/sweep.mk" -j2 sweep MODEL="$TINY" PICTURES=four CONFIG=run.toml \
		STEPS=4 EVERY=1 RATES="1e-2 5e-3" RANKS=2 PROMPT="a (robot)" OUT=sweep) > /dev/null 2>&1 3>&- &
	made=$!
	wait_for 120 compgen -G 'sweep/rate*/*state.safetensors'
	kill -KILL -- -$made
	wait $made || true
	sweep > /dev/null
	for run in rate1e-2-rank2 rate5e-3-rank2; do
		cmp whole/$run.safetensors sweep/$run.safetensors
	done
	run sweep OUT=broken MODEL=nowhere
	[ "$status" -ne 0 ]
	[ ! -e broken/table.tsv ]
	[ ! -e broken/latents.tar ]
}

@test "Slurm: an array makes the parts, and a run that is stopped is put back and goes on" {
	mkdir fake
	printf '#!/bin/sh\necho "$@" >> requeued\n' > fake/scontrol && chmod +x fake/scontrol
	PATH=$PWD/fake:$PATH
	"$BIN/lora-prep" -q --config run.toml four > images.tar
	for i in 1 2; do
		MODEL=$TINY SLURM_ARRAY_TASK_ID=$i SLURM_ARRAY_TASK_COUNT=2 SLURM_ARRAY_TASK_MIN=1 SLURM_JOB_ID=9 \
			SLURM_PROCID=0 SLURM_NTASKS=1 bash "$ROOT/pipelines/slurm/encode.sbatch" images.tar latents
	done
	[ "$(wc -l < latents/latents.list)" = 2 ]
	job() { SLURM_JOB_ID=41 bash "$ROOT/pipelines/slurm/train.sbatch" run.toml latents/latents.list -m "$TINY" -r 2 \
		--learning-rate 1e-2 --output-name a --output-dir "$@"; }
	job whole --max-train-steps 30 > /dev/null
	[ ! -e requeued ]
	(exec env SLURM_JOB_ID=41 bash "$ROOT/pipelines/slurm/train.sbatch" run.toml latents/latents.list -m "$TINY" -r 2 \
		--learning-rate 1e-2 --output-name a --output-dir out --max-train-steps 30) > log 3>&- &
	script=$!
	wait_for 120 grep -q '"event":"step"' log
	kill -TERM $script
	status=0
	wait $script || status=$?
	[ "$status" -eq 75 ]
	[ "$(cat requeued)" = "requeue 41" ]
	job out --max-train-steps 30 > /dev/null
	cmp whole/a.safetensors out/a.safetensors
	status_of 2 job out --no-such-option
	[ "$(wc -l < requeued)" = 1 ]
}

@test "Kubernetes: the job's command is one that this version takes, and its two numbers are one" {
	file=$ROOT/pipelines/k8s/encode.yaml
	command=$(sed -n '/command:/,/env:/s/^ *- \(lora-\|--\)/\1/p' "$file")
	for word in $command; do
		case $word in
		--*) "$BIN/lora-encode" --help=all | grep -q -- "${word%%=*}" ;;
		esac
	done
	completions=$(sed -n 's/^  completions: //p' "$file")
	[ "$completions" = "$(sed -n 's/.*value: "\(.*\)"/\1/p' "$file")" ]
	[ "$completions" = "$(sed -n 's/^  parallelism: //p' "$file")" ]
}
