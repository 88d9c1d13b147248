/*
 * body.h - one table of inner loops for one instruction set.
 *
 * Included by kernels_*.c after a simd_*.h, with KERNELS and KERNELS_NAME defined; no other file includes it.  What a
 * loop computes is said at struct kernels in internal.h.
 */
#include <math.h>
#include "body_vector.h"
#include "body_product.h"
#include "body_quantised.h"
#include "body_elementwise.h"
#include "body_optimizer.h"
#include "body_norm.h"
#include "body_softmax.h"
#include "body_winograd.h"

const struct kernels KERNELS = {
	.name = KERNELS_NAME, .nr = TILE_COLS, .mr = TILE_ROWS,
	.block = block, .pack_columns = pack_columns, .pack_rows = pack_rows, .widen = widen,
	.dequantise = dequantise,
	.winograd_input = winograd_input, .winograd_filter = winograd_filter, .winograd_output = winograd_output,
	.activation = activation, .activation_back = activation_back, .geglu = geglu, .geglu_back = geglu_back,
	.axpby = axpby, .add = add_vectors, .multiply = multiply_vectors, .sum_squares = sum_squares,
	.sum_squared_difference = sum_squared_difference,
	.scaled_difference = scaled_difference, .adamw = adamw,
	.adamw8bit = adamw8bit, .lion = lion, .sum_magnitudes = sum_magnitudes, .axxpby = axxpby,
	.over_root = over_root,
	.channel_sums = channel_sums, .norm_rows = norm_rows, .norm_back_sums = norm_back_sums,
	.norm_back_rows = norm_back_rows,
	.layer_norm_row = layer_norm_row, .layer_norm_back_row = layer_norm_back_row,
	.softmax_row = softmax_row, .softmax_back_row = softmax_back_row, .dot = dot, .scale = scale_vector,
};
