#include "provisiond/api/requeststats.h"

#include <stdio.h>
#include <string.h>

static struct metric *find(struct requeststats *s, const struct requeststats_row *want)
{
    for (size_t i = 0; i < s->n_rows; i++) {
        struct requeststats_row *row = &s->rows[i];
        if (row->status == want->status && row->path == want->path && row->method == want->method &&
            strcmp(row->problem, want->problem) == 0)
            return &row->n;
    }
    if (s->n_rows == REQUESTSTATS_ROWS)
        return &s->others;
    s->rows[s->n_rows] = *want;
    return &s->rows[s->n_rows++].n;
}

void requeststats_count(struct requeststats *s, const char *method, const char *path, int status,
                        const char *problem)
{
    const struct requeststats_row want = { .method = path != NULL ? method : NULL,
                                           .path = path,
                                           .status = status,
                                           .problem = problem != NULL ? problem : "" };
    metric_add(find(s, &want), 1);
}

void requeststats_write(const struct requeststats *s, const char *name, const char *help,
                        struct buf *out)
{
    metric_put_head(out, name, "counter", help);
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct requeststats_row *row = &s->rows[i];
        char route[128] = "none", status[16];
        if (row->path != NULL)
            (void)snprintf(route, sizeof route, "%s %s", row->method, row->path);
        (void)snprintf(status, sizeof status, "%d", row->status);
        const struct metric_label labels[] = { { "route", route },
                                               { "status", status },
                                               { "problem", row->problem } };
        metric_put(out, name, labels, ARRAY_LEN(labels), metric_get(&row->n));
    }
    const struct metric_label other = { "route", "other" };
    if (metric_get(&s->others) > 0)
        metric_put(out, name, &other, 1, metric_get(&s->others));
}
