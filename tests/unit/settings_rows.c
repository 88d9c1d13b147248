/* What the rows of lora-train's settings say: what a value needs, what it is to a run's identity,
 * under which key of kohya's it stands. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/train/settings/settings.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { LINES_OF_DEFAULTS = 105 };

static struct train_settings settings;

static struct tool tool_at_defaults(void)
{
	struct tool tool = { "lora-train", "", "", train_options(&settings), .takes_config = true };

	options_defaults(&tool);
	return tool;
}

static bool shows(const struct tool *tool, enum option_identity most, const char *line)
{
	char *text = settings_text(tool, most);
	const bool found = strstr(text, line) != NULL;

	free(text);
	return found;
}

/* A name that no option has would end the program. */
static void what_is_needed_is_there(void **state)
{
	const struct tool tool = tool_at_defaults();

	options_tell_idle(&tool);
	free((void *)tool.table);
}

static void files_show_what_the_rows_say(void **state)
{
	const struct tool tool = tool_at_defaults();

	for (const struct option *o = tool.table; o->name || o->help; o++)
		if (o->file == FILE_WRITTEN)
			assert_true(o->identity == IDENTITY_ELSEWHERE);
	assert_true(shows(&tool, IDENTITY_RUN, "learning_rate = 2e-6\n"));
	assert_false(shows(&tool, IDENTITY_RUN, "max_train_steps"));
	assert_true(shows(&tool, IDENTITY_SHOWN, "max_train_steps = 1600\n"));
	assert_false(shows(&tool, IDENTITY_SHOWN, "gradient_checkpointing"));
	assert_true(shows(&tool, IDENTITY_ADAPTER, "gradient_checkpointing = false\n"));
	assert_false(shows(&tool, IDENTITY_ADAPTER, "output_dir"));
	assert_true(shows(&tool, IDENTITY_ELSEWHERE, "output_dir"));
	free((void *)tool.table);
}

/* Files of a run at its defaults keep their bytes: a new row is .sparse. */
static void new_rows_are_sparse(void **state)
{
	const struct tool tool = tool_at_defaults();
	char *text = settings_text(&tool, IDENTITY_ADAPTER);
	size_t lines = 0;

	for (const char *p = text; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, LINES_OF_DEFAULTS);
	free(text);
	free((void *)tool.table);
}

/* A value takes the place of what stands there; one that is off leaves it; a key that is not there comes behind. */
static void values_as_kohyas_keys(void **state)
{
	const struct tool tool = tool_at_defaults();
	struct metadata_list l = { 0 };

	metadata_text(&l, "ss_max_grad_norm", NULL);
	metadata_text(&l, "ss_min_snr_gamma", NULL);
	metadata_text(&l, "ss_multires_noise_discount", "0.5");
	settings.multires_discount = 0;
	settings.checkpointing = SWITCH_AUTO;
	metadata_add_settings(tool.table, &l);
	assert_string_equal(l.item[0].value, "1.0");
	assert_string_equal(l.item[1].value, "None");
	assert_string_equal(l.item[2].value, "0.5");
	assert_string_equal(metadata_find(&l, "ss_gradient_checkpointing"), "True");
	assert_string_equal(metadata_find(&l, "ss_gradient_accumulation_steps"), "1");
	assert_string_equal(metadata_find(&l, "ss_loss_type"), "l2");
	assert_null(metadata_find(&l, "ss_debiased_estimation"));
	metadata_free(&l);
	free((void *)tool.table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_needed_is_there), cmocka_unit_test(files_show_what_the_rows_say),
		cmocka_unit_test(new_rows_are_sparse), cmocka_unit_test(values_as_kohyas_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
