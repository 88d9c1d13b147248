#!/usr/bin/perl
# tensors.pl - makes, renames, joins and compares safetensors files, for tests of other programs' adapters.
#   make OUT [KEY=VALUE...] < LINES     a tensor a line, "NAME SPREAD SIDE...": F32 within the spread, or "=NUMBER"
#   rename IN OUT CODE [KEY=VALUE...]   CODE changes $_, the name ("" drops it), and @shape; $data are its bytes
#   join OUT IN...                      the tensors of all
#   list FILE                           "NAME SIDE..." of each
#   metadata FILE KEY                   the value; 1 where there is none
#   sum OUT A B                         A's tensors in F32, with those of B that have their names added
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
	my $change = eval "sub { our (\@shape, \$data); $code }" or die $@;
	for my $t (@$tensors) {
		our (@shape, $data);
		local $_ = $t->{name};
		@shape = @{$t->{shape}};
		$data = $t->{data};
		$change->();
		push @kept, { %$t, name => $_, shape => [ @shape ], data => $data } if length;
	}
	put($out, \@kept, @metadata ? pairs(@metadata) : $metadata);
}

sub join_all {
	my ($out, @in) = @_;
	put($out, [ map { @{(get($_))[0]} } @in ]);
}

sub list {
	print join(' ', $_->{name}, @{$_->{shape}}), "\n" for @{(get($_[0]))[0]};
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
		$t->{data} = pack 'f<*', map { $_ + shift @x } unpack 'f<*', $t->{data};
	}
	die "no tensor: ", join(' ', keys %add), "\n" if %add;
	put($out, $tensors);
}

# in the order of their names
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
	  metadata => \&metadata, sum => \&sum);
my $what = shift // '';
($do{$what} // die "tensors.pl make|rename|join|list|metadata|sum|near ...\n")->(@ARGV);
