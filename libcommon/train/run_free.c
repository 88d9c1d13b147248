#include <stdlib.h>
#include <unistd.h>
#include "captions.h"
#include "internal.h"

void run_free(struct run *r)
{
	progress_end(r->progress);
	run_samples_free(r);
	r->data.count += r->held_out;
	run_captions_free(r->captions);
	tape_free(r->tape);
	ema_free(&r->ema);
	optimizer_free(&r->optimizer);
	adapter_free(r->adapter);
	run_bases_free(r);
	layer_list_free(&r->layers);
	unet_free(r->unet);
	clip_free(r->te1);
	clip_free(r->te2);
	if (r->device)
		r->be->close(r->device);
	model_files_close(r->files);
	order_free(r->order);
	latent_set_free(&r->data);
	noise_schedule_free(&r->objective.schedule);
	noise_schedule_free(&r->objective.plain);
	free(r->identity);
	free(r->config);
	free(r->settings);
	free(r->resumed);
	free(r->damaged.step);
	free(r->replayed);
	events_free(&r->events);
	loss_mean_free(&r->mean);
	if (r->lock >= 0)
		close(r->lock);
}
