/*  answer_cache_router.c - handlers on fibers, so that waiting is a loop. */
#include "answer_cache_router.h"

#include "error.h"
#include "json_scan.h"
#include "ticket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

fake_state *fake;

void fake_answer(const char *model, bool stream, char *to, size_t size)
{
    if (stream)
        snprintf(to, size, "1: data: {\"model\":\"%s\"}\n\ndata: [DONE]\n\n", model);
    else
        snprintf(to, size, "{\"answer of\":\"%s\"}", model);
}

static int wait_for_go(sv_call *call)
{
    while (!atomic_load(&fake->go)) {
        int rc = sv_sleep(call, 2);
        if (rc == 0) continue;
        atomic_store(&fake->left_us, clock_us());
        atomic_fetch_add(&fake->left, 1);
        return rc;
    }
    return 0;
}

static int stream(sv_call *call, const char *model, const router_complete_head *head,
                  const router_complete_end *end)
{
    char text[256];
    buf body;
    int rc = sv_partial(call, &router_complete_head_msg, head, sv_cstr("1: "));
    if (rc == 0) rc = wait_for_go(call);
    if (rc) return rc;
    if (strcmp(model, "long") == 0) {
        char *piece = calloc(1, 4096);
        for (size_t n = 0; rc == 0 && n < FAKE_LONG; n += 4096) {
            memset(piece, 'a' + (int)(n / 4096 % 26), 4096);
            rc = sv_partial(call, NULL, NULL, (sv_str){piece, 4096});
        }
        free(piece);
    } else {
        fake_answer(model, true, text, sizeof text);
        rc = sv_partial(call, NULL, NULL, sv_cstr(text + 3));
    }
    if (rc) return rc;
    buf_init(&body, LIMIT_PART_BYTES);
    rc = message_encode(&router_complete_end_msg, end, &body);
    if (rc == 0) rc = sv_reply_raw(call, NULL, buf_str(&body));
    buf_free(&body);
    return rc;
}

static int large(sv_call *call, const router_complete_head *head, size_t n)
{
    char *bytes = malloc(n);
    memset(bytes, 'x', n);
    int rc = sv_reply_with(call, head, (sv_str){bytes, (uint32_t)n});
    free(bytes);
    return rc;
}

static bool is_eve(sv_call *call)
{
    ticket t;
    return ticket_read(sv_call_ticket(call), &t, NULL) == 0 && sv_str_is(t.user, "eve");
}

/* One number for each letter of the input. */
static int meaning(sv_call *call)
{
    buf text, out;
    int count[26] = {0};
    bool own = is_eve(call);
    router_complete_head head = {
        .http_status = 200, .content_type = sv_cstr("application/json"), .personal = own};
    atomic_fetch_add(&fake->meanings, 1);
    while (atomic_load(&fake->understands) == 0) {
        int rc = sv_sleep(call, 2);
        if (rc) return rc;
    }
    if (atomic_load(&fake->understands) == 2) return SV_E_PROVIDER_TIMEOUT;
    buf_init(&text, 1 << 16);
    buf_init(&out, 1 << 16);
    if (own)
        buf_puts(&text, "how do i brew tea");
    else
        json_text(json_get(json_root(sv_call_attachment(call)), "input"), &text);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] >= 'a' && text.p[i] <= 'z') count[text.p[i] - 'a']++;
    buf_puts(&out, "{\"data\":[{\"embedding\":[");
    for (int i = 0; i < 26; i++)
        buf_printf(&out, "%s%d.0", i ? "," : "", count[i]);
    buf_puts(&out, "]}]}");
    int rc = sv_reply_with(call, &head, buf_str(&out));
    buf_free(&text);
    buf_free(&out);
    return rc;
}

static int complete(sv_call *call, const void *request)
{
    const router_complete_req *q = request;
    if (sv_str_is(q->endpoint, "embeddings")) return meaning(call);
    char model[64], up[80], text[256];
    snprintf(model, sizeof model, "%.*s", SV_FMT(q->model));
    snprintf(up, sizeof up, "up-%s", model);
    const char *task = strcmp(model, "translate") == 0 ? "translate" : "chat";
    bool tools = strcmp(model, "tools") == 0, cut = strcmp(model, "cut") == 0;
    bool own = strncmp(model, "own", 3) == 0 && is_eve(call);
    router_complete_head head = {.http_status = strcmp(model, "refusal") == 0 ? 400 : 200,
                                 .content_type = sv_cstr("application/json"),
                                 .provider = sv_cstr("fake"),
                                 .model = sv_cstr(up),
                                 .attempts = 1,
                                 .task = sv_cstr(task),
                                 .priced = true,
                                 .price = 7,
                                 .prompt_tokens = 5,
                                 .completion_tokens = 3,
                                 .tools = tools,
                                 .whole = !cut,
                                 .personal = own};
    router_complete_end end = {.provider = head.provider,
                               .model = head.model,
                               .prompt_tokens = 5,
                               .completion_tokens = 3,
                               .usage_known = true,
                               .attempts = 1,
                               .priced = true,
                               .price = 7,
                               .tools = tools,
                               .whole = !cut};
    atomic_fetch_add(&fake->calls, 1);
    if (q->stream) return stream(call, model, &head, &end);
    int rc = wait_for_go(call);
    if (rc) return rc;
    if (own && strcmp(model, "own-broken") == 0) return SV_E_PROVIDER_UNREACHABLE;
    if (strcmp(model, "error") == 0) return SV_E_PROVIDER_TIMEOUT;
    if (strcmp(model, "denied") == 0) return SV_E_MODEL_NOT_ALLOWED;
    if (strcmp(model, "half") == 0) return large(call, &head, FAKE_HALF);
    if (strcmp(model, "large") == 0) return large(call, &head, FAKE_LARGE);
    fake_answer(model, false, text, sizeof text);
    return sv_reply_with(call, &head, sv_cstr(text));
}

static const sv_method methods[] = {{.name = "complete",
                                     .request = &router_complete_req_msg,
                                     .reply = &router_complete_head_msg,
                                     .handler = complete,
                                     .max_request = 4 << 20,
                                     .doc = "Answers when it is let go."}};

const sv_actor fake_router = {.name = "router",
                              .version = "1",
                              .doc = "stands in the router's place",
                              .methods = methods,
                              .n_methods = 1};
