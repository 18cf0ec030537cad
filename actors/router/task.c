/*  task.c - one pass folds the looked-at text into words of lower case, a second one finds cues.
 *  Cues are grouped by a hash of their first four bytes, so that a word meets a handful of them. */
#include "task.h"

#include "uuid.h"

#include <math.h>
#include <stdio.h>

enum {
    LOOK_HEAD = 4096, /* bytes of the message's beginning */
    LOOK_TAIL = 2048, /* and of its end: instructions stand at either */
    FOLDED = 2 * (LOOK_HEAD + LOOK_TAIL),
    EDGE_BYTES = 400, /* an instruction's place; words further inside are rather what it is about */
    BUCKETS = 1024,
    LONG_TOKENS = 24000,
    GROUPS = TASKS + 2,
    HARD = TASKS,
    EASY
};

typedef struct cue {
    const char *words;
    uint16_t group, weight;
    uint32_t n; /* bytes of words, without the star */
    bool open;  /* it ends with a star */
    const struct cue *next;
} cue;

#define CODE                      TASK_CODE
#define SUMMARISE                 TASK_SUMMARISE
#define TRANSLATE                 TASK_TRANSLATE
#define EXTRACT                   TASK_EXTRACT
#define REASON                    TASK_REASON
#define CUE(group, weight, words) {words, group, weight, 0, false, NULL},
static cue cues[] = {
#include "task_cues.def"
};
#undef CUE
static const cue *buckets[BUCKETS];

static const char *const cue_rules[TASKS] = {[TASK_CODE] = "words: code",
                                             [TASK_SUMMARISE] = "words: summarise",
                                             [TASK_TRANSLATE] = "words: translate",
                                             [TASK_EXTRACT] = "words: extract",
                                             [TASK_REASON] = "words: reason"};

/* A word's first bytes, up to four; words of fewer meet only cues of as many. */
static uint32_t bucket_of(const char *p, uint32_t n)
{
    uint32_t h = 0, i = 0;
    for (; i < 4 && i < n && p[i] != ' '; i++)
        h = h * 131 + (uint8_t)p[i];
    for (; i < 4; i++)
        h = h * 131 + 1;
    return (h ^ h >> 10) & (BUCKETS - 1);
}

static void __attribute__((constructor)) index_cues(void)
{
    for (size_t i = 0; i < sizeof cues / sizeof *cues; i++) {
        cue *c = &cues[i];
        c->n = (uint32_t)strlen(c->words);
        c->open = c->words[c->n - 1] == '*';
        c->n -= c->open;
        const char *blank = strchr(c->words, ' ');
        uint32_t first = blank ? (uint32_t)(blank - c->words) : c->n;
        const cue **b = &buckets[bucket_of(c->words, first)];
        c->next = *b;
        *b = c;
    }
}

/* ---- folding ---- */

typedef struct look {
    char text[FOLDED + 8]; /* " word word ... " */
    uint32_t n, words;
    uint32_t lines, questions, digits, math, fences, code_marks, items, bytes;
} look;

static void put(look *l, char c)
{
    if (l->n < FOLDED) l->text[l->n++] = c;
}

static void put_blank(look *l)
{
    if (l->n && l->text[l->n - 1] == ' ') return;
    put(l, ' ');
    l->words++;
}

/* Lower case of what the cue words are made of: Latin-1 and Cyrillic; other letters as they are. */
static uint32_t lower(uint32_t c)
{
    if ((c >= 0xc0 && c <= 0xde && c != 0xd7) || (c >= 0x410 && c <= 0x42f)) return c + 32;
    if (c >= 0x400 && c <= 0x40f) return c + 80;
    return c;
}

static void put_wide(look *l, uint32_t c)
{
    c = lower(c);
    if (c == 0xa0 || (c >= 0x2010 && c <= 0x206f) || c == 0xab || c == 0xbb || c == 0xbf ||
        (c >= 0x3000 && c <= 0x3002)) {
        put_blank(l);
        return;
    }
    l->math += c >= 0x2200 && c <= 0x22ff; /* operators */
    if (c < 0x800) {
        put(l, (char)(0xc0 | c >> 6));
        put(l, (char)(0x80 | (c & 0x3f)));
    } else {
        put(l, (char)(0xe0 | (c >> 12 & 0xf)));
        put(l, (char)(0x80 | (c >> 6 & 0x3f)));
        put(l, (char)(0x80 | (c & 0x3f)));
    }
}

static void put_narrow(look *l, char c, char before)
{
    if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
    bool letter = c >= 'a' && c <= 'z', digit = c >= '0' && c <= '9';
    l->digits += digit;
    switch (c) {
    case '\n': l->lines++; break;
    case '?': l->questions++; break;
    case '`': l->fences += before == '`'; break;
    case '{':
    case '}': l->code_marks += 2; break;
    case '(': l->code_marks += before != ' ' && before != '\n' && before; break;
    case '=':
    case '^': l->math++; break;
    case '<':
    case '_': l->code_marks += before != ' '; break;
    default: break;
    }
    if (before == '\n' && (c == '-' || c == '*' || digit)) l->items++;
    if (before == ';' && c == '\n') l->code_marks += 3;
    /* inside of a word: c++, c#, tl;dr, trade-off, по-английски */
    bool joins = letter || digit || c == '+' || c == '#' || c == '\'' ||
                 ((c == '-' || c == ';') && before != ' ' && before != '\n' && before);
    if (joins)
        put(l, c);
    else
        put_blank(l);
}

/* \uXXXX at p, or -1. */
static int32_t unicode(const char *p, const char *end)
{
    int32_t v = 0;
    if (end - p < 6) return -1;
    for (int i = 2; i < 6; i++) {
        int h = hex_digit(p[i]);
        if (h < 0) return -1;
        v = v << 4 | h;
    }
    return v;
}

/* A character of the inside of a JSON string; *step its bytes there. Broken ones count as blanks. */
static uint32_t take(const char *p, const char *end, uint32_t *step)
{
    uint8_t c = (uint8_t)*p;
    *step = 1;
    if (c == '\\' && end - p >= 2) {
        *step = 2;
        if (p[1] == 'n' || p[1] == 'r') return '\n';
        if (p[1] == 't') return ' ';
        if (p[1] != 'u') return (uint8_t)p[1];
        int32_t v = unicode(p, end);
        if (v >= 0) *step = 6;
        return v < 0 ? ' ' : (uint32_t)v;
    }
    if (c < 0x80) return c;
    if (c >= 0xc2 && c < 0xe0 && end - p >= 2) {
        *step = 2;
        return (uint32_t)(c & 0x1f) << 6 | (p[1] & 0x3f);
    }
    if (c >= 0xe0 && c < 0xf0 && end - p >= 3) {
        *step = 3;
        return (uint32_t)(c & 0xf) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    }
    if (c >= 0xf0 && end - p >= 4) *step = 4;
    return ' ';
}

static void fold(look *l, const char *p, const char *end)
{
    char before = '\n';
    put_blank(l);
    for (uint32_t step; p < end; p += step) {
        uint32_t c = take(p, end, &step);
        if (c < 0x80)
            put_narrow(l, (char)c, before);
        else
            put_wide(l, c);
        before = c < 0x80 ? (char)c : 'x';
    }
    put_blank(l);
}

static void look_at(look *l, sv_str text)
{
    /* not initialised as a whole: the text is large */
    l->n = l->words = l->lines = l->questions = l->digits = l->math = l->fences = 0;
    l->code_marks = l->items = 0;
    l->bytes = text.n;
    if (text.n <= LOOK_HEAD + LOOK_TAIL) {
        fold(l, text.p, text.p + text.n);
    } else {
        fold(l, text.p, text.p + LOOK_HEAD);
        fold(l, text.p + text.n - LOOK_TAIL, text.p + text.n);
    }
    memset(l->text + l->n, 0, 8);
}

/* ---- cues ---- */

static void find_cues(const look *l, float by[GROUPS])
{
    uint32_t seen[GROUPS] = {0};
    for (uint32_t at = 0; at + 1 < l->n; at++) {
        if (l->text[at] != ' ') continue;
        const char *p = l->text + at + 1;
        uint32_t left = l->n - at - 1;
        bool edge = at < EDGE_BYTES || left < EDGE_BYTES;
        for (const cue *c = buckets[bucket_of(p, left)]; c; c = c->next) {
            if (c->n > left || memcmp(c->words, p, c->n) != 0) continue;
            if (!c->open && p[c->n] != ' ') continue;
            /* the same kind again says less each time */
            float share = seen[c->group] < 6 ? 1.0f / (float)(1 + seen[c->group]) : 0;
            by[c->group] += (float)c->weight / 10 * share * (edge ? 1 : 0.35f);
            seen[c->group]++;
        }
    }
}

/* 0..1: how much of the text is code. */
static float code_share(const look *l)
{
    float marks = (float)l->code_marks / (float)(l->words + 8);
    float share = marks * 2.5f;
    if (l->fences >= 4) share += 0.5f;
    return share > 1 ? 1 : share;
}

/* ---- the task ---- */

static model_task by_words(const llm_features *f, const look *l, const float by[GROUPS],
                           const char **rule)
{
    float score[TASKS] = {0};
    for (int t = 0; t < TASKS; t++)
        score[t] = by[t];
    score[TASK_CODE] += 1.2f * code_share(l);
    float math = ((float)l->math + (float)l->digits / 4) / (float)(l->words + 6);
    score[TASK_REASON] += math > 0.5f ? 0.5f : math;
    if (f->schema) score[TASK_EXTRACT] += 1.2f;
    if (f->json) score[TASK_EXTRACT] += 0.6f;
    /* verbs that say what to do with a text stand above what the text is about */
    model_task best = TASK_CHAT;
    float most = 0.85f;
    for (int t = 0; t < TASKS; t++)
        if (score[t] > most) {
            most = score[t];
            best = (model_task)t;
        }
    *rule = best == TASK_CHAT ? "nothing else fits" : cue_rules[best];
    if (best == TASK_CODE && by[TASK_CODE] < 0.8f) *rule = "code in the text";
    if (best == TASK_EXTRACT && (f->schema || f->json) && by[TASK_EXTRACT] < 0.8f)
        *rule = "structured output";
    return best;
}

static model_task find_task(const llm_features *f, const look *l, const float by[GROUPS],
                            const char **rule)
{
    if (f->images) {
        *rule = "images";
        return TASK_VISION;
    }
    if (f->prompt_tokens > LONG_TOKENS) {
        *rule = "length";
        return TASK_LONG;
    }
    if (f->tools) {
        *rule = "tools";
        return TASK_TOOLS;
    }
    return by_words(f, l, by, rule);
}

/* ---- how hard ---- */

static float clamp01(float v)
{
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

static float find_complexity(const llm_features *f, const look *l, const float by[GROUPS],
                             model_task task)
{
    static const float start[TASKS] = {
        [TASK_CHAT] = 0.18f,      [TASK_CODE] = 0.27f,    [TASK_SUMMARISE] = 0.19f,
        [TASK_TRANSLATE] = 0.17f, [TASK_EXTRACT] = 0.19f, [TASK_REASON] = 0.34f,
        [TASK_VISION] = 0.28f,    [TASK_LONG] = 0.42f,    [TASK_TOOLS] = 0.28f};
    float v = start[task];
    float words = (float)l->words;
    v += 0.30f * (by[HARD] > 2 ? 2 : by[HARD]);
    v -= 0.12f * (by[EASY] > 2 ? 2 : by[EASY]);
    /* a longer wish has more conditions; a longer text alone is not harder */
    v += 0.09f * log2f(1 + words / 12);
    if (words < 8) v -= 0.08f;
    if (l->questions > 1) v += 0.04f * (float)(l->questions > 4 ? 3 : l->questions - 1);
    if (l->items > 2) v += 0.05f;
    if (task == TASK_REASON && l->math > 2) v += 0.08f;
    if (task == TASK_CODE && by[REASON] > 1) v += 0.08f;
    if (f->thinking) v += 0.2f;
    if (f->messages > 12) v += 0.05f;
    if (f->prompt_tokens > 8000) v += 0.06f;
    if (f->schema && task != TASK_EXTRACT) v += 0.05f;
    return clamp01(v);
}

void task_classify(const llm_features *f, task_guess *ret)
{
    look l;
    float by[GROUPS] = {0};
    look_at(&l, f->last_user);
    find_cues(&l, by);
    ret->task = find_task(f, &l, by, &ret->rule);
    ret->complexity = find_complexity(f, &l, by, ret->task);
}

bool task_parse(sv_str word, model_task *ret)
{
    for (int t = 0; t < TASKS; t++)
        if (sv_str_is(word, model_task_names[t])) {
            *ret = (model_task)t;
            return true;
        }
    return false;
}

bool task_complexity_parse(sv_str word, float *ret)
{
    static const struct {
        const char *word;
        float value;
    } levels[] = {{"low", 0.2f}, {"medium", 0.5f}, {"high", 0.8f}};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (sv_str_is(word, levels[i].word)) {
            *ret = levels[i].value;
            return true;
        }
    return false;
}
