/* servicelook.h - one look at the service, for the doctor: does it answer, and if it is refused for
 * its certificate, is that for the dates alone? Blocking, within half a minute. */
#ifndef LANYARD_AGENT_SERVICELOOK_H
#define LANYARD_AGENT_SERVICELOOK_H

#include <stdint.h>

#include "agent/config.h"
#include "agent/identity.h"
#include "common/base/attr.h"
#include "common/base/err.h"

struct servicelook {
    enum err e;           /* ERR_OK: it answered; others as of fetch_start() */
    struct err_info info; /* the sentence when it did not */
    int status;           /* of HTTP */
    int64_t date_s;       /* what its clock says, Unix seconds; 0: not said */
    /* The dates of its certificate, where nothing else is wrong with it; 0: not known. */
    int64_t from_s, to_s;
};

/* Errors: ERR_NOMEM, ERR_CONFIG; what is wrong with the service is none. */
NODISCARD enum err servicelook_run(struct servicelook *out, const struct config *c,
                                   const struct identity *id, struct err_info *info);

#endif
