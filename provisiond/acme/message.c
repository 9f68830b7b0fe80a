#include "provisiond/acme/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "common/base/jsondepth.h"
#include "common/base/b64url.h"

#define ERROR_URN "urn:ietf:params:acme:error:"
#define CHALLENGES_MAX 32 /* of one authorisation, looked at */

bool message_url_ok(const char *url)
{
    static const char SCHEME[] = "https://";
    size_t len = strnlen(url, ISSUER_URL_MAX);
    if (len == ISSUER_URL_MAX || strncasecmp(url, SCHEME, sizeof SCHEME - 1) != 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (url[i] <= ' ' || url[i] > '~' || strchr("\"\\<>^`{|}", url[i]) != NULL)
            return false;
    const char *host = url + sizeof SCHEME - 1;
    size_t host_len = strcspn(host, "/?#");
    return host_len > 0 && host[0] != ':' && memchr(host, '@', host_len) == NULL;
}

/* An object; the caller calls json_decref(). */
static enum err parse_object(struct span body, json_t **out, struct err_info *info)
{
    json_error_t why;
    if (body.len > MESSAGE_MAX || !jsondepth_is_within(body, MESSAGE_DEPTH_MAX))
        return err_set(info, ERR_LIMIT, "the CA's answer is too large or too deep");
    json_t *root = json_loadb((const char *)(body.len > 0 ? body.p : (const uint8_t *)""), body.len,
                              JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(root)) {
        json_decref(root);
        return err_set(info, ERR_INVALID, "the CA's answer is not a JSON object");
    }
    *out = root;
    return ERR_OK;
}

/* Copies a URL member; one that is absent or null leaves "". */
static enum err get_url(const json_t *obj, const char *key, char out[ISSUER_URL_MAX], bool required,
                        struct err_info *info)
{
    const json_t *value = json_object_get(obj, key);
    out[0] = 0;
    if (value == NULL || json_is_null(value))
        return required ? err_set(info, ERR_INVALID, "the CA's answer has no \"%s\"", key) : ERR_OK;
    if (!json_is_string(value) || !message_url_ok(json_string_value(value)))
        return err_set(info, ERR_INVALID, "the CA's \"%s\" is no https URL of up to %d bytes", key,
                       ISSUER_URL_MAX - 1);
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return ERR_OK;
}

static enum err get_status(const json_t *obj, enum issuer_status *out, struct err_info *info)
{
    static const struct {
        const char *word;
        enum issuer_status status;
    } WORDS[] = {
        { "pending", ISSUER_PENDING },       { "ready", ISSUER_READY },
        { "processing", ISSUER_PROCESSING }, { "valid", ISSUER_VALID },
        { "invalid", ISSUER_INVALID },       { "deactivated", ISSUER_INVALID },
        { "expired", ISSUER_INVALID },       { "revoked", ISSUER_INVALID },
    };
    const char *text = json_string_value(json_object_get(obj, "status"));
    if (text == NULL)
        return err_set(info, ERR_INVALID, "the CA's answer has no \"status\"");
    *out = ISSUER_OTHER;
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
        if (strcmp(text, WORDS[i].word) == 0)
            *out = WORDS[i].status;
    return ERR_OK;
}

/* Text for the log and the operator: cut, and every byte that is not printable ASCII as '?'. */
static void copy_text(char *out, size_t cap, const char *text)
{
    size_t i;
    for (i = 0; text != NULL && text[i] != 0 && i + 1 < cap; i++)
        out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    out[i] = 0;
}

static void copy_type(char out[ERRORS_TYPE_MAX], const json_t *problem)
{
    const char *type = json_string_value(json_object_get(problem, "type"));
    if (type != NULL && strncmp(type, ERROR_URN, strlen(ERROR_URN)) == 0)
        copy_text(out, ERRORS_TYPE_MAX, type + strlen(ERROR_URN));
    else
        out[0] = 0;
}

static void read_problem(const json_t *obj, int status, struct errors_problem *out)
{
    memset(out, 0, sizeof *out);
    out->status = status;
    copy_type(out->type, obj);
    copy_text(out->detail, sizeof out->detail, json_string_value(json_object_get(obj, "detail")));
    const char *instance = json_string_value(json_object_get(obj, "instance"));
    if (instance != NULL && message_url_ok(instance))
        copy_text(out->instance, sizeof out->instance, instance);
    const json_t *subs = json_object_get(obj, "subproblems");
    for (size_t i = 0; i < json_array_size(subs) && out->n_sub < ERRORS_SUBPROBLEMS_MAX; i++)
        copy_type(out->sub_type[out->n_sub++], json_array_get(subs, i));
}

/* The "error" member of an order or a challenge. */
static bool read_error(const json_t *obj, struct errors_problem *out)
{
    const json_t *error = json_object_get(obj, "error");
    if (!json_is_object(error))
        return false;
    read_problem(error, 0, out);
    return true;
}

void message_parse_problem(struct span body, int status, struct errors_problem *out)
{
    json_t *root = NULL;
    memset(out, 0, sizeof *out);
    out->status = status;
    if (parse_object(body, &root, NULL) == ERR_OK)
        read_problem(root, status, out);
    json_decref(root);
}

/* One domain name as records have it: false when it is none. */
static bool read_domain(const json_t *value, char out[MESSAGE_DOMAIN_MAX])
{
    const char *domain = json_string_value(value);
    size_t len = domain == NULL ? 0 : strlen(domain);
    if (len == 0 || len >= MESSAGE_DOMAIN_MAX ||
        strspn(domain, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.") != len)
        return false;
    memcpy(out, domain, len + 1);
    return true;
}

/* None of a list that is not as the draft says: empty, too long, or with what is no domain name. */
static void read_domains(const json_t *list, struct message_domains *out)
{
    size_t n = json_array_size(list);
    out->n = 0;
    if (n > ISSUER_DOMAINS_MAX)
        return;
    for (size_t i = 0; i < n; i++) {
        char *at = out->at[i];
        if (!read_domain(json_array_get(list, i), at))
            return;
        for (char *p = at; *p != 0; p++)
            *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 'a' - 'A' : *p);
        size_t len = strlen(at);
        if (at[len - 1] == '.')
            at[len - 1] = 0;
        if (at[0] == 0)
            return;
    }
    out->n = n;
}

/* What dns-persist-01 has in the directory, from draft 02 on. */
static void read_persist(const json_t *meta, struct message_directory *out)
{
    const char *prefix = json_string_value(json_object_get(meta, "accountHashPrefix"));
    read_domains(json_object_get(meta, "issuerDomainNames"), &out->persist);
    if (out->persist.n == 0)
        read_domains(json_object_get(meta, "caaIdentities"), &out->persist);
    if (prefix != NULL && message_url_ok(prefix) && strchr(prefix, ';') == NULL)
        copy_text(out->hash_prefix, sizeof out->hash_prefix, prefix);
}

static void read_meta(const json_t *meta, struct message_directory *out)
{
    const char *key;
    json_t *value, *profiles = json_object_get(meta, "profiles");
    const json_t *caa = json_object_get(meta, "caaIdentities");
    out->eab_required = json_is_true(json_object_get(meta, "externalAccountRequired"));
    copy_text(out->terms, sizeof out->terms,
              json_string_value(json_object_get(meta, "termsOfService")));
    json_object_foreach(profiles, key, value)
    {
        if (out->n_profiles < ISSUER_PROFILES_MAX && strlen(key) < ISSUER_PROFILE_MAX)
            copy_text(out->profiles[out->n_profiles++], ISSUER_PROFILE_MAX, key);
    }
    for (size_t i = 0; i < json_array_size(caa) && out->n_caa < ISSUER_PROFILES_MAX; i++)
        out->n_caa += read_domain(json_array_get(caa, i), out->caa[out->n_caa]);
    read_persist(meta, out);
}

enum err message_parse_directory(struct span body, struct message_directory *out,
                                 struct err_info *info)
{
    json_t *root = NULL;
    memset(out, 0, sizeof *out);
    const struct {
        const char *key;
        char *url;
        bool required;
    } URLS[] = {
        { "newNonce", out->new_nonce, true },    { "newAccount", out->new_account, true },
        { "newOrder", out->new_order, true },    { "revokeCert", out->revoke_cert, false },
        { "keyChange", out->key_change, false }, { "renewalInfo", out->renewal_info, false },
    };
    enum err e = parse_object(body, &root, info);
    for (size_t i = 0; e == ERR_OK && i < ARRAY_LEN(URLS); i++) {
        e = get_url(root, URLS[i].key, URLS[i].url, URLS[i].required, info);
        if (e != ERR_OK && !URLS[i].required)
            e = ERR_OK; /* as good as absent */
    }
    if (e == ERR_OK)
        read_meta(json_object_get(root, "meta"), out);
    json_decref(root);
    return e;
}

static enum err read_authz_urls(const json_t *list, struct message_order *out,
                                struct err_info *info)
{
    size_t n = json_array_size(list);
    if (n > ISSUER_NAMES_MAX)
        return err_set(info, ERR_LIMIT, "the CA's order has %zu authorisations", n);
    if (n == 0 && out->status == ISSUER_PENDING)
        return err_set(info, ERR_INVALID, "the CA's order is pending without an authorisation");
    for (size_t i = 0; i < n; i++) {
        const char *url = json_string_value(json_array_get(list, i));
        if (url == NULL || !message_url_ok(url))
            return err_set(info, ERR_INVALID, "the CA's order has a bad authorisation URL");
        memcpy(out->authz_url[i], url, strlen(url) + 1);
    }
    out->n_authz = n;
    return ERR_OK;
}

enum err message_parse_order(struct span body, struct message_order *out, struct err_info *info)
{
    json_t *root = NULL;
    memset(out, 0, sizeof *out);
    enum err e = parse_object(body, &root, info);
    if (e == ERR_OK)
        e = get_status(root, &out->status, info);
    if (e == ERR_OK)
        e = get_url(root, "finalize", out->finalize_url,
                    out->status == ISSUER_PENDING || out->status == ISSUER_READY, info);
    if (e == ERR_OK)
        e = get_url(root, "certificate", out->certificate_url, out->status == ISSUER_VALID, info);
    if (e == ERR_OK)
        e = read_authz_urls(json_object_get(root, "authorizations"), out, info);
    if (e == ERR_OK)
        out->has_error = read_error(root, &out->error);
    json_decref(root);
    return e;
}

static bool token_ok(const char *token)
{
    size_t len = strnlen(token, ISSUER_TOKEN_MAX);
    return len > 0 && len < ISSUER_TOKEN_MAX &&
           strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == len;
}

/* What a challenge needs to be answered. */
enum needs { NEED_NOTHING, NEED_TOKEN, NEED_DOMAINS };

/* By which the CA may be named in a record; drafts differ in the spelling. */
static void read_issuers(const json_t *obj, struct message_domains *out)
{
    read_domains(json_object_get(obj, "issuerDomainNames"), out);
    if (out->n == 0)
        read_domains(json_object_get(obj, "issuer-domain-names"), out);
}

/* A challenge with a URL and what it needs beside. */
static enum err read_challenge(const json_t *obj, struct message_challenge *out, enum needs needs,
                               struct err_info *info)
{
    memset(out, 0, sizeof *out);
    enum err e = get_status(obj, &out->status, info);
    if (e == ERR_OK)
        e = get_url(obj, "url", out->url, true, info);
    if (e != ERR_OK)
        return e;
    const char *token = json_string_value(json_object_get(obj, "token"));
    if (token != NULL && token_ok(token))
        memcpy(out->token, token, strlen(token) + 1);
    else if (needs == NEED_TOKEN)
        return err_set(info, ERR_INVALID, "the CA's challenge has no usable token");
    read_issuers(obj, &out->persist);
    if (needs == NEED_DOMAINS && out->persist.n == 0)
        return err_set(info, ERR_INVALID, "the CA's challenge does not name the CA");
    out->has_error = read_error(obj, &out->error);
    return ERR_OK;
}

enum err message_parse_authz(struct span body, const char *wanted, bool has_token,
                             struct message_authz *out, struct err_info *info)
{
    json_t *root = NULL;
    memset(out, 0, sizeof *out);
    enum err e = parse_object(body, &root, info);
    if (e == ERR_OK)
        e = get_status(root, &out->status, info);
    const json_t *list = json_object_get(root, "challenges");
    size_t n = json_array_size(list);
    for (size_t i = 0; e == ERR_OK && i < n && i < CHALLENGES_MAX && !out->has_challenge; i++) {
        const json_t *item = json_array_get(list, i);
        const char *type = json_string_value(json_object_get(item, "type"));
        if (type == NULL || strcmp(type, wanted) != 0)
            continue;
        /* in a finished authorisation nobody will answer it any more */
        enum needs needs = has_token ? NEED_TOKEN : NEED_DOMAINS;
        e = read_challenge(item, &out->challenge,
                           out->status == ISSUER_PENDING ? needs : NEED_NOTHING, info);
        out->has_challenge = e == ERR_OK;
    }
    json_decref(root);
    return e;
}

enum err message_parse_challenge(struct span body, struct message_challenge *out,
                                 struct err_info *info)
{
    json_t *root = NULL;
    enum err e = parse_object(body, &root, info);
    if (e == ERR_OK)
        e = read_challenge(root, out, NEED_NOTHING, info);
    json_decref(root);
    return e;
}

enum err message_parse_account(struct span body, struct message_account *out, struct err_info *info)
{
    json_t *root = NULL;
    enum err e = parse_object(body, &root, info);
    if (e == ERR_OK)
        e = get_status(root, &out->status, info);
    json_decref(root);
    return e;
}

/* The offset after the seconds: "Z", "+01:00", "-00:30". */
static bool parse_zone(const char *text, int64_t *out)
{
    *out = 0;
    if (text[0] == 'Z' || text[0] == 'z')
        return text[1] == 0;
    unsigned h, m;
    int end = 0;
    if ((text[0] != '+' && text[0] != '-') || strlen(text) != 6 ||
        sscanf(text + 1, "%2u:%2u%n", &h, &m, &end) != 2 || end != 5 || h > 23 || m > 59)
        return false;
    *out = (text[0] == '-' ? -1 : 1) * ((int64_t)h * 3600 + (int64_t)m * 60);
    return true;
}

enum err message_parse_time(const char *text, int64_t *out)
{
    struct tm tm = { 0 };
    int64_t offset_s;
    if (strnlen(text, 20) < 20) /* shorter than any: strptime() would take single digits */
        return ERR_INVALID;
    const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (at != text + 19)
        return ERR_INVALID;
    if (*at == '.')
        at += 1 + strspn(at + 1, "0123456789");
    if (!parse_zone(at, &offset_s))
        return ERR_INVALID;
    *out = (int64_t)timegm(&tm) - offset_s;
    return ERR_OK;
}

enum err message_parse_window(struct span body, struct message_window *out, struct err_info *info)
{
    json_t *root = NULL;
    memset(out, 0, sizeof *out);
    enum err e = parse_object(body, &root, info);
    if (e != ERR_OK)
        return e;
    const json_t *window = json_object_get(root, "suggestedWindow");
    const char *start = json_string_value(json_object_get(window, "start"));
    const char *end = json_string_value(json_object_get(window, "end"));
    if (start == NULL || end == NULL || message_parse_time(start, &out->start_at) != ERR_OK ||
        message_parse_time(end, &out->end_at) != ERR_OK)
        e = err_set(info, ERR_INVALID, "the CA's renewal information has no readable window");
    else if (out->end_at <= out->start_at)
        e = err_set(info, ERR_INVALID, "the CA's renewal window ends before it begins");
    const char *why = json_string_value(json_object_get(root, "explanationURL"));
    if (why != NULL && message_url_ok(why))
        copy_text(out->explanation, sizeof out->explanation, why);
    json_decref(root);
    return e;
}

/* Appends `root` as text and gives it up. */
static enum err write_json(struct buf *out, json_t *root)
{
    char *text = root == NULL ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (text == NULL)
        return ERR_NOMEM;
    buf_add_str(out, text);
    free(text);
    return buf_error(out);
}

enum err message_new_account(struct buf *out, const char *contact, struct span eab)
{
    json_error_t why;
    json_t *root = json_pack("{s:b}", "termsOfServiceAgreed", 1);
    bool ok = root != NULL;
    if (ok && contact != NULL)
        ok = json_object_set_new(root, "contact",
                                 json_pack("[o]", json_sprintf("mailto:%s", contact))) == 0;
    if (ok && eab.len > 0)
        ok = json_object_set_new(root, "externalAccountBinding",
                                 json_loadb((const char *)eab.p, eab.len, 0, &why)) == 0;
    if (!ok) {
        json_decref(root);
        return ERR_INVALID;
    }
    return write_json(out, root);
}

static bool set_time(json_t *root, const char *key, int64_t at)
{
    char text[32];
    struct tm tm;
    time_t t = (time_t)at;
    if (at == 0)
        return true;
    return gmtime_r(&t, &tm) != NULL &&
           strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0 &&
           json_object_set_new(root, key, json_string(text)) == 0;
}

static bool set_text(json_t *root, const char *key, const char *text)
{
    return text == NULL || text[0] == 0 || json_object_set_new(root, key, json_string(text)) == 0;
}

enum err message_new_order(struct buf *out, const struct issuer_params *params)
{
    json_t *list = json_array();
    json_t *root = json_pack("{s:o}", "identifiers", list);
    bool ok = root != NULL;
    for (size_t i = 0; ok && i < params->n_names; i++)
        ok = json_array_append_new(
                 list, json_pack("{s:s,s:s}", "type", "dns", "value", params->names[i])) == 0;
    ok = ok && set_text(root, "profile", params->profile) &&
         set_text(root, "replaces", params->replaces) &&
         set_time(root, "notBefore", params->not_before) &&
         set_time(root, "notAfter", params->not_after);
    if (!ok) {
        json_decref(root);
        return ERR_INVALID;
    }
    return write_json(out, root);
}

enum err message_finalize(struct buf *out, struct span csr_der)
{
    buf_add_str(out, "{\"csr\":\"");
    b64url_append(out, csr_der);
    buf_add_str(out, "\"}");
    return buf_error(out);
}

enum err message_revoke(struct buf *out, struct span cert_der, enum issuer_reason reason)
{
    buf_add_str(out, "{\"certificate\":\"");
    b64url_append(out, cert_der);
    buf_add_fmt(out, "\",\"reason\":%d}", (int)reason);
    return buf_error(out);
}

enum err message_key_change(struct buf *out, const char *account, struct span old_jwk)
{
    json_error_t why;
    json_t *jwk = json_loadb((const char *)old_jwk.p, old_jwk.len, 0, &why);
    return write_json(out, json_pack("{s:s,s:o}", "account", account, "oldKey", jwk));
}
