#include "dnsd/shieldconf.h"

#include <arpa/inet.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/secret.h"
#include "common/dns/tag.h"

#define SECRETS_FILE_MAX 4096
#define PER_SECOND_MAX 1000000
#define SLIP_MAX 100

/* The secrets in `text`, a file of the same form as that of tag keys. */
static enum err parse_secrets(struct cookie_keys *out, const char *path, struct span text,
                              struct err_info *info)
{
    struct tag_keys keys;
    struct err_info why;
    unsigned line = 0;
    enum err e = tag_keys_parse(&keys, text, &line, &why);
    if (e != ERR_OK)
        return err_set(info, ERR_CONFIG, "%s:%u: %s", path, line, why.text);
    out->n = keys.n;
    memcpy(out->key, keys.keys, sizeof out->key);
    explicit_bzero(&keys, sizeof keys);
    return ERR_OK;
}

static enum err read_secrets(struct shield *out, struct conf *c, const char *user,
                             struct err_info *info)
{
    const char *value = cfg_getstr(conf_root(c), "cookie_secrets");
    if (value == NULL || value[0] == 0) {
        out->cookies_are_random = true;
        out->cookies.n = 1;
        secret_random(out->cookies.key[0], sizeof out->cookies.key[0]);
        return ERR_OK;
    }
    struct buf text;
    buf_init(&text, SECRETS_FILE_MAX);
    char *path = conf_path(c, value);
    const struct passwd *pw = user != NULL && geteuid() == 0 ? getpwnam(user) : NULL;
    uid_t owner = pw != NULL ? pw->pw_uid : geteuid();
    struct err_info why = { .text = "out of memory" };
    enum err e = path == NULL ? ERR_NOMEM : file_read_secret_of(path, owner, &text, &why);
    if (e == ERR_OK)
        e = parse_secrets(&out->cookies, path, buf_span(&text), info);
    else if (e == ERR_NOTFOUND)
        e = conf_fail(c, conf_root(c), "cookie_secrets", info,
                      "%s: make a secret with (umask 077; openssl rand -hex 16 >FILE), one for all "
                      "nodes, or leave the option out",
                      why.text);
    else
        e = conf_fail(c, conf_root(c), "cookie_secrets", info, "%s", why.text);
    buf_wipe(&text);
    free(path);
    return e;
}

/* "192.0.2.0/24", "2001:db8::/32", or an address alone. */
static bool parse_net(struct rrl_net *out, const char *text)
{
    char ip[INET6_ADDRSTRLEN];
    size_t len = strcspn(text, "/");
    if (len >= sizeof ip)
        return false;
    memcpy(ip, text, len);
    ip[len] = 0;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, ip, out->ip) == 1)
        out->ip_len = 4;
    else if (inet_pton(AF_INET6, ip, out->ip) == 1)
        out->ip_len = 16;
    else
        return false;
    unsigned n = out->ip_len * 8u;
    const char *digits = text + len + 1;
    if (text[len] == '/') {
        char *end;
        if (digits[0] < '0' || digits[0] > '9')
            return false;
        unsigned long v = strtoul(digits, &end, 10);
        if (*end != 0 || v > n)
            return false;
        n = (unsigned)v;
    }
    out->n_prefix = (uint8_t)n;
    return true;
}

static enum err read_rrl(struct rrl_policy *out, struct conf *c, struct err_info *info)
{
    /* nobody outside can send from there */
    static const char *const LOOPBACK[] = { "127.0.0.0/8", "::1" };
    cfg_t *root = conf_root(c);
    long per_second = cfg_getint(root, "rrl_per_second"), slip = cfg_getint(root, "rrl_slip");
    unsigned n = cfg_size(root, "rrl_exempt");
    if (per_second < 0 || per_second > PER_SECOND_MAX)
        return conf_fail(c, root, "rrl_per_second", info,
                         "%ld is out of range: choose 1 to %d, or 0 for no limit", per_second,
                         PER_SECOND_MAX);
    if (slip < 0 || slip > SLIP_MAX)
        return conf_fail(c, root, "rrl_slip", info,
                         "%ld is out of range: choose 1 to %d, or 0 to drop all", slip, SLIP_MAX);
    if (n > RRL_EXEMPT_MAX)
        return conf_fail(c, root, "rrl_exempt", info, "more than %d", RRL_EXEMPT_MAX);
    out->per_second = (unsigned)per_second;
    out->slip = (unsigned)slip;
    bool set = conf_is_set(c, root, "rrl_exempt");
    if (!set)
        n = ARRAY_LEN(LOOPBACK);
    else if (n == 1 && strcmp(cfg_getnstr(root, "rrl_exempt", 0), "none") == 0)
        n = 0;
    for (unsigned i = 0; i < n; i++) {
        const char *text = set ? cfg_getnstr(root, "rrl_exempt", i) : LOOPBACK[i];
        if (!parse_net(&out->exempt[i], text))
            return conf_fail(c, root, "rrl_exempt", info,
                             "'%s' is not a network: write it as in 192.0.2.0/24 or 2001:db8::/32",
                             text);
    }
    out->n_exempt = n;
    return ERR_OK;
}

static enum err read_text(char out[IDENTITY_TEXT_MAX + 1], struct conf *c, const char *key,
                          struct err_info *info)
{
    const char *text = cfg_getstr(conf_root(c), key);
    if (text == NULL)
        return ERR_OK;
    if (strlen(text) > IDENTITY_TEXT_MAX)
        return conf_fail(c, conf_root(c), key, info, "longer than %d bytes", IDENTITY_TEXT_MAX);
    strcpy(out, text);
    return ERR_OK;
}

enum err shieldconf_read(struct shield *out, struct conf *c, const char *user,
                         struct err_info *info)
{
    *out = (struct shield){ .cookies_are_random = false };
    enum err e = read_secrets(out, c, user, info);
    if (e == ERR_OK)
        e = read_rrl(&out->rrl, c, info);
    if (e == ERR_OK)
        e = read_text(out->identity.nsid, c, "nsid", info);
    if (e == ERR_OK)
        e = read_text(out->identity.version, c, "chaos_version", info);
    if (e == ERR_OK)
        e = read_text(out->identity.hostname, c, "chaos_hostname", info);
    return e;
}
