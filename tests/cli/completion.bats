#!/usr/bin/env bats
# What bash, zsh and fish complete: typed into a real shell on a pseudo-terminal, from what `make install` installed.
# There the programs are functions that write down their words: what the shell made of the keys is what a program gets.

tools="prep encode train sample merge inspect"

setup_file() {
	load ../pipe/pipe.bash
	PREFIX=$BATS_FILE_TMPDIR/prefix
	export PREFIX
	make --no-print-directory -C "$ROOT" BUILD="$(realpath --relative-to="$ROOT" "${BIN%/bin}")" install \
		PREFIX="$PREFIX" > "$BATS_FILE_TMPDIR/words" 2>&1 || { cat "$BATS_FILE_TMPDIR/words"; return 1; }
}

setup() {
	load ../pipe/pipe.bash
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir files home; cd files || return 1
	mkdir "in here"
	touch "my robot.safetensors" "it's.safetensors" plain.safetensors "some latents.tar" run.toml notes.txt \
		in\ here/deep.safetensors last-state.safetensors
	cd ..
}

teardown() {
	[ -z "${shell:-}" ] || { exec 7>&-; wait "$shell" || true; }
}

# terminal COMMAND...: a shell on a terminal of its own, whose keys come from file 7 and whose picture goes to `screen`
terminal() {
	local command
	printf -v command '%q ' env -i HOME="$PWD/home" PATH="$PATH" TERM=dumb LC_ALL=C.UTF-8 GOT="$PWD/got" \
		XDG_DATA_DIRS="$PREFIX/share:/usr/share" XDG_CONFIG_HOME="$PWD/home" XDG_DATA_HOME="$PWD/home" "$@"
	mkfifo keys
	(cd files && SHELL=$BASH exec script -qec "$command" /dev/null) < keys > screen 2>&1 3>&- & shell=$!
	exec 7> keys
	type 'lora-prep ready'
}

# type KEYS: a line; its words, as the program got them, are in `got`, one a line
type() {
	rm -f got
	printf '%b\n' "$1" >&7
	for _ in $(seq 200); do
		[ ! -e got ] || return 0
		sleep 0.05
	done
	echo "nothing came of: $1"
	cat -v screen; return 1
}

# gets KEYS WORD...: after those keys, the program's words
gets() {
	type "$1"; shift
	printf '%s\n' "$@" | diff - got || { tail -n 5 screen | cat -v; return 1; }
}

# offers KEYS WORD...: of all that the shell put in place of the keys, in any order; folders with a / or without
offers() {
	type "$1"; shift
	printf '%s\n' "$@" | sort > wanted
	sed 's|/$||' got | sort -u | diff wanted - || { tail -n 5 screen | cat -v; return 1; }
}

# options TOOL: all that --help=all lists, -m and --model alike
options() {
	"$BIN/lora-$1" --help=all | grep -oE '^  (-., |    )--[a-z0-9-]+' | grep -oE -- '--?[a-zA-Z0-9-]+' | sort
}

# choices TOOL OPTION: those that the program itself tells of, with a wrong one
choices() {
	local prompt=(); [ "$1" != sample ] || prompt=(-p x)
	"$BIN/lora-$1" -m "$MODEL" "$2" nonesuch "${prompt[@]}" 2>&1 < /dev/null |
		sed 's/.*\(one of\|choose\|there are\) //; s/,/ /g; s/ or / /g'
}

# options that take one of a list
listed=("train --lr-scheduler" "train --loss-type" "train --max-token-length" "train --timestep-sampling"
	"train --save-precision" "train --optimizer-type" "train --log-with" "sample --sampler" "prep --payload"
	"prep --resize-interpolation" "merge --to" "merge --method" "encode --precision")
modes="into add scale negate resize extract average interference convert"
adapters=("my robot.safetensors" "it's.safetensors" plain.safetensors last-state.safetensors "in here")
every=("${adapters[@]}" "some latents.tar" run.toml notes.txt)

bash_shell() {
	cat > rc.bash <<- 'END'
		. /usr/share/bash-completion/bash_completion
		PS1='$ '
		bind 'set enable-bracketed-paste off'
		for t in prep encode train sample merge inspect; do
			eval "lora-$t() { printf '%s\n' \"\$@\" > \"\$GOT.new\"; mv \"\$GOT.new\" \"\$GOT\"; }"
		done
	END
	terminal bash --noprofile --rcfile "$PWD/rc.bash" -i
}

# values KEYS: what stands behind each option with a list of values, and lora-merge's modes; KEYS ask for the list
values() {
	local t option line
	for line in "${listed[@]}"; do
		read -r t option <<< "$line"
		# shellcheck disable=SC2046
		offers "lora-$t $option $1" "$option" $(choices "$t" "$option")
	done
	# shellcheck disable=SC2086
	offers "lora-merge $1" $modes
	# shellcheck disable=SC2086
	offers "lora-merge -o x $1" -o x $modes
}

@test "bash: every option, none that is not there" {
	bash_shell
	for t in $tools; do
		type "lora-$t -\\e*"
		options "$t" > all
		sort got | diff all - || { echo "lora-$t"; return 1; }
	done
}

@test "bash: values, modes, files by their ends; _ for -" {
	bash_shell
	values '\e*'
	offers 'lora-inspect --will-it-load \e*' --will-it-load a1111 comfy invoke diffusers sdcpp kohya all
	offers 'lora-merge --only \e*' --only unet te te1 te2 attn ff conv
	offers 'lora-merge add \e*' add "${adapters[@]}"
	offers 'lora-train --resume \e*' --resume auto last-state.safetensors "in here"
	offers 'lora-train --config \e*' --config run.toml "in here"
	offers 'lora-train \e*' "some latents.tar" "in here"
	offers 'lora-prep \e*' "in here"
	offers 'lora-train --output-dir \e*' --output-dir "in here"
	offers 'lora-inspect \e*' "${every[@]}"
	gets 'lora-train --max_train_s\t5' --max-train-steps 5
	gets 'lora-train --loss-type=hu\t' --loss-type=huber
	gets 'lora-train --lr_scheduler poly\t' --lr_scheduler polynomial
	gets 'lora-train --network-dim \t-r 4' --network-dim -r 4
	gets 'lora-merge res\tmy\t--rank 4' resize "my robot.safetensors" --rank 4
	gets "lora-merge add 'my\\t" add "my robot.safetensors"
	gets 'lora-merge add "my\t' add "my robot.safetensors"
	gets 'lora-merge add it\t' add "it's.safetensors"
	gets 'lora-merge into --lora in\tde\t' into --lora "in here/deep.safetensors"
	gets 'lora-merge into --lora=pl\t' into --lora=plain.safetensors
	gets 'lora-train --help=completion-b\t' --help=completion-bash
	gets 'lora-train so\t' "some latents.tar"
}

zsh_shell() {
	cat > home/.zshrc <<- END
		fpath=("$PREFIX/share/zsh/site-functions" \$fpath)
		autoload -Uz compinit && compinit -u -d ~/dump
		PS1='$ '
		unset zle_bracketed_paste
		bindkey -e
		zle -C all-matches complete-word _generic
		bindkey '^Xa' all-matches
		zstyle ':completion:all-matches:*' insert yes
		zstyle ':completion:all-matches::::' completer _all_matches _complete
		for t in prep encode train sample merge inspect; do
			eval "lora-\$t() { print -rl -- \"\\\$@\" > \\\$GOT.new; mv \\\$GOT.new \\\$GOT }"
		done
	END
	terminal zsh -i
}

@test "zsh: every option, none that is not there" {
	zsh_shell
	for t in $tools; do
		type "lora-$t -\\x18a"
		options "$t" > all
		sed 's/=$//' got | sort -u | diff all - || { echo "lora-$t"; return 1; }
	done
}

@test "zsh: values, modes, files by their ends" {
	zsh_shell
	values '\x18a'
	offers 'lora-merge add \x18a' add "${adapters[@]}"
	# a word that may be left out: what comes after it is offered too
	offers 'lora-train --resume \x18a' --resume auto last-state.safetensors "some latents.tar" "in here"
	offers 'lora-train --config \x18a' --config run.toml "in here"
	offers 'lora-inspect \x18a' "${every[@]}"
	gets 'lora-prep i\t' "in here"
	gets 'lora-train --max-train-s\t5' --max-train-steps=5
	gets 'lora-train --loss-type=hu\t' --loss-type=huber
	gets 'lora-train --network-dim \t-r 4' --network-dim -r 4
	gets 'lora-merge res\tmy\t--rank 4' resize "my robot.safetensors" --rank 4
	gets "lora-merge add 'my\\t" add "my robot.safetensors"
	gets 'lora-merge into --lora in\tde\t' into --lora "in here/deep.safetensors"
	gets 'lora-merge into -m pl\t' into -m plain.safetensors
	gets 'lora-train --help=completion-b\t' --help=completion-bash
	gets 'lora-train so\t' "some latents.tar"
}

fish_shell() {
	# Where this folder is not there, fish reads all man pages into it behind our back, while bats removes it.
	mkdir -p home/fish/generated_completions
	cat > home/fish/config.fish <<- 'END'
		set -g fish_greeting
		function fish_prompt; echo '$ '; end
		for t in prep encode train sample merge inspect
			eval "function lora-$t; printf '%s\n' \$argv > \$GOT.new; mv \$GOT.new \$GOT; end"
		end
		function offered
			complete -C $argv[1] | string replace -r '\t.*' '' > $GOT.new; mv $GOT.new $GOT
		end
	END
	terminal fish -i
}

@test "fish: every option, none that is not there" {
	fish_shell
	for t in $tools; do
		type "offered 'lora-$t -'"
		mv got short
		type "offered 'lora-$t --'"
		options "$t" > all
		sed 's/=$//' got short | grep -v '^-[^-].' | sort -u | diff all - || { echo "lora-$t"; return 1; }
	done
}

@test "fish: values, modes, files by their ends" {
	fish_shell
	for line in "${listed[@]}"; do
		read -r t option <<< "$line"
		# shellcheck disable=SC2046
		offers "offered 'lora-$t $option '" $(choices "$t" "$option")
	done
	# shellcheck disable=SC2086
	offers "offered 'lora-merge '" $modes
	gets 'lora-train --max-train-s\t 5' --max-train-steps 5
	gets 'lora-train --loss-type=hu\t' --loss-type=huber
	gets 'lora-train --network-dim \t-r 4' --network-dim -r 4
	gets 'lora-merge res\tmy\t--rank 4' resize "my robot.safetensors" --rank 4
	gets "lora-merge add 'my\\t" add "my robot.safetensors"
	gets 'lora-merge into --lora in\tde\t' into --lora "in here/deep.safetensors"
	gets 'lora-merge into -m pl\t' into -m plain.safetensors
	gets 'lora-train --help=completion-b\t' --help=completion-bash
	gets 'lora-train so\t' "some latents.tar"
	gets 'lora-prep i\t' "in here/"
}
