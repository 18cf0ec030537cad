/*  test_message.c - declared messages: round trips, defaults, every kind of refusal with its path.
 */
#include "error.h"
#include "harness.h"
#include "message.h"

static arena memory;

static int setup(void **state)
{
    (void)state;
    arena_init(&memory, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&memory);
    return 0;
}

static int decode(const sv_message *m, sv_str bytes, unsigned strict, void *ret, sv_error *err)
{
    *err = (sv_error){0};
    return message_decode(m, bytes, strict, &memory, ret, err);
}

static void hello_round_trip(void **state)
{
    (void)state;
    bus_method methods[2] = {
        {.name = sv_cstr("echo"), .idempotent = true, .doc = sv_cstr("says it again")},
        {.name = sv_cstr("other")}};
    bus_hello in = {.service = sv_cstr("echo"),
                    .epoch = 42,
                    .version = sv_cstr("1.0"),
                    .methods = {methods, 2},
                    .slots = 8},
              out;
    buf b;
    buf_init(&b, 4096);
    assert_int_equal(message_encode(&bus_hello_msg, &in, &b), 0);
    sv_error err;
    assert_int_equal(decode(&bus_hello_msg, buf_str(&b), MESSAGE_STRICT, &out, &err), 0);
    assert_true(sv_str_is(out.service, "echo"));
    assert_int_equal(out.epoch, 42);
    assert_int_equal(out.slots, 8);
    assert_int_equal(out.instance, 0);
    assert_int_equal(out.methods.n, 2);
    const bus_method *m = out.methods.items;
    assert_true(m[0].idempotent && sv_str_is(m[0].doc, "says it again"));
    assert_true(!m[1].idempotent && sv_str_is(m[1].name, "other") && m[1].doc.p == NULL);
    for (uint32_t i = 0; i < b.n; i++) /* no truncation passes */
        assert_int_not_equal(decode(&bus_hello_msg, (sv_str){b.p, i ? i : 1}, 0, &out, &err), 0);
    buf_free(&b);
}

#define BYTES(text) ((sv_str){text, sizeof(text) - 1})

static void refusals(void **state)
{
    (void)state;
    static const struct {
        sv_str bytes;
        int code;
        const char *field;
    } cases[] = {
        {BYTES("\x80"), SV_E_MISSING_FIELD, "service"},
        {BYTES("\x90"), SV_E_WRONG_TYPE, ""},
        {BYTES("\x82\xa7service\xa1x\xa5"
               "epoch\xa1x"),
         SV_E_WRONG_TYPE, "epoch"},
        {BYTES("\x82\xa7service\xa1x\xa5"
               "epoch\x00"),
         SV_E_OUT_OF_RANGE, "epoch"},
        {BYTES("\x82\xa7service\xa1x\xa5"
               "epoch\xff"),
         SV_E_OUT_OF_RANGE, "epoch"},
        {BYTES("\x82\xa7service\xa1x\xa5"
               "epoch\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
         SV_E_OUT_OF_RANGE, "epoch"},
        {BYTES("\x83\xa7service\xa1x\xa5"
               "epoch\x01\xa5slots\xcb\x3f\xf0\0\0\0\0\0\0"),
         SV_E_WRONG_TYPE, "slots"},
        {BYTES("\x82\xa7service\xd9\x1c"
               "abcdefghijklmnopqrstuvwxyzab\xa5"
               "epoch\x01"),
         SV_E_TOO_LARGE, "service"},
        {BYTES("\x82\xa7service\xc4\x01x\xa5"
               "epoch\x01"),
         SV_E_WRONG_TYPE, "service"},
        {BYTES("\x83\xa7service\xa1x\xa5"
               "epoch\x01\xa7methods\x91\x80"),
         SV_E_MISSING_FIELD, "methods[0].name"},
        {BYTES("\x83\xa7service\xa1x\xa5"
               "epoch\x01\xa7methods\x91\x81\xa4name\x07"),
         SV_E_WRONG_TYPE, "methods[0].name"},
        {BYTES("\x83\xa7service\xa1x\xa5"
               "epoch\x01\xa5wrong\x07"),
         SV_E_UNKNOWN_FIELD, "wrong"},
        {BYTES("\x82\xa7service\xa1x\xa7service\xa1x"), SV_E_DUPLICATE_KEY, "body"},
        {BYTES("\x81\xa7service\xc0"), SV_E_WRONG_TYPE, "service"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bus_hello out;
        sv_error err;
        int rc = decode(&bus_hello_msg, cases[i].bytes, MESSAGE_STRICT, &out, &err);
        if (rc != cases[i].code || strcmp(err.field, cases[i].field) != 0)
            fail_msg("case %zu: %d %s: %s", i, rc, err.field, err.message);
    }
}

/* Lists in lists, to any item of them. */
typedef struct leaf {
    int64_t n;
} leaf;

typedef struct twig {
    sv_list leaves;
    leaf *one;
    sv_strs words;
    sv_str text;
} twig;

typedef struct tree {
    sv_list twigs;
    int64_t last;
} tree;

static const sv_field leaf_fields[] = {
    {"n", SV_T_INT, SV_REQUIRED, offsetof(leaf, n), 0, 9, 0, NULL, "number"}};
static const sv_message leaf_msg = {"leaf", "leaf", sizeof(leaf), leaf_fields, 1};
static const sv_field twig_fields[] = {
    {"leaves", SV_T_LIST, 0, offsetof(twig, leaves), 0, 3, 0, &leaf_msg, "leaves"},
    {"one", SV_T_MSG, 0, offsetof(twig, one), 0, 0, 0, &leaf_msg, "one leaf"},
    {"words", SV_T_STRS, 0, offsetof(twig, words), 0, 2, 0, NULL, "words"},
    {"text", SV_T_STR, 0, offsetof(twig, text), 0, 4, 0, NULL, "text"}};
static const sv_message twig_msg = {"twig", "twig", sizeof(twig), twig_fields, 4};
static const sv_field tree_fields[] = {
    {"twigs", SV_T_LIST, 0, offsetof(tree, twigs), 0, 20, 0, &twig_msg, "twigs"},
    {"last", SV_T_INT, 0, offsetof(tree, last), 0, 9, 0, NULL, "behind the list"}};
static const sv_message tree_msg = {"tree", "tree", sizeof(tree), tree_fields, 2};

static void the_place_of_an_item(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int code;
        const char *field;
    } cases[] = {
        {"{'twigs':[{},7]}", SV_E_WRONG_TYPE, "twigs[1]"},
        {"{'twigs':[{},{},{'text':7}]}", SV_E_WRONG_TYPE, "twigs[2].text"},
        {"{'twigs':[{},{'text':'12345'},{}]}", SV_E_TOO_LARGE, "twigs[1].text"},
        {"{'twigs':[{},{},{},{'wrong':1}]}", SV_E_UNKNOWN_FIELD, "twigs[3].wrong"},
        {"{'twigs':[{},{'one':{'n':10}}]}", SV_E_OUT_OF_RANGE, "twigs[1].one.n"},
        {"{'twigs':[{},{'one':{}}]}", SV_E_MISSING_FIELD, "twigs[1].one.n"},
        {"{'twigs':[{},{'words':['a','b','c']}]}", SV_E_TOO_LARGE, "twigs[1].words"},
        {"{'twigs':[{'leaves':[{'n':1},{'n':2}]},{'leaves':[{'n':3},{'n':4},{'n':true}]}]}",
         SV_E_WRONG_TYPE, "twigs[1].leaves[2].n"},
        {"{'twigs':[{'leaves':[{'n':1},{'n':2},{}]}]}", SV_E_MISSING_FIELD, "twigs[0].leaves[2].n"},
        {"{'twigs':[{},{'leaves':[{'n':1},{'n':2}],'text':0}]}", SV_E_WRONG_TYPE, "twigs[1].text"},
        {"{'twigs':[{},{},{},{},{},{},{},{},{},{},{},{},{'text':[]}]}", SV_E_WRONG_TYPE,
         "twigs[12].text"},
        {"{'twigs':[{},{}],'last':10}", SV_E_OUT_OF_RANGE, "last"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[128];
        tree out;
        sv_error err = {0};
        buf packed;
        size_t n = strlen(cases[i].json);
        assert_true(n < sizeof json);
        for (size_t at = 0; at <= n; at++)
            json[at] = cases[i].json[at] == '\'' ? '"' : cases[i].json[at];
        buf_init(&packed, 4096);
        assert_int_equal(message_from_json(NULL, sv_cstr(json), &packed, &err), 0);
        int rc = decode(&tree_msg, buf_str(&packed), MESSAGE_STRICT, &out, &err);
        if (rc != cases[i].code || strcmp(err.field, cases[i].field) != 0 ||
            strstr(err.message, cases[i].field) == NULL)
            fail_msg("%s: %d %s: %s", json, rc, err.field, err.message);
        buf_free(&packed);
    }
}

static void lenient_and_defaults(void **state)
{
    (void)state;
    bus_tap_req tap;
    sv_error err;
    assert_int_equal(
        decode(&bus_tap_req_msg, BYTES("\x81\xa3new\x01"), MESSAGE_LENIENT, &tap, &err), 0);
    assert_int_equal(tap.max_rps, 10000);
    assert_null(tap.filter.p);
    assert_int_equal(decode(&bus_tap_req_msg, (sv_str){NULL, 0}, MESSAGE_STRICT, &tap, &err), 0);
    assert_int_equal(decode(&bus_tap_req_msg,
                            BYTES("\x81\xa6"
                                  "filter\xc0"),
                            MESSAGE_STRICT, &tap, &err),
                     0);
}

static void memory_is_bounded(void **state)
{
    (void)state;
    arena small;
    arena_init(&small, 64);
    bus_hello out;
    sv_error err = {0};
    sv_str bytes = BYTES("\x83\xa7service\xa1x\xa5"
                         "epoch\x01\xa7methods\x92\x81\xa4name\xa1x\x81\xa4name\xa1y");
    assert_int_equal(message_decode(&bus_hello_msg, bytes, 0, &small, &out, &err), SV_E_NO_MEMORY);
    arena_free(&small);
    buf b;
    buf_init(&b, 8);
    out = (bus_hello){.service = sv_cstr("much-too-long"), .epoch = 1};
    assert_int_equal(message_encode(&bus_hello_msg, &out, &b), SV_E_TOO_LARGE);
    buf_free(&b);
}

static int documented;
static void check_doc(void *arg, const sv_message *m)
{
    (void)arg;
    documented++;
    assert_true(strlen(m->doc) > 5);
    assert_true(m->n <= 64);
    assert_ptr_equal(message_by_name(m->name), m);
    for (size_t i = 0; i < m->n; i++)
        assert_true(strlen(m->fields[i].doc) > 2);
}

static void every_message_is_documented(void **state)
{
    (void)state;
    message_each(check_doc, NULL);
    assert_true(documented > 20);
    assert_null(message_by_name("nothing"));
}

/* Until a month ends: it must arrive whole. */
static void long_pauses_arrive(void **state)
{
    (void)state;
    error_body b = {.code = sv_cstr("x.y"), .message = sv_cstr("x"), .retry_after_ms = 2678400000},
               read;
    buf bytes;
    buf_init(&bytes, 1024);
    assert_int_equal(message_encode(&error_body_msg, &b, &bytes), 0);
    assert_int_equal(
        message_decode(&error_body_msg, buf_str(&bytes), MESSAGE_STRICT, &memory, &read, NULL), 0);
    assert_int_equal(read.retry_after_ms, 2678400000);
    buf_free(&bytes);
}

static void secrets_are_wiped(void **state)
{
    (void)state;
    char key[] = "sk-secret", name[] = "openai", sealed[] = "blob", id[] = "id";
    router_own_new_req q = {.name = sv_cstr(name), .key = sv_cstr(key)};
    assert_true(message_wipe(&router_own_new_req_msg, &q));
    assert_memory_equal(key, "\0\0\0\0\0\0\0\0\0", 9);
    assert_string_equal(name, "openai");
    assert_int_equal(q.key.n, 9);
    auth_provider p = {.id = sv_cstr(id)};
    assert_false(message_wipe(&auth_provider_msg, &p));
    tenant_provider tp = {.provider = &p, .sealed = sv_cstr(sealed)};
    assert_true(message_wipe(&tenant_provider_msg, &tp));
    assert_memory_equal(sealed, "\0\0\0\0", 4);
    assert_string_equal(id, "id");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_round_trip),     cmocka_unit_test(refusals),
        cmocka_unit_test(the_place_of_an_item), cmocka_unit_test(lenient_and_defaults),
        cmocka_unit_test(memory_is_bounded),    cmocka_unit_test(every_message_is_documented),
        cmocka_unit_test(long_pauses_arrive),   cmocka_unit_test(secrets_are_wiped)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
