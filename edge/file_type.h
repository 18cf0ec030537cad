/*  file_type.h - what bytes are, by how they begin: never by what a client says they are.
 *
 *  A table of signatures instead of libmagic: that one costs 8 MiB of memory in each edge process as
 *  soon as it has looked at one text, 1.5 ms for each text, and is a large parser to show to
 *  strangers. What is not in the table is text/plain when it is text, else application/octet-stream.
 *  Nothing depends on the answer being right: files are served as attachments (download.h).
 *  Thread: any.   Errors: none. */
#ifndef EDGE_FILE_TYPE_H
#define EDGE_FILE_TYPE_H

#include "sv_types.h"

enum { FILE_TYPE_LOOK = 4096 }; /* bytes that are looked at */

/* `head` is how the file begins; `whole`: there is nothing behind it. A media type of the table. */
const char *file_type_of(sv_str head, bool whole);

#endif
