/* Which part of a data set a program is to make: --shard I/N, and the variables of each launcher. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/data/shard.h"
#include <cmocka.h>     /* last: it takes the name fail */

/* variables: NAME=VALUE, with a blank between them.  count 0: refused, with `says` in the message. */
static const struct row { const char *variables; uint32_t index, count; const char *says; } rows[] = {
	{ "SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_COUNT=8", 3, 8, NULL },
	{ "SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_COUNT=8 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=8", 2, 8, NULL },
	{ "SLURM_ARRAY_TASK_ID=20 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_STEP=10", 2, 4,
	  NULL },
	{ "SLURM_PROCID=1 SLURM_NTASKS=4", 1, 4, NULL },
	{ "SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_JOB_ID=7 SLURM_STEP_ID=0", 0, 4, NULL },
	{ "OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=3", 2, 3, NULL },
	{ "PMI_RANK=0 PMI_SIZE=2", 0, 2, NULL },
	{ "JOB_COMPLETION_INDEX=4 LORA_SHARDS=5", 4, 5, NULL },
	{ "SKYPILOT_NODE_RANK=1 SKYPILOT_NUM_NODES=2", 1, 2, NULL },
	{ "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1", 0, 1, NULL },
	/* who started one program alone does not speak of parts */
	{ "SLURM_ARRAY_TASK_ID=5 SLURM_ARRAY_TASK_COUNT=6 SLURM_PROCID=0 SLURM_NTASKS=1", 5, 6, NULL },
	{ "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 PMI_RANK=1 PMI_SIZE=2", 1, 2, NULL },
	{ "SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_JOB_ID=7 OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4", 3, 4, NULL },
	/* LORA_SHARDS alone is no launcher; an empty variable is none */
	{ "LORA_SHARDS=5 PMI_RANK=1 PMI_SIZE=2 SLURM_PROCID=", 1, 2, NULL },

	{ "", 0, 0, "no launcher" },
	{ "SLURM_PROCID=1 SLURM_NTASKS=2 OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2", 0, 0, "Slurm says part 1/2" },
	{ "SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=2 SLURM_PROCID=1 SLURM_NTASKS=3", 0, 0, "say --shard I/N" },
	{ "SLURM_PROCID=0 SLURM_NTASKS=4 SLURM_JOB_ID=7", 0, 0, "srun" },
	{ "JOB_COMPLETION_INDEX=4", 0, 0, "LORA_SHARDS is not set" },
	{ "JOB_COMPLETION_INDEX=5 LORA_SHARDS=5", 0, 0, "is no part" },
	{ "PMI_RANK=one PMI_SIZE=2", 0, 0, "is no number" },
	{ "PMI_RANK=-1 PMI_SIZE=2", 0, 0, "is no number" },
	{ "PMI_RANK=0 PMI_SIZE=0", 0, 0, "is no part" },
	{ "SLURM_ARRAY_TASK_ID=0 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=1", 0, 0, "is no part" },
	{ "SLURM_ARRAY_TASK_ID=15 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_STEP=10", 0, 0, "is no part" },
};

static void set(const char *variables, bool on)
{
	char *all = xstrdup(variables), *at = all, *one;

	while ((one = strsep(&at, " ")))
		if (*one) {
			char *value = strchr(one, '=');

			*value++ = 0;
			assert_int_equal(on ? setenv(one, value, 1) : unsetenv(one), 0);
		}
	free(all);
}

static void test_launchers(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct row *r = &rows[i];
		struct shard s;
		struct error e = { 0 };
		int status;

		set(r->variables, true);
		status = shard_read(&s, "auto", &e);
		set(r->variables, false);
		if ((status == 0) != (r->count > 0) || (r->count && (s.index != r->index || s.count != r->count)) ||
		    (!r->count && (e.code != EXIT_USAGE || !strstr(e.text, r->says))))
			fail_msg("%s: %d, part %u/%u; %s", r->variables, status, s.index, s.count, e.text);
	}
}

static void test_option(void **state)
{
	static const char *const wrong[] = { "", "1", "2/2", "0/0", "-1/2", "1/2x", "a/b", "0/2/3", "AUTO", "1 /2" };
	struct shard s;
	struct error e;
	char *name;

	assert_int_equal(shard_read(&s, NULL, &e), 0);
	assert_int_equal(s.count, 1);
	assert_int_equal(shard_read(&s, "11/12", &e), 0);
	name = shard_file(&s);
	assert_string_equal(name, "latents-00011-of-00012.tar");
	free(name);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(shard_read(&s, wrong[i], &e), -1);
		assert_int_equal(e.code, EXIT_USAGE);
	}
}

int main(void)
{
	/* the checks themselves may run under one */
	static const char *const all[] = { "SLURM_PROCID", "SLURM_ARRAY_TASK_ID", "OMPI_COMM_WORLD_RANK", "PMI_RANK",
					   "JOB_COMPLETION_INDEX", "SKYPILOT_NODE_RANK", "SLURM_JOB_ID" };
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_launchers), cmocka_unit_test(test_option) };

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		unsetenv(all[i]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
