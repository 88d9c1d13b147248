#!/usr/bin/env bats
# What stands before building: headers that are missing are named with what to do about it; nothing is installed that was not said.

setup() {
	ROOT=$BATS_TEST_DIRNAME/../..
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir path
}

# fake NAME [SCRIPT]: a program of that name on a PATH that has no other
fake() { printf '#!/bin/bash\n%s\n' "${2:-true}" > "path/$1"; chmod +x "path/$1"; }

# deps_here WORD: as a user who is not root
deps_here() {
	[ -e path/id ] || fake id 'echo 1000'
	status=0; (cd "$ROOT" && env -i PATH="$BATS_TEST_TMPDIR/path" tests/tools/deps "$@") > out 2>&1 || status=$?
}

says() { grep -qF -- "$1" out || { echo "not said: $1"; cat out; return 1; }; }

@test "make: missing headers are named before anything is compiled" {
	printf '#!/bin/bash\ncase "$*" in *-fsyntax-only*) text=$(cat); case $text in *png.h* | *archive.h*) exit 1 ;; esac; printf "%%s" "$text" | exec gcc "$@" ;; esac\nexec gcc "$@"\n' > bare
	chmod +x bare
	status=0; make --no-print-directory -C "$ROOT" -j2 BUILD="$PWD/out.d" CC="$PWD/bare" all > out 2>&1 || status=$?
	[ $status != 0 ]
	says 'headers are missing: archive.h png.h'
	[ ! -e /usr/bin/apt-get ] || says 'make deps'
	! grep -q '  CC  ' out || { cat out; return 1; }
	[ -z "$(find out.d -name '*.o')" ]
}

@test "deps: each kind of system has its own command and names; nothing is run" {
	for row in 'apt-get libarchive-dev' 'dnf jansson-devel' 'pacman libjpeg-turbo' 'zypper liblcms2-devel'; do
		read -r name package <<< "$row"
		rm -rf path; mkdir path
		fake gcc false
		fake "$name" "echo ran >> '$PWD/ran'"
		deps_here build
		[ $status = 1 ] && [ ! -e ran ] || { echo "$name: $status"; cat out; return 1; }
		says "$package"
		says 'As an administrator:'
		[ "$name" != apt-get ] || says 'apt-get update'
		says "    $name "
	done
	rm -rf path; mkdir path
	fake gcc false
	deps_here build
	[ $status = 1 ]
	says README
}

@test "deps: what is installed is said first; building does not install what only tests need" {
	fake gcc false
	fake apt-get 'echo "apt-get $*" >&2; echo noise'
	fake sudo '[ "$1" = env ] && shift 2; exec "$@"'
	fake env 'while [[ $1 == *=* ]]; do shift; done; exec "$@"'
	fake dpkg-query
	deps_here build
	[ $status = 0 ] || { cat out; return 1; }
	[ "$(grep -n '^Installing libarchive-dev' out | cut -d: -f1)" = 1 ] && [ "$(sed -n 3p out)" = "apt-get update -qq" ] || { cat out; return 1; }
	! grep -q -e noise -e bats -e clang-14 out || { cat out; return 1; }
	deps_here test
	says bats
	says clang-14
	fake sudo false
	deps_here build
	[ $status = 1 ]
	says 'As an administrator:'
	fake gcc                                # every header is there
	deps_here build
	[ $status = 0 ] && [ ! -s out ] || { cat out; return 1; }
	rm path/gcc
	deps_here build
	[ $status = 1 ]
	says "no compiler 'gcc'"
}

@test "BUILD: any folder, here or elsewhere" {
	make --no-print-directory -C "$ROOT" BUILD="$PWD/else/where" "$PWD/else/where/libcommon/base/sha256.o" > out 2>&1 || { cat out; return 1; }
	[ -s else/where/libcommon/base/sha256.o ]
	make --no-print-directory -n -C "$ROOT" BUILD="$PWD/else/where" all fuzz-programs unit-programs check fuzz > out 2>&1
	! grep -E '(^|[ =])build/' out | grep -vF 'build/fuzz/' || return 1
	make --no-print-directory -C "$ROOT" BUILD="$PWD/else/where" -n clean > out
	! grep -q else out
}

@test "README has the packages of the table, and its man lines work" {
	cd "$ROOT"
	for n in 2 3 4 5; do
		awk -v n=$n '/^[a-z0-9\/]+\.h / { print $n }' tests/tools/deps > "$BATS_TEST_TMPDIR/names"
		[ "$(wc -l < "$BATS_TEST_TMPDIR/names")" = 7 ]
		grep -qF -- " $(tr '\n' ' ' < "$BATS_TEST_TMPDIR/names" | sed 's/ $//')\`" README.md || { cat "$BATS_TEST_TMPDIR/names"; return 1; }
	done
	grep -oE '`man [^`]+`' README.md | tr -d '`' > "$BATS_TEST_TMPDIR/lines"
	[ -s "$BATS_TEST_TMPDIR/lines" ]
	while read -r _ page; do
		[[ $page == ./man/* ]] && [ -s "$page" ] || { echo "$page"; return 1; }
		man=$(command -v man || command -v mman)                # man-db's, or mandoc's
		MANPAGER=cat "$man" "$page" 2>&1 | grep -qE 'NAME|N.NA.AM.ME.E' || { echo "$page"; return 1; }
	done < "$BATS_TEST_TMPDIR/lines"
}
