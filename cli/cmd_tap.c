/*  cmd_tap.c - `samovar tap`: the stream bus.tap, a line for each message.
 *
 *  The stream is opened again when the broker restarts or an hour is over. Output is flushed once a
 *  turn of the loop; a reader that stalls stalls this process, whose window then closes, and the
 *  broker drops and counts records. */
#include "commands.h"

#include "bus_client.h"
#include "error.h"
#include "platform.h"
#include "sv_limits.h"
#include "tap_line.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { AGAIN_MS = 200, FAILURES_MOST = 50 };

typedef struct tap {
    bus_client bus;
    bus_tap_req request;
    buf body, line;
    sv_stream *stream;
    loop_timer again, end;
    bool json, colour, over;
    uint64_t seen;
    uint32_t failures;
    int exit_code;
    arena memory;
} tap;

static void open_stream(void *arg);

static void finish(tap *t, int exit_code)
{
    t->over = true;
    t->exit_code = exit_code;
}

static void print_record(tap *t, sv_str msgpack)
{
    bus_record r;
    sv_error err = {.code = 0};
    arena_reset(&t->memory);
    if (message_decode(&bus_record_msg, msgpack, MESSAGE_LENIENT, &t->memory, &r, &err)) {
        cli_complain(&err);
        finish(t, CLI_FAILED);
        return;
    }
    if (r.dropped > 0)
        fprintf(stderr, "samovar tap: %lld messages are missing here: this reader is too slow\n",
                (long long)r.dropped);
    buf_reset(&t->line, 65536);
    if (t->json)
        tap_json(&r, &t->line);
    else
        tap_human(&r, t->colour, &t->line);
    fwrite(t->line.p, 1, t->line.n, stdout);
    t->seen++;
    if (t->request.count > 0 && t->seen >= (uint64_t)t->request.count) finish(t, CLI_OK);
}

static void on_item(void *arg, sv_stream *s, const sv_item *item)
{
    tap *t = arg;
    t->failures = 0;
    if (!t->over) print_record(t, item->body);
    sv_consumed(s, 1, (size_t)item->body.n + item->attachment.n);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s;
    (void)item;
    tap *t = arg;
    t->stream = NULL;
    if (t->over) return;
    bool again = code == SV_E_DEADLINE || code == SV_E_BROKER_RESTARTED ||
                 code == SV_E_UNAVAILABLE || code == SV_E_PEER_LOST || code == SV_E_HELLO_REQUIRED;
    if (code == 0) {
        finish(t, CLI_OK);
    } else if (again && t->failures++ < FAILURES_MOST) {
        if (code != SV_E_DEADLINE && t->failures == 1)
            fprintf(stderr, "samovar tap: the broker is gone, waiting for it\n");
        loop_timer_set(sv_loop(t->bus.process), &t->again, AGAIN_MS * 1000, open_stream, t);
    } else {
        if (err) cli_complain(err);
        finish(t, CLI_FAILED);
    }
}

static void open_stream(void *arg)
{
    static const sv_events events = {.item = on_item, .done = on_done};
    tap *t = arg;
    sv_error err = {.code = 0};
    sv_request r = {
        .target = "bus.tap", .raw = buf_str(&t->body), .ttl_ms = LIMIT_TTL_MS, .stream = true};
    t->stream = sv_open(t->bus.process, &r, &events, t, &err);
    if (t->stream == NULL) {
        cli_complain(&err);
        finish(t, CLI_FAILED);
    }
}

static void on_signal(void *arg, int signo)
{
    (void)signo;
    finish(arg, CLI_OK);
}

static void on_time(void *arg)
{
    finish(arg, CLI_OK);
}

static bool on_turn_end(void *arg)
{
    if (fflush(stdout)) finish(arg, CLI_OK); /* whoever read this has had enough */
    return false;
}

static bool is_over(void *arg)
{
    return ((tap *)arg)->over;
}

static void watch(tap *t, uint32_t for_ms)
{
    loop *l = sv_loop(t->bus.process);
    if (loop_signal(l, SIGINT, on_signal, t) || loop_signal(l, SIGTERM, on_signal, t) ||
        loop_hook_add(l, on_turn_end, t) ||
        (for_ms && loop_timer_set(l, &t->end, (uint64_t)for_ms * 1000, on_time, t))) {
        fprintf(stderr, "samovar tap: out of memory\n");
        t->exit_code = CLI_FAILED;
        return;
    }
    open_stream(t);
    while (!t->over)
        sv_tool_wait(t->bus.process, is_over, t, 3600000);
    loop_hook_del(l, on_turn_end, t);
    loop_timer_stop(l, &t->end);
    loop_timer_stop(l, &t->again);
    if (t->stream) sv_cancel(t->stream);
    fflush(stdout);
}

static int run(const config *c, const char *filter, uint64_t count, uint32_t for_ms, bool json)
{
    sv_error err = {.code = 0};
    tap t = {.request = {.filter = sv_cstr(filter), .count = (int64_t)count, .max_rps = 10000},
             .json = json,
             .colour = isatty(STDOUT_FILENO),
             .exit_code = CLI_FAILED};
    buf_init(&t.body, 4096);
    buf_init(&t.line, 65536);
    arena_init(&t.memory, 65536);
    if (message_encode(&bus_tap_req_msg, &t.request, &t.body) ||
        bus_client_open(&t.bus, c, BUS_PATIENCE_MS, &err)) {
        if (err.code == 0) sv_fail(&err, SV_E_TOO_LARGE, "filter", "The filter is too long");
        cli_complain(&err);
    } else {
        watch(&t, for_ms);
    }
    bus_client_close(&t.bus);
    buf_free(&t.body);
    buf_free(&t.line);
    arena_free(&t.memory);
    return t.exit_code;
}

int cmd_tap(int argc, char **argv)
{
    const char *count_text = NULL, *for_text = NULL, *output = NULL;
    const args_option options[] = {
        {'n', "count", "N", "end after N messages", &count_text, NULL},
        {0, "for", "TIME", "end after so long: 10 or 10s, 500ms, 2m", &for_text, NULL},
        {'o', "output", "table|json", "json: one object a message", &output, NULL}};
    const args_spec spec = {
        "samovar tap",
        "[FILTER...]",
        "Watches the messages on the bus: headers only, never bodies.\n"
        "FILTER words must all match: a service, a method, kind=REPLY, status=OK, trace=HEX, "
        "id=HEX,\n"
        "from=SERVICE, to=SERVICE, err (answers that are not OK).",
        "json keys: ts (Unix time, microseconds), from, to, kind, method, id, trace_id, status, "
        "bytes,\n"
        "           queue_us, service_us\n"
        "examples:\n"
        "  samovar tap router.complete\n"
        "  samovar tap kind=REPLY err --count 10 -o json\n"
        "exit codes: 0 ended, 1 the platform does not answer or refuses, 2 wrong words",
        options,
        3,
        0,
        ARGS_WORDS};
    args words;
    int exit_code;
    bool json;
    uint64_t count = 0;
    uint32_t for_ms = 0;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &json)) return CLI_USAGE;
    if ((count_text && args_number(count_text, 1, 1000000000, &count)) ||
        (for_text && args_duration(for_text, &for_ms))) {
        fprintf(stderr, "samovar tap: --count takes 1 to 1000000000, --for takes 1ms to 60m\n");
        return CLI_USAGE;
    }
    buf filter;
    buf_init(&filter, 257);
    for (uint32_t i = 0; i < words.n; i++)
        buf_printf(&filter, "%s%s", i ? " " : "", words.word[i]);
    if (buf_putc(&filter, 0)) {
        fprintf(stderr, "samovar tap: the filter has more than 256 characters\n");
        buf_free(&filter);
        return CLI_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    exit_code = CLI_CONFIG;
    if (cli_config(NULL, &c) == 0) exit_code = run(c, filter.p, count, for_ms, json);
    buf_free(&filter);
    config_free(c);
    return exit_code;
}
