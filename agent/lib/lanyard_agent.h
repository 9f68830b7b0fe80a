/* <lanyard/agent.h> - the Lanyard agent inside your own program: it gets the certificate for
 * "*.<id>.<zone>", renews it, and tells you what to serve.
 *
 * The work is done by one thread of the library's own, since it writes to the disk and makes keys,
 * which must not hold up your loop. Your callbacks run in your thread, from within
 * lanyard_agent_process(): call that when lanyard_agent_fd() is readable, in poll(2), epoll(7) or
 * any event loop. The functions of one handle are called by one thread at a time, and not from
 * within its callbacks.
 *
 * The process stays yours: the library installs no signal handler, runs no command, and changes
 * neither the umask nor the user. It logs to standard error. Its thread does not survive a fork().
 * Initialise libcurl (curl_global_init) before, if you use it from several threads.
 *
 * Link with `pkg-config --cflags --libs lanyard-agent`. */
#ifndef LANYARD_LANYARD_AGENT_H
#define LANYARD_LANYARD_AGENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lanyard_agent; /* opaque */

enum lanyard_agent_kind {
    LANYARD_AGENT_PUBLIC, /* from the CA: for clients that ask (SNI) for <label>.<id>.<zone> */
    LANYARD_AGENT_LOCAL   /* self-signed: for all others, and while there is no valid public one */
};

struct lanyard_agent_certificate {
    enum lanyard_agent_kind kind;
    const char *name;      /* "*.<id>.<zone>", whatever the kind */
    const char *chain_pem; /* leaf first, for SSL_CTX_use_certificate() and friends */
    const char *key_pem;   /* PKCS#8, not encrypted */
    const char *dir;       /* the folder with the same as files, or NULL with the local one */
    int64_t not_after;     /* Unix seconds */
};

struct lanyard_agent_callbacks {
    size_t size; /* sizeof(struct lanyard_agent_callbacks), so that more may be added */
    /* Serve this from the next handshake on; once for each kind at the start, as soon as there is
     * one, then whenever there is another. All of `c` ends with the call; wipe your copy of the
     * key. Required. */
    void (*certificate)(void *arg, const struct lanyard_agent_certificate *c);
    /* What it is doing has changed: the JSON of `lanyard-agent status --json`. May be NULL. */
    void (*state)(void *arg, const char *json);
    void *arg;
};

/* Starts an agent with the configuration file of lanyard-agent(8), where `reload_command`,
 * `reload_pid_file`, `user`, `port_mapping` and `mdns` must not be set; proxies and pages work as
 * in the daemon, as do `status`, `renew` and `forget` of the command. `callbacks` is copied.
 * Returns 0, or -1 with a sentence in `error` (`error_size` bytes with its NUL; may be NULL and
 * 0). */
int lanyard_agent_new(struct lanyard_agent **out, const char *config_path,
                      const struct lanyard_agent_callbacks *callbacks, char *error,
                      size_t error_size);

/* Becomes readable when there is something to process. Only for waiting; it is closed by
 * lanyard_agent_free(). */
int lanyard_agent_fd(const struct lanyard_agent *a);

/* Calls your callbacks with what is new, if anything, and returns. Never blocks. */
void lanyard_agent_process(struct lanyard_agent *a);

/* The longest that your loop may wait before lanyard_agent_process(), in milliseconds, as poll(2)
 * takes it: 0 when something is there, -1 when only the descriptor has to be watched. */
int lanyard_agent_next_timeout_ms(struct lanyard_agent *a);

/* Gets a new certificate now, whatever the age of the present one. Returns 0, or -1 when out of
 * memory. */
int lanyard_agent_renew(struct lanyard_agent *a);

/* Stops it; no callback is called any more. May wait for a write to the disk. NULL does nothing. */
void lanyard_agent_free(struct lanyard_agent *a);

#ifdef __cplusplus
}
#endif

#endif
