/* statedir.h - the folder in which the agent keeps everything: made on first use, closed to others,
 * used by one agent at a time. Blocking; one thread. */
#ifndef LANYARD_AGENT_STATEDIR_H
#define LANYARD_AGENT_STATEDIR_H

#include <limits.h>

#include "common/base/attr.h"
#include "common/base/err.h"

/* Makes the folder `dir` (mode 0700) unless it is there. When root makes it for `user` (NULL: for
 * itself) it belongs to `user`. Errors: ERR_CONFIG for an unknown user, those of file_make_dir().
 */
NODISCARD enum err statedir_make(const char *dir, const char *user, struct err_info *info);

/* Takes the lock of `dir` into *fd, to be held (close it to let go), and removes what a crash left
 * half written. Errors: ERR_CONFIG when a newer agent wrote what is there: not a byte has been
 * changed then; ERR_EXISTS when another agent has it, ERR_DENIED, ERR_NOTFOUND, ERR_IO. */
NODISCARD enum err statedir_lock(int *fd, const char *dir, struct err_info *info);

/* Whether the next certificate can be stored in `dir`: ERR_OK, or ERR_IO or ERR_DENIED with a
 * sentence that says what is wrong and what to do. */
NODISCARD enum err statedir_check(const char *dir, struct err_info *info);

/* "dir/name" into `out`. Errors: ERR_LIMIT. */
NODISCARD enum err statedir_path(char out[PATH_MAX], const char *dir, const char *name,
                                 struct err_info *info);

/* Removes the folder `path` and the files in it (folders in it are an error). One that is not
 * there is as good as removed. Errors: ERR_IO, ERR_DENIED. */
NODISCARD enum err statedir_remove_folder(const char *path, struct err_info *info);

#endif
