/*  Who may answer, in which order, and why: names, aliases, fallbacks, filters, ranking, conversations,
 *  exploration. Providers are built by hand; time and chance are given. */
#include "models_kit.h"
#include "plan.h"

enum { MANY = 4 };

static config *conf;
static models *known;
static health *state_of;
static planner *planning;
static arena mem;
static provider router, groq, openai, anthropic;
static provider *const all[MANY] = {&router, &groq, &openai, &anthropic};
static model lists[MANY][8];
static llm_features features;
static plan_ask ask;
static plan out;
static sv_error err;

/* Names in order of strcmp, ended by NULL. */
static void offer(provider *p, const char *name, llm_format format, const char *const *names)
{
    int which = 0;
    while (all[which] != p)
        which++;
    *p = (provider){.format = format, .fixed_models = true, .n_keys = 1};
    snprintf(p->name, sizeof p->name, "%s", name);
    p->models.items = lists[which];
    for (; names[p->models.n]; p->models.n++)
        lists[which][p->models.n] = (model){names[p->models.n], 0};
}

static void start(const char *yaml)
{
    use_shipped_models();
    if (kit_config(yaml, &conf, &err) || models_load(conf, &known, &err) ||
        (state_of = health_new()) == NULL || planner_new(conf, known, state_of, &planning, &err))
        fail_msg("%s", err.message);
    arena_init(&mem, 1 << 20);
    offer(&router, "openrouter", LLM_OPENAI,
          (const char *const[]){"anthropic/claude-haiku-4.5", "openai/gpt-4o-mini", "openai/gpt-5",
                                NULL});
    offer(&groq, "groq", LLM_OPENAI,
          (const char *const[]){"llama-3.1-8b-instant", "llama-3.3-70b-versatile",
                                "openai/gpt-oss-120b", NULL});
    offer(&openai, "openai", LLM_OPENAI,
          (const char *const[]){"gpt-4.1-nano", "gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-mini",
                                "text-embedding-3-small", "unheard-of", NULL});
    offer(&anthropic, "anthropic", LLM_ANTHROPIC,
          (const char *const[]){"claude-haiku-4-5", "claude-opus-4-5", "claude-sonnet-4-5", NULL});
    features = (llm_features){.messages = 1, .prompt_tokens = 100};
    ask = (plan_ask){.features = &features,
                     .providers = all,
                     .n_providers = MANY,
                     .now_us = 1000000000,
                     .seed = 7};
}

static int setup(void **state)
{
    err = (sv_error){0};
    return kit_setup(state);
}

static int stop(void **state)
{
    planner_free(planning);
    health_free(state_of);
    models_free(known);
    config_free(conf);
    arena_free(&mem);
    planning = NULL, state_of = NULL, known = NULL, conf = NULL;
    return kit_teardown(state);
}

static int choose(const char *name)
{
    err = (sv_error){0};
    ask.model = sv_cstr(name);
    return planner_choose(planning, &ask, &mem, &out, &err);
}

/* "openai/gpt-4o named" */
static void expect_at(uint32_t i, const char *what)
{
    char text[256] = "nobody";
    if (i < out.n)
        snprintf(text, sizeof text, "%s/%s %s", out.items[i].provider->name, out.items[i].model,
                 out.items[i].why);
    assert_string_equal(text, what);
}

static void expect_filter(const char *name, const char *filter)
{
    for (uint32_t i = 0; i < out.n_seen; i++)
        if (strcmp(out.seen[i].model, name) == 0 && out.seen[i].filter) {
            assert_string_equal(out.seen[i].filter, filter);
            return;
        }
    fail_msg("%s was not left out", name);
}

/* Failures until the breaker is open. */
static void break_down(const char *name, const char *which)
{
    health_entry *e = health_get(state_of, name, sv_cstr(which), 0);
    health_figures f = {0};
    for (int i = 0; i < 50 && f.open_until_us <= ask.now_us; i++) {
        bool probe;
        health_begin(e, ask.now_us, &probe);
        health_end(e, ask.now_us, probe, &(health_note){.outcome = HEALTH_FAILED});
        health_look(e, ask.now_us, &f);
    }
    assert_true(f.open_until_us > ask.now_us);
}

static void test_named(void **state)
{
    (void)state;
    start("");
    assert_int_equal(choose("gpt-4o"), 0);
    assert_int_equal(out.n, 1);
    expect_at(0, "openai/gpt-4o named");
    assert_false(out.auto_chosen);
    assert_string_equal(out.items[0].info->id, "gpt-4o");
    /* other names, in the providers' order behind those that list it as it is */
    assert_int_equal(choose("gpt-4o-mini"), 0);
    assert_int_equal(out.n, 2);
    expect_at(0, "openai/gpt-4o-mini named");
    expect_at(1, "openrouter/openai/gpt-4o-mini other name");
    assert_int_equal(choose("gpt-5-2025-08-07"), 0);
    expect_at(0, "openrouter/openai/gpt-5 other name");
    expect_at(1, "openai/gpt-5 other name");
    /* PROVIDER/MODEL: that one and nobody else */
    assert_int_equal(choose("anthropic/claude-opus-4-5"), 0);
    assert_int_equal(out.n, 1);
    expect_at(0, "anthropic/claude-opus-4-5 named");
    assert_int_equal(choose("openai/unlisted"), 0);
    expect_at(0, "openai/unlisted named");
    assert_int_equal(out.n, 1);
    /* which may be a name that another one lists */
    assert_int_equal(choose("openai/gpt-5"), 0);
    expect_at(0, "openrouter/openai/gpt-5 named");
    expect_at(1, "openai/gpt-5 named");
    offer(&groq, "groq", LLM_OPENAI, (const char *const[]){"gpt-5-mini", NULL});
    assert_int_equal(choose("openai/gpt-5-mini"), 0);
    assert_int_equal(out.n, 1);
    /* nobody lists it: the first one may know */
    assert_int_equal(choose("brand-new"), 0);
    assert_int_equal(out.n, 1);
    expect_at(0, "openrouter/brand-new named");
    /* names are matched as they are */
    assert_int_equal(choose("GPT-4o"), 0);
    expect_at(0, "openrouter/GPT-4o named");
    /* a hidden one is not there */
    openai.hidden = true;
    assert_int_equal(choose("gpt-4o-mini"), 0);
    assert_int_equal(out.n, 1);
    expect_at(0, "openrouter/openai/gpt-4o-mini other name");
    ask.n_providers = 0;
    assert_int_equal(choose("gpt-4o"), SV_E_MODEL_UNKNOWN);
    assert_non_null(strstr(err.message, "there is no provider"));
}

static void test_unasked_list(void **state)
{
    (void)state;
    start("");
    anthropic.models.n = 0;
    anthropic.fixed_models = false;
    assert_int_equal(choose("claude-sonnet-4-5-20250929"), 0);
    expect_at(0, "anthropic/claude-sonnet-4-5 other name");
    assert_int_equal(out.n, 1);
}

static void test_list_and_fallbacks(void **state)
{
    (void)state;
    start("  fallbacks:\n"
          "    - {model: gpt-4o, use: [claude-opus-4-5, nobody-has-it]}\n"
          "    - {model: \"*\", use: [llama-3.3-70b-versatile, gpt-4o]}\n");
    sv_str more[] = {sv_cstr("gpt-5-mini"), sv_cstr("gpt-4o")};
    assert_int_equal(choose("gpt-4o"), 0);
    expect_at(0, "openai/gpt-4o named");
    expect_at(1, "anthropic/claude-opus-4-5 fallback");
    expect_at(2, "groq/llama-3.3-70b-versatile fallback");
    assert_int_equal(out.n, 3);
    ask.list = (sv_strs){more, 2};
    assert_int_equal(choose("gpt-4o"), 0);
    expect_at(1, "openai/gpt-5-mini named");
    expect_at(2, "anthropic/claude-opus-4-5 fallback");
    ask.list.n = 0;
    /* what a fallback cannot do leaves it out; what was named stays */
    features.images = true;
    assert_int_equal(choose("openai/unheard-of"), 0);
    expect_at(0, "openai/unheard-of named");
    expect_at(1, "openai/gpt-4o fallback");
    expect_filter("llama-3.3-70b-versatile", "it cannot see images");
    assert_int_equal(choose("llama-3.1-8b-instant"), 0);
    expect_at(0, "groq/llama-3.1-8b-instant named");
}

static void test_aliases(void **state)
{
    (void)state;
    start("  aliases:\n"
          "    - {name: fast, models: [llama-3.1-8b-instant, gpt-4o-mini]}\n"
          "    - {name: coder, models: [auto], task: code}\n"
          "    - {name: gpt-4o, models: [gpt-4o]}\n");
    assert_int_equal(choose("fast"), 0);
    expect_at(0, "groq/llama-3.1-8b-instant alias");
    expect_at(1, "openai/gpt-4o-mini alias");
    expect_at(2, "openrouter/openai/gpt-4o-mini alias");
    assert_int_equal(choose("coder"), 0);
    assert_true(out.auto_chosen && out.task_known);
    assert_int_equal(out.task, TASK_CODE);
    assert_string_equal(out.rule, "the alias");
    assert_int_equal(choose("gpt-4o"), 0);
    expect_at(0, "openai/gpt-4o alias");
    /* the key allows the alias, so what it stands for */
    sv_str one = sv_cstr("fast");
    ask.allowed = (sv_strs){&one, 1};
    assert_int_equal(choose("fast"), 0);
    assert_int_equal(out.n, 3);
    assert_int_equal(choose("coder"), SV_E_MODEL_NOT_ALLOWED);
}

static void wrong_settings(const char *yaml, const char *words)
{
    planner *p;
    use_shipped_models();
    err = (sv_error){0};
    assert_int_equal(kit_config(yaml, &conf, &err), 0);
    assert_int_equal(models_load(conf, &known, &err), 0);
    assert_int_equal(planner_new(conf, known, NULL, &p, &err), SV_E_CONFIG);
    if (strstr(err.message, words) == NULL) fail_msg("%s: %s", words, err.message);
    models_free(known);
    config_free(conf);
    known = NULL, conf = NULL;
}

static void test_wrong_settings(void **state)
{
    (void)state;
    arena_init(&mem, 1);
    wrong_settings("  aliases:\n    - {name: auto, models: [a]}\n", "no alias");
    wrong_settings("  aliases:\n    - {name: a, models: [b]}\n    - {name: b, models: [c]}\n",
                   "router.aliases[0].models: \"b\" is an alias itself");
    wrong_settings("  aliases:\n    - {name: a, models: [b]}\n    - {name: a, models: [c]}\n",
                   "is there twice");
    wrong_settings("  aliases:\n    - {name: a, models: [b], task: code}\n", "auto only");
}

static void test_allowed(void **state)
{
    (void)state;
    start("");
    sv_str allowed[] = {sv_cstr("gpt-4o-mini"), sv_cstr("anthropic/claude-haiku-4-5")};
    ask.allowed = (sv_strs){allowed, 2};
    /* the canonical name holds for all of its names, a provider's name for it alone */
    assert_int_equal(choose("gpt-4o-mini"), 0);
    assert_int_equal(out.n, 2);
    assert_int_equal(choose("openai/gpt-4o-mini"), 0);
    assert_int_equal(out.n, 2);
    assert_int_equal(choose("anthropic/claude-haiku-4-5"), 0);
    assert_int_equal(choose("claude-haiku-4-5"), 0);
    assert_int_equal(out.n, 1);
    expect_at(0, "anthropic/claude-haiku-4-5 named");
    expect_filter("anthropic/claude-haiku-4.5", "the API key does not allow it");
    assert_int_equal(choose("gpt-4o"), SV_E_MODEL_NOT_ALLOWED);
    assert_string_equal(err.field, "model");
    assert_int_equal(choose("gpt-4o-min"), SV_E_MODEL_NOT_ALLOWED);
    assert_int_equal(choose("brand-new"), SV_E_MODEL_NOT_ALLOWED);
    assert_int_equal(choose("auto"), 0);
    for (uint32_t i = 0; i < out.n; i++)
        assert_true(strcmp(out.items[i].info->id, "gpt-4o-mini") == 0 ||
                    out.items[i].provider == &anthropic);
    assert_true(out.n >= 2);
}

static void test_policy_and_price(void **state)
{
    (void)state;
    start("  data_policy: no_training\n");
    openai.trains = true;
    assert_int_equal(choose("gpt-4o-mini"), 0);
    assert_int_equal(out.n, 1);
    expect_filter("gpt-4o-mini", "its provider may learn from what it is sent");
    assert_int_equal(choose("gpt-4o"), SV_E_INVALID);
    assert_int_equal(choose("auto"), 0);
    for (uint32_t i = 0; i < out.n; i++)
        assert_ptr_not_equal(out.items[i].provider, &openai);
    openai.trains = false;
    /* 100 * 2.5 + 200 * 10 = 2250 micro-units */
    features.max_tokens = 200;
    ask.budget = 2250;
    assert_int_equal(choose("gpt-4o"), 0);
    ask.budget = 2249;
    assert_int_equal(choose("gpt-4o"), SV_E_INVALID);
    assert_string_equal(err.field, "budget");
    assert_non_null(strstr(err.message, "cost more than is allowed"));
    assert_int_equal(choose("unheard-of"), SV_E_INVALID);
    assert_non_null(strstr(err.message, "price is not known"));
    /* each of several answers, also where only the bytes tell of them: 100 * 2.5 + 3 * 400 * 10 */
    ask.answers = 3;
    ask.output = 400;
    ask.budget = 12250;
    assert_int_equal(choose("gpt-4o"), 0);
    ask.budget = 12249;
    assert_int_equal(choose("gpt-4o"), SV_E_INVALID);
    ask.answers = ask.output = 0;
    /* and each of several models at once: 2250 and 135 */
    static sv_str more[] = {{"gpt-4o-mini", 11}};
    ask.list = (sv_strs){more, 1};
    ask.budget = 2384;
    assert_int_equal(choose("openai/gpt-4o"), 0);
    ask.at_once = 2;
    assert_int_equal(choose("openai/gpt-4o"), SV_E_INVALID);
    assert_non_null(strstr(err.message, "together"));
    ask.budget = 2385;
    assert_int_equal(choose("openai/gpt-4o"), 0);
    ask.list.n = ask.at_once = 0;
    ask.budget = 100;
    assert_int_equal(choose("auto"), 0);
    for (uint32_t i = 0; i < out.n; i++) {
        tokens t = {.prompt = 100, .completion = 200};
        assert_true(model_cost(&out.items[i].info->price, &t) <= 100);
    }
}

static void test_price_cap(void **state)
{
    (void)state;
    start("  price_cap: 2249\n");
    features.max_tokens = 200;
    assert_int_equal(choose("gpt-4o"), SV_E_INVALID);
    assert_string_equal(err.field, "model");
    ask.budget = 100000; /* a client's own budget lifts no cap */
    assert_int_equal(choose("gpt-4o"), SV_E_INVALID);
    assert_int_equal(choose("gpt-4o-mini"), 0);
}

static void test_abilities(void **state)
{
    (void)state;
    start("");
    features.images = true;
    assert_int_equal(choose("auto"), 0);
    assert_int_equal(out.task, TASK_VISION);
    for (uint32_t i = 0; i < out.n; i++)
        assert_true(out.items[i].info->can & MODEL_CAN_SEE);
    features.images = false;
    features.prompt_tokens = 150000;
    features.max_tokens = 60000;
    assert_int_equal(choose("auto"), 0);
    for (uint32_t i = 0; i < out.n; i++)
        assert_true(out.items[i].info->context >= 210000);
    features.prompt_tokens = 5000000;
    assert_int_equal(choose("auto"), SV_E_INVALID);
    assert_string_equal(err.field, "messages");
    features = (llm_features){.messages = 1, .prompt_tokens = 10};
    /* embeddings */
    assert_int_equal(choose("auto"), 0);
    for (uint32_t i = 0; i < out.n; i++)
        assert_false(out.items[i].info->can & MODEL_CAN_EMBED);
    ask.op = OP_EMBEDDINGS;
    assert_int_equal(choose("auto"), 0);
    assert_int_equal(out.n, 1);
    expect_at(0, "openai/text-embedding-3-small ranked");
    ask.op = OP_IMAGE;
    assert_int_equal(choose("auto"), SV_E_INVALID);
    assert_int_equal(choose("anthropic/claude-opus-4-5"), SV_E_INVALID);
    assert_non_null(strstr(err.message, "no such endpoint"));
}

static void say(const char *text)
{
    features.last_user = features.first_user = sv_cstr(text);
}

static void test_auto(void **state)
{
    (void)state;
    start("  explore: 0\n");
    say("Hello!");
    assert_int_equal(choose("auto"), 0);
    assert_true(out.auto_chosen && out.task_known && !out.explored);
    assert_int_equal(out.task, TASK_CHAT);
    assert_true(out.items[0].info->rank <= 3);
    float easy = out.complexity;
    provider *const two[] = {&openai, &anthropic};
    ask.providers = two;
    ask.n_providers = 2;
    assert_int_equal(choose("auto"), 0);
    assert_ptr_equal(out.items[0].provider, &openai);
    assert_ptr_equal(out.items[1].provider, &anthropic);
    assert_true(out.items[1].score < out.items[2].score);
    ask.providers = all;
    ask.n_providers = MANY;
    assert_int_equal(choose("auto"), 0);
    for (uint32_t i = 2; i + 1 < out.n; i++)
        assert_true(out.items[i].score >= out.items[i + 1].score);
    say("Prove the theorem rigorously, derive the bound and give a counterexample for the "
        "converse");
    assert_int_equal(choose("auto"), 0);
    assert_int_equal(out.task, TASK_REASON);
    assert_true(out.complexity > easy + 0.4f);
    assert_true(out.items[0].info->rank >= 4);
    /* every one that was looked at is explained */
    uint32_t told = 0;
    for (uint32_t i = 0; i < out.n_seen; i++)
        told += out.seen[i].filter == NULL && out.seen[i].score > 0;
    assert_true(told >= out.n);
    /* the same again is the same */
    plan before = out;
    assert_int_equal(choose("auto"), 0);
    assert_int_equal(out.n, before.n);
    for (uint32_t i = 0; i < out.n; i++)
        assert_true(out.items[i].provider == before.items[i].provider &&
                    strcmp(out.items[i].model, before.items[i].model) == 0);
    /* the client's word */
    ask.complexity = sv_cstr("low");
    ask.task = sv_cstr("chat");
    assert_int_equal(choose("auto"), 0);
    assert_int_equal(out.task, TASK_CHAT);
    assert_true(out.items[0].info->rank <= 3);
    ask.task = sv_cstr("sing");
    assert_int_equal(choose("auto"), SV_E_INVALID);
    assert_string_equal(err.field, "task");
    assert_int_equal(choose("gpt-4o"), SV_E_INVALID);
    ask.task = sv_cstr("chat");
    ask.complexity = sv_cstr("7");
    assert_int_equal(choose("auto"), SV_E_INVALID);
    assert_string_equal(err.field, "complexity");
}

static void test_order_of_equals(void **state)
{
    (void)state;
    start("  explore: 0\n");
    provider *const two[] = {&router, &openai};
    provider *const other[] = {&openai, &router};
    sv_str only = sv_cstr("gpt-4o-mini");
    ask.allowed = (sv_strs){&only, 1};
    ask.n_providers = 2;
    ask.providers = two;
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "openrouter/openai/gpt-4o-mini ranked");
    expect_at(1, "openai/gpt-4o-mini ranked");
    ask.providers = other;
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "openai/gpt-4o-mini ranked");
}

static void test_unknown_only(void **state)
{
    (void)state;
    start("");
    offer(&openai, "local", LLM_OPENAI, (const char *const[]){"my-own:latest", NULL});
    provider *const one[] = {&openai};
    ask.providers = one;
    ask.n_providers = 1;
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "local/my-own:latest ranked");
    /* the list changes: so does what is chosen */
    lists[2][0].id = "gpt-4o";
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "local/gpt-4o ranked");
    openai.models.items = lists[3];
    lists[3][0].id = "gpt-4o";
    assert_int_equal(choose("auto"), 0);
    lists[3][0].id = "gpt-4o-mini"; /* at the same address */
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "local/gpt-4o-mini ranked");
    assert_string_equal(out.items[0].info->id, "gpt-4o-mini");
    openai.models.n = 0;
    assert_int_equal(choose("auto"), SV_E_MODEL_UNKNOWN);
}

static void test_outage(void **state)
{
    (void)state;
    start("  explore: 0\n");
    break_down("openai", "gpt-4o-mini");
    assert_int_equal(choose("gpt-4o-mini"), 0);
    expect_at(0, "openrouter/openai/gpt-4o-mini other name");
    expect_at(1, "openai/gpt-4o-mini named");
    break_down("openrouter", "openai/gpt-4o-mini");
    assert_int_equal(choose("gpt-4o-mini"), 0);
    assert_int_equal(out.n, 2); /* somebody has to be tried */
    expect_at(0, "openai/gpt-4o-mini named");
    /* another key of the same provider still works */
    openai.n_keys = 2;
    assert_int_equal(choose("gpt-4o-mini"), 0);
    expect_at(0, "openai/gpt-4o-mini named");
    openai.n_keys = 1;
    /* behind later ones of a list, too */
    sv_str more = sv_cstr("gpt-4o");
    ask.list = (sv_strs){&more, 1};
    assert_int_equal(choose("gpt-4o-mini"), 0);
    expect_at(0, "openai/gpt-4o named");
    ask.list.n = 0;
    /* auto leaves it out while others are there */
    say("Hello!");
    assert_int_equal(choose("auto"), 0);
    for (uint32_t i = 0; i < out.n; i++)
        assert_string_not_equal(out.items[i].info->id, "gpt-4o-mini");
    expect_filter("gpt-4o-mini", "it failed lately");
    sv_str only = sv_cstr("gpt-4o-mini");
    ask.allowed = (sv_strs){&only, 1};
    assert_int_equal(choose("auto"), 0);
    assert_int_equal(out.n, 2);
}

static void test_figures(void **state)
{
    (void)state;
    start("  explore: 0\n");
    sv_str only = sv_cstr("gpt-4o-mini");
    ask.allowed = (sv_strs){&only, 1};
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "openrouter/openai/gpt-4o-mini ranked");
    health_entry *slow = health_get(state_of, "openrouter", sv_cstr("openai/gpt-4o-mini"), 0);
    health_entry *quick = health_get(state_of, "openai", sv_cstr("gpt-4o-mini"), 0);
    for (int i = 0; i < 20; i++) {
        bool probe;
        health_begin(slow, ask.now_us, &probe);
        health_end(slow, ask.now_us, probe,
                   &(health_note){.first_us = 5000000, .total_us = 9000000, .stream = true});
        health_begin(quick, ask.now_us, &probe);
        health_end(quick, ask.now_us, probe,
                   &(health_note){.first_us = 200000, .total_us = 900000, .stream = true});
    }
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "openai/gpt-4o-mini ranked");
    /* wrong tool calls count where there are tools */
    for (int i = 0; i < 20; i++) {
        bool probe;
        health_begin(quick, ask.now_us, &probe);
        health_end(quick, ask.now_us, probe,
                   &(health_note){.outcome = HEALTH_BAD_TOOLS,
                                  .first_us = 200000,
                                  .total_us = 900000,
                                  .stream = true});
    }
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "openai/gpt-4o-mini ranked");
    features.tools = true;
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "openrouter/openai/gpt-4o-mini ranked");
}

static void test_learned(void **state)
{
    (void)state;
    start("  explore: 0\n");
    sv_str only = sv_cstr("gpt-4o-mini");
    learn *l = learn_new(true);
    assert_non_null(l);
    ask.unix_ms = 1700000000000;
    for (int i = 0; i < 300; i++)
        learn_outcome(l, TASK_CHAT, "openrouter", sv_cstr("openai/gpt-4o-mini"), false,
                      ask.unix_ms);
    ask.allowed = (sv_strs){&only, 1};
    planner_learn(planning, l);
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "openai/gpt-4o-mini ranked");
    planner_learn(planning, NULL);
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "openrouter/openai/gpt-4o-mini ranked");
    learn_free(l);
}

static void test_sticky(void **state)
{
    (void)state;
    start("  explore: 0\n");
    say("Hello!");
    ask.conversation = 99;
    ask.org = sv_cstr("o1");
    assert_int_equal(choose("gpt-4o-mini"), 0);
    expect_at(0, "openai/gpt-4o-mini named");
    planner_answered(planning, &ask, &out.items[1]);
    assert_int_equal(choose("gpt-4o-mini"), 0);
    expect_at(0, "openrouter/openai/gpt-4o-mini sticky");
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "openrouter/openai/gpt-4o-mini sticky");
    /* somebody else's conversation of the same name */
    ask.org = sv_cstr("o2");
    assert_int_equal(choose("gpt-4o-mini"), 0);
    expect_at(0, "openai/gpt-4o-mini named");
    ask.org = sv_cstr("o1");
    /* until it has been idle, and from the last answer on */
    uint64_t began = ask.now_us;
    ask.now_us = began + 600000000;
    assert_int_equal(choose("gpt-4o-mini"), 0);
    expect_at(0, "openrouter/openai/gpt-4o-mini sticky");
    ask.now_us++;
    assert_int_equal(choose("gpt-4o-mini"), 0);
    expect_at(0, "openai/gpt-4o-mini named");
    ask.now_us = began;
    /* too weak for what is asked now */
    say("Prove the theorem rigorously, derive the bound and give a counterexample");
    assert_int_equal(choose("auto"), 0);
    assert_string_equal(out.items[0].why, "ranked");
    say("Hello!");
    /* or down */
    break_down("openrouter", "openai/gpt-4o-mini");
    assert_int_equal(choose("gpt-4o-mini"), 0);
    expect_at(0, "openai/gpt-4o-mini named");
    assert_int_equal(choose("auto"), 0);
    assert_string_equal(out.items[0].why, "ranked");
    /* bounded: many others push it out, and nothing else happens */
    for (uint64_t i = 1; i < 100000; i++) {
        ask.conversation = i * 977;
        planner_answered(planning, &ask, &out.items[0]);
    }
}

static void test_explore(void **state)
{
    (void)state;
    start("  explore: 50\n");
    say("Hello!");
    uint32_t explored = 0;
    assert_int_equal(choose("auto"), 0);
    float best = 0;
    for (uint32_t i = 0; i < out.n; i++)
        if (out.items[i].score > best) best = out.items[i].score;
    for (uint64_t seed = 0; seed < 400; seed++) {
        ask.seed = seed;
        assert_int_equal(choose("auto"), 0);
        assert_true(out.explored == (strcmp(out.items[0].why, "explored") == 0));
        if (out.explored) assert_true(out.items[0].score >= 0.85f * best - 1e-6f);
        explored += out.explored;
        arena_reset(&mem);
    }
    assert_in_range(explored, 150, 250);
    assert_int_equal(choose("gpt-4o"), 0);
    assert_false(out.explored);
}

static void test_no_exploring(void **state)
{
    (void)state;
    start("  explore: 0\n");
    say("Hello!");
    for (uint64_t seed = 0; seed < 200; seed++) {
        ask.seed = seed;
        assert_int_equal(choose("auto"), 0);
        assert_false(out.explored);
        arena_reset(&mem);
    }
}

static void test_knob(void **state)
{
    (void)state;
    start("  explore: 0\n  auto: {quality: 0}\n");
    say("Compare the two laws in depth and analyse where they contradict each other");
    assert_int_equal(choose("auto"), 0);
    int cheap = out.items[0].info->rank;
    planner_free(planning);
    models_free(known);
    health_free(state_of);
    config_free(conf);
    arena_free(&mem);
    start("  explore: 0\n  auto: {quality: 100}\n");
    say("Compare the two laws in depth and analyse where they contradict each other");
    assert_int_equal(choose("auto"), 0);
    assert_true(out.items[0].info->rank > cheap);
}

static void test_opaque(void **state)
{
    (void)state;
    start("  explore: 0\n");
    assert_int_equal(choose("claude-haiku-4-5"), 0);
    sv_str only = sv_cstr("claude-haiku-4-5");
    ask.allowed = (sv_strs){&only, 1};
    assert_int_equal(choose("anthropic/claude-haiku-4.5"), 0);
    expect_at(0, "openrouter/anthropic/claude-haiku-4.5 named");
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "openrouter/anthropic/claude-haiku-4.5 ranked");
    features.opaque = true;
    features.origin = LLM_ANTHROPIC;
    assert_int_equal(choose("auto"), 0);
    expect_at(0, "anthropic/claude-haiku-4-5 ranked");
}

static void test_small_arena(void **state)
{
    (void)state;
    start("");
    arena tiny;
    arena_init(&tiny, 8);
    ask.model = sv_cstr("gpt-4o");
    assert_int_equal(planner_choose(planning, &ask, &tiny, &out, &err), SV_E_NO_MEMORY);
    arena_free(&tiny);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, stop)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_named),
        TEST(test_unasked_list),
        TEST(test_list_and_fallbacks),
        TEST(test_aliases),
        TEST(test_wrong_settings),
        TEST(test_allowed),
        TEST(test_policy_and_price),
        TEST(test_price_cap),
        TEST(test_abilities),
        TEST(test_auto),
        TEST(test_order_of_equals),
        TEST(test_unknown_only),
        TEST(test_outage),
        TEST(test_figures),
        TEST(test_learned),
        TEST(test_sticky),
        TEST(test_explore),
        TEST(test_no_exploring),
        TEST(test_knob),
        TEST(test_opaque),
        TEST(test_small_arena),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
