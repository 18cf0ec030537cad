/*  sim_actors.c - what the inhabitants do, good and bad.
 *
 *  Edges call, workers serve, operators use bus.*, chatters call, serve, publish and subscribe.
 *  Anybody may die, hang, be replaced by a newer life of itself, read slowly or leave politely. The
 *  wicked answer twice, answer what was not asked of them, send beyond windows and out of sequence,
 *  and claim to be others. What the model must know is written down where it is said. */
#include "sim.h"

static actor *actor_of(sim *s, const conn *c)
{
    return &s->actors[c->actor];
}

static conn *conn_at(sim *s, const actor *a)
{
    return a->conn < 0 ? NULL : s->conns[a->conn];
}

static actor *random_actor(sim *s, role want)
{
    for (int tries = 0; tries < 20; tries++) {
        actor *a = &s->actors[roll(s, (uint64_t)s->n_actors)];
        if (a->role == want && a->conn >= 0) return a;
    }
    return NULL;
}

static void say(sim *s, conn *c, sv_kind kind, sv_id id)
{
    envelope e = {.kind = (uint8_t)kind, .id = id};
    net_send(s, c, &e, (sv_str){NULL, 0}, 0);
}

static sv_str junk(sim *s, char text[2048])
{
    uint32_t n = (uint32_t)roll(s, chance(s, 10) ? 2048 : 64);
    memset(text, 0xc3, n); /* map entries of "true": not valid, and nobody should look */
    return (sv_str){text, n};
}

/* ---- the cast ---- */

static actor *add(sim *s, role as, const char *name, uint32_t instance, uint32_t slots)
{
    actor *a = &s->actors[s->n_actors++];
    *a = (actor){.role = as, .instance = instance, .slots = slots, .conn = -1, .epoch = 1};
    snprintf(a->name, sizeof a->name, "%s", name);
    a->version = chance(s, 50) ? "1.0" : "2.0";
    a->wicked = chance(s, 15);
    a->who.kind = as == OPERATOR  ? IDENTITY_OPERATOR
                  : as == WORKER  ? IDENTITY_SUPERVISED
                  : as == CHATTER ? IDENTITY_KEY
                                  : IDENTITY_NONE;
    if (as == WORKER) {
        a->who.instance = instance;
        a->who.pid = 100 + (uint32_t)s->n_actors;
    }
    if (as == WORKER || as == CHATTER) snprintf(a->who.service, sizeof a->who.service, "%s", name);
    return a;
}

void actors_make(sim *s)
{
    uint64_t edges = 1 + roll(s, 3), alphas = 1 + roll(s, chance(s, 20) ? 14 : 3),
             betas = 1 + roll(s, 3), chatters = roll(s, 3);
    for (uint32_t i = 1; i <= edges; i++)
        add(s, EDGE, "edge", 0, 0);
    for (uint32_t i = 1; i <= alphas; i++) {
        actor *a = add(s, WORKER, "alpha", i, 1 + (uint32_t)roll(s, 4));
        a->methods[0] = "work";
        a->methods[1] = "get!";
    }
    for (uint32_t i = 1; i <= betas; i++) {
        actor *a = add(s, WORKER, "beta", i, 1 + (uint32_t)roll(s, 2));
        a->methods[0] = "work";
        a->methods[1] = i == 1 ? "only" : "get!";
    }
    for (uint32_t i = 1; i <= chatters; i++) {
        actor *a = add(s, CHATTER, "chat", 0, 1 + (uint32_t)roll(s, 4));
        a->methods[0] = "get!";
    }
    if (chance(s, 60)) add(s, OPERATOR, "operator", 0, 0);
}

policy *actors_policy(sim *s)
{
    policy_service x = {.queue_messages = (uint32_t)roll(s, 20),
                        .queue_ms = 100 + (uint32_t)roll(s, 2000),
                        .queue_bytes = 1 << 20,
                        .eject_failures = chance(s, 50) ? 2 : 0,
                        .eject_base_ms = 200,
                        .eject_max_ms = 2000,
                        .concurrency = chance(s, 20) ? 2 : 0,
                        .timeout_ms = chance(s, 20) ? 400 : 0};
    policy *p = policy_new(&x);
    int rc = policy_add_allow(p, false, "*", "*", "all");
    if (chance(s, 20)) rc |= policy_add_allow(p, true, "edge", "beta.only", "sometimes not");
    if (chance(s, 20)) {
        rc |= policy_add_split(p, "alpha", "1.*", 80);
        rc |= policy_add_split(p, "alpha", "2.*", 20);
    }
    if (chance(s, 20)) {
        policy_fault f = {chance(s, 50)   ? FAULT_DELAY
                          : chance(s, 50) ? FAULT_ABORT
                                          : FAULT_DROP,
                          70};
        rc |= policy_add_fault(p, "*", "alpha.*", f, 30, UINT64_MAX);
    }
    if (rc) abort();
    s->policies++;
    return p;
}

/* ---- coming and going ---- */

static void hello(sim *s, conn *c, const actor *a, const char *as)
{
    bus_method methods[METHODS_MAX];
    uint32_t n = 0;
    while (n < METHODS_MAX && a->methods[n]) {
        size_t len = strlen(a->methods[n]);
        bool idempotent = a->methods[n][len - 1] == '!';
        methods[n] = (bus_method){.name = {a->methods[n], (uint32_t)(len - idempotent)},
                                  .idempotent = idempotent};
        n++;
    }
    bus_hello h = {.service = sv_cstr(as),
                   .instance = a->instance,
                   .epoch = (int64_t)a->epoch,
                   .version = sv_cstr(a->version),
                   .methods = {methods, n},
                   .slots = a->slots};
    buf out;
    buf_init(&out, 65536);
    if (message_encode(&bus_hello_msg, &h, &out)) abort();
    envelope e = {.kind = SV_HELLO, .id = id_of((uint32_t)s->step, ID_OTHER)};
    net_send(s, c, &e, buf_str(&out), 0);
    buf_free(&out);
}

static void work_free(actor *a)
{
    for (todo *t = a->work, *next; t; t = next) {
        next = t->next;
        free(t);
    }
    a->work = NULL;
}

static void come(sim *s, actor *a)
{
    conn *c = conn_new(s, (int)(a - s->actors));
    a->conn = conn_index(s, c);
    c->slots = a->slots;
    a->epoch++;
    a->awake_us = 0;
    a->look_us = s->now_us;
    work_free(a);
    tell(s, "%s comes as peer %u, epoch %llu", a->name, c->id, (unsigned long long)a->epoch);
    hello(s, c, a, a->name);
}

static void leave(sim *s, actor *a)
{
    conn *c = conn_at(s, a);
    uint64_t how = roll(s, 5);
    tell(s, "%s leaves, way %llu", a->name, (unsigned long long)how);
    if (how == 0) {
        say(s, c, SV_GOODBYE, id_of(0, ID_OTHER));
        c->dead = true;
    } else if (how == 1 && a->who.pid) {
        c->dead = true;
        net_step(s, (core_event){.kind = CORE_EXITED, .pid = a->who.pid});
    } else {
        net_cut(s, c, how != 2); /* 2: the broker has to find out */
    }
    work_free(a);
    a->conn = -1;
    a->up_us = s->now_us + roll(s, chance(s, 50) ? 100000 : 3000000);
    if (how == 2 && chance(s, 50))
        come(s, a); /* a newer life while the old one still counts as there */
}

/* ---- calling ---- */

static sreq *request_new(sim *s, conn *c, uint32_t *number)
{
    if (s->n_requests == s->cap_requests) {
        s->cap_requests = s->cap_requests ? s->cap_requests * 2 : 256;
        s->requests = realloc(s->requests, s->cap_requests * sizeof *s->requests);
    }
    *number = s->n_requests++;
    sreq *r = &s->requests[*number];
    *r = (sreq){.conn = conn_index(s, c), .sent_us = s->now_us, .voided = !c->known};
    r->crossed = c->crossed;
    r->next_open = s->open;
    r->listed = true;
    s->open = (int)*number;
    return r;
}

static void ask(sim *s, conn *c, const char *target, uint32_t ttl_ms, unsigned flags,
                const char *key, sv_str body)
{
    uint32_t n;
    sreq *r = request_new(s, c, &n);
    snprintf(r->target, sizeof r->target, "%s", target);
    r->ttl_ms = ttl_ms;
    r->due_us = s->now_us + ttl_ms * 1000ull;
    r->stream = flags & SV_FLAG_STREAM;
    r->more = flags & SV_FLAG_MORE;
    r->idempotent = (flags & SV_FLAG_IDEMPOTENT) || strstr(target, ".get");
    const char *slash = strchr(target, '/');
    r->only = slash ? (uint32_t)atoi(slash + 1) : 0;
    r->granted_items = (uint32_t)roll(s, 6);
    r->granted_bytes = chance(s, 80) ? 65536 : roll(s, 500);
    envelope e = {.kind = SV_REQUEST,
                  .flags = (uint16_t)flags,
                  .credit_items = r->granted_items,
                  .credit_bytes = r->granted_bytes,
                  .ttl_ms = ttl_ms,
                  .id = id_of(n, ID_REQUEST),
                  .target = sv_cstr(target),
                  .key = sv_cstr(key)};
    if (chance(s, 10))
        snprintf(e.sender, sizeof e.sender, "router"); /* a lie that must not get through */
    if (chance(s, 10) && c->service[0]) e.ticket = tickets_bound_to(c->service);
    net_send(s, c, &e, body, (uint32_t)roll(s, 100));
}

static void call(sim *s, actor *a)
{
    static const char *const targets[] = {
        "alpha.work",  "alpha.get",  "beta.work",    "beta.get",    "beta.only",
        "chat.get",    "alpha.no",   "nobody.x",     "bad target",  "alpha.work",
        "alpha.get",   "beta.work",  "alpha/1.work", "alpha/2.get", "beta/1.only",
        "beta/2.only", "beta/3.get", "alpha/0.get",  "chat/1.get",  "bus/1.stats"};
    static const char *const keys[] = {NULL, NULL, NULL, "k1", "k2", "k3"};
    char text[2048];
    unsigned flags = 0;
    flags |= chance(s, 20) ? SV_FLAG_IDEMPOTENT : 0;
    flags |= chance(s, 30) ? SV_FLAG_STREAM : 0;
    flags |= chance(s, 10) ? SV_FLAG_MORE : 0;
    uint32_t ttl = (uint32_t)(chance(s, 5) ? roll(s, 3) : 20 + roll(s, chance(s, 30) ? 8000 : 800));
    const char *target = targets[roll(s, sizeof targets / sizeof *targets)];
    if (strncmp(target, a->name, strlen(a->name)) == 0)
        flags &= ~(unsigned)SV_FLAG_MORE; /* it may be its own callee: whose part would that be? */
    int burst = chance(s, 10) ? 1 + (int)roll(s, 30) : 1;
    for (int i = 0; i < burst; i++)
        ask(s, conn_at(s, a), target, ttl, flags, keys[roll(s, 6)], junk(s, text));
}

/* A request of this caller that may still be open, or NULL. */
static sreq *own_request(sim *s, const conn *c, uint32_t *number)
{
    int me = conn_index(s, c);
    for (int i = s->open, k = 0; i >= 0 && k < 64; i = s->requests[i].next_open, k++) {
        if (s->requests[i].conn == me && !s->requests[i].cancelled && chance(s, 40)) {
            *number = (uint32_t)i;
            return &s->requests[i];
        }
    }
    return NULL;
}

static void cancel(sim *s, actor *a)
{
    uint32_t n;
    conn *c = conn_at(s, a);
    sreq *r = own_request(s, c, &n);
    if (r == NULL) return;
    r->cancelled = true;
    r->crossed = c->crossed;
    say(s, c, SV_CANCEL, id_of(n, ID_REQUEST));
}

static void send_credit(sim *s, conn *c, uint32_t n, uint32_t items, uint64_t bytes)
{
    envelope e = {.kind = SV_CREDIT,
                  .credit_items = items,
                  .credit_bytes = bytes,
                  .id = id_of(n, ID_REQUEST)};
    net_send(s, c, &e, (sv_str){NULL, 0}, 0);
}

static void grant(sim *s, conn *c, sreq *r, uint32_t n)
{
    if (chance(s, 10)) { /* an old total once more: no harm */
        send_credit(s, c, n, r->granted_items / 2, r->granted_bytes / 2);
        return;
    }
    r->granted_items += (uint32_t)roll(s, 5);
    r->granted_bytes += roll(s, 8000);
    if (chance(s, 90)) /* or lost on the way: the next one makes up for it */
        send_credit(s, c, n, r->granted_items, r->granted_bytes);
}

/* The next part of an upload, when the callee granted it, or when the caller does not care. */
static void upload(sim *s, conn *c, sreq *r, uint32_t n, bool wicked)
{
    char text[2048];
    sv_str body = junk(s, text);
    bool fits =
        r->up_sent < r->up_granted_items && r->up_sent_bytes + body.n <= r->up_granted_bytes;
    if (r->up_done || (!fits && !wicked)) return;
    envelope e = {.kind = SV_PARTIAL, .id = id_of(n, ID_REQUEST), .code = ++r->up_sent};
    r->up_sent_bytes += body.n;
    r->up_done = chance(s, 30);
    e.flags = r->up_done ? 0 : SV_FLAG_MORE;
    net_send(s, c, &e, body, 0);
}

static void read_as_caller(sim *s, actor *a, conn *c, const letter *l)
{
    sreq *r = request_of(s, &l->env.id);
    uint32_t n;
    memcpy(&n, l->env.id.b, sizeof n);
    if (r == NULL || r->conn != conn_index(s, c)) return;
    if (l->env.kind == SV_PARTIAL && r->finals == 0) grant(s, c, r, n);
    if (l->env.kind == SV_CREDIT && r->more && r->finals == 0)
        upload(s, c, r, n, a->wicked && chance(s, 20));
}

/* ---- serving ---- */

static void take_request(sim *s, actor *a, const letter *l)
{
    todo *t = calloc(1, sizeof *t);
    t->id = l->env.id;
    t->stream = l->env.flags & SV_FLAG_STREAM;
    t->uploading = l->env.flags & SV_FLAG_MORE;
    memcpy(&t->request, l->env.id.b, sizeof t->request);
    t->due_us = s->now_us + (chance(s, 70) ? roll(s, 30000) : roll(s, 1500000));
    if (chance(s, 4)) t->due_us = s->now_us + 120000000; /* never */
    t->parts_left = t->stream ? (int)roll(s, 8) : chance(s, 20) ? (int)roll(s, 4) : 0;
    t->next = a->work;
    a->work = t;
}

static void grant_upload(sim *s, conn *c, const todo *t)
{
    sreq *r = &s->requests[t->request];
    r->up_granted_items += 1 + (uint32_t)roll(s, 3);
    r->up_granted_bytes += roll(s, 4000);
    if (chance(s, 90)) send_credit(s, c, t->request, r->up_granted_items, r->up_granted_bytes);
}

static void reply(sim *s, conn *c, const todo *t)
{
    static const uint32_t statuses[] = {
        0, 0, 0, 0, 0, 0, SV_STATUS_UNAVAILABLE, SV_STATUS_NOT_FOUND, SV_STATUS_INTERNAL, 99};
    char text[2048];
    sreq *r = &s->requests[t->request];
    for (uint32_t k = 0; k < r->handed; k++)
        if (r->callee[k] == conn_index(s, c)) r->replied[k] = true;
    envelope e = {.kind = SV_REPLY,
                  .id = t->id,
                  .code = t->cancelled ? SV_STATUS_CANCELLED : statuses[roll(s, 10)]};
    if (actor_of(s, c)->wicked && chance(s, 10)) e.flags = SV_FLAG_MORE;
    if (chance(s, 10)) snprintf(e.sender, sizeof e.sender, "edge");
    net_send(s, c, &e, junk(s, text), (uint32_t)roll(s, 50));
}

/* One part if the window is open; the callee knows the window as the model does. */
static bool part(sim *s, actor *a, conn *c, todo *t)
{
    char text[2048];
    sv_str body = junk(s, text);
    sreq *r = &s->requests[t->request];
    bool fits = t->sequence < r->granted_items && r->got_bytes + body.n <= r->granted_bytes &&
                t->sequence == r->got_items;
    bool wicked = a->wicked && chance(s, 20);
    if (!fits && !wicked) return false;
    envelope e = {.kind = SV_PARTIAL, .id = t->id, .code = ++t->sequence};
    if (wicked && chance(s, 30)) e.code += (uint32_t)roll(s, 3);
    if (!t->stream && !(wicked && chance(s, 50))) e.flags = SV_FLAG_MORE;
    net_send(s, c, &e, body, 0);
    return true;
}

/* Works off what is due; each request ends with its REPLY, the wicked say it twice. */
static void work(sim *s, actor *a)
{
    for (todo **at = &a->work; *at && !s->failed;) {
        todo *t = *at;
        conn *c = conn_at(s, a);
        if (c == NULL) return;
        if (t->due_us > s->now_us && !t->cancelled) {
            at = &t->next;
            continue;
        }
        if (t->uploading && !t->cancelled && !s->requests[t->request].up_done && chance(s, 80)) {
            grant_upload(s, c, t);
            t->due_us = s->now_us + roll(s, 50000);
            at = &t->next;
            continue;
        }
        if (t->parts_left > 0 && !t->cancelled) {
            if (part(s, a, c, t)) t->parts_left--;
            t->due_us = s->now_us + roll(s, 20000);
            if (chance(s, 3)) t->parts_left = 0;
            at = &t->next;
            continue;
        }
        reply(s, c, t);
        if (a->wicked && chance(s, 30)) reply(s, c, t);
        *at = t->next;
        free(t);
    }
}

static void read_as_callee(actor *a, const letter *l)
{
    for (todo *t = a->work; t; t = t->next)
        if (sv_id_eq(&t->id, &l->env.id)) t->cancelled = true;
}

/* ---- events ---- */

static void subscribe(sim *s, actor *a)
{
    static const char *const patterns[] = {"chat.>", "chat.*", "chat.news",
                                           "*.news", ">",      "edge.x.*"};
    conn *c = conn_at(s, a);
    if (!c->known) return;
    if (s->n_subs == s->cap_subs) {
        s->cap_subs = s->cap_subs ? s->cap_subs * 2 : 16;
        s->subs = realloc(s->subs, s->cap_subs * sizeof *s->subs);
    }
    uint32_t n = s->n_subs++;
    ssub *x = &s->subs[n];
    *x = (ssub){.conn = conn_index(s, c), .granted = (uint32_t)roll(s, chance(s, 20) ? 2000 : 5)};
    snprintf(x->pattern, sizeof x->pattern, "%s", patterns[roll(s, 6)]);
    envelope e = {.kind = SV_SUBSCRIBE,
                  .id = id_of(n, ID_SUBSCRIPTION),
                  .credit_items = x->granted,
                  .target = sv_cstr(x->pattern)};
    net_send(s, c, &e, (sv_str){NULL, 0}, 0);
}

static void event_upkeep(sim *s, actor *a)
{
    conn *c = conn_at(s, a);
    for (uint32_t n = 0; n < s->n_subs; n++) {
        ssub *x = &s->subs[n];
        if (x->conn != conn_index(s, c) || x->gone || !chance(s, 50)) continue;
        if (chance(s, 15)) {
            x->gone = true;
            say(s, c, SV_UNSUBSCRIBE, id_of(n, ID_SUBSCRIPTION));
            continue;
        }
        x->granted += (uint32_t)roll(s, 4);
        envelope e = {
            .kind = SV_CREDIT, .id = id_of(n, ID_SUBSCRIPTION), .credit_items = x->granted};
        net_send(s, c, &e, (sv_str){NULL, 0}, 0);
    }
}

static void publish(sim *s, actor *a)
{
    static const char *const topics[] = {"chat.news", "chat.a.b", "edge.x.y",
                                         "edge.news", "bad",      "alpha.x"};
    char text[2048];
    uint64_t n = a->role == CHATTER && chance(s, 4) ? LIMIT_EVENT_QUEUE + 50
                                                    : roll(s, chance(s, 10) ? 60 : 2);
    for (; n > 0 && !s->failed; n--) {
        envelope e = {.kind = SV_EVENT,
                      .id = id_of((uint32_t)s->step, ID_OTHER),
                      .target = sv_cstr(n > 30 ? "chat.news" : topics[roll(s, 6)])};
        net_send(s, conn_at(s, a), &e, junk(s, text), chance(s, 3) ? 5 : 0);
    }
}

/* ---- operators ---- */

static void operate(sim *s, actor *a)
{
    static const char *const targets[] = {"bus.ping",    "bus.services", "bus.stats", "bus.policy",
                                          "bus.records", "bus.tap",      "bus.drain", "bus.nothing",
                                          "bus.tap",     "bus.tap"};
    static const char *const filters[] = {
        "",          "alpha",     "kind=REPLY",    "err",     "x=y",
        "from=edge", "kind=PING", "method=beta.*", "kind=no", "status=OK to=edge"};
    const char *target = targets[roll(s, 10)];
    unsigned flags = strcmp(target, "bus.tap") == 0 && chance(s, 95) ? SV_FLAG_STREAM : 0;
    buf out;
    buf_init(&out, 4096);
    int rc = 0;
    if (flags) {
        bus_tap_req q = {.filter = sv_cstr(filters[roll(s, 10)]),
                         .count = chance(s, 50) ? 0 : 1 + (int64_t)roll(s, 20),
                         .max_rps = 1 + (int64_t)roll(s, 200)};
        rc = message_encode(&bus_tap_req_msg, &q, &out);
    } else if (strcmp(target, "bus.drain") == 0 && chance(s, 30)) {
        bus_drain_req q = {.service = sv_cstr("beta"), .instance = 1};
        rc = message_encode(&bus_drain_req_msg, &q, &out);
        for (int i = 0; i < s->n_conns; i++)
            if (s->conns[i]->known && strcmp(s->conns[i]->service, "beta") == 0)
                s->conns[i]->asked = true;
    } else if (chance(s, 5)) {
        rc = buf_puts(&out, "\x81\xa1x\xc3");
    }
    if (rc) abort();
    ask(s, conn_at(s, a), target, 50 + (uint32_t)roll(s, 3000), flags, NULL, buf_str(&out));
    buf_free(&out);
}

/* ---- wickedness ---- */

static void lie(sim *s)
{
    if (s->n_conns == 0) return;
    conn *c = s->conns[roll(s, (uint64_t)s->n_conns)];
    uint32_t n = s->n_requests ? (uint32_t)roll(s, s->n_requests) : 0;
    if (c->dead || (s->n_requests && s->requests[n].conn == conn_index(s, c))) return;
    const sreq *r = s->n_requests ? &s->requests[n] : NULL;
    for (uint32_t k = 0; r && k < r->handed; k++)
        if (r->callee[k] == conn_index(s, c)) return; /* its own work: not a lie */
    envelope e = {.id = id_of(n, ID_REQUEST), .code = 1 + (uint32_t)roll(s, 3)};
    switch (roll(s, 9)) {
    case 0: e.kind = SV_REPLY; break;
    case 1: e.kind = SV_PARTIAL; break;
    case 2:
        e.kind = SV_CREDIT;
        e.credit_items = 4000000000;
        e.credit_bytes = UINT64_MAX;
        break;
    case 3: e.kind = SV_CANCEL; break;
    case 4: /* a foreign id for a call of the bus */
        e.kind = SV_REQUEST;
        e.ttl_ms = 100;
        e.target = sv_cstr("bus.ping");
        break;
    case 5: e.kind = SV_WELCOME; break;
    case 6: e.kind = SV_PONG; break;
    case 7:
        e.kind = SV_UNSUBSCRIBE;
        e.id = id_of(n, ID_OTHER);
        break;
    default:
        e.kind = SV_REQUEST; /* without an id: nothing to answer to */
        e.id = (sv_id){{0}};
        e.ttl_ms = 100;
        e.target = sv_cstr("alpha.work");
    }
    net_send(s, c, &e, (sv_str){NULL, 0}, 0);
}

static void forge(sim *s, actor *a)
{
    static const char *const names[] = {"bus",   "supervisor", "operator",
                                        "alpha", "edge",       "Bad name"};
    conn *c = conn_new(s, (int)(a - s->actors));
    actor mask = *a;
    mask.instance = (uint32_t)roll(s, 3);
    mask.epoch = roll(s, 2) ? 1 : 1000000;
    const char *as = names[roll(s, 6)];
    if (strcmp(as, a->name) == 0 ||
        (a->who.kind == IDENTITY_NONE && (as[0] == 'a' || as[0] == 'e')))
        as = "bus"; /* what its identity allows would be no forgery */
    hello(s, c, &mask, as);
    if (c->known) broken(s, "%s got in as %s", a->name, as);
    c->dead = true;
}

/* An older life of a worker comes late, while the newer one is connected. */
static void usurp(sim *s, actor *a)
{
    const conn *now = conn_at(s, a);
    if (a->role != WORKER || now == NULL || !now->known || now->dead) return;
    conn *c = conn_new(s, (int)(a - s->actors));
    actor older = *a;
    older.epoch--;
    hello(s, c, &older, a->name);
    if (c->known) broken(s, "an older life of %s/%u got in", a->name, a->instance);
    c->dead = true;
}

static void stranger(sim *s)
{
    conn *c = conn_new(s, -1);
    for (int i = 0; i < 5; i++)
        say(s, c, SV_PING, id_of(0, ID_OTHER));
    c->dead = true;
}

/* ---- a turn ---- */

static void actor_acts(sim *s, actor *a)
{
    conn *c = conn_at(s, a);
    uint64_t what = roll(s, 100);
    if (what < 3) {
        leave(s, a);
    } else if (what < 6) {
        a->awake_us = s->now_us + roll(s, chance(s, 30) ? 8000000 : 500000);
        tell(s, "%s (peer %u) hangs until %.1f", a->name, c->id, (double)a->awake_us / 1000);
    } else if (what < 7 && a->methods[0] && chance(s, 30)) {
        c->draining = c->known;
        say(s, c, SV_DRAIN, id_of(0, ID_OTHER));
    } else if (what < 9) {
        hello(s, c, a, a->name); /* once more on the same connection */
    } else if (a->role == OPERATOR) {
        operate(s, a);
    } else if (what < 16) {
        cancel(s, a);
    } else if (what < 22 && a->role != WORKER) {
        subscribe(s, a);
    } else if (what < 34) {
        publish(s, a);
    } else if (what < 40) {
        event_upkeep(s, a);
    } else if (a->role != WORKER || what < 50) {
        call(s, a);
    }
}

void actors_act(sim *s)
{
    uint64_t what = roll(s, 1000);
    if (what < 4)
        net_broker(s);
    else if (what < 12)
        net_step(s, (core_event){.kind = CORE_POLICY, .policy = actors_policy(s)});
    else if (what < 60)
        lie(s);
    else if (what < 70)
        forge(s, &s->actors[roll(s, (uint64_t)s->n_actors)]);
    else if (what < 74)
        stranger(s);
    else if (what < 80)
        usurp(s, &s->actors[roll(s, (uint64_t)s->n_actors)]);
    for (int i = 0; i < s->n_actors; i++) {
        actor *a = &s->actors[i];
        if (a->conn < 0 && a->up_us <= s->now_us) come(s, a);
    }
    actor *a = chance(s, 50) ? random_actor(s, EDGE) : &s->actors[roll(s, (uint64_t)s->n_actors)];
    if (a && a->conn >= 0 && a->awake_us <= s->now_us && !s->failed) actor_acts(s, a);
}

static void read_letter(sim *s, actor *a, conn *c, const letter *l)
{
    switch ((sv_kind)l->env.kind) {
    case SV_PING: say(s, c, SV_PONG, l->env.id); break;
    case SV_REQUEST: take_request(s, a, l); break;
    case SV_CANCEL: read_as_callee(a, l); break;
    case SV_PARTIAL:
    case SV_CREDIT:
    case SV_REPLY: read_as_caller(s, a, c, l); break;
    case SV_GOODBYE:
        if (!c->known && chance(s, 90)) hello(s, c, a, a->name);
        break;
    case SV_HELLO:
    case SV_WELCOME:
    case SV_PONG:
    case SV_EVENT:
    case SV_SUBSCRIBE:
    case SV_UNSUBSCRIBE:
    case SV_DRAIN: break;
    }
}

void actors_look(sim *s)
{
    for (int i = 0; i < s->n_actors && !s->failed; i++) {
        actor *a = &s->actors[i];
        if (a->conn < 0 || a->awake_us > s->now_us || a->look_us > s->now_us) continue;
        conn *c = conn_at(s, a);
        uint64_t few = chance(s, 80) ? 1000 : roll(s, 5);
        for (letter *l; few-- > 0 && !s->failed && (l = net_take(s, c));) {
            read_letter(s, a, c, l);
            free(l);
        }
        if (!c->known && chance(s, 30)) hello(s, c, a, a->name);
        work(s, a);
        if (c->draining && chance(s, 2)) leave(s, a);
        a->look_us = s->now_us + roll(s, 20000);
    }
}

void actors_free(sim *s)
{
    for (int i = 0; i < s->n_actors; i++)
        work_free(&s->actors[i]);
}
