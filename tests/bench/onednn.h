/*
 * onednn.h - the same product by Intel's library, where its headers are installed (Debian: libdnnl-dev).
 *
 * For the benchmark alone: no program links it.  The weights of a linear layer are packed once, outside what is
 * measured, which is the best that a user of the library can do; every other product is its sgemm.
 */
#ifndef BENCH_ONEDNN_H
#define BENCH_ONEDNN_H

/* c[m,n] = a b; a is stored [k,m] where ta, b [n,k] where tb. */
struct plain_product { int ta, tb, m, n, k; float *a, *b, *c; };

#ifdef WITH_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

#if DNNL_VERSION_MAJOR == 2
#include <string.h>
#include "../../libcommon/base/cpu.h"

static inline const char *onednn_name(void)
{
	static const struct { const char *set; dnnl_cpu_isa_t isa; } sets[] = {
		{ "avx512", dnnl_cpu_isa_avx512_core }, { "avx2", dnnl_cpu_isa_avx2 },
		{ "portable", dnnl_cpu_isa_sse41 },
	};

	for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++)
		if (strcmp(sets[i].set, cpu_set()) == 0)
			dnnl_set_max_cpu_isa(sets[i].isa);
	return "oneDNN";
}

static inline int onednn_product(const struct plain_product *p)
{
	return dnnl_sgemm(p->ta ? 'T' : 'N', p->tb ? 'T' : 'N', p->m, p->n, p->k, 1, p->a, p->ta ? p->m : p->k, p->b,
			  p->tb ? p->k : p->n, 0, p->c, p->n) != dnnl_success;
}

/* The forward of a layer whose weights are packed. */
struct onednn_layer {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	dnnl_primitive_t product;
	dnnl_memory_t x, packed, y;
};

static inline int onednn_pack(struct onednn_layer *l, const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
			      float *weights)
{
	dnnl_primitive_desc_t reorder;
	dnnl_primitive_t p;
	dnnl_memory_t plain;
	int bad = dnnl_memory_create(&plain, from, l->engine, weights) ||
		  dnnl_memory_create(&l->packed, to, l->engine, DNNL_MEMORY_ALLOCATE) ||
		  dnnl_reorder_primitive_desc_create(&reorder, from, l->engine, to, l->engine, NULL) ||
		  dnnl_primitive_create(&p, reorder);

	if (bad)
		return -1;
	bad = dnnl_primitive_execute(p, l->stream, 2, (dnnl_exec_arg_t[]){ { DNNL_ARG_FROM, plain },
									   { DNNL_ARG_TO, l->packed } }) ||
	      dnnl_stream_wait(l->stream);
	dnnl_memory_destroy(plain);
	dnnl_primitive_destroy(p);
	dnnl_primitive_desc_destroy(reorder);
	return bad ? -1 : 0;
}

static inline int onednn_layer_open(struct onednn_layer *l, const struct plain_product *p)
{
	const dnnl_dims_t x = { p->m, p->k }, w = { p->n, p->k }, y = { p->m, p->n };
	dnnl_memory_desc_t src, plain, any, dst;
	dnnl_inner_product_desc_t what;
	dnnl_primitive_desc_t how;

	return dnnl_engine_create(&l->engine, dnnl_cpu, 0) ||
	       dnnl_stream_create(&l->stream, l->engine, dnnl_stream_default_flags) ||
	       dnnl_memory_desc_init_by_tag(&src, 2, x, dnnl_f32, dnnl_ab) ||
	       dnnl_memory_desc_init_by_tag(&plain, 2, w, dnnl_f32, p->tb ? dnnl_ab : dnnl_ba) ||
	       dnnl_memory_desc_init_by_tag(&any, 2, w, dnnl_f32, dnnl_format_tag_any) ||
	       dnnl_memory_desc_init_by_tag(&dst, 2, y, dnnl_f32, dnnl_ab) ||
	       dnnl_inner_product_forward_desc_init(&what, dnnl_forward_inference, &src, &any, NULL, &dst) ||
	       dnnl_primitive_desc_create(&how, &what, NULL, l->engine, NULL) ||
	       onednn_pack(l, &plain, dnnl_primitive_desc_query_md(how, dnnl_query_weights_md, 0), p->b) ||
	       dnnl_memory_create(&l->x, &src, l->engine, p->a) ||
	       dnnl_memory_create(&l->y, &dst, l->engine, p->c) ||
	       dnnl_primitive_create(&l->product, how) || dnnl_primitive_desc_destroy(how);
}

static inline int onednn_layer_run(const struct onednn_layer *l)
{
	return dnnl_primitive_execute(l->product, l->stream, 3, (dnnl_exec_arg_t[]){ { DNNL_ARG_SRC, l->x },
				      { DNNL_ARG_WEIGHTS, l->packed }, { DNNL_ARG_DST, l->y } }) ||
	       dnnl_stream_wait(l->stream);
}

static inline void onednn_layer_close(struct onednn_layer *l)
{
	dnnl_memory_destroy(l->x);
	dnnl_memory_destroy(l->y);
	dnnl_memory_destroy(l->packed);
	dnnl_primitive_destroy(l->product);
	dnnl_stream_destroy(l->stream);
	dnnl_engine_destroy(l->engine);
}
#else
struct onednn_layer { int none; };
static inline const char *onednn_name(void) { return NULL; }
static inline int onednn_product(const struct plain_product *p) { return -1; }
static inline int onednn_layer_open(struct onednn_layer *l, const struct plain_product *p) { return -1; }
static inline int onednn_layer_run(const struct onednn_layer *l) { return -1; }
static inline void onednn_layer_close(struct onednn_layer *l) { }
#endif

#endif
