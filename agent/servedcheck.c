#include "agent/servedcheck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/ssl.h>

#include "agent/core/patience.h"
#include "agent/tlslook.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/pki/cert.h"

struct servedcheck {
    struct loop *loop;
    struct addr address;
    char address_text[ADDR_TEXT_MAX];
    char *name;
    SSL_CTX *tls;
    X509 *leaf;           /* expected; NULL: nothing yet */
    struct tlslook *look; /* NULL: none is under way */
    struct loop_timer *timer;
    struct patience patience;
    struct served_result seen, result; /* at the last look; what lasted */
    void (*fn)(void *arg, enum served what);
    void *arg;
};

static const char *const NAMES[] = {
    [SERVED_PENDING] = "pending",
    [SERVED_CURRENT] = "current",
    [SERVED_OTHER] = "other",
    [SERVED_UNREACHABLE] = "unreachable",
};

const char *served_name(enum served s)
{
    return NAMES[s];
}

static void report(const struct servedcheck *s)
{
    if (s->result.what == SERVED_CURRENT)
        log_info("%s", s->result.text);
    else
        log_error("%s", s->result.text);
}

/* One look has ended. What lasts is the result; what may pass is looked at again. */
static void settle(struct servedcheck *s, enum served what)
{
    int64_t wait_ms;
    bool lasts = patience_note(&s->patience, what == SERVED_CURRENT, &wait_ms);
    bool changed = s->result.what != what;
    tlslook_free(s->look);
    s->look = NULL;
    loop_timer_set(s->timer, wait_ms);
    if (!lasts)
        return;
    s->seen.what = what;
    s->seen.at = clock_now_s();
    s->result = s->seen;
    if (changed)
        report(s);
    s->fn(s->arg, what);
}

static void say(struct servedcheck *s, const char *what)
{
    (void)snprintf(s->seen.text, sizeof s->seen.text, "the application at %s %s", s->address_text,
                   what);
}

static void compare(struct servedcheck *s, X509 *got)
{
    bool same = X509_cmp(got, s->leaf) == 0;
    if (cert_serial_hex(got, s->seen.serial, sizeof s->seen.serial) != ERR_OK)
        s->seen.serial[0] = 0;
    if (same)
        say(s, "serves the present certificate");
    else
        say(s, "serves another certificate: does it read the new files after the reload command?");
    settle(s, same ? SERVED_CURRENT : SERVED_OTHER);
}

static void on_look(void *arg, enum tlslook_end end, X509 *leaf)
{
    static const char *const FAILED[] = {
        [TLSLOOK_SILENT] = "does not answer",
        [TLSLOOK_REFUSED] = "cannot be reached: is it running?",
        [TLSLOOK_NO_TLS] = "does not speak TLS",
    };
    struct servedcheck *s = arg;
    if (end == TLSLOOK_SEEN) {
        compare(s, leaf);
        return;
    }
    s->seen.serial[0] = 0;
    say(s, FAILED[end]);
    settle(s, SERVED_UNREACHABLE);
}

static void look(void *arg)
{
    struct servedcheck *s = arg;
    if (s->leaf == NULL || s->look != NULL)
        return;
    if (tlslook_new(&s->look, s->loop, s->tls, &s->address, s->name, on_look, s) != ERR_OK)
        loop_timer_set(s->timer, PATIENCE_EVERY_MS);
}

enum err servedcheck_new(struct servedcheck **out, struct loop *l, const struct addr *address,
                         const char *name, void (*fn)(void *arg, enum served what), void *arg)
{
    struct servedcheck *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->loop = l;
    s->fn = fn;
    s->arg = arg;
    s->address = *address;
    addr_format(address, s->address_text);
    s->name = strdup(name);
    s->tls = SSL_CTX_new(TLS_client_method());
    if (s->name == NULL || s->tls == NULL ||
        SSL_CTX_set_min_proto_version(s->tls, TLS1_2_VERSION) != 1 ||
        loop_timer_new(&s->timer, l, look, s) != ERR_OK) {
        servedcheck_free(s);
        return ERR_NOMEM;
    }
    say(s, "was not asked yet");
    s->result = s->seen;
    *out = s;
    return ERR_OK;
}

void servedcheck_expect(struct servedcheck *s, X509 *leaf)
{
    bool same = s->leaf != NULL && X509_cmp(s->leaf, leaf) == 0;
    if (!same && X509_up_ref(leaf) != 1)
        return;
    if (!same) {
        X509_free(s->leaf);
        s->leaf = leaf;
        say(s, "is being asked for its certificate");
        s->seen.what = SERVED_PENDING;
        s->result = s->seen;
    }
    s->patience = (struct patience){ 0 };
    loop_timer_set(s->timer, 0);
}

const struct served_result *servedcheck_result(const struct servedcheck *s)
{
    return &s->result;
}

void servedcheck_free(struct servedcheck *s)
{
    if (s == NULL)
        return;
    tlslook_free(s->look);
    loop_timer_free(s->timer);
    SSL_CTX_free(s->tls);
    X509_free(s->leaf);
    free(s->name);
    free(s);
}
