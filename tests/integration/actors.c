/*  actors.c - libsamovar against a real broker: two actor processes, this one as operator and in
 *  the supervisor's place. Deadlines, traces, cancellation across three hops; streams past their
 *  window; messages of many parts; deaths and restarts; events; the pool. BIN names the executables.
 */
#include "bus_kit.h"
#include "error.h"
#include "uuid.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SV_MESSAGES_FILE "actors_messages.def"
#include "message_structs.h"
#include "message_tables.h"

static pid_t alpha_pid, beta_pid[2];

/* ---- beta: does things ---- */

static int64_t cancelled, finished;

static int b_echo(sv_call *c, const void *request)
{
    const t_req *q = request;
    t_rep r = {.caller = sv_cstr(sv_call_caller(c)),
               .origin = q->text,
               .trace_id = {(const char *)sv_call_trace(c)->trace_id, 16},
               .ttl_ms = sv_call_ttl_ms(c),
               .n = q->n};
    return sv_reply(c, &r);
}

static int b_sleep(sv_call *c, const void *request)
{
    const t_req *q = request;
    int rc = sv_sleep(c, (uint32_t)q->n);
    if (rc) {
        cancelled++;
        return rc;
    }
    finished++;
    return sv_reply(c, &(t_rep){.n = q->n});
}

static int b_tally(sv_call *c, const void *request)
{
    (void)request;
    return sv_reply(c, &(t_rep){.n = cancelled, .sum = finished});
}

static int b_count(sv_call *c, const void *request)
{
    const t_req *q = request;
    char *pad = arena_alloc(sv_call_arena(c), (size_t)q->size + 1);
    for (int64_t i = 1; i <= q->n; i++) {
        int rc = sv_partial(c, &t_rep_msg, &(t_rep){.n = i}, (sv_str){pad, (uint32_t)q->size});
        if (rc) {
            cancelled++;
            return rc;
        }
    }
    return sv_reply(c, &(t_rep){.n = q->n});
}

static uint64_t checksum(sv_str s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s.n; i++)
        sum = sum * 31 + (unsigned char)s.p[i];
    return sum & 0xffffffff;
}

static int b_take(sv_call *c, const void *request)
{
    (void)request;
    sv_str a = sv_call_attachment(c);
    return sv_reply(c, &(t_rep){.n = a.n, .sum = (int64_t)checksum(a)});
}

static char *pattern(size_t n)
{
    char *p = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 + i / 60416);
    return p;
}

static int b_give(sv_call *c, const void *request)
{
    const t_req *q = request;
    char *p = pattern((size_t)q->size);
    int rc = sv_reply_with(c, &(t_rep){.n = q->size}, (sv_str){p, (uint32_t)q->size});
    free(p);
    return rc;
}

static int b_die(sv_call *c, const void *request)
{
    (void)c;
    (void)request;
    _exit(9);
}

static int spin(void *arg)
{
    volatile uint64_t *n = arg;
    while (*n < 20000000)
        (*n)++;
    return 0;
}

static int b_work(sv_call *c, const void *request)
{
    (void)request;
    uint64_t n = 0;
    int rc = sv_work(c, spin, &n);
    return rc ? rc : sv_reply(c, &(t_rep){.n = (int64_t)n});
}

static int b_silent(sv_call *c, const void *request)
{
    (void)c;
    (void)request;
    return 0; /* a defect: no answer */
}

static const sv_method beta_methods[] = {
    {.name = "echo",
     .request = &t_req_msg,
     .reply = &t_rep_msg,
     .handler = b_echo,
     .flags = SV_IDEMPOTENT},
    {.name = "sleep", .request = &t_req_msg, .reply = &t_rep_msg, .handler = b_sleep},
    {.name = "nap",
     .request = &t_req_msg,
     .reply = &t_rep_msg,
     .handler = b_sleep,
     .flags = SV_IDEMPOTENT},
    {.name = "tally", .request = &t_req_msg, .reply = &t_rep_msg, .handler = b_tally},
    {.name = "count", .request = &t_req_msg, .reply = &t_rep_msg, .handler = b_count},
    {.name = "take",
     .request = &t_req_msg,
     .reply = &t_rep_msg,
     .handler = b_take,
     .max_request = 12 << 20},
    {.name = "give", .request = &t_req_msg, .reply = &t_rep_msg, .handler = b_give},
    {.name = "die", .request = &t_req_msg, .reply = &t_rep_msg, .handler = b_die},
    {.name = "work", .request = &t_req_msg, .reply = &t_rep_msg, .handler = b_work},
    {.name = "silent", .request = &t_req_msg, .reply = &t_rep_msg, .handler = b_silent},
};
static const sv_actor beta = {.name = "beta",
                              .methods = beta_methods,
                              .n_methods = sizeof beta_methods / sizeof *beta_methods};

/* ---- alpha: passes on ---- */

static int a_relay(sv_call *c, const void *request)
{
    const t_req *q = request;
    t_rep r;
    int rc = sv_call_service(c, "beta.echo", &t_req_msg, q, &t_rep_msg, &r);
    if (rc) return rc;
    r.origin = sv_cstr(sv_call_caller(c));
    return sv_reply(c, &r);
}

static int a_wait(sv_call *c, const void *request)
{
    t_rep r;
    int rc = sv_call_service(c, "beta.sleep", &t_req_msg, request, &t_rep_msg, &r);
    return rc ? rc : sv_reply(c, &r);
}

static int a_sum(sv_call *c, const void *request)
{
    const t_req *q = request;
    sv_request r = {.target = "beta.count", .type = &t_req_msg, .body = q, .stream = true};
    sv_stream *s = sv_call_stream(c, &r);
    if (s == NULL) return sv_call_error(c)->code;
    t_rep sum = {0};
    sv_item item;
    arena a;
    arena_init(&a, 65536);
    while (sv_next(s, &item)) {
        t_rep one;
        if (message_decode(&t_rep_msg, item.body, 0, &a, &one, NULL) == 0) {
            sum.n++;
            sum.sum += one.n;
        }
        arena_reset(&a);
    }
    arena_free(&a);
    int rc = sv_stream_result(s, NULL);
    sv_stream_close(s);
    return rc ? rc : sv_reply(c, &sum);
}

static int a_leave(sv_call *c, const void *request)
{
    sv_request r = {.target = "beta.count", .type = &t_req_msg, .body = request, .stream = true};
    sv_stream *s = sv_call_stream(c, &r);
    sv_item item;
    bool got = s && sv_next(s, &item);
    sv_stream_close(s);
    return sv_reply(c, &(t_rep){.n = got});
}

static int a_publish(sv_call *c, const void *request)
{
    const t_req *q = request;
    for (int64_t i = 1; i <= q->n; i++) {
        int rc = sv_publish(sv_call_process(c), "alpha.news", &t_rep_msg, &(t_rep){.n = i});
        if (rc) return rc;
    }
    return sv_reply(c, &(t_rep){.n = q->n});
}

static const sv_method alpha_methods[] = {
    {.name = "relay", .request = &t_req_msg, .reply = &t_rep_msg, .handler = a_relay},
    {.name = "wait", .request = &t_req_msg, .reply = &t_rep_msg, .handler = a_wait},
    {.name = "sum", .request = &t_req_msg, .reply = &t_rep_msg, .handler = a_sum},
    {.name = "leave", .request = &t_req_msg, .reply = &t_rep_msg, .handler = a_leave},
    {.name = "publish", .request = &t_req_msg, .reply = &t_rep_msg, .handler = a_publish},
};
static const sv_actor alpha = {.name = "alpha",
                               .methods = alpha_methods,
                               .n_methods = sizeof alpha_methods / sizeof *alpha_methods};

static void announce_again(void)
{
    kit_announce(alpha_pid, "alpha", 1);
    for (unsigned i = 0; i < 2; i++)
        if (beta_pid[i]) kit_announce(beta_pid[i], "beta", i + 1);
}

/* ---- calling as operator ---- */

typedef struct call {
    int code;
    bool done;
    t_rep reply;
    uint64_t items, bytes, sum;
    sv_error error;
    bool hold; /* do not consume */
    arena a;
} call;

static void on_item(void *arg, sv_stream *s, const sv_item *item)
{
    call *k = arg;
    k->items++;
    k->bytes += item->attachment.n;
    if (!k->hold) sv_consumed(s, 1, item->body.n + item->attachment.n);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s;
    call *k = arg;
    k->done = true;
    k->code = code;
    if (err) k->error = *err;
    if (code) return;
    k->bytes += item->attachment.n;
    k->sum = checksum(item->attachment);
    char *copy = arena_copy(&k->a, item->body);
    assert_int_equal(
        message_decode(&t_rep_msg, (sv_str){copy, item->body.n}, 0, &k->a, &k->reply, NULL), 0);
}

static const sv_events events = {on_item, on_done};

static bool is_done(void *arg)
{
    return ((call *)arg)->done;
}

static sv_stream *begin(call *k, sv_request *r, const t_req *q)
{
    memset(k, 0, sizeof *k);
    arena_init(&k->a, 1 << 20);
    r->type = &t_req_msg;
    r->body = q;
    sv_error err = {0};
    sv_stream *s = sv_open(kit_me, r, &events, k, &err);
    assert_non_null(s);
    return s;
}

static int ask(call *k, const char *target, const t_req *q, uint32_t ttl_ms)
{
    sv_request r = {.target = target, .ttl_ms = ttl_ms};
    begin(k, &r, q);
    assert_int_equal(sv_tool_wait(kit_me, is_done, k, 30000), 0);
    return k->code;
}

typedef struct raw_reply {
    bool done;
    unsigned betas;
} raw_reply;

static void on_raw(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s;
    (void)err;
    raw_reply *raw = arg;
    arena a;
    arena_init(&a, 1 << 20);
    bus_services_reply r;
    assert_int_equal(code, 0);
    assert_int_equal(message_decode(&bus_services_reply_msg, item->body, 0, &a, &r, NULL), 0);
    const bus_service_instance *i = r.instances.items;
    for (uint32_t n = 0; n < r.instances.n; n++)
        raw->betas += sv_str_is(i[n].service, "beta");
    raw->done = true;
    arena_free(&a);
}

static bool raw_done(void *arg)
{
    return ((raw_reply *)arg)->done;
}

static const sv_events raw_events = {NULL, on_raw};

static bool beta_there(void *arg)
{
    (void)arg;
    call k;
    int rc = ask(&k, "beta.echo", &(t_req){0}, 1000);
    arena_free(&k.a);
    if (rc == 0) {
        rc = ask(&k, "alpha.relay", &(t_req){0}, 1000);
        arena_free(&k.a);
    }
    return rc == 0;
}

static void wait_ready(void)
{
    uint64_t end = clock_us() + 10000000;
    while (!beta_there(NULL))
        assert_true(clock_us() < end);
}

static int setup(void **state)
{
    (void)state;
    char path[128];
    kit_open("actors");
    snprintf(path, sizeof path, "%s/data/policy.yaml", kit_folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("allow:\n  - {from: \"*\", call: [\"*\"]}\n", f);
    fclose(f);
    kit_start_broker();
    beta_pid[0] = kit_start(&beta, "beta", 1);
    alpha_pid = kit_start(&alpha, "alpha", 1);
    kit_join();
    wait_ready();
    return 0;
}

/* ---- tests ---- */

static void context_passes_on(void **state)
{
    (void)state;
    call k;
    sv_trace trace = {.flags = 3};
    memset(trace.trace_id, 0xab, 16);
    memset(trace.span_id, 0xcd, 8);
    sv_request r = {.target = "alpha.relay", .ttl_ms = 5000, .trace = &trace};
    begin(&k, &r, &(t_req){.n = 5});
    assert_int_equal(sv_tool_wait(kit_me, is_done, &k, 10000), 0);
    assert_int_equal(k.code, 0);
    assert_true(sv_str_is(k.reply.caller, "alpha"));
    assert_true(sv_str_is(k.reply.origin, "operator"));
    assert_memory_equal(k.reply.trace_id.p, trace.trace_id, 16);
    assert_in_range(k.reply.ttl_ms, 3000, 5000);
    assert_int_equal(k.reply.n, 5);
    arena_free(&k.a);
}

static int64_t tally(void)
{
    call k;
    assert_int_equal(ask(&k, "beta.tally", &(t_req){0}, 5000), 0);
    arena_free(&k.a);
    return k.reply.n;
}

static bool tallied(int64_t want)
{
    uint64_t end = clock_us() + 3000000;
    while (tally() < want)
        if (clock_us() > end) return false;
    return true;
}

static void deadline_stops_three_hops(void **state)
{
    (void)state;
    call k;
    int64_t before = tally();
    uint64_t t0 = clock_us();
    assert_int_equal(ask(&k, "alpha.wait", &(t_req){.n = 20000}, 300), SV_E_DEADLINE);
    assert_in_range((clock_us() - t0) / 1000, 250, 1500);
    arena_free(&k.a);
    assert_true(tallied(before + 1)); /* beta's fiber was woken, not left to sleep */
}

static void cancel_stops_three_hops(void **state)
{
    (void)state;
    call k;
    int64_t before = tally();
    sv_request r = {.target = "alpha.wait", .ttl_ms = 20000};
    sv_stream *s = begin(&k, &r, &(t_req){.n = 20000});
    call other; /* a later call's answer: the first one is under way */
    assert_int_equal(ask(&other, "alpha.relay", &(t_req){0}, 5000), 0);
    arena_free(&other.a);
    sv_cancel(s);
    assert_true(tallied(before + 1));
    assert_false(k.done);
    arena_free(&k.a);
}

static void streams_pass_their_window(void **state)
{
    (void)state;
    call k;
    assert_int_equal(ask(&k, "alpha.sum", &(t_req){.n = 5000, .size = 100}, 20000), 0);
    assert_int_equal(k.reply.n, 5000);
    assert_int_equal(k.reply.sum, 5000ll * 5001 / 2);
    arena_free(&k.a);
    assert_int_equal(ask(&k, "alpha.sum", &(t_req){.n = 50, .size = 50000}, 20000), 0);
    assert_int_equal(k.reply.n, 50);
    arena_free(&k.a);
    int64_t before = tally();
    assert_int_equal(ask(&k, "alpha.leave", &(t_req){.n = 1000000, .size = 10}, 20000), 0);
    arena_free(&k.a);
    assert_true(tallied(before + 1));
}

static void a_reader_that_stops_holds_only_its_own_stream(void **state)
{
    (void)state;
    call slow, k;
    sv_request r = {.target = "beta.count", .ttl_ms = 20000, .stream = true, .window_items = 8};
    sv_stream *s = begin(&slow, &r, &(t_req){.n = 1000000, .size = 1000});
    slow.hold = true;
    assert_int_equal(ask(&k, "alpha.sum", &(t_req){.n = 3000, .size = 100}, 20000), 0);
    arena_free(&k.a);
    assert_int_equal(slow.items, 8); /* exactly its window, however long it waits */
    slow.hold = false;
    sv_consumed(s, 8, 8 * 1100);
    uint64_t end = clock_us() + 5000000;
    while (slow.items < 1000 && clock_us() < end)
        loop_turn(sv_loop(kit_me), 10);
    assert_true(slow.items >= 1000);
    sv_cancel(s);
    arena_free(&slow.a);
}

static void large_messages_travel_in_parts(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 60000, 60416, 60417, 65536, 200000, 3000000, 10000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        call k;
        char *p = pattern(sizes[i]);
        sv_request r = {
            .target = "beta.take", .ttl_ms = 20000, .attachment = {p, (uint32_t)sizes[i]}};
        begin(&k, &r, &(t_req){.n = 1});
        assert_int_equal(sv_tool_wait(kit_me, is_done, &k, 20000), 0);
        assert_int_equal(k.code, 0);
        assert_int_equal(k.reply.n, sizes[i]);
        assert_int_equal(k.reply.sum, checksum((sv_str){p, (uint32_t)sizes[i]}));
        arena_free(&k.a);
        r = (sv_request){.target = "beta.give", .ttl_ms = 20000, .max_reply = 12 << 20};
        begin(&k, &r, &(t_req){.size = (int64_t)sizes[i]});
        assert_int_equal(sv_tool_wait(kit_me, is_done, &k, 20000), 0);
        assert_int_equal(k.code, 0);
        assert_int_equal(k.bytes, sizes[i]);
        assert_int_equal(k.sum, checksum((sv_str){p, (uint32_t)sizes[i]}));
        assert_int_equal(k.reply.n, sizes[i]);
        arena_free(&k.a);
        free(p);
    }
}

static void too_large_is_refused(void **state)
{
    (void)state;
    call k;
    char *p = pattern(13 << 20);
    sv_request r = {.target = "beta.take", .ttl_ms = 20000, .attachment = {p, 13 << 20}};
    begin(&k, &r, &(t_req){.n = 1});
    assert_int_equal(sv_tool_wait(kit_me, is_done, &k, 20000), 0);
    assert_int_equal(k.code, SV_E_TOO_LARGE);
    arena_free(&k.a);
    r.target = "beta.echo"; /* takes one message */
    r.attachment.n = 100000;
    begin(&k, &r, &(t_req){.n = 1});
    assert_int_equal(sv_tool_wait(kit_me, is_done, &k, 20000), 0);
    assert_int_equal(k.code, SV_E_TOO_LARGE);
    arena_free(&k.a);
    r = (sv_request){.target = "beta.give", .ttl_ms = 20000, .max_reply = 100000};
    begin(&k, &r, &(t_req){.size = 5000000});
    assert_int_equal(sv_tool_wait(kit_me, is_done, &k, 20000), 0);
    assert_int_equal(k.code, SV_E_TOO_LARGE);
    arena_free(&k.a);
    free(p);
}

static void work_and_defects(void **state)
{
    (void)state;
    call k;
    assert_int_equal(ask(&k, "beta.work", &(t_req){0}, 20000), 0);
    assert_int_equal(k.reply.n, 20000000);
    arena_free(&k.a);
    assert_int_equal(ask(&k, "beta.silent", &(t_req){0}, 5000), SV_E_INTERNAL);
    arena_free(&k.a);
    assert_int_equal(ask(&k, "beta.nothing", &(t_req){0}, 5000), SV_E_NO_METHOD);
    arena_free(&k.a);
    assert_int_equal(ask(&k, "gamma.echo", &(t_req){0}, 5000), SV_E_NO_SERVICE);
    arena_free(&k.a);
}

static void a_death_is_an_answer(void **state)
{
    (void)state;
    call k;
    uint64_t t0 = clock_us();
    sv_request r = {.target = "beta.die", .ttl_ms = 20000};
    begin(&k, &r, &(t_req){0});
    kit_ended(beta_pid[0]);
    assert_int_equal(sv_tool_wait(kit_me, is_done, &k, 10000), 0);
    assert_int_equal(k.code, SV_E_PEER_LOST);
    assert_true(clock_us() - t0 < 2000000);
    arena_free(&k.a);
    beta_pid[0] = kit_start(&beta, "beta", 1);
    wait_ready();
}

/* Until the broker knows so many instances of beta. */
static void wait_instances(unsigned want)
{
    uint64_t end = clock_us() + 10000000;
    for (unsigned n = 0; n < want;) {
        raw_reply raw = {0};
        sv_error err = {0};
        sv_request r = {.target = "bus.services", .type = &bus_empty_msg, .body = ""};
        assert_non_null(sv_open(kit_me, &r, &raw_events, &raw, &err));
        assert_int_equal(sv_tool_wait(kit_me, raw_done, &raw, 5000), 0);
        n = raw.betas;
        assert_true(clock_us() < end);
    }
}

/* Two instances: idempotent work of the one that dies is done by the other. */
static void idempotent_work_moves_on(void **state)
{
    (void)state;
    beta_pid[1] = kit_start(&beta, "beta", 2);
    call naps[8], k;
    wait_instances(2);
    for (int i = 0; i < 8; i++) {
        sv_request r = {.target = "beta.nap", .ttl_ms = 10000};
        begin(&naps[i], &r, &(t_req){.n = 700});
    }
    assert_int_equal(ask(&k, "alpha.relay", &(t_req){0}, 5000), 0); /* the naps are under way */
    arena_free(&k.a);
    kit_kill(beta_pid[1]);
    beta_pid[1] = 0;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(sv_tool_wait(kit_me, is_done, &naps[i], 10000), 0);
        assert_int_equal(naps[i].code, 0);
        arena_free(&naps[i].a);
    }
}

static void a_broker_restart_is_survived(void **state)
{
    (void)state;
    call once, again, k;
    sv_request r = {.target = "beta.sleep", .ttl_ms = 10000};
    begin(&once, &r, &(t_req){.n = 300});
    r = (sv_request){.target = "beta.nap", .ttl_ms = 10000, .idempotent = true};
    begin(&again, &r, &(t_req){.n = 300});
    assert_int_equal(ask(&k, "alpha.relay", &(t_req){0}, 5000), 0);
    arena_free(&k.a);
    uint64_t t0 = clock_us();
    kit_kill_broker();
    kit_start_broker();
    announce_again();
    assert_int_equal(sv_tool_wait(kit_me, is_done, &once, 10000), 0);
    assert_int_equal(once.code, SV_E_BROKER_RESTARTED);
    assert_int_equal(sv_tool_wait(kit_me, is_done, &again, 10000), 0);
    assert_int_equal(again.code, 0);
    assert_true(clock_us() - t0 < 4000000);
    arena_free(&once.a);
    arena_free(&again.a);
    wait_ready();
}

typedef struct heard {
    uint64_t n, sum, gap;
    int64_t last;
} heard;

static void on_event(void *arg, sv_str topic, const sv_item *event, uint64_t gap)
{
    heard *h = arg;
    arena a;
    arena_init(&a, 65536);
    t_rep r;
    assert_true(sv_str_is(topic, "alpha.news"));
    assert_int_equal(message_decode(&t_rep_msg, event->body, 0, &a, &r, NULL), 0);
    assert_int_equal(r.n, h->last + 1 + (int64_t)gap);
    h->last = r.n;
    h->n++;
    h->gap += gap;
    arena_free(&a);
}

static bool heard_all(void *arg)
{
    heard *h = arg;
    return h->last == 5000;
}

static void events_arrive_or_are_missed_by_number(void **state)
{
    (void)state;
    call k;
    heard h = {0};
    assert_int_equal(sv_subscribe(kit_me, "alpha.*", on_event, &h), 0);
    assert_int_equal(ask(&k, "alpha.relay", &(t_req){0}, 5000), 0);
    arena_free(&k.a);
    assert_int_equal(ask(&k, "alpha.publish", &(t_req){.n = 5000}, 10000), 0);
    arena_free(&k.a);
    assert_int_equal(sv_tool_wait(kit_me, heard_all, &h, 10000), 0);
    assert_int_equal(h.n + h.gap, 5000);
    sv_unsubscribe(kit_me, "alpha.*", on_event, &h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_passes_on),
        cmocka_unit_test(deadline_stops_three_hops),
        cmocka_unit_test(cancel_stops_three_hops),
        cmocka_unit_test(streams_pass_their_window),
        cmocka_unit_test(a_reader_that_stops_holds_only_its_own_stream),
        cmocka_unit_test(large_messages_travel_in_parts),
        cmocka_unit_test(too_large_is_refused),
        cmocka_unit_test(work_and_defects),
        cmocka_unit_test(a_death_is_an_answer),
        cmocka_unit_test(idempotent_work_moves_on),
        cmocka_unit_test(a_broker_restart_is_survived),
        cmocka_unit_test(events_arrive_or_are_missed_by_number),
    };
    return cmocka_run_group_tests(tests, setup, kit_close);
}
