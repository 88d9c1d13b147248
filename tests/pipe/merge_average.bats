#!/usr/bin/env bats
# lora-merge average: the saves of one run as one adapter.
bats_require_minimum_version 1.5.0

setup_file() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	export LATENTS=$BATS_FILE_TMPDIR/latents.tar RUN=$BATS_FILE_TMPDIR/run
	few_latents "$LATENTS"
	train 6 "$RUN" --save-every-n-steps 2
}

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	cd "$BATS_TEST_TMPDIR" || return 1
	A=$RUN/t-step00000002.safetensors B=$RUN/t-step00000004.safetensors C=$RUN/t.safetensors
}

average() { "$BIN/lora-merge" average "$@"; }
tensors() { perl "$BATS_TEST_DIRNAME/tensors.pl" "$@"; }
bytes() { tail -c +$((9 + $(od -An -tu8 -N8 "$1"))) "$1"; }

# weighs W1 W2 W3 FILE: every factor is the sum of the saves' times these, rounded once
weighs() {
	perl -MJSON::PP -e '
		my ($out, @w) = splice @ARGV, 0, 4;
		sub get { open my $f, "<:raw", $_[0] or die; local $/; my $x = <$f>; my $n = unpack "Q<", $x;
			my $h = decode_json(substr $x, 8, $n); delete $h->{__metadata__};
			return { map { my ($p, $q) = @{$h->{$_}{data_offsets}};
				($_ => [ unpack "f<*", substr $x, 8 + $n + $p, $q - $p ]) } keys %$h } }
		my ($got, @in) = map { get($_) } $out, @ARGV;
		die "names\n" if keys %$got != keys %{$in[0]} || keys %$got < 100;
		for my $k (keys %$got) { for my $i (0 .. $#{$got->{$k}}) {
			my $want = 0; $want += $w[$_] * $in[$_]{$k}[$i] for 0 .. 2;
			die "$k $i: $got->{$k}[$i], not $want\n" if abs($got->{$k}[$i] - $want) > 1e-7 * abs($want) + 1e-12 } }
	' "$4" "$1" "$2" "$3" "$A" "$B" "$C"
}

@test "mean, moving and power average, by the steps that the files say" {
	average "$C" "$A" "$B" -o mean 2> said
	grep -q 'mean of 3 saves, at steps 2 4 6, weights 0.333 0.333 0.333' said
	weighs 0.333333333333333 0.333333333333333 0.333333333333333 mean
	average -q "$A" "$B" "$C" --ema 0.75 -o ema
	weighs 0.5625 0.1875 0.25 ema
	# NumPy's root of gamma^3 + 7 gamma^2 + (16 - 1/s^2) gamma + 12 - 1/s^2 for s = 0.1: (step/6)^(gamma + 1)
	average -q "$A" "$B" "$C" --sigma-rel 0.1 -o power
	weighs 0.00016330192278285856 0.039861368571283765 0.9599753295059333 power
	"$BIN/lora-inspect" --verify power > /dev/null
}

@test "the order on the command line and the number of threads do not matter" {
	average -q "$A" "$B" "$C" --ema 0.5 -o one
	OMP_NUM_THREADS=3 average -q "$B" "$C" "$A" --ema 0.5 -o two
	cmp <(bytes one) <(bytes two)
	average -q "$A" "$A" -o same
	cmp <(bytes same) <(bytes "$A")
}

@test "other runs, other ranks and weights are refused" {
	train 2 other --seed 3
	run -3 average "$A" other/t.safetensors -o x
	[[ $output == *"of different runs"*"lora-merge add"* ]]
	tensors rename "$A" a '' ss_steps=1
	run -3 average a "$ROOT/tests/golden/tiny-a/lora_unet.safetensors" -o x
	[[ $output == *"the saves of one run have the same"* ]]
	run -2 average "$A:0.5" "$B" -o x
	[[ $output == *"takes no weights"* ]]
	run -2 average "$A" "$B" --ema 0.5 --sigma-rel 0.1 -o x
	[[ $output == *"say one"* ]]
	for o in "--ema 0" "--sigma-rel 0"; do
		run -2 average "$A" "$B" $o -o x
		[[ $output == *"'0' does not fit; give a number above 0 and up to "* ]]
	done
	[ ! -e x ]
}

@test "kohya's saves of two sessions, or begun at two times, are of different runs" {
	for i in 1 2; do tensors rename "$A" k$i '' ss_session_id=$i ss_training_started_at=7; done
	tensors rename "$B" k3 '' ss_session_id=1 ss_training_started_at=8
	tensors rename "$A" k4 '' ss_training_started_at=7
	tensors rename "$B" k5 '' ss_training_started_at=8
	average -q k1 k3 -o x
	rm x
	run -3 average k1 k2 -o x
	[[ $output == *"of different runs"*"lora-merge add"* ]]
	run -3 average k4 k5 -o x
	[[ $output == *"of different runs"*"lora-merge add"* ]]
	[ ! -e x ]
}

@test "the report has a line for each module; the last line and the sources" {
	average "$A" "$B" "$C" -o mean --report report 2> said
	tail -1 said | grep -Eq '^lora-merge: mean: [0-9]+ modules, rank 4, norm [0-9.]+, relative error [0-9.e-]+$'
	# F32's rounding of two factors: less than 2^-24 of each number
	jq -es '.[-1].event == "total" and .[-1].modules == length - 1 and length > 50 and .[-1].update_norm > 0 and
		all(.[:-1][]; .event == "module" and .adapters == 3 and .rank == 4 and .update_norm > 0 and
			.relative_error < 1e-7 and (.copied | not))' report
}
