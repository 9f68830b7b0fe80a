/* migrate.c - lanyard-provisiond migrate: the schema of this program, and from SQLite to
 * PostgreSQL. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "provisiond/admin/admin.h"
#include "provisiond/store/migrate.h"
#include "provisiond/store/order.h"
#include "provisiond/store/seenmark.h"
#include "provisiond/store/storelock.h"
#include "provisiond/store/transfer.h"

static void print_progress(const char *table, int64_t n_rows, int64_t n_all)
{
    (void)fprintf(stderr, "%-16s %lld of %lld rows\n", table, (long long)n_rows, (long long)n_all);
}

static enum err copy_one(struct sql *to, struct sql *from, struct err_info *info)
{
    struct transfer t = { from, to, print_progress };
    enum err e = sql_begin_tx(from, info); /* nobody else writes to it until the end */
    if (e == ERR_OK)
        e = transfer_tables(&t, info);
    sql_rollback(from);
    return e;
}

/* Both files, one transaction: a run that ends half way has changed nothing, and is run again. */
static enum err copy_both(const struct admin *a, struct sql *store, struct sql *challenges,
                          struct err_info *info)
{
    enum err e = sql_begin_tx(a->db, info);
    if (e != ERR_OK)
        return e;
    e = sql_lock_schema(a->db, info);
    if (e == ERR_OK)
        e = copy_one(a->db, store, info);
    if (e == ERR_OK && challenges != NULL)
        e = copy_one(a->db, challenges, info);
    if (e == ERR_OK) /* the old service is stopped: its lock is ours */
        e = order_release_all(a->db, NULL, info);
    if (e == ERR_OK)
        return sql_commit(a->db, info);
    sql_rollback(a->db);
    return e;
}

static enum err check_file(const char *url, struct err_info *info)
{
    static const char SQLITE[] = "sqlite:";
    if (strncmp(url, SQLITE, sizeof SQLITE - 1) != 0)
        return err_set(info, ERR_CONFIG, "'%s' is not sqlite:FILE", url);
    if (access(url + sizeof SQLITE - 1, R_OK | W_OK) != 0) /* a wrong name would make a new one */
        return err_set(info, ERR_NOTFOUND, "cannot open %s", url + sizeof SQLITE - 1);
    return ERR_OK;
}

/* What the service would do at its start: the new store has no file that could tell it. */
static enum err hold_revived(struct sql *store, const char *url, struct err_info *info)
{
    bool lacks;
    int64_t n_held;
    enum err e = seenmark_check(store, url, clock_now_s(), &lacks, &n_held, info);
    if (e == ERR_OK && lacks)
        (void)fprintf(
            stderr,
            "the old store lacks what it had: it was restored. Tokens held: %lld, as they "
            "may have been used since\n",
            (long long)n_held);
    return e;
}

static enum err copy_from(const struct admin *a, const char *store_url, const char *challenges_url,
                          struct err_info *info)
{
    struct sql *store = NULL, *challenges = NULL;
    int lock = -1;
    enum err e = check_file(store_url, info);
    if (e == ERR_OK && challenges_url != NULL)
        e = check_file(challenges_url, info);
    if (e == ERR_OK)
        e = storelock_take(&lock, store_url, info);
    if (e == ERR_OK)
        e = sql_open(&store, store_url, info); /* with the schema of this program, as the target */
    if (e == ERR_OK)
        e = hold_revived(store, store_url, info);
    if (e == ERR_OK && challenges_url != NULL)
        e = sql_connect(&challenges, challenges_url, info);
    if (e == ERR_OK)
        e = copy_both(a, store, challenges, info);
    sql_close(store);
    sql_close(challenges);
    if (lock >= 0)
        close(lock);
    return e;
}

int admin_migrate(const struct admin *a, int argc, char **argv)
{
    const char *from = NULL, *challenges = NULL;
    struct err_info info = { "" };
    for (int i = 0; i < argc; i += 2) {
        if (i + 1 >= argc)
            return admin_usage("%s is unknown, or needs a value", argv[i]);
        if (strcmp(argv[i], "--from") == 0)
            from = argv[i + 1];
        else if (strcmp(argv[i], "--challenges") == 0)
            challenges = argv[i + 1];
        else
            return admin_usage("migrate does not know %s", argv[i]);
    }
    if (from == NULL && challenges != NULL)
        return admin_usage("--challenges goes with --from");
    if (from != NULL && !sql_url_is_postgres(a->config->store))
        return admin_usage("--from needs a configuration whose store is postgresql://...");
    if (from == NULL) { /* opening it has done the work */
        (void)printf("the schema is version %d\n", migrate_latest());
        return 0;
    }
    enum err e = copy_from(a, from, challenges, &info);
    if (e == ERR_OK)
        (void)printf("copied; keep the old files until the service has run on the new store\n");
    return admin_end(e, &info);
}
