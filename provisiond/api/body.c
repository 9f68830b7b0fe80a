#include "provisiond/api/body.h"

#include <string.h>

#include "common/base/jsondepth.h"

enum err body_parse(json_t **out, struct span body, struct err_info *info)
{
    json_error_t je;
    if (!jsondepth_is_within(body, BODY_DEPTH_MAX))
        return err_set(info, ERR_INVALID, "more than %d levels", BODY_DEPTH_MAX);
    json_t *o = json_loadb((const char *)body.p, body.len, JSON_REJECT_DUPLICATES, &je);
    if (o == NULL) /* not je.text, which repeats what was sent */
        return err_set(info, ERR_INVALID, "not JSON: line %d, column %d", je.line, je.column);
    if (!json_is_object(o)) {
        json_decref(o);
        return err_set(info, ERR_INVALID, "the body is not an object");
    }
    *out = o;
    return ERR_OK;
}

enum err body_get(json_t *object, const char *key, char *out, size_t cap, bool *present,
                  struct err_info *info)
{
    json_t *v = json_object_get(object, key);
    *present = v != NULL && !json_is_null(v);
    if (!*present)
        return ERR_OK;
    if (!json_is_string(v))
        return err_set(info, ERR_INVALID, "%s must be a string", key);
    size_t len = json_string_length(v);
    if (len >= cap || memchr(json_string_value(v), 0, len) != NULL)
        return err_set(info, ERR_INVALID, "%s is too long", key);
    memcpy(out, json_string_value(v), len + 1);
    return ERR_OK;
}
