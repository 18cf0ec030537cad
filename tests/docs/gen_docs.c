/*  gen_docs.c - prints docs/messages.md, docs/errors.md, docs/limits.md and docs/routes.md from the
 *  tables, so that the pages cannot differ from the code (test docs/generated compares).
 *  Usage: gen_docs messages|errors|limits|routes */
#include "error.h"
#include "message.h"
#include "routes.h"
#include "sv_limits.h"

#include <stdio.h>

static const char *type_name(const sv_field *f, char *text, size_t size)
{
    switch (f->type) {
    case SV_T_BOOL: snprintf(text, size, "bool"); break;
    case SV_T_INT: snprintf(text, size, "int %.0f..%.0f", f->min, f->max); break;
    case SV_T_NUM: snprintf(text, size, "number"); break;
    case SV_T_STR: snprintf(text, size, "str ≤ %.0f", f->max); break;
    case SV_T_BIN: snprintf(text, size, "bin ≤ %.0f", f->max); break;
    case SV_T_RAW: snprintf(text, size, "any, ≤ %.0f bytes", f->max); break;
    case SV_T_STRS: snprintf(text, size, "list of str, ≤ %.0f", f->max); break;
    case SV_T_LIST: snprintf(text, size, "list of %s, ≤ %.0f", f->sub->name, f->max); break;
    case SV_T_MSG: snprintf(text, size, "%s", f->sub->name); break;
    }
    return text;
}

static void print_message(void *arg, const sv_message *m)
{
    (void)arg;
    printf("\n## %s\n\n%s\n", m->name, m->doc);
    if (m->n == 0) return;
    printf("\n| field | type | | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < m->n; i++) {
        const sv_field *f = &m->fields[i];
        char type[96];
        printf("| %s | %s | %s%s%s | %s |\n", f->name, type_name(f, type, sizeof type),
               f->rules & SV_REQUIRED ? "required" : "", f->rules & SV_SECRET ? " secret" : "",
               f->rules & SV_EDGE ? " edge" : "", f->doc);
    }
}

static void print_error(int code)
{
    static const char *const retry[] = {"no", "later", "if idempotent"};
    const sv_error_info *e = sv_error_lookup(code);
    printf("| %s | %s | %d | %s | %s |\n", e->name, sv_status_name(e->status), e->http,
           retry[e->retry], e->text);
}

static void print_errors(void)
{
    printf(
        "# Errors\n\nEvery error that crosses a process boundary. Made from `proto/errors.def`.\n\n"
        "| code | status | HTTP | retry | text |\n|---|---|---|---|---|\n");
#define ERROR(id, number, word, canonical, http_code, again, words) print_error(SV_E_##id);
#include "errors.def"
#undef ERROR
}

static void print_limits(void)
{
    printf(
        "# Limits\n\nNumbers that belong to the protocol or the shape of a process. Made from "
        "`proto/limits.def`;\nwhat an operator may change is a setting (`samovar config show`).\n\n"
        "| limit | value | unit | why |\n|---|---|---|---|\n");
#define LIMIT(name, value, unit, why) printf("| %s | %d | %s | %s |\n", #name, value, unit, why);
#include "limits.def"
#undef LIMIT
}

static const char *who_name(const route *r)
{
    static const char *const names[] = {"everybody", "user",  "viewer",        "member",
                                        "admin",     "owner", "platform admin"};
    return names[r->who];
}

static void print_routes(void)
{
    static const char *const classes[CLASSES] = {"", "chat", "auth", "upload", "api", "admin"};
    printf("# Addresses\n\nMade from `edge/routes.def`. *Who*: the least that a caller must be. "
           "*Key*: the "
           "scope that an API key needs; -: no\nkey may. *Limit*: the rate limit that counts. "
           "[/openapi.json](http.md) describes requests and answers.\n\n"
           "| method | path | who | key | limit | what |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < ROUTES; i++) {
        const route *r = &routes[i];
        printf("| %s | `%s` | %s | %s | %s | %s |\n", r->method, r->path, who_name(r),
               r->scope == SCOPE_SESSION ? "-" : route_scope_names[r->scope], classes[r->class],
               r->doc);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "routes") == 0) {
        print_routes();
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "messages") == 0) {
        printf("# Message types\n\nBodies of bus messages, msgpack maps. Made from "
               "`proto/messages.def`.\n");
        message_each(print_message, NULL);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "errors") == 0) {
        print_errors();
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "limits") == 0) {
        print_limits();
        return 0;
    }
    fprintf(stderr, "usage: gen_docs messages|errors|limits|routes\n");
    return 2;
}
