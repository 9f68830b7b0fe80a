/* challenge_backend.h - what a kind of database provides for challenge.h. Only common/store
 * includes this, and provisiond, whose writer to PostgreSQL stands on its own connection. */
#ifndef LANYARD_STORE_CHALLENGE_BACKEND_H
#define LANYARD_STORE_CHALLENGE_BACKEND_H

#include "common/store/challenge.h"

/* As the functions of challenge.h of the same name; put() gets a value that was checked. What only
 * writers do is NULL where a kind can only be read. */
struct challenge_ops {
    void (*free)(struct challenge_store *s);
    enum err (*get)(struct challenge_store *s, const char *zone, const char *id, int64_t now_s,
                    struct challenge_value values[CHALLENGE_VALUES_MAX], size_t *n,
                    struct err_info *info);
    enum err (*put)(struct challenge_store *s, const char *zone, const char *id, int64_t order_id,
                    const char *value, int64_t expires_at, int64_t now_s, struct err_info *info);
    enum err (*remove)(struct challenge_store *s, int64_t order_id, int64_t until_s, int64_t now_s,
                       struct err_info *info);
    enum err (*orders)(struct challenge_store *s, challenge_order_fn *fn, void *arg,
                       struct err_info *info);
};

/* First member of each kind's own struct. */
struct challenge_store {
    const struct challenge_ops *ops;
};

/* Whether `value` is 43 characters of base64url: nothing else is given to the world, whatever is in
 * the table. */
bool challenge_value_has_form(const char *value);

/* `path` of the file. */
NODISCARD enum err challenge_sqlite_open(struct challenge_store **out, const char *path,
                                         bool writer, struct err_info *info);

/* `url` as libpq reads it. Connects at the first read. */
NODISCARD enum err challenge_postgres_open(struct challenge_store **out, const char *url,
                                           struct err_info *info);

/* As challenge_url_check() and challenge_url_show(). */
NODISCARD enum err challenge_postgres_check(const char *url, bool *has_password,
                                            struct err_info *info);
void challenge_postgres_show(const char *url, char *out, size_t cap);

#endif
