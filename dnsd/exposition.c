#include "dnsd/exposition.h"

#include "common/dns/wire.h"

static uint64_t sum_replies(const struct exposition *e, enum tally_transport transport,
                            unsigned type, unsigned outcome)
{
    uint64_t n = metric_get(&e->reader->tally[transport].replies[type][outcome]);
    if (e->streams[transport] != NULL)
        n += metric_get(&e->streams[transport]->tally.replies[type][outcome]);
    for (size_t i = 0; transport == TALLY_UDP && i < e->n_workers; i++)
        n += metric_get(&e->workers[i]->replies[type][outcome]);
    return n;
}

static void put_replies(struct buf *out, const struct exposition *e)
{
    static const char NAME[] = "lanyard_dnsd_replies_total";
    metric_put_head(out, NAME, "counter",
                    "Replies, by transport, type of question and outcome. Combinations that never "
                    "occurred are left out.");
    for (unsigned t = 0; t < TALLY_TRANSPORTS; t++) {
        for (unsigned k = 0; k < TALLY_TYPES * TALLY_OUTCOMES; k++) {
            unsigned type = k / TALLY_OUTCOMES, outcome = k % TALLY_OUTCOMES;
            uint64_t n = sum_replies(e, (enum tally_transport)t, type, outcome);
            const struct metric_label labels[] = { { "transport", TALLY_TRANSPORT_NAMES[t] },
                                                   { "type", TALLY_TYPE_NAMES[type] },
                                                   { "outcome", TALLY_OUTCOME_NAMES[outcome] } };
            if (n > 0)
                metric_put(out, NAME, labels, ARRAY_LEN(labels), n);
        }
    }
}

static void put_dropped_row(struct buf *out, const char *transport, const char *reason, uint64_t n)
{
    const struct metric_label labels[] = { { "transport", transport }, { "reason", reason } };
    metric_put(out, "lanyard_dnsd_dropped_total", labels, ARRAY_LEN(labels), n);
}

static void put_dropped(struct buf *out, const struct exposition *e)
{
    uint64_t unanswered = 0, unsent = 0, limited = 0, slipped = 0;
    metric_put_head(out, "lanyard_dnsd_dropped_total", "counter",
                    "Requests without a reply: malformed beyond a reply, held back by rate "
                    "limiting, or refused by the system.");
    for (size_t i = 0; i < e->n_workers; i++) {
        unanswered += metric_get(&e->workers[i]->unanswered);
        unsent += metric_get(&e->workers[i]->unsent);
        limited += metric_get(&e->workers[i]->limited);
        slipped += metric_get(&e->workers[i]->slipped);
    }
    put_dropped_row(out, "udp", "malformed", unanswered);
    put_dropped_row(out, "udp", "unsent", unsent);
    put_dropped_row(out, "udp", "limited", limited);
    put_dropped_row(out, "udp", "xdp_full", e->xdp_dropped);
    for (unsigned t = TALLY_TCP; t < TALLY_TRANSPORTS; t++) {
        if (e->streams[t] != NULL)
            put_dropped_row(out, TALLY_TRANSPORT_NAMES[t], "malformed",
                            metric_get(&e->streams[t]->tally.unanswered));
    }
    metric_put_head(out, "lanyard_dnsd_slipped_total", "counter",
                    "Replies over the rate limit that were cut to a truncated or BADCOOKIE one.");
    metric_put(out, "lanyard_dnsd_slipped_total", NULL, 0, slipped);
}

static void add_histogram(struct metric_histogram *sum, const struct metric_histogram *h)
{
    for (unsigned i = 0; i < METRIC_BUCKETS; i++)
        metric_add(&sum->bucket[i], metric_get(&h->bucket[i]));
    metric_add(&sum->sum, metric_get(&h->sum));
}

static void put_batches(struct buf *out, const struct exposition *e)
{
    static const char NAME[] = "lanyard_dnsd_batch_seconds";
    metric_put_head(out, NAME, "histogram",
                    "From having read questions to having given their replies to the system: of "
                    "every 64th batch of 1 to 32 datagrams, since a clock read costs as much as a "
                    "small answer, and of all that a connection brought at a time.");
    for (unsigned t = 0; t < TALLY_TRANSPORTS; t++) {
        const struct metric_label label = { "transport", TALLY_TRANSPORT_NAMES[t] };
        struct metric_histogram sum = { 0 };
        for (size_t i = 0; t == TALLY_UDP && i < e->n_workers; i++)
            add_histogram(&sum, &e->workers[i]->batch);
        if (e->streams[t] != NULL)
            add_histogram(&sum, &e->streams[t]->tally.batch);
        if (t == TALLY_UDP || e->streams[t] != NULL)
            metric_put_histogram(out, NAME, &label, 1, &sum, METRIC_US);
    }
}

static void put_challenges(struct buf *out, const struct exposition *e)
{
    metric_put_head(out, "lanyard_dnsd_challenge_reads_total", "counter",
                    "Questions for challenge values, by what the store said.");
    for (unsigned i = 0; i < READER_RESULTS; i++) {
        const struct metric_label label = { "result", READER_RESULT_NAMES[i] };
        metric_put(out, "lanyard_dnsd_challenge_reads_total", &label, 1,
                   metric_get(&e->reader->results[i]));
    }
    static const char TURNED_AWAY[] = "lanyard_dnsd_challenge_turned_away_total";
    const struct metric_label full = { "reason", "queue_full" }, down = { "reason", "store_down" };
    metric_put_head(out, TURNED_AWAY, "counter",
                    "Questions for challenge values that were SERVFAIL at once.");
    metric_put(out, TURNED_AWAY, &full, 1, metric_get(&e->reader->queue_full));
    metric_put(out, TURNED_AWAY, &down, 1, metric_get(&e->reader->turned_away));
    metric_put_head(out, "lanyard_dnsd_challenge_queue", "gauge",
                    "Questions for challenge values that wait for the store at present.");
    metric_put(out, "lanyard_dnsd_challenge_queue", NULL, 0, metric_get(&e->reader->queued));
    metric_put_head(out, "lanyard_dnsd_challenge_seconds", "histogram",
                    "From a question for challenge values to its reply.");
    metric_put_histogram(out, "lanyard_dnsd_challenge_seconds", NULL, 0, &e->reader->took,
                         METRIC_US);
}

static void put_connections(struct buf *out, const struct exposition *e)
{
    static const struct {
        const char *name, *type, *help;
        size_t at;
    } ROWS[] = {
        { "lanyard_dnsd_connections", "gauge", "Connections at present.",
          offsetof(struct stream_counts, open) },
        { "lanyard_dnsd_connections_accepted_total", "counter", "Connections so far.",
          offsetof(struct stream_counts, accepted) },
        { "lanyard_dnsd_connections_evicted_total", "counter",
          "Connections closed to make room for newer ones.",
          offsetof(struct stream_counts, evicted) },
        { "lanyard_dnsd_connections_expired_total", "counter",
          "Connections closed for being idle or slow.", offsetof(struct stream_counts, expired) },
        { "lanyard_dnsd_connections_no_descriptor_total", "counter",
          "Times that the system had no file descriptor for a connection.",
          offsetof(struct stream_counts, no_descriptor) },
        { "lanyard_dnsd_tls_handshakes_total", "counter", "Full TLS handshakes.",
          offsetof(struct stream_counts, handshakes) },
        { "lanyard_dnsd_tls_resumptions_total", "counter", "Resumed TLS sessions.",
          offsetof(struct stream_counts, resumed) },
        { "lanyard_dnsd_tls_handshakes_failed_total", "counter",
          "TLS handshakes that failed, were given up or took too long.",
          offsetof(struct stream_counts, handshake_failed) },
    };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        metric_put_head(out, ROWS[i].name, ROWS[i].type, ROWS[i].help);
        for (unsigned t = TALLY_TCP; t < TALLY_TRANSPORTS; t++) {
            const struct metric_label label = { "transport", TALLY_TRANSPORT_NAMES[t] };
            if (e->streams[t] == NULL)
                continue;
            const void *at = (const char *)e->streams[t] + ROWS[i].at;
            metric_put(out, ROWS[i].name, &label, 1, metric_get(at));
        }
    }
}

static void put_one(struct buf *out, const char *name, const char *type, const char *help,
                    uint64_t value)
{
    metric_put_head(out, name, type, help);
    metric_put(out, name, NULL, 0, value);
}

/* What the signers of one kind of thread have done. */
struct signatures {
    uint64_t made, cached, refused;
};

static void sum_signatures(struct signatures *sum, const struct signer_counts *c)
{
    sum->made += metric_get(&c->made);
    sum->cached += metric_get(&c->cached);
    sum->refused += metric_get(&c->refused);
}

static void put_signatures_of(struct buf *out, const char *thread, const struct signatures *sum)
{
    const struct {
        const char *result;
        uint64_t n;
    } ROWS[] = { { "made", sum->made },
                 { "cached", sum->cached },
                 { "over_budget", sum->refused } };
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        const struct metric_label labels[] = { { "thread", thread }, { "result", ROWS[i].result } };
        metric_put(out, "lanyard_dnsd_signatures_total", labels, ARRAY_LEN(labels), ROWS[i].n);
    }
}

static void put_signatures(struct buf *out, const struct exposition *e)
{
    struct signatures workers = { 0 }, reader = { 0 };
    metric_put_head(out, "lanyard_dnsd_signatures_total", "counter",
                    "Signatures that answers needed, by thread: made, kept from before, or refused "
                    "because the budget of the second was spent.");
    for (size_t i = 0; i < e->n_workers; i++)
        sum_signatures(&workers, e->workers[i]->signatures);
    put_signatures_of(out, "udp", &workers);
    for (unsigned t = TALLY_TCP; t < TALLY_TRANSPORTS; t++) {
        struct signatures stream = { 0 };
        if (e->streams[t] == NULL)
            continue;
        sum_signatures(&stream, e->streams[t]->tally.signatures);
        put_signatures_of(out, TALLY_TRANSPORT_NAMES[t], &stream);
    }
    sum_signatures(&reader, &e->reader->signatures);
    put_signatures_of(out, "challenges", &reader);
}

/* Signing that no answer waits for, and its clock. */
static void put_signwatch(struct buf *out, const struct exposition *e)
{
    const struct signwatch_counts *w = e->signwatch;
    put_one(out, "lanyard_dnsd_signatures_ahead_total", "counter",
            "Signatures over static records that were made anew before they were too old.",
            w->renewed);
    put_one(out, "lanyard_dnsd_signatures_ahead_failed_total", "counter",
            "Times that this could not be done; it is tried every second.", w->failed);
    put_one(out, "lanyard_dnsd_clock_steps_total", "counter",
            "Times that the clock was set by more than a minute, while a zone is signed.",
            w->clock_steps);
    put_one(out, "lanyard_dnsd_clock_wrong", "gauge",
            "1 while the clock is older than a key: what needs a signature is SERVFAIL.",
            w->clock_is_wrong);
    metric_put_head(out, "lanyard_dnsd_zone_signatures_due_seconds", "gauge",
                    "When the first signature over a static record is to be made anew, Unix time. "
                    "It expires a week and an hour after that.");
    for (size_t i = 0; i < e->view->n_zones; i++) {
        const struct metric_label label = { "zone", e->view->zones[i]->text };
        if (e->view->presigned[i] != NULL)
            metric_put(out, "lanyard_dnsd_zone_signatures_due_seconds", &label, 1,
                       (uint64_t)e->view->presigned[i]->due_s);
    }
}

static void put_zones(struct buf *out, const struct view *v)
{
    metric_put_head(out, "lanyard_dnsd_zone_serial", "gauge", "Serial number of each zone's SOA.");
    for (size_t i = 0; i < v->n_zones; i++) {
        const struct zone *z = v->zones[i];
        const struct metric_label label = { "zone", z->text };
        metric_put(out, "lanyard_dnsd_zone_serial", &label, 1, zone_serial(z));
    }
}

void exposition_write(struct buf *out, const struct exposition *e)
{
    static const struct metric_label VERSION = { "version", LANYARD_VERSION };
    metric_put_head(out, "lanyard_dnsd_build_info", "gauge", "The version, as a label.");
    metric_put(out, "lanyard_dnsd_build_info", &VERSION, 1, 1);
    put_one(out, "lanyard_dnsd_start_time_seconds", "gauge", "When it was started, Unix time.",
            (uint64_t)e->started_s);
    put_one(out, "lanyard_dnsd_workers", "gauge", "Threads that answer over UDP.", e->n_workers);
    put_one(out, "lanyard_dnsd_reloads_total", "counter", "Configurations taken over.", e->reloads);
    put_one(out, "lanyard_dnsd_reloads_failed_total", "counter",
            "Configurations refused: the old one stayed.", e->reloads_failed);
    put_one(out, "lanyard_dnsd_reload_time_seconds", "gauge",
            "When the present configuration was taken over, Unix time.", (uint64_t)e->reloaded_s);
    if (e->cert_not_after_s > 0)
        put_one(out, "lanyard_dnsd_tls_certificate_not_after_seconds", "gauge",
                "When the certificate of DNS over TLS ends, Unix time.",
                (uint64_t)e->cert_not_after_s);
    put_zones(out, e->view);
    put_replies(out, e);
    put_dropped(out, e);
    put_batches(out, e);
    put_challenges(out, e);
    put_signatures(out, e);
    put_signwatch(out, e);
    put_connections(out, e);
}
