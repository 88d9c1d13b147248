/* Text encoders against golden states and pooled vectors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/json.h"
#include "subject.h"

/* ---- captions to ids ---- */

static void check_ids(struct subject *s, const struct safetensors *in, const struct tokenizer *tok, const char *name,
		      json_t *captions)
{
	int length = need(in, name)->shape[1];
	int32_t *want = need_ids(in, name), *ids = xmalloc(length * sizeof(*ids));
	size_t i, wrong = 0, count = json_array_size(captions);
	struct error e = { 0 };

	for (i = 0; i < count; i++) {
		bool same = !tokenizer_encode_padded(tok, json_string_value(json_array_get(captions, i)), length, ids,
						     &e);
		for (int k = 0; same && k < length; k++)
			same = ids[k] == want[i * length + k];
		wrong += !same;
	}
	if (wrong)
		failed(s->tally, "%s %s: %zu of %zu captions differ", s->label, name, wrong, count);
	else
		passed(s->tally, "%s %s: %zu captions exactly", s->label, name, count);
	free(want);
	free(ids);
}

static void check_captions(struct subject *s, const struct safetensors *in)
{
	const char *text = need_metadata(in, "captions");
	struct error e = { 0 };
	json_t *captions = json_parse(in->path, text, strlen(text), &e);

	if (!captions)
		die(e.code, "%s", e.text);
	for (int i = 0; i < s->p.config->family->texts; i++) {
		char *name = xprintf("input_ids_%d", i + 1);
		check_ids(s, in, s->p.tokenizer[i], name, captions);
		free(name);
	}
	json_decref(captions);
}

/* ---- ids to states ---- */

struct encoding { struct subject *s; const struct safetensors *want; const struct clip *clip; const char *name;
		  const int32_t *ids; int n; };

static struct tensor *encode_layers(struct tape *t, void *arg)
{
	struct encoding *x = arg;
	int layers = clip_config(x->clip)->layers;
	struct tensor **hidden = xcalloc(layers + 1, sizeof(struct tensor *));
	struct clip_output out = { .hidden = hidden };

	clip_forward(t, x->clip, x->ids, x->n, &(struct text_reading){ .skip = 1 }, &out);
	for (int k = 0; k <= layers; k++) {
		char *name = xprintf("%s.hidden.%d", x->name, k);
		compare_tensor(x->s, KIND_TEXT, t, hidden[k], x->want, name);
		free(name);
	}
	char *name = xprintf("%s.last", x->name);
	compare_tensor(x->s, KIND_TEXT, t, out.last, x->want, name);
	free(name);
	free(hidden);
	return out.last;
}

/* What the UNet reads of all encoders together; suffix: ".skip2" where another state is read. */
struct together { struct subject *s; const struct safetensors *want; const struct chunk_batch *texts;
		  const char *suffix; };

static struct tensor *encode_together(struct tape *t, void *arg)
{
	struct together *x = arg;
	struct tensor *made[CONDITIONS] = { NULL };

	text_encoders_forward(t, &x->s->p.text, x->texts, made);
	for (int i = 0; i < CONDITIONS; i++) {
		char *name = xprintf("%s%s", condition_name(i), x->suffix);
		if (made[i])
			compare_tensor(x->s, KIND_TEXT, t, made[i], x->want, name);
		free(name);
	}
	return made[CONDITION_CONTEXT];
}

static void run(struct subject *s, forward_fn *fn, void *arg)
{
	struct error e = { 0 };

	if (!workspace_run(&s->p.work, fn, arg, &e))
		failed(s->tally, "%s text: %s", s->label, e.text);
}

/* context.skipN */
static void check_skips(struct subject *s, const struct safetensors *want, struct chunk_batch texts)
{
	for (size_t i = 0; i < want->count; i++) {
		int skip;
		if (sscanf(want->tensor[i].name, "context.skip%d", &skip) != 1)
			continue;
		texts.skip = skip;
		run(s, encode_together, &(struct together){ s, want, &texts, strchr(want->tensor[i].name, '.') });
	}
}

void check_text(struct subject *s, const struct safetensors *in, const struct safetensors *want)
{
	struct texts texts;

	check_captions(s, in);
	read_texts(s, in, "", &texts);
	for (int i = 0; i < s->p.config->family->texts; i++) {
		char *name = xprintf("te%d", i + 1);
		run(s, encode_layers, &(struct encoding){ s, want, s->p.text.clip[i], name, texts.ids[i],
							  texts.batch.n });
		free(name);
	}
	run(s, encode_together, &(struct together){ s, want, &texts.batch, "" });
	check_skips(s, want, texts.batch);
	free_texts(&texts);
}
