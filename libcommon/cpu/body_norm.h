/* body_norm.h - rows of group norm and layer norm; sums in double.  See body.h. */

static inline void add_doubles(double *sum, dvec v)
{
	dvec old;

	memcpy(&old, sum, sizeof(old));
	old += v;
	memcpy(sum, &old, sizeof(old));
}

/* sum, squares have room for a whole vec beyond c */
static void channel_sums(double *sum, double *squares, const float *x, int rows, int c)
{
	int r, i;

	for (r = 0; r < rows; r++, x += c)
		for (i = 0; i < c; i += LANES) {
			vec v = load_some(x + i, c - i);
			dvec low = low_doubles(v), high = high_doubles(v);

			add_doubles(sum + i, low);
			add_doubles(sum + i + LANES / 2, high);
			add_doubles(squares + i, low * low);
			add_doubles(squares + i + LANES / 2, high * high);
		}
}

static inline vec centre(const float *x, const struct affine *a, int i, int n)
{
	return load_some(x + i, n) - load(a->mean + i);
}

static inline vec normalised(vec centred, const struct affine *a, int i)
{
	return mul_add(centred, load(a->scale + i), load(a->shift + i));
}

static void norm_rows(float *y, const float *x, const struct affine *a, int rows, int c, bool silu)
{
	int r, i;

	for (r = 0; r < rows; r++, x += c, y += c)
		for (i = 0; i < c; i += LANES) {
			vec v = normalised(centre(x, a, i, c - i), a, i);

			store_some(y + i, silu ? activate(v, ACT_SILU) : v, c - i);
		}
}

/* dy through silu, where there was one */
static inline vec through_silu(const float *dy, vec centred, const struct affine *a, int i, int n, bool silu)
{
	vec g = load_some(dy + i, n);

	return silu ? g * sigmoid_slope(normalised(centred, a, i), 1) : g;
}

static void norm_back_sums(double *sum, double *dots, const float *dy, const float *x, const struct affine *a, int rows,
			   int c, bool silu)
{
	int r, i;

	for (r = 0; r < rows; r++, x += c, dy += c)
		for (i = 0; i < c; i += LANES) {
			vec d = centre(x, a, i, c - i), g = through_silu(dy, d, a, i, c - i, silu);
			dvec low = low_doubles(g), high = high_doubles(g);

			add_doubles(sum + i, low);
			add_doubles(sum + i + LANES / 2, high);
			add_doubles(dots + i, low * low_doubles(d));
			add_doubles(dots + i + LANES / 2, high * high_doubles(d));
		}
}

static void norm_back_rows(float *dx, const float *dy, const float *x, const struct affine *a, const float *offset,
			   const float *slope, int rows, int c, bool silu, int add)
{
	int r, i;

	for (r = 0; r < rows; r++, x += c, dy += c, dx += c)
		for (i = 0; i < c; i += LANES) {
			vec d = centre(x, a, i, c - i), g = through_silu(dy, d, a, i, c - i, silu);

			put(dx + i, load(a->scale + i) * g - load(offset + i) - d * load(slope + i), c - i, add);
		}
}

static void layer_norm_row(float *y, float *stats, const float *x, const float *gain, const float *bias, int c,
			   float eps)
{
	const int whole = c / PLACES * PLACES;
	struct sum sum = { 0 }, squared = { 0 };
	double squares = 0;
	float mean, scale;
	int i;

	for (i = 0; i < c; i += LANES) {
		vec v = load_some(x + i, c - i);

		sum_add(&sum, i, low_doubles(v), high_doubles(v));
	}
	mean = sum_total(&sum) / c;
	for (i = 0; i < whole; i += LANES)
		add_squares(&squared, i, keep_some(load_some(x + i, whole - i) - mean, whole - i));
	for (i = whole; i < c; i++)
		squares += (double)(x[i] - mean) * (x[i] - mean);
	scale = 1 / sqrt((squares + sum_total(&squared)) / c + eps);
	for (i = 0; i < c; i += LANES) {
		vec v = (load_some(x + i, c - i) - mean) * scale;

		store_some(y + i, mul_add(v, load_some(gain + i, c - i), load_some(bias + i, c - i)), c - i);
	}
	stats[0] = mean;
	stats[1] = scale;
}

static void layer_norm_back_row(float *dx, const float *dy, const float *x, const float *stats, const float *gain,
				int c, int add)
{
	const float mean = stats[0], scale = stats[1];
	struct sum sum = { 0 }, dots = { 0 };
	float offset, slope;
	int i;

	for (i = 0; i < c; i += LANES) {
		vec g = load_some(dy + i, c - i) * load_some(gain + i, c - i), d = load_some(x + i, c - i) - mean;

		sum_add(&sum, i, low_doubles(g), high_doubles(g));
		sum_add(&dots, i, low_doubles(g) * low_doubles(d), high_doubles(g) * high_doubles(d));
	}
	offset = sum_total(&sum) / c;
	slope = sum_total(&dots) / c * scale * scale;
	for (i = 0; i < c; i += LANES) {
		vec g = load_some(dy + i, c - i) * load_some(gain + i, c - i), d = load_some(x + i, c - i) - mean;

		put(dx + i, scale * (g - offset - slope * d), c - i, add);
	}
}
