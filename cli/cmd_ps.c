/*  cmd_ps.c - `samovar ps`: what the supervisor knows of its children beside what the broker knows
 *  of its peers. Either may be missing: the table shows what is there. */
#include "commands.h"

#include "bus_client.h"
#include "error.h"
#include "json_scan.h"
#include "platform.h"
#include "process_stat.h"
#include "status_client.h"
#include "store_word.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROWS = 256, SAMPLE_MS = 150, ARENA_BYTES = 4194304 };

typedef struct row {
    char name[64], state[16], note[256], store[STORE_WORD];
    uint32_t pid;
    bool supervised, on_bus;
    int64_t up_ms, restarts, in_flight, served, errors;
    process_stat first, second;
    double cpu_percent;
} row;

typedef struct table {
    row *rows;
    size_t n;
    uint32_t supervisor_pid; /* 0: none answers */
    int64_t supervisor_up_ms;
    bool stopping;
    char bus_error[300]; /* why there are no figures of the bus */
} table;

static row *add_row(table *t, const char *name)
{
    if (t->n == ROWS) return NULL;
    row *r = &t->rows[t->n++];
    *r = (row){.restarts = -1};
    snprintf(r->name, sizeof r->name, "%s", name);
    return r;
}

static void text_of(json_value v, char *to, size_t size)
{
    buf text;
    buf_init(&text, 4096);
    to[0] = 0;
    if (v.type == JSON_STRING && json_string(v, &text) == 0)
        snprintf(to, size, "%.*s", (int)text.n, text.p ? text.p : "");
    buf_free(&text);
}

static int64_t number_of(json_value object, const char *key)
{
    int64_t n = 0;
    return json_int(json_get(object, key), &n) ? 0 : n;
}

/* ---- the supervisor's side ---- */

static void read_children(table *t, sv_str answer)
{
    json_value root = json_root(answer), child;
    t->supervisor_pid = (uint32_t)number_of(root, "pid");
    t->supervisor_up_ms = number_of(root, "up_ms");
    t->stopping = json_get(root, "stopping").type == JSON_TRUE;
    size_t at = 0;
    while (json_next_element(json_get(root, "children"), &at, &child)) {
        char name[64], status[160];
        text_of(json_get(child, "name"), name, sizeof name);
        row *r = add_row(t, name);
        if (r == NULL) return;
        r->supervised = true;
        r->pid = (uint32_t)number_of(child, "pid");
        r->up_ms = number_of(child, "up_ms");
        r->restarts = number_of(child, "restarts");
        text_of(json_get(child, "state"), r->state, sizeof r->state);
        text_of(json_get(child, "note"), r->note, sizeof r->note);
        text_of(json_get(child, "status"), status, sizeof status);
        if (r->note[0] == 0) snprintf(r->note, sizeof r->note, "%s", status);
    }
}

static int ask_supervisor(table *t, const config *c, sv_error *err)
{
    buf answer;
    buf_init(&answer, 1048576);
    int rc = status_ask(c, "{\"cmd\":\"status\"}", &answer, err);
    if (rc == 0) rc = json_skim(buf_str(&answer), 16, err);
    if (rc == 0) read_children(t, buf_str(&answer));
    buf_free(&answer);
    return rc;
}

/* ---- the broker's side ---- */

static void add_instance(table *t, bus_client *bus, const bus_service_instance *in)
{
    char name[64];
    if (in->pid == getpid()) return;
    /* The broker's own service is part of its process. */
    if (sv_str_is(in->service, "bus"))
        snprintf(name, sizeof name, "broker/1");
    else
        snprintf(name, sizeof name, "%.*s/%lld", SV_FMT(in->service), (long long)in->instance);
    row *r = NULL;
    for (size_t i = 0; i < t->n && r == NULL; i++)
        if (strcmp(t->rows[i].name, name) == 0) r = &t->rows[i];
    if (r == NULL && (r = add_row(t, name)) != NULL) {
        r->pid = (uint32_t)in->pid;
        r->up_ms = in->uptime_ms;
        snprintf(r->state, sizeof r->state, "%.*s", SV_FMT(in->state));
        snprintf(r->note, sizeof r->note, "%.*s", SV_FMT(in->identity));
    }
    if (r == NULL) return;
    r->on_bus = true;
    r->in_flight = in->in_flight;
    r->served = in->served;
    r->errors = in->errors;
    store_word(bus, in, r->store);
    if (!sv_str_is(in->state, "live") && r->supervised && strcmp(r->state, "ready") == 0)
        snprintf(r->note, sizeof r->note, "the broker says: %.*s", SV_FMT(in->state));
}

static void ask_bus(table *t, const config *c, uint32_t patience_ms)
{
    bus_client bus;
    arena memory;
    bus_services_reply reply;
    sv_error err = {.code = 0};
    arena_init(&memory, ARENA_BYTES);
    int rc = bus_client_open(&bus, c, patience_ms, &err);
    if (rc == 0)
        rc = bus_client_ask(&bus, "bus.services", &bus_services_reply_msg, patience_ms, &memory,
                            &reply, &err);
    if (rc) snprintf(t->bus_error, sizeof t->bus_error, "%s", err.message);
    for (uint32_t i = 0; rc == 0 && i < reply.instances.n; i++)
        add_instance(t, &bus, &((bus_service_instance *)reply.instances.items)[i]);
    bus_client_close(&bus);
    arena_free(&memory);
}

/* ---- output ---- */

static void sample(table *t)
{
    for (size_t i = 0; i < t->n; i++)
        t->rows[i].first = process_stat_read(t->rows[i].pid);
    uint64_t from_us = clock_us();
    poll(NULL, 0, SAMPLE_MS);
    uint64_t took_us = clock_us() - from_us;
    for (size_t i = 0; i < t->n; i++) {
        row *r = &t->rows[i];
        r->second = process_stat_read(r->pid);
        if (r->second.cpu_ns > r->first.cpu_ns)
            r->cpu_percent = (double)(r->second.cpu_ns - r->first.cpu_ns) / (double)took_us / 10;
    }
}

static void age(int64_t ms, char text[24])
{
    int64_t s = ms / 1000;
    if (s < 60)
        snprintf(text, 24, "%llds", (long long)s);
    else if (s < 3600)
        snprintf(text, 24, "%lldm%llds", (long long)(s / 60), (long long)(s % 60));
    else if (s < 86400)
        snprintf(text, 24, "%lldh%lldm", (long long)(s / 3600), (long long)(s / 60 % 60));
    else
        snprintf(text, 24, "%lldd%lldh", (long long)(s / 86400), (long long)(s / 3600 % 24));
}

/* A number, or a dash when it is not known. */
static const char *cell(bool known, int64_t value, char text[24])
{
    snprintf(text, 24, known ? "%lld" : "-", (long long)value);
    return text;
}

static void print_table(const table *t)
{
    printf("%-14s %-8s %-9s %-8s %-8s %-6s %-7s %-9s %-9s %-7s %-7s %s\n", "NAME", "PID", "STATE",
           "UP", "RESTARTS", "CPU", "RSS", "IN-FLIGHT", "SERVED", "ERRORS", "STORE", "NOTE");
    for (size_t i = 0; i < t->n; i++) {
        const row *r = &t->rows[i];
        char pid[24], up[24] = "-", restarts[24], cpu[24] = "-", rss[24] = "-", flight[24],
                      served[24], errors[24];
        if (r->pid) {
            age(r->up_ms, up);
            snprintf(cpu, sizeof cpu, "%.0f%%", r->cpu_percent);
        }
        if (r->second.rss_bytes)
            snprintf(rss, sizeof rss, "%.1fM", (double)r->second.rss_bytes / 1048576);
        printf("%-14s %-8s %-9s %-8s %-8s %-6s %-7s %-9s %-9s %-7s %-7s %s\n", r->name,
               cell(r->pid != 0, r->pid, pid), r->state, up,
               cell(r->restarts >= 0, r->restarts, restarts), cpu, rss,
               cell(r->on_bus, r->in_flight, flight), cell(r->on_bus, r->served, served),
               cell(r->on_bus, r->errors, errors), r->store[0] ? r->store : "-", r->note);
    }
    char up[24];
    age(t->supervisor_up_ms, up);
    if (t->supervisor_pid)
        printf("\nsupervisor: process %u, up %s%s\n", t->supervisor_pid, up,
               t->stopping ? ", stopping" : "");
    if (t->bus_error[0]) printf("no figures of the bus: %s\n", t->bus_error);
}

static void print_json(const table *t)
{
    buf out;
    buf_init(&out, 1048576);
    buf_puts(&out, "[");
    for (size_t i = 0; i < t->n; i++) {
        const row *r = &t->rows[i];
        buf_printf(&out, "%s{\"name\":\"%s\",\"pid\":%u,\"state\":\"%s\",\"up_ms\":%lld",
                   i ? "," : "", r->name, r->pid, r->state, (long long)r->up_ms);
        if (r->restarts >= 0) buf_printf(&out, ",\"restarts\":%lld", (long long)r->restarts);
        if (r->pid)
            buf_printf(&out, ",\"cpu_percent\":%.1f,\"rss_bytes\":%llu", r->cpu_percent,
                       (unsigned long long)r->second.rss_bytes);
        if (r->on_bus)
            buf_printf(&out, ",\"in_flight\":%lld,\"served\":%lld,\"errors\":%lld",
                       (long long)r->in_flight, (long long)r->served, (long long)r->errors);
        if (r->store[0]) buf_printf(&out, ",\"store\":\"%s\"", r->store);
        buf_puts(&out, ",\"note\":\"");
        buf_json_escape(&out, sv_cstr(r->note));
        buf_puts(&out, "\"}");
    }
    buf_puts(&out, "]\n");
    fwrite(out.p, 1, out.n, stdout);
    buf_free(&out);
}

int cmd_ps(int argc, char **argv)
{
    const char *output = NULL;
    const args_option options[] = {
        {'o', "output", "table|json", "json: one array of objects", &output, NULL}};
    const args_spec spec = {
        "samovar ps",
        "",
        "Lists the processes of the platform: what the supervisor knows (state, "
        "restarts),\nthe kernel (CPU over the last moment, resident memory) and the "
        "broker (requests).\nIt works without the broker, too.",
        "exit codes: 0 listed, 1 nothing runs there, 2 wrong words",
        options,
        1,
        0,
        0};
    args words;
    int exit_code;
    bool json;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (!cli_output(output, &json)) return CLI_USAGE;
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    sv_error err = {.code = 0};
    table t = {.rows = calloc(ROWS, sizeof(row))};
    int rc = t.rows ? ask_supervisor(&t, c, &err) : sv_fail(&err, SV_E_NO_MEMORY, NULL, NULL);
    if (t.rows) ask_bus(&t, c, rc ? 300 : 1500);
    if (t.n == 0) {
        cli_complain(&err);
    } else {
        sample(&t);
        if (json)
            print_json(&t);
        else
            print_table(&t);
    }
    exit_code = t.n ? CLI_OK : CLI_FAILED;
    free(t.rows);
    config_free(c);
    return exit_code;
}
