/*
 * settings_idle.h - settings that change nothing, because another one that they belong to is off.  They are said, not refused:
 * sd-scripts takes them in silence.
 */
#ifndef TRAIN_SETTINGS_IDLE_H
#define TRAIN_SETTINGS_IDLE_H

#include "settings.h"

void settings_tell_idle(const struct train_settings *s);

#endif
