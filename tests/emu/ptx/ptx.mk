# The programs of tests/cuda with nvcc's own objects for the kernels, whose PTX is interpreted.  Needs nvcc, no card.
#
#   make emu-ptx                 build/gcc/emu-ptx/tests/*: the lane "ptx" of tests/cuda/check

PTX_ARCH    := 80
PTX_OUT     := $(BUILD)/emu-ptx
PTX_KERNELS := $(patsubst %.cu,$(PTX_OUT)/%.o,$(wildcard cuda/*.cu))
PTX_CORE    := $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard tests/emu/ptx/*.cpp))
PTX_TESTS   := $(patsubst tests/cuda/%.c,$(PTX_OUT)/tests/%,$(filter-out tests/cuda/bench_%,$(wildcard tests/cuda/*.c)))

$(BUILD)/tests/emu/ptx/%.o: EMU_PLAIN += -O3 -ffp-contract=off

# PTX alone, as text: nothing for a real card.
PTX_COMPILE = $(NVCC) -O3 -std=c++17 -gencode arch=compute_$(PTX_ARCH),code=compute_$(PTX_ARCH) --no-compress \
              -Xcompiler -fPIC -DCUDA_BUILT_FOR='"the stand-in of tests/emu"'

$(PTX_OUT)/cuda/%.o: cuda/%.cu
	@mkdir -p $(@D)
	$(call say,PTX   $<)
	$(Q)$(PTX_COMPILE) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

$(PTX_TESTS): $(PTX_OUT)/tests/%: $(BUILD)/tests/cuda/%.o $(PTX_KERNELS) $(CUDA_HOST) $(EMU_CORE) $(PTX_CORE) \
	$(EMU_LIBRARY)
	@mkdir -p $(@D)
	$(call say,LINK  $@)
	$(Q)$(EMU_CXX) -pie -o $@ $^ -lm -lpthread

ifneq ($(NVCC),)
emu-ptx: $(PTX_TESTS)
else
emu-ptx:
	@echo "skipped: emu-ptx, no nvcc"
endif

# As `planted` of emu.mk.
planted-ptx:
	@$(PTX_COMPILE) -c -o $(OUT)/unit.o $(OUT)/$(UNIT)
	@$(EMU_CXX) -pie -o $(OUT)/program $(OUT)/unit.o $(BUILD)/tests/cuda/$(PROGRAM).o \
		$(filter-out $(PTX_OUT)/$(UNIT:.cu=.o),$(PTX_KERNELS)) $(CUDA_HOST) $(EMU_CORE) \
		$(PTX_CORE) $(EMU_LIBRARY) -lm -lpthread

-include $(PTX_KERNELS:.o=.d) $(PTX_CORE:.o=.d)
.PHONY: emu-ptx planted-ptx
