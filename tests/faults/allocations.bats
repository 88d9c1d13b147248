#!/usr/bin/env bats
# A sample of what `make allocations` does whole: no memory is status 5, or the right bytes, at any allocation of any of
# the six programs.

# sample EVERY CASE
sample() {
	run "$BATS_TEST_DIRNAME/allocations" "$@"
	[ "$status" -eq 0 ] || { echo "$output" | grep -E "FAIL|could not|passed"; return 1; }
	[[ "$output" =~ allocations:\ ([0-9]+)\ passed ]]
	[ "${BASH_REMATCH[1]}" -ge 20 ]
}

@test "lora-prep" { sample 25 prep; }
@test "lora-encode" { sample 61 encode; }
@test "lora-train" { sample 121 train; }
@test "lora-sample" { sample 101 sample; }
@test "lora-merge" { sample 11 merge; }
@test "lora-inspect" { sample 25 inspect; }
