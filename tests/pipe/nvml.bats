#!/usr/bin/env bats
# cuda/nvml.c beside a libnvidia-ml.so.1 of our own (tests/nvml/fake.c): what it makes of what NVML says, lacks and
# refuses.

setup() {
	load pipe.bash
	NVML=$(cd "$BIN/.." && pwd)/tests/nvml
}

# look LIBRARY WORDS [VISIBLE]: what is seen of the card 0000:65:00.0
look() { LD_LIBRARY_PATH=$NVML/$1 FAKE_NVML=$2 "$NVML/look" 0000:65:00.0 "${@:3}"; }

ALL='busy 91
memory 12884901888
memory_most 17179869184
watts 137.25
watts_most 140
mhz 1395
mhz_most 1695'

@test "NVML's figures; a library that is not there, refuses, or has no such card" {
	diff <(look whole '') <(echo "$ALL")
	diff <(look whole 'idle settings') <(echo "$ALL")               # what slows nothing down
	[ "$(LD_LIBRARY_PATH=$NVML/nowhere "$NVML/look" 0000:65:00.0)" = nothing ]
	[ "$(look torn '')" = nothing ]                                 # a symbol that is needed is missing
	[ "$(look whole no-init)" = nothing ]
	[ "$(look whole no-card)" = nothing ]
	[ -z "$(look bare '')" ]                                        # symbols that are wanted are missing
	[ -z "$(look whole refuses)" ]
	# Another card of the machine is not ours: its handle has no figures.
	[ -z "$(LD_LIBRARY_PATH=$NVML/whole "$NVML/look" 0000:66:00.0)" ]
}

@test "why a card is slow, under both names of the function" {
	local library
	for library in whole old; do
		[ "$(look $library power | tail -n 1)" = 'slowed 1' ]
		[ "$(look $library heat | tail -n 1)" = 'slowed 2' ]
		[ "$(look $library hot | tail -n 1)" = 'slowed 2' ]
		[ "$(look $library brake | tail -n 1)" = 'slowed 4' ]
		[ "$(look $library 'hardware idle' | tail -n 1)" = 'slowed 8' ]
	done
}

@test "other programs: counted, named, not mixed up with ourselves; in both layouts of the structure" {
	local library words
	for library in whole old; do
		for words in strangers 'strangers wide'; do
			[ "$(look $library "$words" | tail -n 1)" = "others 2, 3758096384 bytes; 4242 'python3'" ]
		done
		diff <(look $library wide) <(echo "$ALL")
	done
	# In a container we have another number outside: one of the three is ours.
	diff <(look whole container) <(echo "$ALL")
	[ "$(look whole 'strangers container' | tail -n 1)" = "others 2, nan bytes; 0 ''" ]
	diff <(look whole many) <(echo "$ALL")                          # more than there is room for: nothing is said
}

@test "a card in MIG mode: memory is the instance's, CUDA_VISIBLE_DEVICES names it; no utilisation" {
	[ "$(look whole mig | head -n 2 | tr '\n' ' ')" = 'memory 6442450944 memory_most 8589934592 ' ]
	[ "$(look whole mig MIG-1b3c,MIG-7 | head -n 2 | tr '\n' ' ')" = 'memory 3221225472 memory_most 4294967296 ' ]
	[ "$(look whole mig MIG-none | head -n 1)" = 'memory 6442450944' ]
	[ "$(look whole mig 0 | head -n 1)" = 'memory 6442450944' ]
	[ "$(look whole mig | grep -c 'watts\|mhz')" = 4 ]
	[ "$(look whole '' MIG-1b3c | grep memory_most)" = 'memory_most 17179869184' ]  # not in that mode
}
