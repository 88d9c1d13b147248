/* body_softmax.h - rows of attention scores.  See body.h. */

/* The greatest score.  A NaN among the scores is ignored here, but makes the sum NaN. */
static inline float greatest(const float *s, int n, float start)
{
	vec max = all(start);
	float most = start;
	int i;

	for (i = 0; i < n; i += LANES)
		max = greater(load(s + i), max);
	for (i = 0; i < LANES; i++)
		most = max[i] > most ? max[i] : most;
	return most;
}

static float softmax_row(float *s, int n, float *max, float *sum)
{
	float most = greatest(s, n, *max), factor = exponential(all(*max) - all(most))[0];
	octet total = { 0 };
	int i;

	for (i = 0; i < n; i += LANES) {
		vec p = exponential(load(s + i) - most);

		store(s + i, p);
		octet_add(&total, i, p);
	}
	*max = most;
	*sum = *sum * factor + octet_total(&total);
	return factor;
}

static void softmax_back_row(float *s, float *dp, int n, float lse, float delta, float scale)
{
	int i;

	for (i = 0; i < n; i += LANES) {
		vec p = exponential(load(s + i) - lse);

		store(s + i, p);
		store(dp + i, p * (load(dp + i) - delta) * scale);
	}
}
