/* Tokenizers against golden ids. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/json.h"
#include "../../libcommon/model/tokenizer.h"
#include "subject.h"

enum { SHOWN = 5 };     /* wrong captions that are printed */

static bool same_ids(const struct tokenizer *tok, const json_t *line, struct error *e)
{
	const char *text = json_string_value(json_object_get(line, "text"));
	const json_t *want = json_object_get(line, "ids");
	int length = tokenizer_length(tok), n, i;
	int32_t *ids = xmalloc(length * sizeof(*ids));
	bool same;

	if (!text || !json_is_array(want))
		die(EXIT_INPUT, "captions.jsonl: a line without text or ids");
	n = tokenizer_encode(tok, text, length, ids, NULL, e);
	same = n == (int)json_array_size(want);
	for (i = 0; same && i < n; i++)
		same = ids[i] == json_integer_value(json_array_get(want, i));
	free(ids);
	return same;
}

static void check_lines(struct tally *t, const struct tokenizer *tok, FILE *f, const char *path)
{
	char *line = NULL;
	size_t room = 0, count = 0, wrong = 0;
	ssize_t n;

	while ((n = getline(&line, &room, f)) > 0) {
		struct error e = { 0 };
		json_t *j = json_parse(path, line, n, &e);
		if (!j)
			die(e.code, "%s", e.text);
		count++;
		if (!same_ids(tok, j, &e) && wrong++ < SHOWN)
			printf("%s:%zu: other ids for %s%s", path, count, line, e.text);
		json_decref(j);
	}
	free(line);
	if (wrong || !count)
		failed(t, "%s: %zu of %zu captions differ", path, wrong, count);
	else
		passed(t, "%s: %zu captions exactly", path, count);
}

void check_tokens(struct tally *t, const char *folder)
{
	struct error e = { 0 };
	struct tokenizer *tok = tokenizer_open(folder, &e);
	char *path = path_join(folder, "captions.jsonl");
	FILE *f = fopen(path, "r");

	if (!f)
		die(EXIT_INPUT, "%s: cannot be read", path);
	if (tok)
		check_lines(t, tok, f, path);
	else
		failed(t, "%s: %s", folder, e.text);
	fclose(f);
	free(path);
	tokenizer_free(tok);
}
