#include "tokenizers.h"

static int check_size(const struct model_files *m, int which, const struct tokenizer *t, struct error *e)
{
	const struct model_config *c = model_files_config(m);
	const char *folder = model_files_tokenizer(m, which);
	int has = tokenizer_vocab_size(t), takes = which == 1 ? c->te1.vocabulary : c->te2.vocabulary;

	if (has == takes)
		return 0;
	if (folder)
		return fail(e, EXIT_INPUT, "%s: %d tokens, text encoder %d of %s has %d; the two belong to "
			    "different models, --model-config of a single file must name its own", folder, has, which,
			    model_files_path(m), takes);
	return fail(e, EXIT_INPUT, "%s: text encoder %d has %d tokens and no tokenizer beside it, CLIP's own has %d; name a "
		    "folder that has its tokenizers with --model-config", model_files_path(m), which, takes, has);
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

int tokenizers_open(const struct model_files *m, struct tokenizer *out[2], struct error *e)
{
	out[0] = open_one(m, 1, e);
	out[1] = out[0] ? open_one(m, 2, e) : NULL;
	if (!out[1]) {
		tokenizer_free(out[0]);
		out[0] = NULL;
		return -1;
	}
	if (!tokenizer_pad_known(out[1]))
		tokenizer_set_pad(out[1], 0);
	return 0;
}
