/*
 * adapter.c - a LoRA of random numbers for SDXL under kohya's names: adapter KEYS.tsv RANK FILE
 *
 * KEYS.tsv is tests/golden/sdxl_lora_keys.tsv.  The modules are those of attention and of both text encoders, 986, in
 * F16.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/philox.h"
#include "../../libcommon/io/safetensors.h"

static float *numbers(size_t n, uint32_t item, float size)
{
	float *x = xmalloc(n * sizeof(*x));

	random_uniforms(&(struct random){ 2, RANDOM_TEST, item, 0 }, x, n, -size, size);
	return x;
}

struct list { struct safetensors_out *tensor; size_t count, capacity; };

static void put(struct list *l, const char *module, const char *suffix, int dims, int64_t rows, int64_t columns,
		const float *data)
{
	GROW(l->tensor, l->count, l->capacity);
	l->tensor[l->count++] = (struct safetensors_out){ xprintf("%s.%s", module, suffix), DTYPE_F16, dims,
							  { rows, columns }, data, true };
}

static void put_module(struct list *l, const char *module, int64_t in, int64_t out, int64_t rank)
{
	put(l, module, "alpha", 0, 0, 0, numbers(1, (uint32_t)l->count, 4));
	put(l, module, "lora_down.weight", 2, rank, in, numbers(rank * in, (uint32_t)l->count, 1 / sqrtf(in)));
	put(l, module, "lora_up.weight", 2, out, rank, numbers(out * rank, (uint32_t)l->count, 0.02f));
}

int main(int argc, char **argv)
{
	FILE *f = argc == 4 ? fopen(argv[1], "r") : NULL;
	struct list l = { 0 };
	struct error e = { 0 };
	char line[1024], name[512], kind[8], set[32];
	long in, out, kernel;

	if (!f)
		die(EXIT_USAGE, "usage: adapter KEYS.tsv RANK FILE");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%511s %7s %ld %ld %ld %31s", name, kind, &in, &out, &kernel, set) == 6 &&
		    (!strcmp(set, "attn") || !strcmp(set, "te")))
			put_module(&l, name, in, out, atol(argv[2]));
	fclose(f);
	if (safetensors_save(argv[3], l.tensor, l.count, NULL, 0, &e))
		return report(&e);
	printf("%s: %zu modules\n", argv[3], l.count / 3);
	for (size_t i = 0; i < l.count; i++) {
		free((char *)l.tensor[i].name);
		free((void *)l.tensor[i].data);
	}
	free(l.tensor);
	return 0;
}
