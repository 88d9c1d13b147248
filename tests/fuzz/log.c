/* An old log that --log goes on with, for the lines and for the page: what was there stays but for a torn last line, or
 * nothing is changed. */
#include "fuzz.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/train/log/events.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct fuzz_file f = fuzz_file(bytes, n);
	const struct train_settings s = { .log = f.path, .html = "page.html" };
	struct events ev = { 0 };
	struct error e = { 0 };
	struct buffer after = { 0 };
	int status = events_open(&ev, &s, &e);

	HOLDS(status == 0 || e.code == EXIT_USAGE || e.code == EXIT_INPUT);
	events_free(&ev);
	HOLDS(read_file(f.path, 1 << 24, &after, &e) == 0);
	HOLDS(after.len <= n && (!after.len || !memcmp(after.data, bytes, after.len)));
	HOLDS(after.len == n || (status == 0 && !memchr(bytes + after.len, '\n', n - after.len)));
	buffer_free(&after);
	close(f.fd);
	return 0;
}
