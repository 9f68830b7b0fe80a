/* Kills a process at the entry of every single system call while it changes what is on disk, and
 * looks at what is left: once with all that was written, and once, as after a power cut, without
 * the bytes that were not synced. Names are taken to be lost in no other order than that of the
 * calls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/ptrace.h>

#include "agent/fallback.h"
#include "agent/identity.h"
#include "agent/journal.h"
#include "tests/unit/agent/certset.h"

#define CALLS_MAX 20000
#define MADE_MAX 64

static struct testset old, new;

struct scenario {
    const char *why;
    void (*before)(const struct treedir *d); /* whole */
    enum err (*act)(const char *dir);        /* in the process that is killed */
    void (*after)(const struct treedir *d, bool finished);
    enum { ALONE, WHOLE, PART /* of WHOLE */ } kind;
};

/* A file that the child made. Kept open here, so that its bytes can be taken away whatever its name
 * is by then. */
struct made {
    int fd; /* the child's; -1: closed */
    int own;
    bool dirty; /* written and not synced */
};

struct files {
    struct made made[MADE_MAX];
    size_t n;
};

static struct made *find(struct files *f, int fd)
{
    for (size_t i = f->n; i > 0; i--) {
        if (f->made[i - 1].fd == fd)
            return &f->made[i - 1];
    }
    return NULL;
}

/* A system call that went well. */
static void follow(struct files *f, pid_t pid, const struct ptrace_syscall_info *call, int64_t rval)
{
    int fd = (int)call->entry.args[0];
    struct made *m = find(f, fd);
    if (call->entry.nr == SYS_openat && (call->entry.args[2] & O_CREAT) != 0) {
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, (int)rval);
        assert_true(f->n < MADE_MAX);
        f->made[f->n] = (struct made){ .fd = (int)rval, .own = open(path, O_RDWR | O_CLOEXEC) };
        assert_true(f->made[f->n++].own >= 0);
    } else if (m != NULL && call->entry.nr == SYS_write) {
        m->dirty = true;
    } else if (m != NULL && call->entry.nr == SYS_fsync) {
        m->dirty = false;
    } else if (m != NULL && call->entry.nr == SYS_close) {
        m->fd = -1;
    }
}

/* What was not synced is lost, though the file has its name: what a power cut does. */
static void forget_unsynced(struct files *f, bool cut)
{
    for (size_t i = 0; i < f->n; i++) {
        if (cut && f->made[i].dirty)
            assert_int_equal(ftruncate(f->made[i].own, 0), 0);
        close(f->made[i].own);
    }
}

/* Steps over system calls until the `n`th is entered. False when the child ended before. */
static bool run_to(struct files *files, pid_t pid, int n)
{
    struct ptrace_syscall_info call = { .op = PTRACE_SYSCALL_INFO_NONE }, now;
    int status, entered = 0;
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
        assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof now, &now) > 0);
        if (now.op == PTRACE_SYSCALL_INFO_ENTRY) {
            call = now;
            if (++entered == n)
                return true;
        } else if (call.op == PTRACE_SYSCALL_INFO_ENTRY && now.exit.is_error == 0) {
            follow(files, pid, &call, now.exit.rval);
        }
    }
}

/* Runs act() in a child and kills it when it enters its `n`th system call. False when it ended
 * before. */
static bool run_killed(const struct scenario *s, const char *dir, int n, bool cut)
{
    struct files files = { .n = 0 };
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        (void)raise(SIGSTOP);
        _exit(s->act(dir) == ERR_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD), 0);
    bool killed = run_to(&files, pid, n);
    if (killed) {
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
    }
    forget_unsynced(&files, cut);
    return killed;
}

static void run_scenario(const struct scenario *s, bool cut)
{
    bool killed = true;
    int n = 1;
    for (; killed && n < CALLS_MAX; n++) {
        struct treedir d;
        struct err_info info = { "" };
        treedir_make(&d);
        assert_int_equal(certstore_prepare(d.path, &info), ERR_OK);
        s->before(&d);
        killed = run_killed(s, d.path, n, cut);
        s->after(&d, !killed);
        treedir_remove(&d);
    }
    assert_true(n > 5 && n < CALLS_MAX);
    print_message("%s: %s at %d system calls\n", s->why, cut ? "power cut" : "killed", n - 2);
}

static enum err put_in_place_for(const char *dir, const struct testset *t, const struct access *a)
{
    struct err_info info;
    return certstore_install(dir, t->key, t->chain, &TEST_BUNDLE, a, &info);
}

static enum err put_in_place(const char *dir, const struct testset *t)
{
    return put_in_place_for(dir, t, &ACCESS_PRIVATE);
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

/* ---- the first certificate, of which a part is for others ---- */

static enum err renew_shared(const char *dir)
{
    struct err_info info;
    struct access a = ACCESS_PRIVATE;
    a.of[FORM_CERT].mode = 0640;
    enum err e = put_in_place_for(dir, &new, &a);
    return e == ERR_OK ? certstore_pending_drop(dir, &info) : e;
}

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

static void before_nothing(const struct treedir *d)
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

/* ---- the device's own certificate ---- */

static enum err refresh(struct fallback *f, const char *dir)
{
    static struct config config;
    char path[64];
    bool changed;
    struct err_info info;
    (void)snprintf(path, sizeof path, "%s", dir);
    config = (struct config){ .state_dir = path };
    *f = (struct fallback){ 0 };
    return fallback_refresh(f, &config, &changed, &info);
}

static enum err make_fallback(const char *dir)
{
    struct fallback f;
    enum err e = refresh(&f, dir);
    fallback_clear(&f);
    return e;
}

static void after_fallback(const struct treedir *d, bool finished)
{
    struct fallback f, again;
    bool there = access(treedir_path(d, "fallback/privkey.pem"), F_OK) == 0;
    assert_true(there || !finished);
    if (there)
        assert_true(has_mode(treedir_path(d, "fallback/privkey.pem"), 0600));
    assert_int_equal(refresh(&f, d->path), ERR_OK);
    assert_int_equal(refresh(&again, d->path), ERR_OK);
    assert_string_equal(f.pin, again.pin); /* it is on disk, not in memory only */
    assert_int_equal(X509_cmp(f.cert, again.cert), 0);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(f.cert), f.key), 1);
    fallback_clear(&f);
    fallback_clear(&again);
}

/* ---- a renewal from its first write to its last ---- */

static enum err note(const char *dir, enum lifecycle_state state)
{
    struct journal j = { .zone = "direct.example", .state = state };
    struct err_info info;
    return journal_save(&j, dir, &info);
}

static void before_whole(const struct treedir *d)
{
    for (int i = 0; i < 3; i++)
        assert_int_equal(put_in_place(d->path, &old), ERR_OK);
    assert_int_equal(note(d->path, LIFECYCLE_SERVE), ERR_OK);
}

/* In the order in which issuance.c writes. */
static enum err renew_whole(const char *dir)
{
    struct err_info info;
    enum err e = note(dir, LIFECYCLE_KEY);
    if (e == ERR_OK)
        e = put_new_pending(dir);
    if (e == ERR_OK)
        e = note(dir, LIFECYCLE_SUBMIT);
    if (e == ERR_OK)
        e = note(dir, LIFECYCLE_POLL);
    if (e == ERR_OK)
        e = put_in_place(dir, &new);
    if (e == ERR_OK)
        e = note(dir, LIFECYCLE_SERVE);
    return e == ERR_OK ? certstore_pending_drop(dir, &info) : e;
}

static void after_whole(const struct treedir *d, bool finished)
{
    struct journal j;
    struct err_info info;
    assert_int_equal(journal_load(&j, d->path, &info), ERR_OK);
    bool is_new = current_is(d, &new);
    const struct testset *pending = pending_is(d);
    assert_true(is_new || (current_is(d, &old) && !finished));
    if (j.state == LIFECYCLE_SUBMIT || j.state == LIFECYCLE_POLL)
        assert_ptr_equal(pending, &new); /* the request that was sent */
    else if (j.state == LIFECYCLE_SERVE)
        assert_true(is_new || pending == NULL);
    else
        assert_int_equal(j.state, LIFECYCLE_KEY);
    check_recovery(d);
}

static const struct scenario SCENARIOS[] = {
    { "renewal", before_renewal, renew, after_renewal, PART },
    { "first certificate", before_first, renew_shared, after_first, ALONE },
    { "pending key", before_pending, put_new_pending, after_pending, PART },
    { "identity", before_nothing, make_identity, after_identity, ALONE },
    { "journal", before_journal, save_journal, after_journal, ALONE },
    { "local certificate", before_nothing, make_fallback, after_fallback, ALONE },
    { "whole renewal", before_whole, renew_whole, after_whole, WHOLE },
};

static void test_killed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SCENARIOS); i++) {
        if (SCENARIOS[i].kind != WHOLE) /* that takes long */
            run_scenario(&SCENARIOS[i], false);
    }
}

/* Case 41 of the list of faults. */
static void test_power_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SCENARIOS); i++) {
        if (SCENARIOS[i].kind != PART)
            run_scenario(&SCENARIOS[i], true);
    }
}

int main(void)
{
    testset_make(&old);
    testset_make(&new);
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_killed),
                                        cmocka_unit_test(test_power_cut) };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    testset_clear(&old);
    testset_clear(&new);
    return rc;
}
