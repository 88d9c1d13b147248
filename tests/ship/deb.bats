#!/usr/bin/env bats
# make deb: a package without complaints, which a bare root without a compiler installs, upgrades and removes whole, and
# with which the demo works.

setup_file() {
	ROOT=$(realpath "$BATS_TEST_DIRNAME/../..")
	BIN=$(realpath "${BIN:-$ROOT/build/gcc/bin}")
	DIST=$BATS_FILE_TMPDIR/dist BARE=$BATS_FILE_TMPDIR/bare
	export ROOT BIN DIST BARE
	(cd "$ROOT" && packaging/deb "$DIST") > "$BATS_FILE_TMPDIR/words" 2>&1 ||
		{ cat "$BATS_FILE_TMPDIR/words"; return 1; }
	[ "$(id -u)" = 0 ] || return 0
	debootstrap --variant=minbase "$(. /etc/os-release; echo "$VERSION_CODENAME")" "$BARE" \
		> "$BATS_FILE_TMPDIR/words" 2>&1 || { tail "$BATS_FILE_TMPDIR/words"; return 1; }
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	deb=$(echo "$DIST"/lora-tools_*.deb)
}

# bare COMMAND...: as root there, with nothing of this machine's environment
bare() {
	[ "$(id -u)" = 0 ] || skip "only root can enter a bare root"
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive chroot "$BARE" "$@"
}

# files: all that lies there but what apt and dpkg keep themselves
files() { (cd "$BARE" && find . -xdev \( -path ./var -o -path ./proc -o -path ./tmp -o -path ./root \) -prune -o -print |
	LC_ALL=C sort); }

@test "lintian has no error and no warning" {
	lintian --allow-root --fail-on error,warning "$DIST"/*.changes > out 2>&1 || { cat out; return 1; }
}

@test "the seven programs, their pages and completions, and nothing elsewhere" {
	dpkg-deb -c "$deb" | awk '$1 !~ /^d/ { print $6 }' | sort > got
	for t in prep encode train sample merge inspect; do
		for f in "bin/lora-$t" "share/man/man1/lora-$t.1.gz" "share/bash-completion/completions/lora-$t" \
			"share/zsh/vendor-completions/_lora-$t" "share/fish/vendor_completions.d/lora-$t.fish"; do
			grep -qxF "./usr/$f" got || { echo "$f is not there"; return 1; }
		done
	done
	grep -qxF ./usr/bin/lora-launch got
	run grep -vE '^\./usr/(bin|share/(man|doc/lora-tools|lora-tools|lintian|bash-completion|zsh|fish))/' got
	[ "$status" = 1 ] || { echo "$output"; return 1; }
}

@test "installed into a bare root: every program starts, without a compiler or Python" {
	bare true
	files > "$BATS_FILE_TMPDIR/before"
	cp "$deb" "$BARE/root/lora-tools.deb"
	bare apt-get update -qq
	bare apt-get install -y -qq --no-install-recommends libjansson4 libjpeg62-turbo liblcms2-2 \
		libpcre2-8-0 libpng16-16 libwebp7 libwebpdemux2 > words 2>&1 || { tail words; return 1; }
	files > "$BATS_FILE_TMPDIR/with-libraries"
	bare apt-get install -y -qq --no-install-recommends /root/lora-tools.deb > words 2>&1 ||
		{ tail words; return 1; }
	if bare sh -c 'command -v gcc || command -v cc || command -v python3'; then return 1; fi
	for t in prep encode train sample merge inspect; do
		[ "$(bare "lora-$t" --version)" = "$("$BIN/lora-$t" --version)" ]
	done
}

# bats test_tags=slow
@test "the demo, as autopkgtest runs it" {
	bare true
	mkdir -p "$BARE/root/source"
	tar -xzf "$DIST"/lora-tools_*.orig.tar.gz --strip-components=1 -C "$BARE/root/source"
	cp -r "$ROOT/packaging/debian" "$BARE/root/source/debian"
	bare sh -c 'cd /root/source && sh debian/tests/demo' > words 2>&1 || { tail words; return 1; }
	"${BIN%/bin}/tests/demo/palette" "$BARE/root/source/demo/out/samples" "$ROOT/demo/prompts.txt"
	echo "# $(sha256sum < "$BARE/root/source/demo/out/gizmo.safetensors")" >&3
}

@test "an upgrade, then purged: nothing of it is left" {
	bare true
	dpkg-deb -R "$deb" newer
	sed -i 's/^Version: .*/&+later/' newer/DEBIAN/control
	dpkg-deb --root-owner-group -b newer "$BARE/root/newer.deb" > /dev/null
	bare apt-get install -y -qq /root/newer.deb > words 2>&1 || { tail words; return 1; }
	[[ "$(bare dpkg-query -W -f '${Version}' lora-tools)" == *+later ]]
	bare lora-prep --version
	bare apt-get purge -y -qq lora-tools > words 2>&1 || { tail words; return 1; }
	run bare dpkg-query -W lora-tools
	[ "$status" != 0 ]
	files | diff "$BATS_FILE_TMPDIR/with-libraries" -
}
