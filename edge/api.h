/*  api.h - the handlers that routes.def names. Each is called on the loop with a complete
 *  request and answers now or later, through reply.h.
 *  Thread: the loop's.
 *  Ownership: c->x->request is valid only until the handler returns.
 *  Errors: answered to the client. */
#ifndef EDGE_API_H
#define EDGE_API_H

typedef struct edge_call edge_call;

/* In api_llm.c: requests to models. */
void api_chat(edge_call *c);
void api_completions(edge_call *c);
void api_responses(edge_call *c);
void api_messages(edge_call *c);
void api_count_tokens(edge_call *c);
void api_embeddings(edge_call *c);
void api_moderations(edge_call *c);
void api_images(edge_call *c);
void api_transcriptions(edge_call *c);
void api_ollama_chat(edge_call *c);
void api_ollama_generate(edge_call *c);
void api_ollama_embed(edge_call *c);
/* In api_models.c. */
void api_ollama_tags(edge_call *c);
void api_ollama_show(edge_call *c);
void api_ollama_version(edge_call *c);
void api_models(edge_call *c);
void api_model(edge_call *c);
void api_healthz(edge_call *c);
void api_readyz(edge_call *c);
void api_metrics(edge_call *c);
void api_root(edge_call *c);
void api_jwks(edge_call *c);
/* In api_files.c. Uploads are called when the request is let in, before its body. */
void api_file_upload(edge_call *c);
void api_file(edge_call *c);
void api_health(edge_call *c);
/* In api_insight.c. */
void api_decision(edge_call *c);
void api_feedback(edge_call *c);
void api_rankings(edge_call *c);
/* In api_own_chat.c: the platform's own chat. */
void api_own_chat(edge_call *c);
void api_own_chat_stream(edge_call *c);
void api_chat_session(edge_call *c);
void api_chat_images(edge_call *c);
/* In live.c. */
void api_events(edge_call *c);
void api_audit(edge_call *c);
/* In api_usage.c. */
void api_usage(edge_call *c);
void api_usage_export(edge_call *c);
/* Pages and their parts, and the description of the API. In api_web.c. */
void api_static(edge_call *c);
void api_openapi(edge_call *c);
/* A CALL of routes.def: handed on to a service and back. In forward.c. */
void api_forward(edge_call *c);
/* Addresses that clients of this kind of server expect and that are not there yet: 501. */
void api_unbuilt(edge_call *c);

#endif
