/*  limits_rules.c - names of counters are KIND.CLASS/WHO: "user.chat/0197...". */
#include "limits_rules.h"

#include "error.h"
#include "log.h"
#include "rate_window.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const tier_names[LIMITS_TIERS] = {
    [LIMITS_ANONYMOUS] = "anonymous",
    [LIMITS_FREE] = "free",
    [LIMITS_PREMIUM] = "premium",
    [LIMITS_OWN] = "own",
};

static const char *const class_names[CLASSES] = {
    [CLASS_FREE] = "free",     [CLASS_CHAT] = "chat", [CLASS_AUTH] = "auth",
    [CLASS_UPLOAD] = "upload", [CLASS_API] = "api",   [CLASS_ADMIN] = "admin",
};

const char *limits_class_name(route_class c)
{
    return class_names[c];
}

/* ---- settings ---- */

static uint32_t times(uint64_t limit, uint32_t factor)
{
    uint64_t n = limit * factor;
    return n < RATE_MOST ? (uint32_t)n : RATE_MOST;
}

static uint32_t limit_of(const config *c, const char *key, uint32_t scale)
{
    return times((uint64_t)config_int(c, key), scale);
}

void limits_rules_read(const config *c, limits_rules *ret)
{
    uint32_t scale = (uint32_t)config_int(c, "limits.scale");
    *ret = (limits_rules){.scale = scale,
                          .auth_minute = limit_of(c, "limits.auth_minute", scale),
                          .upload_minute = limit_of(c, "limits.upload_minute", scale),
                          .org_factor = limit_of(c, "limits.org_factor", 1),
                          .edges = (uint32_t)config_int(c, "supervisor.edges")};
    for (size_t i = 0; i < LIMITS_TIERS; i++) {
        char key[40];
        snprintf(key, sizeof key, "limits.%s.minute", tier_names[i]);
        ret->tiers[i].minute = limit_of(c, key, scale);
        snprintf(key, sizeof key, "limits.%s.hour", tier_names[i]);
        ret->tiers[i].hour = limit_of(c, key, scale);
    }
}

int limits_scale_check(const config *c, bool loopback, sv_error *err)
{
    int64_t scale = config_int(c, "limits.scale");
    if (scale == 1) return 0;
    if (!loopback)
        return sv_fail(err, SV_E_CONFIG, "limits.scale",
                       "limits.scale is %lld: rate limits are raised for load tests only, on "
                       "loopback addresses, and edge.host is none. Set it to 1, or edge.host to "
                       "127.0.0.1.",
                       (long long)scale);
    log_write(LOG_WARN, "RATE LIMITS ARE RAISED for a load test: each is multiplied",
              LOG_INT("limits.scale", scale), LOG_STR("source", config_source(c, "limits.scale")));
    return 0;
}

/* ---- counters ---- */

/* IPv4 as it is, also when it is mapped into IPv6; other IPv6 by its /64. */
static void address_name(const char *text, char ret[INET6_ADDRSTRLEN + 4])
{
    struct in_addr four;
    struct in6_addr six;
    static const char zone_mark = '%';
    char ip[INET6_ADDRSTRLEN + 1];
    size_t n = text ? strcspn(text, "%") : 0;
    snprintf(ret, INET6_ADDRSTRLEN + 4, "unknown");
    if (n == 0 || n >= sizeof ip) return;
    memcpy(ip, text, n);
    ip[n] = 0;
    if (inet_pton(AF_INET, ip, &four) == 1 && text[n] != zone_mark) {
        inet_ntop(AF_INET, &four, ret, INET6_ADDRSTRLEN);
    } else if (inet_pton(AF_INET6, ip, &six) == 1) {
        if (IN6_IS_ADDR_V4MAPPED(&six)) {
            inet_ntop(AF_INET, six.s6_addr + 12, ret, INET6_ADDRSTRLEN);
            return;
        }
        memset(six.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &six, ret, INET6_ADDRSTRLEN);
        memcpy(ret + strlen(ret), "/64", 4);
    }
}

typedef struct plan {
    limits_item *items;
    uint32_t n;
    route_class class;
} plan;

static void add(plan *p, const char *kind, sv_str who, limits_pair pair)
{
    if (pair.minute == 0 && pair.hour == 0) return;
    limits_item *i = &p->items[p->n++];
    int n =
        snprintf(i->name, sizeof i->name, "%s.%s/%.*s", kind, class_names[p->class], SV_FMT(who));
    i->n = n < (int)sizeof i->name ? (uint32_t)n : (uint32_t)sizeof i->name - 1;
    i->pair = pair;
}

static limits_pair pair_times(limits_pair p, uint32_t factor)
{
    return (limits_pair){times(p.minute, factor), times(p.hour, factor)};
}

/* Uploads have a smaller minute, where a limit holds at all. */
static limits_pair tier_pair(const limits_rules *r, limits_tier tier, route_class class)
{
    limits_pair p = r->tiers[tier];
    bool any = p.minute || p.hour;
    if (class == CLASS_UPLOAD && any && r->upload_minute &&
        (p.minute == 0 || r->upload_minute < p.minute))
        p.minute = r->upload_minute;
    return p;
}

static limits_tier tier_of(const limits_subject *s)
{
    if (s->user.n == 0) return LIMITS_ANONYMOUS;
    if (sv_str_is(s->tier, tier_names[LIMITS_PREMIUM])) return LIMITS_PREMIUM;
    if (sv_str_is(s->tier, tier_names[LIMITS_OWN])) return LIMITS_OWN;
    return LIMITS_FREE;
}

uint32_t limits_plan(const limits_rules *r, const limits_subject *s,
                     limits_item items[LIMITS_COUNTERS])
{
    plan p = {.items = items, .class = s->class};
    char address[INET6_ADDRSTRLEN + 4];
    if (s->operator_here || s->class == CLASS_FREE) return 0;
    limits_tier tier = tier_of(s);
    limits_pair pair = tier_pair(r, tier, s->class);
    address_name(s->address, address);
    if (tier == LIMITS_ANONYMOUS) add(&p, "address", sv_cstr(address), pair);
    if (s->class == CLASS_AUTH)
        add(&p, "login", sv_cstr(address), (limits_pair){.minute = r->auth_minute});
    if (tier == LIMITS_ANONYMOUS) return p.n;
    add(&p, "user", s->user, pair);
    if (s->key.n)
        add(&p, "key", s->key, pair_times((limits_pair){s->key_minute, s->key_hour}, r->scale));
    if (s->org.n) add(&p, "org", s->org, pair_times(pair, r->org_factor));
    return p.n;
}

/* ---- telling ---- */

static void put(limits_headers *h, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void put(limits_headers *h, const char *name, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(h->values[h->n], sizeof h->values[0], fmt, ap);
    va_end(ap);
    h->names[h->n++] = name;
}

void limits_headers_fill(const limits_verdict *v, limits_headers *ret)
{
    ret->n = 0;
    if (!v->limited) return;
    put(ret, "x-ratelimit-limit", "%u", v->limit);
    put(ret, "x-ratelimit-remaining", "%u", v->remaining);
    put(ret, "x-ratelimit-reset", "%u", v->reset_s);
    if (v->pair.minute && v->pair.hour)
        put(ret, "ratelimit-policy", "\"minute\";q=%u;w=60, \"hour\";q=%u;w=3600", v->pair.minute,
            v->pair.hour);
    else
        put(ret, "ratelimit-policy", "\"%s\";q=%u;w=%u", v->hour ? "hour" : "minute", v->limit,
            v->hour ? 3600u : 60u);
    put(ret, "ratelimit", "\"%s\";r=%u;t=%u", v->hour ? "hour" : "minute", v->remaining,
        v->reset_s);
}

int limits_error(const limits_verdict *v, sv_error *err)
{
    uint32_t seconds = (v->retry_after_ms + 999) / 1000;
    if (err) err->retry_after_ms = v->retry_after_ms;
    if (!v->limited) return sv_fail(err, SV_E_RATE, NULL, NULL);
    return sv_fail(err, SV_E_RATE, NULL,
                   "At most %u such requests are allowed in any %s: try again in %u second%s.",
                   v->limit, v->hour ? "hour" : "minute", seconds, seconds == 1 ? "" : "s");
}
