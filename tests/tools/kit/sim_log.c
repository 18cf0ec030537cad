#include "sim_log.h"

#include "sim_route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS = 512, BODIES = 64, BODY_MAX = 256 << 10, SHOWN = 1 << 20, NAMES = 256 };

static uint64_t requests, under_way, most;
static sim_record records[RECORDS]; /* request n is at n % RECORDS */
static struct {
    uint64_t number;
    char *text;
    size_t n, whole;
} bodies[BODIES];
static json_t *models, *keys;
static buf last_head, last_body; /* of the latest request of any kind */
static uint64_t last_bytes, last_hash;

void sim_log_free(void)
{
    buf_free(&last_head);
    buf_free(&last_body);
    last_head = last_body = (buf){.max = 0};
    for (int i = 0; i < BODIES; i++)
        free(bodies[i].text);
    memset(bodies, 0, sizeof bodies);
    json_decref(models);
    json_decref(keys);
    models = keys = NULL;
}

void sim_log_reset(void)
{
    sim_log_free();
    memset(records, 0, sizeof records);
    requests = under_way = most = 0;
}

static void count(json_t **table, const char *name)
{
    if (!*table) *table = json_object();
    const json_t *have = json_object_get(*table, name);
    if (!have && json_object_size(*table) >= NAMES) return;
    json_object_set_new(*table, name, json_integer(json_integer_value(have) + 1));
}

void sim_log_arrived(const char *head, size_t n, const buf *body, uint64_t bytes, uint64_t hash)
{
    if (!last_head.max) {
        buf_init(&last_head, 1 << 17);
        buf_init(&last_body, SHOWN);
    }
    buf_reset(&last_head, 4096);
    buf_reset(&last_body, 4096);
    buf_put(&last_head, head, n);
    buf_putc(&last_head, 0);
    buf_put(&last_body, body->p, body->n < SHOWN ? body->n : SHOWN);
    last_bytes = bytes;
    last_hash = hash;
}

json_t *sim_log_last(void)
{
    json_t *headers = json_object(), *last = json_object();
    const char *line = last_head.p;
    if (line) {
        json_object_set_new(last, "line", json_stringn(line, strcspn(line, "\r")));
        while ((line = strchr(line, '\n')) && line[1] != '\r' && line[1]) {
            line++;
            size_t colon = strcspn(line, ":"), end = strcspn(line, "\r");
            char name[128];
            snprintf(name, sizeof name, "%.*s", (int)colon, line);
            for (char *c = name; *c; c++)
                if (*c >= 'A' && *c <= 'Z') *c = (char)(*c + 32);
            size_t from = colon + 1;
            while (from < end && line[from] == ' ')
                from++;
            json_object_set_new(headers, name, json_stringn(line + from, end - from));
        }
    }
    char hash[20];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)last_hash);
    json_object_set_new(last, "headers", headers);
    json_object_set_new(last, "body_bytes", json_integer((json_int_t)last_bytes));
    json_object_set_new(last, "body_fnv1a64", json_string(hash));
    json_t *text = json_stringn(last_body.p ? last_body.p : "", last_body.n);
    json_object_set_new(last, "body", text ? text : json_null()); /* null: not UTF-8 */
    return last;
}

uint64_t sim_log_start(const sim_request *r, const char *head, const char *fault, uint64_t now)
{
    sim_record *at = &records[++requests % RECORDS];
    size_t n = strlen(r->key);
    *at = (sim_record){.number = requests,
                       .start_us = now,
                       .stream = r->stream,
                       .format = r->format,
                       .status = r->fail.status};
    snprintf(at->model, sizeof at->model, "%.127s", r->model);
    snprintf(at->fault, sizeof at->fault, "%s", fault);
    snprintf(at->outcome, sizeof at->outcome, "open");
    snprintf(at->key, sizeof at->key, "%s", r->key + (n > 6 ? n - 6 : 0));
    const char *path = strchr(head, ' ');
    if (path)
        snprintf(at->path, sizeof at->path, "%.*s", (int)strcspn(path + 1, " \r\n"), path + 1);
    count(&models, at->model);
    count(&keys, at->key);
    if (++under_way > most) most = under_way;
    return requests;
}

void sim_log_body(uint64_t number, const char *p, size_t n)
{
    size_t kept = n < BODY_MAX ? n : BODY_MAX;
    char *text = realloc(bodies[number % BODIES].text, kept + 1);
    if (!text) return;
    if (kept) memcpy(text, p, kept);
    bodies[number % BODIES].text = text;
    bodies[number % BODIES].n = kept;
    bodies[number % BODIES].whole = n;
    bodies[number % BODIES].number = number;
}

sim_record *sim_log_at(uint64_t number)
{
    sim_record *r = &records[number % RECORDS];
    return number && r->number == number ? r : NULL;
}

void sim_log_end(uint64_t number, const char *outcome, uint64_t now)
{
    if (number && under_way) under_way--;
    sim_record *r = sim_log_at(number);
    if (!r) return;
    snprintf(r->outcome, sizeof r->outcome, "%s", outcome);
    r->end_us = now;
    if (strcmp(outcome, "closed_by_peer") == 0) r->closed_us = now;
}

uint64_t sim_log_requests(void)
{
    return requests;
}

json_t *sim_record_json(const sim_record *r)
{
    json_t *o =
        json_pack("{s:I,s:s,s:b,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:s,s:s,s:i}", "number",
                  (json_int_t)r->number, "model", r->model, "stream", (int)r->stream, "fault",
                  r->fault, "outcome", r->outcome, "start_us", (json_int_t)r->start_us, "first_us",
                  (json_int_t)r->first_us, "end_us", (json_int_t)r->end_us, "last_write_us",
                  (json_int_t)r->last_write_us, "closed_us", (json_int_t)r->closed_us, "bytes",
                  (json_int_t)r->bytes, "path", r->path, "format", sim_format_name(r->format),
                  "status", r->status ? r->status : 200);
    json_object_set_new(o, "key", json_string(r->key));
    return o;
}

void sim_log_stats(json_t *o)
{
    json_t *list = json_array(), *gone = json_array();
    uint64_t from = requests >= RECORDS ? requests - RECORDS + 1 : 1;
    for (uint64_t i = from; i <= requests; i++) {
        const sim_record *r = &records[i % RECORDS];
        json_array_append_new(list, sim_record_json(r));
        if (strcmp(r->outcome, "closed_by_peer") == 0)
            json_array_append_new(gone, sim_record_json(r));
    }
    json_object_set_new(o, "requests", json_integer((json_int_t)requests));
    json_object_set_new(o, "under_way", json_integer((json_int_t)under_way));
    json_object_set_new(o, "most_under_way", json_integer((json_int_t)most));
    json_object_set_new(o, "closed_by_peer", gone);
    json_object_set_new(o, "recent", list);
    json_object_set_new(o, "models", models ? json_deep_copy(models) : json_object());
    json_object_set_new(o, "keys", keys ? json_deep_copy(keys) : json_object());
}

json_t *sim_log_request(uint64_t number)
{
    const sim_record *r = sim_log_at(number);
    if (!r) return NULL;
    json_t *o = sim_record_json(r), *text = NULL;
    if (bodies[number % BODIES].number == number) {
        text = json_stringn(bodies[number % BODIES].text, bodies[number % BODIES].n);
        json_object_set_new(o, "body_bytes",
                            json_integer((json_int_t)bodies[number % BODIES].whole));
    }
    json_object_set_new(o, "body", text ? text : json_null());
    return o;
}
