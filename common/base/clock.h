/* clock.h - the clocks. Cores never call these: time is passed in. Any thread. */
#ifndef LANYARD_BASE_CLOCK_H
#define LANYARD_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Wall clock, Unix seconds. Jumps when the clock is set: for dates, never for durations. */
int64_t clock_now_s(void);

/* Monotonic clock, milliseconds since an arbitrary start: for durations and deadlines. */
int64_t clock_mono_ms(void);

/* The same in microseconds. */
int64_t clock_mono_us(void);

/* Milliseconds since the boot, those in suspend included. Cannot be set: for what must go on
 * whatever happens to the wall clock. */
int64_t clock_boot_ms(void);

/* Writes `at_s` (Unix seconds) as RFC 3339 UTC, "2026-11-21T03:43:50Z". Needs 21 bytes. */
void clock_format(int64_t at_s, char *out, size_t cap);

/* Buffer size that clock_format() always fits in. */
#define CLOCK_TEXT_MAX 32

#endif
