#!/usr/bin/env bats
# Captions are cut at one place: what training shuffles, --lint compares and ss_tag_frequency counts are the same tags.
# And line ends of old Macintosh editors end lines in every text that people write.
bats_require_minimum_version 1.5.0

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
	demo=$ROOT/demo/train/"10_gizmo robot"
}

# latents CAPTION [lora-prep's options]: one picture with it
latents() {
	mkdir -p one
	cp "$demo/gizmo00.jpg" one/a.jpg
	printf '%b' "$1" > one/a.txt
	"$BIN/lora-prep" -q "${PREP[@]}" "${@:2}" one | "$BIN/lora-encode" -q -m "$MODEL" -o l.tar "${@:2}"
}

# idle [lora-train's options]: the notes of what does nothing
idle() { "$BIN/lora-train" -m "$MODEL" --check "$@" l.tar 2>&1 | sed -n 's/^lora-train: \(.*\): does nothing without \(.*\); .*/\1 \2/p'; }

# tags [lora-train's options]: those of ss_tag_frequency, in order, each with its count
tags() {
	"$BIN/lora-train" -q -m "$MODEL" -r 1 --learning-rate 1e-3 --max-train-steps 1 -o out "$@" l.tar > /dev/null
	"$BIN/lora-inspect" --metadata out/last.safetensors | sed -n 's/^ *ss_tag_frequency = //p' |
		jq -r '.one | to_entries | map("\(.key)=\(.value)") | join("|")'
}

@test "ss_tag_frequency counts the tags that training shuffles" {
	latents 'big, gizmo ||| blue, red'
	[ "$(tags --shuffle-caption --keep-tokens-separator '|||')" = 'big=1|gizmo=1|blue=1|red=1' ]
	[ "$(tags)" = 'big=1|gizmo ||| blue=1|red=1' ]
	latents 'big; gizmo, the robot; red; red'
	[ "$(tags --shuffle-caption --caption-separator ';')" = 'big=1|gizmo, the robot=1|red=2' ]
	[ "$(tags --caption-separator ';' --secondary-separator ', ')" = 'big=1|gizmo=1|the robot=1|red=2' ]
	latents 'a {red|blue} robot, big\nsmall, big\n' --enable-wildcard
	[ "$(tags --enable-wildcard)" = 'a red robot=1|big=1|a blue robot=1|small=1' ]
	[ "$(tags)" = 'a {red|blue} robot=1|big=1' ]
}

@test "the separators of a dataset config count too" {
	latents x
	printf 'big; gizmo, the robot\n' > one/a.txt
	printf '[general]\ncaption_separator = ";"\n[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "one"\nshuffle_caption = true\n' > d.toml
	"$BIN/lora-prep" -q "${PREP[@]}" --dataset-config d.toml | "$BIN/lora-encode" -q -m "$MODEL" -o l.tar
	[ "$(tags)" = 'big=1|gizmo, the robot=1' ]
}

@test "--lint compares the same tags" {
	mkdir set
	for i in 1 2 3 4 5; do
		cp "$demo/gizmo01.png" "set/copy$i.png" && echo "gizmo; blue robot, big" > "set/copy$i.txt"
	done
	cp "$demo/gizmo05.png" set/typo.png && echo "gizmo; bleu robot, big" > set/typo.txt
	typos() { "$BIN/lora-prep" -q --lint "${PREP[@]}" "$@" | jq -r 'select(.code == "tag-typo").say'; }
	[[ "$(typos set)" == '"gizmo; bleu robot"'* ]]
	[[ "$(typos --caption-separator ';' set)" == '"bleu robot, big"'* ]]
	[[ "$(typos --keep-tokens-separator ';' set)" == '"bleu robot"'* ]]
	printf 'caption_separator = ";"\n' > run.toml
	[[ "$(typos --config run.toml set)" == '"bleu robot, big"'* ]]
	printf '[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "set"\ncaption_separator = ";"\n' \
		> d.toml
	[[ "$(typos --dataset-config d.toml)" == '"bleu robot, big"'* ]]
}

caption() { "$BIN/lora-prep" -q "${PREP[@]}" --report - -o /dev/null "$@" |
	jq -c 'select(.event == "picture").caption'; }

@test "CR alone ends a line of a caption" {
	mkdir one && cp "$demo/gizmo00.jpg" one/a.jpg
	printf 'a big gizmo\rsecond line\r' > one/a.txt
	[ "$(caption one)" = '"a big gizmo"' ]
	[ "$(caption --enable-wildcard one)" = '"a big gizmo\nsecond line"' ]
	"$BIN/lora-prep" --lint "${PREP[@]}" one | grep -q more-lines
	printf '\r\n\ra\r\rb\r\n' > one/a.txt
	[ "$(caption --enable-wildcard one)" = '"a\nb"' ]
}

@test "a line end in a folder's name or an option ends no line of a caption" {
	local words=$'2_caf\n \r\nbig\tnl\n'
	mkdir -p "set/$words" $'reg/1_a\nb' 'plain/1_two  blanks ' && cp "$demo/gizmo00.jpg" "set/$words/a.jpg"
	cp "$demo/gizmo00.jpg" $'reg/1_a\nb/a.jpg'; cp "$demo/gizmo00.jpg" "plain/1_two  blanks /a.jpg"
	for wild in "" --enable-wildcard; do
		[ "$(caption $wild set --reg reg)" = $'"caf big nl"\n"a b"' ]
	done
	[ "$(caption plain)" = '"two  blanks "' ]
	[ "$(caption --class-tokens $'a\nb' --caption-prefix $'x\n' --caption-suffix $'y\n z' plain)" = '"x a b y z"' ]
	[ "$(caption --enable-wildcard --class-tokens $'a\nb' plain)" = '"a\nb"' ]
	printf 'a\tb \n' > "plain/1_two  blanks /a.txt"
	[ "$(caption plain)" = '"a\tb"' ]
}

@test "CR alone ends a line of a prompt file, of prompts that come, of training's, and of a config file" {
	sample() { "$BIN/lora-sample" -q -m "$MODEL" -W 32 -H 32 --steps 1 "$@" | jq -r .prompt; }
	printf '# a comment\ra cup\rb cup\r' > prompts.txt
	[ "$(sample --prompts prompts.txt -o a)" = $'a cup\nb cup' ]
	[ "$(sample --prompts - -o b < prompts.txt)" = $'a cup\nb cup' ]
	printf 'x\rbad --s none\r' > bad.txt
	status_of 2 "$BIN/lora-sample" -q -m "$MODEL" --prompts bad.txt -o c
	[[ "$output" == *"bad.txt:2:"* ]]
	latents x
	printf 'network_dim = 2 # two\rlearning_rate = 1e-3\rmax_train_steps = 1\rsample_prompts = "prompts.txt"\rsample_every_n_steps = 1\r' > run.toml
	[ "$("$BIN/lora-train" -q -m "$MODEL" --config run.toml -o out l.tar |
		jq -r 'select(.event == "sample").prompt')" = $'a cup\nb cup' ]
}

@test "a prompt is painted when its CR comes, not when the next one does" {
	mkfifo lines
	"$BIN/lora-sample" -q -m "$MODEL" -W 32 -H 32 --steps 1 --prompts - -o x < lines > told 3>&- &
	local painter=$!
	exec 5> lines
	printf 'a ball\r' >&5
	wait_for 20 test -s told
	printf '\nb ball\r\n' >&5
	exec 5>&-
	wait $painter
	[ "$(jq -r .prompt told)" = $'a ball\nb ball' ]
}

@test "tags that are kept and nothing moves, a warm-up that is none: said, but where a picture's own options are enough" {
	latents 'a, b, c'
	[ "$(idle --keep-tokens 1)" = "keep_tokens shuffle_caption" ]
	[ "$(idle --keep-tokens 1 --enable-wildcard)" = "keep_tokens shuffle_caption" ]
	[ "$(idle --token-warmup-min 2 --shuffle-caption)" = "token_warmup_min token_warmup_step" ]
	[ -z "$(idle --token-warmup-min 1)" ]
	for enough in --shuffle-caption "--caption-tag-dropout-rate 0.5" "--token-warmup-step 9"; do
		[ -z "$(idle --keep-tokens 1 $enough)" ]
	done
	printf '[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "one"\nshuffle_caption = true\n' > d.toml
	"$BIN/lora-prep" -q "${PREP[@]}" --dataset-config d.toml | "$BIN/lora-encode" -q -m "$MODEL" -o l.tar
	[ -z "$(idle --keep-tokens 1)" ]
}
