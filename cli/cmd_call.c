/*  cmd_call.c - `samovar call`: JSON in, one request on the bus, JSON out.
 *
 *  The broker is asked first which message types the method declares: with them, bytes and secrets
 *  are read and printed as what they are. Without them the body passes as it is. */
#include "commands.h"

#include "bus_client.h"
#include "envelope.h"
#include "error.h"
#include "platform.h"
#include "sv_limits.h"
#include "utf8.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { BODY_BYTES = 8388608, ANSWER_BYTES = 33554432, ARENA_BYTES = 4194304, DEFAULT_MS = 10000 };

typedef struct call {
    const sv_message *request, *reply;
    bool over, failed;
    int code;
    sv_error err;
} call;

/* ---- types ---- */

/* The broker's own methods, which no HELLO declares. */
static const struct {
    const char *target;
    const sv_message *request, *reply;
} bus_methods[] = {
    {"bus.services", &bus_empty_msg, &bus_services_reply_msg},
    {"bus.stats", &bus_empty_msg, &bus_stats_reply_msg},
    {"bus.drain", &bus_drain_req_msg, &bus_empty_msg},
    {"bus.policy", &bus_policy_req_msg, &bus_policy_reply_msg},
    {"bus.tap", &bus_tap_req_msg, &bus_empty_msg},
    {"bus.records", &bus_records_req_msg, &bus_records_reply_msg},
};

static const sv_message *type_named(sv_str name)
{
    char text[65];
    if (name.n == 0 || name.n >= sizeof text) return NULL;
    memcpy(text, name.p, name.n);
    text[name.n] = 0;
    return message_by_name(text);
}

/* `target` is service.method: it names no instance. */
static void find_types(bus_client *bus, const char *target, uint32_t ttl_ms, call *c)
{
    arena memory;
    bus_services_reply reply;
    for (size_t i = 0; i < sizeof bus_methods / sizeof *bus_methods; i++) {
        if (strcmp(target, bus_methods[i].target) == 0) {
            c->request = bus_methods[i].request;
            c->reply = bus_methods[i].reply;
            return;
        }
    }
    const char *dot = strchr(target, '.');
    sv_str service = {target, (uint32_t)(dot - target)};
    arena_init(&memory, ARENA_BYTES);
    bool known = bus_client_ask(bus, "bus.services", &bus_services_reply_msg, ttl_ms, &memory,
                                &reply, NULL) == 0;
    for (uint32_t i = 0; known && i < reply.instances.n; i++) {
        const bus_service_instance *in = &((bus_service_instance *)reply.instances.items)[i];
        for (uint32_t k = 0; sv_str_eq(in->service, service) && k < in->methods.n; k++) {
            const bus_method *m = &((bus_method *)in->methods.items)[k];
            if (!sv_str_is(m->name, dot + 1)) continue;
            c->request = type_named(m->request);
            c->reply = type_named(m->reply);
        }
    }
    arena_free(&memory);
}

/* ---- output ---- */

static void put_base64(buf *out, sv_str bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (uint32_t i = 0; i < bytes.n; i += 3) {
        uint32_t left = bytes.n - i, group = 0;
        for (uint32_t k = 0; k < 3; k++)
            group = group << 8 | (k < left ? (uint8_t)bytes.p[i + k] : 0);
        char text[4];
        for (uint32_t k = 0; k < 4; k++)
            text[k] = k <= left ? digits[group >> (18 - 6 * k) & 63] : '=';
        buf_put(out, text, sizeof text);
    }
}

static void put_bytes(buf *out, sv_str bytes)
{
    buf_putc(out, '"');
    if (utf8_valid(bytes))
        buf_json_escape(out, bytes);
    else
        put_base64(out, bytes);
    buf_putc(out, '"');
}

/* One line: the body as JSON; bytes of a content type and attachments as text, or base64. */
static int print_item(const sv_message *type, const sv_item *item)
{
    static const char json_type[] = "application/json";
    buf out;
    sv_error err = {.code = 0};
    buf_init(&out, (size_t)4 * ANSWER_BYTES);
    bool has_attachment = item->attachment.p != NULL, raw = item->content_type.n > 0;
    bool wrapped = has_attachment || (raw && !sv_str_is(item->content_type, json_type));
    if (wrapped && raw)
        buf_printf(&out, "{\"content_type\":\"%.*s\",\"body\":", SV_FMT(item->content_type));
    else if (wrapped)
        buf_puts(&out, "{\"body\":");
    int rc = 0;
    if (!raw)
        rc = message_to_json(type, item->body.n ? item->body : (sv_str){"\x80", 1}, false, &out,
                             &err);
    else if (wrapped)
        put_bytes(&out, item->body);
    else
        buf_put(&out, item->body.p, item->body.n);
    if (has_attachment) {
        buf_puts(&out, ",\"attachment\":");
        put_bytes(&out, item->attachment);
    }
    buf_puts(&out, wrapped ? "}\n" : "\n");
    if (rc)
        cli_complain(&err);
    else if (out.failed)
        fprintf(stderr, "samovar: the answer is too large to print\n");
    bool ok =
        rc == 0 && !out.failed && fwrite(out.p, 1, out.n, stdout) == out.n && fflush(stdout) == 0;
    buf_free(&out);
    return ok ? 0 : SV_E_IO;
}

static void on_item(void *arg, sv_stream *s, const sv_item *item)
{
    call *c = arg;
    if (!c->failed && print_item(NULL, item)) c->failed = true;
    sv_consumed(s, 1, (size_t)item->body.n + item->attachment.n);
}

static void on_done(void *arg, sv_stream *s, int code, const sv_item *item, const sv_error *err)
{
    (void)s;
    call *c = arg;
    c->over = true;
    c->code = code;
    if (code && err) c->err = *err;
    if (code == 0 && !c->failed && print_item(c->reply, item)) c->failed = true;
}

static bool is_over(void *arg)
{
    call *c = arg;
    return c->over || c->failed;
}

/* ---- input ---- */

/* The bytes of a file, or of standard input for "-". */
static int read_file(const char *path, buf *to)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "re");
    char data[16384];
    size_t n;
    bool fits = true;
    while (f && fits && (n = fread(data, 1, sizeof data, f)) > 0)
        fits = buf_put(to, data, n) == 0;
    bool ok = f && fits && !ferror(f);
    if (!ok)
        fprintf(stderr, "samovar call: %s: %s\n", standard ? "standard input" : path,
                fits ? strerror(errno) : "it is larger than 8 MiB");
    if (f && !standard) fclose(f);
    return ok ? 0 : SV_E_IO;
}

/* ---- the call ---- */

static int make_call(bus_client *bus, const sv_request *r, call *c)
{
    static const sv_events events = {.item = on_item, .done = on_done};
    sv_stream *s = sv_open(bus->process, r, &events, c, &c->err);
    if (s == NULL) return CLI_FAILED;
    int rc = sv_tool_wait(bus->process, is_over, c, r->ttl_ms + 1000);
    if (!c->over) sv_cancel(s);
    if (rc) return sv_fail(&c->err, rc, NULL, NULL), CLI_FAILED;
    return c->code || c->failed ? CLI_FAILED : CLI_OK;
}

static int run(const config *conf, const char *target, const char *method, sv_str json,
               const char *key, sv_str attachment, bool reveal, uint32_t ttl_ms)
{
    bus_client bus = {NULL};
    call c = {.code = 0};
    buf body;
    buf_init(&body, BODY_BYTES);
    int exit_code = CLI_FAILED;
    if (bus_client_open(&bus, conf, BUS_PATIENCE_MS, &c.err) == 0) {
        find_types(&bus, method, ttl_ms, &c);
        if (reveal) c.reply = NULL; /* who knows no type knows no secrets */
        sv_request r = {.target = target,
                        .key = key ? sv_cstr(key) : (sv_str){NULL, 0},
                        .attachment = attachment,
                        .ttl_ms = ttl_ms,
                        .stream = true,
                        .max_reply = ANSWER_BYTES};
        if (message_from_json(c.request, json, &body, &c.err) == 0) {
            r.raw = buf_str(&body);
            exit_code = make_call(&bus, &r, &c);
        }
    }
    if (exit_code && c.err.code)
        fprintf(stderr, "%s: %s%s%s\n", sv_error_lookup(c.err.code)->name,
                c.err.message[0] ? c.err.message : sv_error_lookup(c.err.code)->text,
                c.err.field[0] ? " field: " : "", c.err.field);
    bus_client_close(&bus);
    buf_free(&body);
    return exit_code;
}

int cmd_call(int argc, char **argv)
{
    const char *timeout = NULL, *key = NULL, *body_file = NULL, *attach_file = NULL;
    bool reveal = false;
    const args_option options[] = {
        {0, "timeout", "TIME", "give up after so long: 10s (default), 500ms, 2m", &timeout, NULL},
        {'k', "key", "KEY", "partition key: the same key goes to the same instance", &key, NULL},
        {0, "body", "FILE", "read the JSON from a file, or from standard input with -", &body_file,
         NULL},
        {0, "attachment", "FILE", "bytes to send beside the body, from a file or - ", &attach_file,
         NULL},
        {0, "reveal", NULL, "print secret fields of the answer, too", NULL, &reveal}};
    const args_spec spec = {
        "samovar call",
        "SERVICE.METHOD [JSON]",
        "Calls a method and prints its answer as JSON; a stream prints a line for each item.\n"
        "SERVICE/N.METHOD asks instance N and no other.\n"
        "JSON is an object; it is {} when it is left out.",
        "examples:\n"
        "  samovar call router.models\n"
        "  samovar call router/2.ping\n"
        "  samovar call bus.policy '{\"caller\":\"edge\",\"method\":\"router.complete\"}'\n"
        "exit codes: 0 answered, 1 refused or failed (code: message on standard error), 2 wrong "
        "words",
        options,
        sizeof options / sizeof *options,
        1,
        2};
    args words;
    int exit_code;
    uint32_t ttl_ms = DEFAULT_MS, instance;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    const char *target = words.word[0];
    char plain[LIMIT_TARGET_BYTES + 1];
    sv_str method;
    if (!envelope_target_plain(sv_cstr(target), plain, &method, &instance)) {
        fprintf(stderr,
                "samovar call: \"%s\" is not SERVICE.METHOD or SERVICE/N.METHOD, e.g. "
                "router.models or router/2.ping\n",
                target);
        return CLI_USAGE;
    }
    if (timeout && args_duration(timeout, &ttl_ms)) {
        fprintf(stderr, "samovar call: --timeout takes 1ms to 60m, e.g. 10s\n");
        return CLI_USAGE;
    }
    if ((body_file && words.n > 1) ||
        (body_file && attach_file && !strcmp(body_file, attach_file))) {
        fprintf(stderr, "samovar call: give the body once, and standard input to one of them\n");
        return CLI_USAGE;
    }
    buf body, attachment;
    buf_init(&body, BODY_BYTES);
    buf_init(&attachment, BODY_BYTES);
    exit_code = CLI_FAILED;
    signal(SIGPIPE, SIG_IGN);
    buf_puts(&body, body_file ? "" : words.n > 1 ? words.word[1] : "{}");
    if ((body_file == NULL || read_file(body_file, &body) == 0) &&
        (attach_file == NULL || read_file(attach_file, &attachment) == 0)) {
        exit_code = CLI_CONFIG;
        if (cli_config(NULL, &c) == 0)
            exit_code = run(c, target, method.p, buf_str(&body), key,
                            attach_file ? buf_str(&attachment) : (sv_str){NULL, 0}, reveal, ttl_ms);
    }
    buf_free(&body);
    buf_free(&attachment);
    config_free(c);
    return exit_code;
}
