/* secret.h - random bytes, comparison without a timing trace, and a process that does not leak.
 * Any thread. */
#ifndef LANYARD_BASE_SECRET_H
#define LANYARD_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* Fills `p` from the kernel's generator; aborts if the kernel cannot, because no caller could go
 * on. */
void secret_random(void *p, size_t len);

/* Whether the `len` bytes are equal, in time that depends on `len` only. */
bool secret_equal(const void *a, const void *b, size_t len);

/* No core dumps, no ptrace by others, no new privileges through exec. Call first thing in main().
 */
void secret_harden_process(void);

#endif
