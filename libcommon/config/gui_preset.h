/*
 * gui_preset.h - a preset of the kohya_ss GUI, which is JSON in the GUI's own words, as TOML in the words of sd-scripts.
 *
 * Owns what the GUI's widgets mean; follows what its training button writes.
 */
#ifndef CONFIG_GUI_PRESET_H
#define CONFIG_GUI_PRESET_H

#include <jansson.h>
#include "../base/memory.h"

void gui_preset_toml(const json_t *preset, struct buffer *out);

#endif
