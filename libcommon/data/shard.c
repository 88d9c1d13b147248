/* Which part of a data set this program is to make, by its option or by the variables of its launcher. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../base/memory.h"
#include "../ranks/launcher.h"
#include "shard.h"

char *shard_file(const struct shard *s)
{
	return xprintf("latents-%05u-of-%05u.tar", s->index, s->count);
}

/* 1: a number; 0: the variable is not there, or empty; -1: *e. */
static int number_of(const char *variable, uint32_t *value, struct error *e)
{
	const char *text = variable ? getenv(variable) : NULL;

	if (!text || !*text)
		return 0;
	if (strspn(text, "0123456789") == strlen(text) && strlen(text) <= 9) {
		*value = strtoul(text, NULL, 10);
		return 1;
	}
	return fail(e, EXIT_USAGE, "--shard auto: %s='%.40s' is no number; say --shard I/N", variable, text);
}

/* A batch script has its job's number of tasks, and is none of them itself: srun starts these. */
static bool is_batch_script(const struct launcher *l, const struct shard *s)
{
	return !strcmp(l->index, "SLURM_PROCID") && s->count > 1 && s->index == 0 && getenv("SLURM_JOB_ID") &&
	       !getenv("SLURM_STEP_ID") && !getenv("SLURM_STEPID");
}

/* 1: this launcher is there; 0: not; -1: *e. */
static int ask(const struct launcher *l, struct shard *s, struct error *e)
{
	uint32_t first = 0, step = 1;
	int index = number_of(l->index, &s->index, e), count = number_of(l->count, &s->count, e);

	if (index < 0 || count < 0 || number_of(l->first, &first, e) < 0 || number_of(l->step, &step, e) < 0)
		return -1;
	if (!index)
		return 0;
	if (!count)
		return fail(e, EXIT_USAGE, "--shard auto: %s says %s=%u, but %s is not set; set it to the number of "
					   "parts, or say --shard I/N", l->name, l->index, s->index, l->count);
	if (s->index < first || !step || (s->index - first) % step || (s->index - first) / step >= s->count)
		return fail(e, EXIT_USAGE, "--shard auto: %s=%u is no part of %s=%u; say --shard I/N", l->index,
			    s->index, l->count, s->count);
	s->index = (s->index - first) / step;
	return 1;
}

/* A launcher that starts one program alone says nothing of parts: an array's task is often a step of one task. */
static int read_launchers(struct shard *s, struct error *e)
{
	const struct launcher *says = NULL, *script = NULL;

	*s = (struct shard){ 0, 0 };
	for (const struct launcher *l = launchers; l->name; l++) {
		struct shard other;
		const int there = ask(l, &other, e);

		if (there < 0)
			return -1;
		if (!there)
			continue;
		if (is_batch_script(l, &other)) {
			script = l;
			continue;
		}
		if (says && other.count > 1 && s->count > 1 && (other.index != s->index || other.count != s->count))
			return fail(e, EXIT_USAGE, "--shard auto: %s says part %u/%u and %s %u/%u; say --shard I/N",
				    says->name, s->index, s->count, l->name, other.index, other.count);
		if (other.count > s->count) {
			says = l;
			*s = other;
		}
	}
	if (script && s->count < 2)
		return fail(e, EXIT_USAGE, "--shard auto: Slurm's script runs once for all its tasks; start it with "
					   "srun, or say --shard I/N");
	if (!says)
		return fail(e, EXIT_USAGE, "--shard auto: no launcher has said which part this is (Slurm, Open MPI, "
					   "MPICH, Kubernetes with LORA_SHARDS, SkyPilot); say --shard I/N");
	return 0;
}

int shard_read(struct shard *s, const char *text, struct error *e)
{
	char tail;

	*s = (struct shard){ 0, 1 };
	if (!text)
		return 0;
	if (!strcmp(text, "auto"))
		return read_launchers(s, e);
	if (strspn(text, "0123456789/") < strlen(text) || sscanf(text, "%9u/%9u%c", &s->index, &s->count, &tail) != 2 ||
	    s->index >= s->count)
		return fail(e, EXIT_USAGE, "--shard '%s' is neither I/N with 0 <= I < N nor 'auto'; the first of three "
					   "parts is 0/3", text);
	return 0;
}
