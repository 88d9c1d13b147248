#!/usr/bin/perl
# scalars.pl FILE: the scalars of a TensorBoard event file, a line each: step, value, tag.
use strict; use warnings;
local $/; open my $f, '<:raw', $ARGV[0] or die "$ARGV[0]: $!\n"; my $all = <$f>;
# fields of a protocol buffer: number => list of values or bytes
sub varint { my ($b) = @_; my ($x, $shift) = (0, 0);
	while (1) { my $c = ord substr $$b, 0, 1, ''; $x |= ($c & 127) << $shift; $shift += 7; return $x if $c < 128 } }
sub fields { my ($b) = @_; my %f;
	while (length $b) {
		my $key = varint(\$b); my $wire = $key & 7;
		my $n = $wire == 1 ? 8 : $wire == 5 ? 4 : $wire == 2 ? varint(\$b) : 0;
		push @{$f{$key >> 3}}, $wire == 0 ? varint(\$b) : substr $b, 0, $n, '';
	}
	return \%f }
for (my $at = 0; $at < length $all;) {
	my $n = unpack 'Q<', substr $all, $at, 8;
	my $event = fields(substr $all, $at + 12, $n);
	$at += $n + 16;
	for my $summary (@{$event->{5} || []}) {
		for my $value (@{fields($summary)->{1} || []}) {
			my $v = fields($value);
			printf "%d\t%.7g\t%s\n", ($event->{2} || [0])->[0], unpack('f<', $v->{2}[0]), $v->{1}[0] if $v->{2};
		}
	}
}
