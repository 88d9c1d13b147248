# The stand-in for a card, tests only: the kernels by g++ or clang++, the host side as it is, and tests/emu in place of
# NVIDIA's libraries.
#
#   make emu           build/gcc/cuda/liblora-cuda-emu.so, for LORA_CUDA=, and the programs of tests/cuda against it
#   make check-cuda    these programs under every sanitizer, and planted bugs, which must be found (tests/cuda/check)

# CC's sister: the word that names a compiler, whatever stands before it and behind it.
EMU_NAME   := $(firstword $(foreach w,$(CC),$(if $(findstring clang,$(notdir $w))$(findstring gcc,$(notdir $w)),$w)))
EMU_SISTER := $(subst gcc,g++,$(subst clang,clang++,$(notdir $(EMU_NAME))))
EMU_CXX    := $(if $(EMU_NAME),$(patsubst $(EMU_NAME),$(patsubst ./%,%,$(dir $(EMU_NAME)))$(EMU_SISTER),$(CC)),g++)
EMU_CFLAGS := -std=c++17 -Wall $(WERROR) -O2 -g1 -mavx2 -mfma -mf16c -fPIC -MMD -MP -Itests/emu \
              $(CUDA_INCLUDE) -DCUDA_BUILT_FOR='"the stand-in of tests/emu"'
EMU_UBSAN  := $(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined)
EMU_SAN    := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer $(EMU_UBSAN))
# A race detector is told of fibers by hand, so it must not look at what is between them.  It sees copies only where
# they are calls.
EMU_PLAIN  := $(if $(findstring thread,$(SAN)),-DEMU_TSAN,$(EMU_SAN))
EMU_SEEN   := $(EMU_SAN) $(if $(findstring thread,$(SAN)),-fno-builtin-memcpy -fno-builtin-memset)

EMU_OUT     := $(BUILD)/emu
EMU_KERNELS := $(patsubst %.cu,$(EMU_OUT)/%.o,$(wildcard cuda/*.cu))
EMU_CORE    := $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard tests/emu/*.cpp))
EMU_TESTS   := $(patsubst tests/cuda/%.c,$(EMU_OUT)/tests/%,$(wildcard tests/cuda/*.c))
EMU_SELF    := $(patsubst tests/emu/selftest/%.c,$(EMU_OUT)/tests/%,$(wildcard tests/emu/selftest/*.c))
EMU_OBJECT  := $(BUILD)/cuda/liblora-cuda-emu.so
# What the programs need of the library: no foreign code, which MSan could not see through.
EMU_LIBRARY := $(patsubst %.c,$(BUILD)/%.o,$(wildcard libcommon/base/*.c libcommon/cpu/*.c libcommon/io/dtype*.c) \
	libcommon/model/quantise.c libcommon/nn/dry.c libcommon/train/plan/plan.c)

$(EMU_OUT)/cuda/%.o: cuda/%.cu
	@mkdir -p $(@D)
	$(call say,EMU   $<)
	$(Q)$(EMU_CXX) -x c++ $(EMU_CFLAGS) -Wno-unknown-pragmas $(EMU_SEEN) -c -o $@ $<

$(BUILD)/tests/emu/emu_copy.o: EMU_PLAIN := $(EMU_SEEN)
$(BUILD)/tests/emu/%.o: tests/emu/%.cpp
	@mkdir -p $(@D)
	$(call say,CXX   $<)
	$(Q)$(EMU_CXX) $(EMU_CFLAGS) -ffp-contract=fast $(EMU_PLAIN) -c -o $@ $<

$(EMU_KERNELS) $(EMU_CORE) $(EMU_SELF:$(EMU_OUT)/tests/%=$(BUILD)/tests/emu/selftest/%.o): $(BUILD)/toolkit.words

# fail(), die() and library_open() are the program's.
$(EMU_OBJECT): $(EMU_KERNELS) $(CUDA_HOST) $(EMU_CORE)
	@mkdir -p $(@D)
	$(call say,LINK  $@)
	$(Q)$(EMU_CXX) $(EMU_SAN) -shared -o $@ $^

$(EMU_TESTS): $(EMU_OUT)/tests/%: $(BUILD)/tests/cuda/%.o $(EMU_KERNELS) $(CUDA_HOST) $(EMU_CORE) $(EMU_LIBRARY)
	@mkdir -p $(@D)
	$(call say,LINK  $@)
	$(Q)$(EMU_CXX) -pie $(EMU_SAN) -o $@ $^ -lm -lpthread

$(EMU_SELF:$(EMU_OUT)/tests/%=$(BUILD)/tests/emu/selftest/%.o): FLAGS += $(CUDA_INCLUDE)
$(EMU_SELF): $(EMU_OUT)/tests/%: $(BUILD)/tests/emu/selftest/%.o $(EMU_KERNELS) $(CUDA_HOST) $(EMU_CORE) $(EMU_LIBRARY)
	@mkdir -p $(@D)
	$(call say,LINK  $@)
	$(Q)$(EMU_CXX) -pie $(EMU_SAN) -o $@ $^ -lm -lpthread

emu-programs: $(EMU_TESTS) $(EMU_SELF)

# ---- one program with an edited copy of one file in it: planted bugs ----
# OUT=folder with the copy  UNIT=cuda/name  PROGRAM=name

PLANT_OBJECTS = $(if $(filter %.cu,$(UNIT)),$(EMU_OUT)/$(UNIT:.cu=.o),$(BUILD)/$(UNIT:.c=.o))
PLANT_PROGRAM = $(firstword $(wildcard $(BUILD)/tests/cuda/$(PROGRAM).o $(BUILD)/tests/emu/selftest/$(PROGRAM).o))
PLANT_KERNEL  = $(EMU_CXX) -x c++ $(EMU_CFLAGS) -O1 -w $(EMU_SEEN)
PLANT_HOST    = $(CC) $(CFLAGS) $(filter-out -fPIE,$(FLAGS)) -fPIC -w $(CUDA_INCLUDE)

# A copy of the whole folder, so that an edited header is found beside the file that includes it.
planted:
	@$(if $(filter %.cu,$(UNIT)),$(PLANT_KERNEL),$(PLANT_HOST)) -c -o $(OUT)/unit.o $(OUT)/$(UNIT)
	@$(EMU_CXX) -pie $(EMU_SAN) -o $(OUT)/program $(OUT)/unit.o $(PLANT_PROGRAM) \
		$(filter-out $(PLANT_OBJECTS),$(EMU_KERNELS) $(CUDA_HOST)) $(EMU_CORE) $(EMU_LIBRARY) -lm -lpthread

# Its lanes have folders of their own: a BUILD= of this call must not reach the builds in it.
check-cuda: deps-test
	@MAKEFLAGS= tests/cuda/check

emu: $(EMU_OBJECT) emu-programs

include tests/emu/ptx/ptx.mk
-include $(EMU_KERNELS:.o=.d) $(EMU_CORE:.o=.d) $(EMU_SELF:$(EMU_OUT)/tests/%=$(BUILD)/tests/emu/selftest/%.d)
.PHONY: emu emu-programs planted check-cuda
