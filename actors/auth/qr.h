/*  qr.h - a QR code as an SVG picture: squares of whole units in one path, no reference to anything
 *  outside.   Thread: any.   Errors: SV_E_TOO_LARGE for text that no code holds, SV_E_NO_MEMORY. */
#ifndef AUTH_QR_H
#define AUTH_QR_H

#include "buf.h"
#include "sv_types.h"

/* Appends the picture of the text. */
int qr_svg(const char *text, buf *out);

#endif
