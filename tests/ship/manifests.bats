#!/usr/bin/env bats
# The files for Kubernetes against its own schemas.  Kubeflow's MPIJob is no kind of Kubernetes': of that the pods alone.
# Needs the network.
load root.bash

setup() {
	begin
	K8S=$ROOT/pipelines/k8s
	[ -e "$BATS_FILE_TMPDIR/venv/bin/kubernetes-validate" ] || {
		python3 -m venv "$BATS_FILE_TMPDIR/venv"
		"$BATS_FILE_TMPDIR/venv/bin/pip" install -q --disable-pip-version-check kubernetes-validate==1.37.0
	}
}

takes() { "$BATS_FILE_TMPDIR/venv/bin/kubernetes-validate" --strict "$1"; }

# refuses FILE EDIT: the same with a mistake
refuses() {
	sed "$2" "$1" > torn.yaml
	if cmp -s "$1" torn.yaml; then return 1; fi
	run takes torn.yaml
	[ "$status" != 0 ]
}

@test "the job that encodes" {
	takes "$K8S/encode.yaml"
	refuses "$K8S/encode.yaml" 's/completions: 8/completion: 8/'
	refuses "$K8S/encode.yaml" 's/nvidia.com\/gpu: 1/nvidia.com\/gpu: [1]/'
}

@test "the pods of the job that trains" {
	for role in Launcher Worker; do
		"$BATS_FILE_TMPDIR/venv/bin/python" - "$K8S/train.yaml" $role > $role.yaml <<- 'END'
			import sys, yaml
			job = yaml.safe_load(open(sys.argv[1]))
			pod = job["spec"]["mpiReplicaSpecs"][sys.argv[2]]["template"]
			print(yaml.dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, **pod}))
		END
		takes $role.yaml
		refuses $role.yaml 's/volumeMounts:/volumeMount:/'
	done
}
