/* The inner loops of linear algebra (linalg_body.h) for any machine. */
#include "linalg_loops.h"
#define LANES 2
#define LOOPS linalg_portable
#include "linalg_body.h"
