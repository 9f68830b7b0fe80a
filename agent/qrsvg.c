#include "agent/qrsvg.h"

#include <errno.h>

#include <qrencode.h>

#define QUIET 4 /* modules around the code */

enum err qrsvg_write(struct buf *out, const char *text)
{
    QRcode *qr = QRcode_encodeString(text, 0, QR_ECLEVEL_M, QR_MODE_8, 1);
    if (qr == NULL)
        return errno == ERANGE ? ERR_LIMIT : ERR_NOMEM;
    int size = qr->width + 2 * QUIET;
    buf_add_fmt(out,
                "<svg class=\"qr\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"QR code\" "
                "shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/>"
                "<path d=\"",
                size, size, size, size);
    for (int y = 0; y < qr->width; y++) {
        for (int x = 0; x < qr->width;) {
            int from = x;
            while (x < qr->width && (qr->data[y * qr->width + x] & 1) != 0)
                x++;
            if (x > from) /* one bar for the dark modules of a run */
                buf_add_fmt(out, "M%d %dh%dv1h-%dz", from + QUIET, y + QUIET, x - from, x - from);
            else
                x++;
        }
    }
    buf_add_str(out, "\"/></svg>");
    QRcode_free(qr);
    return buf_error(out);
}
