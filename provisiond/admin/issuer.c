/* issuer.c - the subcommand "issuer": what a CA offers, our accounts there, CAA records. It sends
 * requests of its own and waits for each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/net/loop.h"
#include "common/pki/cert.h"
#include "provisiond/acme/challenge.h"
#include "provisiond/admin/admin.h"
#include "provisiond/admin/jsonline.h"
#include "provisiond/issuers.h"

#define FILE_MAX (64 * 1024)
#define CAA_TTL_S 3600

struct call {
    const struct admin *admin;
    struct loop *loop;
    struct issuers *issuers;
    bool json;
    struct issuer_reply reply; /* of the last request */
    struct issuer_account account;
};

static void on_done(void *arg, const struct issuer_reply *reply)
{
    struct call *c = arg;
    c->reply = *reply;
    loop_stop(c->loop);
}

static void on_account(void *arg, const struct issuer_account *account)
{
    struct call *c = arg;
    c->account = *account;
    on_done(c, &account->reply);
}

/* Whether the request that was just begun went well; says why not. */
static bool went_well(struct call *c, const struct issuer *is)
{
    loop_run(c->loop);
    if (c->reply.verdict == ISSUER_OK)
        return true;
    (void)fprintf(stderr, "lanyard-provisiond: issuer %s: %s\n", is->name, c->reply.info.text);
    return false;
}

static bool probe(struct call *c, struct issuer *is)
{
    is->ops->probe(is, on_done, c);
    return went_well(c, is);
}

static bool act(struct call *c, struct issuer *is, enum issuer_account_act what)
{
    is->ops->account(is, what, on_account, c);
    return went_well(c, is);
}

/* --- list, show --- */

static void list_json(struct call *c, size_t i)
{
    const struct config_issuer *is = &c->admin->config->issuers[i];
    json_t *o = json_object(), *accounts = json_array();
    jsonline_text(o, "issuer", is->name);
    jsonline_text(o, "type", is->is_local ? "local" : "acme");
    jsonline_text(o, is->is_local ? "dir" : "directory", is->is_local ? is->dir : is->directory);
    for (size_t k = 0; !is->is_local && k < issuers_n_accounts(c->issuers, i); k++) {
        struct issuer_facts f;
        struct issuer *a = issuers_account(c->issuers, i, k);
        a->ops->facts(a, &f);
        (void)json_array_append_new(accounts,
                                    f.account[0] != 0 ? json_string(f.account) : json_null());
    }
    (void)json_object_set_new(o, "accounts", accounts);
    jsonline_print(o);
}

static int list(struct call *c)
{
    const struct config *cfg = c->admin->config;
    for (size_t i = 0; i < cfg->n_issuers; i++) {
        const struct config_issuer *is = &cfg->issuers[i];
        if (c->json) {
            list_json(c, i);
            continue;
        }
        (void)printf("%s: %s\n", is->name, is->is_local ? is->dir : is->directory);
        for (size_t k = 0; !is->is_local && k < issuers_n_accounts(c->issuers, i); k++) {
            struct issuer_facts f;
            struct issuer *a = issuers_account(c->issuers, i, k);
            a->ops->facts(a, &f);
            (void)printf("  account %zu: %s\n", k + 1,
                         f.account[0] != 0 ? f.account : "not known here yet");
        }
    }
    return 0;
}

static void print_facts(const struct issuer_facts *f)
{
    (void)printf("terms of service  %s\n", f->terms[0] != 0 ? f->terms : "none");
    (void)printf("renewal windows   %s\n", f->has_renewal_info ? "yes" : "no");
    (void)printf("key rollover      %s\n", f->has_rollover ? "yes" : "no");
    (void)printf("profiles         %s", f->n_profiles == 0 ? " none" : "");
    for (size_t i = 0; i < f->n_profiles; i++)
        (void)printf(" %s", f->profiles[i]);
    (void)printf("\nCAA domains      %s", f->n_caa == 0 ? " none" : "");
    for (size_t i = 0; i < f->n_caa; i++)
        (void)printf(" %s", f->caa[i]);
    (void)putchar('\n');
}

static void add_texts(json_t *o, const char *key, const char *const *texts, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(list, json_string(texts[i]));
    (void)json_object_set_new(o, key, list);
}

static json_t *facts_json(const struct issuer *is, const struct issuer_facts *f)
{
    json_t *o = json_object();
    jsonline_text(o, "issuer", is->name);
    jsonline_text(o, "terms", f->terms);
    jsonline_bool(o, "renewal_windows", f->has_renewal_info);
    jsonline_bool(o, "key_rollover", f->has_rollover);
    add_texts(o, "profiles", f->profiles, f->n_profiles);
    add_texts(o, "caa", f->caa, f->n_caa);
    (void)json_object_set_new(o, "accounts", json_array());
    return o;
}

/* The account that was asked for last. */
static json_t *account_json(const struct call *c, size_t k)
{
    json_t *o = json_object();
    jsonline_int(o, "account", (int64_t)k + 1);
    jsonline_text(o, "url", c->account.url);
    jsonline_text(o, "status", c->account.status == ISSUER_VALID ? "open" : "closed");
    jsonline_text(o, "key", c->account.thumbprint);
    return o;
}

/* Sends nothing that changes anything at the CA. */
static int show(struct call *c, size_t index)
{
    struct issuer_facts f;
    struct issuer *first = issuers_account(c->issuers, index, 0);
    int status = 0;
    if (!probe(c, first))
        return 1;
    first->ops->facts(first, &f);
    json_t *o = c->json ? facts_json(first, &f) : NULL;
    if (o == NULL)
        print_facts(&f);
    for (size_t k = 0; k < issuers_n_accounts(c->issuers, index); k++) {
        if (!act(c, issuers_account(c->issuers, index, k), ISSUER_ACCOUNT_SHOW))
            status = 1;
        else if (o != NULL)
            (void)json_array_append_new(json_object_get(o, "accounts"), account_json(c, k));
        else
            (void)printf("account %zu         %s, %s, key %s\n", k + 1, c->account.url,
                         c->account.status == ISSUER_VALID ? "open" : "closed",
                         c->account.thumbprint);
    }
    if (o != NULL)
        jsonline_print(o);
    return status;
}

static int change(struct call *c, size_t index, size_t k, enum issuer_account_act what)
{
    struct issuer *is = issuers_account(c->issuers, index, k);
    if (!act(c, is, what))
        return 1;
    if (c->json)
        jsonline_print(account_json(c, k));
    else
        (void)printf("account %zu: %s, %s, key %s\n", k + 1, c->account.url,
                     c->account.status == ISSUER_VALID ? "open" : "closed", c->account.thumbprint);
    return 0;
}

/* --- caa --- */

/* One record for each domain of the CA and each account: they add up. [RFC 8659, RFC 8657] */
static int print_caa(struct call *c, const struct config_zone *z, size_t index)
{
    const struct config_issuer *cfg = &c->admin->config->issuers[index];
    const char *method = cfg->challenge != NULL ? cfg->challenge : "dns-01";
    for (size_t k = 0; k < issuers_n_accounts(c->issuers, index); k++) {
        struct issuer *is = issuers_account(c->issuers, index, k);
        struct issuer_facts f;
        if (!probe(c, is) || !act(c, is, ISSUER_ACCOUNT_SHOW))
            return 1;
        is->ops->facts(is, &f);
        if (f.n_caa == 0) {
            (void)fprintf(stderr, "lanyard-provisiond: issuer %s names no domain for CAA records\n",
                          is->name);
            return 1;
        }
        for (size_t i = 0; i < f.n_caa; i++) {
            static const char FORM[] =
                "%s. %d IN CAA 0 %s \"%s; validationmethods=%s; accounturi=%s\"\n";
            (void)printf(FORM, z->name, CAA_TTL_S, "issuewild", f.caa[i], method, c->account.url);
            if (z->bare_name)
                (void)printf(FORM, z->name, CAA_TTL_S, "issue", f.caa[i], method, c->account.url);
        }
    }
    return 0;
}

static int caa(struct call *c, const char *zone)
{
    const struct config *cfg = c->admin->config;
    const struct config_zone *z = config_zone_find(cfg, zone);
    int status = 0;
    if (z == NULL)
        return admin_usage("there is no zone \"%s\" in the configuration", zone);
    if (!z->bare_name)
        (void)printf("%s. %d IN CAA 0 issue \";\"\n", z->name, CAA_TTL_S);
    for (size_t i = 0; i < z->n_issuers && status == 0; i++)
        if (!cfg->issuers[z->issuers[i]].is_local)
            status = print_caa(c, z, z->issuers[i]);
    return status;
}

/* --- persist --- */

/* One line for each domain of the CA and each account, as dnsd reads them. */
static int print_persist(struct call *c, size_t index)
{
    for (size_t k = 0; k < issuers_n_accounts(c->issuers, index); k++) {
        struct issuer *is = issuers_account(c->issuers, index, k);
        struct issuer_facts f;
        if (!probe(c, is) || !act(c, is, ISSUER_ACCOUNT_SHOW))
            return 1;
        is->ops->facts(is, &f);
        if (f.n_persist == 0 || c->account.persist_uri[0] == 0) {
            (void)fprintf(stderr,
                          "lanyard-provisiond: issuer %s names no domain for such records\n",
                          is->name);
            return 1;
        }
        for (size_t i = 0; i < f.n_persist; i++)
            (void)printf("%s %s\n", f.persist[i], c->account.persist_uri);
    }
    return 0;
}

static int persist(struct call *c, const char *zone)
{
    const struct config *cfg = c->admin->config;
    const struct config_zone *z = config_zone_find(cfg, zone);
    size_t n = 0;
    int status = 0;
    if (z == NULL)
        return admin_usage("there is no zone \"%s\" in the configuration", zone);
    for (size_t i = 0; i < z->n_issuers && status == 0; i++) {
        const struct config_issuer *is = &cfg->issuers[z->issuers[i]];
        if (is->is_local || challenge_kind_find(is->challenge)->has_token)
            continue;
        status = print_persist(c, z->issuers[i]);
        n++;
    }
    if (n == 0)
        return admin_usage("no issuer of zone %s has challenge = \"dns-persist-01\"", zone);
    return status;
}

/* --- revoke --- */

struct revoke_args {
    const char *cert, *key;
    int reason;
};

static bool read_leaf(const char *path, unsigned char **der, int *len, struct err_info *info)
{
    struct buf pem;
    STACK_OF(X509) *chain = NULL;
    buf_init(&pem, FILE_MAX);
    enum err e = file_read(path, &pem, info);
    if (e == ERR_OK && cert_chain_parse(&chain, buf_span(&pem), info) == ERR_OK)
        *len = i2d_X509(sk_X509_value(chain, 0), der);
    sk_X509_pop_free(chain, X509_free);
    buf_clear(&pem);
    return *der != NULL;
}

static int revoke(struct call *c, size_t index, size_t k, const struct revoke_args *args)
{
    struct issuer *is = issuers_account(c->issuers, index, k);
    struct err_info info = { "" };
    struct buf key;
    unsigned char *der = NULL;
    int len = 0, status = 1;
    if (args->cert == NULL)
        return admin_usage("say which: --cert FILE");
    buf_init(&key, FILE_MAX);
    if (!read_leaf(args->cert, &der, &len, &info) ||
        (args->key != NULL && file_read(args->key, &key, &info) != ERR_OK)) {
        (void)fprintf(stderr, "lanyard-provisiond: %s\n", info.text);
    } else {
        struct issuer_revocation what = { { der, (size_t)len },
                                          (enum issuer_reason)args->reason,
                                          buf_span(&key) };
        is->ops->revoke(is, &what, on_done, c);
        status = went_well(c, is) ? 0 : 1;
        if (status == 0)
            (void)puts("revoked");
    }
    OPENSSL_free(der);
    buf_wipe(&key);
    return status;
}

/* --- the command --- */

struct options {
    size_t account; /* from 0 */
    struct revoke_args revoke;
};

static bool read_options(int argc, char **argv, struct options *out)
{
    for (int i = 0; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--account") == 0)
            out->account = (size_t)strtoul(argv[i + 1], NULL, 10) - 1;
        else if (strcmp(argv[i], "--cert") == 0)
            out->revoke.cert = argv[i + 1];
        else if (strcmp(argv[i], "--key") == 0)
            out->revoke.key = argv[i + 1];
        else if (strcmp(argv[i], "--reason") == 0)
            out->revoke.reason = atoi(argv[i + 1]);
        else
            return false;
    }
    return argc % 2 == 0;
}

static int on_issuer(struct call *c, const char *verb, const char *name, const struct options *o)
{
    const struct config *cfg = c->admin->config;
    size_t i = 0;
    while (i < cfg->n_issuers && strcmp(cfg->issuers[i].name, name) != 0)
        i++;
    if (i == cfg->n_issuers)
        return admin_usage("there is no issuer \"%s\" in the configuration", name);
    if (o->account >= issuers_n_accounts(c->issuers, i))
        return admin_usage("issuer \"%s\" has %zu accounts", name,
                           issuers_n_accounts(c->issuers, i));
    if (strcmp(verb, "show") == 0)
        return show(c, i);
    if (strcmp(verb, "register") == 0)
        return change(c, i, o->account, ISSUER_ACCOUNT_UPDATE);
    if (strcmp(verb, "rollover") == 0)
        return change(c, i, o->account, ISSUER_ACCOUNT_ROLLOVER);
    if (strcmp(verb, "deactivate") == 0)
        return change(c, i, o->account, ISSUER_ACCOUNT_DEACTIVATE);
    if (strcmp(verb, "revoke") == 0 && cfg->issuers[i].is_local)
        return admin_usage("certificates of a local CA are revoked by device revoke");
    if (strcmp(verb, "revoke") == 0)
        return revoke(c, i, o->account, &o->revoke);
    return admin_usage("issuer has no command '%s'", verb);
}

static int dispatch(struct call *c, int argc, char **argv)
{
    struct options o = { .account = 0 };
    if (strcmp(argv[0], "list") == 0 && argc == 1)
        return list(c);
    if (argc < 2)
        return admin_usage("issuer %s: say which", argv[0]);
    if (strcmp(argv[0], "caa") == 0)
        return caa(c, argv[1]);
    if (strcmp(argv[0], "persist") == 0)
        return persist(c, argv[1]);
    if (!read_options(argc - 2, argv + 2, &o))
        return admin_usage("issuer %s: wrong options", argv[0]);
    return on_issuer(c, argv[0], argv[1], &o);
}

int admin_issuer(const struct admin *a, int argc, char **argv)
{
    struct call c = { .admin = a };
    struct err_info info = { "" };
    if (argc >= 1 && strcmp(argv[0], "revoke") != 0 && strcmp(argv[0], "caa") != 0)
        c.json = admin_take_json(&argc, argv);
    if (argc < 1)
        return admin_usage("issuer list|show|register|rollover|deactivate|revoke|caa|persist");
    log_init("provisiond", LOG_LEVEL_WARN);
    enum err e = loop_new(&c.loop);
    if (e == ERR_OK)
        e = issuers_open(&c.issuers, c.loop, a->config, &info);
    int status = e == ERR_OK ? dispatch(&c, argc, argv) : admin_end(e, &info);
    issuers_free(c.issuers);
    loop_free(c.loop);
    return status;
}
