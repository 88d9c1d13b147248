/* The table of launchers. */
#include <stdlib.h>
#include "launcher.h"

const struct launcher launchers[] = {
	{ "a Slurm array", "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN",
	  "SLURM_ARRAY_TASK_STEP", NULL },
	{ "Slurm", "SLURM_PROCID", "SLURM_NTASKS", NULL, NULL, "PMIX_RANK" },   /* srun --mpi=pmix */
	{ "Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", NULL, NULL, "OMPI_COMM_WORLD_SIZE" },
	{ "MPICH", "PMI_RANK", "PMI_SIZE", NULL, NULL, "PMI_SIZE" },
	{ "Kubernetes", "JOB_COMPLETION_INDEX", "LORA_SHARDS", NULL, NULL, NULL },
	{ "SkyPilot", "SKYPILOT_NODE_RANK", "SKYPILOT_NUM_NODES", NULL, NULL, NULL },
	{ 0 },
};

const struct launcher *launcher_of_ranks(void)
{
	const struct launcher *l;

	for (l = launchers; l->name; l++) {
		const char *count = l->mpi && getenv(l->mpi) ? getenv(l->count) : NULL;
		if (count && strtol(count, NULL, 10) > 1)
			return l;
	}
	return NULL;
}
