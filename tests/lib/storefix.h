/* storefix.h - an empty database for each test: a SQLite file of its own, or, with
 * LANYARD_TEST_POSTGRES, a schema on that server. */
#ifndef LANYARD_TESTS_STOREFIX_H
#define LANYARD_TESTS_STOREFIX_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "provisiond/store/sql.h"

struct fixture {
    char dir[64], url[256];
    struct sql *db;
};

static const char *store_postgres(void)
{
    return getenv("LANYARD_TEST_POSTGRES");
}

/* A schema of the test's own, empty. */
static int store_make_schema(struct fixture *fx)
{
    struct sql *db = NULL;
    struct err_info info;
    (void)snprintf(fx->url, sizeof fx->url, "%s?options=-csearch_path%%3Dtest", store_postgres());
    if (sql_connect(&db, store_postgres(), &info) != ERR_OK) {
        print_error("%s\n", info.text);
        return -1;
    }
    enum err e = sql_script(db,
                            "SET client_min_messages = error; DROP SCHEMA IF EXISTS test CASCADE;"
                            "CREATE SCHEMA test",
                            &info);
    sql_close(db);
    return e == ERR_OK ? 0 : -1;
}

static int store_setup(void **state)
{
    static struct fixture fx;
    struct err_info info;
    (void)strcpy(fx.dir, "/tmp/lanyard-store-XXXXXX");
    if (mkdtemp(fx.dir) == NULL)
        return -1;
    (void)snprintf(fx.url, sizeof fx.url, "sqlite:%s/p.db", fx.dir);
    *state = &fx;
    if (store_postgres() != NULL && store_make_schema(&fx) != 0)
        return -1;
    if (sql_open(&fx.db, fx.url, &info) == ERR_OK)
        return 0;
    print_error("%s\n", info.text);
    return -1;
}

static int store_teardown(void **state)
{
    struct fixture *fx = *state;
    char command[128];
    sql_close(fx->db);
    (void)snprintf(command, sizeof command, "rm -rf %s", fx->dir);
    return system(command) == 0 ? 0 : -1;
}

#endif
