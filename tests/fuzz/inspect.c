/* lora-inspect over any bytes, event files among them.  The first byte is the options.  In JSON it says one object a
 * file, whatever the file; in words no control byte of the file reaches the terminal. */
#include "fuzz.h"
#include "../../libcommon/io/json.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/inspect/inspect.h"

/* Standard output is a file of ours from the first call on. */
static int captured(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("output", 0);
	fflush(stdout);
	HOLDS(fd >= 0 && dup2(fd, STDOUT_FILENO) == STDOUT_FILENO && ftruncate(fd, 0) == 0 &&
	      lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static void check_output(int fd, bool json)
{
	struct buffer text = { 0 };
	struct error e = { 0 };
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	HOLDS(read_file(path, 1u << 30, &text, &e) == 0);
	if (json) {
		json_t *value = text.len ? json_parse("output", text.data, text.len, &e) : json_object();
		HOLDS(value);
		json_decref(value);
	}
	for (size_t i = 0; i < text.len; i++)
		HOLDS((unsigned char)text.data[i] >= 32 || text.data[i] == '\n' || text.data[i] == '\t');
	buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct inspect_options o = { 0 };
	struct fuzz_file f;
	struct error e = { 0 };
	int fd;

	if (n == 0)
		return 0;
	o = (struct inspect_options){ .json = bytes[0] & 1, .keys = bytes[0] & 2, .norms = bytes[0] & 4,
				      .metadata = bytes[0] & 8, .verify = bytes[0] & 16, .quick = bytes[0] & 32,
				      .spectrum = bytes[0] & 64,
				      .will_it_load = bytes[0] & 128 ? ~0u : 0 };
	f = fuzz_file(bytes + 1, n - 1);
	fd = captured();
	if (inspect_file(f.path, &o, &e) < 0)
		HOLDS(e.code == EXIT_INPUT);
	check_output(fd, o.json);
	fd = captured();
	if (inspect_config(f.path, &e) < 0)
		HOLDS(e.code == EXIT_INPUT);
	check_output(fd, false);
	close(f.fd);
	return 0;
}
