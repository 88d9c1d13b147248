# Packages: what each is, packaging/README.md says.  They lie in $(BUILD)/dist.

dist:
	@packaging/dist $(call quoted,$(BUILD)/dist)

deb: deps-ship
	@packaging/deb $(call quoted,$(BUILD)/dist)

check-ship: deps-test deps-ship all $(BUILD)/tests/demo/palette
	@BIN=$(BUILD)/bin bats tests/ship

.PHONY: dist deb check-ship
