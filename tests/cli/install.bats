#!/usr/bin/env bats
# make install and uninstall: folders with blanks and quotes in their names, and nothing but our own files.

setup() {
	ROOT=$BATS_TEST_DIRNAME/../..
	BIN=${BIN:-$ROOT/build/gcc/bin}
	case $BIN in /*) ;; *) BIN=$ROOT/$BIN ;; esac
	cd "$BATS_TEST_TMPDIR" || return 1
}

# make_here WORDS...: with the programs that are tested, which are built already
make_here() { make --no-print-directory -C "$ROOT" BUILD="$(realpath --relative-to="$ROOT" "${BIN%/bin}")" "$@"; }

# others: what a careless rm -rf would take away
others() { mkdir -p "$1"; for n in keep share lib; do mkdir -p "$1/$n"; echo theirs > "$1/$n/file"; done; }

@test "install and uninstall under every kind of name; what is not ours stays" {
	for name in plain 'with blank' "it's" 'a "quote"' 'star*' '$HOME' ' first'; do
		prefix="$BATS_TEST_TMPDIR/$name"
		others "$prefix"
		others "$BATS_TEST_TMPDIR/with"; others "$BATS_TEST_TMPDIR/blank"
		find . -name file | sort > before
		make_here install PREFIX="${prefix//\$/\$\$}" > words 2>&1 || { cat words; return 1; }
		[ "$(cd "$prefix/bin" && echo *)" = \
			"lora-encode lora-inspect lora-launch lora-merge lora-prep lora-sample lora-train" ]
		[ -x "$prefix/bin/lora-launch" ]
		[ -s "$prefix/share/lora-tools/fast-iteration.toml" ]
		[ -s "$prefix/share/man/man1/lora-train.1" ]
		[ -s "$prefix/share/man/man1/lora-launch.1" ]
		[ -s "$prefix/share/man/man7/lora.7" ]
		for t in prep encode train sample merge inspect; do
			[ -s "$prefix/share/bash-completion/completions/lora-$t" ]
			[ -s "$prefix/share/zsh/site-functions/_lora-$t" ]
			[ -s "$prefix/share/fish/vendor_completions.d/lora-$t.fish" ]
		done
		"$prefix/bin/lora-launch" --help > help
		grep -q train_data_dir help
		make_here uninstall PREFIX="${prefix//\$/\$\$}" > words 2>&1 || { cat words; return 1; }
		find . -name file | sort > after
		diff before after
		[ -z "$(find "$prefix" -type f ! -name file)" ] || { find "$prefix" -type f; return 1; }
	done
}

@test "DESTDIR too; both together" {
	make_here install DESTDIR="$PWD/stage 'one'" PREFIX="/opt/lora tools" > words 2>&1 || { cat words; return 1; }
	[ -x "stage 'one'/opt/lora tools/bin/lora-prep" ]
	make_here uninstall DESTDIR="$PWD/stage 'one'" PREFIX="/opt/lora tools" > words 2>&1
	[ -z "$(find "stage 'one'" -type f)" ]
}

@test "a folder to build in that make cannot handle is refused by name; clean-big takes one folder" {
	for build in 'build/a b' "build/it's" 'build/"x"' 'build/$$x' ''; do
		status=0; make --no-print-directory -n -C "$ROOT" BUILD="$build" all > out 2>&1 || status=$?
		[ $status != 0 ] && grep -q "BUILD=.*make cannot build" out || {
			echo "BUILD=$build: $status"
			cat out; return 1
		}
	done
	mkdir -p "big one" big one
	make_here clean-big BIG="$PWD/big one" > /dev/null
	[ ! -e "big one" ]
	[ -e big ]
	[ -e one ]
}

@test "lora-launch finds the programs beside itself, on PATH, wherever it is called from" {
	make_here install PREFIX="$PWD/in here" > /dev/null 2>&1
	PATH="$PWD/in here/bin:$PATH" run bash -c 'cd /; BIN= lora-launch -q'
	[ "$status" = 2 ]
	[[ "$output" == *"no folder with pictures"* ]]
}
