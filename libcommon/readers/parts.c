/* What ends the names of an adapter's tensors, for whichever program. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

/* Longer endings stand in front of those that they end with. */
static const struct { const char *text; enum part_role role; } parts[] = {
	{ ".lora_down.weight", ROLE_WEIGHT },
	{ ".lora_up.weight", ROLE_WEIGHT },
	{ ".lora_mid.weight", ROLE_WEIGHT },
	{ ".lora_A.weight", ROLE_WEIGHT },
	{ ".lora_B.weight", ROLE_WEIGHT },
	{ ".lora_B.bias", ROLE_BIAS },
	{ ".lora_A.default.weight", ROLE_WEIGHT },
	{ ".lora_B.default.weight", ROLE_WEIGHT },
	{ ".lora_B.default.bias", ROLE_BIAS },
	{ ".lora_A", ROLE_WEIGHT },
	{ ".lora_B", ROLE_WEIGHT },
	{ ".lora.down.weight", ROLE_WEIGHT },
	{ ".lora.up.weight", ROLE_WEIGHT },
	{ "_lora.down.weight", ROLE_WEIGHT },
	{ "_lora.up.weight", ROLE_WEIGHT },
	{ ".lora_linear_layer.down.weight", ROLE_WEIGHT },
	{ ".lora_linear_layer.up.weight", ROLE_WEIGHT },
	{ ".lora_magnitude_vector.default.weight", ROLE_DORA },
	{ ".lora_magnitude_vector.weight", ROLE_DORA },
	{ ".lora_magnitude_vector", ROLE_DORA },
	{ ".magnitude", ROLE_DORA },
	{ ".dora_scale", ROLE_DORA },
	{ ".hada_w1_a", ROLE_WEIGHT },
	{ ".hada_w1_b", ROLE_WEIGHT },
	{ ".hada_w2_a", ROLE_WEIGHT },
	{ ".hada_w2_b", ROLE_WEIGHT },
	{ ".hada_t1", ROLE_WEIGHT },
	{ ".hada_t2", ROLE_WEIGHT },
	{ ".lokr_w1", ROLE_WEIGHT },
	{ ".lokr_w1_a", ROLE_WEIGHT },
	{ ".lokr_w1_b", ROLE_WEIGHT },
	{ ".lokr_w2", ROLE_WEIGHT },
	{ ".lokr_w2_a", ROLE_WEIGHT },
	{ ".lokr_w2_b", ROLE_WEIGHT },
	{ ".lokr_t2", ROLE_WEIGHT },
	{ ".oft_blocks", ROLE_WEIGHT },
	{ ".oft_diag", ROLE_WEIGHT },
	{ ".oft_R.weight", ROLE_WEIGHT },
	{ ".rescale", ROLE_SCALE },
	{ ".diff", ROLE_WEIGHT },
	{ ".diff_b", ROLE_BIAS },
	{ ".set_weight", ROLE_WEIGHT },
	{ ".w_norm", ROLE_WEIGHT },
	{ ".b_norm", ROLE_BIAS },
	{ ".on_input", ROLE_WEIGHT },
	{ ".a1.weight", ROLE_WEIGHT },
	{ ".a2.weight", ROLE_WEIGHT },
	{ ".b1.weight", ROLE_WEIGHT },
	{ ".b2.weight", ROLE_WEIGHT },
	{ ".alpha", ROLE_SCALE },
	{ ".scale", ROLE_SCALE },
	{ ".scalar", ROLE_SCALE },
	{ ".weight", ROLE_WEIGHT },
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

enum part_role part_role(const char *name, size_t *stem)
{
	const size_t n = strlen(name);

	for (size_t i = 0; i < PARTS; i++) {
		const size_t k = strlen(parts[i].text);

		if (n > k && strcmp(name + n - k, parts[i].text) == 0) {
			*stem = n - k;
			return parts[i].role;
		}
	}
	return ROLE_NONE;
}

enum part_role part_role_alone(const char *part)
{
	for (size_t i = 0; i < PARTS; i++)
		if (strcmp(parts[i].text + 1, part) == 0)
			return parts[i].role;
	return ROLE_NONE;
}

double part_number(const struct safetensors *f, const struct safetensor *t)
{
	struct error e = { 0 };
	float *value;
	double number;

	if (!t || safetensor_elements(t) != 1)
		return NAN;
	value = safetensors_floats(f, t->name, 1, &e);
	number = value ? *value : NAN;
	free(value);
	return number;
}

bool lengths_of_outputs(const struct safetensor *t)
{
	return t->dims == 1 ? t->shape[0] > 1 : t->dims > 1 && t->shape[0] > 1;
}
