/* The tests of the backend need no threads of the host's: sanitizers would have to see through OpenMP's library. */
#include <omp.h>

int omp_get_max_threads(void) { return 1; }

void omp_set_num_threads(int count) { }
