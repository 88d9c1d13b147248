/*
 * backend.c - the CPU's backend under the name of cuda, which looks at a card through cuda/nvml.c as the CUDA one does.
 *
 * It is linked with lora-train in place of backend_find() (ld --wrap), so that what a card does is in a run's log
 * without a card and without the time that the stand-in takes.  Its activations are the CPU's floats, and the plan is
 * told so.
 */
#include <stdlib.h>
#include "../../cuda/nvml.h"
#include "../../libcommon/base/error.h"
#include "../../libcommon/train/plan/plan.h"

const struct backend *__wrap_backend_find(const char *name, struct error *e);
const struct plan_device *__real_plan_device(const char *name, struct error *e);
const struct plan_device *__wrap_plan_device(const char *name, struct error *e);

static bool look(struct device *d, struct device_use *now)
{
	static struct nvml *n;

	if (!n)
		n = nvml_open("0000:65:00.0", getenv("CUDA_VISIBLE_DEVICES"));
	if (n)
		nvml_look(n, now);
	return n != NULL;
}

const struct backend *__wrap_backend_find(const char *name, struct error *e)
{
	static struct backend be;

	be = cpu_backend;
	be.name = "cuda";
	be.look = look;
	return &be;
}

const struct plan_device *__wrap_plan_device(const char *name, struct error *e)
{
	static struct plan_device floats;
	const struct plan_device *real = __real_plan_device(name, e);

	if (!real)
		return NULL;
	floats = *real;
	floats.rules.halves = false;
	return &floats;
}
