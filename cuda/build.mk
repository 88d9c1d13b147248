# The CUDA backend: one shared object, opened at run time by --device cuda.  Needs the CUDA toolkit (nvcc, cuBLAS) to
# build, a card to run.
#
#   make cuda                    lib/lora-tools/liblora-cuda.so beside the programs' bin
#   make cuda CUDA_ARCHS=86      for one kind of card: faster to build
#
# Knobs: CUDA=/usr/local/cuda   NVCC=nvcc

CUDA       ?= /usr/local/cuda
NVCC       ?= $(firstword $(shell command -v nvcc) $(CUDA)/bin/nvcc)
CUDA_ARCHS ?= 80 86 89 90 120
# without the toolkit: declarations of what we call, enough for the stand-in of tests/emu
CUDA_INCLUDE := $(if $(wildcard $(CUDA)/include/cublas_v2.h),$(CUDA)/include,tests/emu/include)

CUDA_OUT    := $(BUILD)/lib/lora-tools
CUDA_OBJECT := $(CUDA_OUT)/liblora-cuda.so
KERNELS     := $(patsubst %.cu,$(BUILD)/%.o,$(wildcard cuda/*.cu))
CUDA_HOST   := $(patsubst %.c,$(BUILD)/%.o,$(wildcard cuda/*.c))

# Machine code for each kind of card, and the newest's PTX for those to come.
GENCODE     = $(foreach a,$(CUDA_ARCHS),-gencode arch=compute_$(a),code=sm_$(a)) \
              -gencode arch=compute_$(lastword $(CUDA_ARCHS)),code=compute_$(lastword $(CUDA_ARCHS))

$(BUILD)/cuda/%.o: cuda/%.cu
	@mkdir -p $(@D)
	$(call say,NVCC  $<)
	$(Q)$(NVCC) -O3 -std=c++17 $(GENCODE) -Xptxas -v -Xcompiler -fPIC -MMD -MP -MF $(@:.o=.d) -c -o $@ $< \
		2> $(@:.o=.ptxas) || { cat $(@:.o=.ptxas); false; }

$(CUDA_HOST): FLAGS := $(filter-out -fPIE,$(FLAGS)) -fPIC -isystem $(CUDA_INCLUDE)

# fail() and die() are the program's.
$(CUDA_OBJECT): $(KERNELS) $(CUDA_HOST)
	@mkdir -p $(@D)
	$(call say,LINK  $@)
	$(Q)$(CXX) -shared -Wl,-z,relro,-z,now -o $@ $^ -L$(CUDA)/lib64 -Wl,-rpath,$(CUDA)/lib64 \
		-lcublas -lcudart_static -lpthread -lrt -ldl

cuda: all $(CUDA_OBJECT)

# Registers, shared memory and spills of each kernel on each kind of card, as ptxas saw them.
cuda-figures: $(KERNELS)
	@tests/cuda/figures $(KERNELS:.o=.ptxas)

-include $(KERNELS:.o=.d) $(CUDA_HOST:.o=.d)
.PHONY: cuda cuda-figures

# ---- on a real card: tests/cuda/card.  The same test programs as on the stand-in, linked with NVIDIA's libraries. ----

CARD_TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/cuda/*.c))
CARD_KIT   := build/gpu-kit.tar.gz

$(CARD_TESTS:=.o): FLAGS += -isystem $(CUDA_INCLUDE)
$(CARD_TESTS): %: %.o $(KERNELS) $(CUDA_HOST) $(LIBRARY)
	$(call say,LINK  $@)
	$(Q)$(CXX) $(LINK) -o $@ $^ -L$(CUDA)/lib64 -Wl,-rpath,$(CUDA)/lib64 \
		-lcublas -lcudart_static -lpthread -lrt $(LIBS)

card-programs: cuda $(CARD_TESTS) $(BUILD)/tests/ops/ops $(BUILD)/tests/golden/golden $(BUILD)/tests/big/write

# Without a card nothing is built: that takes minutes, and a compiler that need not be there.
check-gpu bench-gpu: deps-test
	@! nvidia-smi -L > /dev/null 2>&1 || $(MAKE) --no-print-directory card-programs
	@BUILD=$(BUILD) BIG=$(call quoted,$(BIG)) tests/cuda/card $(@:-gpu=)

# All that tests/cuda/card needs, libraries too, for a machine with a card and nothing else:
#   tar xzf gpu-kit.tar.gz; cd gpu-kit; tests/cuda/card
gpu-kit: card-programs
	tests/cuda/kit $(BUILD) $(CARD_KIT)

-include $(CARD_TESTS:=.d)
.PHONY: card-programs check-gpu bench-gpu gpu-kit
