/*
 * gui_preset.h - turns a preset of the kohya_ss GUI, JSON with the GUI's own keys, into TOML with the keys of
 * sd-scripts.
 *
 * Owns what the GUI's widgets mean.  Writes what the GUI's training button writes.
 */
#ifndef CONFIG_GUI_PRESET_H
#define CONFIG_GUI_PRESET_H

#include <jansson.h>
#include "../base/memory.h"

void gui_preset_toml(const json_t *preset, struct buffer *out);

#endif
