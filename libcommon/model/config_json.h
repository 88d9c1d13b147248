/*
 * config_json.h - reads one config file: its keys, their limits, and the settings that are refused.
 *
 * Private to config.c (vae_config_read is public, in config.h).  Must not know folders.
 */
#ifndef MODEL_CONFIG_JSON_H
#define MODEL_CONFIG_JSON_H

#include "config.h"

int unet_config_read(const char *file, struct unet_config *c, struct error *e) MUST_CHECK;
/* projection: the second encoder's.  The first has the key, too, and no such tensor. */
int clip_config_read(const char *file, bool projection, struct clip_config *c, struct error *e) MUST_CHECK;
int schedule_config_read(const char *file, struct schedule_config *c, struct error *e) MUST_CHECK;

#endif
