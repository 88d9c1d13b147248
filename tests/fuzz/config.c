/* A file that --config names, ours or another program's: it is read as TOML, or refused with a reason; a preset of the
 * kohya_ss GUI becomes TOML that we read. */
#include "fuzz.h"
#include "../../libcommon/config/foreign.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct fuzz_file f = fuzz_file(bytes, n);
	struct buffer preset = { 0 };
	struct error e = { 0 };
	struct toml *t = config_file_read(f.path, &preset, &e);

	HOLDS(t ? t->kind == TOML_TABLE : e.code == EXIT_USAGE || e.code == EXIT_INPUT);
	toml_free(t);
	if (preset.len) {
		t = toml_parse("preset", preset.data, preset.len, &e);
		HOLDS(t);
		toml_free(t);
	}
	buffer_free(&preset);
	close(f.fd);
	return 0;
}
