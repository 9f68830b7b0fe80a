/* doctor.c - the subcommand "doctor": everything that issuing needs, asked from where the service
 * runs. Every question has a time limit; nothing is left behind. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "common/base/b64url.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/net/loop.h"
#include "common/pki/cert.h"
#include "provisiond/acme/challenge.h"
#include "provisiond/acme/persist.h"
#include "provisiond/admin/admin.h"
#include "provisiond/admin/delegation.h"
#include "provisiond/admin/dnsask.h"
#include "provisiond/admin/findings.h"
#include "provisiond/headroom.h"
#include "provisiond/issuers.h"
#include "provisiond/store/challenge_table.h"
#include "provisiond/store/node.h"
#include "provisiond/store/pairing.h"
#include "provisiond/store/storefacts.h"
#include "provisiond/store/token.h"

/* An id that no key has but by a chance of one in 2^160. */
#define RESERVED_ID "lanyarddoctorlanyarddoctorlanyar"
#define RESERVED_ORDER (-2) /* no order has this number */
#define VALUE_LIFE_S 60
#define CONNECT_S 5
#define CERT_SOON_S ((int64_t)7 * 86400)
#define CLOCK_WARN_S 10
#define CLOCK_FAIL_S 300

struct doctor {
    const struct config *config;
    struct findings found;
    bool has_resolver;
    struct addr resolver;
    size_t n_parents;
    struct addr parents[CONFIG_LIST_MAX];
    bool probe_done;
    struct issuer_reply reply;
    struct issuer_account account;
    struct loop *loop;
};

/* --- the database --- */

struct nodes {
    int64_t now_s;
    unsigned n;
};

static void count_node(void *arg, const struct node_row *row)
{
    struct nodes *n = arg;
    n->n += row->seen_at >= n->now_s - 60;
}

/* Writes inside a transaction that is taken back. */
static enum err try_write(struct sql *db, struct err_info *info)
{
    enum err e = sql_begin_tx(db, info);
    if (e != ERR_OK)
        return e;
    e = node_touch(db, "doctor", clock_now_s(), info);
    sql_rollback(db);
    return e;
}

static void add_limit(void *arg, const struct headroom *h)
{
    struct doctor *d = arg;
    const char *issuer = d->config->issuers[h->issuer].name, *kind = bucket_kind_name(h->kind);
    char until[CLOCK_TEXT_MAX], of[300] = "";
    clock_format(h->closed_until, until, sizeof until);
    if (h->account > 0)
        (void)snprintf(of, sizeof of, " of account %zu", h->account);
    else if (h->zone[0] != 0)
        (void)snprintf(of, sizeof of, " of %s", h->zone);
    if (h->closed_until > 0)
        findings_add(&d->found, FINDING_WARN, "limits", issuer, "%s%s: nothing left until %s", kind,
                     of, until);
    else if (h->n_closed > 0)
        findings_add(&d->found, FINDING_WARN, "limits", issuer,
                     "%s: nothing left for %lld devices at present", kind, (long long)h->n_closed);
    else if (h->left >= 0)
        findings_add(&d->found, FINDING_PASS, "limits", issuer, "%s%s: %lld of %lld left", kind, of,
                     (long long)h->left, (long long)h->limit.count);
}

/* What wrong pairing codes have left of today. */
static enum err check_guesses(struct doctor *d, struct sql *db, struct err_info *info)
{
    int64_t spent;
    enum err e = pairing_spent(db, clock_now_s(), &spent, info);
    if (e != ERR_OK)
        return e;
    long long percent = (long long)(spent * 100 / PAIRING_BUDGET);
    if (!pairing_may_try(spent, 1))
        findings_add(&d->found, FINDING_FAIL, "pairing", "",
                     "rests until midnight UTC: too many wrong codes were tried today");
    else
        findings_add(&d->found, spent < PAIRING_BUDGET / 2 ? FINDING_PASS : FINDING_WARN, "pairing",
                     "", "wrong codes have used up %lld %% of what a day has for them", percent);
    return ERR_OK;
}

static void count_held(void *arg, const struct token_row *row)
{
    *(unsigned *)arg += row->held_at != 0 && row->revoked_at == 0;
}

static enum err check_held(struct doctor *d, struct sql *db, struct err_info *info)
{
    unsigned n = 0;
    enum err e = token_each(db, count_held, &n, info);
    if (e == ERR_OK && n > 0)
        findings_add(&d->found, FINDING_WARN, "tokens", "",
                     "%u held since the store was restored: 'token release' or 'token revoke' "
                     "them",
                     n);
    return e;
}

static void check_database(struct doctor *d)
{
    struct sql *db = NULL;
    struct err_info info = { "" };
    struct nodes nodes = { clock_now_s(), 0 };
    struct storefacts facts = { "", 0 };
    enum err e = sql_open(&db, d->config->store, &info);
    if (e == ERR_OK)
        e = try_write(db, &info);
    if (e == ERR_OK)
        e = node_each(db, count_node, &nodes, &info);
    if (e == ERR_OK)
        e = storefacts_get(db, d->config->store, &facts, &info);
    if (e == ERR_OK)
        e = headroom_each(db, d->config, clock_now_s(), add_limit, d, &info);
    if (e == ERR_OK && d->config->public_.set)
        e = check_guesses(d, db, &info);
    if (e == ERR_OK)
        e = check_held(d, db, &info);
    sql_close(db);
    if (e != ERR_OK) {
        findings_add(&d->found, FINDING_FAIL, "database", "", "%s", info.text);
        return;
    }
    findings_add(&d->found, FINDING_PASS, "database", "", "can be written; %s, %lld KiB",
                 facts.version, (long long)facts.size / 1024);
    if (nodes.n == 0)
        findings_add(&d->found, FINDING_WARN, "service", "",
                     "no lanyard-provisiond has worked on this database within a minute: is it "
                     "running?");
    else
        findings_add(&d->found, FINDING_PASS, "service", "", "%u running", nodes.n);
}

/* --- the CAs --- */

static void on_probed(void *arg, const struct issuer_reply *reply)
{
    struct doctor *d = arg;
    d->reply = *reply;
    loop_stop(d->loop);
}

/* Certificates and nonces are judged by time, and limits last for so and so long. */
static void check_clock(struct doctor *d, const char *name, const struct issuer_facts *f)
{
    int64_t off_s = f->clock_ahead_s < 0 ? -f->clock_ahead_s : f->clock_ahead_s;
    if (!f->has_clock)
        return;
    findings_add(&d->found,
                 off_s > CLOCK_FAIL_S   ? FINDING_FAIL
                 : off_s > CLOCK_WARN_S ? FINDING_WARN
                                        : FINDING_PASS,
                 "clock", name,
                 off_s > CLOCK_WARN_S ? "ours is %lld s %s the CA's: is NTP running here?"
                                      : "ours is %lld s %s the CA's",
                 (long long)off_s, f->clock_ahead_s < 0 ? "behind" : "ahead of");
}

static void check_terms(struct doctor *d, const char *name, const struct issuer_facts *f)
{
    if (f->terms[0] == 0 || f->agreed_terms[0] == 0)
        return;
    if (strcmp(f->terms, f->agreed_terms) == 0)
        findings_add(&d->found, FINDING_PASS, "terms", name, "agreed to %s", f->terms);
    else
        findings_add(&d->found, FINDING_WARN, "terms", name,
                     "the CA's terms are %s now; agreed to were %s: read them, then issuer "
                     "register %s",
                     f->terms, f->agreed_terms, name);
}

static void check_issuer(struct doctor *d, struct issuers *all, size_t i)
{
    const char *name = d->config->issuers[i].name;
    struct issuer *is = issuers_account(all, i, 0);
    struct issuer_facts f;
    if (d->config->issuers[i].is_local) {
        findings_add(&d->found, FINDING_PASS, "issuer", name, "the local CA is there");
        return;
    }
    is->ops->probe(is, on_probed, d);
    loop_run(d->loop);
    if (d->reply.verdict != ISSUER_OK) {
        findings_add(&d->found, FINDING_FAIL, "issuer", name, "%s", d->reply.info.text);
        return;
    }
    is->ops->facts(is, &f);
    check_clock(d, name, &f);
    check_terms(d, name, &f);
    if (f.account[0] == 0)
        findings_add(&d->found, FINDING_WARN, "issuer", name,
                     "answers; no account yet: it is made with the first order, or by issuer "
                     "register %s",
                     name);
    else
        findings_add(&d->found, FINDING_PASS, "issuer", name, "answers; account %s", f.account);
}

/* --- the DNS --- */

static bool has(const struct dnsask *a, const char *text)
{
    for (size_t i = 0; i < a->n; i++) {
        if (strcasecmp(a->text[i], text) == 0)
            return true;
    }
    return false;
}

static void check_delegation(struct doctor *d, const struct config_zone *z)
{
    const struct delegation what = { .zone = z,
                                     .resolver = d->has_resolver ? &d->resolver : NULL,
                                     .n_parents = d->n_parents,
                                     .parents = d->parents,
                                     .found = &d->found };
    delegation_check(&what);
}

/* --- CAA --- */

/* The domain of an issue or issuewild value, before any parameter. [RFC 8659 s4.2] */
static bool names_ca(const char *value, const struct issuer_facts *f)
{
    size_t len = strcspn(value, "; \t");
    for (size_t i = 0; i < f->n_caa; i++) {
        if (strlen(f->caa[i]) == len && strncasecmp(f->caa[i], value, len) == 0)
            return true;
    }
    return false;
}

/* Whether a value with an accounturi means our account. [RFC 8657 s3] */
static bool names_account(const char *value, const char *account)
{
    static const char KEY[] = "accounturi=";
    const char *uri = strstr(value, KEY);
    if (uri == NULL)
        return true;
    uri += sizeof KEY - 1;
    return strlen(account) > 0 && strcspn(uri, "; \t") == strlen(account) &&
           strncmp(uri, account, strlen(account)) == 0;
}

/* Whether the records let that CA issue for the wildcard, for that account. */
static bool caa_allows(const struct dnsask *records, const struct issuer_facts *f)
{
    static const char *const TAGS[] = { "issuewild ", "issue " };
    for (size_t t = 0; t < ARRAY_LEN(TAGS); t++) {
        bool any = false, allowed = false;
        for (size_t i = 0; i < records->n; i++) {
            if (strncasecmp(records->text[i], TAGS[t], strlen(TAGS[t])) != 0)
                continue;
            const char *value = records->text[i] + strlen(TAGS[t]);
            any = true;
            allowed = allowed || (names_ca(value, f) && names_account(value, f->account));
        }
        if (any)
            return allowed;
    }
    return true; /* nothing is said of issuing */
}

/* The records that apply: the nearest at or above the name. */
static enum err find_caa(struct doctor *d, const char *name, struct dnsask *out,
                         struct err_info *info)
{
    for (const char *p = name; p != NULL; p = strchr(p, '.') != NULL ? strchr(p, '.') + 1 : NULL) {
        enum err e = dnsask(&d->resolver, p, DNSASK_CAA, out, info);
        if (e != ERR_OK && e != ERR_NOTFOUND)
            return e;
        if (e == ERR_OK && out->n > 0)
            return ERR_OK;
    }
    return ERR_OK;
}

static void check_caa_of(struct doctor *d, const struct config_zone *z, struct issuers *all,
                         size_t index, const struct dnsask *records)
{
    const char *name = d->config->issuers[index].name;
    struct issuer_facts f = { .account = "" };
    size_t n_refused = 0, n = issuers_n_accounts(all, index);
    struct issuer *first = issuers_account(all, index, 0);
    first->ops->facts(first, &f);
    if (!f.known || f.n_caa == 0) {
        findings_add(&d->found, FINDING_WARN, "caa", z->name,
                     "issuer %s does not say by which domain CAA records name it", name);
        return;
    }
    if (records->n == 0) {
        findings_add(&d->found, FINDING_WARN, "caa", z->name,
                     "there are no records: any CA may issue for anybody who fools it; issuer caa "
                     "%s prints some",
                     z->name);
        return;
    }
    for (size_t k = 0; k < n; k++) { /* the first was asked; all accounts are of one CA */
        struct issuer_facts own;
        struct issuer *is = issuers_account(all, index, k);
        is->ops->facts(is, &own);
        f.account = own.account;
        n_refused += !caa_allows(records, &f);
    }
    if (n_refused == 0)
        findings_add(&d->found, FINDING_PASS, "caa", z->name, "issuer %s is allowed", name);
    else
        findings_add(&d->found, FINDING_FAIL, "caa", z->name,
                     "issuer %s is not allowed by the records, or not for our account (%zu of "
                     "%zu): issuer caa %s prints right ones",
                     name, n_refused, n, z->name);
}

static void check_caa(struct doctor *d, const struct config_zone *z, struct issuers *all)
{
    struct err_info info = { "" };
    struct dnsask records = { .n = 0 };
    if (!d->has_resolver || z->n_nameservers == 0)
        return;
    if (find_caa(d, z->name, &records, &info) != ERR_OK) {
        findings_add(&d->found, FINDING_FAIL, "caa", z->name,
                     "cannot be read, so CAs refuse to issue: %s", info.text);
        return;
    }
    for (size_t i = 0; i < z->n_issuers; i++) {
        if (!d->config->issuers[z->issuers[i]].is_local)
            check_caa_of(d, z, all, z->issuers[i], &records);
    }
}

/* --- a challenge there and back --- */

static void read_back(struct doctor *d, const struct config_zone *z, const char *value)
{
    char name[300], server[ADDR_TEXT_MAX];
    (void)snprintf(name, sizeof name, "_acme-challenge." RESERVED_ID ".%s", z->name);
    for (size_t i = 0; i < z->n_nameservers; i++) {
        struct err_info info = { "" };
        struct dnsask a;
        addr_format(&z->nameservers[i], server);
        enum err e = dnsask(&z->nameservers[i], name, DNSASK_TXT, &a, &info);
        if (e == ERR_OK && has(&a, value))
            findings_add(&d->found, FINDING_PASS, "challenge", z->name,
                         "name server %s answers a test value", server);
        else if (e == ERR_OK || e == ERR_NOTFOUND)
            findings_add(&d->found, FINDING_FAIL, "challenge", z->name,
                         "name server %s does not answer the test value: does it read the store of "
                         "this configuration?",
                         server);
        else
            findings_add(&d->found, FINDING_FAIL, "challenge", z->name, "name server %s",
                         info.text);
    }
}

static void check_challenge(struct doctor *d, const struct config_zone *z)
{
    struct challenge_store *s = NULL;
    struct err_info info = { "" };
    uint8_t random[32];
    char value[CHALLENGE_VALUE_LEN + 1];
    int64_t now = clock_now_s();
    if (z->challenges == NULL)
        return;
    secret_random(random, sizeof random);
    b64url_encode((struct span){ random, sizeof random }, value);
    enum err e = challenge_table_open(&s, z->challenges, &info);
    if (e == ERR_OK)
        e = challenge_put(s, z->name, RESERVED_ID, RESERVED_ORDER, value, now + VALUE_LIFE_S, now,
                          &info);
    if (e == ERR_OK)
        read_back(d, z, value);
    if (e == ERR_OK)
        e = challenge_remove(s, RESERVED_ORDER, INT64_MAX, now, &info);
    if (e != ERR_OK)
        findings_add(&d->found, FINDING_FAIL, "challenge", z->name, "%s", info.text);
    challenge_store_free(s);
}

/* --- dns-persist-01 --- */

static void on_account(void *arg, const struct issuer_account *a)
{
    struct doctor *d = arg;
    d->reply = a->reply;
    d->account = *a;
    loop_stop(d->loop);
}

/* Whether a name server has the record that lets this account issue for a device. */
static void read_persist(struct doctor *d, const struct config_zone *z, const struct addr *server,
                         const struct issuer *is, const char *record)
{
    char name[300], text[ADDR_TEXT_MAX];
    struct err_info info = { "" };
    struct dnsask a;
    (void)snprintf(name, sizeof name, "_validation-persist." RESERVED_ID ".%s", z->name);
    addr_format(server, text);
    enum err e = dnsask(server, name, DNSASK_TXT, &a, &info);
    if (e == ERR_OK && has(&a, record))
        findings_add(&d->found, FINDING_PASS, "persist", z->name,
                     "name server %s has the record of issuer %s", text, is->name);
    else if (e == ERR_OK || e == ERR_NOTFOUND)
        findings_add(&d->found, FINDING_FAIL, "persist", z->name,
                     "name server %s lacks the record of issuer %s (%.200s): issuer persist %s "
                     "prints the file for its option persist",
                     text, is->name, record, z->name);
    else
        findings_add(&d->found, FINDING_FAIL, "persist", z->name, "name server %s", info.text);
}

static void check_persist_of(struct doctor *d, const struct config_zone *z, struct issuer *is)
{
    struct issuer_facts f;
    char record[ISSUER_TXT_MAX];
    is->ops->account(is, ISSUER_ACCOUNT_SHOW, on_account, d);
    loop_run(d->loop);
    is->ops->facts(is, &f);
    if (d->reply.verdict != ISSUER_OK || f.n_persist == 0 || d->account.persist_uri[0] == 0) {
        findings_add(&d->found, FINDING_FAIL, "persist", z->name, "issuer %s: %s", is->name,
                     d->reply.verdict != ISSUER_OK ? d->reply.info.text
                                                   : "the CA names no domain for such records");
        return;
    }
    for (size_t i = 0; i < f.n_persist; i++) {
        for (size_t k = 0; k < z->n_nameservers; k++) {
            if (persist_record(record, f.persist[i], d->account.persist_uri) == ERR_OK)
                read_persist(d, z, &z->nameservers[k], is, record);
        }
    }
}

static void check_persist(struct doctor *d, const struct config_zone *z, struct issuers *all)
{
    for (size_t i = 0; i < z->n_issuers; i++) {
        size_t index = z->issuers[i];
        const struct config_issuer *is = &d->config->issuers[index];
        if (is->is_local || challenge_kind_find(is->challenge)->has_token)
            continue;
        for (size_t k = 0; k < issuers_n_accounts(all, index); k++)
            check_persist_of(d, z, issuers_account(all, index, k));
    }
}

/* --- our listeners --- */

/* When the certificate that is served there ends; false when nobody answers. */
static bool served_until(const struct addr *at, int64_t *not_before_s, int64_t *not_after_s)
{
    struct timeval limit = { .tv_sec = CONNECT_S };
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = ctx != NULL ? SSL_new(ctx) : NULL;
    X509 *cert = NULL;
    int fd = socket(at->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = false;
    if (fd >= 0 && ssl != NULL) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        ok = connect(fd, (const struct sockaddr *)&at->ss, at->len) == 0 &&
             SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1 &&
             (cert = SSL_get1_peer_certificate(ssl)) != NULL &&
             cert_validity(cert, not_before_s, not_after_s) == ERR_OK;
    }
    X509_free(cert);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    if (fd >= 0)
        close(fd);
    return ok;
}

static void check_address(struct doctor *d, const char *which, const struct addr *a)
{
    int64_t from_s = 0, to_s = 0, now = clock_now_s();
    char text[CLOCK_TEXT_MAX];
    if (!served_until(a, &from_s, &to_s)) {
        findings_add(&d->found, FINDING_WARN, "listener", which,
                     "nobody answers there with TLS: is the service running on this machine?");
        return;
    }
    clock_format(to_s, text, sizeof text);
    if (now < from_s || now >= to_s)
        findings_add(&d->found, FINDING_FAIL, "listener", which,
                     "its certificate is not valid now (ends %s): replace the files, then SIGHUP",
                     text);
    else
        findings_add(&d->found, to_s - now < CERT_SOON_S ? FINDING_WARN : FINDING_PASS, "listener",
                     which, "its certificate ends %s", text);
}

static void check_listener(struct doctor *d, const char *which, const struct config_listen *l)
{
    for (size_t i = 0; i <= l->n_more && l->set; i++)
        check_address(d, which, i == 0 ? &l->addr : &l->more[i - 1]);
}

/* --- the whole --- */

static bool parse_args(struct doctor *d, int argc, char **argv, bool *as_json)
{
    struct err_info info;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            *as_json = true;
        } else if (strcmp(argv[i], "--resolver") == 0 && i + 1 < argc) {
            if (addr_parse(&d->resolver, argv[++i], &info) != ERR_OK) {
                (void)admin_usage("--resolver: %s", info.text);
                return false;
            }
            d->has_resolver = true;
        } else if (strcmp(argv[i], "--parent") == 0 && i + 1 < argc &&
                   d->n_parents < ARRAY_LEN(d->parents)) {
            if (addr_parse(&d->parents[d->n_parents++], argv[++i], &info) != ERR_OK) {
                (void)admin_usage("--parent: %s", info.text);
                return false;
            }
        } else {
            (void)admin_usage(
                "doctor takes --resolver ADDRESS:PORT, --parent ADDRESS:PORT and --json");
            return false;
        }
    }
    return true;
}

int admin_doctor(const struct admin *a, int argc, char **argv)
{
    struct doctor d = { .config = a->config };
    struct issuers *all = NULL;
    struct err_info info = { "" };
    bool as_json = false;
    if (!parse_args(&d, argc, argv, &as_json))
        return ADMIN_WRONG_CALL;
    log_init("provisiond", LOG_LEVEL_ERROR);
    findings_init(&d.found, as_json);
    check_database(&d);
    enum err e = loop_new(&d.loop);
    if (e == ERR_OK)
        e = issuers_open(&all, d.loop, a->config, &info);
    if (e != ERR_OK)
        findings_add(&d.found, FINDING_FAIL, "issuer", "", "%s", info.text);
    for (size_t i = 0; i < a->config->n_issuers && e == ERR_OK; i++)
        check_issuer(&d, all, i);
    for (size_t i = 0; i < a->config->n_zones; i++) {
        check_delegation(&d, &a->config->zones[i]);
        if (e == ERR_OK)
            check_caa(&d, &a->config->zones[i], all);
        if (e == ERR_OK)
            check_persist(&d, &a->config->zones[i], all);
        check_challenge(&d, &a->config->zones[i]);
    }
    check_listener(&d, "device", &a->config->device);
    check_listener(&d, "public", &a->config->public_);
    issuers_free(all);
    loop_free(d.loop);
    return findings_end(&d.found);
}
