/*  qr.c - libqrencode makes the squares; a row's neighbours are drawn as one rectangle. The border of
 *  four units is what readers need. */
#include "qr.h"

#include "error.h"

#include <errno.h>
#include <qrencode.h>

enum { BORDER = 4 };

/* As h1 v1 h-1 z of the row's run, moved to from the picture's corner. */
static int draw_row(const unsigned char *squares, int width, int y, buf *out)
{
    int rc = 0;
    for (int x = 0; rc == 0 && x < width; x++) {
        int from = x;
        while (x < width && (squares[x] & 1))
            x++;
        if (x > from)
            rc = buf_printf(out, "M%d %dh%dv1h-%dz", from + BORDER, y + BORDER, x - from, x - from);
    }
    return rc;
}

int qr_svg(const char *text, buf *out)
{
    QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);
    if (code == NULL) return errno == ENOMEM ? SV_E_NO_MEMORY : SV_E_TOO_LARGE;
    int side = code->width + 2 * BORDER;
    int rc = buf_printf(out,
                        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
                        "shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/>"
                        "<path d=\"",
                        side, side, side, side);
    for (int y = 0; rc == 0 && y < code->width; y++)
        rc = draw_row(code->data + y * code->width, code->width, y, out);
    if (rc == 0) rc = buf_printf(out, "\"/></svg>");
    QRcode_free(code);
    return rc;
}
