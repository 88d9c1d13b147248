/* spawn N COMMAND...: runs a command N times with no output, and prints best and median wall time in microseconds. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[1]) : 0, status;
	double *took = n > 0 ? malloc((size_t)n * sizeof(*took)) : NULL;
	posix_spawn_file_actions_t actions;
	pid_t child;

	if (!took)
		return fprintf(stderr, "usage: spawn N COMMAND...\n"), 2;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	for (int i = 0; i < n; i++) {
		took[i] = -now();
		if (posix_spawnp(&child, argv[2], &actions, NULL, argv + 2, environ) || waitpid(child, &status, 0) < 0)
			return perror(argv[2]), 1;
		took[i] += now();
	}
	qsort(took, (size_t)n, sizeof(*took), ascending);
	printf("%.0f %.0f\n", took[0], took[n / 2]);
	posix_spawn_file_actions_destroy(&actions);
	free(took);
	return 0;
}
