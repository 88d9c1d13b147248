#include "internal.h"

const struct backend cpu_backend = {
	.name = "cpu",
	.open = cpu_open, .close = cpu_close,
	.alloc = cpu_alloc, .release = cpu_release, .room = cpu_room, .upload = cpu_upload, .download = cpu_download, .copy = cpu_copy,
	.zero = cpu_zero,
	.prepare = cpu_prepare, .unprepare = cpu_unprepare,
	.linear = cpu_linear, .linear_dx = cpu_linear_dx, .gemm = cpu_gemm,
	.conv2d = cpu_conv2d, .conv2d_dx = cpu_conv2d_dx, .conv2d_dw = cpu_conv2d_dw,
	.group_norm = cpu_group_norm, .group_norm_back = cpu_group_norm_back,
	.layer_norm = cpu_layer_norm, .layer_norm_back = cpu_layer_norm_back,
	.activation = cpu_activation, .activation_back = cpu_activation_back, .geglu = cpu_geglu,
	.geglu_back = cpu_geglu_back,
	.axpby = cpu_axpby, .add = cpu_add, .multiply = cpu_multiply, .add_per_sample = cpu_add_per_sample, .sum_per_sample = cpu_sum_per_sample,
	.dropout = cpu_dropout, .loss = cpu_loss, .loss_back = cpu_loss_back,
	.copy_columns = cpu_copy_columns, .upsample = cpu_upsample, .upsample_back = cpu_upsample_back,
	.embedding = cpu_embedding, .gather_rows = cpu_gather_rows, .gather_rows_back = cpu_gather_rows_back,
	.attention = cpu_attention, .attention_back = cpu_attention_back,
	.mse = cpu_mse, .mse_back = cpu_mse_back, .sum_squares = cpu_sum_squares, .adamw = cpu_adamw,
	.adamw8bit = cpu_adamw8bit, .lion = cpu_lion, .adafactor = cpu_adafactor,
	.sum_products = cpu_sum_products, .sum_magnitudes = cpu_sum_magnitudes, .axxpby = cpu_axxpby,
	.over_root = cpu_over_root,
};
