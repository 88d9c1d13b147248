#!/usr/bin/env bats
# make wheel, make binary: programs that need glibc alone, 2.28 or newer, and that compute what the usual ones compute.

load root.bash

setup() {
	begin
	wheel=$(echo "$DIST"/lora_tools-*.whl) binary=$(echo "$DIST"/*-linux-*.tar.xz)
	programs="lora-encode lora-inspect lora-launch lora-merge lora-prep lora-sample lora-train"
}

# in_venv COMMAND...: with the wheel's programs alone
in_venv() { env -i PATH="$BATS_FILE_TMPDIR/venv/bin:/usr/bin:/bin" HOME="$PWD" LC_ALL=C "$@"; }

@test "one wheel for every Python 3 and glibc 2.28, of at most 10 MB; auditwheel agrees" {
	[ -f "$wheel" ]
	[[ "$wheel" == *-py3-none-manylinux_2_28_"$(uname -m)".whl ]]
	[ "$(stat -c %s "$wheel")" -le 10000000 ]
	"$(dirname "$DIST")/portable/venv/bin/auditwheel" show "$wheel" | tr '\n' ' ' > out
	needs=$(sed -n "s/.*constrains the platform tag to \"manylinux_2_\([0-9]*\)_$(uname -m)\".*/\1/p" out)
	[ "$needs" -le 28 ]
}

# glibc_of FILE: the versions of glibc's symbols that a program or a library asks for
glibc_of() { readelf -W --version-info "$1" 2> /dev/null | grep -o 'GLIBC_2[.0-9]*' | sort -u; }

@test "no program and no library of either asks for a symbol of a glibc newer than 2.28" {
	mkdir wheel binary
	python3 -m zipfile -e "$wheel" wheel
	tar -xJf "$binary" -C binary
	for folder in wheel binary; do
		files=0
		while read -r file; do
			asked=$(glibc_of "$file")
			[ -n "$asked" ] || continue
			files=$((files + 1))
			newest=$(sort -V <<< "$asked" | tail -n 1)
			echo "$newest $file"
			[ "$(printf '%s\n' "$newest" GLIBC_2.28 | sort -V | tail -n 1)" = GLIBC_2.28 ]
		done < <(find "$folder" -type f)
		[ $files -ge 7 ]        # six programs, and the engine of ranks
	done
}

@test "pip installs it without a network; the programs are no scripts of Python's" {
	python3 -m venv "$BATS_FILE_TMPDIR/venv"
	(cd "$BATS_FILE_TMPDIR/venv" && find . ! -type d ! -name '*.pyc' | sort) > "$BATS_FILE_TMPDIR/before"
	local begun=$SECONDS
	in_venv pip install --no-index -q "$wheel"
	[ $((SECONDS - begun)) -le 60 ]
	(cd "$BATS_FILE_TMPDIR/venv/bin" && ls lora-*) | xargs | diff <(echo "$programs") -
	for t in prep encode train sample merge inspect; do
		cmp -n 4 <(printf '\177ELF') "$BATS_FILE_TMPDIR/venv/bin/lora-$t"
		[ "$(in_venv "lora-$t" --version)" = "$("$BIN/lora-$t" --version)" ]
		[ -s "$BATS_FILE_TMPDIR/venv/share/man/man1/lora-$t.1" ]
		[ -s "$BATS_FILE_TMPDIR/venv/share/bash-completion/completions/lora-$t" ]
	done
	in_venv lora-launch --help > out
	grep -q train_data_dir out
}

@test "completion of what pip installed, by the line of lora(7)" {
	sed -n 's/^export XDG_DATA_DIRS=/XDG_DATA_DIRS=/p' "$ROOT/man/lora.7" > line
	[ -s line ]
	ln -s "$BATS_FILE_TMPDIR/venv" robot
	# shellcheck disable=SC2016     # the other shell's words
	in_venv bash --norc -c '. ./line; . /usr/share/bash-completion/bash_completion; _completion_loader lora-train
		complete -p lora-train'
}

@test "the wheel's programs make the bytes of the usual ones" {
	expected
	pipe . in_venv
	as_expected .
}

# train COMMAND...: with two batches a step; the adapter is in ranks/
train() {
	"$@" lora-train -q -m "$ROOT/demo/tiny-sdxl" --network-dim 2 --learning-rate 1e-3 --max-train-steps 2 \
		--replicas 2 --output-dir ranks --output-name a "$BATS_FILE_TMPDIR/expected/latents.tar" > ranks.jsonl
}

@test "the extra [mpi]: pip's mpiexec starts two ranks, which find pip's MPI and write the bytes of one" {
	expected
	train in_venv
	mv ranks one
	in_venv pip install -q --find-links "$DIST" 'lora-tools[mpi]'
	train in_venv OMP_NUM_THREADS=1 mpiexec -n 2
	[ "$(jq -s 'map(select(.event == "step")) | map(.wait_ms | length) | unique | .[]' ranks.jsonl)" = 2 ]
	cmp one/a.safetensors ranks/a.safetensors
	in_venv pip uninstall -q -y mpich
}

# bats test_tags=slow
@test "wheel and tarball made at once, in another path, time, umask, locale and time zone: the same bytes" {
	mkdir "$BATS_TEST_TMPDIR/elsewhere"
	(umask 077; cd "$ROOT"; git ls-files -z |
		xargs -0 cp -P --no-preserve=mode --parents -t "$BATS_TEST_TMPDIR/elsewhere")
	(cd "$ROOT"; git ls-files -s | awk '$1 == 100755' | cut -f2) | (cd elsewhere; xargs chmod 700)
	find elsewhere -exec touch -h -d 2001-02-03 {} +
	(umask 077; LC_ALL=C.UTF-8 TZ=Asia/Tokyo MAKEFLAGS='' make -C elsewhere -j2 BUILD="$PWD/elsewhere/build" wheel binary) \
		> words 2>&1 || { tail words; return 1; }
	cmp elsewhere/build/dist/lora_tools-*.whl "$wheel"
	cmp elsewhere/build/dist/*.tar.xz "$binary"
}

# demo BIN: with the programs there, which find their own libraries
demo() {
	mkdir source
	(cd "$ROOT" && git ls-files -z demo pipelines | xargs -0 cp --parents -t "$OLDPWD/source")
	(cd source && in_venv BIN="$1" PALETTE="${BIN%/bin}/tests/demo/palette" pipelines/demo) > words 2>&1 ||
		{ tail words; return 1; }
	in_venv "$1/lora-inspect" --verify source/demo/out/gizmo.safetensors
}

@test "the demo from the wheel" { demo "$BATS_FILE_TMPDIR/venv/bin"; }

@test "the demo from the tarball" {
	mkdir unpacked
	tar -xJf "$binary" -C unpacked --strip-components=1
	demo "$PWD/unpacked/bin"
}

@test "pip uninstalls it, and nothing of it stays" {
	in_venv pip uninstall -q -y lora-tools
	(cd "$BATS_FILE_TMPDIR/venv" && find . ! -type d ! -name '*.pyc' | sort) |
		diff "$BATS_FILE_TMPDIR/before" -
}

@test "the tarball: programs that start from a read-only folder with blanks, and say so of its sums" {
	(cd "$DIST" && sha256sum -c --quiet SHA256SUMS)
	jq -e '.packages | map(.name) | index("libpng")' "${binary%.tar.xz}.spdx.json"
	mkdir "a folder"
	tar -xJf "$binary" -C "a folder" --strip-components=1
	chmod -R a-w "a folder"
	(cd "a folder/bin" && echo *) | diff <(echo "$programs") -
	for t in prep encode train sample merge inspect; do
		[ "$("a folder/bin/lora-$t" --version)" = "$("$BIN/lora-$t" --version)" ]
	done
	for license in libjpeg libpng libwebp libjansson libpcre2 lcms2 zlib1g; do
		[ -s "$(echo "a folder/share/doc/lora-tools/$license"*.copyright)" ]
	done
	chmod -R u+w "a folder"
}

# The glibc of another release of Debian, or Ubuntu's 16.04, and with it nothing: no library, no shell but busybox's.
# empty_root RELEASE: $PWD/root
empty_root() {
	local lists=$PWD/lists from='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian'
	[ "$1" != xenial ] || from='[trusted=yes] http://archive.ubuntu.com/ubuntu'
	mkdir -p "$lists/partial" root/usr/lib root/usr/lib64 root/usr/bin root/tmp
	ln -s usr/lib usr/lib64 usr/bin root
	echo "deb $from $1 main" > list
	local apt=(-o Dir::Etc::sourcelist="$PWD/list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$lists"
		-o APT::Sandbox::User=root -o APT::Architectures="$(dpkg --print-architecture)"
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
	apt-get "${apt[@]}" update -qq
	apt-get "${apt[@]}" download -qq "libc6/$1" "busybox-static/$1"
	[ "$(find . -name '*.deb' | wc -l)" = 2 ]
	for f in ./*.deb; do dpkg-deb --fsys-tarfile "$f" | tar -x --keep-directory-symlink -C root; done
	mkdir -p root/opt root/bin
	ln -s busybox root/bin/sh
	tar -xJf "$binary" -C root/opt --strip-components=1
}

# 2.31, 2.36, 2.41; of a system with 2.28 no archive answers, but of an older one with 2.23
@test "the tarball in a root with the glibc of Ubuntu 16.04, Debian 11, 12 or 13, and nothing else: the same bytes" {
	[ "$(id -u)" = 0 ] || skip "only root can enter another root"
	expected
	for release in xenial bullseye bookworm trixie; do
		mkdir "$release"
		(cd "$release" && empty_root "$release")
		pipe "$release/root" env -i PATH=/opt/bin:/bin HOME=/ "$(command -v chroot)" "$release/root"
		as_expected "$release/root"
	done
}
