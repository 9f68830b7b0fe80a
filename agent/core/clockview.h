/* clockview.h - whether the clock of this device can be right, from all that is known here: a
 * service that is away, or whose certificate the clock calls too old, is no reason to say nothing.
 * Pure; any thread. */
#ifndef LANYARD_AGENT_CORE_CLOCKVIEW_H
#define LANYARD_AGENT_CORE_CLOCKVIEW_H

#include <stdint.h>

#define CLOCKVIEW_TEXT_MAX 256

enum clockview { CLOCKVIEW_RIGHT, CLOCKVIEW_DOUBTFUL, CLOCKVIEW_WRONG };

/* Unix seconds; 0 for what is not known. */
struct clockview_facts {
    int64_t now_s;                        /* what the clock says */
    int64_t service_s;                    /* what the service's says */
    int64_t service_from_s, service_to_s; /* its certificate, authentic but for its dates */
    int64_t built_s;                      /* when this program was made */
    int64_t cert_from_s, cert_to_s;       /* the certificate in place */
    int64_t noted_s;                      /* when the agent last wrote its state */
};

/* The judgement, and in `text` the sentence that helps. */
enum clockview clockview_judge(const struct clockview_facts *f, char text[CLOCKVIEW_TEXT_MAX]);

#endif
