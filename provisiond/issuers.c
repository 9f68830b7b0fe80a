#include "provisiond/issuers.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "provisiond/acme/acme.h"
#include "provisiond/local/local.h"

#define HMAC_FILE_MAX 1024

struct issuers {
    const struct config *config;
    struct issuer *accounts[CONFIG_LIST_MAX][CONFIG_ACCOUNTS_MAX];
    struct localca *cas[CONFIG_LIST_MAX]; /* of the local ones; NULL elsewhere */
};

/* The binding of account `k`: its own, or the one for all. */
static enum err read_eab(const struct config_issuer *is, size_t k, const char **kid,
                         struct buf *hmac, struct err_info *info)
{
    *kid = NULL;
    if (is->n_eab == 0)
        return ERR_OK;
    size_t at = is->n_eab > 1 ? k : 0;
    enum err e = file_read_secret(is->eab_hmac_file[at], hmac, info);
    while (e == ERR_OK && hmac->len > 0 && hmac->p[hmac->len - 1] <= ' ')
        hmac->p[--hmac->len] = 0;
    *kid = is->eab_kid[at];
    return e;
}

/* The key of the first account is where the configuration says, those of the others beside it. */
static enum err key_path(char out[PATH_MAX], const struct config_issuer *is, size_t k,
                         struct err_info *info)
{
    int n = k == 0 ? snprintf(out, PATH_MAX, "%s", is->account_key)
                   : snprintf(out, PATH_MAX, "%s.%zu", is->account_key, k + 1);
    return n > 0 && n < PATH_MAX ? ERR_OK
                                 : err_set(info, ERR_CONFIG, "the path of account_key is too long");
}

static enum err open_account(struct issuers *s, struct loop *l, size_t index, size_t k,
                             struct err_info *info)
{
    const struct config_issuer *is = &s->config->issuers[index];
    char path[PATH_MAX];
    const char *kid;
    struct buf hmac;
    buf_init(&hmac, HMAC_FILE_MAX);
    enum err e = read_eab(is, k, &kid, &hmac, info);
    if (e == ERR_OK)
        e = key_path(path, is, k, info);
    if (e == ERR_OK) {
        struct acme_options o = { .name = is->name,
                                  .directory_url = is->directory,
                                  .ca_file = is->ca_file,
                                  .contact = is->contact,
                                  .account_key = path,
                                  .eab_kid = kid,
                                  .eab_hmac = kid != NULL ? buf_str(&hmac) : NULL,
                                  .user_agent = "lanyard-provisiond/" LANYARD_VERSION,
                                  .agree_terms = is->agree_terms,
                                  .prefer_chain = is->prefer_chain,
                                  .challenge = is->challenge };
        e = acme_issuer_new(&s->accounts[index][k], l, &o, info);
    }
    buf_wipe(&hmac);
    return e;
}

static enum err open_acme(struct issuers *s, struct loop *l, size_t index, struct err_info *info)
{
    enum err e = ERR_OK;
    for (size_t k = 0; k < s->config->issuers[index].n_accounts && e == ERR_OK; k++)
        e = open_account(s, l, index, k, info);
    return e;
}

static enum err open_local(struct issuers *s, struct loop *l, size_t index, struct err_info *info)
{
    const struct config_issuer *is = &s->config->issuers[index];
    enum err e = localca_open(&s->cas[index], is->dir, clock_now_s(), info);
    if (e != ERR_OK)
        return e;
    struct local_options o = {
        .name = is->name, .ca = s->cas[index], .life_s = is->validity_s, .crl_url = is->crl_url
    };
    return local_issuer_new(&s->accounts[index][0], l, &o);
}

enum err issuers_open(struct issuers **out, struct loop *l, const struct config *c,
                      struct err_info *info)
{
    struct issuers *s = calloc(1, sizeof *s);
    enum err e = ERR_OK;
    if (s == NULL)
        return ERR_NOMEM;
    s->config = c;
    for (size_t i = 0; i < c->n_issuers && e == ERR_OK; i++) {
        e = c->issuers[i].is_local ? open_local(s, l, i, info) : open_acme(s, l, i, info);
        if (e != ERR_OK)
            e = err_prefix(info, e, "%s: issuer \"%s\": ", c->issuers[i].where, c->issuers[i].name);
    }
    if (e != ERR_OK) {
        issuers_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void issuers_free(struct issuers *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < CONFIG_LIST_MAX; i++) {
        for (size_t k = 0; k < CONFIG_ACCOUNTS_MAX; k++)
            if (s->accounts[i][k] != NULL)
                s->accounts[i][k]->ops->free(s->accounts[i][k]);
        localca_free(s->cas[i]);
    }
    free(s);
}

size_t issuers_n_accounts(const struct issuers *s, size_t index)
{
    return s->config->issuers[index].is_local ? 1 : s->config->issuers[index].n_accounts;
}

struct issuer *issuers_account(const struct issuers *s, size_t index, size_t k)
{
    return s->accounts[index][k];
}

struct issuer *issuers_find(const struct issuers *s, size_t index, const char *account,
                            size_t otherwise)
{
    for (size_t k = 0; account[0] != 0 && k < issuers_n_accounts(s, index); k++) {
        struct issuer_facts facts;
        struct issuer *is = s->accounts[index][k];
        is->ops->facts(is, &facts);
        if (strcmp(facts.account, account) == 0)
            return is;
    }
    return s->accounts[index][otherwise % issuers_n_accounts(s, index)];
}

struct localca *issuers_ca(const struct issuers *s, size_t index)
{
    return s->cas[index];
}

struct localca *issuers_local_ca(const struct issuers *s)
{
    for (size_t i = 0; i < CONFIG_LIST_MAX; i++)
        if (s->cas[i] != NULL)
            return s->cas[i];
    return NULL;
}
