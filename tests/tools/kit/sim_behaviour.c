#include "sim_behaviour.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fault_names[] = {
#define FAULT(name, doc) #name,
#include "sim_behaviour.def"
#undef FAULT
};

void sim_default(sim_behaviour *b)
{
    memset(b, 0, sizeof *b);
#define NUMBER(name, def, max, doc) b->name = def;
#include "sim_behaviour.def"
#undef NUMBER
}

const char *sim_fault_name(sim_fault f)
{
    return f < SIM_FAULTS ? fault_names[f] : "?";
}

static int set_number(sim_behaviour *b, const char *key, int64_t v, char *why, size_t cap)
{
#define NUMBER(name, def, max, doc)                                                                \
    if (strcmp(key, #name) == 0) {                                                                 \
        if (v >= 0 && v <= (max)) {                                                                \
            b->name = v;                                                                           \
            return 0;                                                                              \
        }                                                                                          \
        snprintf(why, cap, "%s takes 0 to %lld", key, (long long)(max));                           \
        return -1;                                                                                 \
    }
#include "sim_behaviour.def"
#undef NUMBER
    snprintf(why, cap, "there is no number called \"%s\"", key);
    return -1;
}

static int set_text(sim_behaviour *b, const char *key, const char *v, char *why, size_t cap)
{
    if (strcmp(key, "fault") == 0) {
        for (int i = 0; i < SIM_FAULTS; i++)
            if (strcmp(v, fault_names[i]) == 0) {
                b->fault = (sim_fault)i;
                return 0;
            }
        snprintf(why, cap, "there is no fault called \"%s\"", v);
        return -1;
    }
    if (strcmp(key, "echo") == 0 && strcmp(v, "all") == 0) {
        b->echo = SIM_ECHO_ALL;
        return 0;
    }
#define TEXT(name, doc)                                                                            \
    if (strcmp(key, #name) == 0) {                                                                 \
        snprintf(b->name, sizeof b->name, "%s", v);                                                \
        return 0;                                                                                  \
    }
#include "sim_behaviour.def"
#undef TEXT
    snprintf(why, cap, "there is no key called \"%s\"", key);
    return -1;
}

int sim_from_model(sim_behaviour *b, const char *model, char *why, size_t cap)
{
    char copy[512], *save = NULL;
    snprintf(copy, sizeof copy, "%s", model);
    for (char *t = strtok_r(copy, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
        char *eq = strchr(t, '=');
        if (!eq) continue;
        *eq++ = 0;
        char *end;
        errno = 0;
        long long v = strtoll(t[0] ? eq : "", &end, 10);
        bool number = *eq && !*end && !errno && strcmp(t, "retry_after") != 0;
        int rc = number ? set_number(b, t, v, why, cap) : set_text(b, t, eq, why, cap);
        if (rc) return rc;
    }
    return 0;
}

int sim_from_json(sim_behaviour *b, const json_t *object, char *why, size_t cap)
{
    const char *key;
    json_t *v;
    if (!json_is_object(object)) {
        snprintf(why, cap, "an entry of the script is an object");
        return -1;
    }
    json_object_foreach((json_t *)(uintptr_t)object, key, v)
    {
        int rc;
        if (json_is_string(v))
            rc = set_text(b, key, json_string_value(v), why, cap);
        else if (json_is_integer(v) || json_is_boolean(v))
            rc = set_number(b, key, json_is_true(v) ? 1 : json_integer_value(v), why, cap);
        else {
            snprintf(why, cap, "\"%s\" is neither a number nor text", key);
            rc = -1;
        }
        if (rc) return rc;
    }
    return 0;
}
