/* What several ranks exchange in a step, and how well a step uses them. */
#include "../../optimize/leaves.h"
#include "ranks.h"

/* One way, of each rank: a card's network of a cluster, links between the cards of a machine. */
static const struct { const char *name; double bytes; } links[] = {
	{ "1 Gb/s", 1e9 / 8 }, { "10 Gb/s", 1e10 / 8 }, { "100 Gb/s", 1e11 / 8 }, { "400 Gb/s", 4e11 / 8 },
	{ "NVLink, 450 GB/s", 4.5e11 },
};
/* A batch of SDXL at 1024x1024: on an H100, on an A4000, on a CPU of 16 cores. */
static const struct { const char *name; double seconds; } batches[] = {
	{ "25 ms", 0.025 }, { "330 ms", 0.33 }, { "5 s", 5 },
};
enum { LINKS = sizeof(links) / sizeof(*links), BATCHES = sizeof(batches) / sizeof(*batches) };
#define MESSAGE 4e-6            /* seconds until one arrives */

static size_t nodes_of_rank(long leaves, int ranks, int rank)
{
	struct leaves of = leaves_of_rank(leaves, ranks, rank);
	size_t n = 0;

	for (; of.first < of.end; n++)
		leaves_next_node(&of, leaves);
	return n;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* A rank sends each of its sums but for its own slice of them, and the weights of all slices but the next rank's. */
struct ranks_plan ranks_plan(const size_t *slice, long leaves, int ranks)
{
	struct ranks_plan p = { .ranks = ranks, .leaves = leaves, .floats = slice[ranks] };

	for (int r = 0; r < ranks; r++) {
		const int next = (r + 1) % ranks;
		const struct leaves of = leaves_of_rank(leaves, ranks, r);
		const size_t nodes = nodes_of_rank(leaves, ranks, r), own = slice[r + 1] - slice[r];
		const size_t weights = p.floats - (slice[next + 1] - slice[next]);

		p.leaves_most = larger(p.leaves_most, of.end - of.first);
		p.nodes += nodes;
		p.slice = larger(p.slice, own);
		p.sent = larger(p.sent, ranks == 1 ? 0 : (nodes * (p.floats - own) + weights) * sizeof(float));
	}
	return p;
}

double ranks_efficiency(const struct ranks_plan *p, double leaf, double bytes_a_second)
{
	const double exchange = p->sent / bytes_a_second + 2 * (p->ranks - 1) * MESSAGE;

	return p->leaves * leaf / (p->ranks * (p->leaves_most * leaf + exchange));
}

void ranks_plan_table(const struct ranks_plan *p, struct buffer *out)
{
	const double mib = 1048576;

	buffer_addf(out, "\n%d ranks, %ld batch%s a step: %ld a rank at most\n", p->ranks, p->leaves,
		    p->leaves == 1 ? "" : "es", p->leaves_most);
	buffer_addf(out, "%-42s%9zu of %zu numbers\n", "a rank's slice, at most", p->slice, p->floats);
	buffer_addf(out, "%-42s%9.1f MiB\n", "a rank sends in a step, at most", p->sent / mib);
	buffer_addf(out, "use of the ranks, modelled%16s", "a batch takes");
	for (int b = 0; b < BATCHES; b++)
		buffer_addf(out, "%9s", batches[b].name);
	for (int l = 0; l < LINKS; l++) {
		buffer_addf(out, "\n  %-40s", links[l].name);
		for (int b = 0; b < BATCHES; b++)
			buffer_addf(out, "%7.1f %%",
				    100 * ranks_efficiency(p, batches[b].seconds, links[l].bytes));
	}
	buffer_adds(out, "\n");
}

void ranks_plan_tell(const struct ranks_plan *p, struct json_out *j)
{
	json_begin(j, "ranks");
	json_int(j, "ranks", p->ranks);
	json_int(j, "batches", p->leaves);
	json_int(j, "batches_most", p->leaves_most);
	json_int(j, "numbers", p->floats);
	json_int(j, "slice_most", p->slice);
	json_int(j, "sent_bytes_most", p->sent);
	json_begin_array(j, "use");
	for (int l = 0; l < LINKS; l++)
		for (int b = 0; b < BATCHES; b++) {
			json_begin(j, NULL);
			json_number(j, "bytes_per_s", links[l].bytes);
			json_number(j, "batch_seconds", batches[b].seconds);
			json_number(j, "use", ranks_efficiency(p, batches[b].seconds, links[l].bytes));
			json_end(j);
		}
	json_end_array(j);
	json_end(j);
}
