/* migrate.h - the numbered steps that bring a database to this program's schema. A step, once
 * released, never changes: mistakes are mended by a further step. */
#ifndef LANYARD_PROVISIOND_STORE_MIGRATE_H
#define LANYARD_PROVISIOND_STORE_MIGRATE_H

#include "common/base/attr.h"
#include "common/base/err.h"

struct sql;

/* Runs the steps that `db` has not seen, each in a transaction with its number. A database from a
 * newer program is ERR_CONFIG and stays untouched. */
NODISCARD enum err migrate_up(struct sql *db, struct err_info *info);

/* Number of the last step that this program knows. */
int migrate_latest(void);

#endif
