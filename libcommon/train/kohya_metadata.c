/* The adapter's metadata, under the keys of sd-scripts: what the data is as JSON, and what the run is. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../base/map.h"
#include "../base/utf8.h"
#include "../data/caption_tags.h"
#include "../adapter/metadata.h"
#include "../model/unicode.h"
#include "captions.h"
#include "kohya_metadata.h"
#include "settings/adapter.h"

/* ---- the data, as JSON ---- */

/* "10_gizmo robot" of ".../train/10_gizmo robot/a.jpg"; malloced */
static char *folder_of(const struct latent_sample *s)
{
	const char *path = s->path ? s->path : "", *end = strrchr(path, '/'), *start = end;

	if (!end)
		return xstrdup(".");
	while (start > path && start[-1] != '/')
		start--;
	return xstrndup(start, end - start);
}

struct folder { char *name; long repeats, pictures; bool regularization; };

/* A folder of pictures and one of regularisation pictures may have the same name. */
static size_t list_folders(const struct latent_set *data, struct folder **out)
{
	size_t i, k, n = 0, capacity = 0;

	*out = NULL;
	for (i = 0; i < data->count; i++) {
		const struct latent_sample *s = &data->sample[i];
		char *name = folder_of(s);
		for (k = 0; k < n && (strcmp((*out)[k].name, name) || (*out)[k].regularization != s->regularization);
		     k++)
			;
		if (k == n) {
			GROW(*out, n, capacity);
			(*out)[n++] = (struct folder){ xstrdup(name), s->repeats, 0, s->regularization };
		}
		(*out)[k].pictures++;
		/* as sd-scripts counts: what the folder says, however often its pictures are taken */
		if (s->of_folder[1] > 0) {
			(*out)[k].repeats = s->of_folder[0];
			(*out)[k].pictures = s->of_folder[1];
		}
		free(name);
	}
	return n;
}

/* {"10_gizmo robot": {"n_repeats": 10, "img_count": 16}} */
static char *dataset_dirs(const struct folder *f, size_t n, bool regularization)
{
	struct json_out j = { 0 };
	size_t i;

	json_begin(&j, NULL);
	for (i = 0; i < n; i++) {
		if (f[i].regularization != regularization)
			continue;
		json_begin(&j, f[i].name);
		json_int(&j, "n_repeats", f[i].repeats);
		json_int(&j, "img_count", f[i].pictures);
		json_end(&j);
	}
	json_end(&j);
	return buffer_steal(&j.text);
}

struct tag { char *text; long count; };
struct tag_counts { struct map *index; struct tag *tag; size_t count, capacity; };

/* Takes text. */
static void count_tag(struct tag_counts *t, char *text)
{
	const long at = map_put(t->index, text, strlen(text), (long)t->count);

	if (at >= 0) {
		t->tag[at].count++;
		free(text);
		return;
	}
	GROW(t->tag, t->count, t->capacity);
	t->tag[t->count++] = (struct tag){ text, 1 };
}

/* sd-scripts counts "Gizmo" and "gizmo" as one.  Takes text; what is no UTF-8 stays. */
static char *lower_case(char *text)
{
	struct buffer out = { 0 };
	const size_t n = strlen(text);
	uint32_t code, lower[2];
	char bytes[4];
	int step;

	if (utf8_valid(text, n) < n)
		return text;
	for (size_t at = 0; at < n && (step = utf8_read(text + at, n - at, &code)) > 0; at += step)
		for (int k = 0, parts = unicode_lower(code, lower); k < parts; k++)
			buffer_add(&out, bytes, utf8_encode(lower[k], bytes));
	free(text);
	return buffer_steal(&out);
}

static void count_sample(struct tag_counts *t, const struct keeper *k, size_t sample)
{
	struct tag_list tags = { 0 };

	caption_tags(captions_options(k->data, sample), latent_sample_caption(&k->data->set.sample[sample]), &tags);
	for (size_t i = 0; i < tags.count; i++)
		count_tag(t, lower_case(tags.tag[i]));
	free(tags.tag);
}

static void count_tags(const struct keeper *k, const char *folder, struct json_out *j)
{
	struct tag_counts t = { .index = map_new(1024) };

	for (size_t i = 0; i < k->data->set.count; i++) {
		char *name = folder_of(&k->data->set.sample[i]);

		if (!strcmp(name, folder))
			count_sample(&t, k, i);
		free(name);
	}
	json_begin(j, folder);
	for (size_t i = 0; i < t.count; i++) {
		json_int(j, t.tag[i].text, t.tag[i].count);
		free(t.tag[i].text);
	}
	json_end(j);
	free(t.tag);
	map_free(t.index);
}

static bool is_first(const struct folder *f, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (!strcmp(f[k].name, f[i].name))
			return false;
	return true;
}

/* Regularisation pictures too, as in sd-scripts: {"10_gizmo robot": {"a big gizmo robot on a blue background": 2}} */
static char *tag_frequency(const struct keeper *k, const struct folder *f, size_t n)
{
	struct json_out j = { 0 };
	size_t i;

	json_begin(&j, NULL);
	for (i = 0; i < n; i++)
		if (is_first(f, i))
			count_tags(k, f[i].name, &j);
	json_end(&j);
	return buffer_steal(&j.text);
}

struct bucket { int w, h; long count; };

static int by_size(const void *a, const void *b)
{
	const struct bucket *x = a, *y = b;

	return x->w != y->w ? x->w - y->w : x->h - y->h;
}

/* kohya's: mean over samples of the difference between the picture's aspect ratio and its bucket's */
static double aspect_error(const struct latent_set *data)
{
	double sum = 0, count = 0;
	size_t i;

	for (i = 0; i < data->count; i++) {
		const struct latent_sample *s = &data->sample[i];
		sum += s->repeats * fabs((double)s->original[0] / s->original[1] - (double)s->bucket[0] / s->bucket[1]);
		count += s->repeats;
	}
	return count ? sum / count : 0;
}

/* {"buckets": {"0": {"resolution": [64, 64], "count": 10}}} */
static char *bucket_info(const struct latent_set *data)
{
	struct bucket *b = xcalloc(data->count, sizeof(*b));
	struct json_out j = { 0 };
	size_t i, n = 0;

	for (i = 0; i < data->count; i++)
		b[i] = (struct bucket){ data->sample[i].bucket[0], data->sample[i].bucket[1], data->sample[i].repeats };
	qsort(b, data->count, sizeof(*b), by_size);
	for (i = 0; i < data->count; i++)
		if (n && !by_size(&b[n - 1], &b[i]))
			b[n - 1].count += b[i].count;
		else
			b[n++] = b[i];
	json_begin(&j, NULL);
	json_begin(&j, "buckets");
	for (i = 0; i < n; i++) {
		char *key = xprintf("%zu", i);
		json_begin(&j, key);
		json_begin_array(&j, "resolution");
		json_int(&j, NULL, b[i].w);
		json_int(&j, NULL, b[i].h);
		json_end_array(&j);
		json_int(&j, "count", b[i].count);
		json_end(&j);
		free(key);
	}
	json_end(&j);
	json_number(&j, "mean_img_ar_error", aspect_error(data));
	json_end(&j);
	free(b);
	return buffer_steal(&j.text);
}

/* ---- the run ---- */

/* Sets the facts that no row of the settings gives by its .ss_key. */
static void set_settings(const struct keeper *k, struct training_facts *f)
{
	const struct train_settings *s = k->s;
	const struct model_config *c = model_files_config(k->net->files);
	const char *slash = strrchr(s->model, '/');

	f->output_name = s->output_name;
	f->notes = s->metadata.notes;
	f->notes.thumbnail = s->metadata.thumbnail;
	f->least = s->metadata.none;
	f->family = c->family;
	f->clip_skip = k->net->step.skip;
	f->model_name = slash && slash[1] ? slash + 1 : s->model;
	f->prediction = prediction_name(k->course->objective.schedule.prediction);
	f->zero_terminal_snr = c->schedule.zero_terminal_snr || s->zero_terminal_snr;
	f->rank = s->dim_from_weights ? k->net->adapter->module[0].form.rank : s->rank;
	f->alpha = s->dim_from_weights ? k->net->adapter->module[0].alpha : s->alpha;
	f->conv_rank = s->conv_rank;
	f->conv_alpha = s->conv_alpha;
	f->unet_lr = s->unet_lr ? s->lr.unet : 0;
	f->text_encoder_lr = s->text_encoder_lr ? s->lr.text[0] : 0;
	f->warmup_steps = k->course->lr.warmup;
	f->max_steps = k->course->total;
	f->seed = k->course->seed;
	if (k->course->objective.loss == LOSS_HUBER || k->course->objective.loss == LOSS_SMOOTH_L1) {
		f->huber_schedule = s->huber_schedule;
		f->huber_c = s->huber_c;
		f->huber_scale = s->huber_scale;
	}
	if (k->course->objective.min_timestep > 0 ||
	    k->course->objective.max_timestep < k->course->objective.schedule.steps) {
		f->timesteps[0] = k->course->objective.min_timestep;
		f->timesteps[1] = k->course->objective.max_timestep;
	}
	f->batch_size = s->batch_size;
	captions_facts(k->data, f);
}

static void set_progress(const struct keeper *k, struct training_facts *f)
{
	long per_epoch = data_updates_per_epoch(k->data);

	f->steps = k->course->done;
	f->epoch = (k->course->done + per_epoch - 1) / per_epoch;
	f->epochs = (k->course->total + per_epoch - 1) / per_epoch;
	f->batches_per_epoch = order_batches(k->data->order);
}

/* Adds a bucket.  The data does not hold the resolution; the bucket nearest to a square gives it. */
static void see_bucket(struct training_facts *f, const int bucket[2])
{
	int low = bucket[0] < bucket[1] ? bucket[0] : bucket[1], high = bucket[0] + bucket[1] - low, i;

	if (!f->resolution[0] || high - low < abs(f->resolution[0] - f->resolution[1]))
		for (i = 0; i < 2; i++)
			f->resolution[i] = bucket[i];
	if (!f->min_bucket || low < f->min_bucket)
		f->min_bucket = low;
	if (high > f->max_bucket)
		f->max_bucket = high;
}

static void set_data(const struct keeper *k, struct training_facts *f)
{
	size_t i;

	for (i = 0; i < k->data->set.count; i++) {
		const struct latent_sample *s = &k->data->set.sample[i];
		f->train_images += s->regularization ? 0 : s->repeats;
		if (s->regularization)
			f->prior_loss_weight = s->weight;
		f->flip |= s->flip_mean != NULL;
		see_bucket(f, s->bucket);
	}
	if (f->min_bucket == f->max_bucket)
		f->min_bucket = f->max_bucket = 0;      /* one square bucket is none */
}

/* SOURCE_DATE_EPOCH; NULL: it is not set. */
static const char *epoch_given(void)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");

	return epoch && *epoch ? epoch : NULL;
}

int kohya_metadata_check(struct error *e)
{
	enum { DIGITS = 11 };           /* the year 5138; gmtime() takes it everywhere */
	const char *epoch = epoch_given();
	const size_t digits = epoch ? strspn(epoch, "0123456789") : 0;

	if (epoch && (!digits || digits > DIGITS || epoch[digits]))
		return fail(e, EXIT_USAGE, "SOURCE_DATE_EPOCH '%.40s' is no number of seconds since 1970; "
					   "correct it, or unset it", epoch);
	return 0;
}

/* SOURCE_DATE_EPOCH, or now when asked for; -1 leaves every date out, so that two runs give the same bytes. */
static time_t stamp(const struct keeper *k)
{
	if (epoch_given())
		return strtoll(epoch_given(), NULL, 10);
	return k->s->stamp ? time(NULL) : -1;
}

void kohya_metadata(const struct keeper *k, struct metadata_list *out)
{
	struct training_facts f = { .started = stamp(k), .finished = stamp(k) };
	struct folder *folders;
	size_t i, n = list_folders(&k->data->set, &folders);
	char *args = adapter_settings_json(k->s), *optimizer = optimizer_text(&k->course->optimizer.settings);
	char *dirs = dataset_dirs(folders, n, false), *reg = dataset_dirs(folders, n, true);
	char *tags = tag_frequency(k, folders, n), *buckets = bucket_info(&k->data->set);
	char *config = settings_text(k->tool, IDENTITY_ADAPTER);

	set_settings(k, &f);
	set_progress(k, &f);
	set_data(k, &f);
	for (i = 0; i < n; i++)
		f.reg_images += folders[i].regularization ? folders[i].repeats * folders[i].pictures : 0;
	f.network_args = args;
	f.optimizer = optimizer;
	f.dataset_dirs = dirs;
	f.reg_dataset_dirs = reg;
	f.tag_frequency = tags;
	f.bucket_info = buckets;
	training_metadata(&f, out);
	if (!f.least) {
		metadata_add_settings(k->tool->table, out);
		metadata_text(out, CONFIG_KEY, config);
	}
	for (i = 0; i < n; i++)
		free(folders[i].name);
	free(folders);
	free(config);
	free(args);
	free(optimizer);
	free(dirs);
	free(reg);
	free(tags);
	free(buckets);
}
