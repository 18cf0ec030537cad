/*  op_msgpack.c - msgpack as the bus takes it: its JSON form and its one canonical spelling. */
#include "message.h"
#include "op.h"

int op_msgpack(json_value request, buf *answer, sv_error *err)
{
    buf bytes, canonical;
    buf_init(&bytes, LINE_BYTES);
    buf_init(&canonical, 2 * (size_t)LINE_BYTES); /* a float of 4 bytes takes 8 */
    int rc = member_hex(request, "hex", &bytes, err);
    if (rc == 0) rc = message_canonical(buf_str(&bytes), &canonical, err);
    if (rc == 0) {
        buf_puts(answer, "{\"json\":");
        rc = message_to_json(NULL, buf_str(&bytes), false, answer, err);
    }
    if (rc == 0) {
        buf_putc(answer, ',');
        put_member_hex(answer, "hex", buf_str(&canonical));
        buf_putc(answer, '}');
    }
    buf_free(&bytes);
    buf_free(&canonical);
    return rc;
}
