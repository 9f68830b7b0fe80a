/* statefile.h - a JSON file of the state folder: replaced atomically, of mode 0600, with the number
 * of its format in it. Blocking; one thread. */
#ifndef LANYARD_AGENT_STATEFILE_H
#define LANYARD_AGENT_STATEFILE_H

#include <jansson.h>

#include "common/base/attr.h"
#include "common/base/err.h"

#define STATEFILE_JOURNAL "state.json"
#define STATEFILE_REPORT "report.json"

/* Reads `state_dir`/`name`; *out is the caller's: NULL when there is none, or it is damaged
 * (which is logged). Errors: ERR_CONFIG when a newer agent wrote it: nothing must be changed then;
 * ERR_DENIED, ERR_IO. */
NODISCARD enum err statefile_load(json_t **out, const char *state_dir, const char *name,
                                  struct err_info *info);

/* Writes the object `root` (taken over; NULL counts as out of memory), with the format's number. */
NODISCARD enum err statefile_save(json_t *root, const char *state_dir, const char *name,
                                  struct err_info *info);

/* Removes it. One that is not there is as good as removed. */
NODISCARD enum err statefile_remove(const char *state_dir, const char *name, struct err_info *info);

/* Looks at all of them and changes nothing. Errors: ERR_CONFIG when a newer agent wrote one; what
 * cannot be read is no error here. */
NODISCARD enum err statefile_check_all(const char *state_dir, struct err_info *info);

#endif
