/* lora-inspect: its options, a call for each file, a status. */
#include <string.h>
#include "../../libcommon/config/options.h"
#include "../../libcommon/io/kind.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/inspect/inspect.h"
#include "../../libcommon/readers/readers.h"

/* The worst of all files: output that cannot be written ends it at once. */
static int inspect_all(char **file, int count, const struct inspect_options *o, bool config)
{
	int worst = EXIT_DONE;

	for (int i = 0; i < count; i++) {
		struct error e = { 0 };

		if ((config ? inspect_config(file[i], &e) : inspect_file(file[i], o, &e)) == 0)
			continue;
		report(&e);
		if (e.code == EXIT_IO)
			return EXIT_IO;
		worst = e.code == EXIT_USAGE ? EXIT_INPUT : e.code;
	}
	return worst;
}

#define PROGRAMS "a1111|comfy|invoke|diffusers|sdcpp|kohya|all"

/* A bit for each reader that is named. */
static int take_readers(const struct text_list *names, unsigned *readers, struct error *e)
{
	for (size_t i = 0; i < names->count; i++) {
		const bool all = strcmp(names->item[i], "all") == 0;
		const struct reader *named = reader_named(names->item[i]), *r;

		if (!all && !named)
			return fail(e, EXIT_USAGE, "--will-it-load: '%s' is none of " PROGRAMS, names->item[i]);
		for (size_t k = 0; (r = reader_at(k)); k++)
			*readers |= all || r == named ? 1u << k : 0;
	}
	return 0;
}

/* The first option that needs more than headers; NULL: none does. */
static const char *of_values(const struct inspect_options *o)
{
	const struct { bool asked; const char *name; } options[] = {
		{ o->verify, "verify" }, { o->norms, "norms" }, { o->spectrum, "spectrum" },
		{ o->tokens != NULL, "tokens" }, { o->diff != NULL, "diff" }, { o->html != NULL, "html" },
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (options[i].asked)
			return options[i].name;
	return NULL;
}

int main(int argc, char **argv)
{
	struct inspect_options o = { 0 };
	struct text_list programs = { 0 };
	bool config = false;
	const struct option table[] = {
		{ "json", 0, OPTION_FLAG, &o.json, NULL, "one JSON object a file" },
		{ "keys", 0, OPTION_FLAG, &o.keys, NULL, "every tensor: type, shape, name" },
		{ "norms", 0, OPTION_FLAG, &o.norms, NULL, "adapters: norm of each module's update" },
		{ "spectrum", 0, OPTION_FLAG, &o.spectrum, NULL,
		  "adapters: singular values, effective ranks" },
		{ "model", 'm', OPTION_STRING, &o.model, "MODEL", "measure adapters on its weights: DoRA, OFT",
		  .file = FILE_READ, .completes = "*.safetensors" },
		{ "model-config", 0, OPTION_STRING, &o.model_config, "DIR", "config files of a single-file model",
		  .file = FILE_READ, .completes = "/" },
		{ "tokens", 0, OPTION_STRING, &o.tokens, "[WORDS]",
		  "adapters: which words, or a file's, it moves; -m",
		  .file = FILE_READ },
		{ "metadata", 0, OPTION_FLAG, &o.metadata, NULL, "what the file says about itself" },
		{ "verify", 0, OPTION_FLAG, &o.verify, NULL,
		  "read every byte: structure, checksums, hashes, finiteness" },
		{ "quick", 0, OPTION_FLAG, &o.quick, NULL, "headers only" },
		{ "will-it-load", 0, OPTION_LIST, &programs, "PROGRAM",
		  "what that program makes of an adapter; " PROGRAMS, .completes = PROGRAMS },
		{ "diff", 0, OPTION_STRING, &o.diff, "OTHER", "what another file has, lacks and does otherwise",
		  .file = FILE_READ },
		{ "html", 0, OPTION_STRING, &o.html, "FILE", "all that there is to say, as a page in FILE",
		  .file = FILE_WRITTEN, .writes = KIND_HTML },
		{ "rebuild-config", 0, OPTION_FLAG, &config, NULL,
		  "the settings of the run that made it, as TOML" },
		{ 0 },
	};
	const struct tool tool = { "lora-inspect", "[options] FILE...",
				   "Say what adapters, checkpoints, tars, states and pictures are.", table,
				   .operands = FILE_READ };
	struct error e = { 0 };
	int operands;

	claim_standard_streams();
	operands = options_parse(&tool, argc, argv);
	if (!operands && o.tokens && strcmp(o.tokens, "auto"))
		fail(&e, EXIT_USAGE,
		     "no file: '%s' is taken for the words of --tokens; say --tokens=WORDS, or --tokens in front of "
		     "another option",
		     o.tokens);
	else if (!operands)
		fail(&e, EXIT_USAGE,
		     "no file; say lora-inspect FILE (a folder for a diffusers model, - for a tar on standard input)");
	else if (o.tokens && !o.model)
		fail(&e, EXIT_USAGE, "--tokens: the words run through a model's text encoders; say -m MODEL");
	else if (o.html && operands > 1)
		fail(&e, EXIT_USAGE, "--html: a page is of one file, and there are %d; say it for each", operands);
	else if (o.html && o.diff)
		fail(&e, EXIT_USAGE, "--html: a page is of one file; say --diff with --json or in words");
	else if (o.quick && of_values(&o))
		fail(&e, EXIT_USAGE, "--quick reads headers only, and --%s values; choose one", of_values(&o));
	else if (o.model_config && !o.model)
		warning("--model-config does nothing without -m; name the single-file model that it is of");
	if (!e.code)
		(void)take_readers(&programs, &o.will_it_load, &e);
	return e.code ? report(&e) : inspect_all(argv, operands, &o, config);
}
