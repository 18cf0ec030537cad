/*  test_state.c - an actor's store on a real environment: fibers that wait for commits, calls that
 *  end meanwhile, batches, the end of the process. */
#include "error.h"
#include "internal.h"
#include "state_kit.h"
#include "store_work.h"

enum { MANY = 1000, WORDS_MS = 1234 };

static const store_table things = {.name = "things", .row = &t_thing_msg, .key = "id"};
static const store_table *const tables[] = {&things};
static const store_schema schema = {"thing", 1, tables, 1, NULL, 0, 0};

/* ---- store functions ---- */

static int put(store_tx *tx, const void *in, void *out)
{
    (void)out;
    return store_put(tx, &things, in);
}

static int put_and_refuse(store_tx *tx, const void *in, void *out)
{
    int rc = put(tx, in, out);
    if (rc) return rc;
    store_error(tx)->retry_after_ms = WORDS_MS;
    return sv_fail(store_error(tx), SV_E_CONFLICT, "id", "That is taken.");
}

static int get(store_tx *tx, const void *in, void *out)
{
    (void)in;
    return store_get(tx, &things, out);
}

/* Holds the writer until it is opened; tells when it is there. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool arrived, open;
} gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int hold(store_tx *tx, const void *in, void *out)
{
    (void)tx;
    (void)in;
    (void)out;
    pthread_mutex_lock(&gate.mutex);
    gate.arrived = true;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.open)
        pthread_cond_wait(&gate.changed, &gate.mutex);
    pthread_mutex_unlock(&gate.mutex);
    return 0;
}

static void gate_set(bool open)
{
    pthread_mutex_lock(&gate.mutex);
    gate.open = open;
    if (!open) gate.arrived = false;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
}

static void gate_await(void)
{
    pthread_mutex_lock(&gate.mutex);
    while (!gate.arrived)
        pthread_cond_wait(&gate.changed, &gate.mutex);
    pthread_mutex_unlock(&gate.mutex);
}

/* ---- the actor ---- */

typedef struct seen {
    int code; /* 1: still running */
    sv_error error;
    int64_t n;
} seen;

static seen results[MANY];
static int running;

/* A call's number is its key. */
static seen *mine(sv_call *c)
{
    char text[16];
    snprintf(text, sizeof text, "%.*s", SV_FMT(sv_call_key(c)));
    return &results[atoi(text) % MANY];
}

static int ended(sv_call *c, int rc)
{
    seen *s = mine(c);
    s->code = rc;
    s->error = *sv_call_error(c);
    running--;
    return rc ? rc : sv_reply(c, NULL);
}

static t_thing thing(sv_call *c)
{
    return (t_thing){.id = sv_call_key(c), .n = 7, .secret = sv_cstr("hidden")};
}

static int m_put(sv_call *c, const void *request)
{
    (void)request;
    t_thing t = thing(c);
    running++;
    return ended(c, store_write(c, put, &t, NULL));
}

static int m_refuse(sv_call *c, const void *request)
{
    (void)request;
    t_thing t = thing(c);
    running++;
    return ended(c, store_write(c, put_and_refuse, &t, NULL));
}

/* A second write begins when the call may be over already. */
static int m_twice(sv_call *c, const void *request)
{
    (void)request;
    t_thing t = thing(c);
    running++;
    mine(c)->n = 1 + store_write(c, put, &t, NULL);
    return ended(c, store_write(c, put, &t, NULL));
}

static int m_get(sv_call *c, const void *request)
{
    (void)request;
    t_thing t = thing(c);
    running++;
    int rc = store_read(c, get, NULL, &t);
    mine(c)->n = t.n;
    return ended(c, rc);
}

static const sv_method methods[] = {
    {.name = "put", .request = &bus_empty_msg, .reply = &bus_empty_msg, .handler = m_put},
    {.name = "refuse", .request = &bus_empty_msg, .reply = &bus_empty_msg, .handler = m_refuse},
    {.name = "twice", .request = &bus_empty_msg, .reply = &bus_empty_msg, .handler = m_twice},
    {.name = "get", .request = &bus_empty_msg, .reply = &bus_empty_msg, .handler = m_get},
    {.name = "look",
     .request = &bus_empty_msg,
     .reply = &bus_empty_msg,
     .handler = m_get,
     .flags = SV_INLINE},
};
static const sv_actor actor = {.name = "thing",
                               .methods = methods,
                               .n_methods = sizeof methods / sizeof *methods,
                               .store = &schema};

/* ---- the process ---- */

static int setup(void **state)
{
    (void)state;
    folder_make();
    running = 0;
    memset(results, 0, sizeof results);
    for (int i = 0; i < MANY; i++)
        results[i].code = 1;
    gate_set(false);
    p = process(&actor);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return folder_remove();
}

/* A request with key `number`. */
static sv_id request(const char *method, int number, uint32_t ttl_ms)
{
    char target[32], key[16];
    snprintf(target, sizeof target, "thing.%s", method);
    snprintf(key, sizeof key, "%d", number);
    return request_of(&(asked){.target = target, .key = key, .ttl_ms = ttl_ms});
}

static void cancel(sv_id id)
{
    sv_call *c = idmap_get(&p->calls, &id);
    assert_non_null(c);
    serve_cancel(p, c);
}

static void run_until_over(void)
{
    while (running > 0)
        loop_turn(p->loop, -1);
}

static void on_held(void *arg, int code, const sv_error *err)
{
    (void)arg;
    (void)err;
    assert_int_equal(code, 0);
}

static void hold_writer(void)
{
    assert_int_equal(sv_store_write(p, "test", hold, NULL, NULL, on_held, NULL), 0);
    gate_await();
}

static bool there(int number)
{
    char key[16];
    arena a;
    snprintf(key, sizeof key, "%d", number);
    t_thing t = {.id = sv_cstr(key)};
    arena_init(&a, 1 << 20);
    store_op op = {.fn = get, .out = &t, .arena = &a};
    int rc = store_view(sv_store(p), &op);
    bool good = rc == 0 && t.n == 7 && sv_str_is(t.secret, "hidden");
    assert_true(good || rc == SV_E_NOT_FOUND);
    arena_free(&a);
    return good;
}

static store_stat figures(void)
{
    store_stat s;
    assert_int_equal(store_stats(sv_store(p), false, &s, NULL), 0);
    return s;
}

/* ---- tests ---- */

static void test_write(void **state)
{
    (void)state;
    hold_writer();
    request("put", 1, TTL_MS);
    assert_int_equal(running, 1); /* suspended: not answered before its commit */
    assert_int_equal(results[1].code, 1);
    assert_false(there(1));
    gate_set(true);
    run_until_over();
    assert_int_equal(results[1].code, 0);
    assert_true(there(1));
    request("get", 1, TTL_MS);
    assert_int_equal(results[1].code, 0);
    assert_int_equal(results[1].n, 7);
    request("get", 2, TTL_MS);
    assert_int_equal(results[2].code, SV_E_NOT_FOUND);
    assert_string_equal(state_word(p), "ready");
}

static void test_cancelled(void **state)
{
    (void)state;
    hold_writer();
    sv_id id = request("twice", 1, TTL_MS);
    cancel(id);
    assert_int_equal(running, 1); /* the writer has the fiber's stack */
    gate_set(true);
    run_until_over();
    assert_int_equal(results[1].n, 1); /* the first write went through ... */
    assert_true(there(1));
    assert_int_equal(results[1].code, SV_E_CANCELLED); /* ... the second did not begin */
}

static void test_deadline(void **state)
{
    (void)state;
    hold_writer();
    request("put", 1, 1);
    request("put", 2, TTL_MS);
    uint64_t late_us = clock_us() + 2000;
    while (clock_us() < late_us)
        loop_turn(p->loop, 1);
    gate_set(true);
    run_until_over();
    assert_int_equal(results[1].code, SV_E_DEADLINE);
    assert_false(there(1));
    assert_int_equal(results[2].code, 0);
    assert_true(there(2));
}

static void test_error_undoes_alone(void **state)
{
    (void)state;
    hold_writer();
    request("put", 1, TTL_MS);
    request("refuse", 2, TTL_MS);
    request("put", 3, TTL_MS);
    gate_set(true);
    run_until_over();
    assert_int_equal(results[2].code, SV_E_CONFLICT);
    assert_string_equal(results[2].error.message, "That is taken.");
    assert_string_equal(results[2].error.field, "id");
    assert_int_equal(results[2].error.retry_after_ms, WORDS_MS);
    assert_false(there(2));
    assert_true(there(1));
    assert_true(there(3));
}

static void test_many_are_few_commits(void **state)
{
    (void)state;
    uint64_t before = figures().commits;
    hold_writer();
    for (int i = 0; i < MANY; i++)
        request("put", i, TTL_MS);
    assert_int_equal(running, MANY);
    gate_set(true);
    run_until_over();
    for (int i = 0; i < MANY; i++)
        assert_int_equal(results[i].code, 0);
    assert_true(there(0) && there(MANY - 1));
    store_stat s = figures();
    assert_true(s.writes >= MANY);
    assert_in_range(s.commits - before, 1, 4);
}

/* While the writer is busy the loop's timers fire and reads answer. */
static void count_down(void *arg)
{
    --*(int *)arg;
}

static void test_loop_goes_on(void **state)
{
    (void)state;
    hold_writer();
    request("put", 1, TTL_MS);
    int left = 1;
    loop_timer t = {0};
    for (int i = 0; i < 20; i++) {
        left = 1;
        assert_int_equal(loop_timer_set(p->loop, &t, 100, count_down, &left), 0);
        while (left > 0)
            loop_turn(p->loop, -1);
        request("get", 2, TTL_MS);
        assert_int_equal(results[2].code, SV_E_NOT_FOUND);
    }
    assert_int_equal(results[1].code, 1);
    gate_set(true);
    run_until_over();
    assert_int_equal(results[1].code, 0);
}

/* One turn delivers some of a large batch, not all of it. */
static void test_turns_are_bounded(void **state)
{
    (void)state;
    hold_writer();
    for (int i = 0; i < 500; i++)
        request("put", i, TTL_MS);
    gate_set(true);
    int most = 0;
    while (running > 0) {
        int before = running;
        loop_turn(p->loop, -1);
        if (before - running > most) most = before - running;
    }
    assert_in_range(most, 1, 64);
}

typedef struct order {
    int n, code[3];
    char message[256];
} order;

static void on_done(void *arg, int code, const sv_error *err)
{
    order *o = arg;
    assert_true(o->n < 3);
    o->code[o->n++] = code;
    if (code) snprintf(o->message, sizeof o->message, "%s", err->message);
}

static void test_close_finishes(void **state)
{
    (void)state;
    order o = {0};
    t_thing one = {.id = sv_cstr("1"), .n = 7, .secret = sv_cstr("hidden")}, two = one;
    two.id = sv_cstr("2");
    hold_writer();
    assert_int_equal(sv_store_write(p, "test", put, &one, NULL, on_done, &o), 0);
    assert_int_equal(sv_store_write(p, "test", put_and_refuse, &two, NULL, on_done, &o), 0);
    request("put", 3, TTL_MS);
    assert_int_equal(o.n, 0);
    gate_set(true);
    serve_cancel_all(p);
    state_settle(p); /* before the actor's stop: all that was begun has been told */
    assert_int_equal(o.n, 2);
    assert_int_equal(o.code[0], 0);
    assert_int_equal(o.code[1], SV_E_CONFLICT);
    assert_string_equal(o.message, "That is taken.");
    assert_int_equal(results[3].code, 0);
    two.id = sv_cstr("4"); /* the stop itself writes */
    assert_int_equal(sv_store_write(p, "test", put, &two, NULL, on_done, &o), 0);
    state_close(p);
    assert_int_equal(o.n, 3);
    assert_int_equal(o.code[2], 0);
    assert_null(sv_store(p));
    assert_true(sv_store_write(p, "test", put, &two, NULL, on_done, &o) < 0);
    request("put", 5, TTL_MS);
    assert_true(results[5].code < 0);
    finish(p);
    p = process(&actor);
    assert_true(there(1) && there(3) && there(4));
    assert_false(there(2));
}

static void test_away(void **state)
{
    (void)state;
    request("put", 1, TTL_MS);
    run_until_over();
    store *s = sv_store(p);
    assert_int_equal(pthread_rwlock_wrlock(&s->gate), 0);
    request("look", 1, TTL_MS); /* on the loop: at once */
    assert_int_equal(results[1].code, SV_E_STORE_IO);
    assert_true(results[1].error.retry_after_ms > 0);
    results[1].code = 1;
    request("get", 1, TTL_MS); /* on a fiber: waits */
    for (int i = 0; i < 5; i++)
        loop_turn(p->loop, 5);
    assert_int_equal(results[1].code, 1);
    sv_id left = request("get", 2, TTL_MS);
    cancel(left); /* ... but not for a caller that has left */
    assert_int_equal(results[2].code, SV_E_CANCELLED);
    request("get", 3, 3); /* ... and not longer than it may */
    while (results[3].code == 1)
        loop_turn(p->loop, 5);
    assert_int_equal(results[3].code, SV_E_STORE_IO);
    pthread_rwlock_unlock(&s->gate);
    run_until_over();
    assert_int_equal(results[1].code, 0);
    assert_int_equal(results[1].n, 7);
}

static void test_instances(void **state)
{
    (void)state;
    assert_int_equal(p->instance, 1);
    sv_process *second = process(&actor);
    assert_int_equal(second->instance, 2);
    setenv("SAMOVAR_INSTANCE", "2", 1);
    sv_error err = {.code = 0};
    sv_process *third = process_new(settings, &actor, "thing", NULL);
    assert_int_equal(state_open(third, &err), SV_E_STORE_LOCKED);
    assert_false(state_is_config(err.code));
    process_free(third);
    end(second);
    unsetenv("SAMOVAR_INSTANCE");
}

static void test_wrong_key(void **state)
{
    (void)state;
    char key[128];
    sv_error err = {.code = 0};
    end(p);
    p = NULL;
    snprintf(key, sizeof key, "%s.key", folder);
    assert_int_equal(unlink(key), 0);
    sv_process *q = process_new(settings, &actor, "thing", NULL);
    int rc = state_open(q, &err); /* none, but an environment */
    assert_true(state_is_config(rc));
    process_free(q);
    FILE *f = fopen(key, "w");
    assert_non_null(f);
    fprintf(f, "samovar-root-key 1 %064d\n", 1);
    fchmod(fileno(f), 0600);
    fclose(f);
    err = (sv_error){.code = 0};
    q = process_new(settings, &actor, "thing", NULL);
    assert_int_equal(state_open(q, &err), SV_E_STORE_KEY);
    assert_true(state_is_config(SV_E_STORE_KEY));
    process_free(q);
}

/* What another program or a newer one has written is refused for good. */
static void test_other_schemas(void **state)
{
    (void)state;
    static const store_schema newer = {"thing", 2, tables, 1, NULL, 0, 0},
                              foreign = {"other", 1, tables, 1, NULL, 0, 0};
    static const sv_actor two = {.name = "thing", .store = &newer},
                          other = {.name = "thing", .store = &foreign};
    static const struct {
        const sv_actor *actor;
        int code;
    } steps[] = {{&other, SV_E_STORE_FOREIGN}, {&two, 0}, {&actor, SV_E_STORE_NEWER}, {&two, 0}};
    end(p);
    p = NULL;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        sv_error err = {.code = 0};
        sv_process *q = process_new(settings, steps[i].actor, "thing", NULL);
        assert_non_null(q);
        assert_int_equal(state_open(q, &err), steps[i].code);
        if (steps[i].code) assert_true(state_is_config(err.code) && err.message[0]);
        if (steps[i].code == SV_E_STORE_NEWER)
            assert_true(strchr(err.message, '1') && strchr(err.message, '2'));
        end(q);
    }
}

static void test_stat(void **state)
{
    (void)state;
    arena a;
    store_stat_reply r;
    sv_error err = {.code = 0};
    request("put", 1, TTL_MS);
    run_until_over();
    arena_init(&a, 1 << 20);
    assert_int_equal(work_stat(sv_store(p), "thing", 1, &a, &r, &err), 0);
    assert_true(sv_str_is(r.service, "thing") && sv_str_is(r.state, "ready"));
    assert_int_equal(r.version, 1);
    assert_true(r.file_bytes > 0 && r.file_bytes <= r.map_bytes && r.free_bytes <= r.file_bytes);
    bool found = false;
    for (uint32_t i = 0; i < r.tables.n; i++) {
        const store_table_entry *t = &((store_table_entry *)r.tables.items)[i];
        if (sv_str_is(t->name, "t.things")) found = t->entries == 1;
    }
    assert_true(found);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error_undoes_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_are_few_commits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loop_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_turns_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_finishes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_instances, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_schemas, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stat, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
