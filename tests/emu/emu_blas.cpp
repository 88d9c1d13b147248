/* The part of cuBLAS that the backend uses, against NVIDIA's own prototypes. */
#include <cublas_v2.h>
#include <algorithm>
#include <vector>
#include "emu_gemm.h"
#include "emu_internal.h"

struct cublasContext {
	cudaStream_t st;
	cublasPointerMode_t mode;
	unsigned loaded;                /* kinds of product that ran, a bit each */
	size_t taken;                   /* for their code */
	char *workspace;
	size_t workspace_bytes;
};

namespace emu {

static auto &handles = *new std::vector<cublasContext *>;

static void check_handle(cublasContext *h)
{
	if (std::find(handles.begin(), handles.end(), h) == handles.end())
		fault({ "cublas", 0 }, "%p is not a live handle", (void *)h);
}

/* Columns first: `rows` and `cols` as the matrix lies in memory. */
struct matrix { const void *at; long rows, cols, ld; size_t size; };

struct call {
	cublasOperation_t ta, tb;
	int m, n, k, batch;
	const void *alpha, *beta;
	matrix a, b, c;
	long long stride_a, stride_b, stride_c;
	element type;
};

static size_t span(const matrix &x)
{
	return x.rows && x.cols ? ((x.cols - 1) * x.ld + x.rows) * x.size : 0;
}

static void check_matrix(const matrix &x, long long stride, int batch, const char *name)
{
	need_range(x.at, span(x), "cublas product", name);
	need_range((const char *)x.at + (batch - 1) * stride * (long long)x.size, span(x),
		   "cublas product, last of the batch", name);
	/* slower kernels are chosen for less on a card; the backend's own are to be aligned */
	if ((uintptr_t)x.at % x.size)
		fault({ "cublas product", 0 }, "%s = %p is not a multiple of its element's size", name, x.at);
}

/* What is asked for, or that cuBLAS has no such product. */
static bool element_of(element *e, cudaDataType_t a, cudaDataType_t b, cudaDataType_t c, cublasComputeType_t compute)
{
	const bool fast = compute == CUBLAS_COMPUTE_32F_FAST_TF32;

	*e = a == CUDA_R_16F ? ELEMENT_F16 : a == CUDA_R_16BF ? ELEMENT_BF16 : fast ? ELEMENT_TF32 : ELEMENT_F32;
	return a == b && (c == CUDA_R_32F || c == a) && (a == CUDA_R_32F ? fast || compute == CUBLAS_COMPUTE_32F :
					     (a == CUDA_R_16F || a == CUDA_R_16BF) && compute == CUBLAS_COMPUTE_32F);
}

static size_t size_of(element e) { return e == ELEMENT_F16 || e == ELEMENT_BF16 ? 2 : 4; }

/* A factor is read when the work runs where it lies on the device, at the call where it lies on the host. */
struct factor { const float *device; float host; };

static factor factor_of(cublasContext *h, const void *p, const char *name)
{
	if (h->mode == CUBLAS_POINTER_MODE_DEVICE) {
		need_range(p, sizeof(float), "cublas product", name);
		return { (const float *)p, 0 };
	}
	if (is_device(p))
		fault({ "cublas product", 0 }, "%s is a device pointer, the handle's pointer mode says host", name);
	return { NULL, *(const float *)p };
}

static float value_of(const factor &f)
{
	if (f.device)
		tell_read(f.device, sizeof(float));
	return f.device ? *f.device : f.host;
}

static matrix at(const matrix &x, long long stride, int i)
{
	return { (const char *)x.at + i * stride * (long long)x.size, x.rows, x.cols, x.ld, x.size };
}

static void run(const call &p, float alpha, float beta)
{
	for (int i = 0; i < p.batch; i++) {
		const matrix a = at(p.a, p.stride_a, i), b = at(p.b, p.stride_b, i), c = at(p.c, p.stride_c, i);
		const operand left = { a.at, p.type, a.ld, p.ta != CUBLAS_OP_N }, right = { b.at, p.type, b.ld,
											    p.tb != CUBLAS_OP_N };
		char *to = (char *)c.at;

		tell_read(a.at, span(a));
		tell_read(b.at, span(b));
		for (long j = 0; j < c.cols; j++) {
			if (beta != 0)
				tell_read(to + j * c.ld * c.size, c.rows * c.size);
			tell_write(to + j * c.ld * c.size, c.rows * c.size);
		}
		if (c.size == sizeof(float))
			gemm(p.m, p.n, p.k, alpha, left, right, beta, (float *)c.at, c.ld);
		else
			gemm_to_halves(p.m, p.n, p.k, alpha, left, right, beta, (uint16_t *)c.at, c.ld);
	}
}

/* The code of a kind of product is loaded when it first runs. */
static bool load(cublasContext *h, const call &p)
{
	const unsigned turned = (p.ta != CUBLAS_OP_N) * 2 + (p.tb != CUBLAS_OP_N);
	const unsigned kind = 1u << ((p.c.size == 2) * 16 + p.type * 4 + turned);

	if (h->loaded & kind)
		return true;
	if (spoils_capture())           /* it waits for the card and takes memory */
		return false;
	if (stats.used + opt().blas > opt().total)
		return false;
	h->loaded |= kind;
	h->taken += opt().blas;
	stats.used += opt().blas;
	return true;
}

/* A card's products may write anywhere into it.  Here they do every 64 KiB: all of it took longer than they. */
static void spoil(char *workspace, size_t bytes)
{
	for (size_t at = 0; at + 64 <= bytes; at += 65536)
		memset(workspace + at, 0xff, 64);
}

static void check_apart(const cublasContext *h, const matrix &x, const char *name)
{
	const char *at = (const char *)x.at;

	if (at < h->workspace + h->workspace_bytes && h->workspace < at + span(x))
		fault({ "cublas product", 0 }, "%s lies in the workspace", name);
}

static void check_operands(const call &p)
{
	check_matrix(p.a, p.stride_a, p.batch, "A");
	check_matrix(p.b, p.stride_b, p.batch, "B");
	check_matrix(p.c, p.stride_c, p.batch, "C");
}

static cublasStatus_t product(cublasContext *h, const call &p)
{
	std::function<void()> work;
	factor alpha, beta;

	check_handle(h);
	if (p.m < 0 || p.n < 0 || p.k < 0 || p.batch < 0 || p.a.ld < std::max(1l, p.a.rows) ||
	    p.b.ld < std::max(1l, p.b.rows) ||
	    p.c.ld < std::max(1l, p.c.rows))
		return CUBLAS_STATUS_INVALID_VALUE;
	if (!p.m || !p.n || !p.batch)
		return CUBLAS_STATUS_SUCCESS;
	check_operands(p);
	check_apart(h, p.a, "A");
	check_apart(h, p.b, "B");
	check_apart(h, p.c, "C");
	if (!load(h, p))
		return CUBLAS_STATUS_ALLOC_FAILED;
	alpha = factor_of(h, p.alpha, "alpha");
	beta = factor_of(h, p.beta, "beta");
	tally(h->st, &emu_stats::products);
	if (!opt().dry)
		work = [=, at = h->workspace, bytes = h->workspace_bytes] {
			spoil(at, bytes);
			run(p, value_of(alpha), value_of(beta));
		};
	return enqueue(h->st, std::move(work), [=] { check_operands(p); }) == cudaSuccess ? CUBLAS_STATUS_SUCCESS :
		CUBLAS_STATUS_EXECUTION_FAILED;
}

}

using namespace emu;

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t *h)
{
	if (!may_make())
		return CUBLAS_STATUS_ALLOC_FAILED;
	handles.push_back(new cublasContext{ NULL, CUBLAS_POINTER_MODE_HOST, 0, 0, NULL, 0 });
	stats.live++;
	*h = handles.back();
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t h)
{
	check_handle(h);
	drain_all();
	handles.erase(std::find(handles.begin(), handles.end(), h));
	stats.used -= h->taken;
	delete h;
	stats.live--;
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t h, cudaStream_t st)
{
	check_handle(h);
	check_stream(st);
	h->st = st;
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t h, void *p, size_t bytes)
{
	check_handle(h);
	if ((uintptr_t)p % 256)
		return CUBLAS_STATUS_INVALID_VALUE;
	need_range(p, bytes, "cublasSetWorkspace", "workspace");
	h->workspace = (char *)p;
	h->workspace_bytes = bytes;
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetPointerMode_v2(cublasHandle_t h, cublasPointerMode_t mode)
{
	check_handle(h);
	h->mode = mode;
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t h, cublasMath_t)
{
	check_handle(h);
	return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx(
	cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void *alpha,
	const void *a, cudaDataType_t at, int lda, long long sa, const void *b, cudaDataType_t bt, int ldb,
	long long sb, const void *beta,
	void *c, cudaDataType_t ct, int ldc, long long sc, int batch, cublasComputeType_t compute, cublasGemmAlgo_t)
{
	element e;

	if (!element_of(&e, at, bt, ct, compute))
		return CUBLAS_STATUS_NOT_SUPPORTED;
	return product(h, { ta, tb, m, n, k, batch, alpha, beta,
			    { a, ta == CUBLAS_OP_N ? m : k, ta == CUBLAS_OP_N ? k : m, lda, size_of(e) },
			    { b, tb == CUBLAS_OP_N ? k : n, tb == CUBLAS_OP_N ? n : k, ldb, size_of(e) },
			    { c, m, n, ldc, ct == CUDA_R_32F ? sizeof(float) : 2 }, sa, sb, sc, e });
}

cublasStatus_t cublasGemmEx(
	cublasHandle_t h, cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k, const void *alpha,
	const void *a, cudaDataType_t at, int lda, const void *b, cudaDataType_t bt, int ldb, const void *beta, void *c,
	cudaDataType_t ct, int ldc, cublasComputeType_t compute, cublasGemmAlgo_t algo)
{
	return cublasGemmStridedBatchedEx(h, ta, tb, m, n, k, alpha, a, at, lda, 0, b, bt, ldb, 0, beta, c, ct, ldc, 0,
					  1, compute, algo);
}

}
