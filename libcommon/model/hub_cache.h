/*
 * hub_cache.h - models that `hf download` left on this machine: in the local Hugging Face cache, or in a folder of the same form, which
 * snapshot_download(cache_dir=...) makes.
 *
 * Reads $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub or
 * ~/.cache/huggingface/hub.
 * Owns which folders of a cache a name may mean, and the command that fetches what is missing.  Never the network.
 */
#ifndef MODEL_HUB_CACHE_H
#define MODEL_HUB_CACHE_H

#include <stdbool.h>
#include "config.h"

enum hub_kind { HUB_MODEL, HUB_VAE };   /* a whole diffusers model, or a repository with nothing but a VAE */

/* ORG/NAME as the hub spells ids. */
bool hub_id(const char *text);
/*
 * 1: *path (malloced) is what is meant, a folder with the model's parts or, below such a one, a file.  0: nothing of a cache; the name is
 * taken as it is.  -1: a copy is not there or lacks a part; *e has the command that fetches it (EXIT_INPUT).
 *
 *     ORG/NAME                         in the local cache
 *     DIR/models--ORG--NAME            a copy in another cache
 *     DIR/NAME, DIR/ORG/NAME           the same, where DIR is such a cache and has no folder of that name; a file below may follow
 *     DIR                              a cache, or any folder, that holds one model
 *
 * needed: the parts of a model that must be there.
 */
int hub_find(const char *named, enum hub_kind kind, unsigned needed, char **path, struct error *e) MUST_CHECK;

#endif
