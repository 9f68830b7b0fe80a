#include "common/base/metric.h"

#include <inttypes.h>

void metric_observe(struct metric_histogram *h, int64_t us)
{
    unsigned i = 0;
    if (us < 0)
        us = 0;
    while (i < METRIC_BUCKETS - 1 && us > INT64_C(1) << i)
        i++;
    metric_add(&h->bucket[i], 1);
    metric_add(&h->sum_us, (uint64_t)us);
}

void metric_put_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_add_fmt(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_escaped(struct buf *out, const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '\n')
            buf_add_str(out, "\\n");
        else if (*text == '"' || *text == '\\')
            buf_add_fmt(out, "\\%c", *text);
        else
            buf_add(out, text, 1);
    }
}

void metric_put(struct buf *out, const char *name, const struct metric_label *labels, size_t n,
                uint64_t value)
{
    buf_add_str(out, name);
    for (size_t i = 0; i < n; i++) {
        buf_add_fmt(out, "%c%s=\"", i == 0 ? '{' : ',', labels[i].name);
        put_escaped(out, labels[i].value);
        buf_add_str(out, "\"");
    }
    buf_add_fmt(out, "%s %" PRIu64 "\n", n > 0 ? "}" : "", value);
}

void metric_put_histogram(struct buf *out, const char *name, const struct metric_histogram *h)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
        count += metric_get(&h->bucket[i]);
        uint64_t us = UINT64_C(1) << i;
        if (i == METRIC_BUCKETS - 1)
            buf_add_fmt(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, count);
        else
            buf_add_fmt(out, "%s_bucket{le=\"%" PRIu64 ".%06" PRIu64 "\"} %" PRIu64 "\n", name,
                        us / 1000000, us % 1000000, count);
    }
    uint64_t sum_us = metric_get(&h->sum_us);
    buf_add_fmt(out, "%s_sum %" PRIu64 ".%06" PRIu64 "\n%s_count %" PRIu64 "\n", name,
                sum_us / 1000000, sum_us % 1000000, name, count);
}
