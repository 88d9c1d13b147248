/* photo W H SEED > FILE.jpg: clouds of every size and a sensor's grain,
 * so that it compresses like a photograph (2 to 2.5 bits a pixel). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "../../libcommon/data/resample.h"

static struct image noise(int w, int h, uint64_t seed, uint64_t purpose)
{
	struct image i = { w, h, xmalloc((size_t)w * h * 3) };
	uint64_t x = seed * 2654435761u + purpose * 40503u + 1;

	for (size_t k = 0; k < (size_t)w * h * 3; k++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		i.rgb[k] = (uint8_t)(x >> 56);
	}
	return i;
}

static void add_clouds(float *sum, int w, int h, int cells, uint64_t seed, float amplitude)
{
	struct image coarse = noise(cells, cells * h / w + 1, seed, (uint64_t)cells), fine;

	resample(&coarse, w, h, RESAMPLE_LANCZOS, (struct window){ 0, 0, w, h }, &fine);
	for (size_t k = 0; k < (size_t)w * h * 3; k++)
		sum[k] += amplitude * (fine.rgb[k] - 127.5f);
	image_free(&coarse);
	image_free(&fine);
}

int main(int argc, char **argv)
{
	int w = argc == 4 ? atoi(argv[1]) : 0, h = argc == 4 ? atoi(argv[2]) : 0;
	uint64_t seed = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
	struct buffer out = { 0 };
	struct image i, grain;
	float *sum;

	if (w < 1 || h < 1)
		return fputs("usage: photo W H SEED > FILE.jpg\n", stderr), 2;
	sum = xcalloc((size_t)w * h * 3, sizeof(*sum));
	for (int cells = 2; cells <= 512; cells *= 2)
		add_clouds(sum, w, h, cells, seed, 0.9f / powf((float)cells, 0.6f));
	grain = noise(w, h, seed, 0);
	i = (struct image){ w, h, grain.rgb };
	for (size_t k = 0; k < (size_t)w * h * 3; k++)
		i.rgb[k] = (uint8_t)fminf(255, fmaxf(0, 127.5f + sum[k] + (grain.rgb[k] - 127.5f) * 0.08f));
	jpeg_encode(&out, &i, 89);
	fwrite(out.data, 1, out.len, stdout);
	buffer_free(&out);
	image_free(&i);
	free(sum);
	return fclose(stdout) ? 1 : 0;
}
