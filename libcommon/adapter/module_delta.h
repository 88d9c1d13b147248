/*
 * module_delta.h - dW of an adapter's module on a device by its rows in double, for kinds that have no other way to the
 * whole of it.
 *
 * Private to lengths.c: once a load, through host memory.
 */
#ifndef ADAPTER_MODULE_DELTA_H
#define ADAPTER_MODULE_DELTA_H

#include "adapter.h"

/* dw [out,kh,kw,in], device memory = dW / scale.  -1: no device memory */
int module_delta(const struct adapter *a, const struct adapter_module *m, float *dw) MUST_CHECK;

#endif
