/* Making a run fit into its device's memory, before it starts; --plan. */
#include <sys/stat.h>
#include "plan/planner.h"
#include "run.h"

struct workload run_workload(const struct run *r)
{
	struct workload w = {
		.s = *r->s, .optimizer = r->course.optimizer.settings, .data = &r->data, .files = r->net.files,
		.objective = &r->course.objective, .samples = r->witness.samples, .seed = r->course.seed,
	};

	if (r->share.ranks.count > 1)           /* else those of --plan */
		w.s.ranks = r->share.ranks.count;
	w.joined = r->share.ranks.count == 1 || r->share.ranks.joined;
	return w;
}

/* The limit of device memory, from the settings or the device; 0: none is known.  What the device or the program has
 * taken already is added to the free memory.  A run on the CPU asks for the room once its files are mapped: ulimit -v
 * counts them.  Ranks on one machine share its memory: what is free now another one may be about to take. */
static size_t limit_of(const struct run_networks *n)
{
	const size_t said = n->s->vram_bytes, free = n->device ? n->be->room(n->device) : 0;
	struct error e;
	const struct plan_device *own = free ? plan_device(n->be->name, &e) : NULL;
	const bool shared = own && own->is_host && n->host_room;
	const size_t room = shared && n->host_room < free ? n->host_room : free;
	const size_t there = own ? room + own->workspace + own->context : 0;

	return !said || (there && there < said) ? there : said;
}

/* n: of the run that has the device. */
static int fit(struct run *r, const struct run_networks *n, struct error *e)
{
	const struct workload w = run_workload(r);
	const size_t limit = limit_of(n);
	struct savings s;
	struct plan p;
	int result = 0;

	if (plan_make(&w, limit, NULL, &p, e) < 0)
		return -1;
	if (!plan_fits(&p)) {
		plan_find_savings(&w, &p, &s);
		result = plan_refuse(r->s, &p, &s, e);
	}
	r->net.way = p.way;
	r->net.activation_bytes = p.batch[p.largest].bytes;
	r->net.planned_bytes = p.peak;
	r->net.blocks = p.blocks;
	plan_free(&p);
	return result;
}

int run_fit(struct run *r, struct error *e)
{
	return fit(r, &r->net, e);
}

static bool device_is_host(const struct run_networks *n)
{
	struct error e;
	const struct plan_device *own = plan_device(n->be->name, &e);

	return own && own->is_host;
}

static bool all_are_files(const char *const *latents, size_t count)
{
	struct stat st;
	size_t i;

	for (i = 0; i < count; i++)
		if (stat(latents[i], &st) < 0 || !S_ISREG(st.st_mode))
			return false;
	return count > 0;
}

int run_refuse_early(const struct run *r, const char *const *latents, size_t count, struct error *e)
{
	const int was_quiet = is_quiet();
	struct train_settings s = *r->s;
	struct run ahead;
	int result;

	/* of the machine's own memory nothing is taken before run_fit() */
	if ((!r->s->vram_bytes && device_is_host(&r->net)) || !limit_of(&r->net) || !all_are_files(latents, count))
		return 0;
	run_begin(&ahead, &s, r->tool);
	ahead.share.ranks = r->share.ranks;
	ahead.data.headers_only = ahead.course.looks_ahead = true;
	ahead.course.seed = r->course.seed;
	ahead.course.optimizer.settings = r->course.optimizer.settings;
	quiet(1);       /* it is all said again */
	result = run_prepare(&ahead, latents, count, e) < 0 ? -1 : fit(&ahead, &r->net, e);
	quiet(was_quiet);
	run_free(&ahead);
	return result;
}

/* The limit that a plan goes by.  Where "auto" is to choose for the CPU, that is this machine's; 0: none. */
static size_t plan_limit(const struct train_settings *s, struct error *e)
{
	const struct plan_device *own = plan_device(s->device, e);
	const size_t room = own && own->is_host && s->checkpoints == SWITCH_AUTO ? cpu_backend.room(NULL) : 0;

	return s->vram_bytes || !room ? s->vram_bytes : room + own->context;
}

int run_show_plan(struct run *r, const char *const *latents, size_t count, struct error *e)
{
	struct workload w;
	struct savings *s;      /* settings for each of what would save memory: too much for a stack of 128 KiB */
	struct plan p;
	int result;
	bool fits;

	r->data.headers_only = all_are_files(latents, count);
	if (run_prepare(r, latents, count, e) < 0)
		return -1;
	w = run_workload(r);
	if (plan_make(&w, plan_limit(r->s, e), NULL, &p, e) < 0)
		return -1;
	fits = plan_fits(&p);
	if (!p.device->is_host && plan_work(&w, &p, e) < 0) {
		plan_free(&p);
		return -1;
	}
	if (fits)
		p.limit = r->s->vram_bytes;     /* what the machine has now would be another plan in an hour */
	s = fits ? NULL : xcalloc(1, sizeof(*s));
	if (!fits)
		plan_find_savings(&w, &p, s);
	result = plan_print(r->s, &p, s, e);
	if (!result && !fits)
		result = plan_refuse(r->s, &p, s, e);
	free(s);
	plan_free(&p);
	return result;
}
