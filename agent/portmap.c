#include "agent/portmap.h"

#include <arpa/inet.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "agent/hook.h"
#include "agent/interfaces.h"
#include "agent/routernews.h"
#include "agent/tlslook.h"
#include "common/base/clock.h"
#include "common/base/log.h"

#define LIFETIME_S 3600 /* asked for: what a dead agent leaves behind ends in that time */
#define RUN_MS 30000    /* lanyard-portmap ends itself before */
#define END_MS 10000
#define RETRY_MIN_S 60
#define RETRY_MAX_S 3600
#define NEWS_MS 3000 /* between two times of asking because somebody said so */
#define LOOK_AGAIN_MS (INT64_C(6) * 3600 * 1000)

struct portmap {
    struct loop *loop;
    struct portmap_options options;
    char *name, helper[PATH_MAX];
    struct hook *hook;
    struct routernews *news; /* NULL: cannot be heard */
    struct loop_timer *timer;
    bool is_running, again; /* again: something changed while the program ran */
    struct in_addr gateway, own;
    bool is_mapped;
    struct mapping mapping;
    int64_t ends_ms; /* monotonic; 0: it does not */
    bool has_observed;
    struct ip observed;
    unsigned failures;
    int64_t asked_ms; /* monotonic */
    int64_t next_ms;  /* monotonic: of the timer */
    SSL_CTX *tls;
    struct tlslook *look;
    int64_t looked_ms; /* monotonic */
    enum portmap_loopback loopback;
    struct portmap_connection told; /* at the last change; family 0: none */
    bool is_ending;
    void (*on_end)(void *arg);
    void *end_arg;
    struct err_info why; /* "" when the last attempt went well */
};

static void ask_soon(struct portmap *p);

/* ---- what others are told ---------------------------------------------------------------------
 */

static enum mapping_use use_of(const struct portmap *p)
{
    return mapping_judge(&p->mapping, p->has_observed ? &p->observed : NULL);
}

bool portmap_connection(const struct portmap *p, struct portmap_connection *out)
{
    if (!p->is_mapped || use_of(p) != MAPPING_OPEN)
        return false;
    *out = (struct portmap_connection){ p->mapping.address, p->mapping.port, p->loopback };
    return true;
}

static void write_sentence(const struct portmap *p, char *out, size_t cap)
{
    static const char *const FROM_INSIDE[] = {
        [PORTMAP_LOOPBACK_UNKNOWN] = "",
        [PORTMAP_LOOPBACK_NO] = "; not from inside: the router has no NAT loopback",
        [PORTMAP_LOOPBACK_YES] = "; from inside as well",
    };
    char ip[WORTH_TEXT_MAX];
    worth_format(&p->mapping.address, ip);
    if (!p->is_mapped)
        (void)snprintf(out, cap, "%s", p->why.text[0] != 0 ? p->why.text : "the router is asked");
    else if (use_of(p) == MAPPING_OPEN)
        (void)snprintf(out, cap, "%s:%u leads here%s", ip, p->mapping.port,
                       FROM_INSIDE[p->loopback]);
    else if (use_of(p) == MAPPING_NO_ADDRESS)
        (void)snprintf(out, cap, "the router has no address on the Internet");
    else if (use_of(p) == MAPPING_INNER)
        (void)snprintf(out, cap,
                       "of no use: the router's own address, %s, is a private one, so there is "
                       "another router or the provider's NAT before the Internet",
                       ip);
    else
        (void)snprintf(out, cap,
                       "of no use: the router says that its address is %s, but the service sees "
                       "another, so there is another NAT before the Internet",
                       ip);
}

json_t *portmap_to_json(const struct portmap *p, int64_t now_s)
{
    char text[sizeof p->why.text + 128], ip[WORTH_TEXT_MAX];
    bool open = p->is_mapped && use_of(p) == MAPPING_OPEN;
    json_t *loopback = p->loopback == PORTMAP_LOOPBACK_UNKNOWN
                           ? json_null()
                           : json_boolean(p->loopback == PORTMAP_LOOPBACK_YES);
    write_sentence(p, text, sizeof text);
    int64_t wait_ms = p->next_ms - clock_mono_ms();
    json_t *root = json_pack("{ss si so ss sI}", "state",
                             open                  ? "open"
                             : p->is_mapped        ? "useless"
                             : p->why.text[0] != 0 ? "failed"
                                                   : "asking",
                             "port", (int)p->options.port, "nat_loopback", loopback, "text", text,
                             "next_at", (json_int_t)(now_s + (wait_ms > 0 ? wait_ms / 1000 : 0)));
    if (root == NULL || !p->is_mapped)
        return root;
    worth_format(&p->mapping.address, ip);
    (void)json_object_set_new(root, "protocol",
                              json_string(mapping_protocol_name(p->mapping.protocol)));
    (void)json_object_set_new(root, "address", json_string(ip));
    (void)json_object_set_new(root, "external_port", json_integer(p->mapping.port));
    return root;
}

static void tell(struct portmap *p)
{
    struct portmap_connection now = { .port = 0 };
    char text[sizeof p->why.text + 128];
    if (!portmap_connection(p, &now))
        now.port = 0;
    if (now.port == p->told.port && now.loopback == p->told.loopback &&
        memcmp(now.address.bytes, p->told.address.bytes, 4) == 0)
        return;
    p->told = now;
    write_sentence(p, text, sizeof text);
    log_info("port mapping: %s", text);
    p->options.on_change(p->options.arg);
}

/* ---- from inside ------------------------------------------------------------------------------
 */

static void on_look(void *arg, enum tlslook_end end, X509 *leaf)
{
    struct portmap *p = arg;
    bool ours = end == TLSLOOK_SEEN && p->options.is_ours(p->options.arg, leaf);
    tlslook_free(p->look);
    p->look = NULL;
    p->loopback = ours ? PORTMAP_LOOPBACK_YES : PORTMAP_LOOPBACK_NO;
    tell(p);
}

/* Comes to itself by the outer address, as a phone at home would. */
static void look(struct portmap *p)
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(p->mapping.port) };
    struct addr address = { .len = sizeof sin };
    memcpy(&sin.sin_addr, p->mapping.address.bytes, sizeof sin.sin_addr);
    memcpy(&address.ss, &sin, sizeof sin);
    tlslook_free(p->look);
    p->look = NULL;
    p->looked_ms = clock_mono_ms();
    if (tlslook_new(&p->look, p->loop, p->tls, &address, p->name, on_look, p) != ERR_OK)
        p->loopback = PORTMAP_LOOPBACK_UNKNOWN;
}

/* ---- the program ------------------------------------------------------------------------------
 */

static void finish(struct portmap *p)
{
    void (*fn)(void *arg) = p->on_end;
    p->on_end = NULL;
    if (fn != NULL)
        fn(p->end_arg);
}

/* Runs it with `words`. A run that cannot be started is a failure of this try. */
static enum err run(struct portmap *p, const char *words,
                    void (*fn)(void *arg, const struct hook_result *r))
{
    char command[256], helper[PATH_MAX + 16];
    char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    char *env[] = { path, helper, NULL };
    (void)snprintf(command, sizeof command, "exec \"$HELPER\" %s", words);
    (void)snprintf(helper, sizeof helper, "HELPER=%s", p->helper);
    if (access(p->helper, X_OK) != 0)
        return err_set(&p->why, ERR_UNAVAILABLE, "%s is not installed", p->helper);
    enum err e = hook_run(p->hook, command, env, RUN_MS, 0, fn, p, &p->why);
    p->is_running = e == ERR_OK;
    return e;
}

static void set_timer(struct portmap *p, int64_t seconds)
{
    p->next_ms = clock_mono_ms() + seconds * 1000;
    loop_timer_set(p->timer, seconds * 1000);
}

static void fail(struct portmap *p)
{
    int64_t wait_s = (int64_t)RETRY_MIN_S << (p->failures < 6 ? p->failures : 6);
    p->failures++;
    if (p->is_mapped && p->ends_ms != 0 && clock_mono_ms() >= p->ends_ms)
        p->is_mapped = false;
    log_debug("port mapping: %s", p->why.text);
    set_timer(p, wait_s < RETRY_MAX_S ? wait_s : RETRY_MAX_S);
    tell(p);
}

static void take(struct portmap *p, const struct mapping *m)
{
    bool same = p->is_mapped && m->port == p->mapping.port &&
                memcmp(m->address.bytes, p->mapping.address.bytes, 4) == 0;
    int64_t now_ms = clock_mono_ms();
    p->is_mapped = true;
    p->mapping = *m;
    p->ends_ms = m->lifetime_s > 0 ? now_ms + m->lifetime_s * 1000 : 0;
    p->failures = 0;
    p->why.text[0] = 0;
    if (!same)
        p->loopback = PORTMAP_LOOPBACK_UNKNOWN;
    if (use_of(p) == MAPPING_OPEN && (!same || now_ms >= p->looked_ms + LOOK_AGAIN_MS))
        look(p);
    set_timer(p, mapping_renew_in_s(m));
    tell(p);
}

/* The sentence for a run that printed no JSON. */
static void explain(struct portmap *p, const struct hook_result *r)
{
    if (r->timed_out || r->exit_status == 128 + SIGALRM)
        (void)err_set(&p->why, ERR_TIMEOUT, "the router did not answer in time");
    else
        (void)err_set(&p->why, ERR_REMOTE, "lanyard-portmap ended with status %d", r->exit_status);
}

static void give_back(struct portmap *p);

static void on_asked(void *arg, const struct hook_result *r)
{
    struct portmap *p = arg;
    struct mapping m;
    struct span output = { (const uint8_t *)r->output, strlen(r->output) };
    enum err e = mapping_parse(&m, output, &p->why);
    p->is_running = false;
    if (e == ERR_INVALID)
        explain(p, r);
    if (e == ERR_OK)
        take(p, &m);
    else
        fail(p);
    if (p->is_ending)
        give_back(p);
    else if (p->again)
        ask_soon(p);
}

static void ask(struct portmap *p)
{
    char words[64];
    p->again = p->is_running;
    if (p->is_running)
        return;
    p->asked_ms = clock_mono_ms();
    (void)snprintf(words, sizeof words, "map %u %u %d", p->options.port,
                   p->is_mapped ? p->mapping.port : p->options.external, LIFETIME_S);
    if (run(p, words, on_asked) != ERR_OK)
        fail(p);
}

/* But not again and again for somebody who goes on saying so. */
static void ask_soon(struct portmap *p)
{
    int64_t now_ms = clock_mono_ms(), due_ms = p->asked_ms + NEWS_MS;
    p->again = false;
    if (p->next_ms > now_ms && p->next_ms < due_ms)
        return;
    p->next_ms = due_ms > now_ms ? due_ms : now_ms;
    loop_timer_set(p->timer, p->next_ms - now_ms);
}

static void on_timer(void *arg)
{
    struct portmap *p = arg;
    if (p->is_ending)
        finish(p); /* it took too long */
    else
        ask(p);
}

/* ---- changes ----------------------------------------------------------------------------------
 */

void portmap_refresh(struct portmap *p)
{
    struct in_addr gateway = { 0 }, own = { 0 };
    (void)interfaces_gateway(&gateway, &own);
    if (p->is_ending || (gateway.s_addr == p->gateway.s_addr && own.s_addr == p->own.s_addr))
        return;
    p->gateway = gateway;
    p->own = own;
    p->is_mapped = false; /* that was another router, or another address of ours */
    p->failures = 0;
    p->why.text[0] = 0;
    tell(p);
    ask(p);
}

/* The router says that something changed; or somebody does who wants us to be busy. */
static void on_news(void *arg)
{
    struct portmap *p = arg;
    if (p->is_running)
        p->again = true;
    else if (!p->is_ending)
        ask_soon(p);
}

void portmap_observe(struct portmap *p, const struct ip *address)
{
    if (address->family != 4 || p->is_ending ||
        (p->has_observed && memcmp(address->bytes, p->observed.bytes, 4) == 0))
        return;
    p->observed = *address;
    p->has_observed = true;
    ask(p); /* the router's address may have changed a moment ago */
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static void on_given_back(void *arg, const struct hook_result *r)
{
    struct portmap *p = arg;
    p->is_running = false;
    log_info("port mapping: %s", r->exit_status == 0 ? "given back"
                                                     : "not given back: it ends "
                                                       "by itself");
    finish(p);
}

static void give_back(struct portmap *p)
{
    char words[64];
    if (!p->is_mapped) {
        finish(p);
        return;
    }
    p->is_mapped = false;
    (void)snprintf(words, sizeof words, "unmap %s %u %u",
                   mapping_protocol_name(p->mapping.protocol), p->options.port, p->mapping.port);
    loop_timer_set(p->timer, END_MS); /* a renewal that just ended has set it */
    if (run(p, words, on_given_back) != ERR_OK)
        finish(p);
}

bool portmap_end(struct portmap *p, void (*fn)(void *arg), void *arg)
{
    if (p->is_ending || (!p->is_mapped && !p->is_running))
        return false;
    p->is_ending = true;
    p->on_end = fn;
    p->end_arg = arg;
    loop_timer_set(p->timer, END_MS);
    if (!p->is_running)
        give_back(p);
    return true;
}

/* ---- start ------------------------------------------------------------------------------------
 */

/* lanyard-portmap lies beside the agent. */
static enum err find_helper(char out[PATH_MAX], struct err_info *info)
{
    static const char NAME[] = "lanyard-portmap";
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - sizeof NAME - 1);
    char *slash = NULL;
    if (n > 0) {
        out[n] = 0;
        slash = strrchr(out, '/');
    }
    if (slash == NULL)
        return err_set(info, ERR_IO, "cannot find the folder of this program");
    memcpy(slash + 1, NAME, sizeof NAME);
    return ERR_OK;
}

enum err portmap_new(struct portmap **out, struct loop *l, const struct portmap_options *o,
                     struct err_info *info)
{
    struct portmap *p = calloc(1, sizeof *p);
    if (p == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    p->loop = l;
    p->options = *o;
    enum err e = find_helper(p->helper, info);
    if (e == ERR_OK) {
        p->name = strdup(o->name);
        p->tls = SSL_CTX_new(TLS_client_method());
        if (p->name == NULL || p->tls == NULL || hook_new(&p->hook, l) != ERR_OK ||
            loop_timer_new(&p->timer, l, on_timer, p) != ERR_OK)
            e = err_set(info, ERR_NOMEM, "out of memory");
    }
    if (e != ERR_OK) {
        portmap_free(p);
        return e;
    }
    if (routernews_new(&p->news, l, on_news, p) != ERR_OK)
        log_debug("port mapping: what the router announces cannot be heard");
    (void)interfaces_gateway(&p->gateway, &p->own);
    ask(p);
    *out = p;
    return ERR_OK;
}

void portmap_free(struct portmap *p)
{
    if (p == NULL)
        return;
    hook_free(p->hook);
    routernews_free(p->news);
    tlslook_free(p->look);
    loop_timer_free(p->timer);
    SSL_CTX_free(p->tls);
    free(p->name);
    free(p);
}
