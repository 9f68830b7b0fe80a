/* qrsvg.h - a text as a QR code, drawn as SVG: for a phone's camera. Pure; any thread. */
#ifndef LANYARD_AGENT_QRSVG_H
#define LANYARD_AGENT_QRSVG_H

#include "common/base/attr.h"
#include "common/base/buf.h"
#include "common/base/err.h"

/* Appends an <svg> element that shows `text` (at most some 2,000 bytes), black on white with the
 * quiet zone of four modules. [ISO/IEC 18004] Errors: ERR_LIMIT for a longer text, ERR_NOMEM. */
NODISCARD enum err qrsvg_write(struct buf *out, const char *text);

#endif
