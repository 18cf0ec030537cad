/*  member.c - members of requests and answers. */
#include "error.h"
#include "op.h"
#include "uuid.h"

int op_skip(buf *answer)
{
    return buf_puts(answer, "{\"skip\":true}");
}

static int find(json_value request, const char *name, json_type type, const char *what,
                json_value *ret, sv_error *err)
{
    *ret = json_get(request, name);
    if (ret->type == JSON_NONE)
        return sv_fail(err, SV_E_MISSING_FIELD, name, "The member %s is missing.", name);
    if (ret->type != type)
        return sv_fail(err, SV_E_WRONG_TYPE, name, "The member %s must be %s.", name, what);
    return 0;
}

int member_text(json_value request, const char *name, buf *to, sv_error *err)
{
    json_value v;
    int rc = find(request, name, JSON_STRING, "a string", &v, err);
    if (rc == 0) rc = json_text(v, to);
    return rc ? sv_fail(err, rc, name, NULL) : 0;
}

int member_hex(json_value request, const char *name, buf *to, sv_error *err)
{
    buf text;
    buf_init(&text, LINE_BYTES);
    int rc = member_text(request, name, &text, err);
    if (rc == 0 && text.n > 0) {
        char *room = buf_room(to, text.n / 2 + 1);
        if (room == NULL)
            rc = sv_fail(err, to->error, name, NULL);
        else if (hex_parse(buf_str(&text), room, text.n / 2))
            rc =
                sv_fail(err, SV_E_INVALID, name, "The member %s must be hexadecimal digits.", name);
        else
            buf_added(to, text.n / 2);
    }
    buf_free(&text);
    return rc;
}

int member_uint(json_value request, const char *name, int64_t absent, uint64_t *ret, sv_error *err)
{
    json_value v = json_get(request, name);
    int64_t i = absent;
    if (v.type == JSON_NONE && absent < 0)
        return sv_fail(err, SV_E_MISSING_FIELD, name, "The member %s is missing.", name);
    if (v.type != JSON_NONE && (json_int(v, &i) || i < 0))
        return sv_fail(err, SV_E_WRONG_TYPE, name,
                       "The member %s must be an integer from 0 and below 2^63.", name);
    *ret = (uint64_t)i;
    return 0;
}

void put_member(buf *answer, const char *name, sv_str text)
{
    buf_printf(answer, "\"%s\":\"", name);
    buf_json_escape(answer, text);
    buf_putc(answer, '"');
}

void put_member_hex(buf *answer, const char *name, sv_str bytes)
{
    buf_printf(answer, "\"%s\":\"", name);
    char *room = buf_room(answer, 2 * (size_t)bytes.n + 1);
    if (room == NULL) return;
    hex_format(bytes.p, bytes.n, room);
    buf_added(answer, 2 * (size_t)bytes.n);
    buf_putc(answer, '"');
}
