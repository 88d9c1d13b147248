#include <stdlib.h>
#include <unistd.h>
#include "captions.h"
#include "internal.h"

void run_free(struct run *r)
{
	progress_end(r->witness.progress);
	run_samples_free(r);
	r->data.set.count += r->data.held_out;
	run_captions_free(r->data.captions);
	tape_free(r->net.tape);
	ema_free(&r->course.ema);
	optimizer_free(&r->course.optimizer);
	adapter_free(r->net.adapter);
	run_bases_free(r);
	layer_list_free(&r->net.layers);
	unet_free(r->net.unet);
	clip_free(r->net.te1);
	clip_free(r->net.te2);
	if (r->net.device)
		r->net.be->close(r->net.device);
	model_files_close(r->net.files);
	order_free(r->data.order);
	latent_set_free(&r->data.set);
	noise_schedule_free(&r->course.objective.schedule);
	noise_schedule_free(&r->course.objective.plain);
	free(r->keeper.identity);
	free(r->keeper.config);
	free(r->keeper.settings);
	free(r->keeper.resumed);
	free(r->keeper.damaged.step);
	free(r->data.replayed);
	events_free(&r->witness.events);
	loss_mean_free(&r->witness.mean);
	if (r->keeper.lock >= 0)
		close(r->keeper.lock);
}
