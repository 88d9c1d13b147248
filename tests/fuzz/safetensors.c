/* What is accepted is written again and read back the same; writing that gives the same bytes. */
#include "fuzz.h"
#include "../../libcommon/io/safetensors.h"

static void write_again(const struct safetensors *s, struct buffer *out)
{
	struct safetensors_out *t = xcalloc(s->count + 1, sizeof(*t));

	for (size_t i = 0; i < s->count; i++) {
		const struct safetensor *from = &s->tensor[i];
		t[i] = (struct safetensors_out){ .name = from->name, .dtype = from->dtype, .dims = from->dims,
						 .data = safetensors_bytes(s, from) };
		memcpy(t[i].shape, from->shape, sizeof(t[i].shape));
	}
	safetensors_serialize(out, t, s->count, s->metadata, s->metadata_count);
	free(t);
}

static void check_same(const struct safetensors *a, const struct safetensors *b)
{
	HOLDS(a->count == b->count && a->metadata_count == b->metadata_count);
	for (size_t i = 0; i < a->count; i++) {
		const struct safetensor *x = &a->tensor[i], *y = safetensors_find(b, x->name);
		HOLDS(y && x->dtype == y->dtype && x->dims == y->dims && x->bytes == y->bytes);
		HOLDS(!memcmp(x->shape, y->shape, (size_t)x->dims * sizeof(x->shape[0])));
		HOLDS(!x->bytes || !memcmp(safetensors_bytes(a, x), safetensors_bytes(b, y), x->bytes));
	}
	for (size_t i = 0; i < a->metadata_count; i++) {
		const char *value = safetensors_metadata(b, a->metadata[i].key);
		HOLDS(value && !strcmp(value, a->metadata[i].value));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct error e = { 0 };
	struct safetensors *s = safetensors_parse("input", bytes, n, &e), *again;
	struct buffer out = { 0 }, twice = { 0 };

	HOLDS(s || e.code == EXIT_INPUT);
	if (!s)
		return 0;
	write_again(s, &out);
	again = safetensors_parse("again", out.data, out.len, &e);
	HOLDS(again);
	check_same(s, again);
	write_again(again, &twice);
	HOLDS(out.len == twice.len && !memcmp(out.data, twice.data, out.len));
	safetensors_close(s);
	safetensors_close(again);
	buffer_free(&out);
	buffer_free(&twice);
	return 0;
}
