#include "provisiond/store/storefacts.h"

#include <stdio.h>

enum err storefacts_get(struct sql *db, const char *url, struct storefacts *out,
                        struct err_info *info)
{
    bool postgres = sql_url_is_postgres(url);
    char version[40] = "";
    struct sql_query q;
    sql_begin(&q, db,
              postgres ? "SELECT current_setting('server_version'),"
                         " pg_database_size(current_database())"
                       : "SELECT sqlite_version(), page_count * page_size"
                         " FROM pragma_page_count(), pragma_page_size()");
    while (sql_row(&q)) {
        sql_copy(&q, 0, version, sizeof version);
        out->size = sql_int(&q, 1);
    }
    (void)snprintf(out->version, sizeof out->version, "%s %s", postgres ? "PostgreSQL" : "SQLite",
                   version);
    return sql_end(&q, NULL, info);
}
