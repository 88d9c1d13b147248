/* unet_parts.h - what unet.c (the walk) and unet_load.c (names and sizes) share, and nobody else. */
#ifndef MODEL_UNET_PARTS_H
#define MODEL_UNET_PARTS_H

#include "resnet.h"
#include "transformer.h"
#include "unet.h"

enum stage_kind { STAGE_RESNET, STAGE_TRANSFORMER, STAGE_DOWNSAMPLE, STAGE_UPSAMPLE };

/* One module on the way from conv_in to conv_norm_out. */
struct stage {
	enum stage_kind kind;
	bool takes_skip;                /* reads the newest kept state beside its input */
	bool keeps;                     /* its output is kept for the way up */
	char *name;                     /* diffusers' */
	char *closes;                   /* the block that ends with this stage, or NULL */
	struct resnet resnet;
	struct transformer transformer;
	struct conv sampler;
};

struct unet {
	struct unet_config config;
	struct inventory layers;
	struct conv conv_in, conv_out;
	struct linear time[2], sizes[2];        /* time_embedding, add_embedding; w.out 0: none */
	struct norm norm_out;
	struct stage *stage;
	int stages;
};

#endif
