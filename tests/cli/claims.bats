#!/usr/bin/env bats
# No output is an input: every option that writes against everything that is read, in all six tools, through links too.

setup_file() {
	load ../pipe/pipe.bash
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar IMAGES=$BATS_FILE_TMPDIR/images.tar \
		SINGLE=$ROOT/tests/golden/single-file/tiny-a.safetensors
	few_latents "$LATENTS"
	"$BIN/lora-prep" -q "${PREP[@]}" -o "$IMAGES" "$BATS_FILE_TMPDIR/four"
	export ADAPTER=$BATS_FILE_TMPDIR/a/t.safetensors
	train 2 "$BATS_FILE_TMPDIR/a" > /dev/null
}
setup() { load ../pipe/pipe.bash; cd "$BATS_TEST_TMPDIR" || return 1; }

# table TOOL: where its options stand
table() {
	if [ "$1" = lora-train ]; then echo "$ROOT"/libcommon/train/settings/{settings,metadata}.[ch]
	else echo "$ROOT/tools/$1/main.c"; fi
}

# rows TOOL: its options, one row a line
rows() { awk '/\{ "[a-z0-9-]+", / { row = ""; inside = 1 } inside { row = row $0; if (/\},( \\)?$/) { print row; inside = 0 } }' $(table "$1"); }
names() { sed -E 's/^[^"]*"([^"]*)".*/\1/'; }
written() { rows "$1" | grep FILE_WRITTEN | names; }
read_() { rows "$1" | grep -E 'FILE_(READ|READ_WHOLE|READ_WEIGHTED|LISTED)\b' | names; }

# victim OPTION: makes what the option reads, as $value, and names a file of it that could be lost, as $file
victim() {
	rm -rf in; mkdir in
	case $1 in
	model | base | tuned) cp -r "$MODEL" in/model; value=in/model file=in/model/unet/config.json ;;
	model-config) cp -r "$MODEL" in/model; value=in/model file=in/model/vae/config.json ;;
	tokenizer) cp -r "$MODEL/tokenizer" in/t; value=in/t file=in/t/merges.txt ;;
	vae) cp -r "$MODEL/vae" in/vae; value=in/vae file=in/vae/config.json ;;
	lora | base-weights | network-weights | diff) cp "$ADAPTER" in/a.safetensors; value=in/a.safetensors file=$value ;;
	metadata-thumbnail | image | mask) cp "$ROOT"/demo/train/*/gizmo01.png in/p.png; value=in/p.png file=$value ;;
	prompts | sample-prompts | tokens) echo a gizmo robot > in/p.txt; value=in/p.txt file=$value ;;
	noise | resume) cp "$ADAPTER" in/n.safetensors; value=in/n.safetensors file=$value ;;
	reuse | latents) cp "$LATENTS" in/l.tar; value=in/l.tar file=$value ;;
	images) cp "$IMAGES" in/i.tar; value=in/i.tar file=$value ;;
	any) cp "$ADAPTER" in/a.safetensors; value=in/a.safetensors file=$value ;;
	config) echo '# settings' > in/c.toml; value=in/c.toml file=$value ;;
	dataset-config) printf '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "%s"\n' "$BATS_FILE_TMPDIR/four" > in/d.toml
		value=in/d.toml file=$value ;;
	reg | train-data-dir | pictures) cp -r "$BATS_FILE_TMPDIR/four" in/four
		value=in/four file=in/four/gizmo01.png ;;
	conditioning-data-dir) mkdir in/m; cp "$BATS_FILE_TMPDIR/four/gizmo01.png" in/m/gizmo01.png
		value=in/m file=in/m/gizmo01.png ;;
	*) echo "no victim for --$1: tell this test what it reads"; return 1 ;;
	esac
}

# rest TOOL INPUT: what the tool needs besides the option that reads; operands last
rest() {
	local model=(-m "$MODEL")
	[ "$2" != model ] || model=()
	[ "$2" != model-config ] || model=(-m "$SINGLE")
	case $1 in
	lora-prep) REST=("${PREP[@]}" --lint)
		case $2 in
		reg | conditioning-data-dir | model | tokenizer | config) REST+=("$BATS_FILE_TMPDIR/four") ;;
		esac
		[ "$2" = model ] || [ "$2" = tokenizer ] || REST=("${REST[@]/--lint/-q}") ;;
	lora-encode) REST=("${model[@]}"); [ "$2" = images ] || REST+=("$IMAGES") ;;
	lora-train) REST=("${model[@]}" --max-train-steps 1 --network-dim 2 --network-train-unet-only)
		[ "$2" = latents ] || REST+=("$LATENTS") ;;
	lora-sample) REST=("${model[@]}" --steps 1); [ "$2" = prompts ] || REST+=(-p gizmo) ;;
	lora-merge)
		case $2 in
		base) REST=(extract --rank 4 --tuned "$MODEL") ;;
		tuned) REST=(extract --rank 4 --base "$MODEL") ;;
		*) REST=(into "${model[@]}"); [ "$2" = lora ] || REST+=(--lora "$ADAPTER") ;;
		esac ;;
	lora-inspect) REST=(); [ "$2" = any ] || REST=("$ADAPTER" "${model[@]}") ;;
	esac
}

# refused TOOL OUTPUT INPUT: through the name itself, a symbolic link, a hard link and a linked folder
refused() {
	local tool=$1 writes=$2 input=$3 way name given
	for way in itself link hard folder; do
		victim "$input" && rest "$tool" "$input" || return 1
		mkdir -p ways; rm -rf ways/*
		case $way in
		itself) name=$file ;;
		link) name=ways/link; ln -s "$PWD/$file" $name ;;
		hard) name=ways/hard; ln "$file" $name ;;
		folder) ln -s "$PWD/$(dirname "$file")" ways/folder; name=ways/folder/$(basename "$file") ;;
		esac
		case $input in
		images | latents | pictures | any) given=("$value") ;;
		*) given=("--$input" "$value") ;;
		esac
		[ "$input" != lora ] || given=("--$input" "$value:0.5")
		cp "$file" before || return 1
		if [ "$writes" = standard ]; then
			status_of 2 bash -c '"$@" >> "$0"' "$name" "$BIN/$tool" "${REST[@]}" "${given[@]}"
			name="standard output"
		else
			status_of 2 "$BIN/$tool" "--$writes" "$name" "${REST[@]}" "${given[@]}"
			[[ "$output" == *"$name: --$writes would"* ]] ||
				{ echo "$tool --$writes against $input ($way): $output"; return 1; }
		fi
		# pictures of a folder are claimed one by one, after it is seen that they are no report
		[[ "$output" == *" would write over $(dirname "$value")/"* ||
			"$tool $writes $output" == "lora-prep report "*" would write JSON over a file that is a PNG picture; "* ]] ||
			{ echo "$tool --$writes against $input ($way): $output"; return 1; }
		cmp "$file" before || { echo "$tool --$writes against $input ($way): changed"; return 1; }
		[ -z "$(find in ways -name '.*')" ] ||
			{ echo "$tool: something was opened: $(find in ways -name '.*')"; return 1; }
	done
}

# all TOOL OPERANDS: the product; --config and standard output too
all() {
	local tool=$1 operands=$2 out in n=0
	for out in $(written "$tool") standard; do
		for in in $(read_ "$tool") $operands $([ "$tool" = lora-inspect ] || echo config); do
			# refused together
			case $out:$in in folder:reg | folder:conditioning-data-dir) continue ;; esac
			refused "$tool" "$out" "$in" || return 1
			n=$((n + 1))
		done
	done
	[ $n -ge "$3" ] || { echo "only $n pairs; are the tables read?"; return 1; }
}

@test "lora-prep: no output is an input" { all lora-prep pictures 20; }
@test "lora-encode: no output is an input" { all lora-encode images 8; }
@test "lora-train: no output is an input" { all lora-train latents 30; }
@test "lora-sample: no output is an input" { all lora-sample "" 20; }
@test "lora-merge: no output is an input" { all lora-merge "" 12; }
@test "lora-inspect: neither page nor standard output is an input" { all lora-inspect any 8; }

@test "every option that names a file or a folder says whether it is read or written" {
	for t in prep encode train sample merge inspect; do
		rows lora-$t |
			grep -E '"[^"]*\b(FILE|DIR|PATH|FOLDER|MODEL|STATE|OUT|OLD\.tar)\b[^"]*",' |
			grep -v 'NULL, NULL' | grep -v '\.file = ' > without || true
		[ ! -s without ] || { cat without; return 1; }
	done
}

# kept STATUS FILE COMMAND...: refused as written over, by what it is or what it holds, and the file is as it was
kept() {
	local want=$1 file=$2; shift 2
	cp "$file" before
	status_of "$want" "$@"
	[[ "$output" == *" would write over "* || "$output" == *" would write "*" over a file that is "* ]] ||
		{ echo "$output"; return 1; }
	cmp "$file" before
}

@test "a data set's pictures, captions and masks, by a data set config too" {
	cp -r "$BATS_FILE_TMPDIR/four" d; mkdir m; cp d/gizmo00.jpg m/gizmo00.jpg; cp d/gizmo00.txt d/gizmo01.caption
	mv d/gizmo02.txt d/gizmo02.words
	printf '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "d"\nconditioning_data_dir = "m"\ncaption_extension = ".words"\n' > d.toml
	for f in d/gizmo00.jpg d/gizmo00.txt d/gizmo01.caption m/gizmo00.jpg; do
		kept 2 $f "$BIN/lora-prep" "${PREP[@]}" --conditioning-data-dir m -o $f d
		kept 2 $f "$BIN/lora-prep" "${PREP[@]}" --conditioning-data-dir m --report $f -o i.tar d
		[ ! -e i.tar ]
	done
	for f in d/gizmo00.jpg d/gizmo02.words m/gizmo00.jpg; do
		kept 2 $f "$BIN/lora-prep" "${PREP[@]}" --dataset-config d.toml -o $f
	done
	kept 2 d/gizmo02.words "$BIN/lora-prep" "${PREP[@]}" --caption-extension words -o d/gizmo02.words d
	# It looks like JSON, which a report may replace, were it not read.
	echo '{red|blue} robot' > d/gizmo02.words
	for way in "--dataset-config d.toml" "--caption-extension words d"; do
		# shellcheck disable=SC2086
		kept 2 d/gizmo02.words "$BIN/lora-prep" "${PREP[@]}" --report d/gizmo02.words $way
		[[ "$output" == *" would write over "* ]]
	done
}

@test "what only lies beside the inputs is written over, a second time too" {
	cp -r "$BATS_FILE_TMPDIR/four" d
	for _ in 1 2; do
		status_of 0 "$BIN/lora-prep" -q "${PREP[@]}" -o d/images.tar --report d/report.txt d
		status_of 0 "$BIN/lora-encode" -q -m "$MODEL" -o d/latents.tar d/images.tar
	done
	cp "$ADAPTER" t-step00000001.safetensors
	train 2 . --network-weights t-step00000001.safetensors --log t.jsonl
	train 3 . --network-weights t-step00000001.safetensors --log t.jsonl --resume auto
}

@test "what only lies in a model's folder is written over; what is read of it is not" {
	cp -r "$MODEL" mc; cd mc; mkdir pictures run; small=(-q -m . --steps 1 -W 64 -H 64 -p gizmo)
	for _ in 1 2; do
		"$BIN/lora-sample" "${small[@]}" -o x.png > list.jsonl
		"$BIN/lora-sample" "${small[@]}" -o pictures --grid sheet.png >> list.jsonl
		"$BIN/lora-train" -q -m . --network-train-unet-only --network-dim 2 --max-train-steps 1 \
			--output-dir run --output-name t "$LATENTS" > train.jsonl
		"$BIN/lora-inspect" . > list.txt
	done
	cp unet/diffusion_pytorch_model.safetensors before.safetensors
	mv unet/diffusion_pytorch_model.safetensors unet/one.safetensors
	jq -n --arg keys "$(head -c $((8 + $(od -An -N8 -tu8 unet/one.safetensors))) unet/one.safetensors | tail -c +9)" \
		'{weight_map: ($keys | fromjson | del(.__metadata__) | map_values("one.safetensors"))}' \
		> unet/diffusion_pytorch_model.safetensors.index.json
	"$BIN/lora-sample" "${small[@]}" -o x.png
	for f in model_index.json unet/config.json unet/one.safetensors vae/diffusion_pytorch_model.safetensors \
		scheduler/scheduler_config.json tokenizer/merges.txt tokenizer_2/vocab.json; do
		kept 2 $f bash -c '"$@" >> "$0"' $f "$BIN/lora-sample" "${small[@]}" -o x.png
		kept 2 $f "$BIN/lora-sample" "${small[@]}" --grid $f
	done
	for d in unet tokenizer .; do
		status_of 2 "$BIN/lora-sample" "${small[@]}" -o $d
		[[ "$output" == "lora-sample: $d: --output would write over ."*"; name another folder" ]]
	done
	# lora-merge copies all that is there
	kept 2 list.txt bash -c '"$@" >> "$0"' list.txt "$BIN/lora-merge" into -q -m . --lora "$ADAPTER" -o ../out
	kept 2 README.md "$BIN/lora-merge" into -q -m . --lora "$ADAPTER" -o ../out --report README.md
}

@test "--folder: links to inputs in the folder, and folders of inputs under other names" {
	mkdir out; cp -r "$BATS_FILE_TMPDIR/four" d
	ln -s ../d/gizmo01.png out/gizmo01.jpg
	kept 2 d/gizmo01.png "$BIN/lora-prep" "${PREP[@]}" --folder out d
	[ "$(ls out)" = gizmo01.jpg ]
	ln -s d link
	for to in d link d/../d; do kept 2 d/gizmo01.txt "$BIN/lora-prep" "${PREP[@]}" --folder $to d; done
	mkdir -p set/3_robot o; mv d/* set/3_robot; ln -s ../set/3_robot o/3_robot
	kept 2 set/3_robot/gizmo01.png "$BIN/lora-prep" "${PREP[@]}" --folder o set
}

@test "what a training names by itself: adapters, states, samples" {
	cp "$ADAPTER" a.safetensors; mkdir out out/sample; echo gizmo > p.txt
	some() { "$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only --network-dim 4 --output-dir out \
		--output-name t --max-train-steps 6 "$@" "$LATENTS"; }
	ln -s "$PWD/a.safetensors" out/t.safetensors
	kept 2 a.safetensors some --network-weights a.safetensors
	kept 2 a.safetensors some --base-weights a.safetensors
	mv out/t.safetensors out/t-step00000004.safetensors
	kept 2 a.safetensors some --network-weights a.safetensors --save-every-n-steps 2 --log log
	[ ! -e log ]
	mv out/t-step00000004.safetensors out/t-step00000004-state.safetensors
	kept 2 a.safetensors some --network-weights a.safetensors --save-every-n-steps 4 --save-state
	mv out/t-step00000004-state.safetensors out/sample/t_000000_00_42.png
	kept 2 a.safetensors some --network-weights a.safetensors --sample-prompts p.txt --sample-at-first
	rm out/sample/*
	ln "$PWD/p.txt" out/t.safetensors
	kept 2 p.txt some --sample-prompts p.txt
	# the lock: a link is not followed
	rm out/t.safetensors out/.t.lock; ln -s ../p.txt out/.t.lock
	cp p.txt before
	status_of 4 some
	cmp p.txt before
}

@test "a resumed run does not write over the state that it goes on from, but goes on" {
	train 2 out > /dev/null
	train 4 out --resume out/t-step00000002-state.safetensors --save-every-n-steps 2 > /dev/null
	ln -s t-step00000002-state.safetensors out/t-step00000006-state.safetensors
	kept 2 out/t-step00000002-state.safetensors train 6 out --resume out/t-step00000002-state.safetensors
}

@test "lora-sample: a picture whose name is a link to an input gets the next number" {
	mkdir out; cp "$ADAPTER" a.safetensors; ln -s ../a.safetensors out/00000-42.png
	status_of 0 "$BIN/lora-sample" -q -m "$MODEL" --steps 1 -W 64 -H 64 -p gizmo -l a.safetensors -o out
	cmp a.safetensors "$ADAPTER"; [ -h out/00000-42.png ]; [ -e out/00001-42.png ]
}

@test "standard input, and a model of the hub's cache" {
	cp "$IMAGES" i.tar
	kept 2 i.tar bash -c '"$1" -m "$2" -o i.tar < i.tar' - "$BIN/lora-encode" "$MODEL"
	kept 2 i.tar bash -c '"$1" -m "$2" -o i.tar - < i.tar' - "$BIN/lora-encode" "$MODEL"
	mkdir -p hub/models--a--b/snapshots/0123abcd hub/models--a--b/refs
	cp -r "$MODEL"/* hub/models--a--b/snapshots/0123abcd; printf 0123abcd > hub/models--a--b/refs/main
	for f in unet/config.json model_index.json; do
		f=hub/models--a--b/snapshots/0123abcd/$f
		HF_HUB_CACHE=$PWD/hub kept 2 $f "$BIN/lora-encode" -m a/b -o $f "$IMAGES"
		HF_HUB_CACHE=$PWD/hub kept 2 $f "$BIN/lora-train" -m a/b --network-dim 2 --max-train-steps 1 \
			--html $f "$LATENTS"
	done
}

@test "--log goes on only with a log of ours, and cuts nothing before the inputs are known to be sound" {
	some() { "$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only --network-dim 2 --max-train-steps 1 \
		--output-dir o --output-name t --log "$@"; }
	"$BIN/lora-prep" -q "${PREP[@]}" -o /dev/null --report report.jsonl "$BATS_FILE_TMPDIR/four"
	printf 'dear diary\nlast line without its end' > notes.txt
	printf 'x' > one; head -c 100 /dev/zero > zeros; printf '{"event":"picture","key"' > torn.jsonl
	printf '[1]\n' > a.json; printf '\n' > blank
	printf '{"event":"step","step":1}\nno event\n{"event":"step","step":2}\n' > middle; cp "$ADAPTER" adapter
	printf '{"a":1}\n' > object
	for f in report.jsonl notes.txt one zeros torn.jsonl a.json blank middle adapter object; do
		cp $f before
		status_of 2 some $f "$LATENTS"
		[[ "$output" == *"$f:"*"no log to go on with"* ]] || { echo "$output"; return 1; }
		cmp $f before
	done
	# ours: new, empty, whole, torn in the middle of a line, with the zeros of a power failure
	: > empty
	some new "$LATENTS"; some empty "$LATENTS"; [ "$(wc -l < new)" = "$(wc -l < empty)" ]
	for cut in 1 8 20; do
		head -c -$cut new > torn; some torn "$LATENTS"
		jq -c . torn > /dev/null
		[ "$(wc -l < torn)" = $((2 * $(wc -l < new) - 1)) ]
	done
	{ cat new; head -c 50 /dev/zero; } > torn; some torn "$LATENTS"; jq -c . torn > /dev/null
	# nothing is cut where an input is bad
	{ cat new; printf '{"event":"st'; } > torn; cp torn before
	head -c 2000 "$LATENTS" > cut.tar
	status_of 3 some torn cut.tar
	cmp torn before
	status_of 3 some torn --network-weights "$IMAGES" "$LATENTS"
	cmp torn before
}

@test "--said adds to a file of its own alone; a launcher's line is an input too" {
	cp "$IMAGES" i.tar; cp "$ADAPTER" a.safetensors; echo '# none' > line.toml
	for f in i.tar a.safetensors line.toml; do
		cp $f before
		status_of 2 "$BIN/lora-prep" "${PREP[@]}" --said $f -o o.tar "$BATS_FILE_TMPDIR/four"
		[[ "$output" == *"$f: is another file"* ]] || { echo "$output"; return 1; }
		cmp $f before
	done
	kept 2 line.toml "$BIN/lora-prep" "${PREP[@]}" --launch-line line.toml -o line.toml "$BATS_FILE_TMPDIR/four"
	for _ in 1 2; do "$BIN/lora-prep" "${PREP[@]}" --said notes -o o.tar "$BATS_FILE_TMPDIR/four" 2> err; done
	[ "$(head -n 1 notes)" = "# lora-tools: what was said in one launch" ]
}

# one_name COMMAND...: refused as two outputs of one name, and nothing is written
one_name() {
	status_of 2 "$@"
	[[ "$output" == *"two outputs have this name, --"*"; give them two"* ]] || { echo "$output"; return 1; }
}

@test "two outputs of one name are refused, there or not, in every tool that has two" {
	mkdir d out; ln -s d link
	for there in false true; do
		! $there || echo old | tee x d/y > /dev/null
		one_name "$BIN/lora-merge" scale "$ADAPTER:0.5" -o x --report x
		one_name "$BIN/lora-merge" scale "$ADAPTER:0.5" -o d/y --report ./link/y
		one_name "$BIN/lora-prep" "${PREP[@]}" -o x --report x "$BATS_FILE_TMPDIR/four"
		one_name "$BIN/lora-sample" -m "$MODEL" -p gizmo --steps 1 --grid x --save-latents x
		one_name "$BIN/lora-train" -m "$MODEL" --network-dim 2 --max-train-steps 1 --log x --html x "$LATENTS"
		# the adapter, in a folder that the run makes and in one that is there
		for folder in d out/new/er; do
			$there || rm -f d/t.safetensors
			for option in html log; do
				one_name "$BIN/lora-train" -m "$MODEL" --network-dim 2 --max-train-steps 1 \
					--output-dir $folder --output-name t --$option $folder/t.safetensors "$LATENTS"
			done
			[ ! -e out/new ]
		done
		$there || { [ ! -e x ] && [ ! -e d/y ] && [ ! -e d/t.safetensors ]; }
	done
	[ "$(cat x d/y)" = $'old\nold' ]
	# what can take both: a folder, a pipe, standard output
	"$BIN/lora-merge" scale "$ADAPTER:0.5" -q -o /dev/null --report /dev/null
	"$BIN/lora-merge" scale "$ADAPTER:0.5" -q -o z --report /dev/stdout > file
	jq -es 'length > 1' file
	"$BIN/lora-merge" scale "$ADAPTER:0.5" -q -o z --report /dev/stdout | jq -es 'length > 1'
	"$BIN/lora-train" -q -m "$MODEL" --network-train-unet-only --network-dim 2 --max-train-steps 1 \
		--output-dir new --logging-dir new "$LATENTS" > /dev/null
}

@test "a page, a report or a sheet is not written over a file of another kind" {
	kept() {
		status_of 2 "$@"
		[[ "$output" == *": "*" would write "*" over a file that is "*"; name another file"* ]] ||
			{ echo "$output"; return 1; }
		cmp keep before
	}
	echo 'dear diary' > notes
	for file in "$ADAPTER" notes "$IMAGES"; do
		cp "$file" keep; cp keep before
		kept "$BIN/lora-inspect" --html keep "$ADAPTER"
		kept "$BIN/lora-train" -q -m "$MODEL" --max-train-steps 1 --output-dir o --html keep "$LATENTS"
		[ ! -e o ]
		kept "$BIN/lora-prep" "${PREP[@]}" -o i.tar --report keep "$BATS_FILE_TMPDIR/four"
		[ ! -e i.tar ]
		kept "$BIN/lora-sample" -m "$MODEL" -p gizmo --steps 1 --grid keep
	done
	# of its own kind, empty or no file at all
	: > page; : > report; : > sheet
	for again in 1 2; do
		"$BIN/lora-inspect" --html page "$ADAPTER" > /dev/null
		"$BIN/lora-prep" -q "${PREP[@]}" -o /dev/null --report report "$BATS_FILE_TMPDIR/four"
		"$BIN/lora-sample" -q -m "$MODEL" -p gizmo --steps 1 -W 64 -H 64 --grid sheet
	done
	grep -q '^<' page; jq -es 'length > 1' report; file sheet | grep -q PNG
	# where the caller leads standard output is the caller's
	"$BIN/lora-prep" -q "${PREP[@]}" -o /dev/null --report /dev/stdout "$BATS_FILE_TMPDIR/four" >> notes
}
