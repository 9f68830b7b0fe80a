#include "provisiond/store/sql_pgconn.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/store/challenge.h"

/* Seconds for each host: the least that libpq knows. What the URL says wins, here and below. */
#define CONNECT_TIMEOUT_S "2"
#define TCP_USER_TIMEOUT_MS "5000" /* for a reply to what was sent, when the host is gone */
#define KEEPALIVES_IDLE_S "10"

/* Sets what a session stands on. An acknowledged commit has to outlive a power cut, and the
 * primary where there is a synchronous standby: a database that was tuned not to wait is told to.
 * Stricter settings stay. */
static const char SET_UP[] = "SET default_transaction_isolation = 'serializable';"
                             "SET statement_timeout = '4s'; SET lock_timeout = '1s';"
                             "SET idle_in_transaction_session_timeout = '10s';"
                             "SET bytea_output = 'hex'; SET client_encoding = 'UTF8';"
                             "SELECT set_config('synchronous_commit', 'on', false)"
                             " WHERE current_setting('synchronous_commit') IN ('off', 'local')";

static void on_notice(void *arg, const PGresult *r)
{
    struct pgconn *pc = arg;
    const char *severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity != NULL && strcmp(severity, "WARNING") == 0)
        pc->warned = true;
}

enum err pgconn_init(struct pgconn *pc, const char *url, struct err_info *info)
{
    bool has_password;
    enum err e = challenge_url_check(url, &has_password, info);
    if (e != ERR_OK)
        return e;
    *pc = (struct pgconn){ .url = strdup(url), .wait_ms = PGCONN_WAIT_MS };
    challenge_url_show(url, pc->show, sizeof pc->show);
    return pc->url != NULL ? ERR_OK : err_set(info, ERR_NOMEM, "out of memory");
}

void pgconn_drop(struct pgconn *pc)
{
    PQfinish(pc->c);
    pc->c = NULL;
}

void pgconn_clear(struct pgconn *pc)
{
    pgconn_drop(pc);
    if (pc->url != NULL)
        explicit_bzero(pc->url, strlen(pc->url));
    free(pc->url);
    pc->url = NULL;
}

/* Notes why, on one line. */
static enum err note(struct pgconn *pc, const char *message)
{
    char line[300];
    size_t n = 0;
    for (; *message != 0 && n < sizeof line - 1; message++)
        line[n++] = *message == '\n' ? ' ' : *message;
    while (n > 0 && line[n - 1] == ' ')
        n--;
    line[n] = 0;
    return err_set(&pc->last, ERR_UNAVAILABLE, "database %s: %s", pc->show, line);
}

enum err pgconn_ensure(struct pgconn *pc)
{
    /* what stands in the URL comes last, and wins */
    static const char *const KEYWORDS[] = { "connect_timeout",
                                            "tcp_user_timeout",
                                            "keepalives_idle",
                                            "target_session_attrs",
                                            "application_name",
                                            "dbname",
                                            NULL };
    if (pc->c != NULL)
        return ERR_OK;
    const char *const values[] = { CONNECT_TIMEOUT_S,
                                   TCP_USER_TIMEOUT_MS,
                                   KEEPALIVES_IDLE_S,
                                   "read-write",
                                   "lanyard-provisiond",
                                   pc->url,
                                   NULL };
    pc->may_retry = true;
    pc->c = PQconnectdbParams(KEYWORDS, values, 1);
    if (pc->c == NULL)
        return err_set(&pc->last, ERR_NOMEM, "out of memory");
    enum err e = ERR_OK;
    if (PQstatus(pc->c) != CONNECTION_OK)
        e = note(pc, PQerrorMessage(pc->c));
    if (e == ERR_OK && PQsetnonblocking(pc->c, 1) != 0)
        e = note(pc, "out of memory");
    if (e == ERR_OK) {
        pc->generation++;
        (void)PQsetNoticeReceiver(pc->c, on_notice, pc);
        e = pgconn_run(pc, SET_UP, NULL);
    }
    if (e != ERR_OK)
        pgconn_drop(pc);
    return e;
}

/* Waits until the socket can do what is asked of it. False at the deadline. */
static bool wait_socket(const struct pgconn *pc, short events, int64_t deadline_ms)
{
    int64_t left_ms = deadline_ms - clock_mono_ms();
    struct pollfd p = { .fd = PQsocket(pc->c), .events = events };
    if (left_ms <= 0)
        return false;
    int n = poll(&p, 1, left_ms > 60000 ? 60000 : (int)left_ms);
    return n >= 0 || errno == EINTR;
}

/* Brings what was sent to the server, and waits for something to come back. */
static bool await(struct pgconn *pc, int64_t deadline_ms)
{
    int unsent;
    while ((unsent = PQflush(pc->c)) > 0) {
        if (!wait_socket(pc, POLLIN | POLLOUT, deadline_ms) || !PQconsumeInput(pc->c))
            return false;
    }
    while (unsent == 0 && PQisBusy(pc->c)) {
        if (!wait_socket(pc, POLLIN, deadline_ms) || !PQconsumeInput(pc->c))
            return false;
    }
    return unsent == 0;
}

/* Sorts a failure. [PostgreSQL, appendix A: error codes] */
static enum err sort_failure(struct pgconn *pc, const PGresult *r)
{
    static const char *const LOST[] = { "08", "57P", "25006" };
    static const char *const CONFLICT[] = { "40001", "40P01", "55P03" };
    const char *state = r == NULL ? NULL : PQresultErrorField(r, PG_DIAG_SQLSTATE);
    const char *message = r == NULL ? NULL : PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    /* the primary message: what follows it may quote the values of a row */
    (void)note(pc, message != NULL ? message : PQerrorMessage(pc->c));
    bool lost = PQstatus(pc->c) != CONNECTION_OK;
    for (size_t i = 0; i < ARRAY_LEN(LOST) && state != NULL; i++)
        lost = lost || strncmp(state, LOST[i], strlen(LOST[i])) == 0;
    pc->may_retry = pc->may_retry || lost;
    for (size_t i = 0; i < ARRAY_LEN(CONFLICT) && state != NULL; i++)
        pc->may_retry = pc->may_retry || strcmp(state, CONFLICT[i]) == 0;
    if (lost)
        pgconn_drop(pc);
    return state != NULL && strcmp(state, "23505") == 0 ? ERR_EXISTS : ERR_UNAVAILABLE;
}

/* All results of what was sent: the first that failed, or else the last. NULL when none came. */
static PGresult *collect(struct pgconn *pc, bool *timed_out)
{
    int64_t deadline_ms = clock_mono_ms() + pc->wait_ms;
    PGresult *kept = NULL;
    for (;;) {
        *timed_out = !await(pc, deadline_ms) && PQstatus(pc->c) == CONNECTION_OK;
        PGresult *r = *timed_out ? NULL : PQgetResult(pc->c);
        if (r == NULL)
            return kept;
        ExecStatusType s = PQresultStatus(kept);
        if (kept != NULL && s != PGRES_COMMAND_OK && s != PGRES_TUPLES_OK) {
            PQclear(r);
            continue;
        }
        PQclear(kept);
        kept = r;
        if (PQresultStatus(r) == PGRES_COPY_IN)
            return kept; /* the rest is up to the caller */
    }
}

enum err pgconn_result(struct pgconn *pc, int sent, PGresult **out)
{
    bool timed_out = false;
    pc->may_retry = false;
    PGresult *r = sent ? collect(pc, &timed_out) : NULL;
    ExecStatusType s = PQresultStatus(r);
    enum err e = ERR_OK;
    if (timed_out) {
        e = note(pc, "no answer in time");
        pgconn_drop(pc);
    } else if (s != PGRES_COMMAND_OK && s != PGRES_TUPLES_OK && s != PGRES_COPY_IN) {
        e = sort_failure(pc, r);
    }
    if (e == ERR_OK && out != NULL) {
        *out = r;
        r = NULL;
    }
    PQclear(r);
    return e;
}

enum err pgconn_run(struct pgconn *pc, const char *text, PGresult **out)
{
    return pgconn_result(pc, PQsendQuery(pc->c, text), out);
}
