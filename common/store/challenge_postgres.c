#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/store/challenge_backend.h"
#include "common/store/libpq.h"

/* Seconds for each host: the least that libpq knows. What the URL says wins. */
#define CONNECT_TIMEOUT_S "2"
#define TCP_USER_TIMEOUT_MS "3000" /* for a reply to what was sent, when the host is gone */
#define KEEPALIVES_IDLE_S "10"
#define QUERY_TIMEOUT_MS 2000
#define RETRY_MIN_MS 250 /* after a failure; doubled by each further one */
#define RETRY_MAX_MS 2000
#define SHOW_MAX 200 /* characters of the URL in a message */

/* The view has only values that live by the clock of the database. */
static const char QUERY[] = "SELECT value FROM live_challenges WHERE zone=$1 AND id=$2"
                            " AND length(value)=43 ORDER BY expires_at LIMIT 8";
_Static_assert(CHALLENGE_VALUES_MAX == 8 && CHALLENGE_VALUE_LEN == 43, "as in the query");

struct postgres_store {
    struct challenge_store base;
    const struct libpq *pq;
    char *url;
    char show[SHOW_MAX];
    PGconn *connection;   /* NULL while there is none */
    int64_t retry_at_ms;  /* monotonic: no new connection before */
    int64_t retry_ms;     /* 0 after a success */
    struct err_info last; /* why the connection was lost */
};

/* The value of `keyword` in the URL, or NULL. */
static const char *option(const PQconninfoOption *options, const char *keyword)
{
    for (; options != NULL && options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0)
            return options->val != NULL && options->val[0] != 0 ? options->val : NULL;
    }
    return NULL;
}

enum err challenge_postgres_check(const char *url, bool *has_password, struct err_info *info)
{
    const struct libpq *pq = NULL;
    enum err e = libpq_load(&pq, info);
    if (e != ERR_OK)
        return e;
    PQconninfoOption *options =
        pq->conninfoParse(url, NULL); /* its message may quote the password */
    if (options == NULL)
        return err_set(info, ERR_CONFIG,
                       "not a URL that libpq understands: write "
                       "postgresql://USER@HOST/DATABASE?passfile=PATH");
    *has_password = option(options, "password") != NULL || option(options, "sslpassword") != NULL;
    pq->conninfoFree(options);
    return ERR_OK;
}

void challenge_postgres_show(const char *url, char *out, size_t cap)
{
    const struct libpq *pq = NULL;
    PQconninfoOption *options = NULL;
    if (libpq_load(&pq, NULL) == ERR_OK)
        options = pq->conninfoParse(url, NULL);
    const char *host = option(options, "host"), *name = option(options, "dbname");
    if (host == NULL)
        host = option(options, "hostaddr");
    (void)snprintf(out, cap, "postgresql://%s/%s", host != NULL ? host : "",
                   name != NULL ? name : "");
    if (options != NULL)
        pq->conninfoFree(options);
}

static void disconnect(struct postgres_store *s)
{
    if (s->connection != NULL)
        s->pq->finish(s->connection);
    s->connection = NULL;
}

/* Ends the connection, for some time, and says why: libpq's message on one line. */
static enum err fail(struct postgres_store *s, struct err_info *info, const char *what,
                     const char *message)
{
    char line[256];
    size_t n = 0;
    for (; *message != 0 && n < sizeof line - 1; message++)
        line[n++] = *message == '\n' ? ' ' : *message;
    while (n > 0 && line[n - 1] == ' ')
        n--;
    line[n] = 0;
    (void)err_set(&s->last, ERR_UNAVAILABLE, "challenge store %s: cannot %s: %s", s->show, what,
                  line);
    disconnect(s);
    s->retry_ms = s->retry_ms == 0 ? RETRY_MIN_MS : 2 * s->retry_ms;
    if (s->retry_ms > RETRY_MAX_MS)
        s->retry_ms = RETRY_MAX_MS;
    s->retry_at_ms = clock_mono_ms() + s->retry_ms;
    return err_set(info, ERR_UNAVAILABLE, "%s", s->last.text);
}

static enum err connect_db(struct postgres_store *s, struct err_info *info)
{
    /* what stands in the URL comes last, and wins */
    const char *const keywords[] = { "connect_timeout",  "tcp_user_timeout", "keepalives_idle",
                                     "application_name", "dbname",           NULL };
    const char *const values[] = {
        CONNECT_TIMEOUT_S, TCP_USER_TIMEOUT_MS, KEEPALIVES_IDLE_S, "lanyard-dnsd", s->url, NULL
    };
    if (s->retry_ms > 0 && clock_mono_ms() < s->retry_at_ms)
        return err_set(info, ERR_UNAVAILABLE, "%s", s->last.text);
    s->connection = s->pq->connectdbParams(keywords, values, 1);
    if (s->connection == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    if (s->pq->status(s->connection) != CONNECTION_OK)
        return fail(s, info, "connect", s->pq->errorMessage(s->connection));
    return ERR_OK;
}

/* The next result of the query that was sent, or NULL: there is no more, none came until
 * `deadline_ms`, or the connection is gone. */
static PGresult *wait_result(const struct libpq *pq, PGconn *c, int64_t deadline_ms,
                             bool *timed_out)
{
    while (pq->isBusy(c)) {
        int64_t left_ms = deadline_ms - clock_mono_ms();
        struct pollfd p = { .fd = pq->socket(c), .events = POLLIN };
        *timed_out = left_ms <= 0;
        if (*timed_out)
            return NULL;
        if (poll(&p, 1, (int)left_ms) < 0 && errno != EINTR)
            return NULL;
        if (p.revents != 0 && !pq->consumeInput(c))
            return NULL;
    }
    return pq->getResult(c);
}

/* Whether another connection may do better at once: this one was ended by the server, or stood in
 * the way of its replication. [PostgreSQL, appendix A: classes 08, 40, 57P] */
static bool is_lost(const struct libpq *pq, const PGconn *c, const PGresult *r)
{
    const char *state = r == NULL ? NULL : pq->resultErrorField(r, PG_DIAG_SQLSTATE);
    return pq->status(c) != CONNECTION_OK ||
           (state != NULL && (strncmp(state, "08", 2) == 0 || strncmp(state, "40", 2) == 0 ||
                              strncmp(state, "57P", 3) == 0));
}

static size_t take_values(const struct libpq *pq, const PGresult *r,
                          struct challenge_value values[CHALLENGE_VALUES_MAX])
{
    size_t n = 0;
    for (int i = 0; i < pq->ntuples(r) && n < CHALLENGE_VALUES_MAX; i++) {
        const char *text = pq->getvalue(r, i, 0);
        if (challenge_value_has_form(text))
            memcpy(values[n++].text, text, CHALLENGE_VALUE_LEN + 1);
    }
    return n;
}

/* Reads over the connection there is. *lost tells whether a new one is worth a try. */
static enum err read_values(struct postgres_store *s, const char *zone, const char *id,
                            struct challenge_value values[CHALLENGE_VALUES_MAX], size_t *n,
                            bool *lost, struct err_info *info)
{
    const char *const params[] = { zone, id };
    const struct libpq *pq = s->pq;
    PGconn *c = s->connection;
    PGresult *r = NULL, *more;
    int64_t deadline_ms = clock_mono_ms() + QUERY_TIMEOUT_MS;
    bool timed_out = false;
    if (pq->sendQueryParams(c, QUERY, 2, NULL, params, NULL, NULL, 0))
        r = wait_result(pq, c, deadline_ms, &timed_out);
    enum err e = ERR_OK;
    bool read = pq->resultStatus(r) == PGRES_TUPLES_OK;
    while (read && (more = wait_result(pq, c, deadline_ms, &timed_out)) != NULL)
        pq->clear(more);
    if (read && !timed_out) {
        *n = take_values(pq, r, values);
        s->retry_ms = 0;
    } else {
        *lost = !timed_out && is_lost(pq, c, r);
        e = fail(s, info, "read it", timed_out ? "no reply in time" : pq->errorMessage(c));
    }
    pq->clear(r);
    return e;
}

static enum err store_get(struct challenge_store *base, const char *zone, const char *id,
                          int64_t now_s, struct challenge_value values[CHALLENGE_VALUES_MAX],
                          size_t *n, struct err_info *info)
{
    struct postgres_store *s = (struct postgres_store *)base;
    bool reused = s->connection != NULL, lost = false;
    (void)now_s;
    enum err e = reused ? ERR_OK : connect_db(s, info);
    if (e == ERR_OK)
        e = read_values(s, zone, id, values, n, &lost, info);
    if (e != ERR_OK && reused && lost) { /* it may have died long ago: once more with a new one */
        s->retry_ms = 0;
        e = connect_db(s, info);
        if (e == ERR_OK)
            e = read_values(s, zone, id, values, n, &lost, info);
    }
    return e;
}

static void store_free(struct challenge_store *base)
{
    struct postgres_store *s = (struct postgres_store *)base;
    disconnect(s);
    if (s->url != NULL)
        explicit_bzero(s->url, strlen(s->url));
    free(s->url);
    free(s);
}

enum err challenge_postgres_open(struct challenge_store **out, const char *url,
                                 struct err_info *info)
{
    static const struct challenge_ops OPS = { .free = store_free, .get = store_get };
    const struct libpq *pq = NULL;
    enum err e = libpq_load(&pq, info);
    if (e != ERR_OK)
        return e;
    struct postgres_store *s = calloc(1, sizeof *s);
    if (s == NULL || (s->url = strdup(url)) == NULL) {
        free(s);
        return err_set(info, ERR_NOMEM, "out of memory");
    }
    s->base.ops = &OPS;
    s->pq = pq;
    challenge_postgres_show(url, s->show, sizeof s->show);
    *out = &s->base;
    return ERR_OK;
}
