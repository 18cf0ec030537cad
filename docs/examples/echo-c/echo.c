/* echo.c - an actor of your own: one method that may wait, one that streams.
 *
 *   samovar keys new echo                       (prints the three SAMOVAR_* lines)
 *   cc -I. $(pkg-config --cflags samovar) echo.c $(pkg-config --libs samovar) -o echo && ./echo
 *   samovar call echo.say '{"text":"hello"}'
 *
 *  Messages are declared once, in echo_messages.def: struct, checks, encoder and JSON come from it.
 */
#include "samovar.h"

#define SV_MESSAGES_FILE "echo_messages.def"
#include "message_structs.h"
#include "message_tables.h"

/* Runs on a fiber: sv_sleep suspends this request and nothing else. */
static int say(sv_call *call, const void *request)
{
    const say_req *req = request;
    if (req->wait_ms > 0) {
        int rc = sv_sleep(call, (uint32_t)req->wait_ms);
        if (rc) return rc;
    }
    say_reply reply = {.text = req->text, .caller = sv_cstr(sv_call_caller(call))};
    return sv_reply(call, &reply);
}

/* A stream: sv_partial suspends while the caller's window is shut. */
static int count(sv_call *call, const void *request)
{
    const count_req *req = request;
    for (int64_t i = 1; i <= req->to; i++) {
        count_item item = {.n = i};
        int rc = sv_partial(call, &count_item_msg, &item, (sv_str){NULL, 0});
        if (rc) return rc;
    }
    return sv_reply(call, &(count_item){.n = req->to});
}

static const sv_method methods[] = {
    {.name = "say",
     .request = &say_req_msg,
     .reply = &say_reply_msg,
     .handler = say,
     .flags = SV_IDEMPOTENT,
     .doc = "says it again"},
    {.name = "count",
     .request = &count_req_msg,
     .reply = &count_item_msg,
     .handler = count,
     .doc = "counts, one item each"},
};

int main(int argc, char **argv)
{
    static const sv_actor echo = {
        .name = "echo", .version = "1.0", .doc = "an example", .methods = methods, .n_methods = 2};
    return sv_main(argc, argv, &echo);
}
