/*  op_url.c - the verdict on a tenant's URL before anything is resolved or connected. */
#include "http_client.h"
#include "op.h"

int op_url(json_value request, buf *answer, sv_error *err)
{
    buf url;
    buf_init(&url, LINE_BYTES);
    int rc = member_text(request, "url", &url, err);
    if (rc == 0) rc = buf_putc(&url, 0);
    if (rc == 0) {
        sv_error why = {0};
        if (http_url_check(url.p, HTTP_TRUST_TENANT, &why)) {
            buf_puts(answer, "{\"verdict\":\"deny\",");
            put_member(answer, "reason", sv_cstr(why.message));
            buf_putc(answer, '}');
        } else {
            buf_puts(answer, "{\"verdict\":\"allow\"}");
        }
    }
    buf_free(&url);
    return rc;
}
