/* lora-encode: its options, one call, a status. */
#include "../../libcommon/config/options.h"
#include "../../libcommon/data/encode.h"
#include "../../libcommon/io/publish.h"

int main(int argc, char **argv)
{
	struct encode_settings s = { 0 };
	const struct option table[] = {
		{ "model", 'm', OPTION_STRING, &s.model, "MODEL",
		  "diffusers folder, single-file checkpoint or cached hub id",
		  .key = "pretrained_model_name_or_path", .file = FILE_READ, .completes = "*.safetensors" },
		{ "model-config", 0, OPTION_STRING, &s.model_config, "DIR",
		  "config files for a single file of other sizes",
		  .file = FILE_READ, .completes = "/" },
		{ "vae", 0, OPTION_STRING, &s.vae, "PATH", "another VAE (folder or file)", .file = FILE_READ,
		  .completes = "*.safetensors" },
		{ "no-text", 0, OPTION_FLAG, &s.no_text, NULL,
		  "leave out text outputs: the text encoders will be trained", .key = "" },
		{ "reuse", 0, OPTION_STRING, &s.reuse, "OLD.tar", "take over every sample whose inputs did not change",
		  .key = "", .file = FILE_READ, .completes = "*.tar|*.list" },
		{ "continue", 0, OPTION_FLAG, &s.goes_on, NULL,
		  "take over from the output as it is, and from interrupted runs", .key = "" },
		{ "shard", 0, OPTION_STRING, &s.shard, "I/N",
		  "only every N-th sample, from I (0..N-1); auto: as the job says", .key = "" },
		{ "output", 'o', OPTION_STRING, &s.output, "FILE", "where the latent tar goes; of parts, a folder",
		  .fallback = "-",
		  .key = "", .file = FILE_WRITTEN },
		{ "device", 0, OPTION_STRING, &s.device, "cpu", "where to compute", .fallback = "cpu",
		  .completes = "cpu|cuda" },
		{ "caption-variants", 0, OPTION_INT, &s.caption_variants, "K",
		  "encode K of each caption that training varies",
		  .fallback = "8", .min = 1, .max = 1024 },
		{ "inpaint-masks", 0, OPTION_INT, &s.holes, "K",
		  "an inpainting model: holes that are drawn for each picture",
		  .fallback = "4", .min = 1, .max = 1000, .advanced = true },
		{ "batch", 0, OPTION_INT, &s.batch, "N", "pictures of one size that are encoded together",
		  .fallback = "1", .min = 1, .max = 256, .key = "" },
		{ "expect", 0, OPTION_INT, &s.expected, "N", "pictures that will come, for the bar", .fallback = "0",
		  .max = 1e9, .key = "", .advanced = true },
		{ "precision", 0, OPTION_CHOICE, &s.precision, "TYPE",
		  "of stored numbers and of weights: fp32, bf16 or fp16",
		  .fallback = "fp32", .choices = "fp32|bf16|fp16", .key = "" },
		{ "max-token-length", 0, OPTION_INT, &s.max_token_length, "N", "tokens of a caption that are read",
		  .fallback = "75", .choices = "75|150|225" },
		{ "clip-skip", 0, OPTION_INT, &s.clip_skip, "N",
		  "read the text encoder N layers before the end, as Stable Diffusion 1.5 may be", .fallback = "0",
		  .max = 1000, .advanced = true },
		CAPTION_OPTION_ROWS(&s.captions),
		{ "seed", 0, OPTION_STRING, &s.seed, "N", "of the variants", .fallback = "42", .advanced = true },
		{ 0 },
	};
	const struct tool tool = { "lora-encode", "-m MODEL [options] [IMAGES.tar...] > latents.tar",
				   "Encode prepared pictures and captions with a model's VAE and text encoders.", table,
				   .takes_config = true, .operands = FILE_READ, .completes = "*.tar" };
	struct error e = { 0 };
	int operands;

	claim_standard_streams();
	operands = options_parse(&tool, argc, argv);
	return encode_run(&s, (const char *const *)argv, operands, &e) < 0 ? report(options_explain(&e)) : EXIT_DONE;
}
