/* lora-sample: its options, one call, a status. */
#include "../../libcommon/io/kind.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/sample/run.h"
#include "../../libcommon/sample/sampler.h"

int main(int argc, char **argv)
{
	const struct names samplers = sampler_names();
	struct sample_settings s = { 0 };
	const struct option table[] = {
		{ "model", 'm', OPTION_STRING, &s.model, "MODEL",
		  "diffusers folder, single-file checkpoint or cached hub id",
		  .key = "pretrained_model_name_or_path", .file = FILE_READ, .completes = "*.safetensors" },
		{ "lora", 'l', OPTION_LIST, &s.loras, "FILE[:W]", "an adapter and its weight; may be repeated",
		  .key = "", .file = FILE_READ_WEIGHTED, .completes = "*.safetensors" },
		{ "prompt", 'p', OPTION_LIST, &s.texts, "TEXT", "what to paint; may be repeated", .key = "" },
		{ "prompts", 0, OPTION_STRING, &s.prompts, "FILE|-",
		  "a prompt a line, kohya's --w --h --d --l --s --n --ss; -: as they come",
		  .key = "sample_prompts", .file = FILE_READ, .completes = "-|*.txt|*.toml|*.json" },
		{ "output", 'o', OPTION_STRING, &s.output, "DIR|FILE|-", "where pictures go (.)", .key = "",
		  .file = FILE_WRITTEN },
		{ "negative", 'n', OPTION_STRING, &s.negative, "TEXT", "what not to paint", .key = "" },
		{ "width", 'W', OPTION_INT, &s.width, "N", "pixels; 0: the model's own", .fallback = "0",
		  .max = 65536, .key = "" },
		{ "height", 'H', OPTION_INT, &s.height, "N", "pixels; 0: the model's own", .fallback = "0",
		  .max = 65536, .key = "" },
		{ "steps", 0, OPTION_INT, &s.steps, "N", "sampling steps", .fallback = "30", .min = 1, .max = 1000,
		  .key = "" },
		{ "cfg", 0, OPTION_NUMBER, &s.cfg, "X", "guidance; 1: none", .fallback = "7.5", .min = 0, .max = 1000,
		  .key = "" },
		{ "seed", 0, OPTION_STRING, &s.seed, "N", "of the first noise", .fallback = "42", .key = "" },
		{ "sampler", 0, OPTION_STRING, &s.sampler, "NAME", samplers.text,
		  .fallback = "euler", .key = "", .completes = sampler_choices() },
		{ "count", 0, OPTION_INT, &s.count, "N", "pictures a prompt, with seeds N, N+1, ...", .fallback = "1",
		  .min = 1, .max = 100000, .key = "" },
		{ "grid", 0, OPTION_STRING, &s.grid, "FILE", "all pictures on one labelled sheet", .key = "",
		  .file = FILE_WRITTEN, .writes = KIND_PNG },
		{ "compare", 0, OPTION_FLAG, &s.compare, NULL, "paint without the adapters too: the sheet's top row",
		  .key = "" },
		{ "each", 0, OPTION_FLAG, &s.each, NULL, "a row for each adapter alone, not one with all", .key = "" },
		{ "noise", 0, OPTION_STRING, &s.noise, "FILE", "initial noise: safetensors, \"noise\" [N,4,h/f,w/f]",
		  .key = "", .advanced = true, .file = FILE_READ, .completes = "*.safetensors" },
		{ "save-latents", 0, OPTION_STRING, &s.save_latents, "FILE",
		  "the last latents: safetensors, \"latents\"", .key = "",
		  .advanced = true, .file = FILE_WRITTEN },
		{ "zero-negative", 0, OPTION_FLAG, &s.zero_negative, NULL,
		  "an empty negative prompt as zeros, as diffusers does",
		  .key = "", .advanced = true },
		{ "clip-skip", 0, OPTION_INT, &s.clip_skip, "N",
		  "read the text encoders N layers before the end; 0: as trained",
		  .fallback = "0", .max = 1000, .key = "", .advanced = true },
		{ "image", 0, OPTION_STRING, &s.image, "FILE", "an inpainting model: the picture", .key = "",
		  .file = FILE_READ },
		{ "mask", 0, OPTION_STRING, &s.mask, "FILE", "of that size: white where to paint, black what stays",
		  .key = "", .file = FILE_READ },
		{ "strength", 0, OPTION_NUMBER, &s.strength, "X",
		  "below 1: begin with the picture under noise, in X of the steps",
		  .fallback = "1", .min = 0.001, .max = 1, .key = "", .advanced = true },
		{ "flow-model", 0, OPTION_FLAG, &s.flow_model, NULL, "the model predicts rectified flow",
		  .advanced = true },
		{ "discrete-flow-shift", 0, OPTION_NUMBER, &s.flow_shift, "X", "a flow's shift; 0: the model's, or 1",
		  .fallback = "0", .min = 0, .max = 1000, .advanced = true },
		{ "plain", 0, OPTION_FLAG, &s.plain, NULL,
		  "brackets in prompts are words, not weights as in (word:1.2)", .key = "",
		  .advanced = true },
		{ "rng", 0, OPTION_STRING, &s.rng, "NAME",
		  "noise: philox, or torch for PyTorch's of the seed on the CPU", .fallback = "philox", .key = "",
		  .advanced = true, .completes = "philox|torch" },
		{ "vae", 0, OPTION_STRING, &s.vae, "PATH", "another VAE (folder or file)", .advanced = true,
		  .file = FILE_READ, .completes = "*.safetensors" },
		{ "model-config", 0, OPTION_STRING, &s.model_config, "DIR",
		  "config files for a single file of other sizes",
		  .advanced = true, .file = FILE_READ, .completes = "/" },
		{ "device", 0, OPTION_STRING, &s.device, "cpu", "where to compute", .fallback = "cpu",
		  .advanced = true, .completes = "cpu|cuda" },
		{ 0 },
	};
	const struct tool tool = { "lora-sample", "-m MODEL [--lora FILE[:W]]... (-p TEXT | --prompts FILE) [options]",
				   "Paint pictures with a model and adapters.", table, .takes_config = true };
	struct error e = { 0 };

	claim_standard_streams();
	if (options_parse(&tool, argc, argv) > 0) {
		fail(&e, EXIT_USAGE, "'%s' is no option; prompts are given with -p or --prompts (try --help)", argv[0]);
		return report(&e);
	}
	return sample_run(&s, &e) < 0 ? report(options_explain(&e)) : EXIT_DONE;
}
