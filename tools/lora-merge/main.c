/* lora-merge: its options, one call, a status. */
#include <string.h>
#include "../../libcommon/config/options.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/merge/merge.h"

static const char *const later[] = { "add", "resize", "extract", "convert" };

/* The mode is the first operand; `into` takes no others. */
static int check_mode(char **operand, int count, struct error *e)
{
	if (!count)
		return fail(e, EXIT_USAGE, "no mode; say lora-merge into -m MODEL --lora FILE -o OUT");
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (strcmp(operand[0], later[i]) == 0)
			return fail(e, EXIT_USAGE,
				    "lora-merge %s is not yet implemented; the mode that exists is 'into'", later[i]);
	if (strcmp(operand[0], "into"))
		return fail(e, EXIT_USAGE, "'%s' is no mode; say lora-merge into -m MODEL --lora FILE -o OUT",
			    operand[0]);
	if (count > 1)
		return fail(e, EXIT_USAGE, "'%s': into takes no operands; say --lora '%s'", operand[1], operand[1]);
	return 0;
}

static int check_options(const struct merge_options *o, struct error *e)
{
	if (!o->model)
		return fail(e, EXIT_USAGE,
			    "no model to merge into; say -m MODEL (a diffusers folder or a single file)");
	if (!o->adapters)
		return fail(e, EXIT_USAGE, "no adapter to merge; say --lora FILE[:WEIGHT]");
	if (!o->out)
		return fail(e, EXIT_USAGE, "nowhere to write; say -o OUT");
	return 0;
}

int main(int argc, char **argv)
{
	struct merge_options o = { 0 };
	struct text_list adapters = { 0 };
	const struct option table[] = {
		{ "model", 'm', OPTION_STRING, &o.model, "MODEL",
		  "diffusers folder, single-file checkpoint or cached hub id",
		  .key = "pretrained_model_name_or_path", .file = FILE_READ },
		{ "model-config", 0, OPTION_STRING, &o.model_config, "DIR",
		  "config files for a single file of other sizes", .file = FILE_READ },
		{ "lora", 0, OPTION_LIST, &adapters, "FILE[:W]",
		  "an adapter and its weight (1); may be given several times", .key = "", .file = FILE_READ_WEIGHTED },
		{ "output", 'o', OPTION_STRING, &o.out, "OUT",
		  "the merged model: a folder for a folder, a file for a file", .key = "", .file = FILE_WRITTEN },
		{ "report", 0, OPTION_STRING, &o.report, "FILE",
		  "JSON lines, one a layer: norm of the update, relative error of rounding", .key = "",
		  .file = FILE_WRITTEN },
		{ "allow-nonfinite", 0, OPTION_FLAG, &o.allow_nonfinite, NULL, "let NaN and infinity pass", .key = "" },
		{ "rank", 0, OPTION_LATER, NULL, "R", "rank of the result (add, resize, extract)", .key = "" },
		{ "exact", 0, OPTION_LATER, NULL, NULL, "sum by concatenation (add)", .key = "" },
		{ "keep", 0, OPTION_LATER, NULL, "SHARE", "share of the update to keep (resize)", .key = "" },
		{ "base", 0, OPTION_LATER, NULL, "MODEL", "where the tuned model began (extract)", .key = "" },
		{ "tuned", 0, OPTION_LATER, NULL, "MODEL", "the tuned model (extract)", .key = "" },
		{ "to", 0, OPTION_LATER, NULL, "DIALECT", "kohya, diffusers, peft or comfy (convert)", .key = "" },
		{ 0 },
	};
	const struct tool tool = { "lora-merge", "into -m MODEL --lora FILE[:W]... -o OUT",
				   "Bake LoRA adapters into a checkpoint.", table, .takes_config = true };
	struct error e = { 0 };
	int operands;

	claim_standard_streams();
	operands = options_parse(&tool, argc, argv);
	o.adapter = adapters.item;
	o.adapters = adapters.count;
	if (check_mode(argv, operands, &e) || check_options(&o, &e) || merge_into(&o, &e))
		return report(options_explain(&e));
	return EXIT_DONE;
}
