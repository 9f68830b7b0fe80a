/* challenge_table.h - the writer's side of the challenge table, wherever it is. Blocking: the
 * thread of the challenge stores; one thread at a time per handle. */
#ifndef LANYARD_PROVISIOND_STORE_CHALLENGE_TABLE_H
#define LANYARD_PROVISIOND_STORE_CHALLENGE_TABLE_H

#include "common/store/challenge.h"

/* Opens the store at `url` for writing: a file by common/store, PostgreSQL by sql.h, with its time
 * limits and retries. Values in PostgreSQL live by the clocks given, which should agree with that
 * of the database. Errors: as challenge_store_open(); ERR_CONFIG when the table is missing, which
 * deploy/postgres/challenges.sql makes; ERR_UNAVAILABLE. */
NODISCARD enum err challenge_table_open(struct challenge_store **out, const char *url,
                                        struct err_info *info);

#endif
