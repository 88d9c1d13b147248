#!/usr/bin/env bats
# lora-prep as its users see it: exit codes, streams, the report, order, names.

setup() {
	ROOT=$BATS_TEST_DIRNAME/../..
	BIN=${BIN:-$ROOT/build/gcc/bin}
	case $BIN in /*) ;; *) BIN=$ROOT/$BIN ;; esac
	PREP=$BIN/lora-prep
	cd "$BATS_TEST_TMPDIR" || return 1
	demo=$ROOT/demo/train/"10_gizmo robot"
	sizes=(--resolution 64 --min-bucket-reso 48 --max-bucket-reso 80 --bucket-reso-steps 16)
}

# run_to STATUS COMMAND...: standard error in $output
run_to() {
	local want=$1
	shift
	run bash -c '"$@" 2>&1 >/dev/null' - "$@"
	[ "$status" -eq "$want" ] || { echo "status $status: $output"; return 1; }
}

# The payload of a sample, KEY.SUFFIX
member() {
	tar -xOf "$1" "$2"
}

@test "--help and --version say so on standard output, status 0" {
	run "$PREP" --help
	[ "$status" -eq 0 ]
	[[ $output == *"lora-prep"*"--resolution"* ]]
	run "$PREP" --version
	[ "$status" -eq 0 ]
}

@test "mistakes are status 2 and name the mistake" {
	run_to 2 "$PREP" --resolutoin 64 x
	[[ $output == *resolution* ]]
	run_to 2 "$PREP"
	[[ $output == *folder* ]]
	run_to 2 "$PREP" --background red "$demo"
	[[ $output == *--background* ]]
	run_to 2 "$PREP" --background 1,2,256 "$demo"
	run_to 2 "$PREP" --resolution 64 "$demo" # below the smallest bucket
	[[ $output == *--min-bucket-reso* ]]
	run_to 2 "$PREP" --payload gif "$demo"
	run_to 2 "$PREP" --folder out --reg "$ROOT/demo/reg" "$ROOT/demo/train"
	[[ $output == *--reg* ]]
}

@test "a folder that is not there, or holds no pictures, is status 3" {
	run_to 3 "$PREP" nowhere
	[[ $output == *nowhere* ]]
	mkdir empty
	run_to 3 "$PREP" empty
	echo "no picture" >empty/a.png
	run_to 3 "$PREP" -o out.tar empty
	[ ! -e out.tar ]
}

@test "a folder that is named twice, in whatever words, is status 2" {
	mkdir train
	cp "$demo/gizmo00.jpg" train
	ln -s train link
	for again in train train/ ./train link "$PWD/train"; do
		run_to 2 "$PREP" --class-tokens x train "$again"
		[ "$output" = "lora-prep: train is named twice: $again is the same folder; leave one out" ]
		run_to 2 "$PREP" --lint --class-tokens x train --reg "$again"
		[ "$output" = "lora-prep: train is named twice: --reg $again is the same folder; leave one out" ]
	done
	run_to 0 "$PREP" "${sizes[@]}" --class-tokens x train --reg "$ROOT/demo/reg"
}

@test "a folder without pictures beside others is said" {
	mkdir -p empty set/3_none
	cp -r "$demo" set/2_some
	run_to 0 "$PREP" "${sizes[@]}" set --reg empty
	[[ $output == *"warning: set/3_none: no pictures in it"*"warning: empty: no pictures in it"* ]]
}

@test "the demo's pictures: three buckets, repeats and captions, a report that jq reads" {
	"$PREP" "${sizes[@]}" --report report.jsonl -o images.tar "$ROOT/demo/train" --reg "$ROOT/demo/reg"
	[ "$(jq -c 'select(.event == "bucket") | [.size, .count]' report.jsonl)" = "[[48,80],13]
[[64,64],12]
[[80,48],15]" ]
	[ "$(jq -c 'select(.event == "total") | [.pictures, .regularization, .samples, .skipped]' report.jsonl)" = \
		"[40,24,320,0]" ]
	[ "$(jq -s '[.[] | select(.event == "picture")] | length' report.jsonl)" = 40 ]
	[ "$(jq -r 'select(.key == "00000000") | .caption' report.jsonl)" = "a big gizmo robot on a black background" ]
	[ "$(member images.tar 00000000.json |
		jq -c '[.format[:10], .captions, .repeats, .weight, .regularization, .original, .bucket, .crop]')" = \
		'["lora-image",["a big gizmo robot on a black background"],10,1,false,[512,512],[64,64],[0,0]]' ]
	[ "$(member images.tar 00000016.json | jq -c '[.regularization, .path[-12:]]')" = '[true,"/shape00.jpg"]' ]
	[ "$(member images.tar 00000000.json | jq -r .sha256)" = "$(sha256sum "$demo/gizmo00.jpg" | cut -d' ' -f1)" ]
	tar -tf images.tar | tail -n 1 | grep -q '^__lora__/end$'
}

@test "regularisation pictures: matched as kohya does, or as their folders say; their weight" {
	"$PREP" "${sizes[@]}" --reg-repeats folder --prior-loss-weight 0.5 --reg "$ROOT/demo/reg" \
		-o a.tar "$ROOT/demo/train"
	[ "$(member a.tar 00000016.json | jq -c '[.repeats, .weight]')" = '[1,0.5]' ]
	run_to 0 "$PREP" "${sizes[@]}" --reg "$ROOT/demo/reg" -o b.tar "$ROOT/demo/train"
	[[ $output == *"160 times"* ]]
	[ "$(member b.tar 00000016.json | jq -c .repeats)" = 7 ]
	[ "$(member b.tar 00000039.json | jq -c .repeats)" = 6 ]
}

@test "same bytes with one thread and with several, to a file and to a pipe" {
	"$PREP" "${sizes[@]}" --flip -j1 -o one.tar "$ROOT/demo/train"
	"$PREP" "${sizes[@]}" --flip -j2 -o two.tar "$ROOT/demo/train"
	"$PREP" "${sizes[@]}" --flip -j7 "$ROOT/demo/train" | cat >seven.tar
	cmp one.tar two.tar
	cmp one.tar seven.tar
}

@test "order is that of the names, not of the folder; the locale changes nothing" {
	mkdir forth back
	for f in b B a10 a2 _ 9; do cp "$demo/gizmo00.jpg" "forth/$f.jpg"; done
	for f in 9 _ a2 a10 B b; do cp "$demo/gizmo00.jpg" "back/$f.jpg"; done
	(cd forth && LC_ALL=C "$PREP" -o ../forth.tar --report ../forth.jsonl .)
	(cd back && LC_ALL=C.UTF-8 "$PREP" -o ../back.tar .)
	cmp forth.tar back.tar
	[ "$(jq -r 'select(.path) | .path' forth.jsonl | tr '\n' ' ')" = \
		"./9.jpg ./B.jpg ./_.jpg ./a10.jpg ./a2.jpg ./b.jpg " ]
}

@test "the picture that Exif turns stands upright" {
	"$PREP" "${sizes[@]}" --report report.jsonl -o images.tar "$ROOT/demo/train"
	turned=$(jq -c 'select(.orientation == 6) | [.key, .source, .bucket]' report.jsonl)
	[ "$turned" = '["00000003",[384,640],[48,80]]' ]
	# Stored, it lies on its side: 640 wide.  The payload's header says 48 by 80.
	[ "$(member images.tar 00000003.png | od -An -j16 -N8 -tu1 | tr -s ' ')" = " 0 0 0 48 0 0 0 80" ]
}

@test "a bad picture is skipped and reported; with --strict it is status 3 and no output" {
	mkdir mixed
	cp "$demo/gizmo00.jpg" mixed/a.jpg
	head -c 9000 "$demo/gizmo00.jpg" >mixed/cut.jpg
	head -c 9000 "$demo/gizmo01.png" >mixed/cut.png
	head -c 2000 "$demo/gizmo06.webp" >mixed/cut.webp
	printf 'GIF89a\1\0\1\0' >mixed/moving.gif
	cp "$demo/gizmo00.jpg" mixed/latin1.jpg
	printf 'caf\351\n' >mixed/latin1.txt
	ln -s nowhere mixed/link.jpg
	run_to 0 "$PREP" --report report.jsonl -o images.tar mixed
	[[ $output == *"cut.jpg"*"skipped"* ]]
	[ "$(jq -r 'select(.event == "skipped") | .path + " " + .code' report.jsonl)" = "mixed/cut.jpg damaged
mixed/cut.png damaged
mixed/cut.webp damaged
mixed/latin1.jpg caption
mixed/link.jpg unreadable
mixed/moving.gif format" ]
	[[ $(jq -r 'select(.path == "mixed/latin1.jpg") | .say' report.jsonl) == *"byte 3 "* ]]
	[ "$(tar -tf images.tar | grep -c png)" -eq 1 ]
	run_to 3 "$PREP" --strict --report strict.jsonl -o strict.tar mixed
	[ ! -e strict.tar ]
	[ "$(jq -r 'select(.event == "skipped") | .path' strict.jsonl)" = mixed/cut.jpg ]
	[ -z "$(find . -name '*.tmp')" ]
}

@test "pixel bombs are refused from the header" {
	mkdir bomb
	printf '\211\120\116\107\015\012\032\012\000\000\000\015\111\110\104\122\000\000\165\060\000\000\165\060\010\002\000\000\000\351\105\157\355\000\000\001\000\111\104\101\124' >bomb/a.png
	run_to 3 bash -c 'ulimit -v 500000; exec "$@"' - "$PREP" -j1 bomb
	[[ $output == *30000x30000* ]]
}

@test "--max-megapixels moves the limit" {
	mkdir large
	printf '\211\120\116\107\015\012\032\012\000\000\000\015\111\110\104\122\000\000\165\060\000\000\165\060\010\002\000\000\000\351\105\157\355\000\000\001\000\111\104\101\124' >large/a.png
	run_to 3 "$PREP" --max-megapixels 200 large
	[[ $output == *"over the limit of 200000000 pixels"* ]]
	run_to 3 "$PREP" --max-megapixels 1000 large            # read, and its data is cut
	[[ $output != *"over the limit"* ]]
}

@test "hostile names survive the trip" {
	mkdir -p names
	# shellcheck disable=SC2016
	for name in $'new\nline' '-o' 'sp ace' "quo'te\"" $'esc\e[31m' '$(touch pwned)' $'caf\351' $'n\303\244me' '..' \
		'a.b.c' '*' $'tab\t' \
		"$(printf 'x%.0s' {1..240})"; do
		cp "$demo/gizmo00.jpg" "names/$name.jpg"
	done
	(cd names && "$PREP" -o ../images.tar --report ../report.jsonl -- . 2>../stderr)
	[ ! -e names/pwned ]
	[ -z "$(tr -cd '\033' <stderr)" ]
	[ "$(jq -s '[.[] | select(.event == "picture")] | length' report.jsonl)" = 12 ] # ...jpg is hidden
	[ "$(jq -r 'select(.path_b64) | .path_b64' report.jsonl | base64 -d)" = $'./caf\351.jpg' ]
	[ "$(jq -r 'select(.path == "./new\nline.jpg") | .key' report.jsonl)" != "" ]
	tar -tf images.tar | LC_ALL=C grep -vqE '^([0-9]{8}\.(png|json)|__lora__/end)$' && return 1
	[ "$(tar -tf images.tar | grep -c png)" -eq 12 ]
}

@test "captions: extension, prefix, class tokens, BOM and CRLF" {
	mkdir -p set/3_red_car words
	cp "$demo/gizmo00.jpg" set/3_red_car/a.jpg
	cp "$demo/gizmo00.jpg" set/3_red_car/b.jpg
	printf '\357\273\277one line\r\nanother\r\n' >set/3_red_car/a.txt
	echo tagged >set/3_red_car/b.tags
	"$PREP" -o a.tar set
	[ "$(member a.tar 00000000.json | jq -c .captions)" = '["one line"]' ]
	[ "$(member a.tar 00000001.json | jq -c '[.captions, .repeats]')" = '[["red_car"],3]' ]
	"$PREP" --caption_extension=.tags --caption-prefix "a photo," --class-tokens car -o b.tar set
	[ "$(member b.tar 00000000.json | jq -c .captions)" = '["a photo, car"]' ]
	[ "$(member b.tar 00000001.json | jq -c .captions)" = '["a photo, tagged"]' ]
	ln -s nowhere set/3_red_car/b.txt
	run_to 0 "$PREP" --report r.jsonl -o c.tar set
	[ "$(jq -r 'select(.path).code' r.jsonl | tr '\n' ' ')" = "null caption " ]
}

@test "a caption of 64 KiB: whole in the stream, its beginning in the report, whose lines stay under 64 KiB" {
	mkdir set
	cp "$demo/gizmo00.jpg" set/a.jpg
	head -c 65535 /dev/zero | tr '\0' '\1' | sed 's/^/x/' >set/a.txt
	"$PREP" --report r.jsonl -o a.tar set
	[ "$(member a.tar 00000000.json | jq '.captions[0] | length')" = 65536 ]
	[ "$(jq -c 'select(.caption) | [(.caption | length), .caption_bytes]' r.jsonl)" = "[4000,65536]" ]
	[ "$(awk '{ n = length($0) > n ? length($0) : n } END { print n }' r.jsonl)" -lt 65536 ]
}

@test "crop conditioning: the pixels that were cut, or kohya's formula" {
	mkdir wide
	cp "$demo/gizmo05.png" wide/ # 600x400
	"$PREP" --resolution 64 --no-bucket -o real.tar --flip wide
	"$PREP" --resolution 64 --no-bucket -o kohya.tar --crop-conditioning kohya wide
	[ "$(member real.tar 00000000.json | jq -c '[.resized, .bucket, .crop, .flip]')" = \
		'[[96,64],[64,64],[16,0],true]' ]
	[ "$(member kohya.tar 00000000.json | jq -c '[.resized, .bucket, .crop, .flip]')" = \
		'[[96,64],[64,64],[0,10],false]' ]
	tar -tf real.tar | grep -qx 00000000.flip.png
	cmp <(member real.tar 00000000.png) <(member kohya.tar 00000000.png)
}

@test "--folder: pictures and captions laid out as they were, no two under one name" {
	mkdir -p "set/10_gizmo robot" set/2_other
	cp "$demo"/gizmo0[0-2].* "set/10_gizmo robot/"
	cp "$demo/gizmo05.png" set/2_other/x.png
	cp "$demo/gizmo03.jpg" set/2_other/x.jpg
	"$PREP" "${sizes[@]}" --folder out set
	[ "$(cd out && find . -type f | LC_ALL=C sort)" = "./10_gizmo robot/gizmo00.jpg
./10_gizmo robot/gizmo00.txt
./10_gizmo robot/gizmo01.jpg
./10_gizmo robot/gizmo01.txt
./10_gizmo robot/gizmo02.jpg
./10_gizmo robot/gizmo02.txt
./2_other/x.jpg
./2_other/x.png.jpg
./2_other/x.png.txt
./2_other/x.txt" ]
	[ "$(cat "out/10_gizmo robot/gizmo00.txt")" = "a big gizmo robot on a black background" ]
	[ "$(cat out/2_other/x.txt)" = other ]
	"$PREP" "${sizes[@]}" --report report.jsonl -o again.tar out
	[ "$(jq -s '[.[] | select(.event == "picture" and .filter == "none" and .lost == 0)] | length' report.jsonl)" \
		= 5 ]
}

@test "--folder: pictures of an earlier run are warned of" {
	mkdir -p "set/10_gizmo robot" set/2_other
	cp "$demo"/gizmo0[0-2].* "set/10_gizmo robot/"
	cp "$demo/gizmo05.png" set/2_other/x.png
	for _ in 1 2; do
		run_to 0 "$PREP" -q "${sizes[@]}" --folder out/ set
		[ -z "$output" ]
	done
	: >out/notes.txt; mkdir out/.trash; cp out/*/x.jpg out/.trash
	rm "set/10_gizmo robot/gizmo01."*; mv set/2_other other
	run_to 0 "$PREP" -q "${sizes[@]}" --folder out set
	[ "$output" = "lora-prep: warning: out: 2 pictures in it are not of this run, \
the first out/10_gizmo robot/gizmo01.jpg; remove them, or they are trained too" ]
	rm -r out/2_other
	run_to 0 "$PREP" -q "${sizes[@]}" --payload png --folder out set
	[[ "$output" == *": 3 pictures in it are not"*"/gizmo00.jpg; "* ]]
}

@test "--folder: never into the pictures' own folder, never two pictures of several folders under one name" {
	for d in one two three; do mkdir $d && cp "$demo/gizmo05.png" $d/a.png && echo $d >$d/a.txt; done
	"$PREP" "${sizes[@]}" --folder out one two three
	[ "$(sort out/*.txt | tr '\n' ' ')" = "one three two " ]
	[ "$(printf '%s\n' out/*.jpg | wc -l)" = 3 ]
	ln -s one link
	mkdir kohya && mv two kohya/2_b
	for d in one one/ link ./one/../one; do run_to 2 "$PREP" "${sizes[@]}" --folder $d one; done
	run_to 2 "$PREP" "${sizes[@]}" --folder kohya kohya
	[[ $output == *kohya*"another folder"* ]]
	[ "$(ls one kohya/2_b | tr '\n' ' ')" = "kohya/2_b: a.png a.txt  one: a.png a.txt " ]
	run_to 2 "$PREP" "${sizes[@]}" --folder '' one
}

@test "--alpha-mask: transparency is kept as a mask, cut as the picture; what is opaque has none" {
	mkdir some
	# 96x64, the left half transparent
	base64 -d <<<iVBORw0KGgoAAAANSUhEUgAAAGAAAABAAQMAAADf+uBNAAAABlBMVEXIPBQeWtw6/xUCAAAAAnRSTlMA/1uRIrUAAAAXSURBVHjaY2AAg/9gwDDKGeWMckjhAAA7536QQz6VuAAAAABJRU5ErkJggg== >some/half.png
	cp "$demo/gizmo05.png" some/opaque.png
	"$PREP" --resolution 64 --no-bucket --flip --alpha-mask --report report.jsonl -o images.tar some
	[ "$(tar -tf images.tar | tr '\n' ' ')" = \
		"00000000.png 00000000.flip.png 00000000.mask.png 00000000.json 00000001.png 00000001.flip.png 00000001.json __lora__/end " ]
	# 64 wide and high, one grey byte a pixel, and the cut is in the middle
	[ "$(member images.tar 00000000.mask.png | od -An -j16 -N10 -tu1 | tr -s ' ')" = " 0 0 0 64 0 0 0 64 8 0" ]
	[ "$(jq -c 'select(.event == "picture") | .mask' report.jsonl | tr '\n' ' ')" = "true false " ]
	"$PREP" --resolution 64 --no-bucket --flip -o plain.tar some
	[ "$(tar -tf plain.tar | grep -c mask)" = 0 ]
	printf '[[datasets]]\nresolution = 64\nenable_bucket = false\n[[datasets.subsets]]\nimage_dir = "some"\nalpha_mask = true\n' >d.toml
	"$PREP" --dataset-config d.toml -o set.tar
	cmp <(member images.tar 00000000.mask.png) <(member set.tar 00000000.mask.png)
	run_to 2 "$PREP" --folder out --alpha-mask some
}

@test "--resize-interpolation: another filter, other pixels; the report names it; kohya's names" {
	mkdir one
	cp "$demo/gizmo05.png" one/
	for f in area box nearest; do
		"$PREP" --resolution 64 --no-bucket --resize-interpolation $f --report $f.jsonl -o $f.tar one
	done
	"$PREP" --resolution 64 --no-bucket -o plain.tar one
	cmp plain.tar area.tar
	cmp plain.tar box.tar
	[ "$(member nearest.tar 00000000.png | cksum)" != "$(member plain.tar 00000000.png | cksum)" ]
	[ "$(jq -r 'select(.filter).filter' nearest.jsonl box.jsonl | tr '\n' ' ')" = "nearest area " ]
	run_to 2 "$PREP" --resize-interpolation spline one
	printf '[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "one"\nresize_interpolation = "spline"\n' >d.toml
	run_to 2 "$PREP" --dataset-config d.toml
	[[ $output == *"d.toml:4"*spline* ]]
}

@test "HEIC and AVIF: read through libheif, or named with what is missing" {
	mkdir foreign
	# red left, blue right, the left half transparent; the same opaque, turned by its Exif; both 64x40, made by
	# Pillow 13 and pillow-heif
	base64 -d <<<AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAAGGbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAAAAAAAOcGl0bQAAAAAAAQAAACxpbG9jAAAAAEQAAAIAAQAAAAEAAAHIAAAAOAACAAAAAQAAAa4AAAAaAAAAQmlpbmYAAAAAAAIAAAAaaW5mZQIAAAAAAQAAYXYwMUNvbG9yAAAAABppbmZlAgAAAAACAABhdjAxQWxwaGEAAAAAGmlyZWYAAAAAAAAADmF1eGwAAgABAAEAAADDaXBycAAAAJ1pcGNvAAAAFGlzcGUAAAAAAAAAQAAAACgAAAAQcGl4aQAAAAADCAgIAAAADGF2MUOBAAwAAAAAE2NvbHJuY2x4AAEADQAGgAAAAA5waXhpAAAAAAEIAAAADGF2MUOBABwAAAAAOGF1eEMAAAAAdXJuOm1wZWc6bXBlZ0I6Y2ljcDpzeXN0ZW1zOmF1eGlsaWFyeTphbHBoYQAAAAAeaXBtYQAAAAAAAAACAAEEAQKDBAACBAEFhgcAAABabWRhdBIACgYYFX+flUAyDhGAAAEAqF1441RENufuEgAKCRgVf52yAhoNCDIpRIH9/apAAHkAAAjX3vSbhqQJsoIWiBso9ODV2hmP/Jpj6Tbzhm2EfoA= >foreign/a.avif
	base64 -d <<<AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB7AABAAAAAAAAARsAAgAAAAADBwABAAAAAAAAACQAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAKAAAAAEAAAAAAAAAAv///+gAAAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAUdtZGF0AAABFygBrwY4iS4d6cHzKWSTQ+wb5OfKtTC4ScZZTwJMJdbJufuzykTD6Tu934yf3COTtlkq5nT9yP6p90frd+47hF6pnvQx51v/JLp1x4JGCtgNBYm4Hi9kf1WFMOZ1lVGYcNUb5AeeaudvmaoknYfKwROToY1JfsBgC/lk0yd1rdsY8d1OCfgL5Nf0v29U//7ssmjlDgw8fYrOoc71ztoIxqz1pPn9R4+OFzwzZLL0vvvrGZr94/hn6LDr1zP2Qrqr0SrY2YEK54IMWw1vSzi6CoQZZGXfRhNYKUZOoVcPZQ2JkaOrLdn2Wy8vMsjTmMFqeil1dl4cdHYQwCSbTr/SJwFBrqwQS61mBHVwyFVl39XKrmpQrp4wBgAAAAZFeGlmAABNTQAqAAAACAABARIAAwAAAAEABgAAAAAAAA== >foreign/b.heic
	cp "$demo/gizmo05.png" foreign/c.png
	"$PREP" --resolution 64 --no-bucket --alpha-mask --class-tokens x --report report.jsonl -o images.tar foreign
	if ldconfig -p | grep -q libheif.so.1; then
		[ "$(jq -c 'select(.source) | [.format, .source, .mask]' report.jsonl | head -n 2)" = \
			'["AVIF",[64,40],true]
["HEIC",[40,64],false]' ]
	else
		[ "$(jq -r 'select(.code) | .code' report.jsonl | tr '\n' ' ')" = "format format " ]
		grep -q 'libheif.so.1, which is not installed' report.jsonl
	fi
	head -c 300 foreign/b.heic >foreign/cut.heic
	"$PREP" -q --resolution 64 --no-bucket --report report.jsonl -o images.tar foreign 2>/dev/null
	[[ $(jq -r 'select(.path == "foreign/cut.heic") | .code' report.jsonl) = @(damaged|format) ]]
}

@test "a PNG whose Exif is in a text of ImageMagick's is turned upright" {
	mkdir some # 96x64, turned by 90 degrees
	base64 -d <<<iVBORw0KGgoAAAANSUhEUgAAAGAAAABAAQMAAADf+uBNAAAAA1BMVEXIPBRR71egAAAATnpUWHRSYXcgcHJvZmlsZSB0eXBlIGV4aWYAAHja40qtyEzjUgADYyMuE1NzCzNLMzMDIDCxNLE0SgQyLAwgwBCIjICkMYQNBmYGKIALAIrAD5FEmM9xAAAAEElEQVR42mNgGAWjYBSQCwADQAAB8oOzpwAAAABJRU5ErkJggg== >some/a.png
	for scan in "--scan" "-o images.tar"; do
		"$PREP" -q --resolution 64 --no-bucket $scan --report report.jsonl some
		[ "$(jq -c 'select(.path) | [.orientation, .source]' report.jsonl)" = '[6,[64,96]]' ]
	done
}

@test "--conditioning-data-dir: masks beside the pictures, of any size; another shape is a bad picture" {
	mkdir some masks
	cp "$demo/gizmo05.png" some/a.png # 600x400
	cp "$demo/gizmo05.png" some/b.png
	cp "$demo/gizmo05.png" some/c.png
	# 96x64, left half red 200, right half red 30
	base64 -d <<<iVBORw0KGgoAAAANSUhEUgAAAGAAAABAAQMAAADf+uBNAAAABlBMVEXIPBQeWtw6/xUCAAAAF0lEQVR42mNgAIP/YMAwyhnljHJI4QAAO+d+kEM+lbgAAAAASUVORK5CYII= >masks/a.png
	cp "$demo/gizmo00.jpg" masks/b.jpg # 512x512
	"$PREP" --resolution 64 --no-bucket --conditioning-data-dir masks --report report.jsonl -o images.tar some
	[ "$(jq -c 'select(.path) | [.mask, .code]' report.jsonl | tr '\n' ' ')" = \
		'[true,null] [null,"mask"] [false,null] ' ]
	tar -tf images.tar | grep -qx 00000000.mask.png
	grep -q 'masks/b.jpg has 512x512 pixels, another shape than 600x400' report.jsonl
	run_to 3 "$PREP" --conditioning-data-dir mask -o none.tar some
	[[ $output == *"conditioning_data_dir: mask: is no folder"* ]]
	mkdir none
	run_to 0 "$PREP" --resolution 64 --no-bucket --conditioning-data-dir none some
	[[ $output == *"warning: no picture has a mask"* ]]
	# 96x64, white, and red: named rightly, they leave nothing out
	mkdir white red
	base64 -d <<<iVBORw0KGgoAAAANSUhEUgAAAGAAAABAAQMAAADf+uBNAAAAA1BMVEX///+nxBvIAAAAEElEQVR42mNgGAWjYBSQCwADQAAB8oOzpwAAAABJRU5ErkJggg== >white/a.png
	base64 -d <<<iVBORw0KGgoAAAANSUhEUgAAAGAAAABAAQMAAADf+uBNAAAAA1BMVEX/AAAZ4gk3AAAAEElEQVR42mNgGAWjYBSQCwADQAAB8oOzpwAAAABJRU5ErkJggg== >red/c.png
	for d in white red; do
		run_to 0 "$PREP" -q --resolution 64 --no-bucket --conditioning-data-dir $d some
		[[ $output != *"no picture has a mask"* && $output == *"lora-prep: warning: 1 masks leave nothing out"* ]]
	done
	cp white/a.png masks/c.png
	run_to 0 "$PREP" --resolution 64 --no-bucket --conditioning-data-dir masks some
	[[ $output != *"no picture has a mask"* && $output == *"lora-prep: 1 masks leave nothing out"* ]]
	# one that cannot be read is named rightly too
	rm white/a.png; head -c 80 masks/a.png >white/b.png
	run_to 0 "$PREP" -q --resolution 64 --no-bucket --conditioning-data-dir white some
	[[ $output == *"some/b.png"*"(skipped)"* && $output != *"no picture has a mask"* ]]
	head -c 80 masks/a.png >masks/b.png
	"$PREP" --lint --resolution 64 --no-bucket --conditioning-data-dir masks some |
		grep -q '"code":"mask","path":"some/b.png"'
}

@test "payload jpeg" {
	"$PREP" "${sizes[@]}" --payload jpeg --quality 80 -o images.tar "$ROOT/demo/train"
	[ "$(member images.tar 00000000.jpg | head -c 3 | od -An -tx1)" = " ff d8 ff" ]
}

@test "a config file and the environment set options; an unknown key is status 2 with its line" {
	printf '[general]\nresolution = "64,64"\nenable_bucket = false\ntrain_data_dir = "%s"\nxformers = true\n' \
		"$ROOT/demo/train" >c.toml
	"$PREP" --config c.toml -o images.tar
	[ "$(member images.tar 00000002.json | jq -c .bucket)" = '[64,64]' ]
	echo 'resolutoin = 64' >>c.toml
	run_to 2 "$PREP" --config c.toml -o images.tar
	[[ $output == *"c.toml:6"*resolution* ]]
}

@test "report and pictures do not share standard output" {
	run_to 2 "$PREP" "${sizes[@]}" --report - "$demo"
	[[ $output == *"-o FILE"* ]]
	"$PREP" "${sizes[@]}" --report - --folder out "$demo" | jq -e . >lines
}

@test "a full disk is status 4, a reader that went away a quiet SIGPIPE" {
	run bash -c '"$1" "$2" 2>stderr >/dev/full' - "$PREP" "$demo"
	[ "$status" -eq 4 ]
	run bash -c '"$1" -q "$2" 2>stderr | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}' - "$PREP" "$ROOT/demo/train"
	[ "$status" -eq 141 ]
	[ ! -s stderr ]
}

@test "without buckets, what is said of their sizes does nothing, and a note says so" {
	local what="does nothing without enable_bucket; set that too, or leave it out"
	run_to 0 "$PREP" --resolution 64 --no-bucket --bucket-reso-steps 16 --bucket-no-upscale "$demo"
	[[ $output == *"lora-prep: bucket_reso_steps: $what"* && $output == *"lora-prep: bucket_no_upscale: $what"* ]]
	for o in "--no-bucket --bucket-reso-steps 64" "--bucket-reso-steps 16 --min-bucket-reso 48"; do
		run_to 0 "$PREP" --resolution 64 --min-bucket-reso 64 $o "$demo"
		[[ $output != *"bucket_reso_steps: "* ]]
	done
	printf '[[datasets]]\nenable_bucket = true\n[[datasets.subsets]]\nimage_dir = "%s"\n' "$demo" > d.toml
	run_to 0 "$PREP" --resolution 64 --no-bucket --min-bucket-reso 48 --dataset-config d.toml
	[[ $output != *"does nothing"* ]]
}

@test "never to a terminal" {
	command -v script >/dev/null || skip "script(1) is not installed"
	run script -qec "'$PREP' '$demo'" /dev/null
	[ "$status" -ne 0 ]
	[[ $output != *PNG* ]]
}

@test "an output that cannot be made is status 4 and leaves nothing" {
	run_to 4 "$PREP" -o nowhere/images.tar "$demo"
	[ ! -e nowhere ]
}

# fake_libheif HEIGHT: a library that says 64x64 of any file and hands over that many rows
fake_libheif() {
	mkdir -p lib
	gcc -shared -fPIC -DHEIGHT="$1" -x c -o lib/libheif.so.1 - <<-'EOF'
	struct result { int code, detail; const char *message; };
	static unsigned char rows[64 * 64 * 3];
	static struct result good;
	void *heif_context_alloc(void) { return rows; }
	void heif_context_free(void *c) { }
	void heif_context_set_maximum_image_size_limit(void *c, int n) { }
	struct result heif_context_read_from_memory_without_copy(void *c, const void *b, unsigned long n, const void *o)
	{ return good; }
	struct result heif_context_get_primary_image_handle(void *c, void **h) { *h = rows; return good; }
	int heif_context_get_number_of_top_level_images(void *c) { return 1; }
	int heif_image_handle_get_width(void *h) { return 64; }
	int heif_image_handle_get_height(void *h) { return 64; }
	int heif_image_handle_get_ispe_width(void *h) { return 64; }
	int heif_image_handle_get_ispe_height(void *h) { return 64; }
	int heif_image_handle_has_alpha_channel(void *h) { return 0; }
	unsigned long heif_image_handle_get_raw_color_profile_size(void *h) { return 0; }
	struct result heif_image_handle_get_raw_color_profile(void *h, void *to) { return good; }
	struct result heif_decode_image(void *h, void **p, int a, int b, const void *o) { *p = rows; return good; }
	int heif_image_get_width(void *p, int c) { return 64; }
	int heif_image_get_height(void *p, int c) { return HEIGHT; }
	const unsigned char *heif_image_get_plane_readonly(void *p, int c, int *stride) { *stride = 192; return rows; }
	void heif_image_release(void *p) { }
	void heif_image_handle_release(void *h) { }
	EOF
}

@test "HEIC: what libheif decodes must have the size that the file says" {
	mkdir one
	printf '\0\0\0\030ftypheic\0\0\0\0mif1heic' >one/a.heic
	fake_libheif 64
	LD_LIBRARY_PATH=$PWD/lib "$PREP" --class-tokens x one >one.tar
	fake_libheif 8
	LD_LIBRARY_PATH=$PWD/lib run_to 3 "$PREP" --class-tokens x one
	[[ $output == *"another size than the file says"* ]]
}

@test "a dataset config without enable_bucket is told that buckets are on here; one that says it is not" {
	cp -r "$ROOT/demo/train/10_gizmo robot" some
	told() { "$PREP" --dataset-config d.toml -o /dev/null "$@" 2>&1 |
		grep -c 'enable_bucket is not in it: buckets are on here'; }
	printf '[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = "some"\n[[datasets.subsets]]\nimage_dir = "some"\n' >d.toml
	[ "$(told)" = 1 ]
	[ "$(told --quiet)" = 0 ]
	[ "$(told --bucket)" = 0 ]
	[ "$(told --no-bucket)" = 0 ]
	sed -i 's/^resolution/enable_bucket = true\nresolution/' d.toml
	[ "$(told)" = 0 ]
	printf 'resolution = "64,64"\ntrain_data_dir = "%s"\n' "$ROOT/demo/train" >c.toml
	"$PREP" --config c.toml -o /dev/null 2>&1 | grep 'enable_bucket is not set: buckets are on here'
	printf 'enable_bucket = true\n' >>c.toml
	[ "$("$PREP" --config c.toml -o /dev/null 2>&1 | grep -c enable_bucket)" = 0 ]
}

# bmp WIDTH HEIGHT: of 24 bits a pixel, to standard output; WIDTH is a multiple of four
bmp() {
	le() { local i; for ((i = 0; i < $2; i++)); do printf '%b' "\\x$(printf %02x $(($1 >> 8 * i & 255)))"; done; }
	printf BM; le $((54 + 3 * $1 * $2)) 4; le 0 4; le 54 4
	le 40 4; le "$1" 4; le "$2" 4; le 1 2; le 24 2; le 0 4; le 0 20
	yes 'a picture' | head -c $((3 * $1 * $2))
}

@test "BMP is read as a picture and as a mask, under any name" {
	mkdir set masks
	bmp 64 48 >set/a.bmp && echo one >set/a.txt
	bmp 48 64 >set/b.png && echo two >set/b.txt
	bmp 64 48 >masks/a.bmp
	sizes=(--resolution 64 --min-bucket-reso 48 --bucket-reso-steps 16)
	"$PREP" -q --strict "${sizes[@]}" --conditioning-data-dir masks --report r.jsonl -o a.tar set
	[ "$(jq -r 'select(.event == "picture") | "\(.path) \(.caption)"' r.jsonl | xargs)" = \
		"set/a.bmp one set/b.png two" ]
	[ "$(member a.tar 00000000.json | jq -c .original)" = "[64,48]" ]
	tar -tf a.tar | grep -q '^00000000.mask.png$'
	truncate -s 100 set/b.png
	run "$PREP" -q --strict "${sizes[@]}" -o b.tar set
	[ "$status" -eq 3 ]
	[[ "$output" == *"set/b.png: truncated BMP"* ]]
}
