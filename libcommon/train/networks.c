/* The networks and the arena of a run, on its device or, to be counted, on the dry one. */
#include <stdlib.h>
#include "../model/long_text.h"
#include "networks.h"

/* The parts of the model that are surely needed.  Whether the text encoders are, shows only in the latents.  A VAE that
 * is named is opened in any case. */
static unsigned parts_needed(const struct train_settings *s)
{
	const bool paints = s->sample_prompts && !s->replay_step;

	return PART(COMPONENT_UNET) | (paints ? PART(COMPONENT_VAE) : 0)
		| (paints || trains_text(s) ? PARTS_TEXT : 0);
}

int networks_open_files(struct run_networks *n, struct error *e)
{
	const struct train_settings *s = n->s;

	n->files = model_files_open_parts(s->model, s->model_config, s->vae, parts_needed(s), e);
	if (!n->files)
		return -1;
	n->quantising.type = quantise_type(s->base_precision);
	model_files_quantise(n->files, &n->quantising);
	if (s->flow_model || model_files_config(n->files)->schedule.prediction == PREDICTION_FLOW)
		model_files_flow(n->files, s->flow_shift);
	if (s->train_inpainting && !model_files_config(n->files)->family->inpaints)
		return fail(e, EXIT_USAGE, "train_inpainting: %s is %s, whose UNet has no channels for a mask; name an "
			    "inpainting model", s->model, model_files_config(n->files)->family->title);
	n->step.skip = text_skip_trained(model_files_config(n->files), s->clip_skip);
	return text_skip_trained_check(model_files_config(n->files), s->clip_skip, e);
}

int networks_load_text(struct run_networks *n, bool encoded, struct error *e)
{
	n->step.text = &n->text;
	if (chunks_of(n->s->max_token_length, &n->step.chunks, e) < 0)
		return -1;
	if (encoded && !trains_text(n->s))
		return 0;
	if (text_encoders_load(&n->text, n->files, n->be, n->device, n->way.on_host == ON_HOST_WEIGHTS, e) < 0)
		return -1;
	text_encoders_layers(&n->text, &n->layers);
	return 0;
}

/* The type of all layers' weights as they are multiplied: quantised ones become F16.  F32 where they are not of one. */
static enum dtype type_of_weights(const struct layer_list *l)
{
	enum dtype type = DTYPE_F32;

	for (size_t i = 0, seen = 0; i < l->count; i++) {
		const enum dtype stored = layer_weight(&l->layer[i])->dtype;
		const enum dtype mine = is_quantised(stored) ? DTYPE_F16 : stored;

		if (l->layer[i].norm)
			continue;
		if (seen++ && mine != type)
			return DTYPE_F32;
		type = mine;
	}
	return type;
}

int networks_load_unet(struct run_networks *n, struct error *e)
{
	n->step.unet = n->unet = unet_load_sparing(n->files, n->be, n->device, n->way.on_host, e);
	if (!n->unet)
		return -1;
	unet_layers(n->unet, &n->layers);
	n->quantising.closed = true;    /* text encoders that a sample loads later are not the run's */
	n->inner = n->be->inner(n->device, type_of_weights(&n->layers),
				model_widest_head(model_files_config(n->files)));
	return 0;
}

void networks_give_arena(struct run_networks *n)
{
	tape_free(n->tape);
	n->tape = NULL;
}

int networks_take_arena(struct run_networks *n, struct error *e)
{
	if (n->tape)
		return 0;
	n->tape = tape_new(n->be, n->device, n->activation_bytes, e);
	if (!n->tape)
		return -1;
	tape_checkpoint_first(n->tape, n->way.checkpoints);
	tape_cheap_again(n->tape, n->way.cheap_again);
	tape_inner(n->tape, n->inner);
	return 0;
}

int networks_open_device(struct run_networks *n, struct error *e)
{
	n->be = backend_find(n->s->device, e);
	n->device = n->be ? n->be->open(e) : NULL;
	return n->device ? 0 : -1;
}

void networks_free(struct run_networks *n)
{
	tape_free(n->tape);
	adapter_free(n->adapter);
	while (n->bases)
		adapter_free(n->base[--n->bases]);
	free(n->base);
	layer_list_free(&n->layers);
	unet_free(n->unet);
	text_encoders_free(&n->text);
	if (n->device)
		n->be->close(n->device);
	model_files_close(n->files);
	quantising_free(&n->quantising);
}
