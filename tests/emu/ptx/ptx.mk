# The programs of tests/cuda with nvcc's own objects for the kernels, whose PTX is interpreted.  Needs nvcc, no card.
#
#   make emu-ptx                 builds them: build/gcc/emu-ptx/tests/*
#   make check-ptx               and runs them
#   make check-ptx-bugs          plants bugs, each of which must be found; ONE="some words of a name"

PTX_ARCH    := 80
PTX_OUT     := $(BUILD)/emu-ptx
PTX_KERNELS := $(patsubst %.cu,$(PTX_OUT)/%.o,$(wildcard cuda/*.cu))
PTX_CORE    := $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard tests/emu/ptx/*.cpp))
PTX_TESTS   := $(patsubst tests/cuda/%.c,$(PTX_OUT)/tests/%,$(filter-out tests/cuda/bench_%,$(wildcard tests/cuda/*.c)))
PTX_NVCC    := $(shell command -v $(NVCC))

$(BUILD)/tests/emu/ptx/%.o: EMU_PLAIN += -O3 -ffp-contract=off

# PTX alone, as text: nothing for a real card.
PTX_COMPILE = $(NVCC) -O3 -std=c++17 -gencode arch=compute_$(PTX_ARCH),code=compute_$(PTX_ARCH) --no-compress -Xcompiler -fPIC

$(PTX_OUT)/cuda/%.o: cuda/%.cu
	@mkdir -p $(@D)
	$(call say,PTX   $<)
	$(Q)$(PTX_COMPILE) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

$(PTX_TESTS): $(PTX_OUT)/tests/%: $(BUILD)/tests/cuda/%.o $(PTX_KERNELS) $(CUDA_HOST) $(EMU_CORE) $(PTX_CORE) $(LIBRARY)
	@mkdir -p $(@D)
	$(call say,LINK  $@)
	$(Q)$(EMU_CXX) $(LINK) -o $@ $^ $(LIBS)

ifneq ($(PTX_NVCC),)
emu-ptx: $(PTX_TESTS)
check-ptx: emu-ptx
	@tests/emu/ptx/check $(PTX_TESTS)

check-ptx-bugs: emu-ptx
	@NVCC_KERNEL="$(PTX_COMPILE)" LINK_TEST="$(EMU_CXX) $(LINK)" OUT=$(PTX_OUT) TESTS=$(BUILD)/tests/cuda \
		REST="$(CUDA_HOST) $(EMU_CORE) $(PTX_CORE) $(LIBRARY) $(LIBS)" tests/emu/ptx/planted "$(ONE)"
else
emu-ptx check-ptx check-ptx-bugs:
	@echo "skipped: $@, no nvcc"
	@echo "$(patsubst check-%,%,$@): 0 passed, 0 failed"
endif

-include $(PTX_KERNELS:.o=.d) $(PTX_CORE:.o=.d)
.PHONY: emu-ptx check-ptx check-ptx-bugs
