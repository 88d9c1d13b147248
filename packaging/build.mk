# Packages: what each is, packaging/README.md says.  They lie in $(BUILD)/dist.

dist:
	@packaging/dist $(call quoted,$(BUILD)/dist)

deb: deps-ship
	@packaging/deb $(call quoted,$(BUILD)/dist)

wheel binary: deps-ship
	@packaging/$@ $(call quoted,$(BUILD)/dist)

# TAGS='!slow': without the demo, which takes a minute for each package.
check-ship: deps-test deps-ship all $(BUILD)/tests/demo/palette
	@packaging/wheel $(call quoted,$(BUILD)/dist)
	@packaging/binary $(call quoted,$(BUILD)/dist)
	@BIN=$(BUILD)/bin bats $(if $(TAGS),--filter-tags $(call quoted,$(TAGS))) tests/ship

.PHONY: dist deb wheel binary check-ship
