/* The text in a PNG: A1111's order, quoting, hashes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../../libcommon/base/hash.h"
#include "../../libcommon/base/memory.h"
#include "../../libcommon/io/safetensors.h"
#include "../../libcommon/sample/parameters.h"
#include <cmocka.h>

static const struct parameters plain = {
	.prompt = "a cat", .negative = "", .width = 512, .height = 768, .steps = 20, .sampler = "Euler a", .rng = "CPU",
	.cfg = 7.5, .seed = UINT64_MAX, .model = "models/sdxl.safetensors", .model_hash = "",
};

static void check(const struct parameters *p, const char *want)
{
	char *got = parameters_text(p);

	assert_string_equal(got, want);
	free(got);
}

static void texts(void **state)
{
	struct parameters_lora loras[] = { { "one", 0.8, "0123456789ab" }, { "two", 1, "ba9876543210" } };
	struct parameters p = plain;

	check(&p, "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 18446744073709551615, Size: 512x768, "
		  "Model: sdxl, RNG: CPU");
	p.negative = "a dog";
	p.model = "odd, name: x/";
	p.model_hash = "31e35c80fc";
	p.clip_skip = 3;
	p.lora = loras;
	p.loras = 2;
	check(&p, "a cat <lora:one:0.8> <lora:two:1>\nNegative prompt: a dog\n"
		  "Steps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 18446744073709551615, Size: 512x768, Model hash: "
		  "31e35c80fc, Model: \"odd, name: x\", Clip skip: 3, RNG: CPU, Lora hashes: \"one: 0123456789ab, two: "
		  "ba9876543210\"");
	p = plain;
	p.model = "a\"b\\c,\nd";
	check(&p, "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 18446744073709551615, Size: 512x768, "
	      "Model: \"a\\\"b\\\\c,\\nd\", RNG: CPU");
}

static void hashes(void **state)
{
	char folder[] = "/tmp/lora-parameters-XXXXXX", *path, hash[11], hex[65], wanted[65];
	const float data[4] = { 1, 2, 3, 4 };
	const struct safetensors_out t = { "x", DTYPE_F32, 1, { 4 }, data, false };
	struct metadata said = { "sshs_model_hash",
				 "aaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccddddaaaabbbbccccdddd" };
	struct parameters_lora l;
	struct buffer bytes = { 0 };
	struct error e;

	assert_non_null(mkdtemp(folder));
	path = xprintf("%s/my.lora.safetensors", folder);
	assert_int_equal(safetensors_save(path, &t, 1, NULL, 0, &e), 0);
	sha256_hex_of(data, sizeof(data), hex);
	assert_int_equal(parameters_read_lora(&l, path, 0.5, &e), 0);
	/* not said: computed as kohya does */
	assert_true(!strncmp(l.hash, hex, 12) && strlen(l.hash) == 12 && l.weight == 0.5);
	assert_string_equal(l.name, "my.lora");
	free(l.name);
	safetensors_serialize(&bytes, &t, 1, NULL, 0);
	sha256_hex_of(bytes.data, bytes.len, wanted);
	assert_int_equal(parameters_hash_model(path, hash, &e), 0);
	assert_true(!strncmp(hash, wanted, 10) && strlen(hash) == 10);
	assert_int_equal(safetensors_save(path, &t, 1, &said, 1, &e), 0);
	assert_int_equal(parameters_read_lora(&l, path, 1, &e), 0);
	assert_string_equal(l.hash, "aaaabbbbcccc");
	free(l.name);
	unlink(path);
	assert_int_equal(parameters_hash_model(path, hash, &e), -1);
	assert_int_equal(e.code, EXIT_IO);
	buffer_free(&bytes);
	rmdir(folder);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(texts), cmocka_unit_test(hashes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
