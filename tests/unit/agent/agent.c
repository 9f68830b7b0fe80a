/* Case 46 of the list of faults: an agent that is started a thousand times, and comes to no more
 * each time than to decide what to do, as in a crash loop. A start is what main() does from the
 * lock on; it is left as a kill leaves it: nothing of it runs any more, and the lock is free. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdbool.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <event2/event.h>

#include "agent/agent.h"
#include "agent/identity.h"
#include "agent/journal.h"
#include "agent/statedir.h"
#include "agent/statefile.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/lib/treeprint.h"
#include "tests/unit/agent/certset.h"

#define BATCH                                                                                      \
    25 /* starts in one process, since a process costs more than all that is looked at             \
        */
#define WRITES_MAX 8
#define FREE_STARTS 3
#define WAIT_MIN_S 30
#define ZONE "direct.example"
#define SERVER "https://127.0.0.1:1"

struct row {
    const char *why, *state;
    void (*make)(const struct treedir *d);
    unsigned starts, writes_max;
};

/* What a process tells of its starts. */
struct told {
    unsigned n, writes; /* of all starts so far */
    char trouble[600];  /* "": none */
};

static void write_config(const struct treedir *d)
{
    treedir_write(d, "agent.conf",
                  "server = \"" SERVER "\"\nzone = \"" ZONE "\"\nstate_dir = \"state\"\n"
                  "addresses = {\"192.168.1.5\"}\nresolvers = {\"none\"}\n",
                  0600);
    assert_int_equal(mkdir(treedir_path(d, "state"), 0700), 0);
}

/* How often the state was written since the last call. */
static unsigned count_writes(int watch)
{
    char events[8192] __attribute__((aligned(8)));
    unsigned n = 0;
    ssize_t len;
    while ((len = read(watch, events, sizeof events)) > 0) {
        const struct inotify_event *event;
        for (const char *p = events; p < events + len; p += sizeof *event + event->len) {
            event = (const struct inotify_event *)(const void *)p;
            if (strcmp(event->name, STATEFILE_JOURNAL) == 0)
                n++;
        }
    }
    return n;
}

/* One start, of which the status is told. */
static enum err start(const struct treedir *d, json_t **status, struct err_info *info)
{
    const char *path = treedir_path(d, "agent.conf");
    struct config *config;
    struct loop *loop;
    struct agent *a;
    int lock, no_listeners[1] = { -1 };
    enum err e = config_load(&config, path, info);
    if (e == ERR_OK)
        e = statedir_lock(&lock, config->state_dir, info);
    if (e == ERR_OK)
        e = loop_new(&loop);
    if (e == ERR_OK)
        e = agent_new(&a, loop, config, path, no_listeners, NULL, info);
    if (e != ERR_OK)
        return e;
    agent_start(a);
    *status = agent_status(a);
    close(lock);
    /* nobody answers behind the socket that a kill leaves */
    (void)unlink(treedir_path(d, "state/control.sock"));
    return ERR_OK;
}

static void start_and_look(const struct treedir *d, const struct row *row, int watch,
                           struct told *told)
{
    struct err_info info = { "" };
    json_t *status = NULL;
    told->n++;
    if (start(d, &status, &info) != ERR_OK) {
        (void)snprintf(told->trouble, sizeof told->trouble, "start %u: %s", told->n, info.text);
        return;
    }
    unsigned writes = count_writes(watch);
    told->writes += writes;
    const char *state = json_string_value(json_object_get(status, "state"));
    json_int_t wait_s = json_integer_value(json_object_get(status, "next_at")) -
                        json_integer_value(json_object_get(status, "now"));
    if (writes > 1 || state == NULL || strcmp(state, row->state) != 0 ||
        (told->n > FREE_STARTS && wait_s < WAIT_MIN_S))
        (void)snprintf(told->trouble, sizeof told->trouble,
                       "start %u: %u writes, state %s, %lld s to wait", told->n, writes, state,
                       (long long)wait_s);
}

static void say_nothing(int severity, const char *text)
{
    (void)severity; /* libevent has a word on each loop beside another */
    (void)text;
}

/* BATCH starts in a process that is killed in the end. */
static void crash(const struct treedir *d, const struct row *row, int watch, struct told *told)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        log_init("agent", LOG_LEVEL_ERROR);
        event_set_log_callback(say_nothing);
        for (int i = 0; i < BATCH && told->trouble[0] == 0; i++)
            start_and_look(d, row, watch, told);
        (void)kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    if (told->trouble[0] != 0)
        fail_msg("%s: %s", row->why, told->trouble);
}

/* All that is kept; the socket of the commands and the lock are of a start. */
static char *print_state(const struct treedir *d)
{
    static const char *const KEPT[] = { "identity.pem", STATEFILE_JOURNAL, "fallback",
                                        "generations",  "current",         "pending" };
    char *all = strdup("");
    size_t n_names = 0, n_kept = 0;
    const struct dirent *entry;
    for (size_t i = 0; i < ARRAY_LEN(KEPT); i++) {
        char name[64], *one, *more;
        struct stat st;
        (void)snprintf(name, sizeof name, "state/%s", KEPT[i]);
        if (lstat(treedir_path(d, name), &st) != 0)
            continue;
        one = treeprint(treedir_path(d, name));
        assert_true(asprintf(&more, "%s%s", all, one) > 0);
        free(one);
        free(all);
        all = more;
        n_kept++;
    }
    DIR *folder = opendir(treedir_path(d, "state"));
    while ((entry = readdir(folder)) != NULL)
        n_names += entry->d_name[0] != '.' && strcmp(entry->d_name, "lock") != 0 &&
                   strcmp(entry->d_name, "control.sock") != 0;
    (void)closedir(folder);
    assert_int_equal(n_names, n_kept);
    return all;
}

/* ---- where a start may find it ---- */

static void save_journal(const struct treedir *d, enum lifecycle_state state, int64_t renew_at)
{
    struct err_info info;
    const struct journal j = { .zone = ZONE,
                               .server = SERVER,
                               .state = state,
                               .renew_generation = renew_at > 0 ? 1 : 0,
                               .renew_at = renew_at };
    assert_int_equal(journal_save(&j, treedir_path(d, "state"), &info), ERR_OK);
}

static void make_name(char name[256], const struct treedir *d)
{
    struct identity id;
    struct err_info info;
    assert_int_equal(identity_load(&id, treedir_path(d, "state"), true, &info), ERR_OK);
    (void)snprintf(name, 256, "*.%s." ZONE, id.id.text);
    identity_clear(&id);
}

static void make_nothing(const struct treedir *d)
{
    (void)d;
}

static void make_pending(const struct treedir *d)
{
    struct err_info info;
    EVP_PKEY *key;
    struct buf csr;
    char name[256];
    make_name(name, d);
    buf_init(&csr, CSR_PEM_MAX);
    assert_int_equal(key_new(&key, KEY_P256), ERR_OK);
    assert_int_equal(csr_new(&csr, key, name), ERR_OK);
    assert_int_equal(certstore_pending_put(treedir_path(d, "state"), key, buf_span(&csr), &info),
                     ERR_OK);
    save_journal(d, LIFECYCLE_POLL, 0);
    buf_clear(&csr);
    EVP_PKEY_free(key);
}

static void make_certificate(const struct treedir *d)
{
    struct err_info info;
    EVP_PKEY *key;
    STACK_OF(X509) *chain = sk_X509_new_null();
    char name[256], san[300];
    const char *dir = treedir_path(d, "state");
    make_name(name, d);
    (void)snprintf(san, sizeof san, "DNS:%s", name);
    assert_int_equal(key_new(&key, KEY_P256), ERR_OK);
    sk_X509_push(chain, testcert_new(key, san, -60, 90 * 86400));
    assert_int_equal(certstore_prepare(dir, &info), ERR_OK);
    assert_int_equal(certstore_install(dir, key, chain, &TEST_BUNDLE, &ACCESS_PRIVATE, &info),
                     ERR_OK);
    save_journal(d, LIFECYCLE_SERVE, clock_now_s() + 60 * 86400);
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(key);
}

static void run_row(const struct row *row, struct told *told)
{
    struct treedir d;
    char *settled = NULL;
    *told = (struct told){ 0 };
    treedir_make(&d);
    write_config(&d);
    row->make(&d);
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    assert_true(inotify_add_watch(watch, treedir_path(&d, "state"),
                                  IN_MOVED_TO | IN_CLOSE_WRITE | IN_CREATE) >= 0);
    while (told->n < row->starts) {
        crash(&d, row, watch, told);
        if (settled == NULL)
            settled = print_state(&d);
    }
    char *last = print_state(&d);
    assert_string_equal(settled, last); /* the same keys, and not a file touched */
    print_message("%s: %u writes of the state in %u starts\n", row->why, told->writes, told->n);
    assert_true(told->writes <= row->writes_max);
    free(settled);
    free(last);
    close(watch);
    treedir_remove(&d);
}

static void test_case_46_started_a_thousand_times(void **state)
{
    static const struct row ROWS[] = {
        { "at rest: nothing is written at all", "serve", make_certificate, 250, 0 },
        { "in the middle of an issuance", "poll", make_pending, 1000, WRITES_MAX },
        { "before it was ever enrolled", "enrol", make_nothing, 100, WRITES_MAX },
    };
    (void)state;
    struct told *told =
        mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(told, MAP_FAILED);
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++)
        run_row(&ROWS[i], told);
    (void)munmap(told, sizeof *told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_case_46_started_a_thousand_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
