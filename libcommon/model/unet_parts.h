/* unet_parts.h - struct unet, shared by unet.c (forward) and unet_load.c (names and sizes).  Private to these. */
#ifndef MODEL_UNET_PARTS_H
#define MODEL_UNET_PARTS_H

#include "resnet.h"
#include "transformer.h"
#include "unet.h"

enum stage_kind { STAGE_RESNET, STAGE_TRANSFORMER, STAGE_DOWNSAMPLE, STAGE_UPSAMPLE };

/* One module of those that run in order from conv_in to conv_norm_out. */
struct stage {
	enum stage_kind kind;
	bool takes_skip;                /* concatenates the newest stored skip connection with its input */
	bool keeps;                     /* its output is stored as a skip connection for the up blocks */
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
