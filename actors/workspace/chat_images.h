/*  chat_images.h - images of a message: data URLs of PNG, JPEG, WebP and GIF, each with a line feed behind
 *  it. What is in them is the model's to see.
 *  Thread: any.   Ownership: nothing of its own.
 *  Limits: CHAT_IMAGES of a message, and what the caller says.
 *  Errors: SV_E_INVALID and SV_E_TOO_LARGE with the field images. */
#ifndef WORKSPACE_CHAT_IMAGES_H
#define WORKSPACE_CHAT_IMAGES_H

#include "sv_types.h"

enum { CHAT_IMAGES = 8, CHAT_IMAGES_BYTES = 8 << 20 };

/* Are they such, and how many? */
int chat_images_check(sv_str images, size_t most_bytes, uint32_t *n, sv_error *err);
/* The next one from *at on, which is 0 first; false: there is none. */
bool chat_images_next(sv_str images, uint32_t *at, sv_str *url);

#endif
