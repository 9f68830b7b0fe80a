#include "provisiond/store/seenmark.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "provisiond/store/audit.h"
#include "provisiond/store/token.h"

#define FILE_MAX (64 * 1024)
#define HEX_LEN (2 * AUDIT_HASH_LEN)

/* False: the store is no file. */
static bool mark_path(char *out, size_t cap, const char *url)
{
    static const char SQLITE[] = "sqlite:";
    if (strncmp(url, SQLITE, sizeof SQLITE - 1) != 0)
        return false;
    int n = snprintf(out, cap, "%s.seen", url + sizeof SQLITE - 1);
    return n > 0 && (size_t)n < cap;
}

static void format_hash(char out[HEX_LEN + 1], struct span hash)
{
    out[0] = 0;
    for (size_t i = 0; hash.len == AUDIT_HASH_LEN && i < hash.len; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", hash.p[i]);
}

/* Whether the audit log has that row, with that hash. */
static enum err has_row(struct sql *db, const char *chain, int64_t seq, const char *hex, bool *has,
                        struct err_info *info)
{
    struct sql_query q;
    *has = false;
    sql_begin(&q, db, "SELECT hash FROM audit WHERE chain=$1 AND seq=$2");
    sql_bind_text(&q, 1, chain);
    sql_bind_int(&q, 2, seq);
    while (sql_row(&q)) {
        char found[HEX_LEN + 1];
        format_hash(found, sql_blob(&q, 0));
        *has = strcmp(found, hex) == 0;
    }
    return sql_end(&q, NULL, info);
}

/* Lines of "SEQ HASH CHAIN". One that is none of these is as good as not written. */
static enum err compare(struct sql *db, char *text, bool *lacks, struct err_info *info)
{
    enum err e = ERR_OK;
    char *save = NULL;
    *lacks = false;
    for (char *line = strtok_r(text, "\n", &save); line != NULL && e == ERR_OK && !*lacks;
         line = strtok_r(NULL, "\n", &save)) {
        long long seq = 0;
        char hex[HEX_LEN + 1] = "";
        int at = 0;
        bool has = true;
        if (sscanf(line, "%lld %64[0-9a-f] %n", &seq, hex, &at) == 2 && seq > 0 && line[at] != 0)
            e = has_row(db, line + at, seq, hex, &has, info);
        *lacks = !has;
    }
    return e;
}

struct holding {
    int64_t now_s, n;
};

static enum err hold(void *arg, struct sql *db, struct err_info *info)
{
    struct holding *h = arg;
    struct audit_row row = { .actor = "service", .action = "tokens-held" };
    enum err e = token_hold_all(db, h->now_s, &h->n, info);
    (void)snprintf(row.detail, sizeof row.detail, "the store was restored: %lld tokens",
                   (long long)h->n);
    return e == ERR_OK ? audit_append(db, &row, h->now_s, info) : e;
}

/* Removes what a kill in the middle of a note leaves. */
static void remove_temporary(const char *path)
{
    static const char TMP[] = ".tmp";
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    size_t name_len = strlen(name);
    int n = slash == NULL ? snprintf(dir, sizeof dir, ".")
                          : snprintf(dir, sizeof dir, "%.*s", (int)(name - path), path);
    DIR *d = n > 0 && (size_t)n < sizeof dir ? opendir(dir) : NULL;
    const struct dirent *entry;
    while (d != NULL && (entry = readdir(d)) != NULL) {
        size_t len = strlen(entry->d_name);
        if (len > name_len + sizeof TMP && strncmp(entry->d_name, name, name_len) == 0 &&
            entry->d_name[name_len] == '.' &&
            strcmp(entry->d_name + len - (sizeof TMP - 1), TMP) == 0)
            (void)unlinkat(dirfd(d), entry->d_name, 0);
    }
    if (d != NULL)
        (void)closedir(d);
}

enum err seenmark_check(struct sql *db, const char *url, int64_t now_s, bool *lacks,
                        int64_t *n_held, struct err_info *info)
{
    char path[4096];
    struct buf text;
    struct holding h = { .now_s = now_s };
    *lacks = false;
    *n_held = 0;
    if (!mark_path(path, sizeof path, url))
        return ERR_OK;
    remove_temporary(path);
    buf_init(&text, FILE_MAX);
    enum err e = file_read(path, &text, info);
    if (e == ERR_OK) {
        buf_add(&text, "", 1);
        e = buf_error(&text);
    }
    if (e == ERR_OK)
        e = compare(db, (char *)text.p, lacks, info);
    if (e == ERR_OK && *lacks)
        e = sql_transact(db, hold, &h, info);
    buf_clear(&text);
    *n_held = h.n;
    return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* Most minutes change nothing: then the disk is left alone. */
static bool is_noted(const char *path, struct span text)
{
    struct buf old;
    buf_init(&old, FILE_MAX);
    bool is = file_read(path, &old, NULL) == ERR_OK && span_equal(buf_span(&old), text);
    buf_clear(&old);
    return is;
}

enum err seenmark_note(struct sql *db, const char *url, struct err_info *info)
{
    char path[4096];
    struct buf text;
    struct sql_query q;
    if (!mark_path(path, sizeof path, url))
        return ERR_OK;
    buf_init(&text, FILE_MAX);
    sql_begin(&q, db, "SELECT seq, hash, chain FROM audit_head ORDER BY chain");
    while (sql_row(&q)) {
        char hex[HEX_LEN + 1];
        format_hash(hex, sql_blob(&q, 1));
        buf_add_fmt(&text, "%lld %s %s\n", (long long)sql_int(&q, 0), hex, sql_text(&q, 2));
    }
    enum err e = sql_end(&q, NULL, info);
    if (e == ERR_OK && buf_error(&text) != ERR_OK)
        e = err_set(info, buf_error(&text), "%s would be larger than %d bytes", path, FILE_MAX);
    if (e == ERR_OK && !is_noted(path, buf_span(&text)))
        e = file_write_atomic(path, buf_span(&text), 0600, info);
    buf_clear(&text);
    return e;
}
