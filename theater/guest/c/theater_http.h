/* HTTP for Theater actors in C: servers (handler "http-framework") and requests to other machines ("http-client").
 * The rules of memory are those of theater.h.
 *
 * A server, its routes and the ids of handlers outlive a restart of the actor that goes on with its state, and
 * theater_init is not called then. theater_register_handler gives one name one id as long as the servers are there, so
 * a later life may ask again.
 */
#ifndef THEATER_HTTP_H
#define THEATER_HTTP_H

#include "theater.h"

typedef struct {
    theater_bytes name;
    theater_bytes value;
} theater_header;

/* Names and values in their order. */
typedef struct {
    const theater_header *items;
    size_t count;
} theater_headers;

typedef struct {
    theater_bytes method;  /* in upper case */
    theater_bytes uri;     /* on a server the path and query, for a request of this actor the whole URL */
    theater_headers headers;
    theater_option body;
} theater_http_request;

typedef struct {
    uint16_t status;
    theater_headers headers;
    theater_option body;
} theater_http_response;

/* The first value of a header, whose name may be in upper or lower case. */
theater_option theater_header_value(theater_headers headers, const char *name);

/* Whether the path of a URI fits a pattern such as "/users/{id}" or "/files/" followed by a star, as routes do. */
bool theater_path_fits(theater_bytes uri, const char *pattern);

/* What stands in the place of {name} in the path of a URI, without its escapes; none if the path does not fit. The name
 * of a star is "*", and what stands there keeps its escapes. */
theater_option theater_path_value(theater_bytes uri, const char *pattern, const char *name);

/* ---- "http-client" */

/* A response, or why there is none. */
typedef struct {
    bool ok;
    theater_http_response value;
    theater_bytes error;
} theater_http_result;

theater_http_result theater_http_send(theater_http_request request);

/* ---- "http-framework" */

/* Where a server listens. What is left out is 0: a free port, the loopback interface, no TLS. */
typedef struct {
    uint16_t port;
    theater_option host;
    theater_bytes certificate;  /* files; with both, the server speaks TLS */
    theater_bytes key;
} theater_server_config;

/* What a server is and does, or why that is not known. */
typedef struct {
    bool ok;
    uint16_t port;
    theater_bytes host;
    bool running;
    uint32_t routes;
    uint32_t middlewares;
    bool websockets;  /* whether any path accepts them */
    theater_bytes error;
} theater_server_info_result;

theater_number_result theater_create_server(theater_server_config config);                 /* the server's id */
theater_server_info_result theater_server_info(uint64_t server);
theater_number_result theater_start_server(uint64_t server);                               /* the port */
theater_result theater_stop_server(uint64_t server);
theater_result theater_destroy_server(uint64_t server);
theater_number_result theater_register_handler(theater_bytes name);                        /* the handler's id */
theater_number_result theater_add_route(uint64_t server, theater_bytes path, theater_bytes method, uint64_t handler);
theater_result theater_remove_route(uint64_t route);
theater_number_result theater_add_middleware(uint64_t server, theater_bytes path, uint64_t handler);
theater_result theater_remove_middleware(uint64_t middleware);

/* Accepts websockets on a path. Handlers begin at 1: 0 for `connect` or `disconnect` is none. */
theater_result theater_enable_websocket(uint64_t server, theater_bytes path, uint64_t connect, uint64_t message,
                                        uint64_t disconnect);
theater_result theater_disable_websocket(uint64_t server, theater_bytes path);

/* The kind of a message on a websocket. */
typedef enum {
    THEATER_TEXT,
    THEATER_BINARY,
    THEATER_CONNECT,
    THEATER_CLOSE,
    THEATER_PING,
    THEATER_PONG,
    THEATER_OTHER,
} theater_websocket_kind;

typedef struct {
    theater_websocket_kind kind;
    theater_bytes content;  /* text or bytes */
} theater_websocket_message;

theater_result theater_send_websocket(uint64_t server, uint64_t connection, theater_websocket_message message);
theater_result theater_close_websocket(uint64_t server, uint64_t connection);

/* To all websockets on a path, given as it was enabled, and to how many that was. */
theater_number_result theater_broadcast(uint64_t server, theater_bytes path, theater_websocket_message message);

/* Which they are, or why that is not known. */
typedef struct {
    bool ok;
    const uint64_t *items;
    size_t count;
    theater_bytes error;
} theater_connections_result;

theater_connections_result theater_connections(uint64_t server, theater_bytes path);

/* ---- handlers: what you write; each is told the id that theater_register_handler gave */

/* What theater_handle_http returns: made by theater_http_reply, theater_http_respond or theater_http_fail. */
typedef struct {
    bool ok;
    theater_option state;
    theater_http_response response;
    theater_bytes error;
} theater_http_answer;

/* A response with a content type, which may be NULL, and a body. */
theater_http_answer theater_http_reply(theater_option state, uint16_t status, const char *type, theater_bytes body);
theater_http_answer theater_http_respond(theater_option state, theater_http_response response);
theater_http_answer theater_http_fail(theater_bytes sentence);  /* the client gets status 500; the state stays */

theater_http_answer theater_handle_http(theater_option state, uint64_t handler, theater_http_request request);

/* What theater_handle_middleware returns: made by theater_proceed, or theater_stop with a response. */
typedef struct {
    bool ok;
    theater_option state;
    bool proceed;
    theater_http_request request;
    theater_bytes error;
} theater_middleware_answer;

theater_middleware_answer theater_proceed(theater_option state, theater_http_request request);
theater_middleware_answer theater_stop(theater_option state, theater_http_request request,
                                       theater_http_response response);

theater_middleware_answer theater_handle_middleware(theater_option state, uint64_t handler,
                                                    theater_http_request request);

theater_answer theater_handle_websocket_connect(theater_option state, uint64_t handler, uint64_t connection,
                                                theater_bytes path, theater_option query);

/* What theater_handle_websocket_message returns: the messages to send back. */
typedef struct {
    bool ok;
    theater_option state;
    const theater_websocket_message *items;
    size_t count;
    theater_bytes error;
} theater_websocket_answer;

theater_websocket_answer theater_handle_websocket_message(theater_option state, uint64_t handler, uint64_t connection,
                                                          theater_websocket_message message);

/* Called once for a connection, however it ended. */
theater_answer theater_handle_websocket_disconnect(theater_option state, uint64_t handler, uint64_t connection);

#endif
