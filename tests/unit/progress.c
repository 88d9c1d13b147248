/* A bar on a terminal, one closing line elsewhere, nothing when quiet. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#undef fail     /* cmocka's macro; the library has a function of that name */
#include "../../libcommon/base/error.h"
#include "../../libcommon/base/progress.h"

#define CLOSING "test: encoding: 120 pictures in 0:0"

static void work(int quietly, uint64_t total)
{
	struct progress *p;

	program_invocation_short_name = (char[]){ "test" };
	quiet(quietly);
	p = progress_begin("encoding", "pictures", total);
	for (uint64_t i = 100; i <= 120; i++) {
		progress_at(p, i, "loss 0.125");
		usleep(15000);
	}
	progress_end(p);
	progress_end(NULL);
}

/* What the child writes to its stderr, which is the given descriptor. */
static void watch(int to, int from, int quietly, uint64_t total, char *got, size_t size)
{
	size_t n = 0;
	ssize_t more;
	pid_t pid = fork();

	if (!pid) {
		dup2(to, 2);
		close(from);
		work(quietly, total);
		_exit(0);
	}
	close(to);
	/* A terminal whose other side is closed answers EIO. */
	while (n + 1 < size && (more = read(from, got + n, size - 1 - n)) > 0)
		n += (size_t)more;
	got[n] = 0;
	waitpid(pid, NULL, 0);
	close(from);
}

static void on_a_pipe(void **state)
{
	char got[10000];
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	watch(ends[1], ends[0], 0, 120, got, sizeof(got));
	assert_int_equal(strncmp(got, CLOSING, strlen(CLOSING)), 0);
	assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
	assert_int_equal(pipe(ends), 0);
	watch(ends[1], ends[0], 1, 120, got, sizeof(got));
	assert_string_equal(got, "");
}

static void on_a_terminal(void **state)
{
	for (int known = 0; known < 2; known++) {
		int controller = posix_openpt(O_RDWR | O_NOCTTY), drawn = 0;
		char name[64], got[10000], *line = got, *end;
		double begun = seconds_now();

		assert_true(controller >= 0 && !grantpt(controller) && !unlockpt(controller));
		assert_int_equal(ptsname_r(controller, name, sizeof(name)), 0);
		watch(open(name, O_RDWR | O_NOCTTY), controller, 0, known ? 200 : 0, got, sizeof(got));
		for (; (end = strchr(line, '\r')); line = end + 1) {
			*end = 0;
			if (end[1] == '\n')
				break;
			assert_int_equal(strlen(line), 79);
			drawn++;
			if (*line == ' ')
				continue;       /* wiped before the closing line */
			assert_int_equal(strncmp(line, known ? "encoding [=====" : "encoding 1", known ? 15 : 10), 0);
			assert_non_null(strstr(line, known ? "/200 pictures, " : " pictures, "));
			assert_true(!strstr(line, " left") == !known);
			assert_non_null(strstr(line, "/s, "));
			assert_non_null(strstr(line, "loss 0.125"));
		}
		/* at most ten a second, and one to wipe */
		assert_in_range(drawn, 2, 2 + (int)(10 * (seconds_now() - begun)));
		assert_int_equal(strncmp(line, CLOSING, strlen(CLOSING)), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_a_pipe),
		cmocka_unit_test(on_a_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
