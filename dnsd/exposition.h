/* exposition.h - all counters of the daemon as Prometheus reads them. The main thread. */
#ifndef LANYARD_DNSD_EXPOSITION_H
#define LANYARD_DNSD_EXPOSITION_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "dnsd/core/view.h"
#include "dnsd/reader.h"
#include "dnsd/signwatch.h"
#include "dnsd/stream.h"
#include "dnsd/tally.h"

struct exposition {
    const struct tally *const *workers; /* of each UDP worker */
    size_t n_workers;
    const struct stream_counts *streams[TALLY_TRANSPORTS]; /* NULL for UDP, and for what is off */
    const struct reader_counts *reader;
    const struct view *view;
    const struct signwatch_counts *signwatch;
    uint64_t xdp_dropped; /* frames that AF_XDP had no room for */
    uint64_t reloads, reloads_failed;
    int64_t started_s, reloaded_s; /* Unix seconds */
    int64_t cert_not_after_s;      /* likewise, of the TLS certificate; 0 for none */
};

/* Appends the text. Errors are those of `out`. */
void exposition_write(struct buf *out, const struct exposition *e);

#endif
