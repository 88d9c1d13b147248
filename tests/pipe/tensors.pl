#!/usr/bin/perl
# tensors.pl - makes, renames, joins and compares safetensors files, for tests of other programs' adapters.
#   make OUT [KEY=VALUE...] < LINES     a tensor a line, "NAME SPREAD SIDE...": F32 within the spread, or "=NUMBER"
#   rename IN OUT CODE [KEY=VALUE...]   CODE changes $_, the name ("" drops it), @shape, $dtype and the bytes, $data
#   join OUT IN...                      the tensors of all
#   list FILE                           "NAME SIDE..." of each
#   metadata FILE KEY                   the value; 1 where there is none
#   sum OUT A B                         A's tensors with those of B, in F32, that have their names added
#   f8 IN OUT END                       matrices as F8_E4M3, with a scale for each in NAME.END; "": without scales
#   f32 IN OUT                          F8 as F32, scaled
#   same A B                            types and bytes of all tensors
#   near A B BASE LIMIT                 |A - B| <= LIMIT |A - BASE|, over all F32 tensors; prints the quotient
use strict;
use warnings;
use JSON::PP;

sub get {
	my ($path) = @_;
	open my $f, '<:raw', $path or die "$path: $!\n";
	local $/;
	my $all = <$f>;
	my $n = unpack 'Q<', $all;
	my $head = decode_json(substr $all, 8, $n);
	my $metadata = delete $head->{__metadata__};
	my @tensors;
	for my $name (sort { $head->{$a}{data_offsets}[0] <=> $head->{$b}{data_offsets}[0] || $a cmp $b } keys %$head) {
		my $t = $head->{$name};
		my ($from, $to) = @{$t->{data_offsets}};
		push @tensors, { name => $name, dtype => $t->{dtype}, shape => $t->{shape},
				 data => substr($all, 8 + $n + $from, $to - $from) };
	}
	return (\@tensors, $metadata);
}

sub put {
	my ($path, $tensors, $metadata) = @_;
	my ($at, %head) = (0);
	for my $t (@$tensors) {
		my $end = $at + length $t->{data};
		die "twice: $t->{name}\n" if $head{$t->{name}};
		$head{$t->{name}} = { dtype => $t->{dtype}, shape => [ map { $_ + 0 } @{$t->{shape}} ],
				      data_offsets => [ $at, $end ] };
		$at = $end;
	}
	$head{__metadata__} = $metadata if $metadata && %$metadata;
	my $text = JSON::PP->new->canonical->encode(\%head);
	$text .= ' ' x (-length($text) % 8);
	open my $f, '>:raw', $path or die "$path: $!\n";
	print $f pack('Q<', length $text), $text, map { $_->{data} } @$tensors;
	close $f or die "$path: $!\n";
}

sub pairs { return { map { split /=/, $_, 2 } @_ } }

my $state = 12345;
sub draw { $state = ($state * 1103515245 + 12345) % 2147483648; return $state / 1073741824 - 1 }

sub make {
	my ($out, @metadata) = @_;
	my @tensors;
	while (<STDIN>) {
		my ($name, $spread, @shape) = split;
		next unless defined $spread;
		my $n = 1;
		$n *= $_ for @shape;
		my @x = $spread =~ /^=(.*)/ ? ($1) x $n : map { $spread * draw() } 1 .. $n;
		push @tensors, { name => $name, dtype => 'F32', shape => \@shape, data => pack 'f<*', @x };
	}
	put($out, \@tensors, pairs(@metadata));
}

sub rename_all {
	my ($in, $out, $code, @metadata) = @_;
	my ($tensors, $metadata) = get($in);
	my @kept;
	delete @$metadata{grep { /^sshs_/ } keys %{$metadata || {}}};         # hashes of other bytes
	my $change = eval "sub { our (\@shape, \$data, \$dtype); $code }" or die $@;
	for my $t (@$tensors) {
		our (@shape, $data, $dtype);
		local $_ = $t->{name};
		@shape = @{$t->{shape}};
		($data, $dtype) = ($t->{data}, $t->{dtype});
		$change->();
		push @kept, { %$t, name => $_, shape => [ @shape ], data => $data, dtype => $dtype } if length;
	}
	put($out, \@kept, @metadata ? pairs(@metadata) : $metadata);
}

sub join_all {
	my ($out, @in) = @_;
	put($out, [ map { @{(get($_))[0]} } @in ]);
}

sub value_of_f8 {
	my ($code) = @_;
	my ($e, $f) = ($code >> 3 & 15, $code & 7);
	return ($code & 128 ? -1 : 1) * ($e ? (8 + $f) * 2 ** ($e - 10) : $f * 2 ** -9);
}

# ties to even
sub nearest_f8 {
	my ($x) = @_;
	my ($low, $high) = (0, 126);
	while ($high - $low > 1) {
		my $middle = $low + $high >> 1;
		if (value_of_f8($middle) <= abs $x) { $low = $middle } else { $high = $middle }
	}
	my ($down, $up) = (abs($x) - value_of_f8($low), value_of_f8($high) - abs $x);
	my $code = $down < $up || ($down == $up && $low % 2 == 0) ? $low : $high;
	return $code | ($x < 0 ? 128 : 0);
}

sub scale_of {
	my ($tensors, $t) = @_;
	my ($start) = $t->{name} =~ /^(.*\.)weight$/ or return 1;
	my ($scale) = grep { $_->{name} =~ /^\Q$start\E(scale_weight|weight_scale)$/ } @$tensors;
	return $scale ? unpack 'f<', $scale->{data} : 1;
}

sub f8 {
	my ($in, $out, $end) = @_;
	my ($tensors) = get($in);
	my @all;
	for my $t (@$tensors) {
		push @all, $t;
		next unless @{$t->{shape}} == 2 && $t->{dtype} eq 'F32' && $t->{name} =~ /^(.*\.)weight$/;
		my ($most) = sort { $b <=> $a } map { abs } unpack 'f<*', $t->{data};
		my $scale = length $end ? pack 'f<', $most / 448 : pack 'f<', 1;
		my $by = unpack 'f<', $scale;
		$t->{dtype} = 'F8_E4M3';
		$t->{data} = pack 'C*', map { nearest_f8($_ / $by) } unpack 'f<*', $t->{data};
		push @all, { name => "$1$end", dtype => 'F32', shape => [], data => $scale } if length $end;
	}
	put($out, \@all);
}

sub f32 {
	my ($in, $out) = @_;
	my ($tensors) = get($in);
	for my $t (grep { $_->{dtype} eq 'F8_E4M3' } @$tensors) {
		my $scale = scale_of($tensors, $t);
		$t->{dtype} = 'F32';
		$t->{data} = pack 'f<*', map { $scale * value_of_f8($_) } unpack 'C*', $t->{data};
	}
	put($out, [ grep { $_->{name} !~ /\.(scale_weight|weight_scale)$/ } @$tensors ]);
}

sub list {
	print join(' ', $_->{name}, @{$_->{shape}}), "\n"
		for sort { $a->{name} cmp $b->{name} } @{(get($_[0]))[0]};
}

sub metadata {
	my $value = (get($_[0]))[1]{$_[1]};
	exit 1 unless defined $value;
	print $value, "\n";
}

sub sum {
	my ($out, $from, $more) = @_;
	my ($tensors) = get($from);
	my %add = map { $_->{name} => $_ } @{(get($more))[0]};
	for my $t (@$tensors) {
		my $by = delete $add{$t->{name}} or next;
		my @x = unpack 'f<*', $by->{data};
		my $scale = scale_of($tensors, $t);
		$t->{data} = $t->{dtype} eq 'F32' ? pack 'f<*', map { $_ + shift @x } unpack 'f<*', $t->{data}
			: pack 'C*', map { nearest_f8(value_of_f8($_) + shift(@x) / $scale) } unpack 'C*', $t->{data};
	}
	die "no tensor: ", join(' ', keys %add), "\n" if %add;
	put($out, $tensors);
}

# in the order of their names
sub same {
	my %of = map { $_->{name} => $_ } @{(get($_[1]))[0]};
	for my $t (@{(get($_[0]))[0]}) {
		my $other = delete $of{$t->{name}} or die "not there: $t->{name}\n";
		die "another: $t->{name}\n" if $t->{dtype} ne $other->{dtype} || $t->{data} ne $other->{data};
	}
	die "too many: ", keys %of, "\n" if %of;
}

sub floats {
	my @f32 = grep { $_->{dtype} eq 'F32' } @{(get($_[0]))[0]};
	return map { unpack 'f<*', $_->{data} } sort { $a->{name} cmp $b->{name} } @f32;
}

sub near {
	my ($limit, @of) = ($_[3], map { [ floats($_) ] } @_[0 .. 2]);
	my ($difference, $moved) = (0, 0);
	die "not as many numbers\n" if @{$of[0]} != @{$of[1]} || @{$of[0]} != @{$of[2]} || !@{$of[0]};
	for my $i (0 .. $#{$of[0]}) {
		$difference += ($of[0][$i] - $of[1][$i]) ** 2;
		$moved += ($of[0][$i] - $of[2][$i]) ** 2;
	}
	my $share = $moved > 0 ? sqrt($difference / $moved) : 9e99;
	printf "%.3g\n", $share;
	exit !($share <= $limit);
}

my %do = (make => \&make, rename => \&rename_all, join => \&join_all, near => \&near, list => \&list,
	  sum => \&sum, f8 => \&f8, f32 => \&f32, same => \&same,
	  metadata => \&metadata);
my $what = shift // '';
($do{$what} // die "tensors.pl make|rename|join|list|metadata|sum|f8|f32|same|near ...\n")->(@ARGV);
