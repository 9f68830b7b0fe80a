#include "dnsd/channel.h"

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>

enum err channel_open(struct channel *c, int fd, SSL_CTX *tls)
{
    *c = (struct channel){ .fd = fd, .ready = tls == NULL };
    if (tls == NULL)
        return ERR_OK;
    c->ssl = SSL_new(tls);
    if (c->ssl == NULL || SSL_set_fd(c->ssl, fd) != 1) {
        ERR_clear_error();
        channel_close(c);
        return ERR_NOMEM;
    }
    SSL_set_accept_state(c->ssl);
    return ERR_OK;
}

void channel_close(struct channel *c)
{
    if (c->ssl != NULL && c->ready) {
        (void)SSL_shutdown(c->ssl); /* one attempt: nobody waits for the peer's */
        ERR_clear_error();
    }
    SSL_free(c->ssl);
    if (c->fd >= 0)
        close(c->fd);
    *c = (struct channel){ .fd = -1 };
}

/* What an OpenSSL call that returned `rc` means. */
static enum channel_result judge(struct channel *c, int rc)
{
    int what = SSL_get_error(c->ssl, rc);
    c->wants_out = what == SSL_ERROR_WANT_WRITE;
    if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE)
        return CHANNEL_WAIT;
    ERR_clear_error();
    if (what == SSL_ERROR_ZERO_RETURN)
        return CHANNEL_END;
    c->ready = false; /* no goodbye on a broken session */
    return CHANNEL_GONE;
}

enum channel_result channel_greet(struct channel *c)
{
    ERR_clear_error();
    int rc = SSL_accept(c->ssl);
    if (rc != 1) {
        enum channel_result result = judge(c, rc);
        return result == CHANNEL_WAIT ? result : CHANNEL_GONE;
    }
    c->ready = true;
    c->wants_out = false;
    return CHANNEL_OK;
}

static enum channel_result judge_errno(void)
{
    bool again = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    return again ? CHANNEL_WAIT : CHANNEL_GONE;
}

enum channel_result channel_read(struct channel *c, uint8_t *p, size_t cap, size_t *len)
{
    if (c->ssl == NULL) {
        ssize_t n = recv(c->fd, p, cap, MSG_DONTWAIT);
        if (n > 0)
            *len = (size_t)n;
        return n > 0 ? CHANNEL_OK : n == 0 ? CHANNEL_END : judge_errno();
    }
    size_t got = 0;
    int rc = 1;
    c->unread = false;
    ERR_clear_error();
    while (rc == 1 && got < cap) { /* record by record */
        size_t n = 0;
        rc = SSL_read_ex(c->ssl, p + got, cap - got, &n);
        got += n;
    }
    if (got == 0)
        return judge(c, rc);
    /* An end or a failure behind the last whole bytes is told by the next call. Half a record is
     * neither, though SSL_has_pending() counts it: the rest makes the socket readable. */
    int what = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, rc);
    c->wants_out = what == SSL_ERROR_WANT_WRITE;
    c->unread = what != SSL_ERROR_WANT_READ && what != SSL_ERROR_WANT_WRITE;
    ERR_clear_error();
    *len = got;
    return CHANNEL_OK;
}

enum channel_result channel_write(struct channel *c, const uint8_t *p, size_t len, size_t *sent)
{
    if (c->ssl == NULL) {
        ssize_t n = send(c->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0)
            *sent = (size_t)n;
        return n > 0 ? CHANNEL_OK : judge_errno();
    }
    size_t done = 0;
    int rc = 1;
    ERR_clear_error();
    while (rc == 1 && done < len) {
        size_t n = 0;
        rc = SSL_write_ex(c->ssl, p + done, len - done, &n);
        done += n;
    }
    if (rc != 1) {
        enum channel_result result = judge(c, rc);
        if (result != CHANNEL_WAIT || done == 0)
            return result;
    }
    c->wants_out = false;
    *sent = done;
    return CHANNEL_OK;
}
