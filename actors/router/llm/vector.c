/*  vector.c - most numbers of an embedding have digits below 2^53 and a small exponent: such a one is an
 *  integer and a power of ten that a double holds exactly, so one division is right to the last bit.
 *  The others go through strtod. */
#include "vector.h"

#include "base64url.h"
#include "error.h"

#include <endian.h>
#include <math.h>

enum { MOST_DIGITS = 18, EXACT_POWER = 22 };

void vector_init(vector *v, uint32_t most)
{
    buf_init(&v->bytes, (size_t)most * sizeof(float));
    buf_init(&v->text, (size_t)most * sizeof(float) * 4 / 3 + 4);
}

void vector_free(vector *v)
{
    buf_free(&v->bytes);
    buf_free(&v->text);
}

/* ---- numbers ---- */

static bool exact(sv_str raw, double *ret)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    uint64_t digits = 0;
    uint32_t i = raw.n && raw.p[0] == '-', significant = 0;
    int power = 0;
    bool point = false;
    for (; i < raw.n && (raw.p[i] | 0x20) != 'e'; i++) {
        if (raw.p[i] == '.') {
            point = true;
            continue;
        }
        digits = digits * 10 + (uint64_t)(raw.p[i] - '0');
        power -= point;
        significant += digits != 0;
        if (significant > MOST_DIGITS || power < -EXACT_POWER) return false;
    }
    if (digits > (uint64_t)1 << 53) return false;
    if (i < raw.n) {
        int exponent = 0;
        bool minus = raw.p[++i] == '-';
        if (minus || raw.p[i] == '+') i++;
        for (; i < raw.n; i++) {
            exponent = exponent * 10 + (raw.p[i] - '0');
            if (exponent > 2 * EXACT_POWER) return false;
        }
        power += minus ? -exponent : exponent;
    }
    if (power < -EXACT_POWER || power > EXACT_POWER) return false;
    double n = power < 0 ? (double)digits / powers[-power] : (double)digits * powers[power];
    *ret = raw.p[0] == '-' ? -n : n;
    return true;
}

static int add(vector *v, float f)
{
    uint32_t bits;
    if (!isfinite(f)) return SV_E_PROVIDER_GARBAGE;
    memcpy(&bits, &f, sizeof bits);
    bits = htole32(bits);
    return buf_put(&v->bytes, &bits, sizeof bits);
}

static float get(const vector *v, size_t i)
{
    uint32_t bits;
    float f;
    memcpy(&bits, v->bytes.p + i * sizeof bits, sizeof bits);
    bits = le32toh(bits);
    memcpy(&f, &bits, sizeof f);
    return f;
}

static size_t length(const vector *v)
{
    return v->bytes.n / sizeof(float);
}

static int read_numbers(vector *v, json_value list)
{
    json_value one;
    double n;
    for (size_t at = 0; json_next_element(list, &at, &one);) {
        if (one.type != JSON_NUMBER) return SV_E_PROVIDER_GARBAGE;
        if (!exact(one.raw, &n) && json_number(one, &n)) return SV_E_PROVIDER_GARBAGE;
        int rc = add(v, (float)n);
        if (rc) return rc;
    }
    return 0;
}

/* ---- base64 ---- */

static void swap(char *p, size_t n, char from_62, char from_63, char to_62, char to_63)
{
    for (size_t i = 0; i < n; i++)
        p[i] = p[i] == from_62 ? to_62 : p[i] == from_63 ? to_63 : p[i];
}

static int read_base64(vector *v, json_value in)
{
    buf_reset(&v->text, v->text.max);
    int rc = json_text(in, &v->text);
    if (rc) return rc == SV_E_NO_MEMORY ? rc : SV_E_PROVIDER_GARBAGE;
    while (v->text.n && v->text.p[v->text.n - 1] == '=')
        v->text.n--;
    if (v->text.n && (memchr(v->text.p, '-', v->text.n) || memchr(v->text.p, '_', v->text.n)))
        return SV_E_PROVIDER_GARBAGE;
    if (v->text.n) swap(v->text.p, v->text.n, '+', '/', '-', '_');
    rc = base64url_get(buf_str(&v->text), &v->bytes);
    if (rc || v->bytes.n % sizeof(float)) return rc == SV_E_NO_MEMORY ? rc : SV_E_PROVIDER_GARBAGE;
    for (size_t i = 0; i < length(v); i++)
        if (!isfinite(get(v, i))) return SV_E_PROVIDER_GARBAGE;
    return 0;
}

static int put_base64(const vector *v, buf *out)
{
    size_t from = out->n;
    int rc = base64url_put(v->bytes.p, v->bytes.n, out);
    if (rc || out->n == from) return rc;
    swap(out->p + from, out->n - from, '-', '_', '+', '/');
    for (size_t n = out->n - from; n % 4; n++)
        rc = buf_putc(out, '=');
    return rc;
}

/* ---- vectors ---- */

uint32_t vector_count(json_value in)
{
    uint32_t n = 0;
    json_value one;
    if (in.type == JSON_STRING) return (in.raw.n - 2) / 4 * 3 / (uint32_t)sizeof(float);
    for (size_t at = 0; json_next_element(in, &at, &one);)
        n++;
    return n;
}

int vector_read(vector *v, json_value in)
{
    buf_reset(&v->bytes, v->bytes.max);
    if (in.type == JSON_ARRAY) return read_numbers(v, in);
    return in.type == JSON_STRING ? read_base64(v, in) : SV_E_PROVIDER_GARBAGE;
}

void vector_normalise(vector *v)
{
    double sum = 0;
    size_t n = length(v);
    for (size_t i = 0; i < n; i++)
        sum += (double)get(v, i) * get(v, i);
    if (sum <= 0) return;
    double by = 1 / sqrt(sum);
    for (size_t i = 0; i < n; i++) {
        float f = (float)(get(v, i) * by);
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        bits = htole32(bits);
        memcpy(v->bytes.p + i * sizeof bits, &bits, sizeof bits);
    }
}

int vector_put(const vector *v, bool base64, buf *out)
{
    if (base64) {
        buf_putc(out, '"');
        put_base64(v, out);
        return buf_putc(out, '"');
    }
    buf_putc(out, '[');
    for (size_t i = 0; i < length(v); i++)
        buf_printf(out, i ? ",%.9g" : "%.9g", (double)get(v, i));
    return buf_putc(out, ']');
}
