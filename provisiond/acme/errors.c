#include "provisiond/acme/errors.h"

#include <string.h>
#include <time.h>

#include "common/base/attr.h"

#define BIT(context) (1u << (context))
#define ANYWHERE 0x3ffu
#define ACCOUNT (BIT(ERRORS_NEW_ACCOUNT) | BIT(ERRORS_NEW_ORDER))
#define IN_ORDER                                                                                   \
    (BIT(ERRORS_ORDER) | BIT(ERRORS_CHALLENGE) | BIT(ERRORS_FINALIZE) | BIT(ERRORS_VALIDATION))

/* The first row that fits decides. */
struct rule {
    const char *type;   /* "*": any, also none */
    int status;         /* 0: any */
    unsigned contexts;  /* bits */
    const char *detail; /* NULL, or what the text must contain, without case */
    enum issuer_verdict verdict;
};

static const struct rule RULES[] = {
    { "badNonce", 0, ANYWHERE, NULL, ISSUER_RETRY },
    { "serverInternal", 0, BIT(ERRORS_VALIDATION), NULL, ISSUER_NEW_ORDER },
    { "serverInternal", 0, ANYWHERE, NULL, ISSUER_RETRY },
    /* a paused account or name: only the operator can lift it */
    { "rateLimited", 0, ANYWHERE, "unpause", ISSUER_HUMAN },
    { "rateLimited", 0, ANYWHERE, "temporarily prevented", ISSUER_HUMAN },
    { "rateLimited", 503, ANYWHERE, NULL, ISSUER_RETRY }, /* "service busy" */
    { "rateLimited", 0, ANYWHERE, NULL, ISSUER_HOLD },
    { "userActionRequired", 0, ANYWHERE, NULL, ISSUER_HUMAN },
    { "externalAccountRequired", 0, ANYWHERE, NULL, ISSUER_HUMAN },
    { "invalidContact", 0, ANYWHERE, NULL, ISSUER_HUMAN },
    { "unsupportedContact", 0, ANYWHERE, NULL, ISSUER_HUMAN },
    { "badSignatureAlgorithm", 0, ANYWHERE, NULL, ISSUER_HUMAN },
    { "invalidProfile", 0, ANYWHERE, NULL, ISSUER_HUMAN },
    { "accountDoesNotExist", 0, ANYWHERE, NULL, ISSUER_RETRY }, /* again, after a registration */
    { "rejectedIdentifier", 0, ANYWHERE, NULL, ISSUER_PERMANENT },
    { "unsupportedIdentifier", 0, ANYWHERE, NULL, ISSUER_PERMANENT },
    { "orderNotReady", 0, ANYWHERE, NULL, ISSUER_RESUME },
    { "badCSR", 0, ANYWHERE, NULL, ISSUER_DEVICE },
    { "badPublicKey", 0, ACCOUNT, NULL, ISSUER_HUMAN }, /* it is the account key's */
    { "badPublicKey", 0, ANYWHERE, NULL, ISSUER_DEVICE },
    { "alreadyReplaced", 0, ANYWHERE, NULL, ISSUER_NEW_ORDER },
    { "unauthorized", 0, BIT(ERRORS_FINALIZE), "csr", ISSUER_DEVICE },
    { "malformed", 0, BIT(ERRORS_FINALIZE), "csr", ISSUER_DEVICE },
    { "unauthorized", 0, ACCOUNT, NULL, ISSUER_HUMAN },
    { "malformed", 0, ACCOUNT, NULL, ISSUER_HUMAN },
    /* the challenge is not pending any more: somebody was here before */
    { "malformed", 400, BIT(ERRORS_CHALLENGE), NULL, ISSUER_RESUME },
    { "unauthorized", 0, IN_ORDER, NULL, ISSUER_NEW_ORDER },
    { "malformed", 0, IN_ORDER, NULL, ISSUER_NEW_ORDER },
    { "dns", 0, ANYWHERE, NULL, ISSUER_NEW_ORDER },
    { "caa", 0, ANYWHERE, NULL, ISSUER_NEW_ORDER },
    { "connection", 0, ANYWHERE, NULL, ISSUER_NEW_ORDER },
    { "tls", 0, ANYWHERE, NULL, ISSUER_NEW_ORDER },
    { "incorrectResponse", 0, ANYWHERE, NULL, ISSUER_NEW_ORDER },
    /* no type that we know: the status speaks */
    { "*", 429, ANYWHERE, NULL, ISSUER_HOLD },
    { "*", 409, IN_ORDER, NULL, ISSUER_RESUME },
    { "alreadyRevoked", 0, BIT(ERRORS_REVOKE), NULL, ISSUER_OK },
    { "badRevocationReason", 0, BIT(ERRORS_REVOKE), NULL, ISSUER_PERMANENT },
    { "unauthorized", 0, BIT(ERRORS_REVOKE), NULL, ISSUER_PERMANENT },
    { "malformed", 0, BIT(ERRORS_REVOKE), NULL, ISSUER_PERMANENT },
    { "*", 404, BIT(ERRORS_REVOKE), NULL, ISSUER_PERMANENT },
    /* only a timeout or a 5xx is temporary [RFC 9773 s4.3.3] */
    { "*", 0, BIT(ERRORS_RENEWAL), NULL, ISSUER_HOLD },
    { "*", 403, IN_ORDER, NULL, ISSUER_NEW_ORDER },
    { "*", 404, IN_ORDER, NULL, ISSUER_NEW_ORDER },
    { "*", 410, IN_ORDER, NULL, ISSUER_NEW_ORDER },
    { "*", 0, BIT(ERRORS_VALIDATION), NULL, ISSUER_NEW_ORDER },
    { "*", 0, ANYWHERE, NULL, ISSUER_RETRY },
};

static bool rule_fits(const struct rule *r, enum errors_context context, int status,
                      const char *type, const char *detail)
{
    return (r->contexts & BIT(context)) != 0 && (r->status == 0 || r->status == status) &&
           (r->type[0] == '*' || strcmp(r->type, type) == 0) &&
           (r->detail == NULL || strcasestr(detail, r->detail) != NULL);
}

static enum issuer_verdict look_up(enum errors_context context, int status, const char *type,
                                   const char *detail)
{
    for (size_t i = 0; i < ARRAY_LEN(RULES); i++)
        if (rule_fits(&RULES[i], context, status, type, detail))
            return RULES[i].verdict;
    return ISSUER_RETRY;
}

/* The enum of verdicts goes from "try again" to "never": the later one counts. */
enum issuer_verdict errors_classify(enum errors_context context, const struct errors_problem *p)
{
    if (p->status >= 500 && strcmp(p->type, "rateLimited") != 0)
        return ISSUER_RETRY;
    if (p->n_sub == 0 || strcmp(p->type, "rateLimited") == 0)
        return look_up(context, p->status, p->type, p->detail);
    enum issuer_verdict worst = ISSUER_OK;
    for (size_t i = 0; i < p->n_sub; i++) {
        enum issuer_verdict v = look_up(context, p->status, p->sub_type[i], p->detail);
        worst = v > worst ? v : worst;
    }
    return worst;
}

static bool mentions(const struct errors_problem *p, const char *word)
{
    return strcasestr(p->detail, word) != NULL;
}

bool errors_is_replaces(const struct errors_problem *p)
{
    if (strcmp(p->type, "alreadyReplaced") == 0 || p->status == 404 || p->status == 409)
        return true;
    return (strcmp(p->type, "malformed") == 0 || strcmp(p->type, "unauthorized") == 0) &&
           (mentions(p, "replac") || mentions(p, "predecessor") || mentions(p, "certID") ||
            strstr(p->detail, "ARI") != NULL);
}

bool errors_is_profile(const struct errors_problem *p)
{
    return strcmp(p->type, "invalidProfile") == 0 ||
           ((strcmp(p->type, "malformed") == 0 || strcmp(p->type, "unauthorized") == 0) &&
            mentions(p, "profile"));
}

enum issuer_limit errors_limit(const struct errors_problem *p)
{
    static const struct {
        const char *words;
        enum issuer_limit limit;
    } WORDS[] = {
        { "unpause", ISSUER_LIMIT_PAUSED },
        { "temporarily prevented", ISSUER_LIMIT_PAUSED },
        { "failed authorizations", ISSUER_LIMIT_FAILURES },
        { "exact set", ISSUER_LIMIT_NAMES },
        { "certificates", ISSUER_LIMIT_DOMAIN },
        { "new orders", ISSUER_LIMIT_ACCOUNT },
        { "this account", ISSUER_LIMIT_ACCOUNT },
        { "IP address", ISSUER_LIMIT_ADDRESS },
        { "registrations", ISSUER_LIMIT_ADDRESS },
        { "requests", ISSUER_LIMIT_ADDRESS },
    };
    if (strcmp(p->type, "rateLimited") != 0 && p->status != 429)
        return ISSUER_LIMIT_NONE;
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
        if (mentions(p, WORDS[i].words))
            return WORDS[i].limit;
    return ISSUER_LIMIT_OTHER;
}

int64_t errors_retry_after(const char *detail, int64_t now_s)
{
    static const char MARK[] = "retry after ";
    struct tm tm = { 0 };
    const char *at = strcasestr(detail, MARK);
    if (at == NULL)
        return 0;
    at += sizeof MARK - 1;
    if (strptime(at, "%Y-%m-%d %H:%M:%S UTC", &tm) == NULL &&
        strptime(at, "%Y-%m-%dT%H:%M:%SZ", &tm) == NULL)
        return 0;
    int64_t wait_s = (int64_t)timegm(&tm) - now_s;
    return wait_s > 0 ? wait_s : 0;
}

void errors_fill(struct issuer_reply *reply, enum errors_context context,
                 const struct errors_problem *p)
{
    const char *visit = p->instance[0] != 0 ? "; see " : "";
    reply->verdict = errors_classify(context, p);
    reply->limit = errors_limit(p);
    reply->secondary = mentions(p, "secondary validation");
    memcpy(reply->type, p->type, sizeof reply->type);
    if (p->status == 0)
        (void)err_set(&reply->info, ERR_REMOTE, "the CA reports %s: %s",
                      p->type[0] != 0 ? p->type : "an error", p->detail);
    else if (p->type[0] != 0)
        (void)err_set(&reply->info, ERR_REMOTE, "the CA answered %d %s: %s%s%s", p->status, p->type,
                      p->detail, visit, p->instance);
    else
        (void)err_set(&reply->info, ERR_REMOTE, "the CA answered %d without a problem document",
                      p->status);
}
