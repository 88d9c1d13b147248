/* The rules for each picture: from the command line, or from subsets of a dataset config. */
#include <stdlib.h>
#include <sys/stat.h>
#include "../base/memory.h"
#include "../io/publish.h"
#include "../model/family.h"
#include "../model/source.h"
#include "folder_traps.h"
#include "prepare_claims.h"

int resolution_of_model(const char *model, long resolution[2], struct error *e)
{
	struct model_files *m = model_files_open_parts(model, NULL, NULL, PART(COMPONENT_UNET), e);

	if (!m)
		return -1;
	resolution[0] = resolution[1] = model_files_config(m)->family->side;
	model_files_close(m);
	return 0;
}

/* The defaults for a dataset config, from the command line. */
static struct dataset_subset defaults_of(const struct prepare_options *o)
{
	return (struct dataset_subset){
		.flip_aug = o->flip, .alpha_mask = o->alpha_mask, .resize_interpolation = o->interpolation,
		.conditioning_data_dir = o->mask_dir, .enable_wildcard = o->captions.all_lines, .num_repeats = 1,
		.class_tokens = o->captions.class_tokens, .caption_extension = o->captions.extension,
		.caption_prefix = o->captions.prefix, .caption_suffix = o->captions.suffix,
		.resolution = { o->buckets.resolution[0], o->buckets.resolution[1] },
		.enable_bucket = o->buckets.enabled, .bucket_said = o->bucket_said,
		.bucket_no_upscale = o->buckets.no_upscale, .min_bucket_reso = o->buckets.min,
		.max_bucket_reso = o->buckets.max, .bucket_reso_steps = o->buckets.steps,
	};
}

static const char *name_or_null(const char *text)
{
	return text && *text ? text : NULL;
}

static int set_filter(struct picture_rules *r, const char *name, struct error *e)
{
	r->has_filter = name && *name;
	if (r->has_filter && !resample_find(name, &r->filter))
		return fail(e, EXIT_USAGE, "resize_interpolation '%s' is not known; %s are", name,
			    resample_names().text);
	return 0;
}

/* Refuses a folder that does not exist: a misspelt name would mean that no picture has a mask. */
static int check_mask_dir(const char *dir, struct error *e)
{
	int folder = dir ? path_is_folder(dir, e) : 1;

	if (folder < 0)
		return fail_at(e, "conditioning_data_dir");
	return folder ? 0 : fail(e, EXIT_INPUT, "conditioning_data_dir: %s: is no folder; "
						"name the one with the pictures of masks", dir);
}

static int rules_of_subset(const struct dataset_subset *s, struct picture_rules *r, struct error *e)
{
	const struct bucket_rules buckets = { { s->resolution[0], s->resolution[1] }, s->min_bucket_reso,
					      s->max_bucket_reso,
					      s->bucket_reso_steps, s->enable_bucket, s->bucket_no_upscale };

	*r = (struct picture_rules){
		.captions = { s->caption_extension, s->caption_prefix, s->caption_suffix, s->class_tokens,
			      s->enable_wildcard },
		.flip = s->flip_aug, .alpha_mask = s->alpha_mask, .mask_dir = name_or_null(s->conditioning_data_dir),
		 .batch_size = s->batch_size, .caption_options = s->caption_options,
	};
	if (set_filter(r, s->resize_interpolation, e) < 0 || check_mask_dir(r->mask_dir, e) < 0 ||
	    buckets_make(&buckets, &r->buckets, e) < 0)
		return fail_at(e, s->where);
	return 0;
}

static int rules_of_options(const struct prepare_options *o, struct prepare_rules *r, struct error *e)
{
	r->each = xcalloc(1, sizeof(*r->each));
	r->count = 1;
	*r->each = (struct picture_rules){ .captions = o->captions, .flip = o->flip, .alpha_mask = o->alpha_mask,
					   .mask_dir = name_or_null(o->mask_dir) };
	if (set_filter(r->each, o->interpolation, e) < 0 || check_mask_dir(r->each->mask_dir, e) < 0)
		return -1;
	return buckets_make(&o->buckets, &r->each->buckets, e);
}

/* A note where enable_bucket is not given: sd-scripts then takes false,
 * and refuses or crops pictures of other shapes. */
static void tell_of_buckets(const struct prepare_options *o, const struct dataset_config *d)
{
	size_t silent = 0;

	for (size_t i = 0; i < d->count; i++)
		silent += !d->subset[i].bucket_said && d->subset[i].enable_bucket;
	if (silent)
		note("%s: enable_bucket is not in it: buckets are on here, in sd-scripts they are off; "
		     "write enable_bucket = true or false", o->dataset_config);
}

int prepare_rules_make(const struct prepare_options *o, struct prepare_rules *r, struct error *e)
{
	const struct dataset_subset defaults = defaults_of(o);

	*r = (struct prepare_rules){ 0 };
	if (!o->folder_count && !o->dataset_config)
		return fail(e, EXIT_USAGE, "no folder with pictures was named; try: lora-prep DIR > images.tar, or "
			"lora-launch --train_data_dir DIR");
	if (!o->dataset_config)
		return rules_of_options(o, r, e);
	if (dataset_config_read(o->dataset_config, &defaults, &r->dataset, e) < 0)
		return -1;
	tell_of_buckets(o, &r->dataset);
	r->each = xcalloc(r->dataset.count, sizeof(*r->each));
	for (r->count = 0; r->count < r->dataset.count; r->count++)
		if (rules_of_subset(&r->dataset.subset[r->count], &r->each[r->count], e) < 0)
			return -1;
	return 0;
}

void prepare_rules_free(struct prepare_rules *r)
{
	for (size_t i = 0; i < r->count; i++)
		buckets_free(&r->each[i].buckets);
	free(r->each);
	dataset_config_free(&r->dataset);
}

static int scan_subset(const struct dataset_subset *s, size_t rules, struct pictures *list, struct error *e)
{
	const struct picture like = { .repeats = s->num_repeats, .regularization = s->is_reg, .rules = rules };

	if (pictures_scan_folder(s->image_dir, &like, list, e) == 0)
		return 0;
	fail_at(e, "image_dir");
	return fail_at(e, s->where);
}

static void sort_and_match(const struct prepare_options *o, struct pictures *list)
{
	pictures_sort(list);
	if (o->match_regularization && list->count && !list->picture[0].regularization)
		pictures_match_regularization(list);
}

/* Adds the pictures of one dataset's subsets, from *next on, to the list. */
static int scan_dataset(const struct prepare_rules *r, const struct prepare_options *o, size_t *next,
			struct pictures *list, struct error *e)
{
	const struct dataset_subset *s = r->dataset.subset;
	struct pictures own = { 0 };
	int dataset = s[*next].dataset;

	for (; *next < r->dataset.count && s[*next].dataset == dataset; ++*next)
		if (scan_subset(&s[*next], *next, &own, e) < 0) {
			pictures_free(&own);
			return -1;
		}
	sort_and_match(o, &own);
	for (size_t i = 0; i < own.count; i++) {
		GROW(list->picture, list->count, list->capacity);
		list->picture[list->count++] = own.picture[i];
	}
	free(own.picture);
	return 0;
}

static int scan_datasets(const struct prepare_rules *r, const struct prepare_options *o, struct pictures *list,
			 struct error *e)
{
	for (size_t next = 0; next < r->dataset.count; )
		if (scan_dataset(r, o, &next, list, e) < 0)
			return -1;
	pictures_sort(list);
	return 0;
}

/* The folders of the command line: those to train on, then those of regularisation pictures. */
static const char *folder_named(const struct prepare_options *o, size_t i)
{
	return i < o->folder_count ? o->folders[i] : o->reg_folders[i - o->folder_count];
}

/* The same folder may have many names: train, train/, a link to it. */
static bool is_same(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* A folder that is named twice would count twice. */
static int check_twice(const struct prepare_options *o, struct error *e)
{
	for (size_t i = 0; i < o->folder_count + o->reg_folder_count; i++)
		for (size_t k = 0; k < i; k++)
			if (is_same(folder_named(o, k), folder_named(o, i)))
				return fail(e, EXIT_USAGE, "%s is named twice: %s%s is the same folder; leave one out",
					    folder_named(o, k), i < o->folder_count ? "" : "--reg ",
					    folder_named(o, i));
	return 0;
}

static int scan_folders(const struct prepare_options *o, struct pictures *list, struct error *e)
{
	if (check_twice(o, e) < 0)
		return -1;
	for (size_t i = 0; i < o->folder_count; i++)
		if (pictures_scan(o->folders[i], false, list, e) < 0)
			return -1;
	for (size_t i = 0; i < o->reg_folder_count; i++)
		if (pictures_scan(o->reg_folders[i], true, list, e) < 0)
			return -1;
	pictures_sort(list);
	pictures_warn_of_class_folders(list);
	sort_and_match(o, list);
	return 0;
}

int prepare_rules_scan(const struct prepare_rules *r, const struct prepare_options *o, struct pictures *list,
		       struct error *e)
{
	if ((o->dataset_config ? scan_datasets(r, o, list, e) : scan_folders(o, list, e)) < 0)
		return -1;
	if (list->count == 0 || list->picture[0].regularization)
		return fail(e, EXIT_INPUT, "%s: no pictures to train on; PNG, JPEG, WebP and BMP files are looked for",
			    o->dataset_config ? o->dataset_config : o->folders[0]);
	return prepare_claim(o, r, list, e);
}
