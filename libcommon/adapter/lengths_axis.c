/* What a file's lengths are of. */
#include <string.h>
#include "keys.h"
#include "lengths_axis.h"
#include "metadata.h"

/* [first,second], with ones behind */
static bool is_vector(const struct safetensor *t, int64_t first, int64_t second)
{
	for (int i = 2; i < t->dims; i++)
		if (t->shape[i] != 1)
			return false;
	return t->dims >= 2 && t->shape[0] == first && t->shape[1] == second;
}

/* What LyCORIS calls the question in its network_args; NULL: it does not say. */
static const char *lycoris_says(const struct safetensors *s)
{
	static const char name[] = "\"wd_on_output\"";
	const char *args = safetensors_metadata(s, "ss_network_args"), *at = args ? strstr(args, name) : NULL;

	return at ? at + sizeof(name) - 1 + strspn(at + sizeof(name) - 1, ": \"") : NULL;
}

static enum lengths_axis metadata_says(const struct safetensors *s)
{
	const char *own = safetensors_metadata(s, DORA_AXIS_KEY), *lycoris = lycoris_says(s);

	if (own)
		return strcmp(own, "output") ? LENGTHS_INPUT : LENGTHS_OUTPUT;
	if (!lycoris)
		return LENGTHS_EITHER;
	return strncmp(lycoris, "True", 4) && strncmp(lycoris, "true", 4) ? LENGTHS_INPUT : LENGTHS_OUTPUT;
}

/* PEFT's are of outputs: [out], and of a convolution [1,out,1,1].  Others are [out,1] or [1,in], with ones behind for
 * a kernel; a row of numbers belongs to what it has the length of, and where the layer is square the metadata must
 * say. */
enum lengths_axis lengths_axis_of(const struct safetensors *s, const struct safetensor *t, int64_t out, int64_t in)
{
	const bool row = t->dims == 1, of_out = row ? t->shape[0] == out : is_vector(t, out, 1),
		   of_in = row ? t->shape[0] == in : is_vector(t, 1, in);
	struct key_part part;

	adapter_key_split(t->name, &part);
	if (part.of_outputs)
		return of_out || is_vector(t, 1, out) ? LENGTHS_OUTPUT : LENGTHS_MISFIT;
	if (row && of_out && of_in)
		return metadata_says(s);
	return of_in ? LENGTHS_INPUT : of_out ? LENGTHS_OUTPUT : LENGTHS_MISFIT;
}
