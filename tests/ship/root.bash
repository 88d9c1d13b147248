# root.bash - bare systems in folders, for trying packages: what debootstrap makes, entered with chroot.

# begin: where things lie, and an empty folder to work in
begin() {
	ROOT=$(realpath "$BATS_TEST_DIRNAME/../..")
	BIN=$(realpath "${BIN:-$ROOT/build/gcc/bin}")
	DIST=$(dirname "$BIN")/dist
	cd "$BATS_TEST_TMPDIR" || return 1
}

# make_root RELEASE FOLDER: the least of a release of Debian or Ubuntu.  Debian's debootstrap has no keys of Ubuntu's,
# and knows its releases up to a certain one; they are made alike.
make_root() {
	local options=(--variant=minbase) script=()
	case $1 in jammy | noble)
		options+=(--no-check-gpg "--components=main,universe")
		script=('' /usr/share/debootstrap/scripts/jammy) ;;
	esac
	debootstrap "${options[@]}" "$1" "$2" "${script[@]}" > "$2.log" 2>&1 || { tail "$2.log"; return 1; }
}

# in_root FOLDER COMMAND...: as root there, with nothing of this machine's environment.  /proc is there for that command
# alone: by it a program finds what lies beside it.
in_root() {
	local folder=$1; shift
	[ "$(id -u)" = 0 ] || skip "only root can enter a bare root"
	# shellcheck disable=SC2016     # the other shell's words
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive unshare --mount \
		sh -c 'mount --bind /proc "$0/proc" && exec chroot "$0" "$@"' "$folder" "$@"
}

# get FOLDER PACKAGE...: installed there, without what is only recommended
get() {
	local folder=$1; shift
	in_root "$folder" apt-get install -y -qq --no-install-recommends "$@" > words 2>&1 || { tail words; return 1; }
}

# gone FOLDER PACKAGE: is it purged?  dpkg may remember the name.
gone() {
	local packages
	# shellcheck disable=SC2016     # dpkg's own fields
	packages=$(in_root "$1" dpkg-query -W -f '${Package} ${db:Status-Status}\n') || return
	grep -q '^dpkg installed' <<< "$packages" && ! grep -E "^$2 " <<< "$packages" | grep -v ' not-installed$'
}

# newer DEB TO: the same package, of a later version
newer() {
	dpkg-deb -R "$1" newer
	sed -i 's/^Version: .*/&+later/; s/\(lora-tools (= [^)]*\))/\1+later)/' newer/DEBIAN/control
	dpkg-deb --root-owner-group -b newer "$2" > /dev/null
	rm -r newer
}

# pictures FOLDER: what `pipe` needs, in FOLDER
pictures() {
	mkdir -p "$1/train"
	cp "$ROOT"/demo/train/*/gizmo0[01].* "$1/train"
	cp -r "$ROOT/demo/tiny-sdxl" "$1"
}

# pipe FOLDER COMMAND...: pictures to a painting in FOLDER, which lies in $PWD or is the root of COMMAND
pipe() {
	local at=$1; shift
	pictures "$at"
	"$@" sh -euc 'lora-prep --resolution 64 --min-bucket-reso 48 --max-bucket-reso 80 --bucket-reso-steps 16 train \
			-o images.tar
		lora-encode -m tiny-sdxl images.tar -o latents.tar
		lora-train -m tiny-sdxl --network-dim 2 --learning-rate 1e-3 --max-train-steps 2 --output-dir . \
			--output-name a latents.tar > log
		lora-sample -m tiny-sdxl -l a.safetensors -p robot -W 64 -H 64 --steps 2 -o a.png' > words 2>&1 ||
		{ cat words; return 1; }
}

# expected: what the usual programs make, once
expected() {
	[ -e "$BATS_FILE_TMPDIR/expected/a.png" ] ||
		(mkdir -p "$BATS_FILE_TMPDIR/expected" && cd "$BATS_FILE_TMPDIR/expected" && PATH=$BIN:$PATH pipe .)
}

# no_card COMMAND...: lora-sample, by that command, finds NVIDIA's libraries and no card; its folder is $model, or this
no_card() {
	cp -r "$ROOT/demo/tiny-sdxl" "${model:-.}"
	status=0
	"$@" lora-sample -q -m tiny-sdxl -W 64 -H 64 --steps 1 -p robot --device cuda -o a.png > words 2>&1 || status=$?
	cat words
	[ $status = 5 ]
	grep -q 'device cuda: no NVIDIA card: ' words
}

# as_expected FOLDER
as_expected() {
	local f
	for f in images.tar latents.tar a.safetensors a.png; do
		cmp "$1/$f" "$BATS_FILE_TMPDIR/expected/$f" || return 1
	done
}
