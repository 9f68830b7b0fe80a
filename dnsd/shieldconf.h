/* shieldconf.h - the options about cookies, rate limiting and identity. Start-up and reload, one
 * thread at a time. */
#ifndef LANYARD_DNSD_SHIELDCONF_H
#define LANYARD_DNSD_SHIELDCONF_H

#include "common/conf/conf.h"
#include "dnsd/core/shield.h"

/* Libconfuse's table entries of the options. */
#define SHIELDCONF_OPTIONS                                                                         \
    CFG_STR("cookie_secrets", NULL, CFGF_NONE), CFG_INT("rrl_per_second", 200, CFGF_NONE),         \
        CFG_INT("rrl_slip", 2, CFGF_NONE), CFG_STR_LIST("rrl_exempt", NULL, CFGF_NONE),            \
        CFG_STR("nsid", NULL, CFGF_NONE), CFG_STR("chaos_version", NULL, CFGF_NONE),               \
        CFG_STR("chaos_hostname", NULL, CFGF_NONE)

/* Reads the options of `c`, and the file of secrets; without one, makes a random secret. `user` is
 * whom the process becomes after binding, or NULL: the file may belong to that user too.
 * Errors: ERR_CONFIG with file and line; ERR_NOMEM. */
NODISCARD enum err shieldconf_read(struct shield *out, struct conf *c, const char *user,
                                   struct err_info *info);

#endif
