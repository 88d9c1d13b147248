#!/usr/bin/env bats
# Slurm on one machine, with two nodes: the recipes of pipelines/slurm, and ranks that srun starts.

load scale.bash
# mpirun says this where there are more ranks than processors; Slurm does not
export OMPI_MCA_mpi_yield_when_idle=1

# begin_slurm FOLDER: munge, the controller and two nodes, of the user who calls this.  Each node has a folder of its
# own for temporary files: PMIx's would lie over each other.
begin_slurm() {
	local at=$1 host port=$((20000 + $$ % 20000)) n
	host=$(hostname -s)
	mkdir -p "$at"/{munge,state,spool-n0,spool-n1,tmp-n0,tmp-n1}
	chmod 711 "$at/munge"
	(umask 077 && head -c 1024 /dev/urandom > "$at/munge/key")
	munged --force --key-file "$at/munge/key" --socket "$at/munge/socket" --pid-file "$at/munge/pid" \
		--log-file "$at/munge/log" --seed-file "$at/munge/seed" 3>&- || return 1
	cat > "$at/slurm.conf" <<-END
		ClusterName=test
		SlurmctldHost=$host(127.0.0.1)
		SlurmctldPort=$port
		SlurmUser=$(id -un)
		SlurmdUser=$(id -un)
		AuthInfo=socket=$at/munge/socket
		StateSaveLocation=$at/state
		SlurmdSpoolDir=$at/spool-%n
		TmpFS=$at/tmp-%n
		SlurmctldPidFile=$at/slurmctld.pid
		SlurmdPidFile=$at/slurmd-%n.pid
		SlurmctldLogFile=$at/slurmctld.log
		SlurmdLogFile=$at/slurmd-%n.log
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_CPU
		SchedulerParameters=sched_interval=1,bf_interval=1
		SlurmdParameters=config_overrides
		MailProg=/bin/true
		NodeName=n0 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=4
		NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=4
		PartitionName=all Nodes=n0,n1 Default=YES
	END
	export SLURM_CONF=$at/slurm.conf
	slurmctld -c 3>&- || return 1
	for n in n0 n1; do slurmd -N $n 3>&- || return 1; done
	for n in {1..30}; do
		both_idle && return 0
		sleep 1
	done
	return 1
}
# Without a controller sinfo alone would try for minutes.
both_idle() { [ "$(timeout 5 sinfo -h -N -t idle -o %N | sort -u | wc -l)" = 2 ]; }

# gone FILE...: what runs by these files does not run any more
gone() { ! cat "$@" | xargs -n 1 kill -0; }

eval "$(declare -f setup_file | sed '1s/setup_file/setup_ranks/')"
setup_file() {
	local c
	setup_ranks
	for c in munged slurmctld slurmd srun; do
		command -v $c > /dev/null || {
			echo "there is no Slurm (Debian: slurm-wlm munge)" > "$BATS_FILE_TMPDIR/none"
			return
		}
	done
	begin_slurm "$BATS_FILE_TMPDIR/slurm" || {
		echo "Slurm does not begin here: $(tail -qn 1 "$BATS_FILE_TMPDIR"/slurm/{munge/log,*.log} 2> /dev/null |
			tr '\n' ' ')" > "$BATS_FILE_TMPDIR/none"
	}
}
teardown_file() {
	[ -n "${SLURM_CONF:-}" ] || return 0
	if [ -e "$BATS_FILE_TMPDIR/none" ]; then
		cat "$BATS_FILE_TMPDIR"/slurm/{munge/pid,*.pid} 2> /dev/null | xargs -r kill || true
		return 0
	fi
	scontrol shutdown
	wait_for 20 gone "$BATS_FILE_TMPDIR"/slurm/*.pid
	kill "$(cat "$BATS_FILE_TMPDIR/slurm/munge/pid")"
}
setup() {
	[ ! -e "$BATS_FILE_TMPDIR/none" ] || skip "$(cat "$BATS_FILE_TMPDIR/none")"
	cd "$BATS_TEST_TMPDIR" || return 1
}

@test "an array of jobs encodes the parts of a set, which training reads as one" {
	"$BIN/lora-prep" -q "${PREP[@]}" "$BATS_FILE_TMPDIR/set" -o images.tar
	export BIN MODEL DEVICE=cpu
	sbatch --wait --array=0-2 "$ROOT/pipelines/slurm/encode.sbatch" images.tar parts || { cat ./*.log; return 1; }
	[ "$(find parts -name 'latents-*-of-00003.tar' | wc -l)" = 3 ]
	LATENTS=parts/latents.list ranks 1 2 of_parts --replicas 2
	ranks 1 2 whole --replicas 2
	cmp of_parts/t.safetensors whole/t.safetensors
}

@test "srun --mpi=pmix starts ranks on two nodes, which write the bytes of one" {
	ranks 1 2 of1 --replicas 5
	# shellcheck disable=SC2034    # ranks() starts them by it
	launcher=(srun --mpi=pmix --overcommit --nodes 2 --quiet)
	ranks 3 2 of3 --replicas 5
	same of1 of3 2
	[ "$(jq -c 'select(.event == "step").wait_ms | length' of3.jsonl | sort -u)" = 3 ]
}

# tell_slurm: what the job said, and what became of it
tell_slurm() { squeue; cat ./*.log; grep -E 'JobId|job ' "$BATS_FILE_TMPDIR"/slurm/slurm*.log | tail -n 40; }

# state_of JOB STATE: the job is in that state
state_of() { [ "$(squeue -h -j "$1" -o %T)" = "$2" ]; }

# The run has no end until it was stopped: on a busy machine it came to its end before the signal came to it, by way of
# scancel, the controller, the script's trap, and all that again.
@test "train.sbatch with two ranks: TERM saves a state, the job goes back into the queue and on to the same bytes" {
	cat > run.toml <<-END
		pretrained_model_name_or_path = "$MODEL"
		network_dim = 4
		network_train_unet_only = true
		learning_rate = 1e-3
		lr_scheduler = "constant"
		max_train_steps = 100000
		replicas = 4
		output_name = "t"
	END
	export BIN
	job=$(sbatch --parsable --nodes=2 --ntasks=2 "$ROOT/pipelines/slurm/train.sbatch" run.toml "$LATENTS" \
		--output-dir cut --log cut.jsonl)
	wait_for 60 steps cut.jsonl 3
	scancel --batch --signal=TERM "$job"
	wait_for 60 state_of "$job" PENDING || { tell_slurm; return 1; }
	first=$(compgen -G 'cut/t-step*-state.safetensors')
	done=${first#*step} done=$((10#${done:0:8}))
	sed -i "s/100000/$((done + 3))/" run.toml
	# It would wait for two minutes.  A job that starts in the second in which its nodes ended it is refused by
	# these, and is gone: "Job credential revoked".
	scontrol update JobId="$job" StartTime=now+3
	wait_for 100 test -e cut/t.safetensors || { tell_slurm; return 1; }
	grep -q 'stopped and saved; back into the queue' lora-train-"$job".log
	"$BIN/lora-train" -q --config run.toml "$LATENTS" --output-dir whole > whole.jsonl
	cmp cut/t.safetensors whole/t.safetensors
}
