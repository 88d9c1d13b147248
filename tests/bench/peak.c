/* peak.c - prints the instruction set in use, the threads, and the peak of both. */
#include <stdio.h>
#include "peak.h"

int main(void)
{
	struct error e;

	if (cpu_set_check(&e) < 0)
		return report(&e);
	printf("%s, %d threads, peak %.0f GFLOP/s\n", cpu_set(), threads_default(), peak_gflops(threads_default()));
	return 0;
}
