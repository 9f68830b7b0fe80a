/* file.h - whole files, read with a cap and written so that a power cut leaves the old or the new
 * one. Blocking; any thread. */
#ifndef LANYARD_BASE_FILE_H
#define LANYARD_BASE_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"

/* Appends the file at `path` to `out`, whose max bounds the size.
 * Errors: ERR_NOTFOUND, ERR_DENIED, ERR_IO, ERR_LIMIT when larger than `out` can take, ERR_NOMEM.
 */
NODISCARD enum err file_read(const char *path, struct buf *out, struct err_info *info);

/* As file_read(), for a file that holds a secret: refused with ERR_DENIED when group or others may
 * read or write it, or when it belongs to neither this user nor root. */
NODISCARD enum err file_read_secret(const char *path, struct buf *out, struct err_info *info);

/* As file_read_secret(), but the file may belong to user `owner` as well: whom a process that was
 * started by root is going to become. */
NODISCARD enum err file_read_secret_of(const char *path, uid_t owner, struct buf *out,
                                       struct err_info *info);

/* As file_read_secret_of(), but the mode may be as open as `mode` says: a secret that its owner
 * shares with a group. */
NODISCARD enum err file_read_shared_secret(const char *path, uid_t owner, mode_t mode,
                                           struct buf *out, struct err_info *info);

/* Replaces `path` by `content`: temporary file in the same folder made with `mode` from the start,
 * write, fsync, rename, fsync of the folder. On an error the old file stays as it was.
 * Errors: ERR_NOTFOUND (no folder), ERR_DENIED, ERR_IO. */
NODISCARD enum err file_write_atomic(const char *path, struct span content, mode_t mode,
                                     struct err_info *info);

/* As file_write_atomic(), but ERR_EXISTS when there is a file at `path` already, which stays. */
NODISCARD enum err file_create_atomic(const char *path, struct span content, mode_t mode,
                                      struct err_info *info);

/* Flushes the directory entry changes of the folder `path` to disk. */
NODISCARD enum err file_sync_dir(const char *path, struct err_info *info);

/* Creates the folder `path` (its parent must be there) with `mode`, unless it is there already. */
NODISCARD enum err file_make_dir(const char *path, mode_t mode, struct err_info *info);

#endif
