/* Whatever a CA sends, what the parsers accept can be used as it is: URLs that message_url_ok()
 * takes, tokens of base64url, printable text, and never more authorisations than names. The first
 * byte chooses the parser. */
#include <stdlib.h>
#include <string.h>

#include "provisiond/acme/chainpick.h"
#include "provisiond/acme/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool ok)
{
    if (!ok)
        abort();
}

static bool is_printable(const char *s, size_t cap)
{
    size_t len = strnlen(s, cap);
    for (size_t i = 0; i < len; i++)
        if (s[i] < ' ' || s[i] > '~')
            return false;
    return len < cap;
}

static void need_problem(enum errors_context context, const struct errors_problem *p)
{
    struct issuer_reply reply = { .verdict = ISSUER_OK };
    need(is_printable(p->type, sizeof p->type) && is_printable(p->detail, sizeof p->detail));
    need(p->n_sub <= ERRORS_SUBPROBLEMS_MAX && errors_retry_after(p->detail, 0) >= 0);
    errors_fill(&reply, context, p);
    need((reply.verdict != ISSUER_OK || context == ERRORS_REVOKE) &&
         is_printable(reply.info.text, sizeof reply.info.text));
}

static void need_order(struct span body)
{
    struct message_order o;
    if (message_parse_order(body, &o, NULL) != ERR_OK)
        return;
    need(o.n_authz <= ISSUER_NAMES_MAX);
    for (size_t i = 0; i < o.n_authz; i++)
        need(message_url_ok(o.authz_url[i]));
    need(o.finalize_url[0] == 0 || message_url_ok(o.finalize_url));
    need(o.certificate_url[0] == 0 || message_url_ok(o.certificate_url));
    need(o.status != ISSUER_VALID || o.certificate_url[0] != 0);
    if (o.has_error)
        need_problem(ERRORS_VALIDATION, &o.error);
}

static void need_domains(const struct message_domains *d)
{
    need(d->n <= ISSUER_DOMAINS_MAX);
    for (size_t i = 0; i < d->n; i++)
        need(d->at[i][0] != 0 && strpbrk(d->at[i], "; \"\\ABCXYZ") == NULL);
}

static void need_challenge(const struct message_challenge *c)
{
    need_domains(&c->persist);
    need(message_url_ok(c->url) && is_printable(c->token, sizeof c->token));
    need(strpbrk(c->token, "./+= ") == NULL);
    if (c->has_error)
        need_problem(ERRORS_VALIDATION, &c->error);
}

static void need_authz(struct span body)
{
    struct message_authz a;
    if (message_parse_authz(body, "dns-persist-01", false, &a, NULL) == ERR_OK && a.has_challenge) {
        need_challenge(&a.challenge);
        need(a.status != ISSUER_PENDING || a.challenge.persist.n > 0);
    }
    if (message_parse_authz(body, "dns-01", true, &a, NULL) != ERR_OK || !a.has_challenge)
        return;
    need_challenge(&a.challenge);
    need(a.status != ISSUER_PENDING || a.challenge.token[0] != 0);
}

static void need_directory(struct span body)
{
    struct message_directory d;
    if (message_parse_directory(body, &d, NULL) != ERR_OK)
        return;
    need(message_url_ok(d.new_nonce) && message_url_ok(d.new_account) &&
         message_url_ok(d.new_order) && is_printable(d.terms, sizeof d.terms));
    need_domains(&d.persist);
    need(d.hash_prefix[0] == 0 || message_url_ok(d.hash_prefix));
    need(d.n_profiles <= ISSUER_PROFILES_MAX && d.n_caa <= ISSUER_PROFILES_MAX);
    for (size_t i = 0; i < d.n_profiles; i++)
        need(is_printable(d.profiles[i], ISSUER_PROFILE_MAX));
    for (size_t i = 0; i < d.n_caa; i++)
        need(strpbrk(d.caa[i], "; \"\\") == NULL);
}

static void need_window(struct span body)
{
    struct message_window w;
    if (message_parse_window(body, &w, NULL) == ERR_OK)
        need(w.start_at < w.end_at && (w.explanation[0] == 0 || message_url_ok(w.explanation)));
}

/* A Link header: whatever it is, the target is a string that fits. */
static void need_link(struct span body)
{
    char text[1024], out[ISSUER_URL_MAX];
    if (body.len >= sizeof text)
        return;
    memcpy(text, body.p, body.len);
    text[body.len] = 0;
    if (chainpick_alternate(text, "https://ca.example/cert/1", out))
        need(strnlen(out, sizeof out) < sizeof out && out[0] != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct message_challenge challenge;
    struct errors_problem problem;
    struct message_account account;
    if (size == 0)
        return 0;
    struct span body = { data + 1, size - 1 };
    switch (data[0] % 8) {
    case 0:
        need_directory(body);
        break;
    case 1:
        need_order(body);
        break;
    case 2:
        need_authz(body);
        break;
    case 3:
        if (message_parse_challenge(body, &challenge, NULL) == ERR_OK)
            need_challenge(&challenge);
        break;
    case 4:
        if (message_parse_account(body, &account, NULL) == ERR_OK)
            need(account.status <= ISSUER_OTHER);
        break;
    case 5:
        need_window(body);
        break;
    case 7:
        need_link(body);
        break;
    default:
        message_parse_problem(body, 400, &problem);
        need_problem((enum errors_context)(size % 10), &problem);
    }
    return 0;
}
