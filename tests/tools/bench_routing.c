/*  bench_routing.c - the labelled prompts of tests/data/prompts through the classifier and the planner,
 *  without a provider: how often the task is found, what is chosen and what that costs beside
 *  always-cheap, always-strong and random, and how long it takes. Prints JSON lines;
 *  tests/bench/routing.sh makes tables of them.
 *
 *  A label says which class of model suffices for a prompt: small, middle or large. An answer counts as
 *  sufficient when the chosen model's class in models.json is that one or a higher one. */
#include "config.h"
#include "error.h"
#include "json_scan.h"
#include "loop.h"
#include "opts.h"
#include "plan.h"
#include "task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { PROMPTS = 2048, MODELS = 512, PROVIDERS = 4, TEXT = 4 << 20, TRIES = 9 };

static struct {
    const char *models, *prompts, *what, *half;
    int64_t seed, rounds;
    bool wrong;
} o = {.what = "classify", .half = "test", .seed = 1, .rounds = 2000};

static const opt options[] = {
    {"models", OPT_STR, &o.models, 0, 0, "the file of models"},
    {"prompts", OPT_STR, &o.prompts, 0, 0, "folder of tune.jsonl and test.jsonl"},
    {"what", OPT_STR, &o.what, 0, 0, "classify, curve or time"},
    {"half", OPT_STR, &o.half, 0, 0, "tune or test"},
    {"seed", OPT_INT, &o.seed, 0, 1e15, "of the random choice"},
    {"rounds", OPT_INT, &o.rounds, 1, 1e9, "repetitions when time is measured"},
    {"wrong", OPT_FLAG, &o.wrong, 0, 0, "classify: print what was taken for something else"},
};

typedef struct prompt {
    llm_features f;
    model_task task;
    int level; /* 0 low, 1 medium, 2 high */
    int rank;  /* of the model that suffices */
} prompt;

static prompt prompts[PROMPTS];
static size_t n_prompts;
static buf prompt_text, models_text;

/* ---- reading ---- */

static void slurp(const char *path, buf *b)
{
    FILE *f = fopen(path, "r");
    if (f == NULL) die("%s cannot be read", path);
    buf_init(b, TEXT);
    for (size_t n = 1; n > 0;) {
        char *room = buf_room(b, 65536);
        if (room == NULL) die("%s is larger than %d bytes", path, TEXT);
        n = fread(room, 1, 65536, f);
        buf_added(b, n);
    }
    fclose(f);
}

static int one_of(json_value line, const char *key, const char *const *words, int n)
{
    json_value v = json_get(line, key);
    for (int i = 0; i < n; i++)
        if (json_string_is(v, words[i])) return i;
    die("line %zu: %s is missing or wrong", n_prompts + 1, key);
}

static void read_prompts(void)
{
    static const char *const levels[] = {"low", "medium", "high"};
    static const char *const tiers[] = {"small", "middle", "large"};
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.jsonl", o.prompts, o.half);
    slurp(path, &prompt_text);
    const char *p = prompt_text.p, *end = p + prompt_text.n;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        sv_str text = {p, (uint32_t)((stop ? stop : end) - p)};
        sv_error err = {0};
        if (n_prompts == PROMPTS) die("more than %d prompts", PROMPTS);
        if (json_skim(text, 4, &err)) die("line %zu: %s", n_prompts + 1, err.message);
        json_value line = json_root(text), words = json_get(line, "text");
        prompt *q = &prompts[n_prompts];
        if (words.type != JSON_STRING) die("line %zu: text is missing", n_prompts + 1);
        q->task = (model_task)one_of(line, "task", model_task_names, TASKS);
        q->level = one_of(line, "complexity", levels, 3);
        q->rank = 2 + one_of(line, "tier", tiers, 3);
        q->f.last_user = q->f.first_user = (sv_str){words.raw.p + 1, words.raw.n - 2};
        q->f.images = json_get(line, "images").type == JSON_TRUE;
        q->f.tools = json_get(line, "tools").type == JSON_TRUE;
        q->f.messages = 1;
        q->f.prompt_tokens = 1 + q->f.last_user.n / 4;
        int64_t tokens_told = 0;
        if (json_int(json_get(line, "tokens"), &tokens_told) == 0) q->f.prompt_tokens = tokens_told;
        n_prompts++;
        p = stop ? stop + 1 : end;
    }
}

/* ---- classify ---- */

static int level_of(float complexity)
{
    return complexity < 0.36f ? 0 : complexity < 0.62f ? 1 : 2;
}

static void classify(void)
{
    uint32_t right[TASKS] = {0}, all[TASKS] = {0}, level_right = 0, level_near = 0;
    double sum[3] = {0};
    uint32_t n[3] = {0};
    for (size_t i = 0; i < n_prompts; i++) {
        const prompt *q = &prompts[i];
        task_guess g;
        task_classify(&q->f, &g);
        all[q->task]++;
        right[q->task] += g.task == q->task;
        int level = level_of(g.complexity);
        level_right += level == q->level;
        level_near += abs(level - q->level) <= 1;
        sum[q->level] += (double)g.complexity;
        n[q->level]++;
        if (o.wrong && (g.task != q->task || level != q->level))
            fprintf(stderr, "%s/%d -> %s/%d %.2f (%s): %.*s\n", model_task_names[q->task], q->level,
                    model_task_names[g.task], level, (double)g.complexity, g.rule,
                    (int)(q->f.last_user.n < 110 ? q->f.last_user.n : 110), q->f.last_user.p);
    }
    uint32_t ok = 0;
    for (int t = 0; t < TASKS; t++) {
        ok += right[t];
        printf("{\"task\":\"%s\",\"prompts\":%u,\"right\":%u}\n", model_task_names[t], all[t],
               right[t]);
    }
    printf("{\"task\":\"all\",\"prompts\":%zu,\"right\":%u,\"level_right\":%u,\"level_near\":%u,"
           "\"low\":%.3f,\"medium\":%.3f,\"high\":%.3f}\n",
           n_prompts, ok, level_right, level_near, sum[0] / (n[0] ? n[0] : 1),
           sum[1] / (n[1] ? n[1] : 1), sum[2] / (n[2] ? n[2] : 1));
}

/* ---- the offer: what the file says some providers have ---- */

static models *known;
static provider offer[PROVIDERS];
static provider *offered[PROVIDERS];
static const char *const offer_names[PROVIDERS] = {"groq", "openai", "anthropic", "gemini"};

static config *load_config(int quality)
{
    char text[16];
    config *c;
    sv_error err = {0};
    snprintf(text, sizeof text, "%d", quality);
    setenv("SAMOVAR_DATA", "/nonexistent/samovar", 1);
    setenv("SAMOVAR_ROUTER_MODELS_FILE", o.models, 1);
    setenv("SAMOVAR_ROUTER_AUTO_QUALITY", text, 1);
    setenv("SAMOVAR_ROUTER_EXPLORE", "0", 1);
    if (config_load(NULL, &c, &err)) die("%s", err.message);
    return c;
}

static void make_offer(void)
{
    static model lists[PROVIDERS][MODELS];
    slurp(o.models, &models_text);
    json_value list = json_get(json_root(buf_str(&models_text)), "models"), v;
    for (int i = 0; i < PROVIDERS; i++) {
        provider *p = offered[i] = &offer[i];
        size_t at = 0;
        snprintf(p->name, sizeof p->name, "%s", offer_names[i]);
        p->format = i == 2 ? LLM_ANTHROPIC : i == 3 ? LLM_GEMINI : LLM_OPENAI;
        p->fixed_models = true;
        p->models.items = lists[i];
        while (json_next_element(list, &at, &v)) {
            char id[256];
            sv_str raw = json_get(v, "id").raw;
            snprintf(id, sizeof id, "%.*s", (int)raw.n - 2, raw.p + 1);
            const char *name = models_name_at(known, p->name, id);
            if (name == NULL || !models_find(known, p->name, sv_cstr(name))->price.known) continue;
            if (p->models.n == MODELS) die("more than %d models", MODELS);
            lists[i][p->models.n++] = (model){name, 0};
        }
    }
}

/* ---- curve ---- */

typedef struct tally {
    double cost; /* micro-units */
    uint32_t sufficient, n;
} tally;

/* What the answer would cost: as many tokens as such prompts usually get. */
static double cost_of(const prompt *q, const model_info *info)
{
    static const int64_t answer[] = {150, 500, 1200};
    tokens t = {.prompt = q->f.prompt_tokens, .completion = answer[q->level]};
    return (double)model_cost(&info->price, &t);
}

static void count(tally *t, const prompt *q, const model_info *info)
{
    t->n++;
    t->cost += cost_of(q, info);
    t->sufficient += info->rank >= q->rank;
}

static bool fits(const prompt *q, const model_info *info)
{
    unsigned need = (q->f.images ? MODEL_CAN_SEE : 0u) | (q->f.tools ? MODEL_CAN_TOOLS : 0u);
    return (info->can & need) == need && !(info->can & MODEL_CAN_EMBED) &&
           (info->context == 0 || q->f.prompt_tokens <= info->context);
}

typedef const model_info *rival_fn(const prompt *q, const model_info *const *all, size_t n);

static const model_info *cheap(const prompt *q, const model_info *const *all, size_t n)
{
    const model_info *best = all[0];
    for (size_t i = 1; i < n; i++)
        if (cost_of(q, all[i]) < cost_of(q, best)) best = all[i];
    return best;
}

static const model_info *strong(const prompt *q, const model_info *const *all, size_t n)
{
    const model_info *best = all[0];
    for (size_t i = 1; i < n; i++) {
        float a = all[i]->quality[q->task], b = best->quality[q->task];
        if (a > b || (a == b && cost_of(q, all[i]) < cost_of(q, best))) best = all[i];
    }
    return best;
}

static uint64_t random_state;

static const model_info *any(const prompt *q, const model_info *const *all, size_t n)
{
    (void)q;
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return all[(random_state >> 33) % n];
}

/* Knows the label: the cheapest that suffices. */
static const model_info *oracle(const prompt *q, const model_info *const *all, size_t n)
{
    const model_info *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (all[i]->rank >= q->rank && (best == NULL || cost_of(q, all[i]) < cost_of(q, best)))
            best = all[i];
    return best ? best : all[0];
}

static void print_tally(const char *name, int quality, const tally *t)
{
    printf("{\"policy\":\"%s\",\"quality\":%d,\"cost_per_1000\":%.4f,\"sufficient\":%.4f}\n", name,
           quality, t->cost / t->n * 1000 / 1e6, (double)t->sufficient / t->n);
}

static void rival(const char *name, rival_fn *fn)
{
    tally t = {0};
    for (size_t i = 0; i < n_prompts; i++) {
        const model_info *all[PROVIDERS * MODELS];
        size_t n = 0;
        for (int k = 0; k < PROVIDERS; k++)
            for (size_t m = 0; m < offer[k].models.n; m++) {
                const model_info *info =
                    models_find(known, offer[k].name, sv_cstr(offer[k].models.items[m].id));
                if (fits(&prompts[i], info)) all[n++] = info;
            }
        if (n == 0) die("no model fits prompt %zu", i + 1);
        count(&t, &prompts[i], fn(&prompts[i], all, n));
    }
    print_tally(name, -1, &t);
}

static plan_ask ask_of(const prompt *q, provider *const *providers, size_t n)
{
    return (plan_ask){.model = sv_cstr("auto"),
                      .features = &q->f,
                      .providers = providers,
                      .n_providers = n,
                      .now_us = 1000000,
                      .seed = (uint64_t)o.seed};
}

static void curve(void)
{
    static const int knobs[] = {0, 20, 35, 50, 65, 80, 100};
    rival("always-cheap", cheap);
    rival("always-strong", strong);
    random_state = (uint64_t)o.seed;
    rival("random", any);
    rival("oracle", oracle);
    for (size_t k = 0; k < sizeof knobs / sizeof *knobs; k++) {
        config *c = load_config(knobs[k]);
        planner *p;
        sv_error err = {0};
        tally t = {0};
        arena a;
        arena_init(&a, 1 << 20);
        if (planner_new(c, known, NULL, &p, &err)) die("%s", err.message);
        for (size_t i = 0; i < n_prompts; i++) {
            plan out;
            plan_ask ask = ask_of(&prompts[i], offered, PROVIDERS);
            if (planner_choose(p, &ask, &a, &out, &err)) die("prompt %zu: %s", i + 1, err.message);
            count(&t, &prompts[i], out.items[0].info);
            arena_reset(&a);
        }
        print_tally("auto", knobs[k], &t);
        planner_free(p);
        arena_free(&a);
        config_free(c);
    }
}

/* ---- time: the least of TRIES, for others may be at work on this machine ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void time_classify(const char *name, const llm_features *f, size_t n, int64_t rounds)
{
    double tries[TRIES];
    for (int t = 0; t < TRIES; t++) {
        uint64_t began = clock_us();
        task_guess g;
        for (int64_t r = 0; r < rounds; r++)
            task_classify(n ? &prompts[(size_t)r % n].f : f, &g);
        tries[t] = (double)(clock_us() - began) / (double)rounds;
    }
    qsort(tries, TRIES, sizeof *tries, by_size);
    printf("{\"time\":\"%s\",\"us\":%.3f}\n", name, tries[0]);
}

static void time_plan(const char *name, int n_providers, int n_models, const char *asked)
{
    static provider many[64];
    static provider *list[64];
    config *c = load_config(50);
    planner *p;
    sv_error err = {0};
    arena a;
    health *h = health_new();
    double tries[TRIES];
    const char *ids[] = {"gpt-4o-mini", "gpt-4o", "claude-haiku-4-5", "gemini-2.5-flash"};
    model *items = calloc((size_t)(n_models > 0 ? n_models : 1), sizeof *items);
    arena_init(&a, 1 << 20);
    if (h == NULL || items == NULL) die("no memory");
    for (int m = 0; m < n_models; m++) {
        char *id = NULL; /* names with a date are those without it */
        if (m < 4 ? asprintf(&id, "%s", ids[m]) < 0
                  : asprintf(&id, "%s-2025%04d", ids[m % 4], m) < 0)
            die("no memory");
        items[m] = (model){id, 0};
    }
    model_list sorted = {.items = items, .n = (size_t)n_models};
    for (int i = 0; i < n_providers; i++) {
        many[i] = (provider){.fixed_models = true, .format = LLM_OPENAI};
        snprintf(many[i].name, sizeof many[i].name, "p%d", i);
        if (i == 0)
            provider_set_models(&many[0], &sorted);
        else
            many[i].models = many[0].models;
        list[i] = &many[i];
    }
    if (planner_new(c, known, h, &p, &err)) die("%s", err.message);
    int64_t rounds = n_providers * n_models > 100 ? o.rounds / 10 + 1 : o.rounds * 10;
    for (int t = 0; t < TRIES; t++) {
        uint64_t began = clock_us();
        for (int64_t r = 0; r < rounds; r++) {
            plan out;
            plan_ask ask = ask_of(&prompts[0], list, (size_t)n_providers);
            ask.model = sv_cstr(asked);
            if (planner_choose(p, &ask, &a, &out, &err)) die("%s", err.message);
            arena_reset(&a);
        }
        tries[t] = (double)(clock_us() - began) / (double)rounds;
    }
    qsort(tries, TRIES, sizeof *tries, by_size);
    printf("{\"time\":\"%s\",\"us\":%.3f}\n", name, tries[0]);
    planner_free(p);
    health_free(h);
    arena_free(&a);
    config_free(c);
    for (size_t m = 0; m < many[0].models.n; m++)
        free((char *)(uintptr_t)many[0].models.items[m].id);
    free(many[0].models.items);
}

static void times(void)
{
    size_t n = 1 << 20;
    char *text = malloc(n);
    if (text == NULL) die("no memory");
    for (size_t i = 0; i < n; i++)
        text[i] = "implement the function that proves it, step by step; "[i % 53];
    llm_features f = {.last_user = {text, (uint32_t)n}, .prompt_tokens = 20000};
    time_classify("classify a prompt", NULL, n_prompts, o.rounds * 10);
    time_classify("classify 1 MiB", &f, 0, o.rounds);
    time_plan("named, 1 provider", 1, 4, "gpt-4o-mini");
    time_plan("named, 64 providers", 64, 4, "gpt-4o-mini");
    time_plan("auto, 1 provider, 4 models", 1, 4, "auto");
    time_plan("auto, 4 providers, 25 models", 4, 25, "auto");
    time_plan("auto, 16 providers, 100 models", 16, 100, "auto");
    time_plan("auto, 64 providers, 100 models", 64, 100, "auto");
    free(text);
}

int main(int argc, char **argv)
{
    sv_error err = {0};
    opts_parse(argc, argv, "Labelled prompts through the classifier and the planner.", options,
               sizeof options / sizeof *options);
    if (o.models == NULL || o.prompts == NULL) die("--models and --prompts are needed");
    read_prompts();
    config *c = load_config(50);
    if (models_load(c, &known, &err)) die("%s", err.message);
    make_offer();
    if (strcmp(o.what, "classify") == 0)
        classify();
    else if (strcmp(o.what, "curve") == 0)
        curve();
    else if (strcmp(o.what, "time") == 0)
        times();
    else
        die("--what takes classify, curve or time");
    models_free(known);
    config_free(c);
    buf_free(&prompt_text);
    buf_free(&models_text);
}
