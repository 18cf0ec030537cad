/*  store_words.c - what functions over rows share: words of their refusals, copies of their text. */
#include "auth_store.h"

#include "error.h"

int auth_fail(store_tx *tx, int code, const char *field, const char *words)
{
    *store_error(tx) = (sv_error){.code = 0};
    return sv_fail(store_error(tx), code, field, "%s", words);
}

sv_str auth_kept(arena *a, sv_str s, bool *ok)
{
    if (s.n == 0) return (sv_str){NULL, 0};
    s.p = arena_copy(a, s);
    *ok = *ok && s.p;
    return s;
}
