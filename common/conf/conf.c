#include "common/conf/conf.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/buf.h"
#include "common/base/file.h"

#define FILE_MAX (1024 * 1024) /* bytes of a configuration file */
#define MAX_SET 4096           /* options a file may set */

struct mark {
    const cfg_opt_t *opt;
    int line;
};

struct conf {
    char *path;
    char *dir; /* folder of `path`, ending in '/' or empty */
    cfg_t *root;
    struct mark *marks;
    size_t n_marks;
    struct err_info *info; /* only while parsing */
    bool failed;           /* `info` holds the first complaint */
};

/* libconfuse's callbacks carry no context: the parse in progress on this thread. */
static _Thread_local struct conf *parsing;

static void on_error(cfg_t *cfg, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    struct conf *c = parsing;
    if (c == NULL || c->failed || c->info == NULL)
        return;
    char text[320];
    (void)vsnprintf(text, sizeof text, fmt, ap);
    c->failed = true;
    const char *advice = strncmp(text, "no such option", 14) == 0
                             ? ": check its spelling and its section, or remove it"
                             : "";
    (void)err_set(c->info, ERR_CONFIG, "%s:%d: %s%s", c->path, cfg != NULL ? cfg->line : 0, text,
                  advice);
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
    struct conf *c = parsing;
    if (c == NULL || c->n_marks == MAX_SET) {
        cfg_error(cfg, "more than %d options are set", MAX_SET);
        return -1;
    }
    for (size_t i = 0; i < c->n_marks; i++) {
        if (c->marks[i].opt == opt) /* a list: the line of its first value */
            return 0;
    }
    c->marks[c->n_marks++] = (struct mark){ opt, cfg->line };
    return 0;
}

static void watch_options(cfg_opt_t *opts)
{
    for (cfg_opt_t *o = opts; o != NULL && o->type != CFGT_NONE; o++) {
        if (o->type == CFGT_SEC)
            watch_options(o->subopts);
        else if (o->type != CFGT_FUNC)
            o->validcb = on_value;
    }
}

static enum err split_path(struct conf *c, const char *path)
{
    c->path = strdup(path);
    const char *slash = strrchr(path, '/');
    c->dir = slash == NULL ? strdup("") : strndup(path, (size_t)(slash - path) + 1);
    c->marks = calloc(MAX_SET, sizeof *c->marks);
    return c->path != NULL && c->dir != NULL && c->marks != NULL ? ERR_OK : ERR_NOMEM;
}

/* The end of the quoted string that begins at `p`; NULL when it has none. */
static char *string_end(char *p)
{
    char quote = *p++;
    while (*p != 0 && *p != quote)
        p += *p == '\\' && p[1] != 0 ? 2 : 1;
    return *p != 0 ? p : NULL;
}

/* Blanks the comment that begins at `p`; returns its last byte, NULL when it has no end. */
static char *blank_comment(char *p)
{
    char *end = p + strcspn(p, "\n");
    if (p[0] == '/' && p[1] == '*') {
        end = strstr(p + 2, "*/");
        if (end == NULL)
            return NULL;
        end += 2;
    }
    for (; p < end; p++)
        *p = *p == '\n' ? '\n' : ' ';
    return end - 1;
}

/* Blanks comments in place. libconfuse 3.3 counts the line end of a comment more than once, and
 * every line number after it would be wrong; a comment or string without an end leaves its lexer
 * inside of it, also for the next file. Returns where such a one begins, NULL when there is none.
 * A slash begins a comment only where a word could begin, not in https://host. */
static const char *blank_comments(char *text)
{
    bool word = false; /* inside an unquoted word */
    for (char *p = text; *p != 0; p++) {
        const char *from = p;
        bool slash = !word && p[0] == '/' && (p[1] == '/' || p[1] == '*');
        bool quoted = *p == '"' || *p == '\'';
        if (quoted || slash || *p == '#') {
            p = quoted ? string_end(p) : blank_comment(p);
            if (p == NULL)
                return from;
            word = false;
        } else {
            word = strchr(" \t\r\n={}()+,", *p) == NULL;
        }
    }
    return NULL;
}

/* The first brace without its other one, in a text without comments; NULL when there is none.
 * libconfuse takes the end of the file for the end of a section: what a half-written file lacks
 * would not be missed. */
static const char *find_unpaired(char *text)
{
    size_t depth = 0;
    const char *opened = NULL;
    for (char *p = text; *p != 0; p++) {
        if (*p == '"' || *p == '\'')
            p = string_end(p); /* it has one: blank_comments() has looked */
        else if (*p == '{' && depth++ == 0)
            opened = p;
        else if (*p == '}' && depth-- == 0)
            return p;
    }
    return depth > 0 ? opened : NULL;
}

static int line_of(const char *text, const char *at)
{
    int line = 1;
    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

static enum err parse_file(struct conf *c, const char *path, struct err_info *info)
{
    struct buf text;
    buf_init(&text, FILE_MAX);
    struct err_info why = { "" };
    enum err e = file_read(path, &text, &why);
    buf_add_str(&text, "\n");
    if (e == ERR_OK && buf_error(&text) == ERR_OK && memchr(text.p, 0, text.len) != NULL)
        e = err_set(&why, ERR_INVALID, "there is a NUL byte in it");
    if (e != ERR_OK || buf_error(&text) != ERR_OK) {
        buf_wipe(&text);
        return err_set(info, ERR_CONFIG, "%s: cannot read the configuration: %s", path, why.text);
    }
    const char *open = blank_comments((char *)text.p);
    if (open != NULL) {
        e = err_set(info, ERR_CONFIG, "%s:%d: the %s that begins here does not end", path,
                    line_of(buf_str(&text), open), *open == '/' ? "comment" : "string");
        buf_wipe(&text);
        return e;
    }
    open = find_unpaired((char *)text.p);
    if (open != NULL) {
        e = err_set(info, ERR_CONFIG, "%s:%d: %s", path, line_of(buf_str(&text), open),
                    *open == '{' ? "the { that is opened here is not closed"
                                 : "a } without a { before it");
        buf_wipe(&text);
        return e;
    }
    parsing = c;
    int rc = cfg_parse_buf(c->root, buf_str(&text));
    parsing = NULL;
    buf_wipe(&text);
    if (rc == CFG_SUCCESS)
        return ERR_OK;
    return c->failed ? ERR_CONFIG : err_set(info, ERR_CONFIG, "%s: cannot be parsed", path);
}

enum err conf_load(struct conf **out, const char *path, cfg_opt_t *opts, struct err_info *info)
{
    struct err_info unused;
    struct conf *c = calloc(1, sizeof *c);
    enum err e = c == NULL ? ERR_NOMEM : split_path(c, path);
    if (e != ERR_OK) {
        (void)err_set(info, e, "out of memory");
        goto out;
    }
    c->info = info != NULL ? info : &unused;
    watch_options(opts);
    c->root = cfg_init(opts, CFGF_NONE);
    if (c->root == NULL) {
        e = err_set(info, ERR_NOMEM, "out of memory");
        goto out;
    }
    cfg_set_error_function(c->root, on_error);
    e = parse_file(c, path, info);
    if (e != ERR_OK)
        goto out;
    c->info = NULL;
    *out = c;
    c = NULL;
    e = ERR_OK;
out:
    conf_free(c);
    return e;
}

void conf_free(struct conf *c)
{
    if (c == NULL)
        return;
    if (c->root != NULL)
        cfg_free(c->root);
    free(c->marks);
    free(c->path);
    free(c->dir);
    free(c);
}

cfg_t *conf_root(struct conf *c)
{
    return c->root;
}

static const struct mark *find_mark(const struct conf *c, cfg_t *sec, const char *key)
{
    const cfg_opt_t *opt = cfg_getopt(sec, key);
    for (size_t i = 0; opt != NULL && i < c->n_marks; i++) {
        if (c->marks[i].opt == opt)
            return &c->marks[i];
    }
    return NULL;
}

bool conf_is_set(const struct conf *c, cfg_t *sec, const char *key)
{
    return find_mark(c, sec, key) != NULL;
}

int conf_line(const struct conf *c, cfg_t *sec, const char *key)
{
    const struct mark *m = key == NULL ? NULL : find_mark(c, sec, key);
    return m != NULL ? m->line : sec->line;
}

enum err conf_fail(const struct conf *c, cfg_t *sec, const char *key, struct err_info *info,
                   const char *fmt, ...)
{
    char text[360];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const char *title = cfg_title(sec);
    if (sec == c->root || title == NULL)
        return err_set(info, ERR_CONFIG, "%s:%d: %s: %s", c->path, conf_line(c, sec, key),
                       key != NULL ? key : cfg_name(sec), text);
    return err_set(info, ERR_CONFIG, "%s:%d: %s \"%s\"%s%s: %s", c->path, conf_line(c, sec, key),
                   cfg_name(sec), title, key != NULL ? ": " : "", key != NULL ? key : "", text);
}

char *conf_path(const struct conf *c, const char *value)
{
    char *path = NULL;
    if (asprintf(&path, "%s%s", value[0] == '/' ? "" : c->dir, value) < 0)
        return NULL;
    return path;
}

bool conf_is_open(const struct conf *c)
{
    struct stat st;
    return stat(c->path, &st) != 0 || (st.st_mode & S_IRWXO) != 0;
}

char *conf_where(const struct conf *c, cfg_t *sec, const char *key)
{
    char *where = NULL;
    if (asprintf(&where, "%s:%d", c->path, conf_line(c, sec, key)) < 0)
        return NULL;
    return where;
}

enum err conf_read_log(struct conf *c, enum log_level *level, struct err_info *info)
{
    enum log_format format;
    cfg_t *root = conf_root(c);
    const char *name = cfg_getstr(root, "log_level"), *form = cfg_getstr(root, "log_format");
    if (!log_level_parse(name, level))
        return conf_fail(c, root, "log_level", info, "'%s': write debug, info, warn or error",
                         name);
    if (!log_format_parse(form, &format))
        return conf_fail(c, root, "log_format", info, "'%s': write text or json", form);
    log_set_format(format);
    return ERR_OK;
}
