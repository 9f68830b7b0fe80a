#include "provisiond/core/oidcdoc.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

enum err oidcdoc_url(char out[OIDCDOC_URL_MAX], const char *issuer)
{
    size_t len = strlen(issuer);
    if (len > 0 && issuer[len - 1] == '/')
        len--;
    int n =
        snprintf(out, OIDCDOC_URL_MAX, "%.*s/.well-known/openid-configuration", (int)len, issuer);
    return n > 0 && n < OIDCDOC_URL_MAX ? ERR_OK : ERR_LIMIT;
}

/* Visible ASCII only: it goes into a request line. */
static bool is_url(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return len < OIDCDOC_URL_MAX && strncmp(text, "https://", 8) == 0;
}

enum err oidcdoc_parse(char out[OIDCDOC_URL_MAX], struct span text, const char *issuer,
                       struct err_info *info)
{
    json_t *root = json_loadb((const char *)text.p, text.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *uri = json_object_get(root, "jwks_uri");
    const char *said = json_string_value(json_object_get(root, "issuer"));
    enum err e = ERR_OK;
    if (said == NULL || strcmp(said, issuer) != 0)
        e = err_set(info, ERR_INVALID, "its document is not JSON of exactly this issuer");
    else if (!json_is_string(uri) || !is_url(json_string_value(uri), json_string_length(uri)))
        e = err_set(info, ERR_INVALID, "its document names no key set (jwks_uri) over https");
    else
        (void)snprintf(out, OIDCDOC_URL_MAX, "%s", json_string_value(uri));
    json_decref(root);
    return e;
}
