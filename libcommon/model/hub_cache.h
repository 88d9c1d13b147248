/*
 * hub_cache.h - models that `hf download` left in the local Hugging Face cache.
 *
 * Reads $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub or
 * ~/.cache/huggingface/hub.
 * Never the network.
 */
#ifndef MODEL_HUB_CACHE_H
#define MODEL_HUB_CACHE_H

#include <stdbool.h>
#include "../base/error.h"

/* ORG/NAME as the hub spells ids. */
bool hub_id(const char *text);
/* The folder of the id's main revision, malloced.  NULL: not there or not whole; *e has the command that fetches it (EXIT_INPUT). */
char *hub_model(const char *id, struct error *e) MUST_CHECK;    /* a whole diffusers model */
char *hub_vae(const char *id, struct error *e) MUST_CHECK;      /* a repository with nothing but a VAE */

#endif
