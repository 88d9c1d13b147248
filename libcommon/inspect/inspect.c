/* lora-inspect: tells the kind of a file, calls its inspector, and prints the facts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../base/memory.h"
#include "../base/print.h"
#include "../base/retry.h"
#include "../data/shard.h"
#include "../io/kind.h"
#include "../io/publish.h"
#include "../adapter/adapter_scale.h"
#include "internal.h"
#include "../adapter/metadata.h"

/* ---- which kind ---- */

static int inspect_safetensors(struct sheet *s, const char *path, struct error *e)
{
	struct safetensors *f = safetensors_open(path, e);
	int status;

	if (!f)
		return -1;
	s->tensors = true;
	s->adapter = is_adapter(f);
	s->compared = s->options->diff != NULL;
	status = s->adapter ? inspect_adapter(s, f, e) : inspect_tensors(s, f, e);
	s->judged = s->adapter || s->unknown;
	if (s->options->will_it_load && s->unknown)
		will_it_load(s, f, NULL, NULL);
	if (s->options->metadata)
		sheet_metadata(s, f);
	if (s->options->keys)
		sheet_keys(s, f);
	if (!status && s->options->diff)
		status = sheet_diff(s, f, e);
	safetensors_close(f);
	return status;
}

/* Inspects the one adapter file in a folder of PEFT's or diffusers'. */
static int inspect_adapter_folder(struct sheet *s, struct error *e)
{
	char *file;
	int status = adapter_named(s->path, &file, e);

	if (!status)
		status = inspect_safetensors(s, file, e);
	free(file);
	return status;
}

/* n: its first bytes */
static int inspect_begun(struct sheet *s, const unsigned char *bytes, size_t n, struct error *e)
{
	if (n >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0)
		return inspect_picture(s, e);
	if (n > 262 && memcmp(bytes + 257, "ustar", 5) == 0)
		return inspect_tar(s, e);
	if (kind_is_events(bytes, n))
		return inspect_events(s, e);
	return inspect_safetensors(s, s->path, e);
}

/* Inspects a pipe by its first bytes, which stay in it for the inspector.  The pipe is held open meanwhile, lest its
 * writer get a SIGPIPE. */
static int inspect_pipe(struct sheet *s, struct error *e)
{
	int fd = open_input(s->path, e), aside[2], status;
	unsigned char bytes[512];
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	if (pipe2(aside, O_CLOEXEC) == 0) {
		n = RETRY(tee(fd, aside[1], sizeof(bytes), 0));
		if (n > 0)
			n = RETRY(read(aside[0], bytes, sizeof(bytes)));
		close(aside[0]);
		close(aside[1]);
	}
	if (n < 0)
		status = fail(e, EXIT_IO, "%s: looking into the pipe: %s; write it to a file first", s->path,
			      strerror(errno));
	else
		status = inspect_begun(s, bytes, (size_t)n, e);
	close(fd);
	return status;
}

static int inspect_by_content(struct sheet *s, struct error *e)
{
	struct buffer head = { 0 };
	struct stat st;
	int status;

	if (strcmp(s->path, "-") == 0)
		return inspect_tar(s, e);
	if (stat(s->path, &st))
		return fail(e, exit_of_errno(errno), "%s: %s; check the path", s->path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return is_adapter_folder(s->path) ? inspect_adapter_folder(s, e) : inspect_folder(s, e);
	if (S_ISFIFO(st.st_mode))
		return inspect_pipe(s, e);
	if (shard_is_list(s->path))
		return inspect_list(s, e);
	if (read_head(s->path, 512, &head, e) < 0)
		return -1;
	sheet_int(s, "bytes", NULL, st.st_size);
	status = inspect_begun(s, (const unsigned char *)head.data, head.len, e);
	buffer_free(&head);
	return status;
}

/* What was asked, and is not of such a file. */
static void say_unasked(struct sheet *s, const struct inspect_options *o)
{
	const struct { bool asked, fits; const char *option, *of; } facts[] = {
		{ o->norms, s->adapter, "--norms", "adapters" }, { o->spectrum, s->adapter, "--spectrum", "adapters" },
		{ o->tokens != NULL, s->adapter, "--tokens", "adapters" },
		{ o->metadata, s->tensors, "--metadata", "safetensors files" },
	};

	for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); i++) {
		if (!facts[i].asked || facts[i].fits)
			continue;
		sheet_line(s, "", "%s: of %s alone, and this is none", facts[i].option, facts[i].of);
		if (s->options->json)
			warning("%s: %s: of %s alone, and this is none", s->path, facts[i].option, facts[i].of);
	}
	if (o->will_it_load && !s->judged)
		(void)fail(&s->unfit, EXIT_INPUT, "%s: --will-it-load: this is no adapter; name one", s->path);
	else if (o->diff && !s->compared)
		(void)fail(&s->unfit, EXIT_INPUT, "%s: --diff compares safetensors files, and this is none; name one",
			   s->path);
}

/* ---- printing ---- */

static int put_text(const struct buffer *b, struct error *e)
{
	return print_text(b->len ? b->data : "", b->len, e);
}

static void end_json(struct sheet *s, int status, const struct error *found)
{
	json_bool(&s->json, "sound", status == 0);
	if (status)
		json_text(&s->json, "error", found->text);
	json_end(&s->json);
}

/* Prints to a file or a pipe unchanged, so that it reads back as the same; to a terminal with controls escaped. */
static int put_config(const char *config, struct error *e)
{
	if (isatty(STDOUT_FILENO))
		return print_text(config, strlen(config), e);
	if (write_all(STDOUT_FILENO, config, strlen(config)) < 0)
		return fail(e, EXIT_IO, "standard output: %s; write to another place", strerror(errno));
	return 0;
}

int inspect_config(const char *path, struct error *e)
{
	struct safetensors *f = safetensors_open(path, e);
	const char *config;
	int status;

	if (!f)
		return -1;
	config = safetensors_metadata(f, CONFIG_KEY);
	if (!config)
		config = safetensors_metadata(f, "config");
	if (config) {
		status = put_config(config, e);
	} else {
		status = fail(e, EXIT_INPUT, "%s: no configuration in it; "
					     "adapters and states of lora-train 0.1 and later carry one", path);
	}
	safetensors_close(f);
	return status;
}

/* A page shows all that there is to say but for single tensors. */
static struct inspect_options all_facts(const struct inspect_options *o)
{
	struct inspect_options all = *o;

	all.json = all.norms = all.spectrum = all.metadata = true;
	return all;
}

static int put_facts(struct sheet *s, const struct inspect_options *o, int status, const struct error *found,
		     struct error *e)
{
	end_json(s, status, found);
	if (!status && o->html && page_write(o->html, &s->json.text, e))
		return -1;
	if (o->json)
		return json_line(&s->json, STDOUT_FILENO, e) < 0 ? fail_at(e, "standard output") : 0;
	return o->html ? 0 : put_text(&s->text, e);
}

int inspect_file(const char *path, const struct inspect_options *o, struct error *e)
{
	const struct inspect_options all = o->html ? all_facts(o) : *o;
	struct sheet s = { .options = &all, .path = path };
	struct error output = { 0 };
	int status;

	json_begin(&s.json, NULL);
	json_text(&s.json, "file", path);
	status = inspect_by_content(&s, e);
	if (!status)
		say_unasked(&s, o);
	if (!status && o->verify)
		sheet_line(&s, "verified", "sound");
	if (put_facts(&s, o, status, e, &output)) {
		*e = output;
		status = -1;
	} else if (!status && s.unfit.code) {
		*e = s.unfit;
		status = -1;
	}
	json_free(&s.json);
	buffer_free(&s.text);
	return status;
}
