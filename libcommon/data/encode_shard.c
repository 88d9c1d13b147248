/*
 * encode_shard.c - lora-encode --shard: which samples are this program's, where its part goes, and its line in the list
 * of parts.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../io/claims.h"
#include "../io/publish.h"
#include "encode_internal.h"

/* --shard auto runs with one command line on every machine, so its output can only be a folder. */
static int goes_into_folder(const struct encode_settings *s, struct error *e)
{
	const size_t n = strlen(s->output);
	struct stat st;
	const int there = path_stat(s->output, &st, e);

	if (!s->shard || !strcmp(s->output, "-") || there < 0)
		return there < 0 ? -1 : 0;
	if ((there && S_ISDIR(st.st_mode)) || (n && s->output[n - 1] == '/'))
		return 1;
	if (strcmp(s->shard, "auto"))
		return 0;
	if (there)
		return fail(e, EXIT_USAGE, "%s: is no folder; with --shard auto each part is a file of its own in "
					   "one folder", s->output);
	return 1;
}

int encode_begin_shard(struct encoder *n, struct encode_settings *s, struct error *e)
{
	int into = shard_read(&n->shard, s->shard, e) < 0 ? -1 : goes_into_folder(s, e);
	char *name;

	if (into <= 0)
		return into;
	n->made_folder = access(s->output, F_OK) != 0;
	n->folder = xstrdup(s->output);
	if (make_folders(s->output, e) < 0)
		return -1;
	name = shard_file(&n->shard);
	s->output = n->target = path_join(n->folder, name);
	free(name);
	s->goes_on = true;      /* a part that is finished costs a look at its samples */
	return claim_output_file("--output", s->output, e);
}

int encode_end_shard(const struct encoder *n, struct error *e)
{
	uint32_t there;

	if (!n->folder)
		return 0;
	if (shard_list_add(n->folder, &n->shard, n->written, &there, e) < 0)
		return -1;
	if (there == n->shard.count)
		note("all %u parts are there: %s/%s is the whole", there, n->folder, SHARD_LIST);
	return 0;
}
