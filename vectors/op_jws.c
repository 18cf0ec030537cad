/*  op_jws.c - whether a compact JWS is accepted under a JWK, as access tokens are. Keys of other
 *  kinds than Ed25519 are skipped. */
#include "error.h"
#include "jws.h"
#include "op.h"

static int invalid(buf *answer, const char *reason)
{
    buf_puts(answer, "{\"valid\":false,");
    put_member(answer, "reason", sv_cstr(reason));
    return buf_putc(answer, '}');
}

int op_jws(json_value request, buf *answer, sv_error *err)
{
    json_value key = json_get(request, "key");
    if (key.type != JSON_OBJECT)
        return sv_fail(err, SV_E_INVALID, "key", "The member key must be a JWK, an object.");
    buf text;
    buf_init(&text, LINE_BYTES);
    int rc = member_text(request, "jws", &text, err);
    if (rc == 0) {
        sv_error why = {0};
        jwk k;
        jws j;
        rc = jwk_read(key.raw, &k, &why);
        if (rc == SV_E_UNIMPLEMENTED) {
            rc = op_skip(answer);
        } else if (rc) {
            rc = invalid(answer, why.message);
        } else if (jws_read(buf_str(&text), &j, &why) || jws_verify(&j, &k, &why)) {
            rc = invalid(answer, why.detail);
        } else {
            rc = buf_puts(answer, "{\"valid\":true}");
        }
    }
    buf_free(&text);
    return rc;
}
