/*
 * fake.c - a libnvidia-ml.so.1 that says what a test wants, with the names and structures of NVML's header.
 *
 * FAKE_NVML has words: no-init, no-card, refuses (every figure), lost (after the first look); power, heat, hot, brake,
 * hardware (why the clock is low), idle and settings (what slows nothing); varies (from look to look); strangers (other
 * programs), container (our number is another one), wide (processes as driver 535.54 writes them), many (more than
 * anybody asked for), mig.
 * Built four times: whole; OLD, a driver of 2021; BARE, a handle and no figure; TORN, without nvmlInit_v2.
 * FAKE_NVML_LOG: a file that gets a line for each look, which shows how often there was one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, IS_LOST = 15 };

static char card, other_card, instance[2];
static int looks, open_count;

static int says(const char *word)
{
	const char *all = getenv("FAKE_NVML"), *at = all;

	while (at && (at = strstr(at, word))) {
		const char end = at[strlen(word)];

		if ((at == all || at[-1] == ' ') && (!end || end == ' '))
			return 1;
		at += strlen(word);
	}
	return 0;
}

/* What a figure answers, of this card or of an instance. */
__attribute__((unused)) static int answer(const void *of)
{
	if (open_count != 1 || (of != &card && of != &instance[0] && of != &instance[1]))
		return INVALID_ARGUMENT;
	return says("refuses") ? NOT_SUPPORTED : says("lost") && looks > 1 ? IS_LOST : SUCCESS;
}

/* ---- what every driver has ---- */

#ifndef TORN
int nvmlInit_v2(void);
SHOWN int nvmlInit_v2(void)
{
	if (says("no-init"))
		return DRIVER_NOT_LOADED;
	open_count++;
	return SUCCESS;
}
#endif

int nvmlShutdown(void);
SHOWN int nvmlShutdown(void)
{
	open_count--;
	return SUCCESS;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device);
SHOWN int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device)
{
	unsigned domain, bus, slot, function;

	if (says("no-card") || sscanf(id, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		return NOT_FOUND;
	*device = domain == 0 && bus == 0x65 && slot == 0 ? &card : &other_card;
	return SUCCESS;
}

#ifndef BARE

/* ---- an instance of a card ---- */

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device);
SHOWN int nvmlDeviceGetHandleByUUID(const char *uuid, void **device)
{
	*device = &instance[1];
	return strcmp(uuid, "MIG-1b3c") ? NOT_FOUND : SUCCESS;
}

int nvmlDeviceGetMigMode(void *of, unsigned *now, unsigned *later);
SHOWN int nvmlDeviceGetMigMode(void *of, unsigned *now, unsigned *later)
{
	*now = *later = says("mig");
	return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *of, unsigned index, void **device);
SHOWN int nvmlDeviceGetMigDeviceHandleByIndex(void *of, unsigned index, void **device)
{
	*device = &instance[0];
	return index == 2 ? SUCCESS : NOT_FOUND;
}

/* ---- figures ---- */

struct utilization { unsigned gpu, memory; };
int nvmlDeviceGetUtilizationRates(void *of, struct utilization *u);
SHOWN int nvmlDeviceGetUtilizationRates(void *of, struct utilization *u)
{
	const char *log = getenv("FAKE_NVML_LOG");
	FILE *f = log ? fopen(log, "a") : NULL;
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	if (f) {
		fprintf(f, "%.3f\n", (double)t.tv_sec + 1e-9 * (double)t.tv_nsec);
		fclose(f);
	}
	looks++;
	u->gpu = says("varies") ? 40 + looks % 4 * 20 : 91;
	u->memory = 40;
	return says("mig") ? NOT_SUPPORTED : answer(of);
}

struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(void *of, struct memory *m);
SHOWN int nvmlDeviceGetMemoryInfo(void *of, struct memory *m)
{
	const unsigned long long gib = 1ull << 30;

	m->total = of == &card ? 16 * gib : of == &instance[0] ? 8 * gib : 4 * gib;
	m->used = m->total * 3 / 4;
	m->free = m->total - m->used;
	return answer(of);
}

int nvmlDeviceGetPowerUsage(void *of, unsigned *milliwatts);
SHOWN int nvmlDeviceGetPowerUsage(void *of, unsigned *milliwatts)
{
	*milliwatts = 137250 - (says("varies") ? looks % 3 * 20000 : 0);
	return answer(of);
}

int nvmlDeviceGetEnforcedPowerLimit(void *of, unsigned *milliwatts);
SHOWN int nvmlDeviceGetEnforcedPowerLimit(void *of, unsigned *milliwatts)
{
	*milliwatts = 140000;
	return answer(of);
}

int nvmlDeviceGetClockInfo(void *of, int kind, unsigned *mhz);
SHOWN int nvmlDeviceGetClockInfo(void *of, int kind, unsigned *mhz)
{
	*mhz = kind == 1 ? 1395 : 7000;
	return answer(of);
}

int nvmlDeviceGetMaxClockInfo(void *of, int kind, unsigned *mhz);
SHOWN int nvmlDeviceGetMaxClockInfo(void *of, int kind, unsigned *mhz)
{
	*mhz = kind == 1 ? 1695 : 8000;
	return answer(of);
}

static int reasons(void *of, unsigned long long *bits)
{
	static const struct { const char *word; unsigned bit; } words[] = {
		{ "idle", 0x1 }, { "settings", 0x112 }, { "power", 0x4 }, { "hardware", 0x8 }, { "heat", 0x20 },
		{ "hot", 0x40 }, { "brake", 0x80 },
	};

	*bits = 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		*bits |= says(words[i].word) ? words[i].bit : 0;
	return answer(of);
}

#ifdef OLD
int nvmlDeviceGetCurrentClocksThrottleReasons(void *of, unsigned long long *bits);
SHOWN int nvmlDeviceGetCurrentClocksThrottleReasons(void *of, unsigned long long *bits) { return reasons(of, bits); }
#else
int nvmlDeviceGetCurrentClocksEventReasons(void *of, unsigned long long *bits);
SHOWN int nvmlDeviceGetCurrentClocksEventReasons(void *of, unsigned long long *bits) { return reasons(of, bits); }
#endif

/* ---- processes ---- */

struct process { unsigned pid; unsigned long long bytes; unsigned gpu_instance, compute_instance; };
struct wide { struct process p; unsigned long long protected_bytes; };

static int processes(void *of, unsigned *room, void *out)
{
	const struct process all[] = {
		{ says("container") ? 90001 : (unsigned)getpid(), 9ull << 30, ~0u, ~0u },
		{ 4242, 3ull << 30, ~0u, ~0u }, { 4243, 1ull << 29, ~0u, ~0u },
	};
	const unsigned count = says("many") ? 1000 : says("strangers") ? 3 : 1;

	if (answer(of) != SUCCESS)
		return answer(of);
	if (*room < count) {
		*room = count;
		return INSUFFICIENT_SIZE;
	}
	*room = count;
	for (unsigned i = 0; i < count; i++)
		if (says("wide"))
			((struct wide *)out)[i] = (struct wide){ all[i], 0 };
		else
			((struct process *)out)[i] = all[i];
	return SUCCESS;
}

#ifdef OLD
int nvmlDeviceGetComputeRunningProcesses_v2(void *of, unsigned *room, void *out);
SHOWN int nvmlDeviceGetComputeRunningProcesses_v2(void *of, unsigned *room, void *out)
{
	return processes(of, room, out);
}
#else
int nvmlDeviceGetComputeRunningProcesses_v3(void *of, unsigned *room, void *out);
SHOWN int nvmlDeviceGetComputeRunningProcesses_v3(void *of, unsigned *room, void *out)
{
	return processes(of, room, out);
}
#endif

int nvmlSystemGetProcessName(unsigned pid, char *name, unsigned bytes);
SHOWN int nvmlSystemGetProcessName(unsigned pid, char *name, unsigned bytes)
{
	if (pid != 4242)
		return NOT_FOUND;
	snprintf(name, bytes, "/opt/env/bin/python3 /home/a/train.py --out /tmp/x");
	return SUCCESS;
}

#endif
