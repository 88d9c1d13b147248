/* Peak rates of cards, as their maker states them: of tensor cores without sparsity. */
#include <string.h>
#include "cards.h"

#define TERA  1e12
#define GIGA  1e9
/* Links to the host of 16 lanes, one way: PCI Express 4.0 and 5.0 */
#define GEN4  (31.5 * GIGA)
#define GEN5  (63 * GIGA)

/*
 * half: FP16 or BF16 products with sums in float; tf32: TF32 ones.  Where a data sheet gives figures with sparsity
 * alone, half of them.  Sources, all NVIDIA's:
 *   a4000, a5000, a6000   data sheets "RTX A4000", "RTX A5000", "RTX A6000" (153.4, 222.2, 309.7 TFLOPS with sparsity;
 *                         448, 768, 768 GB/s); TF32 is half of FP16: "Ampere GA102 GPU Architecture", table 3
 *   3090                  "Ampere GA102 GPU Architecture", table 2: 71, 35.6 TFLOPS, 936 GB/s
 *   4090                  "Ada GPU Architecture", appendix A: 165.2, 82.6 TFLOPS, 1008 GB/s
 *   l40s                  data sheet "L40S": 362, 183 TFLOPS, 864 GB/s
 *   a100                  data sheet "A100 80GB", SXM: 312, 156 TFLOPS, 2039 GB/s
 *   h100                  data sheet "H100", SXM: 1979, 989 TFLOPS with sparsity, 3.35 TB/s
 *   h200                  data sheet "H200", SXM: 1979, 989 TFLOPS with sparsity, 4.8 TB/s
 */
static const struct { const char *name, *words; struct card_rates rates; } cards[] = {
	{ "a4000", "RTX A4000",           {  76.7 * TERA,  38.3 * TERA,  448 * GIGA, GEN4 } },
	{ "a5000", "RTX A5000",           { 111.1 * TERA,  55.6 * TERA,  768 * GIGA, GEN4 } },
	{ "a6000", "RTX A6000",           { 154.8 * TERA,  77.4 * TERA,  768 * GIGA, GEN4 } },
	{ "3090",  "GeForce RTX 3090",    {    71 * TERA,  35.6 * TERA,  936 * GIGA, GEN4 } },
	{ "4090",  "GeForce RTX 4090",    { 165.2 * TERA,  82.6 * TERA, 1008 * GIGA, GEN4 } },
	{ "l40s",  "L40S",                {   362 * TERA,   183 * TERA,  864 * GIGA, GEN4 } },
	{ "a100",  "A100 80GB SXM",       {   312 * TERA,   156 * TERA, 2039 * GIGA, GEN4 } },
	{ "h100",  "H100 SXM",            { 989.5 * TERA, 494.5 * TERA, 3350 * GIGA, GEN5 } },
	{ "h200",  "H200 SXM",            { 989.5 * TERA, 494.5 * TERA, 4800 * GIGA, GEN5 } },
};

static int find(const char *name)
{
	for (size_t i = 0; name && i < sizeof(cards) / sizeof(*cards); i++)
		if (!strcmp(name, cards[i].name))
			return i;
	return -1;
}

const struct card_rates *card_rates(const char *name)
{
	const int i = find(name);

	return i < 0 ? NULL : &cards[i].rates;
}

const char *card_words(const char *name)
{
	const int i = find(name);

	return i < 0 ? NULL : cards[i].words;
}
