/* replay FILE...: the target over saved inputs, without libFuzzer; a finding is an abort. */
#include "../fuzz.h"
#include "../../../libcommon/io/publish.h"

int main(int argc, char **argv)
{
	struct error e = { 0 };

	quiet(1);
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++) {
		struct buffer b = { 0 };
		if (read_file(argv[i], 1 << 20, &b, &e) < 0)
			return report(&e);
		fprintf(stderr, "%s\n", argv[i]);
		LLVMFuzzerTestOneInput(b.data ? (const uint8_t *)b.data : (const uint8_t *)"", b.len);
		buffer_free(&b);
	}
	return 0;
}
