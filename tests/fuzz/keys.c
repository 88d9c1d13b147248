/* Names of adapters' tensors over all layers of SDXL: a name that is found means that layer in kohya's spelling too. */
#include "fuzz.h"
#include "../../libcommon/adapter/keys.h"
#include "../../libcommon/adapter/lora.h"
#include "../unit/model_layers.h"

static void check(const struct key_index *k, const struct layer_list *layers, const struct model_config *m,
		  const char *name)
{
	const char *dialect = NULL;
	struct key_part part, same;
	long found = key_index_find(k, name, &part, &dialect);
	char *stem, *key;

	HOLDS(adapter_key_split(name, &same) <= strlen(name));
	HOLDS(!adapter_key_is_known(name) || adapter_key_component(name, &dialect) >= 0);
	adapter_key_component(name, &dialect);
	free(adapter_key_path(name));
	if (found < 0)
		return;
	HOLDS((size_t)found < layers->count && dialect);
	stem = kohya_stem(&layers->layer[found], &m->unet);
	key = xprintf("%s.lora_down.weight", stem);
	HOLDS(key_index_find(k, key, &same, &dialect) == found && same.kind == &kind_lora && same.part == LORA_DOWN);
	free(stem);
	free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static struct model_config m;
	static struct layer_list layers;
	static struct key_index *k;
	char *name = xstrndup((const char *)bytes, strnlen((const char *)bytes, n));

	if (!k) {
		model_config_sdxl(&m);
		test_layers(&m, &layers);
		k = key_index_new(&layers, &m.unet);
	}
	check(k, &layers, &m, name);
	free(name);
	return 0;
}
