/* Loading layers from each form of a model on disk. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include "../../libcommon/model/layers.h"
#include "source_edit.h"

/* A device whose memory is the host's, and which can be out of it. */
struct device { int left, alive; };

static void *plain_alloc(struct device *d, size_t bytes)
{
	if (!d->left--)
		return NULL;
	d->alive++;
	return xmalloc(bytes);
}

static void plain_release(struct device *d, void *p)
{
	d->alive -= p != NULL;
	free(p);
}

static void plain_upload(struct device *d, void *dst, const void *host, size_t bytes)
{
	memcpy(dst, host, bytes);
}

static int plain_prepare(struct device *d, struct weight *w, const void *host)
{
	size_t bytes = dtype_size(w->dtype) * w->out * w->in * w->kh * w->kw;

	w->data = plain_alloc(d, bytes);
	if (w->data)
		memcpy(w->data, host, bytes);
	return w->data ? 0 : -1;
}

static void plain_unprepare(struct device *d, struct weight *w)
{
	plain_release(d, w->data);
	w->data = NULL;
}

static const struct backend plain = {
	.name = "plain", .alloc = plain_alloc, .release = plain_release, .upload = plain_upload,
	.prepare = plain_prepare, .unprepare = plain_unprepare,
};

struct bench { struct model_files *single, *whole; struct device device; };

static struct loader loader(struct bench *b, struct model_files *m, enum component c)
{
	b->device.left = 1000;
	return (struct loader){ m, c, &plain, &b->device };
}

static int open_bench(void **state)
{
	static struct bench b;

	b.single = open_model(GOLDEN "/single-file/tiny-b.safetensors", GOLDEN "/tiny-b/model", NULL);
	b.whole = open_model(GOLDEN "/tiny-b/model", NULL, NULL);
	*state = &b;
	return 0;
}

static int close_bench(void **state)
{
	struct bench *b = *state;

	model_files_close(b->single);
	model_files_close(b->whole);
	return 0;
}

/* F16 weights stay F16, vectors become F32. */
static void a_linear_layer(void **state)
{
	struct bench *b = *state;
	struct loader l = loader(b, b->single, COMPONENT_UNET);
	struct linear layer;
	struct source_tensor t;
	struct error e = { 0 };
	float bias[32];

	assert_int_equal(load_linear(&l, "time_embedding.linear_1", 32, 8, true, &layer, &e), 0);
	assert_int_equal(layer.w.dtype, DTYPE_F16);
	assert_int_equal(layer.w.out, 32);
	assert_int_equal(layer.w.in, 8);
	assert_int_equal(layer.w.kh, 1);
	assert_int_equal(source_find(b->single, COMPONENT_UNET, "time_embedding.linear_1.weight", &t, &e), 0);
	assert_memory_equal(layer.w.data, t.bytes, 2 * 32 * 8);
	assert_int_equal(source_find(b->single, COMPONENT_UNET, "time_embedding.linear_1.bias", &t, &e), 0);
	assert_int_equal(to_float(bias, t.bytes, t.dtype, 32), 0);
	assert_memory_equal(layer.bias, bias, sizeof(bias));
	free_linear(&plain, &b->device, &layer);
	assert_int_equal(load_linear(&l, "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", 16, 16, false,
				     &layer, &e), 0);
	assert_null(layer.bias);
	free_linear(&plain, &b->device, &layer);
	assert_int_equal(b->device.alive, 0);
}

static void the_projection_is_turned(void **state)
{
	struct bench *b = *state;
	struct loader single = loader(b, b->single, COMPONENT_TE2), whole = loader(b, b->whole, COMPONENT_TE2);
	struct linear one, other;
	struct error e = { 0 };
	unsigned char rounded[32 * 40 * 2];

	assert_int_equal(load_linear(&single, "text_projection", 32, 40, false, &one, &e), 0);
	assert_int_equal(load_linear(&whole, "text_projection", 32, 40, false, &other, &e), 0);
	assert_int_equal(from_float(rounded, DTYPE_F16, other.w.data, 32 * 40), 0);
	assert_memory_equal(one.w.data, rounded, sizeof(rounded));
	free_linear(&plain, &b->device, &one);
	free_linear(&plain, &b->device, &other);
	assert_int_equal(b->device.alive, 0);
}

static void the_other_layers(void **state)
{
	struct bench *b = *state;
	struct loader u = loader(b, b->single, COMPONENT_UNET), v = loader(b, b->single, COMPONENT_VAE);
	struct loader t = loader(b, b->single, COMPONENT_TE1);
	struct conv conv;
	struct linear one;
	struct norm norm;
	struct weight table;
	float *positions;
	struct error e = { 0 };

	assert_int_equal(load_conv(&u, "down_blocks.0.downsamplers.0.conv", 8, 8, 3, 2, &conv, &e), 0);
	assert_int_equal(conv.stride, 2);
	assert_int_equal(conv.w.kh, 3);
	free_conv(&plain, &b->device, &conv);
	assert_int_equal(load_conv1x1(&u, "down_blocks.1.resnets.0.conv_shortcut", 16, 8, &one, &e), 0);
	free_linear(&plain, &b->device, &one);
	assert_int_equal(load_conv1x1(&v, "quant_conv", 8, 8, &one, &e), 0);
	free_linear(&plain, &b->device, &one);
	assert_int_equal(load_linear(&v, "encoder.mid_block.attentions.0.to_q", 16, 16, true, &one, &e), 0);
	free_linear(&plain, &b->device, &one);
	assert_int_equal(load_norm(&u, "conv_norm_out", 8, 4, 1e-5f, &norm, &e), 0);
	assert_int_equal(norm.groups, 4);
	free_norm(&plain, &b->device, &norm);
	assert_int_equal(load_table(&t, "text_model.embeddings.token_embedding", 642, 24, &table, &e), 0);
	assert_int_equal(table.out, 642);
	free_table(&plain, &b->device, &table);
	assert_int_equal(load_floats(&t, "text_model.embeddings.position_embedding", 77 * 24, &positions, &e), 0);
	plain_release(&b->device, positions);
	assert_int_equal(b->device.alive, 0);
}

static void wrong_shapes_and_names_are_told(void **state)
{
	struct bench *b = *state;
	struct loader l = loader(b, b->single, COMPONENT_UNET);
	struct linear one;
	struct conv conv;
	struct norm norm;
	float *x;
	struct error e = { 0 };

	assert_int_equal(load_linear(&l, "time_embedding.linear_1", 32, 9, true, &one, &e), -1);
	assert_int_equal(e.code, EXIT_INPUT);
	assert_non_null(strstr(e.text, "time_embedding.linear_1.weight"));
	assert_non_null(strstr(e.text, "is 32x8, the config asks for 32x9"));
	assert_int_equal(load_conv(&l, "conv_in", 8, 4, 1, 1, &conv, &e), -1);
	assert_non_null(strstr(e.text, "is 8x4x3x3, the config asks for 8x4x1x1"));
	assert_int_equal(load_norm(&l, "conv_norm_out", 9, 3, 1e-5f, &norm, &e), -1);
	assert_non_null(strstr(e.text, "is 8, the config asks for 9"));
	assert_int_equal(load_linear(&l, "conv_in", 8, 4, true, &one, &e), -1);
	assert_int_equal(load_linear(&l, "conv_norm_out", 8, 1, true, &one, &e), -1);
	assert_int_equal(load_linear(&l, "nothing", 8, 4, true, &one, &e), -1);
	assert_non_null(strstr(e.text, "nothing.weight"));
	assert_int_equal(load_floats(&l, "conv_norm_out", 9, &x, &e), -1);
	assert_int_equal(b->device.alive, 0);
}

/* Whatever allocation fails, nothing stays behind. */
static void no_memory_is_an_error(void **state)
{
	struct bench *b = *state;
	struct loader l = loader(b, b->single, COMPONENT_UNET);
	struct linear one;
	struct conv conv;
	struct norm norm;
	struct error e = { 0 };

	for (int left = 0; left < 2; left++) {
		b->device.left = left;
		assert_int_equal(load_linear(&l, "time_embedding.linear_1", 32, 8, true, &one, &e), -1);
		assert_int_equal(e.code, EXIT_MEMORY);
		b->device.left = left;
		assert_int_equal(load_conv(&l, "conv_in", 8, 4, 3, 1, &conv, &e), -1);
		b->device.left = left;
		assert_int_equal(load_norm(&l, "conv_norm_out", 8, 4, 1e-5f, &norm, &e), -1);
		assert_int_equal(b->device.alive, 0);
	}
}

static void a_list_of_layers(void **state)
{
	struct layer_list list = { 0 };
	struct linear linear = { .w.out = 3 };
	struct conv conv = { .w.out = 5 };

	layer_add(&list, COMPONENT_UNET, LAYER_TRANSFORMER, "a.b", &linear, NULL);
	layer_add(&list, COMPONENT_UNET, LAYER_CONV_SET, "c", NULL, &conv);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.layer[0].name, "a.b");
	assert_int_equal(layer_weight(&list.layer[0])->out, 3);
	assert_int_equal(layer_weight(&list.layer[1])->out, 5);
	assert_ptr_equal(layer_branch(&list.layer[0]), &linear.branch);
	assert_ptr_equal(layer_branch(&list.layer[1]), &conv.branch);
	layer_list_free(&list);
	assert_int_equal(list.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_linear_layer),
		cmocka_unit_test(the_projection_is_turned),
		cmocka_unit_test(the_other_layers),
		cmocka_unit_test(wrong_shapes_and_names_are_told),
		cmocka_unit_test(no_memory_is_an_error),
		cmocka_unit_test(a_list_of_layers),
	};

	quiet(1);
	return cmocka_run_group_tests(tests, open_bench, close_bench);
}
