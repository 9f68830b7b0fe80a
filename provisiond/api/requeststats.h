/* requeststats.h - requests by route, status and kind of problem. What is counted is ours: routes
 * and problem types come from the program, nothing from a client. The loop's thread. */
#ifndef LANYARD_PROVISIOND_API_REQUESTSTATS_H
#define LANYARD_PROVISIOND_API_REQUESTSTATS_H

#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/metric.h"

#define REQUESTSTATS_ROWS 256 /* combinations; what is more counts as one row */

struct requeststats_row {
    const char *method, *path; /* literals of the route table; path NULL: no such route */
    int status;
    const char *problem; /* literal; "" for none */
    struct metric n;
};

struct requeststats {
    size_t n_rows;
    struct requeststats_row rows[REQUESTSTATS_ROWS];
    struct metric others;
};

/* All strings must live as long as the program does. */
void requeststats_count(struct requeststats *s, const char *method, const char *path, int status,
                        const char *problem);

/* Appends them as the metric `name`. Errors are those of `out`. */
void requeststats_write(const struct requeststats *s, const char *name, const char *help,
                        struct buf *out);

#endif
