/* jsondepth.h - how deep a JSON text is nested, looked at before a parser that recurses sees it.
 * Pure; any thread. */
#ifndef LANYARD_BASE_JSONDEPTH_H
#define LANYARD_BASE_JSONDEPTH_H

#include <stdbool.h>

#include "common/base/span.h"

/* Whether brackets are nested at most `max` deep. The text need not be JSON. */
bool jsondepth_is_within(struct span text, unsigned max);

#endif
