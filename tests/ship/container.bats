#!/usr/bin/env bats
# The container files, on a bare Ubuntu 24.04 in the place of NVIDIA's image: buildah carries out the Containerfile; of
# the definition for Apptainer, which Debian 12 does not have, the sections are done one by one.
# Needs the network, some minutes and 10 GB.
load root.bash

setup() {
	begin
	[ "$(id -u)" = 0 ] || skip "only root can enter a bare root"
}

# base: Ubuntu's root, made once: $bare.  Where this machine's pip was told its certificates, that root's is too.
base() {
	bare=$BATS_FILE_TMPDIR/noble
	[ ! -e "$bare/made" ] || return 0
	make_root noble "$bare"
	if [ -n "${PIP_CERT:-}" ]; then
		cp "$PIP_CERT" "$bare/etc/pip.crt"
		printf '[global]\ncert = /etc/pip.crt\n' > "$bare/etc/pip.conf"
	fi
	touch "$bare/made"
}

# in_image COMMAND...: there, with the environment that the Containerfile gives it
in_image() { buildah "${storage[@]}" run --isolation chroot --volume "$PWD/data:/data" "$made" -- "$@"; }

# bats test_tags=slow
@test "Containerfiles: the image's programs make the usual bytes, say that there is no card, and are two ranks" {
	command -v buildah > /dev/null || skip "no buildah: apt-get install buildah"
	local n storage=(--root "$PWD/images" --runroot "$PWD/run" --storage-driver vfs)
	expected
	base
	n=$(cd "$DIST" && find . -name 'lora_tools_cuda*.whl' | sed -n 's/.*cuda\([0-9]*\)-.*/\1/p' | sort | tail -n 1)
	[ -n "$n" ] || { n=13; "$ROOT/packaging/wheel-cuda" "$DIST" $n; }
	made=$(buildah "${storage[@]}" from scratch)
	buildah "${storage[@]}" copy -q "$made" "$bare" / > /dev/null
	buildah "${storage[@]}" commit -q --rm "$made" base > /dev/null
	buildah "${storage[@]}" build --isolation chroot --layers=false --build-arg BASE=localhost/base \
		--build-arg CUDA="$n" -t lora-tools -f "$ROOT/packaging/container/Containerfile" \
		"$DIST" > words 2>&1 || { tail words; return 1; }
	mkdir data
	made=$(buildah "${storage[@]}" from localhost/lora-tools)
	pipe data in_image
	as_expected data
	model=data no_card in_image
	several_pods
}

# The image for several pods on top of it: its MPI starts two ranks; its sshd lets in who has the key, though folder and
# key may be written by all, as the mount of a job's keys may.
several_pods() {
	mkdir empty
	buildah "${storage[@]}" build --isolation chroot --layers=false --build-arg BASE=localhost/lora-tools -t lora-tools-mpi \
		-f "$ROOT/packaging/container/mpi.Containerfile" empty > words 2>&1 || { tail words; return 1; }
	made=$(buildah "${storage[@]}" from localhost/lora-tools-mpi)
	in_image sh -euc 'train="-q -m tiny-sdxl --network-dim 2 --learning-rate 1e-3 --max-train-steps 2 --replicas 2"
		lora-train $train --output-dir one --output-name a latents.tar > one.jsonl
		OMP_NUM_THREADS=1 mpirun -n 2 lora-train $train --output-dir two --output-name a latents.tar > two.jsonl
		mkdir -p ~/.ssh; ssh-keygen -q -N "" -t ed25519 -f ~/.ssh/id_ed25519
		cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys; chmod 777 ~/.ssh ~/.ssh/authorized_keys
		/usr/sbin/sshd -D -e -p 2222 & sshd=$!
		ssh -p 2222 -o ConnectionAttempts=10 localhost true
		kill $sshd' > words 2>&1 || { cat words; return 1; }
	[ "$(jq -s 'map(select(.event == "step")) | map(.wait_ms | length) | unique | .[]' data/two.jsonl)" = 2 ]
	cmp data/one/a.safetensors data/two/a.safetensors
}

# section NAME: of the definition, without its indentation
section() { awk -v name="%$1" '/^%/ { on = $1 == name; next } on { sub(/^\t/, ""); print }' \
	"$ROOT/packaging/container/lora-tools.def"; }

# bats test_tags=slow
@test "Apptainer's definition: its files, its steps, its environment: programs that make the usual bytes" {
	expected
	base
	binary=$(section arguments | sed -n 's/^binary=//p')
	read -r from to < <(section files | sed "s/{{ binary }}/$binary/")
	cp "$DIST/$from" "$bare$to"
	section post > "$bare/post"
	in_root "$bare" sh -e /post > words 2>&1 || { tail words; return 1; }
	[ ! -e "$bare$to" ]
	section environment > "$bare/environment"
	mkdir -p "$bare/root/data"
	cp -r "$ROOT/demo/tiny-sdxl" "$bare/root/data"
	pipe "$bare/root/data" in_root "$bare" env -C /root/data sh -c '. /environment; exec "$@"' sh
	as_expected "$bare/root/data"
}
