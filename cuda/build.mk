# The CUDA backend: one shared object, opened at run time by --device cuda.  Needs the CUDA toolkit (nvcc, cuBLAS) to
# build, a card to run.
#
#   make cuda                    lib/lora-tools/liblora-cuda.so beside the programs' bin
#   make cuda CUDA_ARCHS=86      for one kind of card: faster to build
#
# Knobs: CUDA=FOLDER of the toolkit (cuda/toolkit says where it is looked for)   NVCC=nvcc
#   CUDA_RPATH=FOLDER where the backend looks for cuBLAS first

TOOLKIT     := $(shell NVCC=$(NVCC) cuda/toolkit $(CUDA) 2> /dev/null)
of-toolkit   = $(patsubst $(1)=%,%,$(filter $(1)=%,$(TOOLKIT)))
NVCC        ?= $(call of-toolkit,nvcc)
CUBLAS      := $(call of-toolkit,cublas)
CUDA_RPATH  ?= $(filter-out /usr/lib%,$(CUBLAS:/$(notdir $(CUBLAS))=))
# Without the toolkit: declarations of what we call.  The stand-in of tests/emu is all that can be built with them.
CUDA_HEADERS := $(or $(call of-toolkit,include),tests/emu/include)
CUDA_INCLUDE := $(addprefix -isystem ,$(filter-out /usr/include,$(CUDA_HEADERS)))

# Machine code for each kind of card that this nvcc knows, all of it from the oldest's PTX: the kernels ask for nothing
# that came later, and nvcc reads them once for all kinds, not once for each.  The oldest's PTX for kinds between these,
# and the newest's for those to come.
CUDA_KINDS  := 80 86 89 90 120
CUDA_OLDEST := $(firstword $(CUDA_KINDS))
CUDA_KNOWN  := $(if $(NVCC),$(patsubst sm_%,%,$(shell $(NVCC) --list-gpu-code)))
CUDA_ARCHS  ?= $(filter $(CUDA_KNOWN),$(CUDA_KINDS))
CUDA_PTX     = $(sort $(CUDA_OLDEST) $(lastword $(CUDA_ARCHS)))
empty       :=
CUDA_CODE    = $(subst $(empty) ,$(comma),$(strip $(CUDA_ARCHS:%=sm_%) compute_$(CUDA_OLDEST)))
GENCODE      = -gencode 'arch=compute_$(CUDA_OLDEST),code=[$(CUDA_CODE)]' \
               $(foreach a,$(filter-out $(CUDA_OLDEST),$(CUDA_PTX)),-gencode arch=compute_$(a),code=compute_$(a)) \
               -DCUDA_BUILT_FOR='"$(CUDA_ARCHS:%=sm_%) $(CUDA_PTX:%=compute_%)"'

CUDA_OUT    := $(BUILD)/lib/lora-tools
CUDA_OBJECT := $(CUDA_OUT)/liblora-cuda.so
KERNELS     := $(patsubst %.cu,$(BUILD)/%.o,$(wildcard cuda/*.cu))
CUDA_HOST   := $(patsubst %.c,$(BUILD)/%.o,$(wildcard cuda/*.c))

# One word for another is another build: headers of another toolkit, other kinds of card.
$(eval $(call remember,toolkit,$(TOOLKIT) $(CUDA_INCLUDE)))
$(eval $(call remember,kinds,$(NVCC) $(NVCC_APPEND_FLAGS) $(GENCODE)))

# Fails, and says what is missing.
toolkit:
	@NVCC=$(NVCC) cuda/toolkit $(CUDA) > /dev/null

$(KERNELS): $(BUILD)/%.o: %.cu $(BUILD)/kinds.words | toolkit
	@mkdir -p $(@D)
	$(call say,NVCC  $<)
	$(Q)$(NVCC) -O3 -std=c++17 $(GENCODE) -Xptxas -v -Xcompiler -fPIC -MMD -MP -MF $(@:.o=.d) -c -o $@ $< \
		2> $(@:.o=.ptxas) || { cat $(@:.o=.ptxas); false; }

$(CUDA_HOST): $(BUILD)/toolkit.words
$(CUDA_HOST): FLAGS := $(filter-out -fPIE,$(FLAGS)) -fPIC $(CUDA_INCLUDE)

NVIDIA       = $(CUBLAS) $(call of-toolkit,cudart) \
               $(if $(CUDA_RPATH),-Wl$(comma)-rpath$(comma)$(call quoted,$(CUDA_RPATH)))
# fail(), die() and library_open() are the program's.
$(CUDA_OBJECT): $(KERNELS) $(CUDA_HOST) | toolkit
	@mkdir -p $(@D)
	$(call say,LINK  $@)
	$(Q)$(CXX) -shared -Wl,-z,relro,-z,now -o $@ $^ $(NVIDIA) -lpthread -lrt -ldl

cuda: toolkit all $(CUDA_OBJECT)

# Registers, shared memory and spills of each kernel on each kind of card, as ptxas saw them.
cuda-figures: $(KERNELS)
	@tests/cuda/figures $(KERNELS:.o=.ptxas)

-include $(KERNELS:.o=.d) $(CUDA_HOST:.o=.d)
.PHONY: cuda cuda-figures toolkit

# ---- on a real card: tests/cuda/card.  The same test programs as on the stand-in, linked with NVIDIA's libraries. ----

CARD_TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/cuda/*.c))
CARD_KIT   := build/gpu-kit.tar.xz

$(CARD_TESTS:=.o): FLAGS += $(CUDA_INCLUDE)
$(CARD_TESTS:=.o): $(BUILD)/toolkit.words
$(CARD_TESTS): %: %.o $(KERNELS) $(CUDA_HOST) $(LIBRARY) | toolkit
	$(call say,LINK  $@)
	$(Q)$(CXX) $(LINK) -o $@ $^ $(NVIDIA) -lpthread -lrt $(LIBS)

card-programs: cuda $(CARD_TESTS) $(BUILD)/tests/ops/ops $(BUILD)/tests/golden/golden $(BUILD)/tests/big/write

# Without a card nothing is built: that takes minutes, and a compiler that need not be there.
check-gpu bench-gpu: deps-test
	@! nvidia-smi -L > /dev/null 2>&1 || $(MAKE) --no-print-directory card-programs
	@BUILD=$(BUILD) BIG=$(call quoted,$(BIG)) tests/cuda/card $(@:-gpu=)

# All that tests/cuda/card needs beside the tree, libraries too, for a machine with a card and nothing else:
#   make gpu-kit CUDA_ARCHS=90; and there, in a copy of the tree:
#   tar xJf gpu-kit.tar.xz --strip-components=1; tests/cuda/card
gpu-kit: card-programs
	tests/cuda/kit $(BUILD) $(CARD_KIT)

# README's table of what tests/cuda/card measured; the lines are kept beside it.
#   make gpu-table FIGURES=card.jsonl
FIGURES ?=
gpu-table:
	@$(if $(FIGURES),cp $(call quoted,$(FIGURES)) tests/cuda/card.jsonl)
	@tests/cuda/card_table README.md $$(ls tests/cuda/card.jsonl 2> /dev/null)

-include $(CARD_TESTS:=.d)
.PHONY: card-programs check-gpu bench-gpu gpu-kit gpu-table
