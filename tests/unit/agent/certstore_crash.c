/* Kills a process at the entry of every single system call while it changes what is on disk, and
 * looks at what is left. The disk is not cut off: this is SIGKILL, not a power cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "agent/identity.h"
#include "agent/journal.h"
#include "tests/unit/agent/certset.h"

#define CALLS_MAX 20000

static struct testset old, new;

struct scenario {
    const char *why;
    void (*before)(const struct treedir *d); /* whole */
    enum err (*act)(const char *dir);        /* in the process that is killed */
    void (*after)(const struct treedir *d, bool finished);
};

/* Runs act() in a child and kills it when it enters its `n`th system call. False when it ended
 * before. */
static bool run_killed(const struct scenario *s, const char *dir, int n)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        (void)raise(SIGSTOP);
        _exit(s->act(dir) == ERR_OK ? 0 : 1);
    }
    int status, entered = 0;
    bool inside = false;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD), 0);
    for (;;) {
        assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            return false;
        }
        assert_true(WIFSTOPPED(status));
        if (WSTOPSIG(status) != (SIGTRAP | 0x80))
            continue;
        inside = !inside;
        if (inside && ++entered == n)
            break;
    }
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return true;
}

static void run_scenario(const struct scenario *s)
{
    bool killed = true;
    int n = 1;
    for (; killed && n < CALLS_MAX; n++) {
        struct treedir d;
        struct err_info info = { "" };
        treedir_make(&d);
        assert_int_equal(certstore_prepare(d.path, &info), ERR_OK);
        s->before(&d);
        killed = run_killed(s, d.path, n);
        s->after(&d, !killed);
        treedir_remove(&d);
    }
    assert_true(n > 5 && n < CALLS_MAX);
    print_message("%s: killed at %d system calls\n", s->why, n - 2);
}

static enum err put_in_place(const char *dir, const struct testset *t)
{
    struct err_info info;
    return certstore_install(dir, t->key, t->chain, &TEST_BUNDLE, &info);
}

static void put_pending(const struct treedir *d, const struct testset *t)
{
    struct err_info info;
    assert_int_equal(certstore_pending_put(d->path, t->key, buf_span(&t->csr), &info), ERR_OK);
}

/* NULL: none. A pending key without its CSR, or the other way round, fails the test. */
static const struct testset *pending_is(const struct treedir *d)
{
    struct err_info info;
    EVP_PKEY *key = NULL;
    struct buf csr;
    const struct testset *t = NULL;
    buf_init(&csr, CSR_PEM_MAX);
    if (access(treedir_path(d, "pending"), F_OK) == 0) {
        assert_int_equal(certstore_pending_get(d->path, &key, &csr, &info), ERR_OK);
        t = EVP_PKEY_eq(key, old.key) == 1 ? &old : &new;
        assert_int_equal(EVP_PKEY_eq(key, t->key), 1);
        assert_true(span_equal(buf_span(&csr), buf_span(&t->csr)));
    }
    EVP_PKEY_free(key);
    buf_clear(&csr);
    return t;
}

/* Nothing half-done may be left after the next start, and the next renewal must work. */
static void check_recovery(const struct treedir *d)
{
    struct err_info info = { "" };
    struct stat st;
    if (certstore_prepare(d->path, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_int_not_equal(lstat(treedir_path(d, "pending.new"), &st), 0);
    assert_int_not_equal(lstat(treedir_path(d, "pending.old"), &st), 0);
    assert_int_not_equal(lstat(treedir_path(d, "current.new"), &st), 0);
    assert_int_equal(put_in_place(d->path, &new), ERR_OK);
    assert_true(current_is(d, &new));
}

/* ---- renewal ---- */

static void before_renewal(const struct treedir *d)
{
    for (int i = 0; i < 3; i++) /* so that there is something to drop */
        assert_int_equal(put_in_place(d->path, &old), ERR_OK);
    put_pending(d, &new);
}

static enum err renew(const char *dir)
{
    struct err_info info;
    enum err e = put_in_place(dir, &new);
    return e == ERR_OK ? certstore_pending_drop(dir, &info) : e;
}

static void after_renewal(const struct treedir *d, bool finished)
{
    bool is_new = current_is(d, &new);
    assert_true(is_new || (current_is(d, &old) && !finished));
    /* the key of a certificate that is not in place yet must not be lost */
    if (!is_new)
        assert_ptr_equal(pending_is(d), &new);
    else
        (void)pending_is(d);
    check_recovery(d);
}

/* ---- the first certificate ---- */

static void before_first(const struct treedir *d)
{
    put_pending(d, &new);
}

static void after_first(const struct treedir *d, bool finished)
{
    struct stat st;
    bool there = lstat(treedir_path(d, "current"), &st) == 0;
    assert_true(there ? current_is(d, &new) : !finished);
    if (!there)
        assert_ptr_equal(pending_is(d), &new);
    check_recovery(d);
}

/* ---- a new pending key ---- */

static void before_pending(const struct treedir *d)
{
    put_pending(d, &old);
}

static enum err put_new_pending(const char *dir)
{
    struct err_info info;
    return certstore_pending_put(dir, new.key, buf_span(&new.csr), &info);
}

static void after_pending(const struct treedir *d, bool finished)
{
    const struct testset *t = pending_is(d);
    if (finished)
        assert_ptr_equal(t, &new);
    check_recovery(d);
}

/* ---- the identity ---- */

static void before_identity(const struct treedir *d)
{
    (void)d;
}

static enum err make_identity(const char *dir)
{
    struct identity id;
    struct err_info info;
    enum err e = identity_load(&id, dir, true, &info);
    if (e == ERR_OK)
        identity_clear(&id);
    return e;
}

static void after_identity(const struct treedir *d, bool finished)
{
    struct identity id, again;
    struct err_info info = { "" };
    bool there = access(treedir_path(d, "identity.pem"), F_OK) == 0;
    assert_true(there || !finished);
    if (there)
        assert_true(has_mode(treedir_path(d, "identity.pem"), 0600));
    if (identity_load(&id, d->path, true, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_int_equal(identity_load(&again, d->path, false, &info), ERR_OK);
    assert_string_equal(id.id.text, again.id.text);
    identity_clear(&id);
    identity_clear(&again);
}

/* ---- the journal ---- */

static void before_journal(const struct treedir *d)
{
    struct journal j = { .zone = "old.example", .state = LIFECYCLE_POLL };
    struct err_info info;
    assert_int_equal(journal_save(&j, d->path, &info), ERR_OK);
}

static enum err save_journal(const char *dir)
{
    struct journal j = { .zone = "new.example", .state = LIFECYCLE_SERVE };
    struct err_info info;
    return journal_save(&j, dir, &info);
}

static void after_journal(const struct treedir *d, bool finished)
{
    struct journal j;
    struct err_info info;
    assert_int_equal(journal_load(&j, d->path, &info), ERR_OK);
    bool is_new = strcmp(j.zone, "new.example") == 0;
    assert_true(is_new || (strcmp(j.zone, "old.example") == 0 && !finished));
    assert_int_equal(j.state, is_new ? LIFECYCLE_SERVE : LIFECYCLE_POLL);
}

static void test_scenarios(void **state)
{
    (void)state;
    static const struct scenario SCENARIOS[] = {
        { "renewal", before_renewal, renew, after_renewal },
        { "first certificate", before_first, renew, after_first },
        { "pending key", before_pending, put_new_pending, after_pending },
        { "identity", before_identity, make_identity, after_identity },
        { "journal", before_journal, save_journal, after_journal },
    };
    for (size_t i = 0; i < ARRAY_LEN(SCENARIOS); i++)
        run_scenario(&SCENARIOS[i]);
}

int main(void)
{
    testset_make(&old);
    testset_make(&new);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_scenarios) };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    testset_clear(&old);
    testset_clear(&new);
    return rc;
}
