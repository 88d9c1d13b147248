/* A card in the log: its fields, what is said once, the indicators against their ranges, the page of a resumed log. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/io/publish.h"
#include "../../libcommon/train/log/card.h"
#include "../../libcommon/train/log/page.h"
#include <cmocka.h>     /* last: it takes the name fail */

static const struct device_use seen = {
	.figure = { [USE_BUSY] = 91, [USE_MEMORY] = 12e9, [USE_MEMORY_MOST] = 16e9, [USE_WATTS] = 137.5,
		    [USE_WATTS_MOST] = 140, [USE_MHZ] = 1395, [USE_MHZ_MOST] = 1695 },
};

static json_t *told(const struct device_use *use)
{
	struct json_out j = { 0 };
	struct card_row row = card_row_of(use, 11000000000);
	struct error e;
	json_t *event;

	json_begin(&j, NULL);
	json_int(&j, "step", 7);
	json_number(&j, "seconds", 2.5);
	card_tell(&row, &j);
	json_end(&j);
	event = json_parse("event", j.text.data, j.text.len, &e);
	json_free(&j);
	assert_non_null(event);
	return event;
}

static double number(const json_t *event, const char *field)
{
	return json_number_value(json_object_get(event, field));
}

static void fields_go_and_come_back(void **state)
{
	json_t *event = told(&seen);
	struct card_row r;

	assert_true(number(event, "gpu_utilization_percent") == 91);
	assert_true(number(event, "gpu_memory_bytes") == 12e9);
	assert_true(number(event, "gpu_memory_planned_bytes") == 11e9);
	assert_true(number(event, "gpu_memory_percent") == 75);
	assert_true(number(event, "gpu_power_watts") == 137.5);
	assert_true(number(event, "gpu_clock_mhz") == 1395);
	assert_true(card_read(event, &r));
	assert_true(r.step == 7 && r.seconds == 2.5 && r.utilization == 91 && r.memory == 12e9 && r.planned == 11e9 &&
		    r.memory_percent == 75 && r.watts == 137.5 && r.mhz == 1395);
	json_decref(event);
}

/* What is not told is not there, and is no null. */
static void what_is_not_told_is_absent(void **state)
{
	struct device_use use = seen;
	struct card_row r;
	json_t *event;

	use.figure[USE_BUSY] = use.figure[USE_WATTS] = use.figure[USE_MEMORY] = use.figure[USE_MHZ] = NAN;
	event = told(&use);
	assert_int_equal(json_object_size(event), 3);
	assert_true(number(event, "gpu_memory_planned_bytes") == 11e9);
	json_decref(event);
	event = json_pack("{s:i,s:f}", "step", 3, "seconds", 1.0);      /* an older log's */
	assert_false(card_read(event, &r));
	json_decref(event);
}

struct heard { int count; char kind[4][16], words[4][400]; };

static void hear(void *to, const char *kind, const char *words)
{
	struct heard *h = to;

	assert_true(h->count < 4);
	strcpy(h->kind[h->count], kind);
	strcpy(h->words[h->count++], words);
}

static void each_reason_is_said_once(void **state)
{
	struct device_use use = seen;
	struct card_said said = { 0 };
	struct heard h = { 0 };

	card_findings(&said, &use, hear, &h);
	assert_int_equal(h.count, 0);
	use.slowed = SLOWED_BY_HEAT;
	card_findings(&said, &use, hear, &h);
	card_findings(&said, &use, hear, &h);
	assert_int_equal(h.count, 1);
	assert_string_equal(h.kind[0], "throttled");
	assert_non_null(strstr(h.words[0], "(1395 of 1695 MHz, 138 of 140 W): it is too hot"));
	use.slowed = SLOWED_BY_HEAT | SLOWED_BY_SUPPLY;
	use.figure[USE_MHZ] = NAN;
	card_findings(&said, &use, hear, &h);
	assert_int_equal(h.count, 2);
	assert_non_null(strstr(h.words[1], "lowers its clock (138 of 140 W): the computer's power supply"));
	use.figure[USE_WATTS_MOST] = NAN;
	use.slowed = SLOWED_BY_POWER;
	card_findings(&said, &use, hear, &h);
	assert_int_equal(h.count, 3);
	assert_non_null(strstr(h.words[2], "lowers its clock: it draws as much power"));
	use.slowed = SLOWED_BY_HARDWARE;
	card_findings(&said, &use, hear, &h);
	assert_non_null(strstr(h.words[3], "PERFORMANCE"));
	use.slowed = ~0u;
	card_findings(&said, &use, hear, &h);
	assert_int_equal(h.count, 4);
}

static void a_shared_card_is_said_once(void **state)
{
	struct device_use use = seen;
	struct card_said said = { 0 };
	struct heard h = { 0 };

	use.others = 1;
	use.others_bytes = NAN;
	card_findings(&said, &use, hear, &h);
	assert_string_equal(h.kind[0], "shared");
	assert_string_equal(h.words[0], "another program computes on this card; steps take longer meanwhile");
	card_findings(&said, &use, hear, &h);
	assert_int_equal(h.count, 1);
	said.shared = false;
	use.other.pid = 4242;
	strcpy(use.other.name, "python3");
	use.others_bytes = 3.5 * (1 << 30);
	card_findings(&said, &use, hear, &h);
	assert_string_equal(h.words[1], "another program computes on this card: python3, process 4242; 3.5 GiB of its "
			    "memory are that one's; steps take longer meanwhile");
	said.shared = false;
	use.others = 3;
	use.other.name[0] = 0;
	card_findings(&said, &use, hear, &h);
	assert_string_equal(h.words[2], "3 other programs compute on this card, one is process 4242; 3.5 GiB of its "
			    "memory are theirs; steps take longer meanwhile");
}

static void medians_and_ranges(void **state)
{
	const struct card_indicator *busy = &card_indicators[CARD_UTILIZATION];
	const double of[] = { 20, 90, NAN, 94, 92 };
	struct card_rows rows = { 0 };

	assert_true(isnan(card_median(&rows, busy)));
	for (size_t i = 0; i < 5; i++)
		card_rows_add(&rows, &(struct card_row){ .utilization = of[i], .seconds = i });
	assert_true(card_median(&rows, busy) == 91);
	assert_true(card_median(&rows, &card_indicators[CARD_SECONDS]) == 2);
	card_rows_free(&rows);
	assert_true(busy->low == 85 && busy->high == 95);
	assert_true(card_indicators[CARD_MEMORY].low == 80 && card_indicators[CARD_MEMORY].high == 90);
	assert_true(card_indicators[CARD_SECONDS].low == 2 && card_indicators[CARD_SECONDS].high == 8);
	assert_string_equal(card_verdict(busy, 85), "good");
	assert_string_equal(card_verdict(busy, 95), "good");
	assert_string_equal(card_verdict(busy, 84.9), busy->below);
	assert_string_equal(card_verdict(busy, 95.1), busy->above);
}

static void give(struct report *r, const char *kind, long step, double busy)
{
	json_t *event = json_pack("{s:s,s:i,s:f}", "event", kind, "step", (int)step, "seconds", 3.0);

	if (!strcmp(kind, "start"))
		json_object_set_new(event, "config", json_string("x = 1"));
	if (busy)
		json_object_set_new(event, "gpu_utilization_percent", json_real(busy));
	report_event(r, event);
	json_decref(event);
}

static char *page_of(const struct report *r)
{
	char path[] = "/tmp/card-XXXXXX";
	struct buffer text = { 0 };
	struct error e;

	close(mkstemp(path));
	assert_int_equal(report_write(r, path, "a run", &e), 0);
	assert_int_equal(read_file(path, 1 << 20, &text, &e), 0);
	unlink(path);
	return buffer_steal(&text);
}

/* Steps 3 to 5 come twice: only what followed the resume counts. */
static void a_resumed_log_and_an_old_one(void **state)
{
	struct report *r = report_new();
	char *page;

	give(r, "start", 0, 0);
	for (long i = 1; i <= 5; i++)
		give(r, "step", i, 0);                  /* without the fields */
	page = page_of(r);
	assert_null(strstr(page, "The card"));
	free(page);
	give(r, "start", 2, 0);
	for (long i = 3; i <= 5; i++)
		give(r, "step", i, 40);
	give(r, "start", 2, 0);
	for (long i = 3; i <= 4; i++)
		give(r, "step", i, 88);
	page = page_of(r);
	assert_non_null(strstr(page, "<tr><td>utilisation</td><td class=\"n\">88 %</td><td class=\"n\">85-95 %</td>"
				     "<td>good</td></tr>"));
	assert_non_null(strstr(page, "<td>step</td><td class=\"n\">3 s</td><td class=\"n\">2-8 s</td><td>good</td>"));
	assert_null(strstr(page, "<td>memory</td>"));   /* not told */
	assert_non_null(strstr(page, "<rect class=\"good\""));
	free(page);
	report_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_go_and_come_back), cmocka_unit_test(what_is_not_told_is_absent),
		cmocka_unit_test(each_reason_is_said_once), cmocka_unit_test(a_shared_card_is_said_once),
		cmocka_unit_test(medians_and_ranges), cmocka_unit_test(a_resumed_log_and_an_old_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
