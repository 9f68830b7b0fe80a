/* sql_driver.h - what a kind of database provides for sql.h. Only provisiond/store includes this.
 */
#ifndef LANYARD_PROVISIOND_STORE_SQL_DRIVER_H
#define LANYARD_PROVISIOND_STORE_SQL_DRIVER_H

#include "provisiond/store/sql.h"

/* As the functions of sql.h of the same name. */
struct sql_ops {
    void (*close)(struct sql *db);
    enum err (*begin_tx)(struct sql *db, struct err_info *info);
    enum err (*commit)(struct sql *db, struct err_info *info);
    void (*rollback)(struct sql *db);
    bool (*may_retry)(const struct sql *db);
    enum err (*savepoint)(struct sql *db, struct err_info *info);
    enum err (*savepoint_end)(struct sql *db, bool keep, struct err_info *info);
    void (*begin)(struct sql_query *q, const char *text);
    void (*bind_int)(struct sql_query *q, int n, int64_t v);
    void (*bind_text)(struct sql_query *q, int n, const char *v);
    void (*bind_blob)(struct sql_query *q, int n, struct span v);
    bool (*row)(struct sql_query *q);
    int64_t (*get_int)(struct sql_query *q, int col);
    const char *(*get_text)(struct sql_query *q, int col);
    struct span (*get_blob)(struct sql_query *q, int col);
    bool (*is_null)(struct sql_query *q, int col);
    enum err (*end)(struct sql_query *q, int64_t *changed, struct err_info *info);
    enum err (*script)(struct sql *db, const char *text, struct err_info *info);
    enum err (*has_table)(struct sql *db, const char *name, bool *out, struct err_info *info);
    enum err (*lock_schema)(struct sql *db, struct err_info *info);
};

/* First member of each kind's own struct. */
struct sql {
    const struct sql_ops *ops;
};

NODISCARD enum err sql_sqlite_connect(struct sql **out, const char *path, struct err_info *info);
NODISCARD enum err sql_postgres_connect(struct sql **out, const char *url, struct err_info *info);

#endif
