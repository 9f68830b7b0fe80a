/* findings.h - what a check-up found: a line each with pass, warn or fail and the sentence that
 * helps, as text or as JSON. One thread. */
#ifndef LANYARD_PROVISIOND_ADMIN_FINDINGS_H
#define LANYARD_PROVISIOND_ADMIN_FINDINGS_H

#include <stdbool.h>

#include <jansson.h>

#include "common/base/attr.h"

enum finding { FINDING_PASS, FINDING_WARN, FINDING_FAIL };

struct findings {
    json_t *rows; /* NULL: printed as text at once */
    enum finding worst;
};

void findings_init(struct findings *f, bool as_json);

/* One more; `subject` is a zone, an issuer or "". */
void findings_add(struct findings *f, enum finding what, const char *check, const char *subject,
                  const char *fmt, ...) PRINTF_LIKE(5, 6);

/* Prints what is left to print. Returns 0 when all passed, 1 with warnings only, 2 with failures.
 */
int findings_end(struct findings *f);

#endif
