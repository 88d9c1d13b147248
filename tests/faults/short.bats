#!/usr/bin/env bats
# A little of the campaign: every read and every write moves half of what was asked for, in all six tools.

@test "short reads and writes: status 0, the right bytes" {
	ROOT=$BATS_TEST_DIRNAME/../..
	BIN=${BIN:-$ROOT/build/gcc/bin} CAMPAIGN=0.1 KINDS=short run "$ROOT/tests/campaign/run"
	[ "$status" = 0 ] && [[ "$output" == *"campaign: 16 passed, 0 failed"* ]] || { echo "$output"; return 1; }
}
