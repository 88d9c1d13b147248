/*
 * cards.h - NVIDIA's cards by name, with their peak rates.
 */
#ifndef TRAIN_PLAN_CARDS_H
#define TRAIN_PLAN_CARDS_H

#include "../../nn/work.h"

const struct card_rates *card_rates(const char *name);          /* a word of CARD_NAMES; NULL: no such card */
const char *card_words(const char *name);                       /* as NVIDIA calls it */

#endif
