/* engine.h - carries orders from CSR to certificate: claims what is due, writes each state down,
 * then acts on it. Any number may be under way; each moves alone. One loop, its thread; blocking
 * work goes to the store threads. */
#ifndef LANYARD_PROVISIOND_ENGINE_H
#define LANYARD_PROVISIOND_ENGINE_H

#include "common/base/attr.h"
#include "common/base/err.h"
#include "common/net/loop.h"
#include "common/store/challenge.h"
#include "provisiond/config.h"
#include "provisiond/core/gate.h"
#include "provisiond/issuers.h"
#include "provisiond/orderstats.h"
#include "provisiond/store/jobs.h"

struct engine; /* opaque */

struct engine_parts {
    struct loop *loop;
    const struct config *config;
    const struct issuers *issuers;
    struct jobs *store; /* the thread of the main database */
    const char *node;   /* whose orders are ours: unlike every other node's */
    /* Called when the orders of a device have changed in a way it may wait for. */
    void (*on_change)(void *arg, const char *device_id);
    void *arg;
};

/* Everything in `parts` is borrowed until engine_free(). Opens the challenge store of each zone and
 * starts to work. Errors: ERR_NOMEM, ERR_IO. */
NODISCARD enum err engine_new(struct engine **out, const struct engine_parts *parts,
                              struct err_info *info);

/* An order may be due: look now. */
void engine_kick(struct engine *en);

/* Borrowed. */
const struct orderstats *engine_stats(const struct engine *en);

/* How each CA of the configuration is doing, by number. Borrowed. */
const struct gate *engine_gates(const struct engine *en);

/* The challenge store of zone number `zone`, NULL for none; used only from jobs of
 * engine_challenge_jobs(), whose thread owns it. Borrowed. */
struct challenge_store *engine_challenges(const struct engine *en, size_t zone);
struct jobs *engine_challenge_jobs(const struct engine *en);

/* Begins nothing new; fn(arg) is called when no store thread holds work of the engine any more. */
void engine_stop(struct engine *en, void (*fn)(void *arg), void *arg);

/* After engine_stop()'s call, and after the issuers were freed. Orders under way stay in the
 * database as they are and go on at the next start. */
void engine_free(struct engine *en);

#endif
