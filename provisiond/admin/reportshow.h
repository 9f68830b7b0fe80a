/* reportshow.h - the part of `device show` about what the device reported. Blocking. Private to
 * admin/. */
#ifndef LANYARD_PROVISIOND_ADMIN_REPORTSHOW_H
#define LANYARD_PROVISIOND_ADMIN_REPORTSHOW_H

#include <jansson.h>

#include "provisiond/config.h"
#include "provisiond/store/device.h"

/* Prints it, or with `o` puts it there: `report` (null: there is none) and `observed`. Errors are
 * those of the database. */
NODISCARD enum err reportshow(struct sql *db, const struct device_row *d, const struct config *c,
                              json_t *o, struct err_info *info);

#endif
