/*  tls_ticket.c - the keys of two periods, derived when one of them is asked for. */
#include "tls_ticket.h"

#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

enum { NAME_BYTES = 16, KEY_BYTES = 32, DIGEST_BYTES = 32 };

typedef struct ticket_key {
    uint8_t name[NAME_BYTES], cipher[KEY_BYTES], mac[KEY_BYTES];
} ticket_key;

typedef struct ticket_keys {
    tls_ticket_source source;
    uint8_t cert[DIGEST_BYTES];
    int64_t period; /* of key[0]; key[1] is that of the one before; -1: neither is made */
    ticket_key key[2];
} ticket_keys;

static int ctx_index = -1;

static void free_keys(void *parent, void *keys, CRYPTO_EX_DATA *data, int index, long argl,
                      void *argp)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    if (keys) OPENSSL_cleanse(keys, sizeof(ticket_keys));
    free(keys);
}

static bool derive(ticket_keys *k, int64_t period, ticket_key *ret)
{
    static char label[] = "samovar tls tickets";
    static char digest[] = "SHA256";
    uint8_t number[8];
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    EVP_KDF_free(kdf);
    for (int i = 0; i < 8; i++)
        number[i] = (uint8_t)((uint64_t)period >> (56 - 8 * i));
    OSSL_PARAM params[] = {
        /* several infos are one, joined */
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, sizeof digest - 1),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, k->source.seed, TLS_SEED_BYTES),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, label, sizeof label),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, k->cert, sizeof k->cert),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, number, sizeof number),
        OSSL_PARAM_END,
    };
    bool ok = ctx && EVP_KDF_derive(ctx, (uint8_t *)ret, sizeof *ret, params) == 1;
    EVP_KDF_CTX_free(ctx);
    return ok;
}

static bool freshen(ticket_keys *k)
{
    int64_t period = k->source.now_s() / TLS_TICKET_S;
    if (period == k->period) return true;
    k->period = -1;
    if (!derive(k, period, &k->key[0]) || !derive(k, period - 1, &k->key[1])) return false;
    k->period = period;
    return true;
}

static bool set_mac(EVP_MAC_CTX *mac, ticket_key *key)
{
    static char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof key->mac),
        OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, sizeof digest - 1),
        OSSL_PARAM_END,
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* OpenSSL's question for a key: negative fails the handshake, 0 does without a ticket, 1 takes the
 * key, 2 the same and gives the client a new ticket. */
static int on_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                  EVP_MAC_CTX *mac, int seal)
{
    ticket_keys *k = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ctx_index);
    if (seal && SSL_version(ssl) != TLS1_3_VERSION) return 0;
    if (k == NULL || !freshen(k)) return seal ? -1 : 0;
    int i = 0;
    if (seal) {
        memcpy(name, k->key[0].name, NAME_BYTES);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
    } else {
        while (i < 2 && CRYPTO_memcmp(name, k->key[i].name, NAME_BYTES) != 0)
            i++;
        if (i == 2) return 0;
    }
    if (!set_mac(mac, &k->key[i]) ||
        EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->key[i].cipher, iv, seal) != 1)
        return -1;
    return seal ? 1 : 2; /* 2: and a new one, since clients use each once (RFC 8446, C.4) */
}

bool tls_ticket_use(SSL_CTX *ctx, const tls_ticket_source *source)
{
    unsigned int n = 0;
    X509 *cert = SSL_CTX_get0_certificate(ctx);
    if (ctx_index < 0) ctx_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_keys);
    ticket_keys *k = ctx_index < 0 ? NULL : SSL_CTX_get_ex_data(ctx, ctx_index);
    if (k == NULL) {
        k = calloc(1, sizeof *k);
        if (k == NULL || ctx_index < 0 || SSL_CTX_set_ex_data(ctx, ctx_index, k) != 1) {
            free(k);
            return false;
        }
    }
    k->source = *source;
    k->period = -1;
    return cert && X509_digest(cert, EVP_sha256(), k->cert, &n) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_key) == 1;
}
