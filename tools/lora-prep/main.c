/* lora-prep: its options, one call, a status. */
#include <string.h>
#include "../../libcommon/base/thread.h"
#include "../../libcommon/config/options.h"
#include "../../libcommon/data/lint.h"
#include "../../libcommon/data/prepare.h"
#include "../../libcommon/data/resample.h"
#include "../../libcommon/io/kind.h"
#include "../../libcommon/io/publish.h"

int main(int argc, char **argv)
{
	struct prepare_options o = { 0 };
	struct lint_options l = { 0 };
	struct text_list folders = { 0 }, reg_folders = { 0 };
	const char *crop, *payload, *background, *reg_repeats;
	long threads, quality;
	bool check_only;
	const struct option table[] = {
		{ .kind = OPTION_SECTION, .help = "Pictures" },
		{ "reg", 0, OPTION_LIST, &reg_folders, "DIR",
		  "regularisation pictures, same layout as DIR", .key = "reg_data_dir", .file = FILE_LISTED },
		{ "prior-loss-weight", 0, OPTION_NUMBER, &o.prior_loss_weight, "W",
		  "weight of regularisation pictures", .fallback = "1", .max = 1000 },
		{ "reg-repeats", 0, OPTION_CHOICE, &reg_repeats, "HOW",
		  "match the training samples, or folder",
		  .fallback = "match", .choices = "match|folder", .key = "" },
		{ "train-data-dir", 0, OPTION_LIST, &folders, "DIR",
		  "the operand DIR, for config files", .advanced = true, .file = FILE_LISTED },
		{ "dataset-config", 0, OPTION_STRING, &o.dataset_config, "FILE",
		  "kohya's [[datasets]], instead of DIR", .advanced = true, .file = FILE_READ,
		  .completes = "*.toml" },
		{ "strict", 0, OPTION_FLAG, &o.strict, NULL,
		  "a bad picture is exit 3, not skipped", .key = "" },
		{ "max-megapixels", 0, OPTION_INT, &o.megapixels, "N",
		  "refuse larger pictures unread", .fallback = "100", .min = 1, .max = 1000, .key = "",
		  .advanced = true },
		{ "lint", 0, OPTION_FLAG, &check_only, NULL, "check only, one JSON line per finding", .key = "" },
		{ "scan", 0, OPTION_FLAG, &o.scan, NULL, "only read headers and report", .key = "", .advanced = true },
		{ .kind = OPTION_SECTION, .help = "Sizes" },
		BUCKET_OPTION_ROWS(&o.buckets, false),
		{ "model", 'm', OPTION_STRING, &l.model, "MODEL",
		  "its own resolution, where none is said", .key = "", .file = FILE_READ,
		  .completes = "*.safetensors" },
		{ "resize-interpolation", 0, OPTION_CHOICE, &o.interpolation, "FILTER",
		  "instead of area down, lanczos up", .choices = resample_choices(), .advanced = true },
		{ "crop-conditioning", 0, OPTION_CHOICE, &crop, "HOW",
		  "crop in the size conditioning", .fallback = "real",
		  .choices = "real|kohya" },
		{ .kind = OPTION_SECTION, .help = "Captions" },
		{ "caption-extension", 0, OPTION_STRING, &o.captions.extension, "EXT",
		  "of caption files (.txt, then .caption)" },
		{ "caption-prefix", 0, OPTION_STRING, &o.captions.prefix, "TEXT", "put before every caption" },
		{ "caption-suffix", 0, OPTION_STRING, &o.captions.suffix, "TEXT", "put behind every caption" },
		{ "class-tokens", 0, OPTION_STRING, &o.captions.class_tokens, "TEXT",
		  "caption where no file is (folder's)" },
		{ "enable-wildcard", 0, OPTION_FLAG, &o.captions.all_lines, NULL,
		  "keep every line, to draw from in training", .advanced = true },
		{ .kind = OPTION_SECTION, .help = "Output" },
		{ "flip", 0, OPTION_FLAG, &o.flip, NULL, "also store the mirrored picture", .key = "flip_aug" },
		{ "alpha-mask", 0, OPTION_FLAG, &o.alpha_mask, NULL, "transparency becomes a mask for training" },
		{ "conditioning-data-dir", 0, OPTION_STRING, &o.mask_dir, "DIR",
		  "pictures of masks, named as the pictures", .advanced = true,
		  .file = FILE_LISTED },
		{ "background", 0, OPTION_STRING, &background, "R,G,B",
		  "what transparency is laid on", .fallback = "255,255,255" },
		{ "payload", 0, OPTION_CHOICE, &payload, "TYPE",
		  "how pictures are stored", .fallback = "png", .choices = "png|jpeg" },
		{ "quality", 0, OPTION_INT, &quality, "N", "of JPEG payloads", .fallback = "95", .min = 1, .max = 100 },
		{ "report", 0, OPTION_STRING, &o.report, "FILE",
		  "JSON lines: pictures, buckets, total", .key = "", .file = FILE_WRITTEN,
		  .writes = KIND_JSON },
		{ "output", 'o', OPTION_STRING, &o.output, "FILE",
		  "where the image tar goes", .fallback = "-", .key = "", .file = FILE_WRITTEN },
		{ "jobs", 'j', OPTION_INT, &threads, "N",
		  "threads here; 0: as --threads", .fallback = "0", .max = 1024, .key = "" },
		{ "folder", 0, OPTION_STRING, &o.folder, "OUT",
		  "pictures (JPEG) and .txt captions, no tar",
		  .key = "", .file = FILE_WRITTEN_IN },
		{ .kind = OPTION_SECTION, .help = "For --lint" },
		{ "train-batch-size", 0, OPTION_INT, &l.batch_size, "N",
		  "count steps and short batches for this", .fallback = "1", .min = 1, .max = 4096 },
		{ "tokenizer", 0, OPTION_STRING, &l.tokenizer, "FOLDER", "counts tokens (the model's, or CLIP's own)",
		  .key = "", .file = FILE_READ, .completes = "/" },
		CAPTION_SEPARATOR_ROWS(&l.captions),
		{ 0 },
	};
	const struct tool tool = { "lora-prep", "[options] DIR... > images.tar",
				   "Find pictures, decide sizes, resize, crop, pair captions.", table,
				   .takes_config = true, .operands = FILE_LISTED };
	struct error e = { 0 };
	int operands;

	claim_standard_streams();
	operands = options_parse(&tool, argc, argv);
	if (o.dataset_config && operands)
		fail(&e, EXIT_USAGE, "%s: the dataset config names the folders (%s); leave out %s", argv[0],
		     o.dataset_config, argv[0]);
	else if (!check_only && l.tokenizer)
		fail(&e, EXIT_USAGE, "--tokenizer counts tokens for --lint only; leave it out, or give --lint");
	else if (o.dataset_config && (folders.count || reg_folders.count))
		warning("train_data_dir and reg_data_dir are not used: %s names the folders", o.dataset_config);
	o.folders = operands ? (const char *const *)argv : folders.item;
	o.folder_count = operands ? (size_t)operands : folders.count;
	o.reg_folders = reg_folders.item;
	o.reg_folder_count = reg_folders.count;
	o.match_regularization = !strcmp(reg_repeats, "match");
	o.kohya_crop = !strcmp(crop, "kohya");
	o.jpeg = !strcmp(payload, "jpeg") || (o.folder && !option_is_set("payload"));
	o.quality = (int)quality;
	o.threads = threads ? (int)threads : threads_default();
	o.bucket_said = option_is_set("bucket");
	if (!o.dataset_config)          /* which may say otherwise, as of buckets */
		options_tell_idle(&tool);
	if (option_is_set("train-data-dir") && !o.bucket_said)
		note("enable_bucket is not set: buckets are on here, in sd-scripts they are off");
	if (option_is_set("train-data-dir") && !o.captions.extension)
		note("captions are read from .txt files, then .caption; "
		     "sd-scripts reads .caption alone unless caption_extension says so");
	if (e.code || (l.model && !option_is_set("resolution") &&
		       resolution_of_model(l.model, o.buckets.resolution, &e) < 0) ||
	    background_parse(background, o.background, &e) < 0 ||
	    (check_only ? lint(&o, &l, &e) : prepare(&o, &e)) < 0)
		return report(options_explain(&e));
	return EXIT_DONE;
}
