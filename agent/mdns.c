#include "agent/mdns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/hook.h"
#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/log.h"

#define TXT_MAX 255     /* bytes of one string [RFC 6763 s6.1] */
#define NAME_MAX_LEN 63 /* bytes of an instance's name [RFC 6763 s4.1.1] */
#define FILE_MAX_LEN 8192
#define RETRY_MS 60000
#define ENV_N 7

/* It goes when we go, even by SIGKILL; and it waits for a daemon that is not there yet. */
#define COMMAND                                                                                    \
    "command -v avahi-publish >/dev/null || { echo avahi-publish is not installed; exit 127; }; "  \
    "keep=; command -v setpriv >/dev/null && keep='setpriv --pdeathsig TERM'; "                    \
    "exec $keep avahi-publish -f -s --subtype=" MDNS_SUBTYPE " -- \"$NAME\" " MDNS_TYPE            \
    " \"$PORT\" \"$ID\" path=/ ${URL:+\"$URL\"}"

struct told {
    char name[NAME_MAX_LEN + 1], id[TXT_MAX + 1], url[TXT_MAX + 1]; /* TXT strings; "" is none */
    uint16_t port;                                                  /* 0: nothing is told */
};

struct mdns {
    char *service_file;
    struct hook *hook;
    struct loop_timer *timer;
    struct told want, now; /* now: of the program that runs, or the file that is there */
    bool is_running;
    struct err_info why; /* "" when all is well */
};

/* ---- a service file ---------------------------------------------------------------------------
 */

static void add_xml(struct buf *out, const char *text)
{
    for (const char *p = text; *p != 0; p++) {
        if (*p == '<')
            buf_add_str(out, "&lt;");
        else if (*p == '&')
            buf_add_str(out, "&amp;");
        else
            buf_add(out, p, 1);
    }
}

static void add_txt(struct buf *out, const char *text)
{
    if (text[0] == 0)
        return;
    buf_add_str(out, "<txt-record>");
    add_xml(out, text);
    buf_add_str(out, "</txt-record>\n");
}

static enum err write_file(const struct mdns *m, struct err_info *info)
{
    struct buf xml;
    buf_init(&xml, FILE_MAX_LEN);
    buf_add_str(&xml, "<?xml version=\"1.0\" standalone=\"no\"?>\n"
                      "<!DOCTYPE service-group SYSTEM \"avahi-service.dtd\">\n"
                      "<!-- written by lanyard-agent -->\n<service-group>\n<name>");
    add_xml(&xml, m->want.name);
    buf_add_fmt(&xml,
                "</name>\n<service>\n<type>" MDNS_TYPE "</type>\n<subtype>" MDNS_SUBTYPE
                "</subtype>\n<port>%u</port>\n",
                m->want.port);
    add_txt(&xml, m->want.id);
    add_txt(&xml, "path=/");
    add_txt(&xml, m->want.url);
    buf_add_str(&xml, "</service>\n</service-group>\n");
    enum err e = buf_error(&xml);
    mode_t mask = umask(022); /* avahi-daemon is another user */
    if (e == ERR_OK)
        e = file_write_atomic(m->service_file, buf_span(&xml), 0644, info);
    (void)umask(mask);
    buf_clear(&xml);
    return e;
}

static void remove_file(struct mdns *m)
{
    if (unlink(m->service_file) != 0 && errno != ENOENT)
        log_warn("mdns: cannot remove %s: %s", m->service_file, strerror(errno));
}

static void update_file(struct mdns *m)
{
    m->why.text[0] = 0;
    if (m->want.port == 0) {
        remove_file(m);
    } else if (write_file(m, &m->why) != ERR_OK) {
        log_warn("mdns: %s", m->why.text);
        loop_timer_set(m->timer, RETRY_MS);
        return;
    }
    m->now = m->want;
}

/* ---- avahi-publish ----------------------------------------------------------------------------
 */

static char *env_text(const char *key, const char *value)
{
    char *text = NULL;
    return asprintf(&text, "%s=%s", key, value) < 0 ? NULL : text;
}

static void on_end(void *arg, const struct hook_result *r);

static enum err start_program(struct mdns *m)
{
    char port[8], *env[ENV_N] = { NULL };
    const char *bus = getenv("DBUS_SYSTEM_BUS_ADDRESS"), *path = getenv("PATH");
    size_t n = 0;
    (void)snprintf(port, sizeof port, "%u", m->want.port);
    env[n++] = env_text("PATH", path != NULL ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
    env[n++] = env_text("NAME", m->want.name);
    env[n++] = env_text("PORT", port);
    env[n++] = env_text("ID", m->want.id);
    env[n++] = env_text("URL", m->want.url);
    if (bus != NULL)
        env[n++] = env_text("DBUS_SYSTEM_BUS_ADDRESS", bus);
    enum err e = ERR_OK;
    for (size_t i = 0; i < n; i++) {
        if (env[i] == NULL)
            e = err_set(&m->why, ERR_NOMEM, "out of memory");
    }
    if (e == ERR_OK)
        e = hook_run(m->hook, COMMAND, env, HOOK_NO_LIMIT, 0, on_end, m, &m->why);
    for (size_t i = 0; i < n; i++)
        free(env[i]);
    return e;
}

/* One program at a time: the one before must have taken its word back. */
static void update_program(struct mdns *m)
{
    if (m->is_running) {
        hook_end(m->hook);
        return;
    }
    m->now = (struct told){ .port = 0 };
    m->why.text[0] = 0;
    if (m->want.port == 0)
        return;
    if (start_program(m) != ERR_OK) {
        loop_timer_set(m->timer, RETRY_MS);
        return;
    }
    m->is_running = true;
    m->now = m->want;
}

static bool same(const struct told *a, const struct told *b)
{
    return a->port == b->port && strcmp(a->name, b->name) == 0 && strcmp(a->id, b->id) == 0 &&
           strcmp(a->url, b->url) == 0;
}

static void on_end(void *arg, const struct hook_result *r)
{
    struct mdns *m = arg;
    bool was_asked = !same(&m->want, &m->now);
    m->is_running = false;
    if (was_asked) {
        update_program(m);
        return;
    }
    m->now = (struct told){ .port = 0 };
    (void)err_set(&m->why, ERR_UNAVAILABLE, "avahi-publish ended with status %d: %.*s",
                  r->exit_status, (int)strcspn(r->output, "\r\n"), r->output);
    log_warn("mdns: %s", m->why.text);
    loop_timer_set(m->timer, RETRY_MS);
}

/* ---- both -------------------------------------------------------------------------------------
 */

static void update(void *arg)
{
    struct mdns *m = arg;
    if (m->service_file != NULL)
        update_file(m);
    else
        update_program(m);
}

static void put_txt(char out[TXT_MAX + 1], const char *key, const char *value)
{
    int n = snprintf(out, TXT_MAX + 1, "%s=%s", key, value);
    if (n < 0 || n > TXT_MAX)
        out[0] = 0; /* half of a URL is none */
}

void mdns_set(struct mdns *m, const char *id, const char *url, uint16_t port)
{
    struct told want = { .port = 0 };
    char host[256] = "";
    if (url != NULL) {
        if (gethostname(host, sizeof host - 1) != 0 || host[0] == 0)
            (void)snprintf(host, sizeof host, "%s", id);
        (void)snprintf(want.name, sizeof want.name, "%.*s", NAME_MAX_LEN, host);
        put_txt(want.id, "id", id);
        put_txt(want.url, "url", url);
        want.port = port;
    }
    if (same(&want, &m->want))
        return;
    m->want = want;
    loop_timer_cancel(m->timer);
    update(m);
}

json_t *mdns_to_json(const struct mdns *m)
{
    const char *state = m->why.text[0] != 0 ? "failed" : m->now.port != 0 ? "told" : "nothing";
    return json_pack("{ss ss ss}", "state", state, "name", m->now.name, "text",
                     m->why.text[0] != 0 ? m->why.text
                     : m->now.port != 0  ? "the network is told of the secure address"
                                         : "there is no secure address to tell of yet");
}

enum err mdns_new(struct mdns **out, struct loop *l, const char *service_file)
{
    struct mdns *m = calloc(1, sizeof *m);
    if (m == NULL)
        return ERR_NOMEM;
    enum err e = loop_timer_new(&m->timer, l, update, m);
    if (e == ERR_OK && service_file == NULL)
        e = hook_new(&m->hook, l);
    if (e == ERR_OK && service_file != NULL) {
        m->service_file = strdup(service_file);
        e = m->service_file == NULL ? ERR_NOMEM : ERR_OK;
    }
    if (e != ERR_OK) {
        mdns_free(m);
        return e;
    }
    if (m->service_file != NULL)
        remove_file(m); /* of a run before, which may have been killed */
    *out = m;
    return ERR_OK;
}

void mdns_free(struct mdns *m)
{
    if (m == NULL)
        return;
    if (m->service_file != NULL && m->now.port != 0)
        remove_file(m);
    hook_free(m->hook);
    loop_timer_free(m->timer);
    free(m->service_file);
    free(m);
}
