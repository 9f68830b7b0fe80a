/* sql_pgconn.h - a connection to PostgreSQL that knows no endless wait: connecting, every statement
 * and every lock has a time limit, and what went wrong is sorted by what to do next. Private to
 * sql_postgres.c. Blocking; one thread at a time. */
#ifndef LANYARD_PROVISIOND_STORE_SQL_PGCONN_H
#define LANYARD_PROVISIOND_STORE_SQL_PGCONN_H

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "common/base/attr.h"
#include "common/base/err.h"

#define PGCONN_WAIT_MS 5000 /* for a result: a little more than the server takes, at most */

struct pgconn {
    PGconn *c; /* NULL while there is none */
    char *url;
    char show[200];       /* what may be shown of the URL */
    unsigned generation;  /* counts connections: what was prepared in an older one is gone */
    bool may_retry;       /* the last failure is worth another try of the whole transaction */
    bool warned;          /* the server warned since it was last cleared */
    int64_t wait_ms;      /* for the result of a statement */
    struct err_info last; /* of the last failure */
};

/* Nothing is connected yet. Errors: ERR_CONFIG for a URL that libpq does not take, ERR_NOMEM. */
NODISCARD enum err pgconn_init(struct pgconn *pc, const char *url, struct err_info *info);
void pgconn_clear(struct pgconn *pc);

/* Connects where there is no connection: to the host that can be written to. Errors:
 * ERR_UNAVAILABLE, ERR_NOMEM; pc->last says why. */
NODISCARD enum err pgconn_ensure(struct pgconn *pc);

/* Ends the connection, whatever goes on in it. */
void pgconn_drop(struct pgconn *pc);

/* The last result of what was sent with a PQsend function (`sent` is its answer). On success *out
 * is the caller's, PQclear(). Errors, with the reason in pc->last and pc->may_retry set:
 * ERR_EXISTS for a uniqueness rule, ERR_UNAVAILABLE for everything else. */
NODISCARD enum err pgconn_result(struct pgconn *pc, int sent, PGresult **out);

/* Runs text without parameters; *out as above, or NULL when it is of no interest. */
NODISCARD enum err pgconn_run(struct pgconn *pc, const char *text, PGresult **out);

#endif
