/* doctor.h - the command that says what is wrong: a list of findings, each with the sentence that
 * helps. It looks for itself, whether a daemon is running or not, and changes nothing. Blocking,
 * within a minute. */
#ifndef LANYARD_AGENT_DOCTOR_H
#define LANYARD_AGENT_DOCTOR_H

#include <stdbool.h>

#include "agent/config.h"
#include "common/base/attr.h"
#include "common/base/err.h"

/* Prints the findings to standard output, as text or as JSON {"ok": ..., "findings": [{"check",
 * "result": "pass" | "warn" | "fail", "text"}]}. *healthy tells whether nothing failed. Errors:
 * ERR_NOMEM. */
NODISCARD enum err doctor_run(const struct config *c, bool json, bool *healthy,
                              struct err_info *info);

#endif
