/* inputs.c - what the networks of a model's family read, as reference files hold it. */
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "subject.h"

bool family_reads(const struct subject *s, int condition)
{
	return s->p.config->family->conditions >> condition & 1;
}

void read_texts(const struct subject *s, const struct safetensors *f, const char *prefix, struct texts *x)
{
	*x = (struct texts){ .batch = { .chunks = 1 } };
	for (int i = 0; i < s->p.config->family->texts; i++) {
		char *name = xprintf("%sinput_ids_%d", prefix, i + 1);

		x->batch.n = need(f, name)->shape[0];
		x->batch.ids[i] = x->ids[i] = need_ids(f, name);
		free(name);
	}
}

int encode_texts_padded(const struct subject *s, const char *const *text, int n, struct texts *x, struct error *e)
{
	const int length = s->p.config->text[0].length;

	*x = (struct texts){ .batch = { .n = n, .chunks = 1 } };
	for (int i = 0; i < s->p.config->family->texts; i++) {
		x->batch.ids[i] = x->ids[i] = xcalloc(n + 1, length * sizeof(int32_t));
		for (int k = 0; k < n; k++)
			if (tokenizer_encode_padded(s->p.tokenizer[i], text[k], length, x->ids[i] + k * length, e) < 0)
				return -1;
	}
	return 0;
}

void free_texts(struct texts *x)
{
	for (int i = 0; i < TEXT_ENCODERS; i++)
		free(x->ids[i]);
}

struct conditioning read_given(const struct subject *s, const struct safetensors *f, const char *prefix)
{
	const struct conditioning shape = family_conditioning(s->p.config, s->p.config->text[0].length);
	struct conditioning given = { 0 };

	for (int i = 0; i < CONDITIONS; i++) {
		char *name = xprintf("%s%s", prefix, condition_name(i));

		if (family_reads(s, i) && !condition_is_text(i)) {
			given.rows = need(f, name)->shape[0];
			given.of[i] = shape.of[i];
			given.of[i].data = need_floats(f, name);
		}
		free(name);
	}
	return given;
}

int read_skip(const struct safetensors *f)
{
	const char *text = safetensors_metadata(f, "clip_skip");

	return text ? atoi(text) : 0;           /* "None" */
}
