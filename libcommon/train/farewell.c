/* The notes at the end of a run: where the adapter is, how to paint with it, where the curves are. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "../base/utf8.h"
#include "../io/publish.h"
#include "../model/family.h"
#include "witness.h"

enum { PROMPT_BYTES = 100 };

/* Adds a word, quoted for a shell where needed. */
static void add_word(struct buffer *b, const char *word)
{
	if (*word &&
	    strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=,@%+-") == strlen(word)) {
		buffer_addf(b, " %s", word);
		return;
	}
	buffer_adds(b, " '");
	for (; *word; word++) {
		if (*word == '\'')
			buffer_adds(b, "'\\''");
		else
			buffer_add(b, word, 1);
	}
	buffer_adds(b, "'");
}

static void add_option(struct buffer *b, const char *option, const char *value)
{
	if (!value)
		return;
	buffer_addf(b, " %s", option);
	add_word(b, value);
}

/* Adds "lora-sample" with the folder with which this program was called, if any. */
static void add_program(struct buffer *b)
{
	const char *slash = strrchr(program_invocation_name, '/');

	if (slash)
		buffer_add(b, program_invocation_name, (size_t)(slash + 1 - program_invocation_name));
	buffer_adds(b, "lora-sample");
}

/* A prompt that the adapter knows: the caption of the first picture. */
static char *words_to_paint(const struct witness *w)
{
	const char *caption = w->data->set.count && w->data->set.sample[0].captions ?
		latent_sample_caption(&w->data->set.sample[0]) : "";
	const size_t line = strcspn(caption, "\n");

	return line ? xstrndup(caption, utf8_cut(caption, line, PROMPT_BYTES)) : xstrdup("a picture");
}

static char *painting_command(const struct witness *w, const char *adapter)
{
	char *prompt = words_to_paint(w), *picture = xprintf("%s.png", w->s->output_name);
	struct buffer b = { 0 };
	const int side = model_files_config(w->net->files)->family->side;       /* lora-sample's default */
	int size[2] = { side, side };

	data_common_bucket(w->data, size);
	add_program(&b);
	add_option(&b, "-m", w->s->model);
	add_option(&b, "--model-config", w->s->model_config);
	add_option(&b, "--vae", w->s->vae);
	if (strcmp(w->s->device, "cpu"))
		add_option(&b, "--device", w->s->device);
	if (w->s->flow_model)
		buffer_adds(&b, " --flow-model");
	if (w->s->flow_shift)
		buffer_addf(&b, " --discrete-flow-shift %.9g", w->s->flow_shift);
	add_option(&b, "-l", adapter);
	if (size[0] != side || size[1] != side)
		buffer_addf(&b, " -W %d -H %d", size[0], size[1]);
	add_option(&b, "-p", prompt);
	add_option(&b, "-o", picture);
	free(prompt);
	free(picture);
	return buffer_steal(&b);
}

static void tell_curves(const struct witness *w)
{
	const struct train_settings *s = w->s;
	const bool board = s->logging_dir && !(s->log_with && !strcasecmp(s->log_with, "json"));

	if (s->html)
		note("the curves are a page: %s", s->html);
	if (board)
		note("the curves in TensorBoard: tensorboard --logdir %s", s->logging_dir);
	if (s->log)
		note("each step's numbers are in %s%s", s->log,
		     s->html || board ? "" : "; --html FILE makes a page of curves of them");
}

void witness_tell_result(const struct witness *w, const char *adapter)
{
	char *command = painting_command(w, adapter);

	note("the adapter is %s; paint with it:", adapter);
	note("    %s", command);
	tell_curves(w);
	free(command);
}
