/*
 * emu_sanitizers.h - how fibers, fresh memory and asynchronous accesses are told to ASan, MSan, TSan.
 *
 * Under TSan the stand-in itself is built without it (-DEMU_TSAN): what it does between fibers is no race of the
 * kernel's.
 */
#ifndef EMU_SANITIZERS_H
#define EMU_SANITIZERS_H

#include <stddef.h>

#if defined(__has_feature)
#define EMU_HAS(x) __has_feature(x)
#else
#define EMU_HAS(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || EMU_HAS(address_sanitizer)
#define EMU_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define ON_ASAN(...) __VA_ARGS__
#else
#define EMU_ASAN 0
#define ON_ASAN(...)
#endif

#if EMU_HAS(memory_sanitizer)
#define EMU_MSAN 1
#include <sanitizer/msan_interface.h>
#define ON_MSAN(...) __VA_ARGS__
#else
#define EMU_MSAN 0
#define ON_MSAN(...)
#endif

#ifdef EMU_TSAN
extern "C" {
void *__tsan_create_fiber(unsigned flags);
void *__tsan_get_current_fiber();
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_acquire(void *token);
void __tsan_release(void *token);
void __tsan_read_range(void *p, unsigned long bytes);
void __tsan_write_range(void *p, unsigned long bytes);
}
enum { NO_ORDER = 1 };          /* a switch that is no synchronisation */
#define ON_TSAN(...) __VA_ARGS__
#else
#define ON_TSAN(...)
#endif

/* An access that happens at any time from now to a wait, whoever carries it out. */
static inline void tell_read(const void *p, size_t bytes) { (void)p; (void)bytes;
							    ON_TSAN(__tsan_read_range((void *)p, bytes);) }
static inline void tell_write(void *p, size_t bytes) { (void)p; (void)bytes; ON_TSAN(__tsan_write_range(p, bytes);) }

#endif
