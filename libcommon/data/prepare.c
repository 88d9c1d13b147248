/* lora-prep: pictures through the worker threads to the tar or folder, and the report. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/progress.h"
#include "../base/thread.h"
#include "../base/utf8.h"
#include "../io/json.h"
#include "../io/publish.h"
#include "json_path.h"
#include "prepare_folder.h"
#include "prepare_mask.h"
#include "prepare_picture.h"
#include "ring.h"

#define CAPTION_SHOWN 4000      /* bytes in the report; a line with escaped text and a path must stay under 64 KiB */

struct bucket_count { int size[2]; size_t pictures; uint64_t samples; };

struct job {
	const struct prepare_options *o;
	struct pictures pictures;
	struct prepare_rules rules;
	struct publish *out, *report;
	struct tar_writer *tar;
	struct folder_writer *folder;
	struct progress *progress;
	struct error *e;
	struct json_out json;
	struct bucket_count *count; size_t counts, counts_capacity;
	size_t good, regularization, skipped, from_class, without_caption, more_lines, masked, full_masks;
	uint64_t samples;
};

static void put_pair(struct json_out *j, const char *key, const int v[2])
{
	json_begin_array(j, key);
	json_int(j, NULL, v[0]);
	json_int(j, NULL, v[1]);
	json_end_array(j);
}

/* ---- the report ---- */

static void report_begin(struct job *j, const char *event)
{
	json_begin(&j->json, NULL);
	json_text(&j->json, "event", event);
}

/* NULL: none is written */
static const char *report_path(const struct prepare_options *o)
{
	return o->report || !o->scan ? o->report : "-";
}

static int report_end(struct job *j)
{
	const char *path = report_path(j->o);

	json_end(&j->json);
	if (json_line(&j->json, j->report ? publish_fd(j->report) : -1, j->e) == 0)
		return 0;
	publish_abandon(j->report);             /* its last line is incomplete */
	j->report = NULL;
	return fail_at(j->e, strcmp(path, "-") ? path : "standard output");
}

static int report_skipped(struct job *j, const struct picture *picture, const struct prepared *p)
{
	report_begin(j, "skipped");
	json_path(&j->json, picture->path);
	json_text(&j->json, "code", p->code);
	json_text(&j->json, "say", p->error.text);
	return report_end(j);
}

static void report_caption(struct job *j, const char *caption)
{
	size_t all = strlen(caption), n = utf8_cut(caption, all, CAPTION_SHOWN);

	json_text_n(&j->json, "caption", caption, n);
	if (n < all)
		json_int(&j->json, "caption_bytes", (int64_t)all);
}

static int report_picture(struct job *j, size_t index, const struct picture *picture, const struct prepared *p)
{
	const int source[2] = { p->info.width, p->info.height };
	const int *bucket = p->place.bucket, *resized = p->place.resized;
	double kept = (double)bucket[0] * bucket[1] / ((double)resized[0] * resized[1]);
	char key[16];

	snprintf(key, sizeof(key), "%08zu", index);
	report_begin(j, "picture");
	json_text(&j->json, "key", key);
	json_path(&j->json, picture->path);
	put_pair(&j->json, "source", source);
	put_pair(&j->json, "bucket", p->place.bucket);
	put_pair(&j->json, "resized", p->place.resized);
	put_pair(&j->json, "crop", p->place.crop);
	json_number(&j->json, "lost", 1 - kept);
	json_int(&j->json, "repeats", picture->repeats);
	if (j->rules.each[picture->rules].batch_size)
		json_int(&j->json, "batch_size", j->rules.each[picture->rules].batch_size);
	report_caption(j, p->caption.text);
	if (*p->sha256)
		json_text(&j->json, "sha256", p->sha256);
	json_bool(&j->json, "regularization", picture->regularization);
	json_text(&j->json, "format", p->info.format);
	json_int(&j->json, "orientation", p->info.orientation);
	json_text(&j->json, "filter", p->place.filter == FILTER_NONE ? "none" : resample_name(p->filter));
	json_bool(&j->json, "mask", p->masked);
	return report_end(j);
}

static int by_size(const void *a, const void *b)
{
	const struct bucket_count *x = a, *y = b;

	return x->size[0] != y->size[0] ? x->size[0] - y->size[0] : x->size[1] - y->size[1];
}

static int report_totals(struct job *j)
{
	if (j->counts)
		qsort(j->count, j->counts, sizeof(*j->count), by_size);
	for (size_t i = 0; i < j->counts; i++) {
		report_begin(j, "bucket");
		put_pair(&j->json, "size", j->count[i].size);
		json_int(&j->json, "count", (int64_t)j->count[i].pictures);
		json_int(&j->json, "samples", (int64_t)j->count[i].samples);
		if (report_end(j) < 0)
			return -1;
	}
	report_begin(j, "total");
	json_int(&j->json, "pictures", (int64_t)j->good);
	json_int(&j->json, "regularization", (int64_t)j->regularization);
	json_int(&j->json, "samples", (int64_t)j->samples);
	json_int(&j->json, "skipped", (int64_t)j->skipped);
	json_int(&j->json, "buckets", (int64_t)j->counts);
	return report_end(j);
}

/* ---- one result, in order ---- */

static int write_sample(struct job *j, size_t index, const struct picture *picture, const struct prepared *p)
{
	const int original[2] = { p->info.width, p->info.height };
	const struct picture_rules *rules = &j->rules.each[picture->rules];
	struct json_out f = { 0 };
	int crop[2], status;

	tar_sample_begin(&f, j->tar, (uint32_t)index);
	json_path(&f, picture->path);
	json_text(&f, "sha256", p->sha256);
	json_begin_array(&f, "captions");
	json_text(&f, NULL, p->caption.text);
	json_end_array(&f);
	json_int(&f, "repeats", picture->repeats);
	json_number(&f, "weight", picture->regularization ? j->o->prior_loss_weight : 1);
	json_bool(&f, "regularization", picture->regularization);
	if (picture->of_folder[1])
		put_pair(&f, "of_folder", (const int[2]){ (int)picture->of_folder[0], (int)picture->of_folder[1] });
	put_pair(&f, "original", original);
	put_pair(&f, "resized", p->place.resized);
	put_pair(&f, "bucket", p->place.bucket);
	conditioning_crop(&p->place, j->o->kohya_crop, false, crop);
	put_pair(&f, "crop", crop);
	json_bool(&f, "flip", rules->flip);
	conditioning_crop(&p->place, j->o->kohya_crop, true, crop);
	if (rules->flip)
		put_pair(&f, "crop_flip", crop);
	if (rules->caption_options)
		json_raw(&f, "caption_options", rules->caption_options);
	if (rules->batch_size)
		json_int(&f, "batch_size", rules->batch_size);
	status = tar_sample_add(j->tar, (uint32_t)index, p->member, p->members, &f, j->e);
	json_free(&f);
	return status;
}

static void count_bucket(struct job *j, const int size[2], long repeats)
{
	size_t i;

	for (i = 0; i < j->counts; i++)
		if (!memcmp(j->count[i].size, size, sizeof(j->count[i].size)))
			break;
	if (i == j->counts) {
		GROW(j->count, j->counts, j->counts_capacity);
		j->count[j->counts++] = (struct bucket_count){ { size[0], size[1] }, 0, 0 };
	}
	j->count[i].pictures++;
	j->count[i].samples += (uint64_t)repeats;
}

static int take_good(struct job *j, size_t index, const struct picture *picture, const struct prepared *p)
{
	if (p->info.animated)
		note("%s: moving; only its first picture is used", picture->path);
	if (p->mask_black)
		warning("%s: its mask leaves nothing: it would train nothing; "
			"make the mask anew, or remove the picture", picture->path);
	j->good++;
	j->regularization += picture->regularization;
	j->samples += (uint64_t)picture->repeats;
	j->from_class += p->caption.source == CAPTION_CLASS;
	j->without_caption += p->caption.source == CAPTION_NONE;
	j->more_lines += p->caption.more_lines;
	j->masked += p->masked;
	j->full_masks += p->mask_file && !p->masked;
	count_bucket(j, p->place.bucket, picture->repeats);
	if (j->folder && folder_add(j->folder, picture, p, j->e) < 0)
		return -1;
	if (j->tar && write_sample(j, index, picture, p) < 0)
		return -1;
	return report_picture(j, index, picture, p);
}

static int take_bad(struct job *j, const struct picture *picture, const struct prepared *p)
{
	if (p->error.code != EXIT_INPUT) {
		*j->e = p->error;
		return -1;
	}
	j->skipped++;
	if (report_skipped(j, picture, p) < 0)
		return -1;
	if (j->o->strict)
		return fail(j->e, EXIT_INPUT, "%s", p->error.text);
	warning("%s (skipped)", p->error.text);
	return 0;
}

static void work(void *context, size_t item, void *slot)
{
	struct job *j = context;

	const struct picture *picture = &j->pictures.picture[item];

	(j->o->scan ? prepare_look : prepare_picture)(j->o, &j->rules.each[picture->rules], picture, slot);
}

static int take(void *context, size_t item, void *slot)
{
	struct job *j = context;
	const struct picture *picture = &j->pictures.picture[item];
	const struct prepared *p = slot;
	int status = p->code ? take_bad(j, picture, p) : take_good(j, item, picture, p);

	progress_at(j->progress, item + 1, NULL);
	return status;
}

static void release(void *slot)
{
	prepared_free(slot);
}

/* ---- all pictures ---- */

int background_parse(const char *text, uint8_t rgb[3], struct error *e)
{
	unsigned v[3];
	int end = 0;

	if (sscanf(text, "%3u,%3u,%3u%n", &v[0], &v[1], &v[2], &end) < 3 || text[end] || v[0] > 255 || v[1] > 255 ||
	    v[2] > 255)
		return fail(e, EXIT_USAGE, "--background %s: three numbers from 0 to 255 are wanted, as in 255,255,255",
			    text);
	for (int c = 0; c < 3; c++)
		rgb[c] = (uint8_t)v[c];
	return 0;
}

static int check(const struct prepare_options *o, struct error *e)
{
	if (o->folder && !*o->folder)
		return fail(e, EXIT_USAGE, "--folder '': no name for a folder; say where the pictures go");
	if (o->scan && (o->folder || strcmp(o->output, "-")))
		return fail(e, EXIT_USAGE, "--scan writes nothing but the report; leave out --output and --folder");
	if (!o->scan && !o->folder && o->report && !strcmp(o->report, "-") && !strcmp(o->output, "-"))
		return fail(e, EXIT_USAGE, "--report - and the pictures would both go to standard output; "
					   "say -o FILE or --report FILE");
	if (o->folder && o->dataset_config)
		return fail(e, EXIT_USAGE, "--folder takes no dataset config; name the folders");
	if (o->folder && (o->reg_folder_count || o->flip || o->alpha_mask || o->mask_dir || strcmp(o->output, "-")))
		return fail(e, EXIT_USAGE, "--folder takes no --reg, --flip, masks or --output; prepare regularisation "
			    "pictures into a folder of their own");
	return 0;
}

static const char *source_of(const struct prepare_options *o)
{
	return o->dataset_config ? o->dataset_config : o->folders[0];
}

static int open_tar(struct job *j)
{
	j->out = publish_begin(j->o->output, true, j->e);
	if (!j->out)
		return -1;
	j->tar = tar_create(j->out, "image");
	return 0;
}

static int open_folder(struct job *j)
{
	j->folder = folder_create(j->o->folder, j->e);
	return j->folder ? 0 : -1;
}

static int open_outputs(struct job *j)
{
	const char *report = report_path(j->o);

	if (!j->o->scan && (j->o->folder ? open_folder(j) : open_tar(j)) < 0)
		return -1;
	if (report) {
		j->report = publish_begin(report, false, j->e);
		if (!j->report)
			return -1;
	}
	return 0;
}

/* There are folders of masks, and no file in them is named as a picture, be it a good one or not. */
static bool masks_lack(const struct job *j)
{
	bool any = false;

	for (size_t i = 0; i < j->pictures.count; i++) {
		const struct picture *p = &j->pictures.picture[i];
		const char *dir = j->rules.each[p->rules].mask_dir;
		struct error later;     /* who reads it is told */
		char *path = NULL;

		any |= dir != NULL;
		if (dir && (mask_path(dir, p->path, &path, &later) < 0 || path)) {
			free(path);
			return false;
		}
	}
	return any;
}

static void sum_up(const struct job *j)
{
	if (j->without_caption)
		warning("%zu pictures have no caption; write .txt files or give --class-tokens", j->without_caption);
	if (j->from_class)
		note("%zu pictures have no caption file; the class name is their caption", j->from_class);
	if (!j->o->scan && !j->masked && masks_lack(j))
		warning("no picture has a mask; those in conditioning_data_dir are named as the pictures");
	if (j->full_masks)
		(j->masked ? note : warning)("%zu masks leave nothing out of what is trained; black is left out",
					     j->full_masks);
	if (j->masked)
		note("%zu pictures have a mask, the others count in full", j->masked);
	if (j->folder)
		folder_tell_others(j->folder);
	if (j->more_lines)
		note("%zu caption files have several lines; only the first is used", j->more_lines);
	note("%zu pictures, %zu of them for regularisation, %llu samples, %zu buckets, %zu skipped", j->good,
	     j->regularization, (unsigned long long)j->samples, j->counts, j->skipped);
}

static int write_all(struct job *j)
{
	struct ring_job ring = { j->pictures.count, threads_meant(j->o->threads), sizeof(struct prepared), j, work,
				 take, release };

	j->progress = progress_begin(j->o->scan ? "scanning" : "preparing", "pictures", j->pictures.count);
	if (ring_run(&ring) < 0)
		return -1;
	progress_end(j->progress);
	j->progress = NULL;
	if (j->good == j->regularization)
		return fail(j->e, EXIT_INPUT, "%s: none of %zu pictures to train on was usable; see the lines above",
			    source_of(j->o), j->pictures.count);
	return report_totals(j);
}

static int finish_tar(struct job *j)
{
	struct tar_writer *tar = j->tar;
	struct publish *out = j->out;

	if (!tar)
		return 0;
	j->tar = NULL;
	if (tar_finish(tar, j->e) < 0)
		return -1;
	j->out = NULL;
	return publish_end(out, j->e);
}

/* The report is published after a failure too: it tells which picture was the reason. */
static int finish_report(struct job *j, int status)
{
	struct publish *report = j->report;
	struct error other;

	j->report = NULL;
	if (report && publish_end(report, status < 0 ? &other : j->e) < 0)
		return -1;
	return status;
}

int prepare(const struct prepare_options *o, struct error *e)
{
	struct job j = { .o = o, .e = e };
	int status = check(o, e);

	memory_keep();
	if (status == 0)
		status = prepare_rules_make(o, &j.rules, e);
	if (status == 0)
		status = prepare_rules_scan(&j.rules, o, &j.pictures, e);
	if (status == 0)
		status = open_outputs(&j);
	if (status == 0)
		status = write_all(&j);
	if (status == 0)
		status = finish_tar(&j);
	status = finish_report(&j, status);
	if (status == 0)
		sum_up(&j);
	progress_end(j.progress);
	if (j.tar)
		tar_abandon(j.tar);
	publish_abandon(j.out);
	folder_close(j.folder);
	json_free(&j.json);
	free(j.count);
	prepare_rules_free(&j.rules);
	pictures_free(&j.pictures);
	return status;
}
