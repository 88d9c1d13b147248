/* lora-prep --lint: every picture and caption through the checks, and the summary. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../base/progress.h"
#include "../base/thread.h"
#include "../model/tokenizers.h"
#include "lint.h"
#include "lint_batches.h"
#include "lint_captions.h"
#include "lint_twins.h"
#include "prepare_picture.h"
#include "ring.h"

/* Limits beyond which there is a finding. */
#define STRIP 3                 /* the longer side over the shorter */
#define CROP_LOST 0.2           /* the share of a picture that the crop cuts off */
#define ENLARGED 1.25           /* the factor by which a side grows */

struct look {
	struct prepared p;
	struct fingerprint print;
};

struct job {
	const struct prepare_options *o;
	const struct lint_options *l;
	struct pictures pictures;
	struct prepare_rules rules;
	struct tokenizer *tokenizer[TEXT_ENCODERS];
	struct findings findings;
	struct twins *twins;
	struct tags *tags;
	struct batches *batches;
	struct caption_options *captions;       /* of each of the rules */
	size_t options;
	struct progress *progress;
};

/* ---- one picture ---- */

static void work(void *context, size_t item, void *slot)
{
	struct job *j = context;
	const struct picture *picture = &j->pictures.picture[item];
	struct look *look = slot;
	struct image image = { 0 }, mask;

	prepare_decode(j->o, &j->rules.each[picture->rules], picture, true, &image, &look->p);
	if (!look->p.code)
		fingerprint_make(&image, &look->print);
	if (!look->p.code && image.alpha) {
		prepare_mask(&image, &look->p, &mask);
		image_free(&mask);
	}
	image_free(&image);
}

static void release(void *slot)
{
	prepared_free(&((struct look *)slot)->p);
}

static int say_bad(struct job *j, const char *path, const struct prepared *p)
{
	size_t n = strlen(path);
	const char *text = p->error.text;

	if (p->error.code != EXIT_INPUT) {
		*j->findings.e = p->error;
		return -1;
	}
	if (!strncmp(text, path, n) && !strncmp(text + n, ": ", 2))
		text += n + 2;
	return finding_say(&j->findings, p->info.over_limit ? FINDING_BOMB : finding_of_code(p->code), path, "%s",
			   text);
}

static int say_shape(struct job *j, const char *path, const struct prepared *p)
{
	const int *bucket = p->place.bucket, *resized = p->place.resized;
	int w = p->info.width, h = p->info.height, large = w > h ? w : h, small = w + h - large;
	double lost = 1 - (double)bucket[0] * bucket[1] / ((double)resized[0] * resized[1]),
		factor = (double)resized[0] / w;

	if (large > STRIP * small &&
	    finding_say(&j->findings, FINDING_STRIP, path, "%dx%d is longer than %d:1", w, h, STRIP) < 0)
		return -1;
	if (factor >= ENLARGED && finding_say(&j->findings, FINDING_ENLARGED, path,
					      "%dx%d is enlarged %.2f times for %dx%d", w, h,
					      factor, bucket[0], bucket[1]) < 0)
		return -1;
	if (lost > CROP_LOST && finding_say(&j->findings, FINDING_CROP, path, "%.0f %% of %dx%d are cut off for %dx%d",
					    100 * lost, w, h, bucket[0], bucket[1]) < 0)
		return -1;
	if (p->mask_black && finding_say(&j->findings, FINDING_BLACK_MASK, path,
					 "its mask leaves nothing: it would train nothing") < 0)
		return -1;
	if (p->info.animated)
		return finding_say(&j->findings, FINDING_ANIMATED, path,
				   "a moving picture; only its first one is used");
	return 0;
}

static int say_words(struct job *j, const struct picture *picture, const struct caption *c)
{
	const char *path = picture->path;
	int status = 0;

	if (c->empty_file)
		status = finding_say(&j->findings, FINDING_EMPTY_CAPTION, path, "%sits caption file has no words",
				     c->more_lines ? "the first line of " : "");
	else if (c->source == CAPTION_NONE)
		status = finding_say(&j->findings, FINDING_NO_CAPTION, path, "it has no caption");
	else if (c->source == CAPTION_CLASS && !picture->regularization)
		status = finding_say(&j->findings, FINDING_CLASS_CAPTION, path,
				     "no caption file; its caption is \"%s\"", c->text);
	if (status == 0 && c->more_lines)
		status = finding_say(&j->findings, FINDING_MORE_LINES, path,
				     "only the first line of its caption file is used");
	if (status == 0)
		status = captions_cut(&j->findings, j->tokenizer, path, c->text);
	return status;
}

static int take_good(struct job *j, const struct picture *picture, const struct look *look)
{
	const struct prepared *p = &look->p;

	twins_add(j->twins, picture->path, &look->print);
	batches_add(j->batches, p->place.bucket, picture->repeats, j->rules.each[picture->rules].batch_size);
	if (p->caption.source == CAPTION_FILE && !picture->regularization)
		tags_add(j->tags, &j->captions[picture->rules], picture->path, p->caption.text);
	return say_shape(j, picture->path, p) < 0 ? -1 : say_words(j, picture, &p->caption);
}

static int take(void *context, size_t item, void *slot)
{
	struct job *j = context;
	const struct picture *picture = &j->pictures.picture[item];
	const struct look *look = slot;
	int status = look->p.code ? say_bad(j, picture->path, &look->p) : take_good(j, picture, look);

	progress_at(j->progress, item + 1, NULL);
	return status;
}

/* ---- all pictures ---- */

static int check(const struct prepare_options *o, const struct lint_options *l, struct error *e)
{
	if (o->folder || o->report || strcmp(o->output, "-"))
		return fail(e, EXIT_USAGE, "--lint writes nothing but findings; leave out %s",
			    o->folder ? "--folder" : o->report ? "--report" : "--output");
	if (l->model && l->tokenizer)
		return fail(e, EXIT_USAGE, "--model has tokenizers of its own; leave out --tokenizer");
	return 0;
}

/* The options by which training will cut captions into tags: of the command line, or of a dataset config. */
static int read_caption_options(struct job *j)
{
	struct caption_options base = j->l->captions;

	j->captions = xcalloc(j->rules.count, sizeof(*j->captions));
	for (size_t i = 0; i < j->rules.count; i++) {
		const struct picture_rules *r = &j->rules.each[i];
		json_t *own = NULL;
		int status = 0;

		base.wildcard = r->captions.all_lines;
		if (r->caption_options && !(own = json_parse("caption_options", r->caption_options,
							     strlen(r->caption_options), j->findings.e)))
			return -1;
		status = caption_options_override(&base, own, "caption_options", &j->captions[j->options++],
						  j->findings.e);
		json_decref(own);
		if (status < 0)
			return -1;
	}
	return caption_options_check(&base, j->findings.e);
}

static int open_tokenizers(struct job *j)
{
	struct model_files *model;
	int status;

	if (!j->l->model) {
		j->tokenizer[0] = j->l->tokenizer ? tokenizer_open(j->l->tokenizer, j->findings.e) :
			tokenizer_open_clip(j->findings.e);
		return j->tokenizer[0] ? 0 : -1;
	}
	model = model_files_open_parts(j->l->model, NULL, NULL, PART(COMPONENT_UNET), j->findings.e);
	status = model ? tokenizers_open(model, j->tokenizer, j->findings.e) : -1;
	model_files_close(model);
	return status;
}

static int look_at_all(struct job *j)
{
	struct ring_job ring = { j->pictures.count, threads_meant(j->o->threads), sizeof(struct look), j, work, take,
				 release };
	int status;

	j->twins = twins_new();
	j->tags = tags_new();
	j->batches = batches_new(j->l->batch_size);
	j->progress = progress_begin("checking", "pictures", j->pictures.count);
	status = ring_run(&ring);
	progress_end(j->progress);
	if (status == 0)
		status = twins_report(j->twins, &j->findings);
	if (status == 0)
		status = tags_report(j->tags, &j->findings);
	return status < 0 ? -1 : batches_report(j->batches, &j->findings);
}

static int conclude(const struct job *j)
{
	const size_t *count = j->findings.count;

	note("%zu pictures: %zu errors, %zu warnings, %zu notes", j->pictures.count, count[SEVERITY_ERROR],
	     count[SEVERITY_WARNING], count[SEVERITY_NOTE]);
	if (!count[SEVERITY_ERROR])
		return 0;
	return fail(j->findings.e, EXIT_INPUT, "%zu pictures cannot be used; "
					       "mend or remove what the findings of severity error name",
		    count[SEVERITY_ERROR]);
}

int lint(const struct prepare_options *o, const struct lint_options *l, struct error *e)
{
	struct job j = { .o = o, .l = l, .findings = { .fd = STDOUT_FILENO, .e = e } };
	int status = check(o, l, e);

	if (status == 0)
		status = prepare_rules_make(o, &j.rules, e);
	if (status == 0)
		status = prepare_rules_scan(&j.rules, o, &j.pictures, e);
	if (status == 0)
		status = read_caption_options(&j);
	if (status == 0)
		status = open_tokenizers(&j);
	if (status == 0)
		status = look_at_all(&j);
	if (status == 0)
		status = conclude(&j);
	json_free(&j.findings.json);
	twins_free(j.twins);
	tags_free(j.tags);
	batches_free(j.batches);
	tokenizers_close(j.tokenizer);
	for (size_t i = 0; i < j.options; i++)
		caption_options_free(&j.captions[i]);
	free(j.captions);
	prepare_rules_free(&j.rules);
	pictures_free(&j.pictures);
	return status;
}
