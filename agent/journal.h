/* journal.h - what the agent remembers across restarts: state_dir/state.json, replaced atomically,
 * written only when something changed. Blocking; one thread. */
#ifndef LANYARD_AGENT_JOURNAL_H
#define LANYARD_AGENT_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/core/lifecycle.h"
#include "common/base/attr.h"
#include "common/base/err.h"

#define JOURNAL_OUTPUT_MAX 4096 /* bytes kept of what the hook printed */

/* The last run of the reload command. */
struct hook_result {
    unsigned generation; /* for which it ran; 0: never */
    int64_t at;          /* Unix seconds of its end */
    bool timed_out;
    int exit_status; /* 0..255; 128 + signal number when it was killed; -1: could not be started */
    char output[JOURNAL_OUTPUT_MAX + 1]; /* the first bytes, NUL-terminated */
};

struct journal {
    char zone[256], server[512];         /* for which all this holds */
    enum lifecycle_state state;          /* LIFECYCLE_ILLEGAL: nothing remembered */
    unsigned attempts;                   /* failures in a row */
    unsigned starts;                     /* of the agent since it last had nothing to do */
    int64_t retry_at;                    /* Unix seconds: not before; 0: at once */
    unsigned renew_generation;           /* the generation for which renew_at was chosen */
    int64_t renew_at;                    /* Unix seconds */
    char error[sizeof(struct err_info)]; /* "" when the last step went well */
    int64_t error_at;
    struct hook_result hook;
};

/* Reads the journal under `state_dir`; a missing or damaged one is an empty one (damage is logged).
 * Errors: ERR_CONFIG when a newer agent wrote it: nothing must be changed then; ERR_DENIED, ERR_IO.
 */
NODISCARD enum err journal_load(struct journal *out, const char *state_dir, struct err_info *info);

NODISCARD enum err journal_save(const struct journal *j, const char *state_dir,
                                struct err_info *info);

#endif
