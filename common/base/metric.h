/* metric.h - numbers that one thread writes and any thread reads, and the text in which Prometheus
 * asks for them. A write is a load and a store, no lock and no atomic read-modify-write: two
 * writers of one number would lose counts. */
#ifndef LANYARD_BASE_METRIC_H
#define LANYARD_BASE_METRIC_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

struct metric {
    _Atomic uint64_t n;
};

/* The one writer. */
static inline void metric_set(struct metric *m, uint64_t n)
{
    atomic_store_explicit(&m->n, n, memory_order_relaxed);
}

static inline uint64_t metric_get(const struct metric *m)
{
    return atomic_load_explicit(&m->n, memory_order_relaxed);
}

/* The one writer. */
static inline void metric_add(struct metric *m, uint64_t n)
{
    metric_set(m, metric_get(m) + n);
}

/* Numbers by size: bucket i holds those of at most 2^i, the last one all others. */
#define METRIC_BUCKETS 22

struct metric_histogram {
    struct metric bucket[METRIC_BUCKETS];
    struct metric sum;
};

/* The one writer: counts a number. One below 0 (a duration by a clock that was set) counts as 0. */
void metric_observe(struct metric_histogram *h, int64_t n);

struct metric_label {
    const char *name, *value;
};

/* Begins a metric: its HELP and TYPE lines. `type` is counter, gauge or histogram. */
void metric_put_head(struct buf *out, const char *name, const char *type, const char *help);

/* One sample. The values of the `n` labels are escaped. */
void metric_put(struct buf *out, const char *name, const struct metric_label *labels, size_t n,
                uint64_t value);

/* What was counted: as it is, or milliseconds or microseconds, which are written as seconds. */
enum metric_unit { METRIC_ONES, METRIC_MS, METRIC_US };

/* The samples of one histogram. */
void metric_put_histogram(struct buf *out, const char *name, const struct metric_label *labels,
                          size_t n, const struct metric_histogram *h, enum metric_unit unit);

#endif
