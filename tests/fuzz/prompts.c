/* Prompt files as lines, TOML and JSON, by the first byte: what is accepted is within the limits. */
#include "fuzz.h"
#include "../../libcommon/sample/prompts.h"

static int read_list(const uint8_t *bytes, size_t n, struct prompt_list *list, struct error *e)
{
	struct fuzz_file f = fuzz_file(bytes + 1, n - 1);
	char *text = xstrndup((const char *)bytes + 1, n - 1);
	int status;

	if (bytes[0] == 't')
		status = prompts_read_toml(f.path, list, e);
	else if (bytes[0] == 'j')
		status = prompts_read_json(f.path, list, e);
	else
		status = prompt_parse("input:1", text, list, e);
	close(f.fd);
	free(text);
	return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct prompt_list list = { 0 };
	struct error e = { 0 };

	if (n && read_list(bytes, n, &list, &e) < 0)
		HOLDS(e.code == EXIT_USAGE || e.code == EXIT_INPUT);
	for (size_t i = 0; i < list.count && !e.code; i++) {
		const struct prompt *p = &list.prompt[i];
		HOLDS(p->text && p->width >= 0 && p->width <= 65536 && p->height >= 0 && p->height <= 65536);
		HOLDS(p->steps >= 0 && p->cfg == p->cfg);
	}
	prompts_free(&list);
	return 0;
}
