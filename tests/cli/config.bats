#!/usr/bin/env bats
# One configuration file serves every tool: what one prints, all others read.  BIN is the folder of the programs.

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return
	BIN=${BIN:-build/gcc/bin}
	scratch=$BATS_TEST_TMPDIR
	tools=$(cd "$BIN" && echo lora-*)
	readers=""
	for tool in $tools; do
		if "$BIN/$tool" --print-config >"$scratch/$tool.toml" 2>/dev/null; then readers="$readers $tool"; fi
	done
}

@test "lora-prep, lora-encode, lora-train and lora-sample take a configuration" {
	for tool in lora-prep lora-encode lora-train lora-sample; do
		[[ " $readers " == *" $tool "* ]]
	done
}

@test "every tool reads what any tool prints" {
	for writer in $readers; do
		for reader in $readers; do
			run "$BIN/$reader" --config "$scratch/$writer.toml" --print-config
			echo "$reader reads $writer's: $output"
			[ "$status" -eq 0 ]
		done
	done
}

@test "a tool prints the same values after reading them" {
	for tool in $readers; do
		"$BIN/$tool" --config "$scratch/$tool.toml" --print-config | sed 's/  # .*//' >"$scratch/again"
		sed 's/  # .*//' "$scratch/$tool.toml" | diff - "$scratch/again"
	done
}

@test "lora-config(5) names every key of every tool" {
	for tool in $readers; do
		sed 's/ = .*//' "$scratch/$tool.toml" | while read -r key; do
			grep -q "^\.It.* Ic $key\( \|\$\)" man/lora-config.5 || { echo "$tool: $key"; exit 1; }
		done
	done
}

@test "lora-config(5) gives the defaults of lora-train" {
	while read -r key value; do
		value=${value#\"}; value=${value%\"}
		case $value in ''|'[]'|false) continue ;; esac
		stated=$(grep -A1 "^\.It .*Ic $key\( \|\$\)" man/lora-config.5 |
			sed -n 's/.*default \(\\&\)\{0,1\}\([^,]*\).*/\2/p')
		echo "$key: program $value, manual $stated"
		[ "$stated" = "$value" ]
	done < <(sed 's/  # .*//; s/ = / /' "$scratch/lora-train.toml")
}

@test "--help is one screen, --version a line, a mistake exit 2 with one line on stderr" {
	for tool in $tools; do
		run "$BIN/$tool" --help
		[ "$status" -eq 0 ]
		[ "$("$BIN/$tool" --help | wc -l)" -le 24 ]
		for line in "${lines[@]}"; do
			echo "$tool: $line"
			[ "${#line}" -le 80 ]
		done
		run "$BIN/$tool" --version
		[[ "$status" -eq 0 && "$output" == "$tool (lora-tools) "* ]]
		run "$BIN/$tool" --no-such-option
		[[ "$status" -eq 2 && "$output" == "$tool: unknown option '--no-such-option'"* &&
			"${#lines[@]}" -eq 1 ]]
	done
}

@test "~ that no shell saw is refused, not taken for the name of a folder" {
	cd "$BATS_TEST_TMPDIR"
	tilde() { run "$@"; [ "$status" -eq 2 ] || { echo "$status: $output"; return 1; }; [ ! -e '~' ]; }
	remedy="~ is the shell's, which did not see it; write "
	for value in '~' '~/loras'; do
		tilde "$BIN/lora-train" -m nowhere "--output-dir=$value"
		[ "$output" = "lora-train: --output-dir: $value: $remedy\$HOME/... or the whole path" ]
		LORA_OUTPUT_DIR=$value tilde "$BIN/lora-train" -m nowhere
		[ "$output" = "lora-train: LORA_OUTPUT_DIR: $value: $remedy\$HOME/... or the whole path" ]
		printf '\noutput_dir = "%s"\n' "$value" > run.toml
		tilde "$BIN/lora-train" -m nowhere --config run.toml
		[ "$output" = "lora-train: run.toml:2: output_dir: $value: ${remedy}the whole path" ]
	done
	tilde "$BIN/lora-train" -m nowhere --base-weights a --base-weights '~/b'
	[[ "$output" == *"--base-weights: ~/b: $remedy"* ]]
	tilde "$BIN/lora-inspect" --html='~/page' x
	# a name that begins so is a name
	run "$BIN/lora-train" -m nowhere --output-dir '~x' --print-lr
	[[ "$output" != *"$remedy"* ]]
}
