#!/usr/bin/env bats
# make deb: packages without complaints, which a bare root without a compiler installs, upgrades and removes whole, and
# with which the demo works.
load root.bash

setup_file() {
	ROOT=$(realpath "$BATS_TEST_DIRNAME/../..")
	BIN=$(realpath "${BIN:-$ROOT/build/gcc/bin}")
	DIST=$BATS_FILE_TMPDIR/dist BARE=$BATS_FILE_TMPDIR/bare
	export ROOT BIN DIST BARE
	(cd "$ROOT" && packaging/deb "$DIST") > "$BATS_FILE_TMPDIR/words" 2>&1 ||
		{ cat "$BATS_FILE_TMPDIR/words"; return 1; }
	[ "$(id -u)" = 0 ] || return 0
	make_root "$(. /etc/os-release; echo "$VERSION_CODENAME")" "$BARE"
}

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	deb=$(echo "$DIST"/lora-tools_*.deb)
}

bare() { in_root "$BARE" "$@"; }

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

@test "lora-tools-mpi has the engine of several ranks, and nothing else" {
	dpkg-deb -c "$DIST"/lora-tools-mpi_*.deb | awk '$1 !~ /^d/ { print $6 }' |
		grep -vE '^\./usr/share/(doc|lintian)/' | diff <(echo ./usr/lib/lora-tools/liblora-mpi.so) -
}

@test "installed into a bare root: every program starts, without a compiler or Python" {
	bare true
	files > "$BATS_FILE_TMPDIR/before"
	cp "$deb" "$BARE/root/lora-tools.deb"
	cp "$DIST"/lora-tools-mpi_*.deb "$BARE/root/lora-tools-mpi.deb"
	bare apt-get update -qq
	get "$BARE" libjansson4 libjpeg62-turbo liblcms2-2 libpcre2-8-0 libpng16-16 libwebp7 libwebpdemux2 openmpi-bin
	files > "$BATS_FILE_TMPDIR/with-libraries"
	get "$BARE" /root/lora-tools.deb
	if bare sh -c 'command -v gcc || command -v cc || command -v python3'; then return 1; fi
	for t in prep encode train sample merge inspect; do
		[ "$(bare "lora-$t" --version)" = "$("$BIN/lora-$t" --version)" ]
	done
}

@test "lora-tools-mpi: mpirun's two ranks write the bytes of one, and without it they say what is missing" {
	bare true
	pipe "$BARE/root" bare env -C /root
	local train='lora-train -q -m tiny-sdxl --network-dim 2 --learning-rate 1e-3 --max-train-steps 2 --replicas 2'
	local ranks='mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2'
	bare env -C /root sh -c "$train --output-name a --output-dir one latents.tar > one.jsonl"
	status=0
	bare env -C /root sh -c "$ranks $train --output-name a --output-dir two latents.tar" > words 2>&1 || status=$?
	[ $status != 0 ]
	grep -q 'lora-tools-mpi bring it' words
	get "$BARE" /root/lora-tools-mpi.deb
	bare env -C /root sh -c "$ranks $train --output-name a --output-dir two latents.tar > two.jsonl"
	cmp "$BARE/root/one/a.safetensors" "$BARE/root/two/a.safetensors"
}

# @ would be all packages of debian/control, of which lora-tools-cuda is mostly not made: autopkgtest runs nothing then.
@test "autopkgtest finds the packages that the demo asks for" {
	for package in $(sed -n 's/^Depends: //p' "$ROOT/packaging/debian/tests/control" | tr -d ,); do
		[ -e "$(echo "$DIST/$package"_*.deb)" ] || { echo "no $package"; return 1; }
	done
}

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
	for package in lora-tools lora-tools-mpi; do
		newer "$DIST/${package}"_*.deb "$BARE/root/newer-$package.deb"
	done
	get "$BARE" /root/newer-lora-tools.deb /root/newer-lora-tools-mpi.deb
	for package in lora-tools lora-tools-mpi; do
		[[ "$(bare dpkg-query -W -f '${Version}' $package)" == *+later ]]
	done
	bare lora-prep --version
	bare apt-get purge -y -qq lora-tools lora-tools-mpi > words 2>&1 || { tail words; return 1; }
	for package in lora-tools lora-tools-mpi; do gone "$BARE" $package; done
	files | diff "$BATS_FILE_TMPDIR/with-libraries" -
}
