# lora-*: six small programs from a folder of pictures to an SDXL LoRA adapter.
#
#   make            the six programs, in build/<configuration>/bin
#   make demo       the whole pipeline on the demo's pictures; ends with demo/before-after.png
#   make check      every test; ends with "N passed, N failed"
#   make golden GOLDEN=DIR...    compare with folders of PyTorch's reference values
#   make check-scale  several ranks of MPI, of Slurm, of cards by NCCL (stand-ins) give the bytes of one
#   make world      is the subject learnt and the base world kept, by more pictures than the demo's
#   make bench      figures beside PyTorch, diffusers, PEFT, Pillow; BENCH_ONLY='step demo': parts (tests/bench/run)
#   make big        full-size SDXL, one step    make clean-big
#   make fuzz T=60  each reader of foreign bytes under libFuzzer, T seconds
#   make campaign   an hour: `make world`, then faults: kills, errors of the disk, cuts, flipped bits (tests/campaign)
#   make allocations  no memory, at each allocation of each program (an hour)
#   make cuda       the CUDA backend, where the CUDA toolkit is (cuda/build.mk)
#   make mpi        the engine of several ranks, where MPI is (MPICC=mpicc); plain make does that too
#   make install PREFIX=/usr/local DESTDIR=     make uninstall     make clean
#   make dist deb wheel binary   packages (packaging/README.md): the source, Debian's, Python's, programs for any Linux
#   make wheel-cuda              the CUDA backend for pip
#   make check-ship              makes and tries them
#   make deps       installs what building lacks      make deps-test   and what the tests need (deps)
#
# Knobs: CC=clang-14   SAN=address,undefined   CFLAGS=...   V=1 shows commands   BIG=folder of `make big`
#   BUILD=build/$(CC)-$(SAN)   where everything is built: any folder, here or elsewhere; programs are in its bin.
#                              It belongs to one CC and SAN; `make clean` takes away build/ alone

CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))
SAN     ?=
PREFIX  ?= /usr/local
V       ?=
GOLDEN  ?= tests/golden/tiny-a tests/golden/tiny-b tests/golden/clip-bpe tests/golden/single-file \
           tests/golden/families/sd15 tests/golden/families/sdxl-flow tests/golden/families/sdxl-inpaint \
           tests/golden/adapters
BIG     ?= /var/tmp/lora-big
T       ?= 60
CAMPAIGN ?= 1

# As one word for the shell, whatever is in it.
quoted   = '$(subst ','\'',$(1))'
comma   := ,
empty   :=
CONFIG  := $(subst $(empty) ,-,$(notdir $(CC)))$(if $(SAN),-$(subst $(comma),-,$(SAN)))
BUILD   := build/$(CONFIG)
ifneq ($(shell case $(call quoted,$(BUILD)) in ('' | *[!A-Za-z0-9._/+,=@-]*) echo refused ;; esac),)
$(error BUILD=$(BUILD): make cannot build in a folder with such a name; letters, digits and . _ / + , = @ - are good)
endif
Q       := $(if $(V),,@)
say      = $(if $(V),,@echo "  $(1)")

TOOLS   := lora-prep lora-encode lora-train lora-sample lora-merge lora-inspect

# Of every compiler: nothing here asks which it is.  -ffp-contract=off: a product and a sum stay two roundings on every
# machine; kernels that want fused ones say so.
CFLAGS  ?= -O2 -g
# A finding ends the program.  Code that need not go on after one is compiled in three quarters of the time.
NO_WAY_BACK := -fno-sanitize-recover=all
# tests/check says -Werror here: what a compiler of tomorrow warns of must not keep anybody from building.
WERROR  ?=
FLAGS   := -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter \
           -Wno-missing-field-initializers -pthread -ffp-contract=off -D_GNU_SOURCE -fstack-protector-strong -fPIE \
           -MMD -MP \
           $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer $(NO_WAY_BACK),-D_FORTIFY_SOURCE=2)
# What the CUDA backend calls, a shared object of its own; -u: where nothing else of a program does.
GIVEN   := fail die warning library_open
LINK    := -pthread -pie -Wl,-z,relro,-z,now,--as-needed $(foreach f,$(GIVEN),-Wl,-u,$f,--export-dynamic-symbol=$f) \
           $(if $(SAN),-fsanitize=$(SAN)) $(LDFLAGS)
LIBS    := -ljansson -lpcre2-8 -lpng -ljpeg -lwebp -lwebpdemux -llcms2 -lz -lm -ldl

LIBRARY := $(BUILD)/libcommon.a
OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out libcommon/ranks/mpi.c, \
                                           $(wildcard libcommon/*.c libcommon/*/*.c libcommon/*/*/*.c)))
BINARIES := $(TOOLS:%=$(BUILD)/bin/%)
UNIT    := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*.c))
GOLDEN_OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/golden/*.c))
HELPERS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/ops/*.c tests/bench/*.c tests/demo/*.c tests/big/*.c \
                                               tests/faults/make_*.c))
# The programs themselves, with a clock at each operation of the backend.
CLASSES := $(addprefix $(BUILD)/tests/bench/classes/,lora-train lora-encode unet)
# lora-train that looks at a card, and the libraries that it finds in place of NVML.
NVML    := $(BUILD)/tests/nvml
NVML_PROGRAMS := $(NVML)/look $(NVML)/lora-train
NVML_FAKES := $(foreach k,whole old bare torn,$(NVML)/$k/libnvidia-ml.so.1)
FUZZ    := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
REPLAY  := $(FUZZ:%=$(BUILD)/tests/fuzz/%)
PROBE   := $(BUILD)/tests/corpora/probe
MAN     := $(wildcard man/*.[1-8])

all: $(BINARIES)

# The engine of several ranks is a shared object of its own, opened where a launcher started them.  It is built with
# the rest where MPI's compiler is.
MPICC ?= mpicc
MPI_OBJECT := $(BUILD)/lib/lora-tools/liblora-mpi.so
CAN_MPI := $(if $(SAN),,$(and $(filter gcc% clang%,$(notdir $(CC))),$(wildcard libcommon/ranks/mpi.c), \
             $(shell command -v $(MPICC))))
all: $(if $(CAN_MPI),$(MPI_OBJECT))
mpi: $(BINARIES) $(MPI_OBJECT)
$(MPI_OBJECT): libcommon/ranks/mpi.c libcommon/ranks/mover.h $(BUILD)/compiler.words
	@mkdir -p $(@D)
	$(call say,MPICC $<)
	$(Q)OMPI_CC=$(call quoted,$(CC)) MPICH_CC=$(call quoted,$(CC)) $(MPICC) $(CFLAGS) \
		$(filter-out -MMD -MP -fPIE,$(FLAGS)) $(WERROR) -fPIC -shared -Wl,-z,relro,-z,now -o $@ $<

# Said before the first file is compiled, with what to do about it.
HEADERS := $(BUILD)/headers
$(HEADERS): tests/tools/deps
	@mkdir -p $(@D)
	@CC=$(call quoted,$(CC)) tests/tools/deps headers && touch $@

# What was said to the compiler and to the linker, and what the archive holds: in a file each, written when it changes,
# so that what was made of other words is made again.  Objects that -Werror alone tells apart are the same; their
# warnings are kept beside them.
same     = $(if $(subst x$(1),,x$(2))$(subst x$(2),,x$(1)),,same)
define remember
words-$(1) := $(strip $(2))
$(BUILD)/$(1).words: $$(if $$(call same,$$(strip $$(file < $(BUILD)/$(1).words)),$$(words-$(1))),,FORCE)
	@mkdir -p $$(@D)
	@printf '%s\n' $$(call quoted,$$(words-$(1))) > $$@
endef
FORCE:

compile  = $(CC) $(CFLAGS) $(FLAGS) $(WERROR) -c -o $@ $< 2> $@.warnings; status=$$?; cat $@.warnings >&2; exit $$status
link     = $(CC) $(LINK) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

$(BUILD)/%.o: %.c $(BUILD)/compiler.words | $(HEADERS)
	@mkdir -p $(@D)
	$(call say,CC    $<)
	$(Q)$(compile)

# Every program works in a stack of 128 KiB (ulimit -s 128).
$(OBJECTS) $(TOOLS:%=$(BUILD)/tools/%/main.o): FLAGS += $(if $(SAN),,-Wframe-larger-than=16384)

# Unrolled tiles with every check written out take a compiler minutes at -O2 (gcc, the portable ones: five).  clang
# makes calls of ASan's checks; UBSan's of AVX-512 are left out, since it looks at the same text with AVX2's vectors.
CHECKED_KERNELS := $(if $(findstring address,$(SAN)),-O1 \
                   $(if $(findstring clang,$(CC)),-mllvm -asan-instrumentation-with-call-threshold=0))
$(BUILD)/libcommon/cpu/kernels_%.o: FLAGS += $(CHECKED_KERNELS)
$(BUILD)/libcommon/cpu/kernels_avx512.o: FLAGS += $(if $(findstring undefined,$(SAN)),-fno-sanitize=undefined)

$(BUILD)/libcommon/model/tokenizer_clip.o: libcommon/model/clip_merges.bin

$(LIBRARY): $(OBJECTS) $(BUILD)/members.words
	$(call say,AR    $@)
	$(Q)rm -f $@ && ar rcs $@ $(OBJECTS)

# Programs, and what each is made of beside the library.
$(BINARIES): $(BUILD)/bin/%: $(BUILD)/tools/%/main.o
$(UNIT) $(HELPERS) $(REPLAY) $(PROBE): %: %.o
$(UNIT): LIBS += -lcmocka
$(BUILD)/tests/unit/tar: LIBS += -larchive
$(CLASSES): LINK += -Wl,--wrap=backend_find,--wrap=run_step,--wrap=workspace_run
$(CLASSES): $(BUILD)/tests/bench/classes/backend.o
$(filter %/lora-train %/lora-encode,$(CLASSES)): $(BUILD)/tests/bench/classes/%: $(BUILD)/tools/%/main.o
$(BUILD)/tests/bench/classes/unet: $(BUILD)/tests/bench/unet.o
$(NVML_PROGRAMS): $(BUILD)/cuda/nvml.o
$(NVML)/look: $(NVML)/look.o
$(NVML)/lora-train: $(BUILD)/tools/lora-train/main.o $(NVML)/backend.o
$(NVML)/lora-train: LINK += -Wl,--wrap=backend_find,--wrap=plan_device
# oneDNN stands beside ours in the benchmark where this compiler finds it (Debian: libdnnl-dev); nothing else links it.
ONEDNN := $(filter /%,$(shell $(CC) -print-file-name=libdnnl.so))
$(BUILD)/tests/bench/gemm.o: FLAGS += $(if $(ONEDNN),-DWITH_ONEDNN)
$(BUILD)/tests/bench/gemm: LIBS += $(if $(ONEDNN),-ldnnl)
$(REPLAY): $(BUILD)/tests/fuzz/driver/replay.o
$(BUILD)/tests/golden/golden: $(GOLDEN_OBJECTS)
# A target under libFuzzer, with the libraries of tests/fuzz/driver/libraries where they are: the system's are not
# instrumented.
FUZZERS  := $(FUZZ:%=$(BUILD)/fuzz/%)
OWN_LCMS  = $(wildcard $(BUILD)/libraries/liblcms2.a)
$(FUZZERS): $(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o
$(FUZZERS): LINK += -fsanitize=fuzzer -Wl,--export-dynamic-symbol='__sanitizer_*'
$(FUZZERS): LIBS := $(if $(OWN_LCMS),$(LIBS:-llcms2=$(OWN_LCMS)),$(LIBS))

$(BINARIES) $(UNIT) $(HELPERS) $(CLASSES) $(NVML_PROGRAMS) $(REPLAY) $(PROBE) $(FUZZERS) $(BUILD)/tests/golden/golden: \
	$(LIBRARY) $(BUILD)/linker.words
	@mkdir -p $(@D)
	$(call say,LINK  $@)
	$(Q)$(link)

$(eval $(call remember,compiler,$(CC) $(CFLAGS) $(FLAGS)))
$(eval $(call remember,linker,$(CC) $(LINK) $(LIBS)))
$(eval $(call remember,members,$(OBJECTS) $(GOLDEN_OBJECTS)))

$(BUILD)/%.so: %.c
	@mkdir -p $(@D)
	$(call say,LINK  $@)
	$(Q)$(CC) -O1 -g -Wall -Wextra -Wno-nonnull -D_GNU_SOURCE -shared -fPIC -o $@ $< -ldl

$(NVML)/%/libnvidia-ml.so.1: tests/nvml/fake.c
	@mkdir -p $(@D)
	$(call say,LINK  $@)
	$(Q)$(CC) -O1 -g -Wall -Wextra -Wno-unused-parameter -D_GNU_SOURCE -D$$(echo $* | tr a-z A-Z) -shared -fPIC \
		-o $@ $<

include cuda/build.mk
include tests/emu/emu.mk
include packaging/build.mk

# ---- what people type ----

deps deps-test deps-ship:
	@CC=$(call quoted,$(CC)) tests/tools/deps $(if $(filter deps,$@),build,$(@:deps-%=%))

demo: deps
	@$(MAKE) --no-print-directory -j2 all $(BUILD)/tests/demo/palette
	@BIN=$(BUILD)/bin PALETTE=$(BUILD)/tests/demo/palette pipelines/demo

check: deps-test
	@BUILD=$(BUILD) tests/check $(call quoted,$(CC))

golden: $(BUILD)/tests/golden/golden
	@$< $(GOLDEN)

bench: all $(HELPERS) $(CLASSES) $(BUILD)/tests/golden/golden
	@BIN=$(BUILD)/bin BENCH=$(BUILD)/tests BIG=$(call quoted,$(BIG)) BENCH_ONLY=$(call quoted,$(BENCH_ONLY)) \
		tests/bench/run

# What stands between the ranks and MPI, and in place of NCCL, which moves what lies on the stand-in for a card.
SCALE := $(BUILD)/tests/scale/mover.so $(BUILD)/tests/scale/nccl.so $(EMU_OBJECT)

check-scale: all $(SCALE)
	@BIN=$(BUILD)/bin bats --timing $(if $(TAGS),--filter-tags $(call quoted,$(TAGS))) tests/scale

# The same with MPICH, which pip installs in $(BUILD).
check-scale-mpich: all $(SCALE)
	@BIN=$(BUILD)/bin CC=$(call quoted,$(CC)) tests/scale/mpich

world: all $(BUILD)/tests/demo/palette
	@BIN=$(BUILD)/bin PALETTE=$(BUILD)/tests/demo/palette tests/world/run

big: all $(HELPERS)
	@BIN=$(BUILD)/bin WRITER=$(BUILD)/tests/big/write BIG=$(call quoted,$(BIG)) tests/big/run

clean-big:
	rm -rf $(call quoted,$(BIG))

# Folders of the system are the caller's words: each is quoted, so that a blank in PREFIX names no other folder.
BIN_TO   = $(call quoted,$(DESTDIR)$(PREFIX)/bin)
SHARE_TO = $(call quoted,$(DESTDIR)$(PREFIX)/share/lora-tools)
LIB_TO   = $(call quoted,$(DESTDIR)$(PREFIX)/lib/lora-tools)
MAN_TO   = $(call quoted,$(DESTDIR)$(PREFIX)/share/man/man)
BASH_TO  = $(call quoted,$(DESTDIR)$(PREFIX)/share/bash-completion/completions)
ZSH_TO   = $(call quoted,$(DESTDIR)$(PREFIX)/share/zsh/site-functions)
FISH_TO  = $(call quoted,$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d)

# Each program prints its own, so that no option is missing and none is stale.
COMPLETIONS := $(foreach t,$(TOOLS),$(BUILD)/completions/bash/$(t) $(BUILD)/completions/zsh/_$(t) \
                                    $(BUILD)/completions/fish/$(t).fish)
complete = @mkdir -p $(@D) && $< --help=completion-$(1) > $@.new && mv $@.new $@
$(BUILD)/completions/bash/%: $(BUILD)/bin/%
	$(call complete,bash)
$(BUILD)/completions/zsh/_%: $(BUILD)/bin/%
	$(call complete,zsh)
$(BUILD)/completions/fish/%.fish: $(BUILD)/bin/%
	$(call complete,fish)

# Of other programs, each a file to copy from.
RECIPES := $(wildcard pipelines/*/*)

install: all $(COMPLETIONS)
	install -d $(BIN_TO) $(SHARE_TO) $(BASH_TO) $(ZSH_TO) $(FISH_TO)
	install -m 755 $(BINARIES) pipelines/lora-launch $(BIN_TO)
	install -m 644 $(wildcard pipelines/*.toml) $(SHARE_TO)
	for r in $(RECIPES); do install -D -m 644 "$$r" $(SHARE_TO)/"$${r#pipelines/}" || exit 1; done
	install -m 644 $(filter $(BUILD)/completions/bash/%,$(COMPLETIONS)) $(BASH_TO)
	install -m 644 $(filter $(BUILD)/completions/zsh/%,$(COMPLETIONS)) $(ZSH_TO)
	install -m 644 $(filter $(BUILD)/completions/fish/%,$(COMPLETIONS)) $(FISH_TO)
	for o in $(CUDA_OBJECT) $(MPI_OBJECT); do \
		[ ! -f "$$o" ] || install -D -m 755 -t $(LIB_TO) "$$o" || exit 1; \
	done
	for m in $(MAN); do \
		s=$${m##*.}; install -d $(MAN_TO)"$$s" && install -m 644 "$$m" $(MAN_TO)"$$s" || exit 1; \
	done

uninstall:
	for t in $(TOOLS) lora-launch; do rm -f $(BIN_TO)/"$$t"; done
	for t in $(TOOLS); do rm -f $(BASH_TO)/"$$t" $(ZSH_TO)/_"$$t" $(FISH_TO)/"$$t".fish; done
	rm -rf $(SHARE_TO) $(LIB_TO)
	for m in $(MAN); do rm -f $(MAN_TO)"$${m##*.}/$${m##*/}"; done

# Nightly: every allocation of every program fails, by the stack it comes from.
allocations: all $(BUILD)/tests/faults/no_memory.so
	@BIN=$(BUILD)/bin tests/faults/allocations

replay-programs: $(REPLAY) $(PROBE)

fuzz-programs: $(FUZZERS)

# Other configurations have folders of their own: beside the usual one, or inside the one that BUILD= names.
FUZZED  := $(if $(findstring command,$(origin BUILD)),$(BUILD),build)/clang-14-fuzzer-no-link-address-undefined
# As tests/check builds them.  The linker is lld: a program of 20 MB takes it half as long.
FUZZERS_AS := BUILD=$(FUZZED) CC=clang-14 SAN=fuzzer-no-link,address,undefined LDFLAGS=-fuse-ld=lld-14

fuzz: deps-test
	@$(MAKE) --no-print-directory -j2 $(FUZZERS_AS) fuzz-programs
	@for t in $(FUZZ); do echo "== $$t"; tests/fuzz/driver/target $(FUZZED)/fuzz/$$t $(T) || exit 1; done

# An hour on two quiet cores; CAMPAIGN=0.1 makes it shorter, KINDS='kills cuts' takes a part.
campaign: deps-test all $(BUILD)/tests/faults/no_memory.so
	@tests/fuzz/driver/libraries $(FUZZED)/libraries
	@$(MAKE) --no-print-directory -j2 $(FUZZERS_AS) fuzz-programs
	@$(MAKE) --no-print-directory world
	@BIN=$(BUILD)/bin FUZZ='$(FUZZ)' FUZZED=$(FUZZED) CAMPAIGN=$(CAMPAIGN) KINDS='$(KINDS)' tests/campaign/run

unit-programs: $(UNIT) $(CLASSES) $(NVML_PROGRAMS) $(NVML_FAKES) $(BUILD)/tests/big/write \
	$(BUILD)/tests/faults/make_bombs $(BUILD)/tests/faults/no_memory.so

unit: $(UNIT)
	@for t in $(UNIT); do $$t || exit 1; done

clean:
	rm -rf build demo/out demo/before-after.png

-include $(OBJECTS:.o=.d) $(UNIT:=.d) $(HELPERS:=.d) $(BUILD)/tests/bench/classes/backend.d \
	$(NVML)/look.d $(NVML)/backend.d \
	$(GOLDEN_OBJECTS:.o=.d) $(REPLAY:=.d) $(PROBE).d $(TOOLS:%=$(BUILD)/tools/%/main.d)
.PHONY: all mpi allocations deps deps-test deps-ship demo check campaign fuzz fuzz-programs replay-programs \
	unit-programs golden bench check-scale check-scale-mpich world big clean-big install uninstall unit clean
