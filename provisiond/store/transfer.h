/* transfer.h - moves a database into another: all of it in one transaction, or nothing. Blocking:
 * the admin command. */
#ifndef LANYARD_PROVISIOND_STORE_TRANSFER_H
#define LANYARD_PROVISIOND_STORE_TRANSFER_H

#include "provisiond/store/sql.h"

struct transfer {
    struct sql *from; /* SQLite; nothing writes to it meanwhile */
    struct sql *to;   /* PostgreSQL, inside a transaction */
    /* Called for each table at its end, and every 100,000 rows before. */
    void (*progress)(const char *table, int64_t n_rows, int64_t n_all);
};

/* Copies every table of `from` but the version of its schema, which must be that of `to`; counts
 * the rows on both sides, and lets numbers go on after the highest. Errors: ERR_EXISTS when a table
 * of `to` has rows, ERR_INVALID when the counts differ, ERR_UNAVAILABLE. */
NODISCARD enum err transfer_tables(const struct transfer *t, struct err_info *info);

#endif
