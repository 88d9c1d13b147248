#!/usr/bin/env bats
# No control of foreign text reaches a terminal: names, captions, metadata, keys, prompts, settings and errors of all
# six tools.

setup_file() { load ../pipe/pipe.bash; command -v script > /dev/null || touch "$BATS_FILE_TMPDIR/no-script"; }
setup() {
	load ../pipe/pipe.bash
	[ ! -e "$BATS_FILE_TMPDIR/no-script" ] || skip "no script(1) for a terminal"
	cd "$BATS_TEST_TMPDIR" || return 1
	# a title, colours, CSI of C1 in UTF-8 and in eight bits, right to left, an isolate, an Arabic mark, DEL
	E=$'\e]0;owned\a\e[31m\xc2\x9b31m\xe2\x80\xae\xe2\x81\xa6\xd8\x9c\x7f'
	H=$E$'\x9b31m'
	mkdir "set" "set/2_$E"
	cp "$ROOT"/demo/train/*/gizmo01.png "set/2_$E/a$H.png"; printf 'cap %s, tion\n' "$E" > "set/2_$E/a$H.txt"
	cp "$ROOT"/demo/train/*/gizmo05.png "set/2_$E/b$E.png"; printf 'not UTF-8 %s\n' "$H" > "set/2_$E/b$E.txt"
	echo "no picture $E" > "set/2_$E/c$H.jpg"
}

# hostile FILE: shows the first line with what a terminal would obey; our own bar goes back with \r
hostile() { LC_ALL=C grep \
	-aPn '[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xaa-\xae]|\xe2\x81[\xa6-\xa9]|\xd8\x9c' "$1" || ! iconv -f UTF-8 -t UTF-8 "$1" > /dev/null 2>&1; }

# on_terminal STATUS COMMAND...: both streams are a terminal; what came there is harmless, and something came.
# script(1) asks $SHELL: where it is not set, /bin/sh takes bash's $'\e' for six letters, and no name is hostile
on_terminal() {
	local want=$1 command status=0; shift
	printf -v command '%q ' "$@"
	SHELL=$BASH script -qec "$command" /dev/null > seen 2>&1 < /dev/null || status=$?
	[ "$want" = any ] || [ "$status" -eq "$want" ] || {
		echo "status $status, not $want: $(cat -v seen)"
		return 1
	}
	[ -s seen ] || { echo "nothing was said by $1"; return 1; }
	if hostile seen > found; then echo "$*: $(cat -v found)" | head -c 2000; return 1; fi
	cat seen >> all
}

@test "the check finds each kind" {
	for bad in '\e' '\a' '\0' '\x7f' '\xc2\x9b' '\xe2\x80\xae' '\xe2\x81\xa6' '\xd8\x9c' '\x9b31m'; do
		printf "a${bad}b\n" > f; hostile f > /dev/null || { echo "$bad is not found"; return 1; }
	done
	printf 'a\tb\r\n\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n' > f; ! hostile f
}

@test "lora-prep, lora-encode, lora-train: names and captions, in notes, findings, reports and events" {
	on_terminal 0 "$BIN/lora-prep" "${PREP[@]}" -o "i$E.tar" --report /dev/stdout set
	grep -q 'u202e' all
	on_terminal any "$BIN/lora-prep" "${PREP[@]}" --lint set
	on_terminal any "$BIN/lora-prep" "${PREP[@]}" --strict -o o.tar set
	on_terminal any "$BIN/lora-prep" "${PREP[@]}" --scan set
	on_terminal 0 "$BIN/lora-encode" -m "$MODEL" -o "l$E.tar" "i$E.tar"
	on_terminal 0 "$BIN/lora-train" -m "$MODEL" --network-dim 2 --network-train-unet-only --max-train-steps 2 \
		--output-dir "o$E" --output-name "t$E" \
		--save-state --metadata-title "$E" --training-comment "$E" "l$E.tar"
	on_terminal 0 "$BIN/lora-train" -m "$MODEL" --network-dim 2 --network-train-unet-only --max-train-steps 3 \
		--output-dir "o$E" --output-name "t$E" \
		--save-state --metadata-title "$E" --training-comment "$E" --resume auto "l$E.tar"
	for what in --metadata --keys --norms --verify --json "--json --metadata --keys" --quick --rebuild-config; do
		# shellcheck disable=SC2086
		on_terminal any "$BIN/lora-inspect" $what "o$E/t$E.safetensors" \
			"o$E/t$E-step00000003-state.safetensors" "l$E.tar" "i$E.tar"
	done
	on_terminal 0 "$BIN/lora-sample" -m "$MODEL" -l "o$E/t$E.safetensors" -p "a $E robot" --steps 1 \
		-W 64 -H 64 -o "p$E"
	on_terminal 0 "$BIN/lora-inspect" "p$E"/*.png
	on_terminal 0 "$BIN/lora-merge" into -m "$MODEL" --lora "o$E/t$E.safetensors" -o "m$E" --report /dev/stdout
}

@test "every file that is not there, or is another one, in errors" {
	printf '%s\n' "$H" > "f$H"
	for f in "nowhere$H" "f$H"; do
		for o in --config --dataset-config --reg --conditioning-data-dir; do
			on_terminal any "$BIN/lora-prep" $o "$f" -o o.tar set
		done
		on_terminal any "$BIN/lora-prep" -o o.tar "$f"
		for o in -m --config --model-config --vae --reuse; do
			on_terminal any "$BIN/lora-encode" $o "$f" -m "$MODEL" -o o.tar "$f"
		done
		for o in -m --config --vae --resume --network-weights --base-weights --sample-prompts --log; do
			on_terminal any "$BIN/lora-train" -m "$MODEL" $o "$f" --network-train-unet-only \
				--max-train-steps 1 "$f"
		done
		for o in -m --config --lora --prompts --noise --vae; do
			on_terminal any "$BIN/lora-sample" -m "$MODEL" -p x $o "$f"
		done
		for o in -m --config --lora; do
			on_terminal any "$BIN/lora-merge" into -m "$MODEL" \
				--lora "$f" $o "$f" -o o
		done
		on_terminal any "$BIN/lora-inspect" "$f"; on_terminal any "$BIN/lora-inspect" --json "$f"
	done
	for t in prep encode train sample merge inspect; do on_terminal any "$BIN/lora-$t" "--$H" "$H"
		on_terminal any "$BIN/lora-$t" "$H"; done
}

@test "settings: unknown keys, values, prompts, variables; what is printed reads back as the same" {
	printf '"key%s" = 1\n' "$(printf '%s' "$E" | tr -d '\000-\037\177')" > keys.toml
	printf 'output_name = "%s"\n' "\\u001b[31m\\u202e\\u009b" > name.toml
	printf 'learning_rate = "%s"\n' "\\u001b[31m\\u202e" > value.toml
	printf '{"a%s": 1, "prompt": "x"}' '\u001b[31m\u202e' > p.json
	for t in prep encode train sample merge; do
		for c in keys name value; do on_terminal any "$BIN/lora-$t" --config $c.toml
			on_terminal any "$BIN/lora-$t" --config $c.toml --print-config; done
		on_terminal any env "LORA_CAPTION_PREFIX=$E" "LORA_NETWORK_DMI$E=1" "$BIN/lora-$t" --print-config
	done
	on_terminal any "$BIN/lora-sample" -m "$MODEL" --prompts p.json
	"$BIN/lora-train" --config name.toml --print-config > printed.toml
	hostile printed.toml > found && return 1
	"$BIN/lora-train" -q --config printed.toml --print-config | sed 's/ *#.*//' > again
	cmp again <(sed 's/ *#.*//' printed.toml)
	grep -q 'output_name = "\\u001B\[31m\\u202E\\u009B"' printed.toml
}

@test "--rebuild-config: a terminal gets no control, a file the bytes as they are" {
	config=$(printf 'seed = "1"  # \xe2\x80\xae \xc2\x9b\noutput_name = "\xe2\x80\xae"\n')
	head=$(jq -cn --arg c "$config"$'\e[31m' --arg e "$E" \
		'{__metadata__: {"lora_tools.config": $c, ($e): $e}, ("k" + $e): {dtype: "F32", shape: [1], data_offsets: [0, 4]}}')
	{ printf "$(printf '%016x' "$(printf %s "$head" | wc -c)" | sed 's/\(..\)/\\x\1/g' |
		awk -F'\\\\x' '{ for (i = NF; i > 1; i--) printf "\\x%s", $i }')"
		printf '%s\0\0\0\0' "$head"; } > c.safetensors
	on_terminal 0 "$BIN/lora-inspect" --rebuild-config c.safetensors
	on_terminal 0 "$BIN/lora-inspect" --keys --metadata c.safetensors
	on_terminal 0 "$BIN/lora-inspect" --keys --metadata --json c.safetensors
	"$BIN/lora-inspect" --rebuild-config c.safetensors > rebuilt
	cmp rebuilt <(printf '%s\e[31m' "$config")
}
