/*
 * * hub_cache.h - finds models that `hf download` stored on this machine: in the local Hugging Face cache, or in a
 * folder of the same layout, which snapshot_download(cache_dir=...) makes.
 *
 * The cache is $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub or
 * ~/.cache/huggingface/hub.  Owns which folder of a cache a name stands for, and the command that fetches what is
 * missing.  Never uses the network.
 */
#ifndef MODEL_HUB_CACHE_H
#define MODEL_HUB_CACHE_H

#include <stdbool.h>
#include "config.h"

enum hub_kind { HUB_MODEL, HUB_VAE };   /* a whole diffusers model, or a repository with nothing but a VAE */

/* Is it ORG/NAME, as the hub spells ids? */
bool hub_id(const char *text);
/*
 * * 1: *path (malloced) is the folder with the model's parts, or a file below it.  0: the name is of no cache; take it
 * as a path.  -1: the copy is missing or lacks a part; *e has the command that fetches it (EXIT_INPUT).
 *
 *     ORG/NAME                         in the local cache
 *     DIR/models--ORG--NAME            a copy in another cache
 *     DIR/NAME, DIR/ORG/NAME           the same, where DIR is such a cache and has no folder of that name; a file below
 *     may follow
 *     DIR                              a cache, or any folder, that holds one model
 *
 * needed: the parts of a model that must be there.
 */
int hub_find(const char *named, enum hub_kind kind, unsigned needed, char **path, struct error *e) MUST_CHECK;

#endif
