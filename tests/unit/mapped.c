/* A mapped file that shrinks: status 3 and its name, not a death by SIGBUS. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../libcommon/base/error.h"
#include "../../libcommon/io/mapped.h"
#include <cmocka.h>     /* last: it takes the name fail */

enum { BYTES = 1 << 20 };

static char name[] = "/tmp/test-mapped-XXXXXX";
static int file;

static int make_file(void **state)
{
	file = mkstemp(name);
	return ftruncate(file, BYTES);
}

static int remove_file(void **state)
{
	close(file);
	return unlink(name);
}

/* In a child: what it says goes to said, its wait status is returned. */
static int in_child(void (*fn)(void), char said[1000])
{
	int pipes[2], status;
	pid_t child;
	ssize_t n;

	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (!child) {
		dup2(pipes[1], STDERR_FILENO);
		fn();
		_exit(0);
	}
	close(pipes[1]);
	n = read(pipes[0], said, 999);
	said[n > 0 ? n : 0] = 0;
	close(pipes[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void read_a_shrunk_file(void)
{
	volatile const char *map = mapped_open(file, BYTES, name), *other = mapped_open(file, 4096, "elsewhere");

	if (map == MAP_FAILED || other == MAP_FAILED || ftruncate(file, 4096))
		_exit(99);
	(void)map[0];           /* still there */
	(void)map[BYTES - 1];
}

static void a_shrunk_file_is_bad_input(void **state)
{
	char said[1000];
	int status = in_child(read_a_shrunk_file, said);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EXIT_INPUT);
	assert_non_null(strstr(said, name));
	assert_null(strstr(said, "elsewhere"));
}

/* A map that was closed is nobody's any more, and a fault that is not a file's stays what it was. */
static void fault_elsewhere(void)
{
	void *map = mapped_open(file, 4096, name);
	volatile const char *own;

	mapped_close(map, 4096);
	own = mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, file, 0);
	if (ftruncate(file, 4096))
		_exit(99);
	(void)own[BYTES - 1];
}

static void other_faults_keep_their_signal(void **state)
{
	char said[1000];
	int status = in_child(fault_elsewhere, said);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
	assert_string_equal(said, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_shrunk_file_is_bad_input, make_file, NULL),
		cmocka_unit_test_setup_teardown(other_faults_keep_their_signal, NULL, remove_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
