#!/usr/bin/env bats
# make dist: the same bytes from the same files, wherever, whenever and by whom it is made; nothing is missing.

setup() {
	ROOT=$(realpath "$BATS_TEST_DIRNAME/../..")
	BIN=${BIN:-$ROOT/build/gcc/bin}
	case $BIN in /*) ;; *) BIN=$ROOT/$BIN ;; esac
	cd "$BATS_TEST_TMPDIR" || return 1
}

# first: the tarball of this tree, made once
first() {
	[ -e "$BATS_FILE_TMPDIR/dist/SHA256SUMS" ] || "$ROOT/packaging/dist" "$BATS_FILE_TMPDIR/dist"
	name=$(basename "$BATS_FILE_TMPDIR"/dist/*.tar.gz .tar.gz)
	[ "$name" = "lora-tools-$("$BIN/lora-prep" --version | sed 's/.*(lora-tools) //; s/,.*//')" ]
}

same() { for f in "$BATS_FILE_TMPDIR"/dist/*; do cmp "$f" "$1/${f##*/}" || return 1; done; }

@test "another path, time, umask, locale and time zone: the same bytes" {
	first
	mkdir "a copy"
	(umask 077; cd "$ROOT"; git ls-files -z | xargs -0 cp -P --no-preserve=mode --parents -t "$OLDPWD/a copy")
	(cd "$ROOT"; git ls-files -s | awk '$1 == 100755' | cut -f2) | (cd "a copy"; xargs chmod 700)
	find "a copy" -exec touch -h -d 2001-02-03 {} +
	(cd "a copy"; git init -q; git add -A)
	(umask 077; LC_ALL=en_US.UTF-8 TZ=Asia/Tokyo "a copy/packaging/dist" "$PWD/second")
	same second
}

@test "unpacked, without git, it makes itself again" {
	first
	(umask 002; tar -xzf "$BATS_FILE_TMPDIR/dist/$name.tar.gz")
	[ ! -e "$name/.git" ]
	"$name/packaging/dist" "$PWD/second"
	same second
}

@test "every file that git knows is in it, as it is, and no other" {
	first
	tar -xzf "$BATS_FILE_TMPDIR/dist/$name.tar.gz"
	rm "$name/packaging/MANIFEST"
	(cd "$ROOT"; git ls-files | LC_ALL=C sort) > known
	(cd "$name"; find . ! -type d | sed 's|^\./||' | LC_ALL=C sort) | diff known -
	while read -r f; do
		cmp -s "$ROOT/$f" "$name/$f" || { [ -L "$ROOT/$f" ] && [ -L "$name/$f" ]; } || { echo "$f"; return 1; }
	done < known
	tar -tvzf "$BATS_FILE_TMPDIR/dist/$name.tar.gz" | awk '$1 !~ /^l/ && $1 !~ /^(d|-)rw[x-]r-[x-]r-[x-]$/ || $2 != "0/0"' > odd
	[ ! -s odd ] || { head odd; return 1; }
}

@test "a file of a commit that changes changes the tarball" {
	first
	tar -xzf "$BATS_FILE_TMPDIR/dist/$name.tar.gz"
	echo >> "$name/README.md"
	"$name/packaging/dist" "$PWD/second"
	run same second
	[ "$status" = 1 ]
}

@test "SHA256SUMS holds; the SBOM names every library that is linked" {
	first
	(cd "$BATS_FILE_TMPDIR/dist" && sha256sum -c --quiet SHA256SUMS)
	sbom=$BATS_FILE_TMPDIR/dist/$name.spdx.json
	jq -e '.spdxVersion == "SPDX-2.3" and ([.relationships[] | .relatedSpdxElement] - [.packages[].SPDXID] == [])' \
		"$sbom"
	[ "$(jq -r '.packages[0].checksums[0].checksumValue' "$sbom")" = \
		"$(sha256sum < "$BATS_FILE_TMPDIR/dist/$name.tar.gz" | cut -d' ' -f1)" ]
	[ "$(jq -r '[.packages[].name] | sort | join(" ")' "$sbom")" = \
		"clip-merges jansson lcms2 libjpeg-turbo libpng libwebp lora-tools pcre2 unicode-tables zlib" ]
	tar -xzf "$BATS_FILE_TMPDIR/dist/$name.tar.gz"
	sed -i 's/^LIBS *:= /&-lnonesuch /' "$name/Makefile"
	status=0; "$name/packaging/dist" "$PWD/second" > out 2>&1 || status=$?
	[ $status != 0 ]
	grep -q 'sbom: libnonesuch is linked, and has no row' out
}

@test "a version that the changelog does not know is refused" {
	first
	tar -xzf "$BATS_FILE_TMPDIR/dist/$name.tar.gz"
	sed -i 's/^#define LORA_VERSION .*/#define LORA_VERSION "9.9.9"/' "$name/libcommon/config/version.h"
	status=0; "$name/packaging/dist" "$PWD/second" > out 2>&1 || status=$?
	[ $status != 0 ]
	grep -q "has no line '## 9.9.9 - YEAR-MONTH-DAY'" out
}
