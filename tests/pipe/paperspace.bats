#!/usr/bin/env bats
# pipelines/paperspace: what goes to the server, before a curl that answers from files; the manifests of many machines.
bats_require_minimum_version 1.5.0

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir fake
	# Notes its words and the header of --config; answers with the file `answer`, a status behind it.
	cat > fake/curl <<-'EOF'
		#!/bin/bash
		while [ $# -gt 0 ]; do
			case $1 in
			--config) cat "$2" >> header; shift ;;
			--data) printf '%s' "$2" > body; shift ;;
			-X) method=$2; shift ;;
			-H | -w) shift ;;
			-sS) ;;
			*) echo "$method $1" >> requests ;;
			esac
			shift
		done
		cat answer
	EOF
	printf '#!/bin/sh\necho "${0##*/} $*" >> requests\n' | tee fake/scp > fake/ssh
	chmod +x fake/*
	export PATH=$PWD/fake:$PATH PAPERSPACE_API_KEY=secret-of-ours
}

machine() { bash "$ROOT/pipelines/paperspace/machine" "$@"; }

# answer STATUS JSON
answer() { printf '%s\n%s' "$2" "$1" > answer; }

@test "a machine is created, told, stopped and deleted; the key is in the header alone" {
	answer 201 '{"id": "ps1", "state": "provisioning"}'
	HOURS=2 machine create 'a "robot"' A4000 tmpl1 > out 2>&1
	[ "$(cat out)" = ps1 ]
	jq -e '. == {name: "a \"robot\"", machineType: "A4000", templateId: "tmpl1", region: "East Coast (NY2)",
		diskSize: 100, startOnCreate: true, publicIpType: "dynamic", autoShutdownTimeoutHours: 2}' body
	answer 200 '{"id": "ps1", "state": "ready", "publicIp": "203.0.113.7"}'
	[ "$(machine state ps1)" = "ready 203.0.113.7" ]
	machine stop ps1 >> out 2>&1
	machine delete ps1 >> out 2>&1
	diff - requests <<-'EOF'
		POST https://api.paperspace.com/v1/machines
		GET https://api.paperspace.com/v1/machines/ps1
		PATCH https://api.paperspace.com/v1/machines/ps1/stop
		DELETE https://api.paperspace.com/v1/machines/ps1
	EOF
	[ "$(sort -u header)" = 'header = "Authorization: Bearer secret-of-ours"' ]
	run ! grep -q secret-of-ours out requests body
}

@test "files go there and come back; without an address that is said" {
	answer 200 '{"state": "ready", "publicIp": "203.0.113.7"}'
	machine run ps1 run.sh "my pictures.tar"
	machine fetch ps1 out.tar
	grep -v '^GET' requests | diff - <(printf '%s\n' 'scp -q run.sh my pictures.tar paperspace@203.0.113.7:' \
		'ssh paperspace@203.0.113.7 nohup bash run.sh > log 2>&1 < /dev/null &' \
		'scp -q paperspace@203.0.113.7:out.tar .')
	answer 200 '{"state": "off", "publicIp": null}'
	run -1 machine fetch ps1 out.tar
	[[ "$output" == *"has no public address"* ]]
}

@test "a refusal of the server, no key, a wrong word: said, and no success" {
	answer 403 '{"message": "no such template"}'
	run -1 machine create robot A4000 tmpl1
	[[ "$output" == "machine: POST machines: 403 no such template" ]]
	for nothing in '' '{}' '{"id": null}'; do
		answer 200 "$nothing"
		run -1 machine create robot A4000 tmpl1
		[[ "$output" == *"no id in the answer"* ]]
	done
	PAPERSPACE_API_KEY='' run ! machine state ps1
	[[ "$output" == *"PAPERSPACE_API_KEY"* ]]
	run -2 machine explode ps1
	run -2 machine
	[[ "$output" == *"machine create"* ]]
}

@test "run.sh packs what there is and turns the machine off, even where it fails" {
	cp "$ROOT/pipelines/paperspace/run.sh" .
	OFF="touch off" bash run.sh > log 2>&1
	[ -e off ]
	tar -xOf out.tar status | grep -qx 'status [1-9][0-9]*'
}

@test "run.sh with wheels beside it asks for no compiler" {
	cp "$ROOT/pipelines/paperspace/run.sh" .
	mkdir pictures out
	tar -cf pictures.tar pictures
	touch config.toml lora_tools-1-py3.whl lora_tools_cuda13-1-py3.whl
	cat > fake/python3 <<-'EOF'
		#!/bin/bash
		[ "$1" != -c ] || exit 0
		mkdir -p programs/bin
		printf '#!/bin/sh\necho "${0##*/} $*"\n' | tee programs/bin/pip > programs/bin/lora-launch
		chmod +x programs/bin/*
	EOF
	chmod +x fake/python3
	OFF="touch off" bash run.sh > log 2>&1
	[ -e off ]
	tar -xOf out.tar status log | diff - <(printf '%s\n' 'status 0' \
		'pip install -q lora_tools-1-py3.whl lora_tools_cuda13-1-py3.whl' \
		'lora-launch --config_file config.toml --train_data_dir pictures --output_dir out --device cuda')
}

@test "the table's machines are those of the text; presets' memory is the presets' own" {
	table=$ROOT/pipelines/paperspace/README.md
	for kind in A4000 A5000 A6000 A100 H100; do grep -q "^| $kind" "$table"; done
	for preset in fast-iteration high-quality; do
		gib=$(sed -n 's/^# lora-train --plan: \([0-9.]*\) GiB.*/\1/p' "$ROOT/pipelines/$preset.toml")
		grep -qE "\((|[0-9.]+ and )$gib( and [0-9.]+)? GiB\)" "$table"
	done
}

@test "Kubernetes: the training job's options are ones that this version takes; its three numbers are one" {
	file=$ROOT/pipelines/k8s/train.yaml
	"$BIN/lora-train" --help=all > help
	for word in $(sed -n 's/^ *- \(--[a-z-]*\).*/\1/p' "$file"); do grep -q -- "$word" help; done
	n=$(sed -n 's/.*- "\([0-9]*\)"/\1/p' "$file")
	[ "$n" = "$(sed -n 's/.*--replicas=//p' "$file")" ]
	[ "$n" = "$(sed -n '/^    Worker:/,$s/^ *replicas: //p' "$file")" ]
}

@test "containers: the files they name are those that the packages make" {
	version=$("$BIN/lora-prep" --version | sed 's/.*(lora-tools) //; s/,.*//')
	grep -q "^COPY lora_tools-\*.whl lora_tools_cuda\${CUDA}-\*.whl " "$ROOT/packaging/container/Containerfile"
	grep -qx "	binary=lora-tools-$version-linux-x86_64.tar.xz" "$ROOT/packaging/container/lora-tools.def"
	[ "$(sed -n 's|^ARG BASE=docker.io/||p' "$ROOT/packaging/container/Containerfile")" = \
		"$(sed -n 's/^From: //p' "$ROOT/packaging/container/lora-tools.def")" ]
}
