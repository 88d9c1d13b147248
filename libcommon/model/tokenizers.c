/* The tokenizers of a model: its folder's, or CLIP's own. */
#include "family.h"
#include "tokenizers.h"

static int check_size(const struct model_files *m, int which, const struct tokenizer *t, struct error *e)
{
	const struct model_config *c = model_files_config(m);
	const char *folder = model_files_tokenizer(m, which);
	int has = tokenizer_vocab_size(t), takes = c->text[which - 1].vocabulary;

	if (has == takes)
		return 0;
	if (folder)
		return fail(e, EXIT_INPUT, "%s: %d tokens, text encoder %d of %s has %d; the two belong to "
			    "different models, --model-config of a single file must name its own", folder, has, which,
			    model_files_path(m), takes);
	return fail(e, EXIT_INPUT, "%s: text encoder %d has %d tokens and no tokenizer beside it, CLIP's own has %d; "
				   "name a folder that has its tokenizers with --model-config", model_files_path(m),
				   which, takes, has);
}

static struct tokenizer *open_one(const struct model_files *m, int which, struct error *e)
{
	const char *folder = model_files_tokenizer(m, which);
	struct tokenizer *t = folder ? tokenizer_open(folder, e) : tokenizer_open_clip(e);

	if (!t || !check_size(m, which, t, e))
		return t;
	tokenizer_free(t);
	return NULL;
}

int tokenizers_open(const struct model_files *m, struct tokenizer *out[TEXT_ENCODERS], struct error *e)
{
	const struct family *f = model_files_config(m)->family;

	for (int i = 0; i < TEXT_ENCODERS; i++)
		out[i] = NULL;
	for (int i = 0; i < f->texts; i++) {
		out[i] = open_one(m, i + 1, e);
		if (!out[i]) {
			tokenizers_close(out);
			return -1;
		}
		if (f->text[i].pads_with_zero && !tokenizer_pad_known(out[i]))
			tokenizer_set_pad(out[i], 0);
	}
	return 0;
}

void tokenizers_close(struct tokenizer *t[TEXT_ENCODERS])
{
	for (int i = 0; i < TEXT_ENCODERS; i++) {
		tokenizer_free(t[i]);
		t[i] = NULL;
	}
}
