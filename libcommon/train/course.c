/* The course of a run, but for its schedule: the seed, showing the averages, freeing it. */
#include "../config/seed.h"
#include "call.h"
#include "course.h"

int course_read_seed(struct course *c, struct error *e)
{
	c->seed = 42;
	return seed_read("seed", c->s->seed, &c->seed, e);
}

int course_show_average(struct course *c, struct error *e)
{
	c->averaged = true;
	ema_swap(&c->ema);
	if (!optimizer_averages(&c->optimizer.settings))
		return 0;
	if (optimizer_keep(&c->optimizer, e) < 0)
		return -1;
	call_all(&c->optimizer.ranks, CALL_GIVE_AVERAGE);
	optimizer_average(&c->optimizer);
	return 0;
}

void course_end_average(struct course *c)
{
	if (!c->averaged)
		return;
	c->averaged = false;
	optimizer_resume_training(&c->optimizer);
	ema_swap(&c->ema);
}

void course_free(struct course *c)
{
	ema_free(&c->ema);
	leaf_sums_free(&c->sums);
	optimizer_free(&c->optimizer);
	noise_schedule_free(&c->objective.schedule);
	noise_schedule_free(&c->objective.plain);
}
