#include "common/base/metric.h"

#include <inttypes.h>
#include <stdio.h>

void metric_observe(struct metric_histogram *h, int64_t n)
{
    unsigned i = 0;
    if (n < 0)
        n = 0;
    while (i < METRIC_BUCKETS - 1 && n > INT64_C(1) << i)
        i++;
    metric_add(&h->bucket[i], 1);
    metric_add(&h->sum, (uint64_t)n);
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

/* The labels in braces; `le` is one more of them, unless it is empty. */
static void put_labels(struct buf *out, const struct metric_label *labels, size_t n, const char *le)
{
    const char *before = "{";
    for (size_t i = 0; i < n; i++) {
        buf_add_fmt(out, "%s%s=\"", before, labels[i].name);
        put_escaped(out, labels[i].value);
        buf_add_str(out, "\"");
        before = ",";
    }
    if (le[0] != 0)
        buf_add_fmt(out, "%sle=\"%s\"", before, le);
    if (n > 0 || le[0] != 0)
        buf_add_str(out, "}");
}

void metric_put(struct buf *out, const char *name, const struct metric_label *labels, size_t n,
                uint64_t value)
{
    buf_add_str(out, name);
    put_labels(out, labels, n, "");
    buf_add_fmt(out, " %" PRIu64 "\n", value);
}

#define NUMBER_MAX 32

static void format_unit(char out[NUMBER_MAX], uint64_t n, enum metric_unit unit)
{
    static const struct {
        uint64_t per_one;
        int digits;
    } UNITS[] = {
        [METRIC_ONES] = { 1, 0 }, [METRIC_MS] = { 1000, 3 }, [METRIC_US] = { 1000000, 6 }
    };
    uint64_t per_one = UNITS[unit].per_one;
    if (per_one == 1)
        (void)snprintf(out, NUMBER_MAX, "%" PRIu64, n);
    else
        (void)snprintf(out, NUMBER_MAX, "%" PRIu64 ".%0*" PRIu64, n / per_one, UNITS[unit].digits,
                       n % per_one);
}

void metric_put_histogram(struct buf *out, const char *name, const struct metric_label *labels,
                          size_t n, const struct metric_histogram *h, enum metric_unit unit)
{
    uint64_t count = 0;
    char number[NUMBER_MAX];
    for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
        count += metric_get(&h->bucket[i]);
        format_unit(number, UINT64_C(1) << i, unit);
        buf_add_fmt(out, "%s_bucket", name);
        put_labels(out, labels, n, i == METRIC_BUCKETS - 1 ? "+Inf" : number);
        buf_add_fmt(out, " %" PRIu64 "\n", count);
    }
    format_unit(number, metric_get(&h->sum), unit);
    buf_add_fmt(out, "%s_sum", name);
    put_labels(out, labels, n, "");
    buf_add_fmt(out, " %s\n%s_count", number, name);
    put_labels(out, labels, n, "");
    buf_add_fmt(out, " %" PRIu64 "\n", count);
}
