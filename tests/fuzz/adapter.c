/* Adapters of the small model's layers.  A line of the input is a tensor, "NAME DTYPE SIDE SIDE ..." (its values are
 * small numbers), or "=KEY=VALUE" of the header, or "+TEXT" of adapter_config.json beside the file.  A file that opens
 * has modules whose shapes fit their layers and whose scale is a number. */
#include <math.h>
#include "fuzz.h"
#include "../../libcommon/io/publish.h"
#include "../../libcommon/adapter/full.h"
#include "../../libcommon/adapter/made_for.h"
#include "../../libcommon/adapter/lora.h"
#include "../../libcommon/adapter/adapter_file.h"
#include "../unit/model_layers.h"

enum { MOST = 24, VALUES = 1 << 14 };

struct draft {
	struct safetensors_out tensor[MOST]; size_t count;
	struct metadata metadata[MOST]; size_t metadata_count;
	struct buffer config;
};

static size_t elements(const struct safetensors_out *t)
{
	size_t n = 1;

	for (int i = 0; i < t->dims; i++)
		n = t->shape[i] && n > VALUES / (size_t)t->shape[i] ? VALUES + 1 : n * (size_t)t->shape[i];
	return n;
}

/* The values are 1 in F16 and a small number in wider types. */
static void draft_tensor(struct draft *d, char *line)
{
	static uint16_t ones[VALUES * 4];
	struct safetensors_out t = { .name = strsep(&line, " "), .data = ones };
	const char *word = line ? strsep(&line, " ") : "F32";
	int type = dtype_from_name(word, strlen(word));

	for (size_t i = 0; ones[0] != 0x3c00 && i < VALUES * 4; i++)
		ones[VALUES * 4 - 1 - i] = 0x3c00;
	if (type < 0 || !*t.name)
		return;
	t.dtype = type;
	for (char *side; line && t.dims < SAFETENSORS_MAX_DIMS && (side = strsep(&line, " "));)
		t.shape[t.dims++] = strtoul(side, NULL, 10) % 5000;
	for (size_t i = 0; i < d->count; i++)
		if (!strcmp(d->tensor[i].name, t.name))
			return;
	if (d->count < MOST && elements(&t) <= VALUES)
		d->tensor[d->count++] = t;
}

static void draft_line(struct draft *d, char *line)
{
	if (*line == '+') {
		buffer_addf(&d->config, "%s\n", line + 1);
	} else if (*line == '=' && strchr(line + 1, '=') && d->metadata_count < MOST) {
		char *value = strchr(line + 1, '=');
		*value = 0;
		d->metadata[d->metadata_count++] = (struct metadata){ line + 1, value + 1 };
	} else if (*line) {
		draft_tensor(d, line);
	}
}

/* The form is what the file's tensors were found to be: as many numbers in each as it says. */
static void check_module(const struct adapter_file *a, const struct file_module *m)
{
	HOLDS(m->layer && m->form.rank >= 0 && m->form.rank <= KIND_MOST_RANK && isfinite(m->alpha));
	for (int p = 0; p < BRANCH_PARTS; p++) {
		struct error e = { 0 };
		float *x = m->part[p] ? adapter_file_floats(a, m->part[p], true, &e) : NULL;

		HOLDS(!m->form.part[p].n || m->part[p]);
		HOLDS(x || !m->part[p] || e.code == EXIT_INPUT);
		HOLDS(!m->form.part[p].n ||
		      m->part[p]->bytes == part_count(&m->form.part[p]) * dtype_size(m->part[p]->dtype));
		free(x);
	}
	if (m->bias) {
		struct error e = { 0 };
		float *x = adapter_file_floats(a, m->bias, true, &e);

		HOLDS(m->layer->bias && safetensor_elements(m->bias) == (size_t)layer_weight(m->layer)->out);
		HOLDS(x || e.code == EXIT_INPUT);
		free(x);
	}
	HOLDS(!m->layer->norm || m->kind == &kind_full);
	HOLDS(adapter_file_module(a, m->layer));
}

/* Where no model is at hand: by a family's layers, or by names. */
static void open_alone(const char *path)
{
	struct error e = { 0 };
	struct safetensors *f = safetensors_open(path, &e);
	struct adapter_file *a;

	if (!f)
		return;
	if (adapter_is_foreign(f)) {
		a = adapter_file_by_names(f, &e);
		HOLDS(a || e.code == EXIT_INPUT);
		adapter_file_close(a);
	}
	safetensors_close(f);
}

static void open_draft(const struct draft *d, const char *folder, const struct layer_list *layers)
{
	char *path = path_join(folder, "adapter_model.safetensors"), *config = path_join(folder, "adapter_config.json");
	struct buffer bytes = { 0 };
	struct error e = { 0 };
	struct adapter_file *a;
	FILE *f = fopen(path, "w");

	safetensors_serialize(&bytes, d->tensor, d->count, d->metadata, d->metadata_count);
	HOLDS(f && fwrite(bytes.data, 1, bytes.len, f) == bytes.len && fclose(f) == 0);
	unlink(config);
	if (d->config.len) {
		f = fopen(config, "w");
		HOLDS(f && fwrite(d->config.data, 1, d->config.len, f) == d->config.len && fclose(f) == 0);
	}
	a = adapter_file_open(path, layers, &e);
	HOLDS(a || e.code == EXIT_INPUT);
	for (size_t i = 0; a && i < a->count; i++)
		check_module(a, &a->module[i]);
	adapter_file_close(a);
	open_alone(path);
	buffer_free(&bytes);
	free(path);
	free(config);
}

/* One layer of many, and of each sort one whose name is known: the index of all is made for each file, and takes longer
 * than the file. */
static bool is_taken(const struct layer_list *l, size_t i)
{
	static const char *const known[] = { "1.attentions.0.transformer_blocks.0.attn1.to_q", "1.attentions.0.proj_in",
					     "1.attentions.0.norm", "1.resnets.0.conv1", "layers.0.mlp.fc1" };
	bool taken = i % 31 == 0;

	for (int k = 0; k < 5 && !taken; k++)
		taken = strstr(l->layer[i].name, known[k]) != NULL;
	return taken;
}

static size_t take_few(struct layer_list *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->count; i++)
		if (is_taken(l, i)) {
			struct layer other = l->layer[n];
			l->layer[n++] = l->layer[i];
			l->layer[i] = other;            /* behind the count: still to be found by a search for leaks */
		}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static char folder[] = "/dev/shm/fuzz-adapter-XXXXXX";
	static struct model_config m;
	static struct layer_list layers;
	struct draft d = { 0 };
	struct error e;
	char *text = xstrndup((const char *)bytes, strnlen((const char *)bytes, n)), *rest = text;

	if (!layers.count) {
		HOLDS(mkdtemp(folder) && model_config_read("demo/tiny-sdxl", &m, &e) == 0);
		test_layers(&m, &layers);
		layers.count = take_few(&layers);
	}
	while (rest)
		draft_line(&d, strsep(&rest, "\n"));
	open_draft(&d, folder, &layers);
	buffer_free(&d.config);
	free(text);
	return 0;
}
