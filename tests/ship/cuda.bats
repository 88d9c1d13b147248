#!/usr/bin/env bats
# The CUDA backend in packages: pip's extras [cuda13] and [cuda12], Debian's lora-tools-cuda.  Without a card they must
# say that there is none, and not that a library is missing.  Needs the network, a quarter of an hour and 12 GB.
load root.bash

setup() {
	begin
	! nvidia-smi -L > /dev/null 2>&1 || skip "there is a card: make check-gpu"
}

# by_pip NUMBER: the extra, in a bare venv
by_pip() {
	"$ROOT/packaging/wheel-cuda" "$DIST" "$1"
	[ "$(stat -c %s "$DIST"/lora_tools_cuda"$1"-*.whl)" -le 10000000 ]
	python3 -m venv venv
	local inside=(env -i PATH="$PWD/venv/bin:/usr/bin:/bin" HOME="$PWD" LC_ALL=C)
	"${inside[@]}" pip install -q --no-index "$DIST"/lora_tools-[0-9]*.whl
	no_such=$("${inside[@]}" lora-sample -m "$ROOT/demo/tiny-sdxl" -p x --device cuda -o a.png 2>&1) || true
	[[ $no_such == *"lora-tools[cuda13]"* ]]
	"${inside[@]}" pip install -q --find-links "$DIST" "lora-tools[cuda$1]"
	no_card "${inside[@]}"
	"${inside[@]}" pip uninstall -q -y "lora-tools-cuda$1"
	[ ! -e venv/lib/lora-tools/liblora-cuda.so ]
}

# bats test_tags=slow
@test "[cuda13] brings cuBLAS of CUDA 13, and it is found" { by_pip 13; }
# bats test_tags=slow
@test "[cuda12] brings cuBLAS and the runtime of CUDA 12, and they are found" { by_pip 12; }

# bats test_tags=slow
@test "lora-tools-cuda of Debian: made with its toolkit, lintian, installed, upgraded, purged" {
	bare=$PWD/bare
	make_root "$(. /etc/os-release; echo "$VERSION_CODENAME")" "$bare"
	sed -i 's/ main.*/ main contrib non-free/' "$bare/etc/apt/sources.list"
	in_root "$bare" apt-get update -qq
	"$ROOT/packaging/dist" "$PWD/source"
	mkdir -p "$bare/root/source"
	tar -xzf source/lora-tools-*.tar.gz -C "$bare/root/source" --strip-components=1
	get "$bare" build-essential debhelper lintian libjansson-dev libjpeg-dev liblcms2-dev libpcre2-dev libpng-dev \
		libwebp-dev mpi-default-dev nvidia-cuda-toolkit
	in_root "$bare" /root/source/packaging/deb /root/debs > words 2>&1 || { tail words; return 1; }
	in_root "$bare" sh -c 'lintian --allow-root --fail-on error,warning /root/debs/*.changes' > words 2>&1 ||
		{ cat words; return 1; }
	# what was there to build is gone: the package brings what it needs
	in_root "$bare" apt-get autopurge -y -qq nvidia-cuda-toolkit > words 2>&1 || { tail words; return 1; }
	in_root "$bare" sh -c 'apt-get install -y -qq --no-install-recommends /root/debs/lora-tools_*.deb \
		/root/debs/lora-tools-cuda_*.deb' > words 2>&1 || { tail words; return 1; }
	model=$bare/root no_card in_root "$bare" env -C /root
	for package in lora-tools lora-tools-cuda; do
		newer "$bare/root/debs/${package}"_*.deb "$bare/root/newer-$package.deb"
	done
	get "$bare" /root/newer-lora-tools.deb /root/newer-lora-tools-cuda.deb
	[[ "$(in_root "$bare" dpkg-query -W -f '${Version}' lora-tools-cuda)" == *+later ]]
	model=$bare/root no_card in_root "$bare" env -C /root
	in_root "$bare" apt-get purge -y -qq lora-tools-cuda > /dev/null 2>&1
	gone "$bare" lora-tools-cuda
	[ ! -e "$bare/usr/lib/lora-tools/liblora-cuda.so" ]
}
