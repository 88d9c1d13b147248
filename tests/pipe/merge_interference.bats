#!/usr/bin/env bats
# lora-merge interference: cosines between adapters, before they are merged.
bats_require_minimum_version 1.5.0

setup() {
	. "$BATS_TEST_DIRNAME/pipe.bash"
	A=$ROOT/tests/golden/tiny-a/lora_unet.safetensors B=$ROOT/tests/golden/tiny-a/lora_text.safetensors
	C=$ROOT/tests/golden/tiny-a/lora_conv.safetensors
	cd "$BATS_TEST_TMPDIR" || return 1
}

interference() { "$BIN/lora-merge" interference -q "$@"; }

@test "an adapter is in its own way, and against its negative" {
	cp "$A" a
	cp "$A" b
	interference a b > said
	[ "$(head -1 said)" = "a and b: 192 layers of both, cosine 1.0000" ]
	grep -Eq '^  MID +1\.0000$' said
	interference a b:-0.5 | grep -q 'both, cosine -1\.0000$'
	! interference a b --without 'input_blocks' | grep -q ' IN0' || false
}

@test "adapters of different parts have nothing in common" {
	interference "$A" "$B" | grep -q ': 0 layers of both, cosine 0\.0000$'
}

@test "the report has each layer, block and pair, and its sums agree" {
	interference "$A" "$C" "$B" --report report > said
	[ "$(grep -c 'layers of both' said)" -eq 3 ]
	jq -es --arg a "$A" --arg c "$C" '
		(map(select(.event == "total")) | length) == 3 and
		(map(select(.event == "module")) | length) == 192 and
		(map(select(.a == $a and .b == $c)) |
			(map(select(.event == "module").inner) | add) as $modules |
			(map(select(.event == "block").inner) | add) as $blocks |
			(map(select(.event == "total"))[0]) as $all |
			($modules - $all.inner | fabs) < 1e-12 and ($blocks - $all.inner | fabs) < 1e-12 and
			($all.inner / $all.norm_a / $all.norm_b - $all.cosine | fabs) < 1e-12)' report
}

@test "the same with any number of threads; DoRA takes -m; one adapter is too few" {
	for t in 1 3; do OMP_NUM_THREADS=$t interference "$A" "$C" --report $t > said$t; done
	cmp 1 3
	cmp said1 said3
	run -2 interference "$A" "$ROOT/tests/golden/adapters/lora_dora_in.safetensors"
	[[ $output == *"say -m MODEL"* ]]
	interference -m "$ROOT/tests/golden/tiny-a/model" "$A" "$ROOT/tests/golden/adapters/lora_dora_in.safetensors"
	run -2 interference "$A"
	[[ $output == *"say lora-merge interference FILE"* ]]
	run -2 interference "$A" "$C" -o x
	[[ $output == *"--output says nothing to lora-merge interference"* ]]
}

@test "what needs a model is measured in double, as lora-inspect does" {
	local g=$ROOT/tests/golden/adapters model=$ROOT/tests/golden/tiny-a/model of
	interference -m "$model" "$g/lora_dora_in.safetensors" "$g/oft_kohya_tight.safetensors" --report report
	for of in norm_a:lora_dora_in norm_b:oft_kohya_tight; do
		"$BIN/lora-inspect" -q --json --norms -m "$model" "$g/${of#*:}.safetensors" > sheet
		# the same sums in another order, and 1e-12 beside a length
		jq -en --slurpfile s sheet --slurpfile r report '$r[-1].'"${of%:*}"' as $got |
			($s[0].norms | map(.norm * .norm) | add | sqrt) as $want |
			($got / $want - 1 | fabs) < 1e-10'
	done
}

@test "a model of NaN is named; OFT takes -m before shapes are compared" {
	local g=$ROOT/tests/golden/adapters
	cp -r "$ROOT/tests/golden/tiny-a/model" m
	chmod -R u+w m
	perl "$BATS_TEST_DIRNAME/tensors.pl" rename m/unet/*.safetensors bad \
		'substr($data, 0, 4) = "\0\0\xc0\x7f" if /attn1.to_q.weight/'
	mv bad m/unet/diffusion_pytorch_model.safetensors
	for mode in "interference $B" "add -o x --rank 2" "convert -o x --rank 2 --to kohya"; do
		run -3 "$BIN/lora-merge" ${mode%% *} -m m "$g/oft_kohya_tight.safetensors" ${mode#* }
		[[ $output == *"m/unet/diffusion_pytorch_model.safetensors: the weight of "*"holds NaN"* ]]
	done
	[ ! -e x ]
	run -2 interference "$A" "$g/oft_kohya_tight.safetensors"
	[[ $output == *"say -m MODEL"* ]]
}

# lengths NAME EPS: makes a DoRA of lengths that are as W has them; prints the norm of what it does
lengths() {
	perl -MJSON::PP -e '
		my ($file, $name, $eps) = @ARGV;
		open my $f, "<:raw", $file or die; local $/; my $x = <$f>; my $n = unpack "Q<", $x;
		my $t = decode_json(substr $x, 8, $n)->{"down_blocks.1.attentions.0.proj_in.weight"};
		my ($from, $to) = @{$t->{data_offsets}};
		my @w = unpack "f<*", substr $x, 8 + $n + $from, $to - $from;
		my ($in, $sum, @m) = (@w / 16, 0);
		for my $row (0 .. 15) {
			my $norm = 0; $norm += $_ * $_ for @w[$row * $in .. $row * $in + $in - 1]; $norm = sqrt $norm;
			push @m, unpack "f<", pack "f<", $row ? $norm : 0.5;
			$sum += ($m[$row] / ($norm + $eps) * $norm - $norm) ** 2 if $norm }
		my ($a, $b) = $name =~ /lora_unet/ ? qw(lora_down lora_up) : qw(lora_A lora_B);
		my %data = ("$name.$a.weight" => [[1, 16], (1) x 16], "$name.$b.weight" => [[16, 1], (0) x 16],
			$name =~ /lora_unet/ ? ("$name.dora_scale" => [[16, 1], @m], "$name.alpha" => [[], 1])
					     : ("$name.lora_magnitude_vector" => [[16], @m]));
		my ($at, $bytes, %head) = (0, "");
		for (sort keys %data) { my ($shape, @x) = @{$data{$_}};
			$head{$_} = { dtype => "F32", shape => $shape, data_offsets => [$at, $at + 4 * @x] };
			$at += 4 * @x; $bytes .= pack "f<*", @x }
		my $head = encode_json \%head;
		open my $o, ">:raw", "a.safetensors" or die; print $o pack("Q<", length $head), $head, $bytes;
		printf "%.17g\n", sqrt $sum
	' m/unet/diffusion_pytorch_model.safetensors "$@"
}

@test "dora_scale has LyCORIS' constant beside the norm, PEFT's magnitudes none, and zeros stay zeros" {
	local want
	cp -r "$ROOT/tests/golden/tiny-a/model" m
	chmod -R u+w m
	perl "$BATS_TEST_DIRNAME/tensors.pl" rename m/unet/*.safetensors zeros \
		'substr($data, 0, 64) = "\0" x 64 if $_ eq "down_blocks.1.attentions.0.proj_in.weight"'
	mv zeros m/unet/diffusion_pytorch_model.safetensors
	for of in lora_unet_input_blocks_4_1_proj_in:1.1920928955078125e-07 \
		unet.down_blocks.1.attentions.0.proj_in:0; do
		want=$(lengths "${of%:*}" "${of#*:}")
		cp a.safetensors b.safetensors
		interference -m m a.safetensors b.safetensors --report report
		"$BIN/lora-inspect" -q --json --norms -m m a.safetensors > sheet
		# the update is the constant and the lengths' rounding alone
		jq -ens --argjson want "$want" --slurpfile r report --slurpfile s sheet \
			'[$r[-1].norm_a, $s[0].norms[0].norm][] | (. / $want - 1 | fabs) < 1e-4' |
			tee said
		[ "$(sort -u said)" = true ]
	done
}

@test "an adapter with a bias alone takes nothing from what others do to that layer" {
	local layer=lora_unet_input_blocks_4_1_proj_in
	echo "$layer.diff_b 0.1 16" | perl "$BATS_TEST_DIRNAME/tensors.pl" make bias ss_base_model_version=sdxl_base_v1-0
	interference "$A" "$C" --report two > /dev/null
	for order in "bias $A $C" "$A bias $C" "$A $C bias"; do
		interference $order --report three > said
		cmp <(jq -c --arg a "$A" --arg c "$C" 'select(.a == $a and .b == $c)' three) two
		grep -q "^bias and .*1 layers of both, and one of them is nothing\|and bias: 1 layers of both, and one of" said
	done
}
