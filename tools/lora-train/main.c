/* lora-train: its options, one call, a status. */
#include "../../libcommon/io/publish.h"
#include "../../libcommon/train/run.h"

int main(int argc, char **argv)
{
	struct train_settings settings = { 0 };
	struct tool tool = { "lora-train", "[--config FILE]... [options] [LATENTS.tar...]",
			     "Train a LoRA adapter on encoded pictures.",
			     train_options(&settings), .takes_config = true, .operands = FILE_READ,
			     .completes = "*.tar|*.list" };
	struct error e = { 0 };
	int operands, code;

	claim_standard_streams();
	operands = options_parse(&tool, argc, argv);
	code = train_run(&settings, &tool, (const char *const *)argv, operands, &e);
	metadata_settings_free(&settings.metadata);
	return code == EXIT_DONE || code == EXIT_SAVED ? code : report(options_explain(&e));
}
