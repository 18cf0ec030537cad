/*  cmd_info.c - `samovar info`: what a newcomer needs next. `samovar up` runs it when everything is
 *  ready, as a process of its own, because the supervisor speaks no bus. */
#include "commands.h"

#include "bus_client.h"
#include "error.h"
#include "platform.h"
#include "run_folder.h"

#include <stdio.h>
#include <unistd.h>

enum { ARENA_BYTES = 1048576, PROVIDERS_MS = 2000 };

static void print_providers(const config *c)
{
    bus_client bus = {NULL};
    arena memory;
    router_providers_reply reply;
    sv_error err = {.code = 0};
    arena_init(&memory, ARENA_BYTES);
    int rc = bus_client_open(&bus, c, PROVIDERS_MS, &err);
    if (rc == 0)
        rc = bus_client_ask(&bus, "router.providers", &router_providers_reply_msg, PROVIDERS_MS,
                            &memory, &reply, &err);
    if (rc)
        printf("  providers  not known: %s\n", err.message);
    else if (reply.providers.n == 0)
        printf(
            "  providers  none yet; the built-in model demo answers without. Set OPENAI_API_KEY,\n"
            "             OPENROUTER_API_KEY, GROQ_API_KEY or ANTHROPIC_API_KEY, or start "
            "Ollama\n");
    for (uint32_t i = 0; rc == 0 && i < reply.providers.n; i++) {
        const router_provider *p = &((router_provider *)reply.providers.items)[i];
        printf("  %-9s  %-11.*s %.*s%s%.*s\n", i ? "" : "providers", SV_FMT(p->name),
               SV_FMT(p->base_url), p->base_url.n ? "  " : "", SV_FMT(p->state));
    }
    bus_client_close(&bus);
    arena_free(&memory);
}

static void print_info(const config *c)
{
    char url[320], exe[PLATFORM_PATH];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    platform_url(c, url, sizeof url);
    printf("\nSamovar %s\n\n", SAMOVAR_VERSION);
    printf("  URL        %s\n", url[0] ? url : "not known: the edge has not written its port yet");
    if (strcmp(config_str(c, "edge.access"), "open") == 0)
        printf(
            "             open to this machine until there is an administrator: use the setup link "
            "in the log\n");
    printf("  data       %s\n", config_data(c));
    printf("  config     %s\n",
           config_file(c) ? config_file(c) : "no file; defaults and environment");
    fflush(stdout);
    print_providers(c);
    printf(
        "\nTry a streamed completion:\n\n"
        "  curl -N %s/v1/chat/completions -H 'Content-Type: application/json' \\\n"
        "    -d '{\"model\":\"demo\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":"
        "\"Hello\"}]}'\n\n"
        "Watch it travel: SAMOVAR_DATA=%s %s tap\n\n",
        url, config_data(c), exe);
}

int cmd_info(int argc, char **argv)
{
    const args_spec spec = {
        "samovar info",
        "",
        "Prints URL, folders and providers of the running platform and a request to try.",
        "exit codes: 0 printed, 1 nothing runs there",
        NULL,
        0,
        0,
        0};
    args words;
    int exit_code;
    config *c = NULL;
    if (!cli_args(&spec, argc, argv, &words, &exit_code)) return exit_code;
    if (cli_config(NULL, &c)) return CLI_CONFIG;
    bool runs = run_folder_held(c);
    if (runs)
        print_info(c);
    else
        fprintf(stderr, "samovar: no platform runs on %s; start one with ./dev up or samovar up\n",
                config_data(c));
    config_free(c);
    return runs && fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}
