/* kohya's dataset config: each subset that is accepted has a folder and sizes within the limits. */
#include "fuzz.h"
#include "../../libcommon/config/dataset_config.h"
#include "../../libcommon/io/json.h"

static void check(const struct dataset_subset *s)
{
	struct error e;
	json_t *options = s->caption_options ? json_parse("options", s->caption_options, strlen(s->caption_options),
							  &e) : json_object();

	HOLDS(s->image_dir && *s->image_dir && s->where && json_is_object(options));
	HOLDS(s->num_repeats >= 0 && s->batch_size >= 0 && s->resolution[0] >= 8 && s->resolution[1] >= 8);
	HOLDS(s->resolution[0] <= 16384 && s->resolution[1] <= 16384 && s->bucket_reso_steps >= 1);
	json_decref(options);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const struct dataset_subset defaults = { .num_repeats = 1, .resolution = { 1024, 1024 }, .enable_bucket = true,
						 .min_bucket_reso = 256, .max_bucket_reso = 2048,
						 .bucket_reso_steps = 64 };
	struct fuzz_file f = fuzz_file(bytes, n);
	struct dataset_config c = { 0 };
	struct error e = { 0 };

	if (dataset_config_read(f.path, &defaults, &c, &e) < 0) {
		HOLDS(e.code == EXIT_USAGE || e.code == EXIT_INPUT);
	} else {
		for (size_t i = 0; i < c.count; i++)
			check(&c.subset[i]);
	}
	dataset_config_free(&c);
	close(f.fd);
	return 0;
}
