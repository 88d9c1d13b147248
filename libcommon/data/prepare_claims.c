/* Claims the files of a data set, once their names are known and before an output is opened. */
#include <stdlib.h>
#include <string.h>
#include "../io/claims.h"
#include "prepare_claims.h"
#include "prepare_mask.h"

static int claim_and_free(char *path, struct error *e)
{
	int status = path ? claim_input(path, e) : 0;

	free(path);
	return status;
}

static int claim_picture(const struct picture_rules *rules, const struct picture *p, struct error *e)
{
	int status = claim_input(p->path, e);
	char *mask = NULL;

	for (int i = 0; i < CAPTION_PLACES && !status; i++)
		status = claim_and_free(caption_place(&rules->captions, p->path, i), e);
	if (!status && rules->mask_dir)
		status = mask_path(rules->mask_dir, p->path, &mask, e);
	return status ? status : claim_and_free(mask, e);
}

/* The folder that a file is in, malloced. */
static char *parent_of(const char *file)
{
	const char *slash = strrchr(file, '/');

	return slash ? xstrndup(file, slash == file ? 1 : (size_t)(slash - file)) : xstrdup(".");
}

/* Claims the folders that pictures come from: a picture written there might replace itself or a neighbour. */
static int claim_sources(const struct pictures *list, struct error *e)
{
	int status = 0;

	for (size_t i = 0; i < list->count && !status; i++) {
		char *parent = parent_of(list->picture[i].path);

		status = claim_input_folder(parent, e);
		free(parent);
	}
	return status;
}

/* Pictures of one folder stand side by side in the list. */
static int claim_targets(const char *out, const struct pictures *list, struct error *e)
{
	char *last = xstrdup("");
	int status = 0;

	for (size_t i = 0; i < list->count && !status; i++) {
		char *file = xprintf("%s/%s", out, list->picture[i].inside), *parent = parent_of(file);

		free(file);
		if (strcmp(parent, last)) {
			status = claim_output("--folder", parent, e);
			if (!status)
				status = claim_outputs_in("--folder", parent, NULL, NULL, e);
		}
		free(last);
		last = parent;
	}
	free(last);
	return status;
}

int prepare_claim(const struct prepare_options *o, const struct prepare_rules *r, const struct pictures *list,
		  struct error *e)
{
	int status = 0;

	if (!o->folder && !claims_matter())
		return 0;
	for (size_t i = 0; i < list->count && !status; i++)
		status = claim_picture(&r->each[list->picture[i].rules], &list->picture[i], e);
	if (status || !o->folder)
		return status;
	return claim_sources(list, e) ? -1 : claim_targets(o->folder, list, e);
}
