/*  analyzer.h - given to clang-tidy before each source: sv_fail answers the code it was given,
 *  which is never 0. The analyzer sees one file at a time and would otherwise follow paths on which
 *  an error is none. */
#include "../../proto/error.h"

#define sv_fail(err, code, ...) (sv_fail((err), (code), __VA_ARGS__), (code))
