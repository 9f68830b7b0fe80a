/* guard.h - what decides on names of one zone beside their form: the keys of tags, the list of
 * suspended ids and addresses, and the accounts that may issue for all ids. They come from files
 * that change more often than the configuration: a view can be renewed with other guards, and the
 * same zones. */
#ifndef LANYARD_DNSD_CORE_GUARD_H
#define LANYARD_DNSD_CORE_GUARD_H

#include "common/dns/tag.h"
#include "dnsd/core/suspended.h"

struct persist;

/* They are never changed once made, and owned by the views that have them. */
struct guard {
    struct tag_keys *tag_keys;   /* NULL: no tag is valid */
    struct suspended *suspended; /* NULL: none are */
    struct persist *persist;     /* NULL: there are no such records */
};

#endif
