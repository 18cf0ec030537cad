/*  meanings.c - a meaning is in the list of its bucket and in the list of all, both with the newest
 *  first. A bucket is freed with its last meaning. */
#include "meanings.h"

#include "answers.h"
#include "error.h"

#include <math.h>
#include <stdlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors are kept as they are in memory");

/* Products of two numbers of WHOLE and less: BLOCK of them fit 32 bits. */
enum { WHOLE = 16383, BLOCK = 4 };

typedef struct bucket {
    meanings *in;
    sv_id id;
    char key[CACHE_KEY + 1];
    meaning_list list;
    uint32_t n;
} bucket;

struct meaning {
    TAILQ_ENTRY(meaning) link; /* in the bucket */
    TAILQ_ENTRY(meaning) each;
    bucket *in;
    answer *of;
    uint32_t n;
    double length;
    int16_t v[];
};

/* ---- vectors ---- */

static int64_t product(const int16_t *a, const int16_t *b, uint32_t n)
{
    int64_t sum = 0;
    uint32_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        int32_t part = 0;
        for (uint32_t k = 0; k < BLOCK; k++)
            part += a[i + k] * b[i + k];
        sum += part;
    }
    for (; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double length_of(const int16_t *v, uint32_t n)
{
    return sqrt((double)product(v, v, n));
}

int meaning_read(sv_str json, meaning_vector *ret)
{
    double number[MEANING_DIMS], largest = 0;
    size_t at = 0, first = 0;
    json_value item, v;
    uint32_t n = 0;
    json_value data = json_get(json_root(json), "data");
    if (data.type != JSON_ARRAY || !json_next_element(data, &first, &item))
        return SV_E_PROVIDER_GARBAGE;
    json_value list = json_get(item, "embedding");
    if (list.type != JSON_ARRAY) return SV_E_PROVIDER_GARBAGE;
    while (json_next_element(list, &at, &v)) {
        if (n == MEANING_DIMS || v.type != JSON_NUMBER || json_number(v, &number[n]))
            return SV_E_PROVIDER_GARBAGE;
        if (fabs(number[n]) > largest) largest = fabs(number[n]);
        n++;
    }
    if (!(largest > 0)) return SV_E_PROVIDER_GARBAGE;
    ret->n = n;
    for (uint32_t i = 0; i < n; i++)
        ret->v[i] = (int16_t)lrint(number[i] / largest * WHOLE);
    return 0;
}

bool meaning_of_bytes(sv_str bytes, meaning_vector *ret)
{
    int16_t any = 0;
    if (bytes.n == 0 || bytes.n % 2 || bytes.n > MEANING_BYTES) return false;
    memcpy(ret->v, bytes.p, bytes.n);
    ret->n = bytes.n / 2;
    for (uint32_t i = 0; i < ret->n; i++) {
        if (ret->v[i] > WHOLE || ret->v[i] < -WHOLE) return false;
        any |= ret->v[i];
    }
    return any != 0;
}

sv_str meaning_bytes(const meaning_vector *v)
{
    return (sv_str){(const char *)v->v, 2 * v->n};
}

/* ---- the table ---- */

void meanings_init(meanings *m, uint64_t most)
{
    *m = (meanings){.most = most};
    TAILQ_INIT(&m->all);
}

static size_t size_of(uint32_t n)
{
    return sizeof(meaning) + n * sizeof(int16_t);
}

void meaning_drop(meaning *x)
{
    if (x == NULL) return;
    bucket *b = x->in;
    TAILQ_REMOVE(&b->list, x, link);
    TAILQ_REMOVE(&b->in->all, x, each);
    b->in->bytes -= size_of(x->n);
    x->of->meaning = NULL;
    free(x);
    if (--b->n) return;
    idmap_del(&b->in->map, &b->id);
    free(b);
}

void meanings_free(meanings *m)
{
    meaning *x;
    while ((x = TAILQ_FIRST(&m->all)))
        meaning_drop(x);
    idmap_free(&m->map);
}

static bucket *find(const meanings *m, const char *key)
{
    sv_id id = cache_key_id(key);
    bucket *b = idmap_get(&m->map, &id);
    return b && strcmp(b->key, key) == 0 ? b : NULL;
}

static bucket *find_or_make(meanings *m, const char *key)
{
    bucket *b = find(m, key);
    if (b) return b;
    b = calloc(1, sizeof *b);
    if (b == NULL) return NULL;
    b->in = m;
    b->id = cache_key_id(key);
    memcpy(b->key, key, CACHE_KEY);
    TAILQ_INIT(&b->list);
    if (idmap_get(&m->map, &b->id) == NULL && idmap_put(&m->map, &b->id, b) == 0) return b;
    free(b);
    return NULL;
}

/* Before the first that is older: at the start of the process they come in any order. */
static void put_in_order(bucket *b, meaning *x)
{
    meaning *at;
    TAILQ_FOREACH(at, &b->list, link)
    if (at->of->info.created <= x->of->info.created) {
        TAILQ_INSERT_BEFORE(at, x, link);
        return;
    }
    TAILQ_INSERT_TAIL(&b->list, x, link);
}

void meanings_add(meanings *m, const char key[CACHE_KEY + 1], const meaning_vector *v, answer *of)
{
    if (size_of(v->n) > m->most) return;
    meaning *x = malloc(size_of(v->n));
    bucket *b = x ? find_or_make(m, key) : NULL;
    if (b == NULL) {
        free(x);
        return;
    }
    *x = (meaning){.in = b, .of = of, .n = v->n, .length = length_of(v->v, v->n)};
    memcpy(x->v, v->v, v->n * sizeof *v->v);
    of->meaning = x;
    put_in_order(b, x);
    TAILQ_INSERT_HEAD(&m->all, x, each);
    b->n++;
    m->bytes += size_of(v->n);
    if (b->n > MEANINGS_BUCKET) meaning_drop(TAILQ_LAST(&b->list, meaning_list));
    while (m->bytes > m->most)
        meaning_drop(TAILQ_LAST(&m->all, meaning_list));
}

answer *meanings_nearest(const meanings *m, const char key[CACHE_KEY + 1], const meaning_vector *v,
                         bool (*fits)(void *arg, const answer *a), void *arg, double *similarity)
{
    const bucket *b = find(m, key);
    const meaning *x;
    answer *best = NULL;
    double length = length_of(v->v, v->n), most = -2;
    if (b == NULL) return NULL;
    TAILQ_FOREACH(x, &b->list, link)
    {
        if (x->n != v->n || !fits(arg, x->of)) continue;
        double cosine = (double)product(x->v, v->v, v->n) / (x->length * length);
        if (cosine <= most) continue;
        most = cosine > 1 ? 1 : cosine;
        best = x->of;
    }
    *similarity = most;
    return best;
}
