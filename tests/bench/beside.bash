# beside.bash - what the comparisons share: ours and theirs in turn (A/B/A/B), medians, one row each of the
# table.  Sourced.
#
# BIN: programs.  BENCH: built benchmarks.  BIG: where `make big` left the model.  PYTHON: a Python with torch,
# diffusers, transformers, peft and Pillow.  LORA_CPU=avx2: both sides with these instructions.  TABLE: rows go there
# too.  UNDER: what each turn runs under; 'chrt -r 1', where the machine has other work.
BIN=${BIN:-build/gcc/bin} BENCH=${BENCH:-build/gcc/tests} BIG=${BIG:-/var/tmp/lora-big} PYTHON=${PYTHON:-python3}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CORES=${OMP_NUM_THREADS:-$(nproc)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# PyTorch at its best: a thread a core, and freed memory is kept, which spares the next step its page faults.
TORCH=(env OMP_NUM_THREADS="$CORES" MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_MMAP_THRESHOLD_=17179869184)
[ "${LORA_CPU:-}" != avx2 ] ||
	TORCH+=(ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2)
TORCH+=("$PYTHON")

has() { "$PYTHON" -c "import ${1// /, }" 2> /dev/null; }
full_size() { [ -e "$BIG/model/complete" ] || { echo "no full-size model in $BIG: run 'make big' first"; exit 0; }; }

# times FILE COMMAND...: adds to FILE the seconds of each run and each step that the command tells of but the first,
# which pays for touching memory, and to FILE.memory the most resident memory in KiB
times() {
	local file=$1; shift
	# shellcheck disable=SC2086
	${UNDER:-} env time -f %M -o "$work/memory" "$@" > "$work/said" 2> "$work/errors" ||
		{ cat "$work/errors" >&2; return 1; }
	awk '/^(run|step) [0-9]+: / && n++ { print $3 }
		/^{"event":"step"/ && n++ { match($0, /"seconds":[0-9.]+/); print substr($0, RSTART + 10, RLENGTH - 10) }' \
		"$work/said" >> "$file"
	tail -n 1 "$work/memory" >> "$file.memory"
}

median() { sort -g "$1" | awk '{ x[NR] = $1 } END { print (x[int((NR + 1) / 2)] + x[int(NR / 2) + 1]) / 2 }'; }
# the median and the most memory, for a reader
figure() {
	local most
	most=$(sort -g "$1.memory" | tail -n 1)
	median "$1" | awk -v k="$most" '{ printf "%.*f %s, %.1f GiB", $1 < 1 ? 0 : $1 < 10 ? 2 : 1, \
		$1 < 1 ? $1 * 1000 : $1, $1 < 1 ? "ms" : "s", k / 1048576 }'
}
times_as_fast() { jq -nr "$(median "$2") / $(median "$1") * 100 | round / 100"; }

# row WHAT HERE BESIDE TIMES: a line of the table that README shows
row() { printf '| %-50s | %-18s | %-18s | %5s |\n' "$@" | tee -a "${TABLE:-/dev/null}"; }

# beside WHAT MODULES: OURS and THEIRS in turn; MODULES are what theirs imports
beside() {
	rm -f "$work"/{ours,theirs}{,.memory}
	times "$work/ours" "${OURS[@]}"
	has "$2" || { row "$1" "$(figure "$work/ours")" "no $2" ""; return; }
	times "$work/theirs" "${THEIRS[@]}"
	times "$work/ours" "${OURS[@]}"
	times "$work/theirs" "${THEIRS[@]}"
	row "$1" "$(figure "$work/ours")" "$(figure "$work/theirs")" "$(times_as_fast "$work/ours" "$work/theirs")"
}
