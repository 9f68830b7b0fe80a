/* storelock.h - one SQLite file, one service: a lock beside the file, held by the running service,
 * and by whatever must have it for itself. PostgreSQL needs none. */
#ifndef LANYARD_PROVISIOND_STORE_STORELOCK_H
#define LANYARD_PROVISIOND_STORE_STORELOCK_H

#include "common/base/attr.h"
#include "common/base/err.h"

/* Takes the lock of the store at `url`; *fd is the caller's, and closing it gives the lock back; it
 * stays -1 for PostgreSQL. Errors: ERR_CONFIG when another has it or the folder is not there. */
NODISCARD enum err storelock_take(int *fd, const char *url, struct err_info *info);

#endif
