/* sd-scripts' reader: networks/lora.py of February 2026, as it goes on from a network or paints with one. */
#include <string.h>
#include "internal.h"

/* It makes modules for the children of transformers, of residual blocks and of samplers, not for what stands between
 * them. */
#define BETWEEN { "conv_in", "conv_out", "conv_norm_out", "time_embedding.", "add_embedding." }
static const struct naming names[] = {
	{ "lora_unet_", COMPONENT_UNET, BY_SGM, '_', .without = BETWEEN },
	{ "lora_te1_", COMPONENT_TE1, BY_DIFFUSERS, '_', TEXT_LAYERS },
	{ "lora_te2_", COMPONENT_TE2, BY_DIFFUSERS, '_', TEXT_LAYERS },
	{ 0 },
};
static const struct naming diffusers_blocks[] = {
	{ "lora_unet_", COMPONENT_UNET, BY_DIFFUSERS, '_', .without = BETWEEN },
	{ "lora_te_", COMPONENT_TE1, BY_DIFFUSERS, '_', TEXT_LAYERS },
	{ 0 },
};

/* What its translation knows: all of the UNet. */
static const struct naming translated[] = {
	{ "lora_unet_", COMPONENT_UNET, BY_DIFFUSERS, '_' },
	{ 0 },
};

static bool contains(const struct safetensors *f, const char *word)
{
	for (size_t i = 0; i < f->count; i++)
		if (strstr(f->tensor[i].name, word))
			return true;
	return false;
}

/* Its translation of diffusers' blocks fails at the first name that it does not translate, where that is the first of
 * the UNet; later ones pass. */
static bool translates(struct attempt *a, const struct names *own, const struct names *blocks)
{
	static const char prefix[] = "lora_unet_";
	const struct safetensors *f = a->f->file;

	if (!contains(f, "down_blocks") && !contains(f, "up_blocks"))
		return false;
	for (size_t i = 0; i < f->count; i++) {
		const char *name = f->tensor[i].name;

		if (strncmp(name, prefix, sizeof(prefix) - 1))
			continue;
		if (names_find(own, name, strcspn(name, ".")) < 0 &&
		    names_find(blocks, name, strcspn(name, ".")) < 0 && !a->f->foreign)
			attempt_refuse(a, "the first name is not of diffusers' blocks and others are, which its "
					  "translation does not survive", name);
		break;
	}
	return true;
}

/* The weights' shapes are its layers': a kernel that is flattened, or a middle factor, is an error. */
static bool fits(const struct attempt *a, const struct place *p, const struct safetensor *down,
		 const struct safetensor *up)
{
	const int64_t rank = down->shape[0];
	const int dims = p->dims;

	if (down->dims != dims || (up && (up->dims != dims || up->shape[1] != rank)))
		return false;
	if (!a->f->sized && dims == 4)
		return down->shape[2] == p->shape[2] && down->shape[3] == p->shape[3];
	if (!a->f->sized)
		return true;
	for (int i = 1; i < dims; i++)
		if (down->shape[i] != p->shape[i])
			return false;
	return !up || up->shape[0] == p->shape[0];
}

static const char *why_aside(const char *part, bool lora)
{
	return !lora				   ? "no LoRA's: of another kind"
	       : part_role_alone(part) == ROLE_DORA ? "without DoRA's lengths"
						    : "tensors that it leaves aside";
}

/* lora: the module is one */
static void leave_aside(struct attempt *a, const struct bundle *b, bool lora)
{
	for (size_t k = 0; k < b->count; k++) {
		const char *part = b->item[k].part;

		if (lora && (!strcmp(part, "lora_down.weight") || !strcmp(part, "lora_up.weight") ||
			     !strcmp(part, "alpha")))
			continue;
		attempt_left(a, why_aside(part, lora), b->item[k].tensor);
	}
}

static void judge_module(struct attempt *a, size_t i)
{
	const struct bundle *b = &a->bundle[i];
	const struct safetensor *down = bundle_find(b, "lora_down.weight"), *up = bundle_find(b, "lora_up.weight");

	leave_aside(a, b, down != NULL);
	if (!down)
		return;
	if (a->f->place[i].kind == PLACE_NORM || a->f->place[i].kind == PLACE_TABLE)
		return;
	if (down->dims < 2 || !fits(a, &a->f->place[i], down, up)) {
		attempt_refuse(a, "a factor has another shape than the layer's own", down->name);
		return;
	}
	if (!up) {
		attempt_reason(a, "half a module does nothing", down->name);
		return;
	}
	a->got[i] |= MEANT_WEIGHT;
	for (size_t k = 0; k < b->count; k++)
		if (part_role_alone(b->item[k].part) == ROLE_DORA || !strcmp(b->item[k].part, "scale"))
			a->got[i] |= GOT_WRONG;
}

static void read_kohya(struct attempt *a)
{
	const bool one_encoder = !(a->f->family->parts & PART(COMPONENT_TE2));
	struct names *known = names_new(a->f, one_encoder ? diffusers_blocks : names);
	struct names *legacy = names_new(a->f, diffusers_blocks);
	struct names *own = names_new(a->f, translated), *blocks = names_of_containers(a->f, translated);
	const bool both = !one_encoder && translates(a, own, blocks);

	for (size_t i = 0; i < a->f->file->count; i++) {
		const struct safetensor *t = &a->f->file->tensor[i];
		const size_t stem = strcspn(t->name, ".");
		long place = names_find(known, t->name, stem);

		if (place < 0 && both && strncmp(t->name, "lora_unet_", 10) == 0)
			place = names_find(legacy, t->name, stem);
		if (place >= 0 && t->name[stem])
			bundle_add(&a->bundle[place], t->name + stem + 1, t);
		else
			attempt_left(a, "names that it does not know", t);
	}
	for (size_t i = 0; i < a->f->count; i++)
		if (a->bundle[i].count)
			judge_module(a, i);
	attempt_refuse_foreign(a);
	names_free(known);
	names_free(legacy);
	names_free(own);
	names_free(blocks);
}

const struct reader reader_kohya = { "kohya", "sd-scripts", .left_is_partial = true, .read = read_kohya };
