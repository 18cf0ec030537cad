/*  budget_name.c - see budget_name.h. */
#include "budget_name.h"

#include "sha256.h"

#include <stdio.h>

enum { ID = 36, HASH = 12 };

static int id_n(sv_str id)
{
    return id.n < ID ? (int)id.n : ID;
}

uint32_t budget_name(char ret[BUDGET_NAME + 1], const char *level, const char *kind, sv_str org,
                     sv_str subject, sv_str model)
{
    char hex[65] = "";
    if (model.n) {
        sha256 h;
        sha256_start(&h);
        sha256_add(&h, model.p, model.n);
        sha256_end(&h, hex);
    }
    int n = snprintf(ret, BUDGET_NAME + 1, "%.8s.%.8s/%.*s%s%.*s%s%.*s", level, kind, id_n(org),
                     org.n ? org.p : "", subject.n ? "/" : "", id_n(subject),
                     subject.n ? subject.p : "", model.n ? "/" : "", HASH, hex);
    return n < BUDGET_NAME ? (uint32_t)n : BUDGET_NAME;
}

static const char own[] = "own", provider[] = "provider";

uint32_t budget_name_provider(char ret[BUDGET_NAME + 1], sv_str org, sv_str id)
{
    return budget_name(ret, own, provider, org, id, (sv_str){NULL, 0});
}

bool budget_name_is_provider(sv_str name)
{
    return name.n > sizeof own && memcmp(name.p, own, sizeof own - 1) == 0 &&
           name.p[sizeof own - 1] == '.';
}
