# Packages: what each is, packaging/README.md says.  They lie in $(BUILD)/dist.

dist:
	@packaging/dist $(call quoted,$(BUILD)/dist)

deb: deps-ship
	@packaging/deb $(call quoted,$(BUILD)/dist)

wheel binary: deps-ship
	@packaging/$@ $(call quoted,$(BUILD)/dist)

# The three are built in one folder: of `make -j2 wheel binary` the second waits for the first.
binary: | $(filter wheel,$(MAKECMDGOALS))
wheel-cuda: | $(filter wheel binary,$(MAKECMDGOALS))

# For CUDA 13 and 12; CUDA_WHEELS=13 makes one.  The compilers, a gigabyte, come from the network.
CUDA_WHEELS := 13 12
wheel-cuda: deps-ship
	@for n in $(CUDA_WHEELS); do packaging/wheel-cuda $(call quoted,$(BUILD)/dist) "$$n" || exit 1; done

# TAGS='!slow': without the demo, which takes a minute for each package, other systems, NVIDIA's compilers, and what is
# built a second time.
check-ship: deps-test deps-ship all $(BUILD)/tests/demo/palette
	@packaging/wheel $(call quoted,$(BUILD)/dist)
	@packaging/binary $(call quoted,$(BUILD)/dist)
	@BIN=$(BUILD)/bin bats $(if $(TAGS),--filter-tags $(call quoted,$(TAGS))) tests/ship

.PHONY: dist deb wheel binary wheel-cuda check-ship
