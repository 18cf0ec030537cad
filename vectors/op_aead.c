/*  op_aead.c - opens a ciphertext as sealed values of the store are opened. */
#include "error.h"
#include "op.h"
#include "seal.h"

typedef struct parts {
    buf key, nonce, place, cipher, tag;
} parts;

static int take_parts(json_value request, parts *p, sv_error *err)
{
    int rc = member_hex(request, "key_hex", &p->key, err);
    if (rc == 0) rc = member_hex(request, "iv_hex", &p->nonce, err);
    if (rc == 0) rc = member_hex(request, "aad_hex", &p->place, err);
    if (rc == 0) rc = member_hex(request, "ct_hex", &p->cipher, err);
    if (rc == 0) rc = member_hex(request, "tag_hex", &p->tag, err);
    if (rc) return rc;
    if (p->key.n != SEAL_KEY)
        return sv_fail(err, SV_E_INVALID, "key_hex", "The key must have %d bytes.", SEAL_KEY);
    if (p->nonce.n != SEAL_NONCE)
        return sv_fail(err, SV_E_INVALID, "iv_hex", "The nonce must have %d bytes.", SEAL_NONCE);
    if (p->tag.n != SEAL_TAG)
        return sv_fail(err, SV_E_INVALID, "tag_hex", "The tag must have %d bytes.", SEAL_TAG);
    return 0;
}

static int open_parts(const parts *p, buf *answer, sv_error *err)
{
    buf plain;
    buf_init(&plain, LINE_BYTES);
    seal_key *k = seal_key_from((const uint8_t *)p->key.p);
    uint8_t *to = (uint8_t *)buf_room(&plain, p->cipher.n + 1);
    int rc = k && to ? 0 : sv_fail(err, SV_E_NO_MEMORY, NULL, NULL);
    if (rc == 0 && seal_open_parts(k, (const uint8_t *)p->nonce.p, buf_str(&p->place),
                                   buf_str(&p->cipher), (const uint8_t *)p->tag.p, to))
        rc = sv_fail(err, SV_E_INVALID, "tag_hex", "The ciphertext does not open.");
    if (rc == 0) {
        buf_added(&plain, p->cipher.n);
        buf_putc(answer, '{');
        put_member_hex(answer, "msg_hex", buf_str(&plain));
        buf_putc(answer, '}');
    }
    seal_key_free(k);
    buf_free(&plain);
    return rc;
}

int op_aead(json_value request, buf *answer, sv_error *err)
{
    json_value alg = json_get(request, "alg");
    if (alg.type != JSON_STRING)
        return sv_fail(err, SV_E_INVALID, "alg", "The member alg must be a string.");
    if (!json_string_is(alg, "XCHACHA20-POLY1305")) return op_skip(answer);
    parts p;
    buf *const all[] = {&p.key, &p.nonce, &p.place, &p.cipher, &p.tag};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_init(all[i], LINE_BYTES);
    int rc = take_parts(request, &p, err);
    if (rc == 0) rc = open_parts(&p, answer, err);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_free(all[i]);
    return rc;
}
