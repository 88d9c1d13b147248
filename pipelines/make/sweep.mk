# sweep.mk - one data set, a run for each learning rate and rank, a sheet that shows all of them, a table.
#
#   make -f pipelines/make/sweep.mk -j2 sweep MODEL=sdxl-base PICTURES=photos RATES="1e-4 5e-5" RANKS="8 16"
#
# Pictures are encoded once.  A sweep that was killed goes on where it was: finished runs are kept, the others go on
# from their last state.  A second call does nothing; another rate or rank adds the runs that are missing.  -jN runs N
# at a time: on a card one, on a CPU as many as memory allows, each with its share of the threads.
#
#   MODEL     as for lora-train -m          PICTURES  a folder, as for lora-prep
#   CONFIG    a TOML file for all programs; empty: none
#   RATES     learning rates                RANKS     ranks
#   STEPS     of each run                   EVERY     steps between two states
#   PROMPT    what the sheet shows          OUT       where all of it goes
#   OPTIONS   more, for lora-train          PAINT     more, for lora-sample
#   BIN       where the programs are; empty: in PATH

SHELL       := /bin/bash -o pipefail
MODEL       ?= stabilityai/stable-diffusion-xl-base-1.0
PICTURES    ?= train
CONFIG      ?=
RATES       ?= 1e-4 5e-5
RANKS       ?= 16
STEPS       ?= 1500
EVERY       ?= 100
PROMPT      ?= a photo
OUT         ?= sweep
OPTIONS     ?=
PAINT       ?=
BIN         ?=

program      = $(if $(BIN),$(BIN)/)lora-$(1)
config      := $(if $(CONFIG),--config $(CONFIG))
latents     := $(OUT)/latents.tar
runs        := $(foreach rate,$(RATES),$(foreach rank,$(RANKS),$(OUT)/rate$(rate)-rank$(rank).safetensors))
rate_of      = $(patsubst rate%,%,$(firstword $(subst -rank, ,$(1))))
rank_of      = $(lastword $(subst -rank, ,$(1)))

sweep: $(OUT)/sheet.png $(OUT)/table.tsv

# Names with blanks are no prerequisites of make's: the newest picture or caption stands for all.
changed     := $(shell [ ! -e $(latents) ] || find $(PICTURES) -newer $(latents) -print -quit)
$(latents): $(if $(changed),FORCE)
	@mkdir -p $(OUT)
	$(call program,prep) $(config) $(PICTURES) | $(call program,encode) $(config) -m $(MODEL) --continue -o $@

$(OUT)/rate%.safetensors: $(latents)
	$(call program,train) $(config) -m $(MODEL) --network-dim $(call rank_of,$*) --learning-rate $(call rate_of,$*) \
		--max-train-steps $(STEPS) --save-state --save-every-n-steps $(EVERY) --save-last-n-states 1 \
		--resume auto --output-dir $(OUT)/rate$* --output-name run --log $(OUT)/rate$*.jsonl $(OPTIONS) $<
	cp $(OUT)/rate$*/run.safetensors $@.tmp && mv $@.tmp $@

$(OUT)/sheet.png: $(runs)
	$(call program,sample) $(config) -m $(MODEL) $(foreach run,$(runs),-l $(run)) --each --compare -p "$(PROMPT)" \
		$(PAINT) -o $(OUT)/sheet --grid $@

# Means over the last hundred steps.  The loss says little of pictures; the sheet does.
row := def mean(f): map(f) | add / length * 1e5 | round / 1e5; map(select(.event == "step")) | .[-100:] | \
       [$$run, .[-1].step, mean(.loss), mean(.grad_norm), mean(.seconds)] | @tsv
$(OUT)/table.tsv: $(runs)
	@{ printf 'run\tsteps\tloss\tgrad_norm\tseconds\n'; \
	for run in $(runs:.safetensors=); do \
		jq -rs --arg run "$$(basename $$run)" '$(row)' $$run.jsonl || exit; \
	done; } > $@.tmp && mv $@.tmp $@
	@column -t $@ 2> /dev/null || cat $@

FORCE:
.PHONY: sweep FORCE
.DELETE_ON_ERROR:
