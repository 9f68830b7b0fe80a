/* Case 41 of the list of faults. Runs what changes the disk once, stops it at the entry of every
 * single system call, and looks at a copy of what a kill, or a power cut, would leave at that
 * moment: with all that was written; without the bytes that were not synced; and with the first
 * half of them. Names are taken to be lost in no other order than that of the calls. Where the
 * calls since the last look can have changed nothing, what would be left is what was looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/ptrace.h>

#include "agent/fallback.h"
#include "agent/identity.h"
#include "agent/journal.h"
#include "agent/reportfile.h"
#include "common/base/clock.h"
#include "tests/lib/treecopy.h"
#include "tests/unit/agent/certset.h"

#define CALLS_MAX 20000
#define ID "abcdefghijklmnopqrstuvwxyz234567"

static struct testset old, new;
static struct access for_group, for_others; /* what `file` sections may say */

struct scenario {
    const char *why;
    void (*before)(const struct treedir *d); /* whole */
    enum err (*act)(const char *dir);        /* in the process that is stopped */
    void (*after)(const struct treedir *d, bool finished);
    const struct access *was, *is; /* nobody may read who may by neither */
};

/* ---- the process ---- */

/* What can change no file. Whatever is not here may. */
static const unsigned long long HARMLESS[] = {
    SYS_read,           SYS_pread64,      SYS_close,       SYS_fstat,      SYS_newfstatat,
    SYS_stat,           SYS_lstat,        SYS_lseek,       SYS_mmap,       SYS_munmap,
    SYS_mprotect,       SYS_madvise,      SYS_brk,         SYS_getdents64, SYS_readlink,
    SYS_access,         SYS_getrandom,    SYS_getpid,      SYS_gettid,     SYS_getuid,
    SYS_geteuid,        SYS_getgid,       SYS_getegid,     SYS_futex,      SYS_clock_gettime,
    SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_sigaltstack, SYS_fcntl,      SYS_uname,
    SYS_socket,         SYS_bind,         SYS_sendto,      SYS_recvmsg,    SYS_getsockname,
};

static bool is_harmless(unsigned long long nr)
{
    for (size_t i = 0; i < ARRAY_LEN(HARMLESS); i++) {
        if (HARMLESS[i] == nr)
            return true;
    }
    return false;
}

/* The inode behind a descriptor of the child; 0 when it is no file. */
static ino_t inode_of(pid_t pid, uint64_t fd)
{
    char path[64];
    struct stat st;
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, (int)fd);
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? st.st_ino : 0;
}

/* Notes a call that went well. False when what would be left is what was left before it. */
static bool follow(struct treecopy_loss *loss, pid_t pid, const struct ptrace_syscall_info *call,
                   uint64_t result)
{
    ino_t inode;
    switch (call->entry.nr) {
    case SYS_openat:
        if ((call->entry.args[2] & (O_CREAT | O_TRUNC)) == 0)
            return false;
        treecopy_note(loss, inode_of(pid, result), false);
        return true;
    case SYS_write:
        inode = inode_of(pid, call->entry.args[0]);
        treecopy_note(loss, inode, inode != 0);
        return inode != 0;
    case SYS_fsync:
        treecopy_note(loss, inode_of(pid, call->entry.args[0]), false);
        return true;
    default:
        return !is_harmless(call->entry.nr);
    }
}

/* Goes on to the entry of the next call, where *changed says whether any since the last entry
 * can have changed something. False when the child has ended, in order. */
static bool step(pid_t pid, struct treecopy_loss *loss, bool *changed)
{
    static struct ptrace_syscall_info call;
    struct ptrace_syscall_info now;
    int status;
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
            return true;
        }
        if (call.op == PTRACE_SYSCALL_INFO_ENTRY && now.exit.is_error == 0 &&
            follow(loss, pid, &call, (uint64_t)now.exit.rval))
            *changed = true;
    }
}

static pid_t run_stopped(const struct scenario *s, const char *dir)
{
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
    assert_int_equal(
        ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL), 0);
    return pid;
}

/* ---- what it leaves ---- */

static const struct scenario *present; /* nftw() passes nothing on */

/* Nobody may read a file who was not meant to before, nor is now. */
static int check_mode(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    enum form_kind form;
    const char *name = path + at->base;
    if (kind != FTW_F)
        return 0;
    if (strstr(path, "/generations/") != NULL && access_find(name, &form) == ERR_OK) {
        if (access_is_wider(present->was, form, st) && access_is_wider(present->is, form, st))
            fail_msg("%s: mode %o, group %u", path, (unsigned)st->st_mode, (unsigned)st->st_gid);
    } else if ((st->st_mode & 077) != 0 && strncmp(name, "cert.pem", 8) != 0) {
        fail_msg("%s: mode %o", path, (unsigned)st->st_mode);
    }
    return 0;
}

/* The number of states looked at. */
static unsigned look(const struct scenario *s, const struct treedir *d,
                     const struct treecopy_loss *loss, bool finished)
{
    static const enum treecopy_rest RESTS[] = { TREECOPY_ALL, TREECOPY_NONE, TREECOPY_HALF };
    size_t n = loss->n > 0 ? ARRAY_LEN(RESTS) : 1;
    for (size_t i = 0; i < n; i++) {
        struct treedir left;
        treedir_make(&left);
        treecopy(d->path, left.path, loss, RESTS[i]);
        present = s;
        (void)nftw(left.path, check_mode, 16, FTW_PHYS);
        s->after(&left, finished);
        treedir_remove(&left);
    }
    return (unsigned)n;
}

static void run_scenario(const struct scenario *s)
{
    struct treedir d;
    struct err_info info = { "" };
    struct treecopy_loss loss = { .n = 0 };
    unsigned n_calls = 0, n_states = 0;
    bool changed = true;
    treedir_make(&d);
    assert_int_equal(certstore_prepare(d.path, &info), ERR_OK);
    s->before(&d);
    pid_t pid = run_stopped(s, d.path);
    while (step(pid, &loss, &changed)) {
        assert_true(++n_calls < CALLS_MAX);
        if (changed)
            n_states += look(s, &d, &loss, false);
        changed = false;
    }
    n_states += look(s, &d, &loss, true);
    print_message("%s: %u system calls, %u states\n", s->why, n_calls, n_states);
    assert_true(n_states > 5);
    treedir_remove(&d);
}

/* ---- what is done ---- */

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

/* ---- the first certificate, which others may read in part ---- */

static enum err renew_shared(const char *dir)
{
    struct err_info info;
    enum err e = put_in_place_for(dir, &new, &for_group);
    return e == ERR_OK ? certstore_pending_drop(dir, &info) : e;
}

static void before_first(const struct treedir *d)
{
    put_pending(d, &new);
}

static void after_first(const struct treedir *d, bool finished)
{
    struct stat st;
    struct certset set = { 0 };
    struct err_info info = { "" };
    bool there = lstat(treedir_path(d, "current"), &st) == 0;
    assert_true(there || !finished);
    if (there) {
        assert_true(files_are(d, &new));
        if (certstore_current(d->path, &for_group, &set, &info) != ERR_OK)
            fail_msg("%s", info.text);
        assert_false(certstore_is_exposed(d->path, &for_group));
        certset_clear(&set);
    } else {
        assert_ptr_equal(pending_is(d), &new);
    }
    check_recovery(d);
}

/* ---- others may read it, and then may not ---- */

static enum err note(const char *dir, enum lifecycle_state state)
{
    struct journal j = { .zone = "direct.example", .state = state };
    struct err_info info;
    return journal_save(&j, dir, &info);
}

static void before_access(const struct treedir *d)
{
    for (int i = 0; i < 3; i++)
        assert_int_equal(put_in_place_for(d->path, &old, &for_group), ERR_OK);
    assert_int_equal(note(d->path, LIFECYCLE_SERVE), ERR_OK);
}

static enum err set_access(const char *dir, const struct access *a)
{
    struct err_info info;
    return certstore_set_access(dir, a, &info);
}

/* In the order in which issuance.c does it. */
static enum err narrow(const char *dir)
{
    enum err e = note(dir, LIFECYCLE_KEY);
    return e == ERR_OK ? set_access(dir, &ACCESS_PRIVATE) : e;
}

static void after_narrowing(const struct treedir *d, bool finished)
{
    struct journal j;
    struct certset set = { 0 };
    struct err_info info = { "" };
    assert_int_equal(journal_load(&j, d->path, &info), ERR_OK);
    /* that others have read the key must not be forgotten */
    assert_true(j.state == LIFECYCLE_KEY || certstore_is_exposed(d->path, &ACCESS_PRIVATE));
    assert_true(!finished || !certstore_is_exposed(d->path, &ACCESS_PRIVATE));
    assert_int_equal(set_access(d->path, &ACCESS_PRIVATE), ERR_OK);
    if (certstore_current(d->path, &ACCESS_PRIVATE, &set, &info) != ERR_OK)
        fail_msg("%s", info.text);
    assert_true(current_is(d, &old));
    certset_clear(&set);
    check_recovery(d);
}

static enum err give_to_others(const char *dir)
{
    return set_access(dir, &for_others);
}

static void after_others(const struct treedir *d, bool finished)
{
    assert_true(files_are(d, &old));
    assert_true(!finished || !certstore_is_exposed(d->path, &for_others));
    assert_int_equal(set_access(d->path, &for_others), ERR_OK);
    assert_false(certstore_is_exposed(d->path, &for_others));
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

/* ---- what is remembered of reports ---- */

static struct config *report_config(const char *dir)
{
    static struct config config;
    static char path[64], zone[] = "direct.example", server[] = "https://provision.example";
    (void)snprintf(path, sizeof path, "%s", dir);
    config = (struct config){ .state_dir = path, .zone = zone, .server = server };
    return &config;
}

static enum err save_report(const char *dir, unsigned attempts)
{
    struct err_info info;
    const struct reportfile f = {
        .attempts = attempts,
        .reported = { .n_tags = 1,
                      .tags = { { .ip = { 4, { 8, 8, 8, 8 } }, .label = "pksjz766e-8-8-8-8" } } },
    };
    return reportfile_save(&f, report_config(dir), ID, &info);
}

static void before_report(const struct treedir *d)
{
    assert_int_equal(save_report(d->path, 1), ERR_OK);
}

static enum err save_new_report(const char *dir)
{
    return save_report(dir, 2);
}

static void after_report(const struct treedir *d, bool finished)
{
    struct reportfile f;
    struct err_info info;
    assert_int_equal(reportfile_load(&f, report_config(d->path), ID, &info), ERR_OK);
    assert_true(f.attempts == 2 || (f.attempts == 1 && !finished));
    assert_int_equal(f.reported.n_tags, 1);
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
    return fallback_refresh(f, &config, clock_now_s(), &changed, &info);
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

#define ALONE &ACCESS_PRIVATE, &ACCESS_PRIVATE

static const struct scenario SCENARIOS[] = {
    { "first certificate", before_first, renew_shared, after_first, &ACCESS_PRIVATE, &for_group },
    { "narrowing", before_access, narrow, after_narrowing, &for_group, &ACCESS_PRIVATE },
    { "another group", before_access, give_to_others, after_others, &for_group, &for_others },
    { "pending key", before_pending, put_new_pending, after_pending, ALONE },
    { "identity", before_nothing, make_identity, after_identity, ALONE },
    { "journal", before_journal, save_journal, after_journal, ALONE },
    { "report", before_report, save_new_report, after_report, ALONE },
    { "local certificate", before_nothing, make_fallback, after_fallback, ALONE },
    { "whole renewal", before_whole, renew_whole, after_whole, ALONE },
};

static void test_case_41_every_call(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(SCENARIOS); i++)
        run_scenario(&SCENARIOS[i]);
}

/* Root gives files to any group, everybody else to their own. */
static void make_access(void)
{
    for_group = for_others = ACCESS_PRIVATE;
    for_group.of[FORM_PRIVKEY].mode = 0640;
    for_group.of[FORM_COMBINED].mode = 0440;
    for_group.of[FORM_CERT].mode = 0640;
    for_others.of[FORM_PRIVKEY].mode = 0440;
    for_others.of[FORM_BUNDLE].mode = 0640;
    if (geteuid() == 0)
        for_group.of[FORM_PRIVKEY].group = 65534;
    for_others.of[FORM_PRIVKEY].group = for_others.of[FORM_BUNDLE].group = getegid();
}

int main(void)
{
    testset_make(&old);
    testset_make(&new);
    make_access();
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_case_41_every_call) };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    testset_clear(&old);
    testset_clear(&new);
    return rc;
}
