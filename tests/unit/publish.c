/* Output files appear whole or not at all; every way a write can fail is told; modes, links, leftovers, streams. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#undef fail     /* cmocka's macro; the library has a function of that name */
#include "../../libcommon/io/publish.h"

/* Every test runs in its own new folder, which is also the working directory. */
struct place { char folder[64]; };

static int enter(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->folder, "/tmp/publish-test-XXXXXX");
	*state = p;
	umask(022);
	return mkdtemp(p->folder) && !chdir(p->folder) ? 0 : -1;
}

static int leave(void **state)
{
	struct place *p = *state;
	char command[100];

	snprintf(command, sizeof(command), "rm -rf %s", p->folder);
	free(p);
	return chdir("/") || system(command);
}

static int files_here(void)
{
	DIR *d = opendir(".");
	struct dirent *entry;
	int n = 0;

	while ((entry = readdir(d)))
		n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	closedir(d);
	return n;
}

static void check_content(const char *path, const char *text)
{
	struct buffer b = { 0 };
	struct error e = { 0 };

	assert_int_equal(read_file(path, 1000, &b, &e), 0);
	assert_string_equal(b.data, text);
	buffer_free(&b);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void put(const char *path, const char *text)
{
	struct error e = { 0 };
	int rc = publish_bytes(path, text, strlen(text), &e);

	assert_string_equal(e.text, "");
	assert_int_equal(rc, 0);
}

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static pid_t a_gone_process(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	return pid;
}

static void appears_at_the_end(void **state)
{
	struct error e = { 0 };
	struct publish *p;

	put("out", "old");
	p = publish_begin("out", true, &e);
	assert_non_null(p);
	assert_int_equal(publish_write(p, "new", 3, &e), 0);
	check_content("out", "old");
	assert_int_equal(publish_end(p, &e), 0);
	check_content("out", "new");
	assert_int_equal(files_here(), 1);
}

static void abandoned_changes_nothing(void **state)
{
	struct error e = { 0 };
	struct publish *p;

	put("out", "old");
	p = publish_begin("out", true, &e);
	assert_int_equal(publish_write(p, "new", 3, &e), 0);
	publish_abandon(p);
	publish_abandon(NULL);
	check_content("out", "old");
	assert_int_equal(files_here(), 1);
}

static void mode_follows_umask_or_old_file(void **state)
{
	static const mode_t masks[] = { 022, 077, 002 };

	for (int i = 0; i < 3; i++) {
		umask(masks[i]);
		unlink("out");
		put("out", "x");
		assert_int_equal(mode_of("out"), 0666 & ~masks[i]);
	}
	assert_int_equal(chmod("out", 0640), 0);
	umask(077);
	put("out", "y");
	assert_int_equal(mode_of("out"), 0640);
	check_content("out", "y");
}

static void symbolic_link_stays(void **state)
{
	struct stat st;

	assert_int_equal(mkdir("real", 0777), 0);
	put("real/file", "old");
	assert_int_equal(symlink("real/file", "link"), 0);
	put("link", "new");
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	check_content("real/file", "new");
}

static void leftovers(void **state)
{
	char gone[64], other[64], running[64], mine[64];

	snprintf(gone, sizeof(gone), ".out.%d.tmp", (int)a_gone_process());
	snprintf(other, sizeof(other), ".out2.%d.tmp", (int)a_gone_process());
	snprintf(running, sizeof(running), ".out.%d.tmp", (int)getppid());
	snprintf(mine, sizeof(mine), ".out.%d.tmp", (int)getpid());
	touch(gone);
	touch(other);
	touch(running);
	touch(mine);            /* a container starts again with the process number of the run that was killed */
	touch(".out.tmp");
	touch(".out.12x.tmp");
	put("out", "x");
	assert_int_equal(access(gone, F_OK), -1);
	assert_int_equal(access(mine, F_OK), -1);
	assert_int_equal(access(other, F_OK), 0);
	assert_int_equal(access(running, F_OK), 0);
	assert_int_equal(access(".out.tmp", F_OK), 0);
	assert_int_equal(access(".out.12x.tmp", F_OK), 0);
	check_content("out", "x");
}

/* Of every target whose name begins so, and of no other; a writer that lives keeps its own. */
/* Killed, but nobody has waited for it: its number still answers. */
static void leftover_of_a_zombie(void **state)
{
	char name[64];
	pid_t pid = fork();
	siginfo_t info;

	if (!pid)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	snprintf(name, sizeof(name), ".out.%d.tmp", (int)pid);
	touch(name);
	put("out", "new");
	assert_int_equal(access(name, F_OK), -1);
	waitpid(pid, NULL, 0);
}

static void leftovers_of_many_targets(void **state)
{
	int gone = a_gone_process();
	char names[6][64];
	struct error e = { 0 };
	struct publish *alive = publish_begin("run-alive", true, &e);

	snprintf(names[0], 64, ".run.safetensors.%d.tmp", gone);
	snprintf(names[1], 64, ".run-step00000007-state.safetensors.%d.tmp", gone);
	snprintf(names[2], 64, ".other.safetensors.%d.tmp", gone);
	snprintf(names[3], 64, "run.safetensors.%d.tmp", gone);
	snprintf(names[4], 64, ".run.safetensors.%d.tmp", (int)getppid());
	snprintf(names[5], 64, ".run.safetensors.x%d.tmp", gone);
	for (int i = 0; i < 6; i++)
		touch(names[i]);
	touch(".run.lock");
	touch(".tmp");
	touch(".run.tmp");
	publish_clean(".", "run");
	for (int i = 0; i < 6; i++)
		assert_int_equal(access(names[i], F_OK), i < 2 ? -1 : 0);
	assert_int_equal(access(".run.lock", F_OK) | access(".tmp", F_OK) | access(".run.tmp", F_OK), 0);
	assert_int_equal(publish_write(alive, "x", 1, &e), 0);
	assert_int_equal(publish_end(alive, &e), 0);
	check_content("run-alive", "x");
	publish_clean("nowhere", "run");
}

static void two_writers_of_one_name(void **state)
{
	struct error e = { 0 };
	struct publish *first = publish_begin("out", true, &e);

	assert_non_null(first);
	assert_null(publish_begin("out", true, &e));
	assert_int_equal(e.code, EXIT_IO);
	assert_int_equal(publish_write(first, "first", 5, &e), 0);
	assert_int_equal(publish_end(first, &e), 0);
	check_content("out", "first");
}

static void make(const char *folder, const char *inside)
{
	char path[200];

	assert_int_equal(mkdir(folder, 0777), 0);
	snprintf(path, sizeof(path), "%s/%s", folder, inside);
	touch(path);
}

/* The number of a process in another container means nothing here; its lock does. */
static void a_folder_that_is_being_written(void **state)
{
	struct error e = { 0 };
	char live[64];
	int fd;

	snprintf(live, sizeof(live), ".out.%d.tmp", (int)a_gone_process());
	make(live, "unet");
	fd = open(live, O_RDONLY | O_DIRECTORY);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_null(publish_folder_begin("out", &e));
	assert_int_equal(e.code, EXIT_IO);
	assert_non_null(strstr(e.text, "out: is being written by somebody else"));
	publish_clean(".", "out");
	put("out.jsonl", "x");                  /* whose temporary begins with the same letters */
	assert_int_equal(access(live, F_OK), 0);
	close(fd);
}

static void fill(const struct publish_folder *p)
{
	char *below = path_join(publish_folder_path(p), "vae");

	make(below, "config.json");
	free(below);
}

static void a_folder(void **state)
{
	struct error e = { 0 };
	struct publish_folder *p;
	struct publish *report;
	char gone[64];

	snprintf(gone, sizeof(gone), ".out.%d.tmp", (int)a_gone_process());
	make(gone, "unet");
	report = publish_begin("out.jsonl", false, &e);
	p = publish_folder_begin("out/", &e);
	assert_non_null(p);
	assert_int_equal(access(gone, F_OK), -1);
	fill(p);
	assert_int_equal(access("out", F_OK), -1);
	assert_int_equal(publish_folder_end(p, &e), 0);
	assert_int_equal(access("out/vae/config.json", F_OK), 0);
	assert_null(publish_folder_begin("out", &e));
	assert_int_equal(e.code, EXIT_USAGE);
	p = publish_folder_begin("deep/er/out", &e);
	fill(p);
	publish_folder_abandon(p);
	publish_abandon(report);
	assert_int_equal(access("deep/er/out", F_OK), -1);
	assert_int_equal(rmdir("deep/er"), 0);  /* nothing is left in it */
}

static void long_name(void **state)
{
	char name[256];

	memset(name, 'n', 255);
	name[255] = 0;
	put(name, "x");
	check_content(name, "x");
	assert_int_equal(files_here(), 1);
}

static void devices(void **state)
{
	struct error e = { 0 };

	put("/dev/null", "x");
	assert_int_equal(publish_bytes("/dev/full", "x", 1, &e), -1);
	assert_int_equal(e.code, EXIT_IO);
	assert_non_null(strstr(e.text, "/dev/full"));
	assert_non_null(strstr(e.text, "No space left"));
}

static void no_room(void **state)
{
	struct rlimit old, small = { 1000, RLIM_INFINITY };
	char big[5000] = { 0 };
	struct error e = { 0 };
	int rc;

	put("out", "old");
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	rc = publish_bytes("out", big, sizeof(big), &e);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(rc, -1);
	assert_int_equal(e.code, EXIT_IO);
	assert_non_null(strstr(e.text, "out: "));
	check_content("out", "old");
	assert_int_equal(files_here(), 1);
}

static void wrong_targets(void **state)
{
	struct error e = { 0 };

	assert_int_equal(mkdir("folder", 0777), 0);
	assert_int_equal(publish_bytes("folder", "x", 1, &e), -1);
	assert_int_equal(e.code, EXIT_USAGE);
	assert_int_equal(publish_bytes("new/", "x", 1, &e), -1);
	assert_int_equal(e.code, EXIT_USAGE);
	assert_int_equal(publish_bytes("", "x", 1, &e), -1);
	assert_int_equal(e.code, EXIT_USAGE);
	assert_int_equal(publish_bytes("missing/file", "x", 1, &e), -1);
	assert_int_equal(e.code, EXIT_IO);
	assert_non_null(strstr(e.text, "missing/file"));
}

/* As nobody, because root may write anywhere. */
static void read_only_folder(void **state)
{
	struct error e = { 0 };
	int status;
	pid_t pid;

	assert_int_equal(mkdir("folder", 0555), 0);
	assert_int_equal(chmod(".", 0755), 0);
	pid = fork();
	if (!pid) {
		if (!geteuid() && setuid(65534))
			_exit(99);
		_exit(publish_bytes("folder/file", "x", 1, &e) == -1 ? e.code : 0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(WEXITSTATUS(status), EXIT_IO);
}

static void terminal(void **state)
{
	int controller = posix_openpt(O_RDWR | O_NOCTTY), status;
	char name[64];
	pid_t pid;

	assert_true(controller >= 0 && !grantpt(controller) && !unlockpt(controller));
	assert_int_equal(ptsname_r(controller, name, sizeof(name)), 0);
	pid = fork();
	if (!pid) {
		struct error e = { 0 };
		struct publish *text;
		int fd = open(name, O_RDWR | O_NOCTTY);

		dup2(fd, 1);
		if (publish_begin("-", true, &e) || e.code != EXIT_USAGE)
			_exit(1);
		if (publish_begin(name, true, &e) || e.code != EXIT_USAGE)
			_exit(2);
		text = publish_begin("-", false, &e);
		if (!text || publish_write(text, "text\n", 5, &e) || publish_end(text, &e))
			_exit(3);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	close(controller);
}

static void ignore(int signal_number)
{
}

/* A pipe takes little at a time, and a timer interrupts: all bytes arrive, once and in order. */
static void interrupted_pipe(void **state)
{
	enum { N = 3000001 };
	struct sigaction action = { .sa_handler = ignore };
	struct itimerval often = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };
	unsigned char *data = malloc(N), *got = malloc(N + 1);
	struct error e = { 0 };
	int ends[2], rc, status;
	size_t n = 0;
	ssize_t more;
	pid_t pid;

	for (int i = 0; i < N; i++)
		data[i] = (unsigned char)(i * 31 + i / 256);
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (!pid) {
		struct publish *p;

		dup2(ends[1], 1);
		close(ends[0]);
		close(ends[1]);
		sigaction(SIGALRM, &action, NULL);
		setitimer(ITIMER_REAL, &often, NULL);
		p = publish_begin("-", true, &e);
		rc = !p || publish_write(p, data, N, &e) || publish_end(p, &e);
		setitimer(ITIMER_REAL, &never, NULL);
		_exit(rc);
	}
	close(ends[1]);
	while ((more = read(ends[0], got + n, N + 1 - n < 4000 ? N + 1 - n : 4000)) > 0)
		n += (size_t)more;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(n, N);
	assert_memory_equal(data, got, N);
	close(ends[0]);
	free(data);
	free(got);
}

static void reading(void **state)
{
	struct buffer b = { 0 };
	struct error e = { 0 };

	put("five", "12345");
	put("empty", "");
	assert_int_equal(read_file("five", 5, &b, &e), 0);
	assert_int_equal(b.len, 5);
	assert_int_equal(read_file("five", 4, &b, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_int_equal(read_file("empty", 0, &b, &e), 0);
	assert_string_equal(b.data, "");
	assert_int_equal(read_file("missing", 5, &b, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_non_null(strstr(e.text, "missing: No such file"));
	assert_int_equal(read_file(".", 5, &b, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	buffer_free(&b);
}

static void folders(void **state)
{
	struct error e = { 0 };
	char *joined;

	assert_int_equal(make_folders("a/b//c/", &e), 0);
	assert_int_equal(make_folders("a/b/c", &e), 0);
	assert_int_equal(access("a/b/c", F_OK), 0);
	put("a/file", "x");
	assert_int_equal(make_folders("a/file/c", &e), -1);
	assert_int_equal(e.code, EXIT_IO);
	joined = path_join("a/", "b");
	assert_string_equal(joined, "a/b");
	free(joined);
	joined = path_join("a", "b");
	assert_string_equal(joined, "a/b");
	free(joined);
	joined = path_join("", "b");
	assert_string_equal(joined, "b");
	free(joined);
}

/* All eight ways to close some of 0-2: the next file opened is never one of them. */
static void closed_streams(void **state)
{
	for (int closed = 0; closed < 8; closed++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			int saved = dup(1), fd;

			for (int i = 0; i < 3; i++) {
				if (closed & 1 << i)
					close(i);
			}
			claim_standard_streams();
			fd = open("data", O_RDWR | O_CREAT, 0666);
			if (fd <= 2)
				_exit(1);
			if ((closed & 2) && write(1, "x", 1) != -1)
				_exit(2);       /* lost data must not look written */
			close(saved);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		assert_int_equal(status, 0);
	}
}

/* Past the system's memory: pieces of any size around the 4 MiB that are written at once, and a change in what was
 * written, whatever the file system can. */
static void write_pieces(const char *path, const unsigned char *bytes, size_t n, size_t piece)
{
	struct error e = { 0 };
	struct publish *p = publish_begin(path, true, &e);
	struct buffer b = { 0 };

	assert_non_null(p);
	publish_past_memory(p);
	for (size_t at = 0; at < n; at += piece)
		assert_int_equal(publish_write(p, bytes + at, n - at < piece ? n - at : piece, &e), 0);
	if (n > 20)
		assert_int_equal(publish_change(p, 11, "changed", 7, &e), 0);
	assert_int_equal(publish_end(p, &e), 0);
	assert_int_equal(read_file(path, 1 << 25, &b, &e), 0);
	assert_int_equal(b.len, n);
	if (n > 20) {
		assert_memory_equal(b.data + 11, "changed", 7);
		memcpy(b.data + 11, bytes + 11, 7);
	}
	assert_true(n == 0 || !memcmp(b.data, bytes, n));
	buffer_free(&b);
	unlink(path);
}

static void past_memory(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, 4 << 20, (4 << 20) - 1, (8 << 20) + 4097 },
			    pieces[] = { 65537, 4 << 20, 9 << 20 };
	unsigned char *bytes = malloc(9 << 20);

	for (size_t i = 0; i < 9 << 20; i++)
		bytes[i] = (unsigned char)(i * 2654435761u >> 13);
	for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
		for (size_t k = 0; k < sizeof(pieces) / sizeof(*pieces); k++) {
			write_pieces("large", bytes, sizes[s], pieces[k]);
			write_pieces("/dev/shm/publish-test-large", bytes, sizes[s], pieces[k]);
		}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(appears_at_the_end, enter, leave),
		cmocka_unit_test_setup_teardown(abandoned_changes_nothing, enter, leave),
		cmocka_unit_test_setup_teardown(mode_follows_umask_or_old_file, enter, leave),
		cmocka_unit_test_setup_teardown(symbolic_link_stays, enter, leave),
		cmocka_unit_test_setup_teardown(leftovers, enter, leave),
		cmocka_unit_test_setup_teardown(leftover_of_a_zombie, enter, leave),
		cmocka_unit_test_setup_teardown(leftovers_of_many_targets, enter, leave),
		cmocka_unit_test_setup_teardown(two_writers_of_one_name, enter, leave),
		cmocka_unit_test_setup_teardown(a_folder_that_is_being_written, enter, leave),
		cmocka_unit_test_setup_teardown(a_folder, enter, leave),
		cmocka_unit_test_setup_teardown(long_name, enter, leave),
		cmocka_unit_test_setup_teardown(devices, enter, leave),
		cmocka_unit_test_setup_teardown(no_room, enter, leave),
		cmocka_unit_test_setup_teardown(wrong_targets, enter, leave),
		cmocka_unit_test_setup_teardown(read_only_folder, enter, leave),
		cmocka_unit_test_setup_teardown(terminal, enter, leave),
		cmocka_unit_test_setup_teardown(interrupted_pipe, enter, leave),
		cmocka_unit_test_setup_teardown(reading, enter, leave),
		cmocka_unit_test_setup_teardown(folders, enter, leave),
		cmocka_unit_test_setup_teardown(closed_streams, enter, leave),
		cmocka_unit_test_setup_teardown(past_memory, enter, leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
