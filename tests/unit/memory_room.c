/* The memory that a process may take: machine, control groups of both versions, ulimit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../libcommon/base/memory.h"
#include "../../libcommon/base/memory_room.h"
#include "sanitized.h"
#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static char root[] = "/tmp/test-room-XXXXXX";

static void put(const char *path, const char *text)
{
	char *command = xprintf("mkdir -p $(dirname %s/%s)", root, path), *full = xprintf("%s/%s", root, path);
	FILE *f;

	assert_int_equal(system(command), 0);
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	free(command);
	free(full);
}

static int fresh(void **state)
{
	strcpy(root, "/tmp/test-room-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int away(void **state)
{
	char *command = xprintf("rm -r %s", root);
	const int result = system(command);

	free(command);
	return result;
}

static void expect(size_t mib)
{
	assert_int_equal(memory_room_below(root, 1), mib * MIB - mib * MIB / 16);
}

/* Four processes have a quarter each of the machine, and of a group. */
static void shared(void **state)
{
	put("proc/meminfo", "MemAvailable:  2097152 kB\n");
	assert_int_equal(memory_room_below(root, 4), (512 - 512 / 16) * MIB);
	put("proc/self/cgroup", "0::/job\n");
	put("sys/fs/cgroup/job/memory.max", "1073741824\n");
	put("sys/fs/cgroup/job/memory.current", "0\n");
	assert_int_equal(memory_room_below(root, 4), (256 - 256 / 16) * MIB);
	put("proc/meminfo", "MemAvailable:  0 kB\n");
	assert_int_equal(memory_room_below(root, 4), 1);
}

static void machine(void **state)
{
	assert_int_equal(memory_room_below(root, 1), 0);   /* nothing is known */
	put("proc/meminfo", "MemTotal:  4194304 kB\nMemFree:  1 kB\nMemAvailable:  2097152 kB\n");
	expect(2048);
	put("proc/meminfo", "MemTotal:  4194304 kB\nMemAvailable:  0 kB\n");
	assert_int_equal(memory_room_below(root, 1), 1);   /* none, which is not "unknown" */
}

/* 1024 of 1536 MiB are in use, 512 of these pages of files; the group around has no limit. */
static void version_2(void **state)
{
	put("proc/meminfo", "MemAvailable:  8388608 kB\n");
	put("proc/self/cgroup", "0::/user/job\n");
	put("sys/fs/cgroup/user/memory.max", "max\n");
	put("sys/fs/cgroup/user/memory.current", "1\n");
	expect(8192);
	put("sys/fs/cgroup/user/job/memory.max", "1610612736\n");
	put("sys/fs/cgroup/user/job/memory.current", "1073741824\n");
	put("sys/fs/cgroup/user/job/memory.stat", "anon 536870912\ninactive_file 268435456\nactive_file 268435456\n");
	expect(1024);
	put("sys/fs/cgroup/user/job/memory.high", "1207959552\n");      /* 1152: above it the group is stalled */
	expect(640);
	put("sys/fs/cgroup/user/memory.max", "134217728\n");    /* the group around has less: 128, and 1 is used */
	put("sys/fs/cgroup/user/memory.current", "1048576\n");
	expect(127);
}

/* In a container the path is the host's, and the limit is at the mount. */
static void version_1(void **state)
{
	put("proc/meminfo", "MemAvailable:  8388608 kB\n");
	put("proc/self/cgroup", "5:cpu:/docker/0123\n4:memory:/docker/0123\n0::/\n");
	put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("sys/fs/cgroup/memory/memory.usage_in_bytes", "1048576\n");
	expect(8192);
	put("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
	put("sys/fs/cgroup/memory/memory.usage_in_bytes", "805306368\n");
	put("sys/fs/cgroup/memory/memory.stat", "cache 1\ntotal_inactive_file 268435456\ntotal_active_file 0\n");
	expect(512);
	put("sys/fs/cgroup/memory/docker/0123/memory.limit_in_bytes", "268435456\n");
	put("sys/fs/cgroup/memory/docker/0123/memory.usage_in_bytes", "335544320\n");
	assert_int_equal(memory_room_below(root, 1), 1);   /* above its limit already */
}

static void limited(int resource)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		const size_t before = memory_room_below(root, 1);
		const struct rlimit limit = { 1024 * MIB, 1024 * MIB };
		setrlimit(resource, &limit);
		/* 256 are left for addresses alone, and this program has a few */
		_exit(!(before > 7000 * MIB && memory_room_below(root, 1) <= 720 * MIB &&
			memory_room_below(root, 1) > 600 * MIB &&
			memory_room_below(root, 4) == memory_room_below(root, 1)));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void ulimits(void **state)
{
	put("proc/meminfo", "MemAvailable:  8388608 kB\n");
	if (SANITIZED)
		skip();
	limited(RLIMIT_AS);
	limited(RLIMIT_DATA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(machine, fresh, away),
		cmocka_unit_test_setup_teardown(version_2, fresh, away),
		cmocka_unit_test_setup_teardown(version_1, fresh, away),
		cmocka_unit_test_setup_teardown(shared, fresh, away),
		cmocka_unit_test_setup_teardown(ulimits, fresh, away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
