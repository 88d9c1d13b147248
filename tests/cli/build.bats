#!/usr/bin/env bats
# What stands before building: headers that are missing are named with what to do about it; nothing is installed that
# was not said.  And building itself, in a tree of a few small files: what changed is built again, whatever it is, and
# nothing else.

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
	printf '#!/bin/bash\ncase "$*" in *-fsyntax-only*) text=$(cat); case $text in *png.h* | *jansson.h*) exit 1 ;; esac; printf "%%s" "$text" | exec gcc "$@" ;; esac\nexec gcc "$@"\n' > bare
	chmod +x bare
	status=0; make --no-print-directory -C "$ROOT" -j2 BUILD="$PWD/out.d" CC="$PWD/bare" all > out 2>&1 || status=$?
	[ $status != 0 ]
	says 'headers are missing: jansson.h png.h'
	[ ! -e /usr/bin/apt-get ] || says 'make deps'
	! grep -q '  CC  ' out || { cat out; return 1; }
	[ -z "$(find out.d -name '*.o')" ]
}

@test "deps: each kind of system has its own command and names; nothing is run" {
	for row in 'apt-get libjansson-dev' 'dnf jansson-devel' 'pacman libjpeg-turbo' 'zypper liblcms2-devel'; do
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
	[ "$(grep -n '^Installing libjansson-dev' out | cut -d: -f1)" = 1 ] &&
		[ "$(sed -n 3p out)" = "apt-get update -qq" ] || { cat out; return 1; }
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
	make --no-print-directory -C "$ROOT" BUILD="$PWD/else/where" "$PWD/else/where/libcommon/base/sha256.o" \
		> out 2>&1 || { cat out; return 1; }
	[ -s else/where/libcommon/base/sha256.o ]
	make --no-print-directory -n -C "$ROOT" BUILD="$PWD/else/where" \
		all fuzz-programs unit-programs check fuzz > out 2>&1
	! grep -E '(^|[ =])build/' out | grep -vF 'build/fuzz/' || return 1
	make --no-print-directory -C "$ROOT" BUILD="$PWD/else/where" -n clean > out
	! grep -q else out
}

# small_tree: the Makefile and what it reads, with six programs and a library of two files
small_tree() {
	mkdir tree && cd tree || return 1
	(cd "$ROOT" && cp --parents Makefile cuda/build.mk packaging/build.mk tests/check tests/emu/emu.mk \
		tests/emu/ptx/ptx.mk tests/tools/deps "$OLDPWD")
	mkdir -p libcommon/base tests/unit
	echo 'int one(void); int one(void) { return 1; }' > libcommon/base/one.c
	echo 'int two(void); int two(void) { return 2; }' > libcommon/base/two.c
	for t in prep encode train sample merge inspect; do
		mkdir -p tools/lora-$t
		echo 'int one(void); int main(void) { return one() - 1; }' > tools/lora-$t/main.c
	done
}

# builds [WORDS...]: what was done, one line a file
builds() {
	make --no-print-directory "$@" all > out 2>&1 || { cat out; return 1; }
	grep -E '^  (CC|AR|LINK) ' out || true
}

@test "make: other flags build again, the same ones do not; a file that is gone leaves the archive" {
	small_tree
	[ "$(builds | grep -c '  CC')" = 8 ]
	[ -z "$(builds)" ]
	[ "$(builds CFLAGS=-O1 | grep -c '  CC')" = 8 ]
	[ -z "$(builds CFLAGS=-O1)" ]
	builds > /dev/null
	[ "$(builds LDFLAGS=-Wl,-O1 | sed 's/ *build.*//' | sort | uniq -c | tr -s ' \n' ' ')" = ' 6 LINK ' ] ||
		{ cat out; return 1; }
	make -n CFLAGS=-O3 all > out            # only said, so still to be done
	[ "$(builds CFLAGS=-O3 | grep -c '  CC')" = 8 ]
	[ -z "$(builds CFLAGS=-O3 WERROR=-Werror)" ]
	[ "$(ar t build/gcc/libcommon.a | tr '\n' ' ')" = 'one.o two.o ' ]
	rm libcommon/base/two.c
	[ "$(builds CFLAGS=-O3 | head -n 1)" = '  AR    build/gcc/libcommon.a' ] || { cat out; return 1; }
	[ "$(ar t build/gcc/libcommon.a)" = one.o ]
}

@test "make: a compiler of several words, of any name; each kind takes the same flags" {
	small_tree
	printf '#!/bin/sh\necho "$1" >> "%s/wrapped"\nexec "$@"\n' "$PWD" > ../path/ccache; chmod +x ../path/ccache
	PATH=$BATS_TEST_TMPDIR/path:$PATH make --no-print-directory CC='ccache gcc' all > out 2>&1 ||
		{ cat out; return 1; }
	[ -x build/ccache-gcc/bin/lora-prep ]
	grep -qx gcc wrapped
	[ ! -s out ] || ! grep -i warning out
	(cd .. && fake clangless 'exec gcc "$@"')
	builds CC="$BATS_TEST_TMPDIR/path/clangless" > /dev/null
	[ -x build/clangless/bin/lora-prep ]
	if command -v clang-14; then builds CC=clang-14 > /dev/null; ! grep -i warning out; fi
}

@test "a warning stops the check, not who builds" {
	small_tree
	echo 'static int three(void) { return 3; }' >> libcommon/base/one.c
	! make -n all | grep -e -Werror || return 1
	builds > /dev/null
	grep -q 'warning: .*three' out
	status=0; ONLY=optimized tests/check gcc > out 2>&1 || status=$?
	[ $status = 1 ] && grep -q '^build with gcc  *0 passed, 1 failed' out && grep -q 'error: .*three' out ||
		{ cat out; return 1; }
	sed -i /three/d libcommon/base/one.c
	ONLY=optimized tests/check gcc > out 2>&1 || { cat out; return 1; }
	grep -q '^build with gcc  *1 passed, 0 failed' out
}

@test "tests/check: a stage that is not there is refused, and those that are are named" {
	cd "$ROOT"
	for word in typo unit,ops 'unit typo'; do
		status=0; ONLY=$word tests/check > "$BATS_TEST_TMPDIR/out" 2>&1 || status=$?
		[ $status = 2 ] && grep -q "no stage '.*'.* unit ops golden .*sanitizers" "$BATS_TEST_TMPDIR/out" ||
			{ cat "$BATS_TEST_TMPDIR/out"; return 1; }
		[ "$(wc -l < "$BATS_TEST_TMPDIR/out")" = 1 ]
	done
}

@test "README has the packages of the table, and its man lines work" {
	cd "$ROOT"
	for n in 2 3 4 5; do
		awk -v n=$n '/^[a-z0-9\/]+\.h / { print $n }' tests/tools/deps > "$BATS_TEST_TMPDIR/names"
		[ "$(wc -l < "$BATS_TEST_TMPDIR/names")" = 6 ]
		grep -qF -- " $(tr '\n' ' ' < "$BATS_TEST_TMPDIR/names" | sed 's/ $//')\`" README.md ||
			{ cat "$BATS_TEST_TMPDIR/names"; return 1; }
	done
	grep -oE '`man [^`]+`' README.md | tr -d '`' > "$BATS_TEST_TMPDIR/lines"
	[ -s "$BATS_TEST_TMPDIR/lines" ]
	while read -r _ page; do
		[[ $page == ./man/* ]] && [ -s "$page" ] || { echo "$page"; return 1; }
		man=$(command -v man || command -v mman)                # man-db's, or mandoc's
		MANPAGER=cat "$man" "$page" 2>&1 | grep -qE 'NAME|N.NA.AM.ME.E' || { echo "$page"; return 1; }
	done < "$BATS_TEST_TMPDIR/lines"
}
