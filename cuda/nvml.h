/*
 * nvml.h - what a card is doing, asked of NVML, the management library that comes with NVIDIA's driver.
 *
 * It is opened at run time, and never needed: what it lacks or refuses is a figure less.  Must not know CUDA, which
 * tells a card by its PCI bus id.
 */
#ifndef CUDA_NVML_H
#define CUDA_NVML_H

#include "../libcommon/backend.h"

struct nvml;

/* NULL: there is no NVML, or it does not know this card.  visible: CUDA_VISIBLE_DEVICES, which may name an instance of
 * a card in MIG mode; or NULL. */
struct nvml *nvml_open(const char *bus_id, const char *visible);
void nvml_close(struct nvml *n);                        /* accepts NULL */
void nvml_look(const struct nvml *n, struct device_use *now);

#endif
