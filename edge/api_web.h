/*  api_web.h - what browsers get: the pages of edge.web_dir and the description of the API.
 *  Thread: the loop's.   Ownership: one set of files for the process, from web_open to web_close.
 *  Errors: those of static_open for a folder that the settings name; without one of its own name the
 *  pages are missing, which the log says. */
#ifndef EDGE_API_WEB_H
#define EDGE_API_WEB_H

#include "config.h"

int web_open(const config *c, sv_error *err);
/* After the last call is over. */
void web_close(void);

#endif
