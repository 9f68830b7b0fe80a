/* The challenge table: what every kind of store must do, and what SQLite files do besides. With
 * LANYARD_TEST_POSTGRES, the URL of an empty database, the first part runs on that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <sys/wait.h>

#include "common/store/challenge.h"
#include "provisiond/store/challenge_table.h"
#include "provisiond/store/sql.h"
#include "tests/lib/tmpdir.h"

#define ZONE "direct.example"
#define ID "abcdefghijklmnopqrstuvwxyz234567"
#define OTHER_ID "bbcdefghijklmnopqrstuvwxyz234567"
#define NOW 1000

static struct tmpdir dir;
static char url[256];
static struct challenge_store *writer, *reader;
static struct err_info info;

static int set_up(void **state)
{
    (void)state;
    tmpdir_make(&dir);
    (void)snprintf(url, sizeof url, "sqlite:%s/challenges.db", dir.path);
    writer = reader = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    challenge_store_free(writer);
    challenge_store_free(reader);
    tmpdir_remove(&dir);
    return 0;
}

static const char *postgres(void)
{
    return getenv("LANYARD_TEST_POSTGRES");
}

/* A schema of the test's own with the table as deploy/postgres makes it. */
static void make_schema(void)
{
    struct sql *db = NULL;
    (void)snprintf(url, sizeof url, "%s?options=-csearch_path%%3Dtest", postgres());
    assert_int_equal(sql_connect(&db, postgres(), &info), ERR_OK);
    assert_int_equal(sql_script(db,
                                "SET client_min_messages = error;"
                                "DROP SCHEMA IF EXISTS test CASCADE; CREATE SCHEMA test;"
                                "CREATE TABLE test.challenge (zone TEXT NOT NULL, id TEXT NOT NULL,"
                                " value TEXT NOT NULL, order_id INTEGER NOT NULL, expires_at"
                                " INTEGER NOT NULL, PRIMARY KEY (zone, id, value, order_id))",
                                &info),
                     ERR_OK);
    sql_close(db);
}

static void open_both(void)
{
    if (postgres() != NULL) {
        make_schema();
        assert_int_equal(challenge_table_open(&writer, url, &info), ERR_OK);
        return;
    }
    assert_int_equal(challenge_store_open(&writer, url, true, &info), ERR_OK);
    assert_int_equal(challenge_store_open(&reader, url, false, &info), ERR_OK);
}

/* Who is asked what lives: a reader in PostgreSQL goes by the clock of the database. */
static struct challenge_store *asked(void)
{
    return reader != NULL ? reader : writer;
}

/* The n-th of many valid values. */
static const char *value(unsigned n)
{
    static char text[2][CHALLENGE_VALUE_LEN + 1];
    static unsigned turn;
    char *out = text[turn++ % 2];
    memset(out, 'A', CHALLENGE_VALUE_LEN);
    out[0] = (char)('a' + n);
    out[CHALLENGE_VALUE_LEN] = 0;
    return out;
}

static enum err put(unsigned n, int64_t order, int64_t expires)
{
    return challenge_put(writer, ZONE, ID, order, value(n), expires, NOW, &info);
}

static size_t count(const char *id, int64_t now_s)
{
    struct challenge_value values[CHALLENGE_VALUES_MAX];
    size_t n = 99;
    assert_int_equal(challenge_get(asked(), ZONE, id, now_s, values, &n, &info), ERR_OK);
    return n;
}

static void test_reader_before_writer(void **state)
{
    struct challenge_value values[CHALLENGE_VALUES_MAX];
    size_t n = 99;
    (void)state;
    assert_int_equal(challenge_store_open(&reader, url, false, &info), ERR_OK);
    assert_int_equal(challenge_get(reader, ZONE, ID, NOW, values, &n, &info), ERR_UNAVAILABLE);
    assert_int_equal(n, 99);                 /* never "none" */
    assert_int_equal(tmpdir_count(&dir), 0); /* a reader makes nothing */
    assert_int_equal(challenge_store_open(&writer, url, true, &info), ERR_OK);
    assert_int_equal(count(ID, NOW), 0);
    assert_int_equal(put(0, 1, NOW + 60), ERR_OK);
    assert_int_equal(count(ID, NOW), 1); /* seen at once: nothing is cached */
}

static void test_put_get_remove(void **state)
{
    struct challenge_value values[CHALLENGE_VALUES_MAX];
    size_t n;
    (void)state;
    open_both();
    assert_int_equal(put(1, 1, NOW + 60), ERR_OK);
    assert_int_equal(put(0, 2, NOW + 90), ERR_OK);
    assert_int_equal(challenge_get(asked(), ZONE, ID, NOW, values, &n, &info), ERR_OK);
    assert_int_equal(n, 2);
    assert_string_equal(values[0].text, value(1)); /* the oldest first */
    assert_string_equal(values[1].text, value(0));
    assert_int_equal(count(OTHER_ID, NOW), 0);
    assert_int_equal(challenge_get(asked(), "other.example", ID, NOW, values, &n, &info), ERR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(count(ID, NOW + 60), 1); /* the first has expired */
    assert_int_equal(challenge_remove(writer, 2, INT64_MAX, NOW, &info), ERR_OK);
    assert_int_equal(challenge_remove(writer, 2, INT64_MAX, NOW, &info), ERR_OK);
    assert_int_equal(count(ID, NOW), 1);
    assert_int_equal(challenge_remove(writer, 9, 0, NOW + 60, &info),
                     ERR_OK); /* takes expired ones */
    assert_int_equal(count(ID, NOW), 0);
}

static void test_put_is_idempotent(void **state)
{
    (void)state;
    open_both();
    assert_int_equal(put(0, 1, NOW + 60), ERR_OK);
    assert_int_equal(put(0, 1, NOW + 60), ERR_OK);
    assert_int_equal(put(0, 1, NOW + 30), ERR_OK);
    assert_int_equal(count(ID, NOW), 1);
    assert_int_equal(count(ID, NOW + 45), 1); /* an earlier end does not shorten it */
}

static void test_two_orders_with_one_value(void **state)
{
    (void)state;
    open_both();
    assert_int_equal(put(0, 1, NOW + 60), ERR_OK);
    assert_int_equal(put(0, 2, NOW + 60), ERR_OK);
    assert_int_equal(count(ID, NOW), 1); /* one value, whoever needs it */
    assert_int_equal(challenge_remove(writer, 1, INT64_MAX, NOW, &info), ERR_OK);
    assert_int_equal(count(ID, NOW), 1); /* the second order still does */
    assert_int_equal(challenge_remove(writer, 2, INT64_MAX, NOW, &info), ERR_OK);
    assert_int_equal(count(ID, NOW), 0);
}

static void test_limit(void **state)
{
    (void)state;
    open_both();
    for (unsigned i = 0; i < CHALLENGE_VALUES_MAX; i++)
        assert_int_equal(put(i, i, NOW + 60), ERR_OK);
    assert_int_equal(put(CHALLENGE_VALUES_MAX, 9, NOW + 60), ERR_LIMIT);
    assert_int_equal(put(3, 10, NOW + 60), ERR_OK); /* one that lives already is not one more */
    assert_int_equal(count(ID, NOW), CHALLENGE_VALUES_MAX);
    assert_int_equal(challenge_put(writer, ZONE, OTHER_ID, 11, value(0), NOW + 60, NOW, &info),
                     ERR_OK);
    assert_int_equal(challenge_put(writer, ZONE, ID, 12, value(9), NOW + 160, NOW + 100, &info),
                     ERR_OK);
    assert_int_equal(count(ID, NOW + 100), 1); /* the eight had expired */
}

static void test_bad_values(void **state)
{
    static const struct {
        const char *why, *value;
    } CASES[] = {
        { "empty", "" },
        { "one too short", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
        { "one too long", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
        { "a quote", "AAAAAAAAAAAAAAAAAAAA\"AAAAAAAAAAAAAAAAAAAAAA" },
        { "plain base64", "AAAAAAAAAAAAAAAAAAAA+AAAAAAAAAAAAAAAAAAAAAA" },
        { "padding", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" },
        { "bits beyond 256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB" },
    };
    (void)state;
    open_both();
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        if (challenge_put(writer, ZONE, ID, 1, CASES[i].value, NOW + 60, NOW, &info) != ERR_INVALID)
            fail_msg("%s", CASES[i].why);
    }
    assert_int_equal(count(ID, NOW), 0);
}

/* A restored backup takes the file's place: the reader must not go on with the old one. */
static void test_replaced_file(void **state)
{
    (void)state;
    open_both();
    assert_int_equal(put(0, 1, NOW + 60), ERR_OK);
    assert_int_equal(count(ID, NOW), 1);
    challenge_store_free(writer);
    writer = NULL;
    (void)unlink(tmpdir_file(&dir, "challenges.db-wal"));
    (void)unlink(tmpdir_file(&dir, "challenges.db-shm"));
    assert_int_equal(rename(tmpdir_file(&dir, "challenges.db"), tmpdir_file(&dir, "old")), 0);
    struct challenge_value values[CHALLENGE_VALUES_MAX];
    size_t n;
    assert_int_equal(challenge_get(reader, ZONE, ID, NOW, values, &n, &info), ERR_UNAVAILABLE);
    assert_int_equal(challenge_store_open(&writer, url, true, &info), ERR_OK);
    assert_int_equal(count(ID, NOW), 0);
    assert_int_equal(put(1, 1, NOW + 60), ERR_OK);
    assert_int_equal(put(2, 1, NOW + 60), ERR_OK);
    assert_int_equal(count(ID, NOW), 2);
}

static void test_damaged_file(void **state)
{
    struct challenge_value values[CHALLENGE_VALUES_MAX];
    size_t n = 99;
    (void)state;
    tmpdir_write(&dir, "challenges.db", "this is not a database, but it is long enough to be one");
    assert_int_equal(challenge_store_open(&reader, url, false, &info), ERR_OK);
    assert_int_equal(challenge_get(reader, ZONE, ID, NOW, values, &n, &info), ERR_UNAVAILABLE);
    assert_int_equal(n, 99);
    assert_int_equal(challenge_store_open(&writer, url, true, &info), ERR_IO);
}

/* Started with a strict umask, stopped, and read by a dnsd that is another user of the same group.
 */
static void test_reader_of_the_group(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    mode_t old = umask(077);
    assert_int_equal(challenge_store_open(&writer, url, true, &info), ERR_OK);
    (void)umask(old);
    assert_int_equal(put(0, 1, NOW + 60), ERR_OK);
    assert_int_equal(chmod(dir.path, 0750), 0);
    for (int stopped = 0; stopped < 2; stopped++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct challenge_value values[CHALLENGE_VALUES_MAX];
            size_t n = 0;
            bool ok = setgid(0) == 0 && setuid(65534) == 0 &&
                      challenge_store_open(&reader, url, false, &info) == ERR_OK &&
                      challenge_get(reader, ZONE, ID, NOW, values, &n, &info) == ERR_OK && n == 1;
            _exit(ok ? 0 : 1);
        }
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (status != 0)
            fail_msg("%s", stopped ? "writer stopped" : "writer running");
        challenge_store_free(writer);
        writer = NULL;
    }
}

static void add_order(void *arg, int64_t order_id, int64_t until_s)
{
    int64_t *sum = arg;
    assert_int_equal(until_s, order_id == 3 ? NOW + 90 : NOW - 60); /* the last of its values */
    *sum = *sum * 10 + order_id;
}

static void test_orders(void **state)
{
    int64_t seen = 0;
    (void)state;
    open_both();
    assert_int_equal(put(0, 3, NOW + 60), ERR_OK);
    assert_int_equal(put(1, 3, NOW + 90), ERR_OK);
    assert_int_equal(put(2, 5, NOW - 60), ERR_OK); /* expired, but still a row */
    assert_int_equal(challenge_orders(writer, add_order, &seen, &info), ERR_OK);
    assert_true(seen == 35 || seen == 53);
}

/* What an order put after it was looked at stays. */
static void test_remove_until(void **state)
{
    (void)state;
    open_both();
    assert_int_equal(put(0, 1, NOW + 60), ERR_OK);
    assert_int_equal(put(1, 1, NOW + 61), ERR_OK);
    assert_int_equal(challenge_remove(writer, 1, NOW + 60, NOW, &info), ERR_OK);
    assert_int_equal(count(ID, NOW), 1);
    assert_int_equal(challenge_remove(writer, 1, NOW + 61, NOW, &info), ERR_OK);
    assert_int_equal(count(ID, NOW), 0);
}

static void test_open(void **state)
{
    struct stat st;
    (void)state;
    assert_int_equal(challenge_store_open(&writer, "postgresql://x", true, &info), ERR_CONFIG);
    assert_int_equal(challenge_store_open(&writer, "sqlite:", true, &info), ERR_CONFIG);
    assert_int_equal(challenge_store_open(&writer, "sqlite:/nonexistent/a.db", true, &info),
                     ERR_IO);
    assert_int_equal(challenge_store_open(&writer, url, true, &info), ERR_OK);
    assert_int_equal(stat(tmpdir_file(&dir, "challenges.db"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    challenge_store_free(NULL);
}

static void test_urls(void **state)
{
    static const struct {
        const char *why, *url;
        enum err want;
        bool has_password;
        const char *shown;
    } CASES[] = {
        { "a file", "sqlite:/a/b.db", ERR_OK, false, "sqlite:/a/b.db" },
        { "no file", "sqlite:", ERR_CONFIG, false, NULL },
        { "one host", "postgresql://u@h/d", ERR_OK, false, "postgresql://h/d" },
        { "a password", "postgresql://u:pw@h:5433/d", ERR_OK, true, "postgresql://h/d" },
        { "a password as an option", "postgresql://h/d?password=pw", ERR_OK, true,
          "postgresql://h/d" },
        { "of the key", "postgresql://h/d?sslpassword=pw", ERR_OK, true, "postgresql://h/d" },
        { "several hosts", "postgresql://u@a:1,b:2/d?target_session_attrs=read-write", ERR_OK,
          false, "postgresql://a,b/d" },
        { "a socket", "postgresql:///d?host=/run/pg", ERR_OK, false, "postgresql:///run/pg/d" },
        { "an unknown option", "postgresql://u:pw@h/d?colour=pw", ERR_CONFIG, false, NULL },
        { "broken", "postgresql://u:pw%zz@h/d", ERR_CONFIG, false, NULL },
        { "another scheme", "postgres://u:pw@h/d", ERR_CONFIG, false, NULL },
        { "none", "", ERR_CONFIG, false, NULL },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        bool has_password = true;
        char shown[128] = "";
        info.text[0] = 0;
        enum err e = challenge_url_check(CASES[i].url, &has_password, &info);
        if (e != CASES[i].want || has_password != CASES[i].has_password ||
            strstr(info.text, "pw") != NULL)
            fail_msg("%s: %s, %s", CASES[i].why, err_name(e), info.text);
        if (e == ERR_OK)
            challenge_url_show(CASES[i].url, shown, sizeof shown);
        if (CASES[i].shown != NULL)
            assert_string_equal(shown, CASES[i].shown);
    }
    assert_int_equal(challenge_store_open(&writer, "postgresql://h/d", true, &info), ERR_CONFIG);
    assert_null(writer);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest conformance[] = {
        T(test_put_get_remove), T(test_put_is_idempotent), T(test_two_orders_with_one_value),
        T(test_limit),          T(test_bad_values),        T(test_orders),
        T(test_remove_until),
    };
    const struct CMUnitTest files[] = {
        T(test_reader_before_writer), T(test_replaced_file), T(test_damaged_file),
        T(test_reader_of_the_group),  T(test_open),          T(test_urls),
    };
#undef T
    int n_failed = cmocka_run_group_tests(conformance, NULL, NULL);
    if (postgres() == NULL)
        n_failed += cmocka_run_group_tests(files, NULL, NULL);
    return n_failed;
}
