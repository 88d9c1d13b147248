# lora-*: six small programs from a folder of pictures to an SDXL LoRA adapter.
#
#   make            the six programs, in build/<configuration>/bin
#   make demo       the whole pipeline on the demo's pictures; ends with demo/before-after.png
#   make check      every test; ends with "N passed, N failed"
#   make golden GOLDEN=DIR    compare with a folder of PyTorch's reference values
#   make bench      figures, not tests       make big    full-size SDXL, one step       make clean-big
#   make install PREFIX=/usr/local DESTDIR=     make uninstall     make clean
#
# Knobs: CC=clang   SAN=address,undefined   CFLAGS=...   V=1 shows commands

CC      ?= gcc
SAN     ?=
PREFIX  ?= /usr/local
V       ?=

CONFIG  := $(notdir $(CC))$(if $(SAN),-$(subst $(comma),-,$(SAN)))
comma   := ,
BUILD   := build/$(CONFIG)
Q       := $(if $(V),,@)

TOOLS   := lora-prep lora-encode lora-train lora-sample lora-merge lora-inspect

# -ffp-contract=off: a product and a sum stay two roundings on every machine; kernels that want fused ones say so.
CFLAGS  ?= -O2 -g
FLAGS   := -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter -Wno-format-truncation -Werror \
           -fopenmp -ffp-contract=off -D_GNU_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE -MMD -MP
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -U_FORTIFY_SOURCE)
LDFLAGS ?=
LINK    := -fopenmp -pie -Wl,-z,relro,-z,now,--as-needed $(SANFLAGS)
LIBS    := -larchive -ljansson -lpng -ljpeg -lwebp -lwebpdemux -llcms2 -lm

SOURCES := $(wildcard libcommon/*/*.c)
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY := $(BUILD)/libcommon.a
BINARIES := $(TOOLS:%=$(BUILD)/bin/%)

all: $(BINARIES)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC    $<")
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(SANFLAGS) -c -o $@ $<

$(LIBRARY): $(OBJECTS)
	$(if $(V),,@echo "  AR    $@")
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/bin/%: $(BUILD)/tools/%/main.o $(LIBRARY)
	@mkdir -p $(@D)
	$(if $(V),,@echo "  LINK  $@")
	$(Q)$(CC) $(LINK) $(LDFLAGS) -o $@ $< $(LIBRARY) $(LIBS)

# Unit tests: one program per file, cmocka.
UNIT    := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*.c))
$(BUILD)/tests/unit/%: $(BUILD)/tests/unit/%.o $(LIBRARY)
	$(if $(V),,@echo "  LINK  $@")
	$(Q)$(CC) $(LINK) $(LDFLAGS) -o $@ $< $(LIBRARY) $(LIBS) -lcmocka

unit: $(UNIT)
	@for t in $(UNIT); do $$t || exit 1; done

clean:
	rm -rf build

-include $(OBJECTS:.o=.d) $(UNIT:=.d) $(TOOLS:%=$(BUILD)/tools/%/main.d)
.PHONY: all unit clean
.SECONDARY:
