#include "provisiond/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/conf/conf.h"
#include "provisiond/acme/challenge.h"
#include "common/store/challenge.h"
#include "provisiond/core/jwt.h"
#include "provisiond/store/node.h"
#include "provisiond/tagkeys.h"

#define ZONE_NAME_MAX 180 /* bytes: leaves room for _acme-challenge, the id and the dots in 253 */
#define DAY_S 86400
#define LISTEN_DEFAULT "127.0.0.1:8443"

static cfg_opt_t issuer_opts[] = {
    CFG_STR("type", NULL, CFGF_NONE),
    CFG_STR("directory", NULL, CFGF_NONE),
    CFG_STR("ca_file", NULL, CFGF_NONE),
    CFG_STR("contact", NULL, CFGF_NONE),
    CFG_STR("account_key", NULL, CFGF_NONE),
    CFG_STR_LIST("eab_kid", NULL, CFGF_NONE),
    CFG_STR_LIST("eab_hmac_file", NULL, CFGF_NONE),
    CFG_STR("dir", NULL, CFGF_NONE),
    CFG_STR("profile", NULL, CFGF_NONE),
    CFG_STR("prefer_chain", NULL, CFGF_NONE),
    CFG_STR("challenge", NULL, CFGF_NONE),
    CFG_INT("accounts", 1, CFGF_NONE),
    CFG_INT("lifetime_days", 0, CFGF_NONE),
    CFG_BOOL("agree_terms", cfg_true, CFGF_NONE),
    CFG_INT("validity_days", 90, CFGF_NONE),
    CFG_STR("crl_file", NULL, CFGF_NONE),
    CFG_STR("crl_url", NULL, CFGF_NONE),
    CFG_STR("limit_orders", NULL, CFGF_NONE),
    CFG_STR("limit_domain", NULL, CFGF_NONE),
    CFG_STR("limit_names", NULL, CFGF_NONE),
    CFG_STR("limit_failures", NULL, CFGF_NONE),
    CFG_BOOL("renewals_exempt", cfg_true, CFGF_NONE),
    CFG_INT("orders_at_once", 2000, CFGF_NONE),
    CFG_INT("windows_per_second", 50, CFGF_NONE),
    CFG_END(),
};

static cfg_opt_t zone_opts[] = {
    CFG_STR_LIST("issuers", NULL, CFGF_NONE),    CFG_STR("enroll", "token", CFGF_NONE),
    CFG_STR("challenges", NULL, CFGF_NONE),      CFG_STR_LIST("nameservers", NULL, CFGF_NONE),
    CFG_STR("tag_keys", NULL, CFGF_NONE),        CFG_STR("factory_ca", NULL, CFGF_NONE),
    CFG_BOOL("bare_name", cfg_false, CFGF_NONE), CFG_STR("allow_devices", NULL, CFGF_NONE),
    CFG_STR("deny_devices", NULL, CFGF_NONE),    CFG_STR("suspended", NULL, CFGF_NONE),
    CFG_STR("oidc_issuer", NULL, CFGF_NONE),     CFG_STR("oidc_audience", NULL, CFGF_NONE),
    CFG_STR("oidc_ca_file", NULL, CFGF_NONE),    CFG_END(),
};

static cfg_opt_t relay_opts[] = {
    CFG_STR("id", NULL, CFGF_NONE),
    CFG_STR("control", NULL, CFGF_NONE),
    CFG_STR("data", NULL, CFGF_NONE),
    CFG_STR("address", NULL, CFGF_NONE),
    CFG_INT("port", 443, CFGF_NONE),
    CFG_STR("key_file", NULL, CFGF_NONE),
    CFG_END(),
};

static cfg_opt_t root_opts[] = {
    CFG_STR("store", NULL, CFGF_NONE),
    CFG_STR("node", NULL, CFGF_NONE),
    CFG_STR_LIST("listen_device", NULL, CFGF_NONE),
    CFG_STR_LIST("proxy_protocol_from", NULL, CFGF_NONE),
    CFG_STR_LIST("listen_public", NULL, CFGF_NONE),
    CFG_STR("metrics", NULL, CFGF_NONE),
    CFG_STR("tls_cert", NULL, CFGF_NONE),
    CFG_STR("tls_key", NULL, CFGF_NONE),
    CFG_STR_LIST("server_names", NULL, CFGF_NONE),
    CFG_STR("user", NULL, CFGF_NONE),
    CFG_STR("log_level", "info", CFGF_NONE),
    CFG_STR("log_format", "text", CFGF_NONE),
    CFG_INT("orders_per_day", 20, CFGF_NONE),
    CFG_INT("active_days", 30, CFGF_NONE),
    CFG_INT("failover_percent", 25, CFGF_NONE),
    CFG_INT("enroll_per_hour", 60, CFGF_NONE),
    CFG_INT("enroll_per_hour_net", 0, CFGF_NONE),
    CFG_STR("blocked_keys", NULL, CFGF_NONE),
    CFG_STR_LIST("web_proxy_protocol_from", NULL, CFGF_NONE),
    CFG_STR_LIST("web_origins", NULL, CFGF_NONE),
    CFG_INT("web_per_minute", 120, CFGF_NONE),
    CFG_INT("pair_per_hour", 30, CFGF_NONE),
    CFG_STR("companion_dir", NULL, CFGF_NONE),
    CFG_SEC("issuer", issuer_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
    CFG_SEC("zone", zone_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
    CFG_SEC("relay", relay_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
    CFG_END(),
};

struct reader {
    struct conf *conf;
    struct config *out;
    struct err_info *info;
};

#define FAIL(r, sec, key, ...) conf_fail((r)->conf, (sec), (key), (r)->info, __VA_ARGS__)

static enum err no_memory(struct reader *r)
{
    return err_set(r->info, ERR_NOMEM, "out of memory");
}

/* Copies a string option; an unset one stays NULL. */
static enum err copy(struct reader *r, cfg_t *sec, const char *key, char **out)
{
    const char *v = cfg_getstr(sec, key);
    if (v == NULL)
        return ERR_OK;
    if (v[0] == 0)
        return FAIL(r, sec, key, "is empty: give it a value or leave it out");
    *out = strdup(v);
    return *out != NULL ? ERR_OK : no_memory(r);
}

static enum err copy_path(struct reader *r, cfg_t *sec, const char *key, char **out)
{
    char *v = NULL;
    enum err e = copy(r, sec, key, &v);
    if (e == ERR_OK && v != NULL) {
        *out = conf_path(r->conf, v);
        e = *out != NULL ? ERR_OK : no_memory(r);
    }
    free(v);
    return e;
}

/* A path that must be readable now, not at the first use. */
static enum err copy_file(struct reader *r, cfg_t *sec, const char *key, char **out)
{
    enum err e = copy_path(r, sec, key, out);
    if (e == ERR_OK && *out != NULL && access(*out, R_OK) != 0)
        e = FAIL(r, sec, key, "cannot read %s: check that it is there and who may read it", *out);
    return e;
}

/* A path that is written later, in a folder that must be there now. */
static enum err copy_new_file(struct reader *r, cfg_t *sec, const char *key, char **out)
{
    enum err e = copy_path(r, sec, key, out);
    if (e != ERR_OK || *out == NULL)
        return e;
    char *folder = strdup(*out);
    if (folder == NULL)
        return no_memory(r);
    if (access(dirname(folder), F_OK) != 0 && errno == ENOENT)
        e = FAIL(r, sec, key, "%s is to be written, but its folder is not there: make it", *out);
    free(folder);
    return e;
}

static enum err copy_store(struct reader *r, cfg_t *sec, const char *key, char **out)
{
    static const char SQLITE[] = "sqlite:";
    const char *v = cfg_getstr(sec, key);
    struct err_info why;
    bool has_password;
    if (v == NULL)
        return ERR_OK;
    if (challenge_url_check(v, &has_password, &why) != ERR_OK)
        return FAIL(r, sec, key, "%s", why.text);
    if (has_password && conf_is_open(r->conf))
        return FAIL(r, sec, key,
                    "the URL has a password, but the file is open to others: chmod 640, or use "
                    "passfile=PATH instead");
    if (strncmp(v, SQLITE, sizeof SQLITE - 1) != 0) {
        *out = strdup(v);
        return *out != NULL ? ERR_OK : no_memory(r);
    }
    char *path = conf_path(r->conf, v + sizeof SQLITE - 1);
    if (path == NULL)
        return no_memory(r);
    if (asprintf(out, "%s%s", SQLITE, path) < 0)
        *out = NULL;
    free(path);
    return *out != NULL ? ERR_OK : no_memory(r);
}

/* The host name alone would be that of two services on one machine, too. */
static enum err read_node(struct reader *r, cfg_t *root, struct config *c)
{
    char host[HOST_NAME_MAX + 1] = "", text[ADDR_TEXT_MAX];
    enum err e = copy(r, root, "node", &c->node);
    if (e == ERR_OK && c->node != NULL && strlen(c->node) >= NODE_NAME_MAX)
        e = FAIL(r, root, "node", "has at most %d bytes", NODE_NAME_MAX - 1);
    if (e != ERR_OK || c->node != NULL)
        return e;
    (void)gethostname(host, sizeof host - 1);
    addr_format(&c->device.addr, text);
    if (asprintf(&c->node, "%s/%s", host, text) < 0)
        c->node = NULL;
    return c->node != NULL ? ERR_OK : no_memory(r);
}

static enum err note_where(struct reader *r, cfg_t *sec, const char *key, char **out)
{
    *out = conf_where(r->conf, sec, key);
    return *out != NULL ? ERR_OK : no_memory(r);
}

/* Who starts without being root cannot become anybody, and needs no user. */
static enum err copy_user(struct reader *r, cfg_t *root, struct config *c)
{
    enum err e = copy(r, root, "user", &c->user);
    if (e == ERR_OK && c->user != NULL && geteuid() == 0 && getpwnam(c->user) == NULL)
        e = FAIL(r, root, "user", "there is no user '%s': make it (adduser --system --group %s)",
                 c->user, c->user);
    return e == ERR_OK ? note_where(r, root, "user", &c->user_where) : e;
}

/* Without the option it is `absent`; NULL: not served. */
static enum err read_listen(struct reader *r, const char *key, const char *absent,
                            struct config_listen *out)
{
    cfg_t *root = conf_root(r->conf);
    unsigned n = cfg_size(root, key);
    const char *v = n > 0 ? cfg_getstr(root, key) : absent;
    struct err_info why;
    if (v == NULL)
        return ERR_OK;
    if (n > HTTPD_SOCKETS_MAX)
        return FAIL(r, root, key, "more than %d addresses", HTTPD_SOCKETS_MAX);
    if (addr_parse(&out->addr, v, &why) != ERR_OK)
        return FAIL(r, root, key, "%s", why.text);
    for (unsigned i = 1; i < n; i++) {
        if (addr_parse(&out->more[out->n_more++], cfg_getnstr(root, key, i), &why) != ERR_OK)
            return FAIL(r, root, key, "%s", why.text);
    }
    out->set = true;
    return note_where(r, root, key, &out->where);
}

static enum err read_tag_keys(struct reader *r, cfg_t *sec, struct tagkeys **out)
{
    struct err_info why;
    char *path = NULL;
    enum err e = copy_path(r, sec, "tag_keys", &path);
    if (e == ERR_OK && path != NULL && tagkeys_new(out, path, r->out->user, &why) != ERR_OK)
        e = FAIL(r, sec, "tag_keys", "%s", why.text);
    free(path);
    return e;
}

/* What an acme issuer asks the CA for. */
static enum err read_wishes(struct reader *r, cfg_t *sec, struct config_issuer *is)
{
    long accounts = cfg_getint(sec, "accounts"), days = cfg_getint(sec, "lifetime_days");
    enum err e = copy(r, sec, "profile", &is->profile);
    if (e == ERR_OK)
        e = copy(r, sec, "prefer_chain", &is->prefer_chain);
    if (e == ERR_OK)
        e = copy(r, sec, "challenge", &is->challenge);
    if (e == ERR_OK && challenge_kind_find(is->challenge) == NULL)
        e = FAIL(r, sec, "challenge", "there is no challenge of type %s", is->challenge);
    if (e == ERR_OK && (accounts < 1 || accounts > CONFIG_ACCOUNTS_MAX))
        e = FAIL(r, sec, "accounts", "must be 1 to %d", CONFIG_ACCOUNTS_MAX);
    if (e == ERR_OK && (days < 0 || days > 398))
        e = FAIL(r, sec, "lifetime_days", "must be 1 to 398, or 0 for the CA's choice");
    is->n_accounts = (size_t)accounts;
    is->lifetime_s = (int64_t)days * DAY_S;
    is->agree_terms = cfg_getbool(sec, "agree_terms") == cfg_true;
    return e;
}

/* External account binding: CAs that ask for it may take each kid once. */
static enum err read_bindings(struct reader *r, cfg_t *sec, struct config_issuer *is)
{
    unsigned n = cfg_size(sec, "eab_kid");
    if (n != cfg_size(sec, "eab_hmac_file"))
        return FAIL(r, sec, NULL,
                    "eab_kid and eab_hmac_file go together, as many of one as of the "
                    "other");
    if (n > 1 && n != is->n_accounts)
        return FAIL(r, sec, "eab_kid", "give one for all accounts, or one for each of the %zu",
                    is->n_accounts);
    for (unsigned i = 0; i < n; i++) {
        const char *kid = cfg_getnstr(sec, "eab_kid", i);
        if (kid[0] == 0)
            return FAIL(r, sec, "eab_kid", "is empty: give it a value or leave it out");
        is->eab_kid[i] = strdup(kid);
        is->eab_hmac_file[i] = conf_path(r->conf, cfg_getnstr(sec, "eab_hmac_file", i));
        is->n_eab = i + 1;
        if (is->eab_kid[i] == NULL || is->eab_hmac_file[i] == NULL)
            return no_memory(r);
        if (access(is->eab_hmac_file[i], R_OK) != 0)
            return FAIL(r, sec, "eab_hmac_file",
                        "cannot read %s: check that it is there and who may read it",
                        is->eab_hmac_file[i]);
    }
    return ERR_OK;
}

static enum err read_acme(struct reader *r, cfg_t *sec, struct config_issuer *is)
{
    enum err e = copy(r, sec, "directory", &is->directory);
    if (e == ERR_OK && is->directory == NULL)
        e = FAIL(r, sec, NULL, "an acme issuer needs directory = \"https://...\"");
    if (e == ERR_OK && strncmp(is->directory, "https://", 8) != 0)
        e = FAIL(r, sec, "directory", "must begin with https://");
    if (e == ERR_OK)
        e = copy_path(r, sec, "account_key", &is->account_key);
    if (e == ERR_OK && is->account_key == NULL)
        e = FAIL(r, sec, NULL, "an acme issuer needs account_key = \"FILE\" (made where missing)");
    if (e == ERR_OK)
        e = copy_file(r, sec, "ca_file", &is->ca_file);
    if (e == ERR_OK)
        e = copy(r, sec, "contact", &is->contact);
    if (e == ERR_OK)
        e = read_wishes(r, sec, is);
    return e == ERR_OK ? read_bindings(r, sec, is) : e;
}

static enum err read_limit(struct reader *r, cfg_t *sec, const char *key, enum bucket_kind kind,
                           struct bucket_limit *out)
{
    const char *v = cfg_getstr(sec, key);
    *out = bucket_limit_default(kind);
    if (v != NULL && bucket_limit_parse(out, v) != ERR_OK)
        return FAIL(r, sec, key, "'%s' is no limit: write COUNT/PERIOD as in \"300/3h\", or none",
                    v);
    return ERR_OK;
}

static enum err read_int(struct reader *r, cfg_t *sec, const char *key, long low, long high,
                         int64_t *out)
{
    long v = cfg_getint(sec, key);
    if (v < low || v > high)
        return FAIL(r, sec, key, "must be %ld to %ld", low, high);
    *out = v;
    return ERR_OK;
}

static enum err read_pace(struct reader *r, cfg_t *sec, struct config_issuer *is)
{
    enum err e = read_limit(r, sec, "limit_orders", BUCKET_ORDERS, &is->limit[BUCKET_ORDERS]);
    if (e == ERR_OK)
        e = read_limit(r, sec, "limit_domain", BUCKET_DOMAIN, &is->limit[BUCKET_DOMAIN]);
    if (e == ERR_OK)
        e = read_limit(r, sec, "limit_names", BUCKET_SET, &is->limit[BUCKET_SET]);
    if (e == ERR_OK)
        e = read_limit(r, sec, "limit_failures", BUCKET_FAILURES, &is->limit[BUCKET_FAILURES]);
    if (e == ERR_OK)
        e = read_int(r, sec, "orders_at_once", 1, 100000, &is->orders_at_once);
    if (e == ERR_OK)
        e = read_int(r, sec, "windows_per_second", 1, 1000, &is->windows_per_second);
    is->renewals_exempt = cfg_getbool(sec, "renewals_exempt") == cfg_true;
    return e;
}

static enum err read_issuer(struct reader *r, cfg_t *sec, struct config_issuer *is)
{
    const char *type = cfg_getstr(sec, "type");
    is->name = strdup(cfg_title(sec));
    is->where = conf_where(r->conf, sec, "type");
    if (is->name == NULL || is->where == NULL)
        return no_memory(r);
    if (strlen(is->name) == 0 || strlen(is->name) > 60)
        return FAIL(r, sec, NULL, "the name of an issuer has 1 to 60 characters");
    if (type != NULL && strcmp(type, "acme") == 0) {
        enum err e = read_pace(r, sec, is);
        return e == ERR_OK ? read_acme(r, sec, is) : e;
    }
    if (type == NULL || strcmp(type, "local") != 0)
        return FAIL(r, sec, "type", "must be \"acme\" or \"local\"");
    is->is_local = true; /* nobody counts what it issues */
    is->renewals_exempt = true;
    enum err e = read_int(r, sec, "orders_at_once", 1, 100000, &is->orders_at_once);
    if (e != ERR_OK)
        return e;
    long days = cfg_getint(sec, "validity_days");
    if (days < 1 || days > 825)
        return FAIL(r, sec, "validity_days", "must be 1 to 825: browsers refuse longer ones");
    is->validity_s = (int64_t)days * DAY_S;
    e = copy_path(r, sec, "dir", &is->dir);
    if (e == ERR_OK && is->dir == NULL)
        e = FAIL(r, sec, NULL, "a local issuer needs dir = \"FOLDER\" (made where missing)");
    if (e == ERR_OK)
        e = copy_path(r, sec, "crl_file", &is->crl_file);
    if (e == ERR_OK)
        e = copy(r, sec, "crl_url", &is->crl_url);
    if (e == ERR_OK && is->crl_url != NULL && strncmp(is->crl_url, "http://", 7) != 0)
        e = FAIL(r, sec, "crl_url", "must begin with http://: clients fetch lists by nothing else");
    return e;
}

static bool is_domain(const char *name)
{
    size_t len = strlen(name), label = 0;
    if (len == 0 || len > ZONE_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (isalnum(c) || c == '-' || c == '_') {
            if (++label > 63)
                return false;
        } else {
            return false;
        }
    }
    return label > 0;
}

static enum err read_zone_issuers(struct reader *r, cfg_t *sec, struct config_zone *z)
{
    unsigned n = cfg_size(sec, "issuers");
    if (n == 0 || n > CONFIG_LIST_MAX)
        return FAIL(r, sec, conf_is_set(r->conf, sec, "issuers") ? "issuers" : NULL,
                    "a zone needs issuers = {\"NAME\"}, 1 to %d of them", CONFIG_LIST_MAX);
    for (unsigned i = 0; i < n; i++) {
        const char *name = cfg_getnstr(sec, "issuers", i);
        size_t k = 0;
        while (k < r->out->n_issuers && strcmp(r->out->issuers[k].name, name) != 0)
            k++;
        if (k == r->out->n_issuers)
            return FAIL(r, sec, "issuers", "there is no issuer \"%s\" { } in this file", name);
        z->issuers[z->n_issuers++] = k;
    }
    return ERR_OK;
}

static enum err read_zone_dns(struct reader *r, cfg_t *sec, struct config_zone *z)
{
    bool is_acme = false, has_values = false;
    for (size_t i = 0; i < z->n_issuers; i++) {
        const struct config_issuer *is = &r->out->issuers[z->issuers[i]];
        is_acme = is_acme || !is->is_local;
        has_values = has_values || (!is->is_local && challenge_kind_find(is->challenge)->has_token);
    }
    enum err e = copy_store(r, sec, "challenges", &z->challenges);
    if (e == ERR_OK)
        e = note_where(r, sec, "challenges", &z->challenges_where);
    unsigned n = cfg_size(sec, "nameservers");
    if (e == ERR_OK && n > CONFIG_LIST_MAX)
        e = FAIL(r, sec, "nameservers", "more than %d", CONFIG_LIST_MAX);
    for (unsigned i = 0; i < n && e == ERR_OK; i++) {
        struct err_info why;
        if (addr_parse(&z->nameservers[z->n_nameservers++], cfg_getnstr(sec, "nameservers", i),
                       &why) != ERR_OK)
            e = FAIL(r, sec, "nameservers", "%s", why.text);
    }
    if (e == ERR_OK && has_values && z->challenges == NULL)
        e = FAIL(r, sec, NULL, "an acme issuer needs challenges = \"sqlite:PATH\", read by dnsd");
    if (e == ERR_OK && is_acme && n == 0)
        e = FAIL(r, sec, NULL,
                 "an acme issuer needs nameservers = {\"ADDRESS:PORT\"}: where challenges are read "
                 "back before the CA is asked");
    return e;
}

static enum err read_zone_admission(struct reader *r, cfg_t *sec, struct config_zone *z)
{
    enum err e = note_where(r, sec, "enroll", &z->where);
    if (e == ERR_OK)
        e = copy_file(r, sec, "factory_ca", &z->factory_ca);
    if (e == ERR_OK && (z->enroll == CONFIG_ENROLL_FACTORY) != (z->factory_ca != NULL))
        e = FAIL(r, sec, "enroll", "enroll = \"factory\" and factory_ca = \"FILE\" go together");
    if (e == ERR_OK)
        e = copy_file(r, sec, "allow_devices", &z->allow_devices);
    if (e == ERR_OK)
        e = copy_file(r, sec, "deny_devices", &z->deny_devices);
    return e == ERR_OK ? copy_new_file(r, sec, "suspended", &z->suspended) : e;
}

static enum err read_zone_accounts(struct reader *r, cfg_t *sec, struct config_zone *z)
{
    enum err e = copy(r, sec, "oidc_issuer", &z->oidc_issuer);
    if (e == ERR_OK)
        e = copy(r, sec, "oidc_audience", &z->oidc_audience);
    if (e == ERR_OK)
        e = copy_file(r, sec, "oidc_ca_file", &z->oidc_ca_file);
    if (e == ERR_OK && (z->oidc_issuer == NULL) != (z->oidc_audience == NULL))
        e = FAIL(r, sec, z->oidc_issuer != NULL ? "oidc_issuer" : "oidc_audience",
                 "oidc_issuer and oidc_audience go together");
    if (e == ERR_OK && z->oidc_issuer != NULL && strncmp(z->oidc_issuer, "https://", 8) != 0)
        e = FAIL(r, sec, "oidc_issuer", "must begin with https://");
    if (e == ERR_OK && z->oidc_issuer != NULL &&
        (strlen(z->oidc_issuer) >= JWT_URL_MAX || strlen(z->oidc_audience) >= JWT_URL_MAX))
        e = FAIL(r, sec, "oidc_issuer", "issuer and audience have at most %d bytes",
                 JWT_URL_MAX - 1);
    return e;
}

static enum err read_zone(struct reader *r, cfg_t *sec, struct config_zone *z)
{
    const char *title = cfg_title(sec), *enroll = cfg_getstr(sec, "enroll");
    if (!is_domain(title))
        return FAIL(r, sec, NULL, "is not a domain name of at most %d bytes, without final dot",
                    ZONE_NAME_MAX);
    if ((z->name = strdup(title)) == NULL)
        return no_memory(r);
    for (char *p = z->name; *p != 0; p++)
        *p = (char)tolower((unsigned char)*p);
    if (config_zone_find(r->out, z->name) != z)
        return FAIL(r, sec, NULL, "is there twice: remove one");
    if (strcmp(enroll, "open") == 0)
        z->enroll = CONFIG_ENROLL_OPEN;
    else if (strcmp(enroll, "token") == 0)
        z->enroll = CONFIG_ENROLL_TOKEN;
    else if (strcmp(enroll, "factory") == 0)
        z->enroll = CONFIG_ENROLL_FACTORY;
    else
        return FAIL(r, sec, "enroll", "must be \"open\", \"token\" or \"factory\"");
    z->bare_name = cfg_getbool(sec, "bare_name") == cfg_true;
    enum err e = read_zone_issuers(r, sec, z);
    if (e == ERR_OK)
        e = read_zone_dns(r, sec, z);
    if (e == ERR_OK)
        e = read_tag_keys(r, sec, &z->tag_keys);
    if (e == ERR_OK)
        e = read_zone_accounts(r, sec, z);
    return e == ERR_OK ? read_zone_admission(r, sec, z) : e;
}

/* "HOST:PORT"; *host_len is set to the length of its host. */
static enum err read_relay_end(struct reader *r, cfg_t *sec, const char *key,
                               char out[RELAYS_END_MAX], size_t *host_len)
{
    const char *v = cfg_getstr(sec, key), *colon = v != NULL ? strrchr(v, ':') : NULL;
    char *end = NULL;
    long port = colon != NULL ? strtol(colon + 1, &end, 10) : 0;
    if (port < 1 || port > 65535 || *end != 0 || colon == v || strlen(v) >= RELAYS_END_MAX ||
        strcspn(v, "/@?# \"\\") != strlen(v))
        return FAIL(r, sec, key, "is needed: \"HOST:PORT\", where devices find the relay");
    *host_len = (size_t)(colon - v);
    memcpy(out, v, strlen(v) + 1);
    return ERR_OK;
}

static enum err read_relay_address(struct reader *r, cfg_t *sec, struct relays_entry *relay)
{
    const char *v = cfg_getstr(sec, "address");
    struct ip ip = { .family = 4 };
    if (v == NULL)
        return FAIL(r, sec, NULL, "a relay needs address = \"IP\": where browsers connect");
    if (inet_pton(AF_INET, v, ip.bytes) != 1) {
        ip.family = 6;
        if (inet_pton(AF_INET6, v, ip.bytes) != 1)
            return FAIL(r, sec, "address", "'%s' is no IP address", v);
    }
    relay->address = ip;
    return ERR_OK;
}

static enum err read_relay_keys(struct reader *r, cfg_t *sec, struct relays_entry *relay)
{
    char *path = NULL;
    struct buf text;
    struct err_info why;
    const struct passwd *pw = r->out->user != NULL ? getpwnam(r->out->user) : NULL;
    enum err e = copy_path(r, sec, "key_file", &path);
    if (e == ERR_OK && path == NULL)
        e = FAIL(r, sec, NULL,
                 "a relay needs key_file = \"FILE\", the same as the relay has (openssl rand -hex "
                 "32 > FILE; chmod 600 FILE)");
    if (e != ERR_OK)
        return e;
    buf_init(&text, 4096);
    if (file_read_secret_of(path, pw != NULL ? pw->pw_uid : geteuid(), &text, &why) != ERR_OK)
        e = FAIL(r, sec, "key_file", "%s", why.text);
    else if (relayticket_keys_parse(&relay->keys, buf_span(&text), &why) != ERR_OK)
        e = FAIL(r, sec, "key_file", "%s: %s", path, why.text);
    buf_wipe(&text);
    free(path);
    return e;
}

static enum err read_relay(struct reader *r, cfg_t *sec, struct relays_entry *relay)
{
    const char *id = cfg_getstr(sec, "id");
    size_t control_host = 0, data_host = 0;
    int64_t port = 0;
    if (!relayticket_is_name(cfg_title(sec)))
        return FAIL(r, sec, NULL, "the name of a relay has 1 to %d of a-z, 0-9 and -",
                    RELAYTICKET_NAME_MAX);
    (void)snprintf(relay->name, sizeof relay->name, "%s", cfg_title(sec));
    if (id == NULL || !devid_is_valid(span_str(id)))
        return FAIL(r, sec, id != NULL ? "id" : NULL,
                    "a relay needs id = \"...\", as lanyard-relay --id prints it");
    memcpy(relay->id.text, id, sizeof relay->id.text);
    enum err e = read_relay_end(r, sec, "control", relay->control, &control_host);
    if (e == ERR_OK)
        e = read_relay_end(r, sec, "data", relay->data, &data_host);
    /* a device must come to the one that called it, whatever addresses the host has */
    if (e == ERR_OK &&
        (control_host != data_host || strncasecmp(relay->control, relay->data, data_host) != 0))
        e = FAIL(r, sec, "data", "must have the host of control");
    if (e == ERR_OK)
        e = read_relay_address(r, sec, relay);
    if (e == ERR_OK)
        e = read_int(r, sec, "port", 1, 65535, &port);
    relay->port = (uint16_t)port;
    return e == ERR_OK ? read_relay_keys(r, sec, relay) : e;
}

static enum err add_relay(struct reader *r, cfg_t *sec)
{
    struct relays_entry relay = { .port = 0 };
    enum err e = read_relay(r, sec, &relay);
    if (e == ERR_OK && relays_add(r->out->relays, &relay) != ERR_OK)
        e = FAIL(r, sec, NULL, "is there twice: remove one");
    explicit_bzero(&relay, sizeof relay);
    return e;
}

static enum err read_proxies(struct reader *r, const char *key, struct config_proxies *out)
{
    cfg_t *root = conf_root(r->conf);
    unsigned n = cfg_size(root, key);
    struct err_info why;
    if (n > CONFIG_LIST_MAX)
        return FAIL(r, root, key, "more than %d", CONFIG_LIST_MAX);
    for (unsigned i = 0; i < n; i++) {
        const char *v = cfg_getnstr(root, key, i);
        if (cidr_parse(&out->from[out->n++], v, &why) != ERR_OK)
            return FAIL(r, root, key, "%s", why.text);
    }
    return ERR_OK;
}

/* As browsers send them: scheme, host and port, nothing behind. [RFC 6454 s6.2] */
static bool is_origin(const char *text)
{
    const char *host = strstr(text, "://");
    return host != NULL && host != text && host[3] != 0 && strpbrk(host + 3, "/ ,*?#@") == NULL;
}

/* What the browser-facing listener is told. */
static enum err read_web(struct reader *r)
{
    cfg_t *root = conf_root(r->conf);
    struct config *c = r->out;
    unsigned n = cfg_size(root, "web_origins");
    if (n > CONFIG_LIST_MAX)
        return FAIL(r, root, "web_origins", "more than %d", CONFIG_LIST_MAX);
    for (unsigned i = 0; i < n; i++) {
        const char *v = cfg_getnstr(root, "web_origins", i);
        if (!is_origin(v))
            return FAIL(r, root, "web_origins",
                        "'%s' is no origin: write \"https://HOST\" or \"https://HOST:PORT\"", v);
        if ((c->web_origins[c->n_web_origins++] = strdup(v)) == NULL)
            return no_memory(r);
    }
    enum err e = read_proxies(r, "web_proxy_protocol_from", &c->public_proxies);
    if (e == ERR_OK)
        e = read_int(r, root, "web_per_minute", 1, 1000000, &c->web_per_minute);
    if (e == ERR_OK)
        e = read_int(r, root, "pair_per_hour", 1, 1000000, &c->pair_per_hour);
    if (e == ERR_OK)
        e = copy_file(r, root, "companion_dir", &c->companion_dir);
    return e == ERR_OK ? note_where(r, root, "companion_dir", &c->companion_where) : e;
}

static enum err read_server_names(struct reader *r, cfg_t *root)
{
    unsigned n = cfg_size(root, "server_names");
    if (n > CONFIG_LIST_MAX)
        return FAIL(r, root, "server_names", "more than %d", CONFIG_LIST_MAX);
    for (unsigned i = 0; i < n; i++) {
        const char *v = cfg_getnstr(root, "server_names", i);
        if (!is_domain(v))
            return FAIL(r, root, "server_names", "'%s' is not a domain name", v);
        if ((r->out->server_names[r->out->n_server_names++] = strdup(v)) == NULL)
            return no_memory(r);
    }
    return ERR_OK;
}

static enum err read_tls(struct reader *r, cfg_t *root, struct config *c)
{
    enum err e = copy_file(r, root, "tls_cert", &c->tls_cert);
    if (e == ERR_OK)
        e = copy_file(r, root, "tls_key", &c->tls_key);
    if (e == ERR_OK && (c->tls_cert == NULL) != (c->tls_key == NULL))
        e = FAIL(r, root, c->tls_cert != NULL ? "tls_cert" : "tls_key",
                 "tls_cert and tls_key go together");
    return e == ERR_OK ? note_where(r, root, "tls_cert", &c->tls_where) : e;
}

static enum err read_store(struct reader *r, cfg_t *root, struct config *c)
{
    enum err e = copy_store(r, root, "store", &c->store);
    if (e == ERR_OK && c->store == NULL)
        e = FAIL(r, root, "store", "is missing: write store = \"sqlite:provisiond.db\"");
    return e == ERR_OK ? note_where(r, root, "store", &c->store_where) : e;
}

static enum err read_root(struct reader *r)
{
    cfg_t *root = conf_root(r->conf);
    struct config *c = r->out;
    enum err e = conf_read_log(r->conf, &c->log_level, r->info);
    if (e == ERR_OK)
        e = read_store(r, root, c);
    if (e == ERR_OK)
        e = read_listen(r, "listen_device", LISTEN_DEFAULT, &c->device);
    if (e == ERR_OK)
        e = read_proxies(r, "proxy_protocol_from", &c->device_proxies);
    if (e == ERR_OK)
        e = read_node(r, root, c);
    if (e == ERR_OK)
        e = read_listen(r, "listen_public", NULL, &c->public_);
    if (e == ERR_OK)
        e = read_listen(r, "metrics", NULL, &c->metrics);
    if (e == ERR_OK)
        e = read_tls(r, root, c);
    if (e == ERR_OK)
        e = read_server_names(r, root);
    if (e == ERR_OK)
        e = copy_user(r, root, c);
    if (e == ERR_OK)
        e = read_int(r, root, "orders_per_day", 1, 1000000, &c->orders_per_day);
    if (e == ERR_OK)
        e = read_int(r, root, "active_days", 1, 3650, &c->active_days);
    if (e == ERR_OK)
        e = read_int(r, root, "failover_percent", 0, 90, &c->failover_percent);
    if (e == ERR_OK)
        e = read_int(r, root, "enroll_per_hour", 1, 1000000, &c->enroll_per_hour);
    c->enroll_per_hour_net = 10 * c->enroll_per_hour;
    if (e == ERR_OK && conf_is_set(r->conf, root, "enroll_per_hour_net"))
        e = read_int(r, root, "enroll_per_hour_net", 1, 1000000, &c->enroll_per_hour_net);
    if (e == ERR_OK)
        e = copy_file(r, root, "blocked_keys", &c->blocked_keys);
    if (e == ERR_OK)
        e = note_where(r, root, "blocked_keys", &c->blocked_where);
    return e;
}

static enum err read_sections(struct reader *r)
{
    cfg_t *root = conf_root(r->conf);
    unsigned n_issuers = cfg_size(root, "issuer"), n_zones = cfg_size(root, "zone");
    unsigned n_relays = cfg_size(root, "relay");
    enum err e = ERR_OK;
    if (n_issuers > CONFIG_LIST_MAX || n_zones > CONFIG_LIST_MAX || n_relays > CONFIG_LIST_MAX)
        return FAIL(r, root, NULL, "more than %d issuers, zones or relays", CONFIG_LIST_MAX);
    for (unsigned i = 0; i < n_issuers && e == ERR_OK; i++)
        e = read_issuer(r, cfg_getnsec(root, "issuer", i), &r->out->issuers[r->out->n_issuers++]);
    for (unsigned i = 0; i < n_zones && e == ERR_OK; i++)
        e = read_zone(r, cfg_getnsec(root, "zone", i), &r->out->zones[r->out->n_zones++]);
    for (unsigned i = 0; i < n_relays && e == ERR_OK; i++)
        e = add_relay(r, cfg_getnsec(root, "relay", i));
    if (e == ERR_OK && n_zones == 0)
        e = FAIL(r, root, "zone", "there is none: write zone \"direct.example\" { ... }");
    if (e == ERR_OK && r->out->tls_cert == NULL && config_local_issuer(r->out) == NULL)
        e = FAIL(
            r, root, "tls_cert",
            "set tls_cert and tls_key, or add issuer \"local\" { type = \"local\" dir = \"ca\" } "
            "to have them made");
    return e;
}

enum err config_load(struct config **out, const char *path, struct err_info *info)
{
    struct conf *conf = NULL;
    struct config *c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    (void)err_set(info, ERR_NOMEM, "out of memory");
    c->path = strdup(path);
    enum err e = c->path != NULL ? relays_new(&c->relays) : ERR_NOMEM;
    if (e == ERR_OK)
        e = conf_load(&conf, path, root_opts, info);
    struct reader r = { conf, c, info };
    if (e == ERR_OK)
        e = read_root(&r);
    if (e == ERR_OK)
        e = read_web(&r);
    if (e == ERR_OK)
        e = read_sections(&r);
    conf_free(conf);
    if (e != ERR_OK) {
        config_free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void config_free(struct config *c)
{
    if (c == NULL)
        return;
    free(c->path);
    free(c->store);
    free(c->node);
    free(c->device.where);
    free(c->public_.where);
    free(c->metrics.where);
    free(c->tls_cert);
    free(c->tls_where);
    free(c->tls_key);
    free(c->user);
    free(c->store_where);
    free(c->user_where);
    free(c->blocked_keys);
    free(c->blocked_where);
    free(c->companion_dir);
    free(c->companion_where);
    for (size_t i = 0; i < c->n_web_origins; i++)
        free(c->web_origins[i]);
    for (size_t i = 0; i < c->n_server_names; i++)
        free(c->server_names[i]);
    for (size_t i = 0; i < c->n_issuers; i++) {
        struct config_issuer *is = &c->issuers[i];
        char *const all[] = { is->where,       is->name,    is->directory,    is->ca_file,
                              is->contact,     is->profile, is->prefer_chain, is->challenge,
                              is->account_key, is->dir,     is->crl_file,     is->crl_url };
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            free(all[k]);
        for (size_t k = 0; k < is->n_eab; k++) {
            free(is->eab_kid[k]);
            free(is->eab_hmac_file[k]);
        }
    }
    for (size_t i = 0; i < c->n_zones; i++) {
        struct config_zone *z = &c->zones[i];
        tagkeys_free(z->tag_keys);
        char *const all[] = { z->name,        z->challenges,    z->challenges_where, z->where,
                              z->factory_ca,  z->allow_devices, z->deny_devices,     z->suspended,
                              z->oidc_issuer, z->oidc_audience, z->oidc_ca_file };
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            free(all[k]);
    }
    relays_free(c->relays);
    free(c);
}

const struct config_zone *config_zone_find(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n_zones; i++) {
        if (strcasecmp(c->zones[i].name, name) == 0)
            return &c->zones[i];
    }
    return NULL;
}

bool config_is_untried_production(const struct config_issuer *is)
{
    static const char *const HOSTS[] = { "acme-v02.api.letsencrypt.org/",
                                         "dv.acme-v02.api.pki.goog/" };
    char path[4096];
    if (is->is_local)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(HOSTS); i++) {
        if (strncmp(is->directory + strlen("https://"), HOSTS[i], strlen(HOSTS[i])) != 0)
            continue;
        int n = snprintf(path, sizeof path, "%s.url", is->account_key);
        return n > 0 && (size_t)n < sizeof path && access(path, F_OK) != 0;
    }
    return false;
}

const struct config_issuer *config_local_issuer(const struct config *c)
{
    for (size_t i = 0; i < c->n_issuers; i++) {
        if (c->issuers[i].is_local)
            return &c->issuers[i];
    }
    return NULL;
}
