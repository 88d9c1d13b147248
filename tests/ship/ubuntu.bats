#!/usr/bin/env bats
# Ubuntu 22.04 and 24.04, bare roots of their own archive: wheel and tarball run as they are, and make deb makes
# packages that fit the release.  Needs the network, some minutes and 3 GB.
load root.bash

setup() {
	begin
	[ "$(id -u)" = 0 ] || skip "only root can enter a bare root"
}

# system RELEASE: that root, made once: $bare
system() {
	bare=$BATS_FILE_TMPDIR/$1
	[ -e "$bare/made" ] || { make_root "$1" "$bare" && in_root "$bare" apt-get update -qq && touch "$bare/made"; }
}

# try_portable RELEASE: the wheel by that system's pip, then the tarball: the bytes of the usual programs
try_portable() {
	local t
	expected
	system "$1"
	mkdir -p "$bare/root/wheel" "$bare/root/binary/lora-tools"
	tar -xJf "$DIST"/lora-tools-*-linux-*.tar.xz -C "$bare/root/binary/lora-tools" --strip-components=1
	pipe "$bare/root/binary" in_root "$bare" env -C /root/binary PATH=/root/binary/lora-tools/bin:/bin
	as_expected "$bare/root/binary"
	get "$bare" python3-venv
	cp "$DIST"/lora_tools-*.whl "$bare/root/wheel"
	in_root "$bare" sh -c 'python3 -m venv /root/venv && /root/venv/bin/pip install -q --no-index /root/wheel/*.whl'
	pipe "$bare/root/wheel" in_root "$bare" env -C /root/wheel PATH=/root/venv/bin:/bin
	as_expected "$bare/root/wheel"
}

# try_deb RELEASE: its packages, made there; they install and run there, and lintian has no error
try_deb() {
	local source=$BATS_TEST_TMPDIR/source
	expected
	system "$1"
	"$ROOT/packaging/dist" "$source"
	mkdir -p "$bare/root/source"
	tar -xzf "$source"/lora-tools-*.tar.gz -C "$bare/root/source" --strip-components=1
	get "$bare" build-essential debhelper lintian libjansson-dev libjpeg-dev liblcms2-dev libpcre2-dev libpng-dev \
		libwebp-dev mpi-default-dev
	in_root "$bare" /root/source/packaging/deb /root/debs > words 2>&1 || { tail words; return 1; }
	in_root "$bare" sh -c 'lintian --allow-root --fail-on error /root/debs/*.changes' > words 2>&1 ||
		{ cat words; return 1; }
	in_root "$bare" sh -c 'apt-get install -y -qq --no-install-recommends /root/debs/lora-tools*.deb' > words 2>&1 ||
		{ tail words; return 1; }
	pipe "$bare/root/deb" in_root "$bare" env -C /root/deb
	as_expected "$bare/root/deb"
	in_root "$bare" ldd /usr/bin/lora-prep | grep libjpeg.so.8
}

# bats test_tags=slow
@test "Ubuntu 22.04: wheel and tarball make the bytes of the usual programs" { try_portable jammy; }
# bats test_tags=slow
@test "Ubuntu 24.04: wheel and tarball make the bytes of the usual programs" { try_portable noble; }
# bats test_tags=slow
@test "Ubuntu 22.04: its packages" { try_deb jammy; }
# bats test_tags=slow
@test "Ubuntu 24.04: its packages" { try_deb noble; }
