#include "provisiond/readback.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/net/resolve.h"
#include "provisiond/issuer.h"

#define TIMEOUT_MS 5000

struct question {
    struct readback *rb;
    struct resolve_op *op; /* NULL once answered */
    struct addr server;
};

struct readback {
    void (*fn)(void *arg, enum err e, const char *sentence);
    void *arg;
    size_t n_values;
    const char *values[ISSUER_NAMES_MAX];
    size_t waiting; /* name servers that have not answered */
    bool failed;
    struct err_info info;
    size_t n_questions;
    struct question questions[CONFIG_LIST_MAX];
};

static bool has_value(const struct resolve_result *res, const char *value)
{
    for (size_t i = 0; i < res->n_values; i++) {
        if (strcmp(res->values[i], value) == 0)
            return true;
    }
    return false;
}

static void on_answer(void *arg, const struct resolve_result *res)
{
    struct question *q = arg;
    struct readback *rb = q->rb;
    char server[ADDR_TEXT_MAX];
    addr_format(&q->server, server);
    q->op = NULL;
    if (res->e != ERR_OK && !rb->failed) {
        rb->failed = true;
        (void)err_set(&rb->info, ERR_AGAIN, "name server %s: %s", server,
                      res->e == ERR_NOTFOUND ? "does not answer the challenge value yet"
                                             : res->info.text);
    }
    for (size_t i = 0; i < rb->n_values && res->e == ERR_OK && !rb->failed; i++) {
        if (!has_value(res, rb->values[i])) {
            rb->failed = true;
            (void)err_set(&rb->info, ERR_AGAIN, "name server %s answers another challenge value",
                          server);
        }
    }
    if (--rb->waiting > 0)
        return;
    rb->fn(rb->arg, rb->failed ? ERR_AGAIN : ERR_OK, rb->info.text);
    free(rb);
}

enum err readback_start(struct readback **out, struct loop *l, const struct config_zone *zone,
                        const char *name, const char *const *values, size_t n,
                        void (*fn)(void *arg, enum err e, const char *sentence), void *arg)
{
    struct readback *rb = calloc(1, sizeof *rb);
    if (rb == NULL || n > ISSUER_NAMES_MAX) {
        free(rb);
        return ERR_NOMEM;
    }
    rb->fn = fn;
    rb->arg = arg;
    rb->n_values = n;
    for (size_t i = 0; i < n; i++)
        rb->values[i] = values[i];
    for (size_t i = 0; i < zone->n_nameservers; i++) {
        struct question *q = &rb->questions[rb->n_questions];
        *q = (struct question){ .rb = rb, .server = zone->nameservers[i] };
        if (resolve_txt(l, &q->server, name, TIMEOUT_MS, on_answer, q, &q->op) != ERR_OK) {
            readback_cancel(rb);
            return ERR_NOMEM;
        }
        rb->n_questions++;
        rb->waiting++;
    }
    *out = rb;
    return ERR_OK;
}

void readback_cancel(struct readback *rb)
{
    if (rb == NULL)
        return;
    for (size_t i = 0; i < rb->n_questions; i++)
        resolve_cancel(rb->questions[i].op);
    free(rb);
}
