/* The inner loop of product.c for any machine: two doubles at a time in the compiler's own vectors. */
enum { LANES = 2 };
#define all(x) ((vec){ (x), (x) })
#define mul_add(a, b, c) ((a) * (b) + (c))
#define PRODUCT_LOOP product_loop_portable
#include "product_body.h"
