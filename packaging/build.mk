# Packages: what each is, packaging/README.md says.  They lie in $(BUILD)/dist.

dist:
	@packaging/dist $(call quoted,$(BUILD)/dist)

check-ship: deps-test all
	@BIN=$(BUILD)/bin bats tests/ship

.PHONY: dist check-ship
