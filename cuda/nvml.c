/* What a card is doing, by NVML: utilisation, memory, power, clock, what holds the clock down, who else computes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../libcommon/base/library.h"
#include "nvml.h"

#define LIBRARY "libnvidia-ml.so.1"

/* ---- the part of NVML's interface that is used here, as its header (13.3) has it ---- */

enum { SUCCESS, CLOCK_SM = 1, INSTANCES_MOST = 8, PROCESS_ROOM = 32, UNWRITTEN = 0xaa };
#define NOT_AVAILABLE (~0ull)

typedef struct handle *handle;          /* of a card, or of an instance of one in MIG mode */
struct utilization { unsigned gpu, memory; };
struct memory { unsigned long long total, free, used; };
struct process { unsigned pid; unsigned long long bytes; unsigned gpu_instance, compute_instance; };

typedef int ask_fn(handle card, unsigned *x);
typedef int ask_kind_fn(handle card, int kind, unsigned *x);

struct functions {
	int (*init)(void);
	int (*shutdown)(void);
	int (*by_bus_id)(const char *id, handle *card);
	/* each of these may be missing: NULL */
	int (*by_uuid)(const char *uuid, handle *card);
	int (*mig_mode)(handle card, unsigned *now, unsigned *later);
	int (*instance)(handle card, unsigned index, handle *instance);
	int (*utilization)(handle card, struct utilization *u);
	int (*memory)(handle card, struct memory *m);
	ask_fn *power, *power_limit;            /* milliwatts */
	ask_kind_fn *clock, *clock_most;        /* MHz */
	int (*reasons)(handle card, unsigned long long *bits);
	int (*processes)(handle card, unsigned *count, void *p);
	int (*process_name)(unsigned pid, char *name, unsigned bytes);
};

struct nvml {
	struct functions f;
	handle card, part;              /* part: the instance of it, else the card */
};

#define AT(member) offsetof(struct functions, member)
static const struct library_function needed[] = {
	{ "nvmlInit_v2", AT(init) }, { "nvmlShutdown", AT(shutdown) },
	{ "nvmlDeviceGetHandleByPciBusId_v2", AT(by_bus_id) },
};
/* Of two names for one thing the later one is taken: older drivers lack it, newer ones may drop the earlier. */
static const struct library_function wanted[] = {
	{ "nvmlDeviceGetHandleByUUID", AT(by_uuid) },
	{ "nvmlDeviceGetMigMode", AT(mig_mode) },
	{ "nvmlDeviceGetMigDeviceHandleByIndex", AT(instance) },
	{ "nvmlDeviceGetUtilizationRates", AT(utilization) },
	{ "nvmlDeviceGetMemoryInfo", AT(memory) },
	{ "nvmlDeviceGetPowerUsage", AT(power) },
	{ "nvmlDeviceGetEnforcedPowerLimit", AT(power_limit) },
	{ "nvmlDeviceGetClockInfo", AT(clock) },
	{ "nvmlDeviceGetMaxClockInfo", AT(clock_most) },
	{ "nvmlDeviceGetCurrentClocksThrottleReasons", AT(reasons) },
	{ "nvmlDeviceGetCurrentClocksEventReasons", AT(reasons) },
	{ "nvmlDeviceGetComputeRunningProcesses_v2", AT(processes) },
	{ "nvmlDeviceGetComputeRunningProcesses_v3", AT(processes) },
	{ "nvmlSystemGetProcessName", AT(process_name) },
};

/* nvmlClocksEventReasons and nvmlClocksThrottleReasons: those that slow a card down; the others are settings. */
static const struct { unsigned long long bit; unsigned slowed; } reasons[] = {
	{ 0x04, SLOWED_BY_POWER }, { 0x08, SLOWED_BY_HARDWARE }, { 0x20, SLOWED_BY_HEAT }, { 0x40, SLOWED_BY_HEAT },
	{ 0x80, SLOWED_BY_SUPPLY },
};

/* ---- opening ---- */

/* What CUDA computes on, where a card is in MIG mode: what CUDA_VISIBLE_DEVICES names first, else the first there is.
 * A process computes on one instance only. */
static handle find_part(const struct nvml *n, const char *visible)
{
	unsigned on = 0, later, i;
	char first[128];
	handle part;

	if (!n->f.mig_mode || n->f.mig_mode(n->card, &on, &later) != SUCCESS || !on)
		return n->card;
	snprintf(first, sizeof(first), "%.*s", visible ? (int)strcspn(visible, ",") : 0, visible ? visible : "");
	if (n->f.by_uuid && !strncmp(first, "MIG-", 4) && n->f.by_uuid(first, &part) == SUCCESS)
		return part;
	for (i = 0; n->f.instance && i < INSTANCES_MOST; i++)
		if (n->f.instance(n->card, i, &part) == SUCCESS)
			return part;
	return n->card;
}

struct nvml *nvml_open(const char *bus_id, const char *visible)
{
	struct nvml *n = calloc(1, sizeof(*n));
	size_t i;

	if (!n || !library_open(LIBRARY, needed, sizeof(needed) / sizeof(*needed), &n->f) || n->f.init() != SUCCESS) {
		free(n);
		return NULL;
	}
	for (i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		library_open(LIBRARY, &wanted[i], 1, &n->f);
	if (n->f.by_bus_id(bus_id, &n->card) != SUCCESS) {
		nvml_close(n);
		return NULL;
	}
	n->part = find_part(n, visible);
	return n;
}

void nvml_close(struct nvml *n)
{
	if (n)
		n->f.shutdown();
	free(n);
}

/* ---- looking ---- */

/* The last part of a path, without arguments behind it. */
static void short_name(char *name, size_t bytes, const char *path)
{
	const size_t length = strcspn(path, " ");
	const char *slash = memrchr(path, '/', length), *begin = slash ? slash + 1 : path;

	snprintf(name, bytes, "%.*s", (int)(path + length - begin), begin);
}

/* Some drivers (535.54) write more behind each process than their header says.  What stands behind the last one, as the
 * header has it, tells: nobody has written there.  Returns the bytes from one to the next. */
static size_t stride_of(const unsigned char *raw, unsigned count)
{
	for (size_t i = count * sizeof(struct process); i < (size_t)count * PROCESS_ROOM; i++)
		if (raw[i] != UNWRITTEN)
			return PROCESS_ROOM;
	return sizeof(struct process);
}

static void count_other(struct device_use *now, const struct process *p)
{
	const double bytes = p->bytes == NOT_AVAILABLE ? NAN : p->bytes;

	if (!now->others++)
		now->other.pid = p->pid;
	now->others_bytes = now->others == 1 ? bytes : now->others_bytes + bytes;
}

/* In a container NVML may number processes as outside.  Then none of them has our number, and still one is ours. */
static void look_at_others(const struct nvml *n, struct device_use *now)
{
	enum { MOST = 64 };
	unsigned char raw[MOST * PROCESS_ROOM];
	unsigned count = MOST, i;
	bool ours = false;
	char path[1024];

	memset(raw, UNWRITTEN, sizeof(raw));
	if (!n->f.processes || n->f.processes(n->part, &count, raw) != SUCCESS || count > MOST)
		return;
	for (i = 0; i < count; i++) {
		struct process p;

		memcpy(&p, raw + i * stride_of(raw, count), sizeof(p));
		if (p.pid == (unsigned)getpid())
			ours = true;
		else
			count_other(now, &p);
	}
	if (!ours && now->others) {
		now->others--;
		now->other.pid = 0;
		now->others_bytes = NAN;
	}
	if (now->other.pid && n->f.process_name &&
	    n->f.process_name(now->other.pid, path, sizeof(path)) == SUCCESS)
		short_name(now->other.name, sizeof(now->other.name), path);
}

static double watts(ask_fn *ask, handle card)
{
	unsigned milliwatts;

	return ask && ask(card, &milliwatts) == SUCCESS ? milliwatts / 1000.0 : NAN;
}

static double mhz(ask_kind_fn *ask, handle card)
{
	unsigned x;

	return ask && ask(card, CLOCK_SM, &x) == SUCCESS ? x : NAN;
}

void nvml_look(const struct nvml *n, struct device_use *now)
{
	const struct functions *f = &n->f;
	struct utilization busy;
	struct memory memory;
	unsigned long long bits = 0;
	double *figure = now->figure;
	size_t i;

	*now = (struct device_use){ .others_bytes = NAN };
	for (i = 0; i < USE_FIGURES; i++)
		figure[i] = NAN;
	if (f->utilization && f->utilization(n->card, &busy) == SUCCESS)
		figure[USE_BUSY] = busy.gpu;
	if (f->memory && f->memory(n->part, &memory) == SUCCESS) {
		figure[USE_MEMORY] = memory.used;
		figure[USE_MEMORY_MOST] = memory.total;
	}
	figure[USE_WATTS] = watts(f->power, n->card);
	figure[USE_WATTS_MOST] = watts(f->power_limit, n->card);
	figure[USE_MHZ] = mhz(f->clock, n->card);
	figure[USE_MHZ_MOST] = mhz(f->clock_most, n->card);
	if (f->reasons && f->reasons(n->card, &bits) == SUCCESS)
		for (i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
			now->slowed |= bits & reasons[i].bit ? reasons[i].slowed : 0;
	look_at_others(n, now);
}
