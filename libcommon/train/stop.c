/* Signals and the clock, and parsing of durations. */
#include <ctype.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "../base/progress.h"
#include "stop.h"

/* A signal handler can set nothing but these. */
static volatile sig_atomic_t stop_signal, save_signal, sample_signal;
static double deadline;

static void on_stop(int signal)
{
	stop_signal = signal;
}

static void on_save(int signal)
{
	save_signal = 1;
}

static void on_sample(int signal)
{
	sample_signal = 1;
}

static void watch(int signal, void (*handler)(int), int flags)
{
	const struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART | flags };

	sigaction(signal, &action, NULL);
}

void stop_clock(double max_seconds)
{
	watch(SIGUSR1, on_save, 0);
	watch(SIGUSR2, on_sample, 0);
	signal(SIGPIPE, SIG_IGN);
	deadline = isfinite(max_seconds) ? seconds_now() + max_seconds : 0;
}

void stop_watch(void)
{
	static const struct { int signal, flags; } stops[] = { { SIGTERM, 0 }, { SIGHUP, 0 },
							       { SIGINT, SA_RESETHAND } };
	struct sigaction was;
	size_t i;

	for (i = 0; i < sizeof(stops) / sizeof(*stops); i++)
		/* nohup: a hang-up must not end the run */
		if (sigaction(stops[i].signal, NULL, &was) == 0 && was.sa_handler != SIG_IGN)
			watch(stops[i].signal, on_stop, stops[i].flags);
}

static bool is_late(void)
{
	return deadline && seconds_now() >= deadline;
}

bool stop_wanted(void)
{
	return stop_signal || is_late();
}

struct stop_signals stop_signals(void)
{
	return (struct stop_signals){ stop_signal, save_signal, sample_signal, is_late() };
}

void stop_take_over(const struct stop_signals *other)
{
	if (other->stop && !stop_signal)
		stop_signal = other->stop;
	save_signal |= other->save;
	sample_signal |= other->sample;
	if (other->late && !is_late())
		deadline = seconds_now();
}

bool save_wanted(void)
{
	bool wanted = save_signal;

	save_signal = 0;
	return wanted;
}

bool sample_wanted(void)
{
	bool wanted = sample_signal;

	sample_signal = 0;
	return wanted;
}

const char *stop_reason(void)
{
	switch (stop_signal) {
	case SIGTERM: return "SIGTERM";
	case SIGINT:  return "SIGINT";
	case SIGHUP:  return "SIGHUP";
	default:      return "time limit";
	}
}

int stop_now(void)
{
	if (stop_signal == SIGINT) {
		signal(SIGINT, SIG_DFL);
		raise(SIGINT);
	}
	return EXIT_SAVED;
}

static double unit_seconds(char unit)
{
	switch (unit) {
	case 'd': return 86400;
	case 'h': return 3600;
	case 'm': return 60;
	case 's': case 0: return 1;
	default:  return 0;
	}
}

int parse_duration(const char *text, double *seconds, struct error *e)
{
	const char *p = text;

	*seconds = 0;
	while (*p) {
		char *end;
		double n = strtod(p, &end);
		double unit = end == p || !isdigit((unsigned char)*p) ? 0 : unit_seconds(*end);
		if (!unit)
			return fail(e, EXIT_USAGE, "max-duration '%s' is no duration; "
						   "write 5h45m, 90s or a number of seconds", text);
		*seconds += n * unit;
		p = *end ? end + 1 : end;
	}
	return 0;
}
