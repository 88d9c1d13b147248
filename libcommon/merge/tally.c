/* The report and the last line of a mode that writes an adapter. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "../adapter/keys.h"
#include "../io/json.h"
#include "tally.h"

/* 0 / 0: an update of zeros, which is written as it is */
static double share_lost(double lost, double update)
{
	return update > 0 || isnan(update) ? lost / update : lost > 0 ? INFINITY : 0;
}

int tally_begin(struct tally *t, const char *report, const struct unet_config *blocks, struct error *e)
{
	*t = (struct tally){ .blocks = blocks };
	if (report && !(t->report = publish_begin(report, false, e)))
		return -1;
	return 0;
}

static int write_line(struct tally *t, struct json_out *j, struct error *e)
{
	int status;

	json_end(j);
	buffer_adds(&j->text, "\n");
	status = publish_write(t->report, j->text.data, j->text.len, e);
	json_free(j);
	return status;
}

static void count(struct tally *t, const struct tally_line *l)
{
	if (!l->copied && l->rank) {
		t->least = !t->most || l->rank < t->least ? l->rank : t->least;
		t->most = l->rank > t->most ? l->rank : t->most;
	}
	t->modules++;
	t->copied += l->copied;
	if (isnan(l->update) || isnan(l->lost)) {
		t->unknown = true;
		return;
	}
	t->update += l->update * l->update;
	t->lost += l->lost * l->lost;
	if (isfinite(share_lost(l->lost, l->update)) && share_lost(l->lost, l->update) > t->worst) {
		t->worst = share_lost(l->lost, l->update);
		free(t->worst_module);
		t->worst_module = kohya_stem(l->layer, t->blocks);
	}
}

int tally_module(struct tally *t, const struct tally_line *l, struct error *e)
{
	struct json_out j = { 0 };
	char *stem;

	count(t, l);
	if (!t->report)
		return 0;
	stem = kohya_stem(l->layer, t->blocks);
	json_begin(&j, NULL);
	json_text(&j, "event", "module");
	json_text(&j, "module", stem);
	free(stem);
	json_int(&j, "rank", l->rank);
	json_number(&j, "alpha", l->alpha);
	json_int(&j, "adapters", l->adapters);
	json_bool(&j, "copied", l->copied);
	json_number(&j, "update_norm", l->update);
	json_number(&j, "relative_error", share_lost(l->lost, l->update));
	return write_line(t, &j, e);
}

/* Below it an error is rounding, and the worst one's name says nothing. */
#define WORTH_SAYING 1e-2

static void say(const struct tally *t, const char *out)
{
	struct buffer line = { 0 };

	buffer_addf(&line, "%s: %zu modules", out, t->modules);
	if (t->most)
		buffer_addf(&line, t->least < t->most ? ", ranks %d to %d" : ", rank %d", t->least, t->most);
	if (t->copied)
		buffer_addf(&line, t->copied < t->modules ? ", %zu of them byte for byte"
							  : ", all byte for byte", t->copied);
	if (!t->unknown)
		buffer_addf(&line, ", norm %.4g", sqrt(t->update));
	if (!t->unknown && t->modules > t->copied && !(t->update > 0) && t->lost > 0)
		buffer_addf(&line, ", error %.3g", sqrt(t->lost));
	else if (!t->unknown && t->modules > t->copied)
		buffer_addf(&line, ", relative error %.3g", share_lost(sqrt(t->lost), sqrt(t->update)));
	if (t->worst >= WORTH_SAYING)
		buffer_addf(&line, ", at most %.3g (%s)", t->worst, t->worst_module);
	note("%s", line.data);
	buffer_free(&line);
}

int tally_end(struct tally *t, const char *out, struct error *e)
{
	struct json_out j = { 0 };
	struct publish *report = t->report;

	say(t, out);
	if (!report)
		return 0;
	json_begin(&j, NULL);
	json_text(&j, "event", "total");
	json_int(&j, "modules", t->modules);
	json_number(&j, "update_norm", t->unknown ? NAN : sqrt(t->update));
	json_number(&j, "relative_error", t->unknown ? NAN : share_lost(sqrt(t->lost), sqrt(t->update)));
	if (write_line(t, &j, e))
		return -1;
	t->report = NULL;
	return publish_end(report, e);
}

void tally_free(struct tally *t)
{
	publish_abandon(t->report);
	free(t->worst_module);
	*t = (struct tally){ 0 };
}
