#!/usr/bin/env bats
# lora-prep --lint: a folder with one of each fault; each is named with its path, nothing is written.

setup() {
	ROOT=$BATS_TEST_DIRNAME/../..
	BIN=${BIN:-$ROOT/build/gcc/bin}
	case $BIN in /*) ;; *) BIN=$ROOT/$BIN ;; esac
	PREP=$BIN/lora-prep
	cd "$BATS_TEST_TMPDIR" || return 1
	demo=$ROOT/demo/train/"10_gizmo robot"
	sizes=(--resolution 64 --min-bucket-reso 48 --max-bucket-reso 80 --bucket-reso-steps 16)
	mapfile -t pictures < <(printf '%s\n' "$demo"/*.[jp]*g)
}

# lint STATUS OPTION...: the findings in findings.jsonl
lint() {
	local want=$1 status=0
	shift
	"$PREP" --lint "${sizes[@]}" "$@" >findings.jsonl 2>err || status=$?
	[ "$status" -eq "$want" ] || { echo "status $status: $(cat err findings.jsonl)"; return 1; }
}

# found SEVERITY CODE PATH: exactly one such line
found() {
	[ "$(jq -r 'select(.event == "finding") | "\(.severity) \(.code) \(.path)"' findings.jsonl |
		grep -cxF -- "$1 $2 $3")" = 1 ] ||
		{ echo "not once: $1 $2 $3"; cat findings.jsonl; return 1; }
}

@test "the demo has no faults, only its steps" {
	lint 0 --train-batch-size 3 "$ROOT/demo/train"
	run jq -rs 'map(.severity) | unique[]' findings.jsonl
	[ "$output" = note ]
	found note steps null
	grep -q '160 samples' findings.jsonl
	grep -q '0 errors' err
}

@test "each fault is named with its path, status 3, nothing is written" {
	mkdir -p set
	cp "${pictures[0]}" set/good.png && echo "gizmo, green robot" >set/good.txt
	cp "${pictures[0]}" set/twin.png && echo "gizmo, green robot" >set/twin.txt
	cp "${pictures[1]}" set/silent.png
	cp "${pictures[2]}" set/empty.png && echo " " >set/empty.txt
	cp "${pictures[3]}" set/latin1.png && printf 'caf\351\n' >set/latin1.txt
	cp "${pictures[4]}" set/long.png && { printf 'dog %.0s' {1..80}; echo last; } >set/long.txt
	cp "${pictures[5]}" set/lines.png && printf 'one\ntwo\n' >set/lines.txt
	head -c 2000 "${pictures[6]}" >set/cut.png
	echo "no picture" >set/words.jpg
	ln -s nowhere set/gone.png
	# a header that claims 20000x20000 pixels
	base64 -d <<<iVBORw0KGgoAAAANSUhEUgAATiAAAE4gCAIAAABsEtFuAAAAC0lEQVR4nGNggAEAAAoAAX+AdF4AAAAASUVORK5CYII= \
		>set/bomb.png
	for i in 1 2 3 4 5; do cp "${pictures[7]}" "set/copy$i.png" && echo "gizmo, blue robot" >"set/copy$i.txt"; done
	cp "${pictures[8]}" set/typo.png && echo "gizmo, bleu robot" >set/typo.txt
	find set | LC_ALL=C sort >before
	lint 3 set
	found error unreadable set/gone.png
	found error format set/words.jpg
	found error damaged set/cut.png
	found error bomb set/bomb.png
	found error caption set/latin1.png
	found warning no-caption set/silent.png
	found warning empty-caption set/empty.png
	found warning long-caption set/long.png
	found note more-lines set/lines.png
	found warning duplicate set/twin.png
	found warning duplicate set/copy5.png
	found warning tag-typo set/typo.png
	[ "$(jq -rs 'map(select(.path == "set/good.png")) | length' findings.jsonl)" = 0 ]
	jq -r 'select(.code == "long-caption").say' findings.jsonl | grep -q 'fall off: dog dog dog dog dog last;'
	find set | LC_ALL=C sort >after
	cmp before after
	# one finding, one line, in any order of work
	cp findings.jsonl first.jsonl
	lint 3 -j 1 set
	cmp first.jsonl findings.jsonl
}

@test "shapes: enlarged, strips, what is cut off" {
	mkdir -p set
	cp "${pictures[0]}" set/a.png && echo a >set/a.txt
	status=0
	"$PREP" --lint set >findings.jsonl 2>err || status=$?
	[ "$status" = 0 ]
	found warning enlarged set/a.png
	lint 0 --no-bucket --resolution 48,192 --min-bucket-reso 16 set
	found warning crop set/a.png
	mkdir -p strips && "$PREP" --no-bucket --resolution 48,192 --min-bucket-reso 16 -q --folder out set
	cp out/*/*.jpg strips/b.jpg 2>/dev/null || cp out/*.jpg strips/b.jpg
	lint 0 strips
	found warning strip strips/b.jpg
}

@test "class words are a note, but not of regularisation pictures" {
	mkdir -p "set/2_blue robot" "reg/1_robot"
	cp "${pictures[0]}" "set/2_blue robot/a.png"
	cp "${pictures[1]}" reg/1_robot/b.png
	lint 0 set --reg reg
	found note class-caption "set/2_blue robot/a.png"
	[ "$(grep -c class-caption findings.jsonl)" = 1 ]
}

@test "small ones, threads, near twins, moving pictures, a short batch" {
	mkdir -p set
	base64 -d <<<iVBORw0KGgoAAAANSUhEUgAAAAgAAAAoAQAAAADr2IYQAAAAVElEQVR42gXBAQaDAAAAwCNijL0ixojRKyLGGHvFGDFGr4iIiF4RMaJvRMToFd0hknop9WaBs8xbZbAIXdzkaj+rg9jdR2P0d3T18NWabE4ST4VuB6IaEb1FGJ5IAAAAAElFTkSuQmCC >set/tiny.png # 8x40
	base64 -d <<<iVBORw0KGgoAAAANSUhEUgAAABAAAAIIAQAAAABPklMTAAACqUlEQVR42u3SB0IIAABA0a+okJIUQkNG0SK7LStJlKSpQUP21tAglTQoykhRGhpEe6FChUSF7L13SlMO4Aq9MzyAceNYtIiNG4mOprCQZ88QFERJCRMTtmwhJoaSEl6+REiISZNYupTt2zl+nMuXefOG/v1RU8PcnF27iIujvJz37xEVZfJkVqzAy4uEBK5d49MnxMWZOhUrK/bsITGRqiq+fmXIEGbMwNYWf3+Sk7l5kx8/kJJi9mxWrWLfPtLSqK2luZnhw9HRwcmJoCAyMrh7l9ZWRo5EX581azhwgPPnaWigvR1ZWQwNcXMjLIyLF3nwgK4uFBSYPx8PDyIjyc3l0SN6ehg7FiMjNmwgKoqCAp4+RUCACRNYvJjNmzl6lOJiXrygXz8mTsTUlG3bOHaMsjJev0ZEBFVVzMzYuZOTJ7l6lXfvGDgQDQ0sLPD0JD6eyko+fkRMDE1NVq7Ex4czZ7hxgy9fkJBg+nRsbPDz4+xZamr4/p2hQ5k1C3t79u4lNZXbt/n1i2HD0NbG0ZH9+0lPp66OlhZkZNDTY/VqQkLIyqK+nrY2Ro9mzhxcXTl4kOxs7t+nsxN5eebNY+1aIiLIyaGpib9/UVRk4ULWr+fwYfLzefKEPn0YPx5jYzZt4sgRiop4/py+fVFWZskStm4lNpbSUl69QlgYFRWWLWPHDk6c4MoV3r5lwADU1Vm+nN27OXWKigo+fGDQIKZMwdISb29On+b6dT5/ZvBgpk3D2hpfX5KSqK7m2zckJZk5Ezs7AgJISeHWLX7+RFoaLS0cHAgM5Nw57tzh929GjEBXF2dngoPJzOTePf78YdQoDAxwcSE0lAsXaGykowM5OebOxd2d8HAuXeLhQ7q7GTOGBQtYt45Dh8jL4/Fjev/3/u/9/9//f5xSBDeiukmcAAAAAElFTkSuQmCC >set/thread.png # 16x520
	base64 -d <<<iVBORw0KGgoAAAANSUhEUgAAAEAAAABAAQAAAACCEkxzAAAACGFjVEwAAAACAAAAAPONk3AAAACbSURBVHjaNcFBhgIAAEDRT0RERETriIiIGLpARERERBeIiIiI6AJDREREdIGIiIiILhARERHRus3vPfhJiqJoiX+xFhcREClREm0xFhtxFUGRFmXREROxFTcREhlREV0xFTtxF2GRFVXREzOxFw8RETlRE30xFwfxFFGRF3UxEAtxFC8RE3+iIYZiKU7iLeKiIJpiJFbiLD4ioS/UwPMBtjtZrgAAAABJRU5ErkJggg== >set/moving.png # 64x64, says that it has two pictures
	cp "${pictures[0]}" set/a.png
	"$PREP" -q --resolution 256 --no-bucket --class-tokens x --folder set/copies set 2>/dev/null
	mv set/copies/a.jpg set/b.jpg && rm -r set/copies
	for f in set/*.*g; do echo words >"${f%.*}.txt"; done
	lint 3 --train-batch-size 2 set
	found error size set/tiny.png
	found error size set/thread.png
	found note animated set/moving.png
	found warning near-duplicate set/b.jpg
	found note remainder null
	grep -q 'the last of 2 batches has 1 of 2' findings.jsonl
}

@test "tokenizers: a folder's, a model's, not both" {
	mkdir -p set
	cp "${pictures[0]}" set/a.png && { printf 'dog %.0s' {1..80}; echo last; } >set/a.txt
	lint 0 --tokenizer "$ROOT/tests/golden/clip-bpe" set
	found warning long-caption set/a.png
	lint 0 -m "$ROOT/tests/golden/tiny-a/model" set
	found warning long-caption set/a.png
	lint 3 -m nowhere.safetensors set
	lint 2 -m "$ROOT/tests/golden/tiny-a/model" --tokenizer x set
	run "$PREP" "${sizes[@]}" --tokenizer "$ROOT/tests/golden/clip-bpe" -o x.tar set
	[ "$status" -eq 2 ]
	[ ! -e x.tar ]
}

@test "nothing can be asked to be written; a reader that is gone is status 4" {
	lint 2 -o x.tar "$ROOT/demo/train"
	lint 2 --folder out "$ROOT/demo/train"
	lint 2 --report r.jsonl "$ROOT/demo/train"
	[ ! -e x.tar ]
	[ ! -e out ]
	[ ! -e r.jsonl ]
	status=0
	"$PREP" --lint "${sizes[@]}" "$ROOT/demo/train" >/dev/full 2>err || status=$?
	[ "$status" = 4 ]
}

@test "a first line without words is said, and that others are not used; no line is longer than 64 KiB" {
	mkdir -p set
	cp "${pictures[0]}" set/blank.png && printf '\n \nwords\n' >set/blank.txt
	cp "${pictures[1]}" set/long.png && head -c 65000 /dev/zero | tr '\0' '\1' >set/long.txt
	lint 0 set
	found warning empty-caption set/blank.png
	found note more-lines set/blank.png
	found warning long-caption set/long.png
	[ "$(awk '{ n = length($0) > n ? length($0) : n } END { print n }' findings.jsonl)" -lt 65536 ]
	jq -es 'map(select(.code == "long-caption"))[0].say | endswith("important words first")' findings.jsonl
}
