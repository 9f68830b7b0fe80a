#include "provisiond/discovery/pagefiles.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "common/base/b64url.h"
#include "common/base/file.h"

#define FOLDER "/companion"
#define INDEX "index.html"
#define FILES_MAX 64
#define FILE_MAX (1024 * 1024) /* bytes */
#define NAME_MAX_LEN 64        /* bytes with the NUL */
#define TAG_HASH_LEN 12        /* bytes of the hash that make the entity tag */
#define POLICY_MAX 8192        /* bytes */

struct pagefile {
    char name[NAME_MAX_LEN];
    const char *type;
    char etag[B64URL_LEN(TAG_HASH_LEN) + 3]; /* with its quotes */
    struct buf content;
};

struct pagefiles {
    size_t n;
    struct pagefile files[FILES_MAX];
    struct buf policy; /* Content-Security-Policy */
};

static const struct {
    const char *ending, *type;
} TYPES[] = {
    { ".html", "text/html; charset=utf-8" },
    { ".js", "text/javascript; charset=utf-8" },
    { ".css", "text/css; charset=utf-8" },
    { ".svg", "image/svg+xml" },
    { ".png", "image/png" },
    { ".json", "application/json" },
    { ".d.ts", "text/plain; charset=utf-8" },
};

/* NULL for a name that is not served. */
static const char *type_of(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < ARRAY_LEN(TYPES); i++) {
        size_t ending = strlen(TYPES[i].ending);
        if (name[0] != '.' && len > ending && len < NAME_MAX_LEN &&
            strcmp(name + len - ending, TYPES[i].ending) == 0)
            return TYPES[i].type;
    }
    return NULL;
}

/* --- start --- */

static enum err add_file(struct pagefiles *p, const char *dir, const char *name,
                         struct err_info *info)
{
    char path[4096];
    uint8_t hash[SHA256_DIGEST_LENGTH];
    struct pagefile *f = &p->files[p->n];
    if (p->n == FILES_MAX)
        return err_set(info, ERR_CONFIG, "%s has more than %d files", dir, FILES_MAX);
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return err_set(info, ERR_CONFIG, "%s: the path is too long", dir);
    p->n++;
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->type = type_of(name);
    buf_init(&f->content, FILE_MAX);
    enum err e = file_read(path, &f->content, info);
    if (e != ERR_OK)
        return e == ERR_NOMEM ? e : ERR_CONFIG;
    SHA256(f->content.p != NULL ? f->content.p : hash, f->content.len, hash);
    f->etag[0] = '"';
    b64url_encode((struct span){ hash, TAG_HASH_LEN }, f->etag + 1);
    strcat(f->etag, "\"");
    return ERR_OK;
}

static enum err read_folder(struct pagefiles *p, const char *dir, struct err_info *info)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return err_set(info, errno == ENOENT ? ERR_NOTFOUND : ERR_CONFIG, "cannot read %s: %s", dir,
                       strerror(errno));
    enum err e = ERR_OK;
    const struct dirent *entry;
    while (e == ERR_OK && (entry = readdir(d)) != NULL)
        if (type_of(entry->d_name) != NULL)
            e = add_file(p, dir, entry->d_name, info);
    closedir(d);
    return e;
}

/* Devices are asked by the names of their zones, over https on any port; and, only to tell a name
 * that is filtered from a device that is off, by their private addresses, which no policy can list.
 */
static void write_policy(struct buf *out, const struct config *c)
{
    buf_init(out, POLICY_MAX);
    buf_add_str(out, "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                     "connect-src 'self' http:");
    for (size_t i = 0; i < c->n_zones; i++)
        buf_add_fmt(out, " https://*.%s:*", c->zones[i].name);
    buf_add_str(out, "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
}

enum err pagefiles_new(struct pagefiles **out, const struct config *config, struct err_info *info)
{
    struct pagefiles *p = calloc(1, sizeof *p);
    if (p == NULL)
        return err_set(info, ERR_NOMEM, "out of memory");
    const char *dir = config->companion_dir;
    enum err e = read_folder(p, dir != NULL ? dir : LANYARD_COMPANION_DIR, info);
    if (e == ERR_NOTFOUND && dir == NULL)
        e = ERR_OK; /* it is not installed here */
    if (e != ERR_OK && dir != NULL)
        e = err_prefix(info, ERR_CONFIG, "%s: companion_dir: ", config->companion_where);
    write_policy(&p->policy, config);
    if (e == ERR_OK && buf_error(&p->policy) != ERR_OK)
        e = err_set(info, ERR_NOMEM, "out of memory");
    if (e != ERR_OK) {
        pagefiles_free(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

void pagefiles_free(struct pagefiles *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->n; i++)
        buf_clear(&p->files[i].content);
    buf_clear(&p->policy);
    free(p);
}

/* --- requests --- */

bool pagefiles_has(const struct httpd_req *r)
{
    size_t len = sizeof FOLDER - 1;
    const char *path = httpd_path(r);
    return strncmp(path, FOLDER, len) == 0 && (path[len] == 0 || path[len] == '/');
}

static const struct pagefile *find_file(const struct pagefiles *p, const char *path)
{
    const char *name = path + sizeof FOLDER; /* behind the slash */
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->files[i].name, name[0] != 0 ? name : INDEX) == 0)
            return &p->files[i];
    return NULL;
}

/* Relative links need the slash. */
static void redirect(struct httpd_req *r)
{
    httpd_add_header(r, "Location", FOLDER "/");
    httpd_respond(r, 308, NULL, (struct span){ NULL, 0 });
}

static void answer(const struct pagefiles *p, const struct pagefile *f, struct httpd_req *r)
{
    const char *known = httpd_header(r, "If-None-Match");
    httpd_add_header(r, "ETag", f->etag);
    httpd_add_header(r, "Cache-Control", "no-cache"); /* kept, and asked about each time */
    httpd_add_header(r, "Content-Security-Policy", buf_str(&p->policy));
    httpd_add_header(r, "X-Content-Type-Options", "nosniff");
    httpd_add_header(r, "Referrer-Policy", "no-referrer");
    httpd_add_header(r, "Access-Control-Allow-Origin", "*");
    httpd_add_header(r, "Cross-Origin-Resource-Policy", "cross-origin");
    if (known != NULL && (strstr(known, f->etag) != NULL || strcmp(known, "*") == 0))
        httpd_respond(r, 304, NULL, (struct span){ NULL, 0 }); /* [RFC 9110 s13.1.2] */
    else
        httpd_respond(r, 200, f->type, buf_span(&f->content));
}

void pagefiles_on_request(const struct pagefiles *p, struct httpd_req *r)
{
    const char *path = httpd_path(r), *method = httpd_method(r);
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        httpd_add_header(r, "Allow", "GET, HEAD"); /* [RFC 9110 s15.5.6] */
        httpd_problem(r, 405, "method", "only GET and HEAD", 0);
        return;
    }
    if (strcmp(path, FOLDER) == 0) {
        redirect(r);
        return;
    }
    const struct pagefile *f = find_file(p, path);
    if (f != NULL)
        answer(p, f, r);
    else
        httpd_problem(r, 404, "no-such-resource", "there is nothing at this path", 0);
}
