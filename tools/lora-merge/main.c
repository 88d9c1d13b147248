/* lora-merge: its options, one call, a status. */
#include "../../libcommon/base/memory.h"
#include "../../libcommon/config/options.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/merge/merge.h"

int main(int argc, char **argv)
{
	struct merge_options o = { 0 };
	struct text_list adapters = { 0 }, block = { 0 }, only = { 0 }, without = { 0 };
	const struct names parts = share_names();
	const struct option table[] = {
		{ "model", 'm', OPTION_STRING, &o.model, "MODEL",
		  "diffusers folder, single-file checkpoint or cached hub id",
		  .key = "pretrained_model_name_or_path", .file = FILE_READ_WHOLE, .completes = "*.safetensors" },
		{ "model-config", 0, OPTION_STRING, &o.model_config, "DIR",
		  "config files for a single file of other sizes", .file = FILE_READ, .completes = "/",
		  .needs = "model|base" },
		{ "lora", 0, OPTION_LIST, &adapters, "FILE[:W]",
		  "an adapter and its weight (1); may be given several times (into)", .key = "",
		  .file = FILE_READ_WEIGHTED, .completes = "*.safetensors" },
		{ "output", 'o', OPTION_STRING, &o.out, "OUT",
		  "the merged model: a folder for a folder, a file for a file; of other modes, the adapter", .key = "",
		  .file = FILE_WRITTEN },
		{ "report", 0, OPTION_STRING, &o.report, "FILE",
		  "JSON lines, one a module: norm of the update, relative error", .key = "", .file = FILE_WRITTEN },
		{ "allow-nonfinite", 0, OPTION_FLAG, &o.allow_nonfinite, NULL, "let NaN and infinity pass (into)",
		  .key = "" },
		{ "block", 0, OPTION_LIST, &block, "[N:]REGEX=W",
		  "the weight of modules by name, or of blocks by 12, 17, 20 or 26 numbers", .key = "" },
		{ "only", 0, OPTION_LIST, &only, "WHAT",
		  "these modules alone: unet, te, te1, te2, attn, ff, conv or a REGEX", .key = "",
		  .completes = parts.text },
		{ "without", 0, OPTION_LIST, &without, "WHAT", "all modules but these", .key = "",
		  .completes = parts.text },
		{ "rank", 0, OPTION_INT, &o.rank, "R", "rank of the result (add, resize, extract, convert)", .key = "",
		  .min = 1, .max = 65536 },
		{ "conv-rank", 0, OPTION_INT, &o.conv_rank, "R", "the same of convolutions (resize, extract)",
		  .key = "", .min = 1, .max = 65536 },
		{ "exact", 0, OPTION_FLAG, &o.exact, NULL, "the whole sum, whatever its rank: the default (add)",
		  .key = "" },
		{ "method", 0, OPTION_CHOICE, &o.method, "NAME",
		  "leave out a part of every update: ties, dare, dare_ties or prune (add)",
		  .choices = "ties|dare|dare_ties|prune", .key = "" },
		{ "density", 0, OPTION_NUMBER, &o.density, "SHARE", "of an update's elements that stay (--method)",
		  .fallback = "0.5", .min = 0, .above_min = true, .max = 1, .key = "", .needs = "method" },
		{ "seed", 0, OPTION_STRING, &o.seed, "N", "of what dare draws (--method)", .fallback = "0", .key = "",
		  .needs = "method = \"dare\" or \"dare_ties\"" },
		{ "save-precision", 0, OPTION_CHOICE, &o.save_precision, "TYPE",
		  "of the output: float, fp16 or bf16; otherwise as the inputs are", .choices = "float|fp16|bf16",
		  .key = "" },
		{ "keep", 0, OPTION_NUMBER, &o.keep, "SHARE",
		  "the lowest rank that keeps this share of the update's squares (resize)", .key = "",
		  .above_min = true, .max = 1 },
		{ "dynamic-method", 0, OPTION_CHOICE, &o.dynamic_method, "NAME",
		  "the rank as sd-scripts' resize_lora.py chooses it (resize)",
		  .choices = "sv_ratio|sv_fro|sv_cumulative", .key = "" },
		{ "dynamic-param", 0, OPTION_NUMBER, &o.dynamic_param, "X", "its parameter (resize)", .key = "" },
		{ "base", 0, OPTION_STRING, &o.base, "MODEL", "where the tuned model began (extract)", .key = "",
		  .file = FILE_READ, .completes = "*.safetensors" },
		{ "tuned", 0, OPTION_STRING, &o.tuned, "MODEL", "the tuned model (extract)", .key = "",
		  .file = FILE_READ, .completes = "*.safetensors" },
		{ "bias", 0, OPTION_FLAG, &o.bias, NULL, "differences of biases too (extract)", .key = "" },
		{ "norm", 0, OPTION_FLAG, &o.norm, NULL, "differences of norms too (extract)", .key = "" },
		{ "ema", 0, OPTION_NUMBER, &o.ema, "DECAY", "an exponential moving average of the saves (average)",
		  .above_min = true, .max = 1, .key = "" },
		{ "sigma-rel", 0, OPTION_NUMBER, &o.width, "S",
		  "a power function's average of that relative width, up to 0.288 (average)", .above_min = true,
		  .max = 0.288, .key = "" },
		{ "to", 0, OPTION_CHOICE, &o.to, "READER", "whose names the result has (convert)",
		  .choices = "kohya|diffusers|peft|comfy", .key = "" },
		{ "keep-kind", 0, OPTION_FLAG, &o.keep_kind, NULL,
		  "a LoHa, LoKr or OFT stays one, where the readers take it (convert)", .key = "",
		  .needs = "to = \"kohya\" or \"comfy\"" },
		{ 0 },
	};
	const struct names modes = merge_mode_choices();
	char *purpose = xprintf("Bake LoRA adapters into a checkpoint, or into another adapter.  Modes: %s.",
				merge_mode_names().text);
	const struct tool tool = { "lora-merge", "MODE [options] [FILE[:W]...]", purpose, table, .takes_config = true,
				   .operands = FILE_READ_WEIGHTED, .completes = "*.safetensors", .modes = modes.text };
	struct error e = { 0 };
	int operands;

	claim_standard_streams();
	operands = options_parse(&tool, argc, argv);
	o.adapter = adapters.item;
	o.adapters = adapters.count;
	o.shares = (struct share_texts){ block.item, only.item, without.item, block.count, only.count, without.count };
	if (merge_run((const char *const *)argv, (size_t)operands, &tool, &o, &e))
		return report(options_explain(&e));
	return EXIT_DONE;
}
