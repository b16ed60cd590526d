/* theater_http.h, as theater.c is to theater.h. */
#include "theater_http.h"

#include <string.h>

#include "theater_bridge.h"

#define CLIENT "theater:simple/http-client"
#define FRAMEWORK "theater:simple/http-framework"
#define WEBSOCKETS "theater:otp/websockets@0.1.0"
#define HANDLERS "theater:simple/http-handlers"

/* ---- layouts */

/* record http-request */
typedef struct {
    theater_bytes method, uri;
    theater_headers headers;
    option_memory body;
} request_memory;

/* record http-response */
typedef struct {
    uint16_t status;
    theater_headers headers;
    option_memory body;
} response_memory;

/* result<http-response, string> */
typedef struct {
    uint8_t failed;
    union {
        response_memory value;
        theater_bytes error;
    };
} response_result_memory;

/* result<u16, string> */
typedef struct {
    uint8_t failed;
    union {
        uint16_t value;
        theater_bytes error;
    };
} port_result_memory;

/* result<server-info, string> */
typedef struct {
    uint8_t failed;
    union {
        struct {
            uint64_t id;
            uint16_t port;
            theater_bytes host;
            uint8_t running;
            uint32_t routes, middlewares;
            uint8_t websockets;
        };
        theater_bytes error;
    };
} info_memory;

/* result<list<u64>, string> */
typedef struct {
    uint8_t failed;
    union {
        struct {
            const uint64_t *items;
            size_t count;
        };
        theater_bytes error;
    };
} connections_memory;

/* record websocket-message; the kind is a variant, of which `other` has a text */
typedef struct {
    uint8_t kind;
    theater_bytes other;
    option_memory data, text;
} message_memory;

#define REQUEST BYTES, BYTES, const theater_header *, size_t, int32_t, BYTES
#define R(it) B((it).method), B((it).uri), (it).headers.items, (it).headers.count, (it).body.some, B((it).body.value)

IMPORT(CLIENT, "send-http") void import_http_send(REQUEST, response_result_memory *);
IMPORT(FRAMEWORK, "create-server")
void import_create_server(int32_t, int32_t, int32_t, BYTES, int32_t, BYTES, BYTES, number_result_memory *);
IMPORT(FRAMEWORK, "get-server-info") void import_server_info(uint64_t, info_memory *);
IMPORT(FRAMEWORK, "start-server") void import_start_server(uint64_t, port_result_memory *);
IMPORT(FRAMEWORK, "stop-server") void import_stop_server(uint64_t, result_memory *);
IMPORT(FRAMEWORK, "destroy-server") void import_destroy_server(uint64_t, result_memory *);
IMPORT(FRAMEWORK, "register-handler") void import_register_handler(BYTES, number_result_memory *);
IMPORT(FRAMEWORK, "add-route") void import_add_route(uint64_t, BYTES, BYTES, uint64_t, number_result_memory *);
IMPORT(FRAMEWORK, "remove-route") void import_remove_route(uint64_t, result_memory *);
IMPORT(FRAMEWORK, "add-middleware") void import_add_middleware(uint64_t, BYTES, uint64_t, number_result_memory *);
IMPORT(FRAMEWORK, "remove-middleware") void import_remove_middleware(uint64_t, result_memory *);
IMPORT(FRAMEWORK, "enable-websocket")
void import_enable_websocket(uint64_t, BYTES, int32_t, uint64_t, uint64_t, int32_t, uint64_t, result_memory *);
IMPORT(FRAMEWORK, "disable-websocket") void import_disable_websocket(uint64_t, BYTES, result_memory *);
IMPORT(FRAMEWORK, "send-websocket-message")
void import_send_websocket(uint64_t, uint64_t, int32_t, BYTES, int32_t, BYTES, int32_t, BYTES, result_memory *);
IMPORT(FRAMEWORK, "close-websocket") void import_close_websocket(uint64_t, uint64_t, result_memory *);

IMPORT(WEBSOCKETS, "broadcast-text") void import_broadcast_text(uint64_t, BYTES, BYTES, short_result_memory *);
IMPORT(WEBSOCKETS, "broadcast-binary") void import_broadcast_binary(uint64_t, BYTES, BYTES, short_result_memory *);
IMPORT(WEBSOCKETS, "connections") void import_connections(uint64_t, BYTES, connections_memory *);

/* ---- values */

static uint8_t lower(uint8_t sign) { return sign >= 'A' && sign <= 'Z' ? sign + ('a' - 'A') : sign; }

theater_option theater_header_value(theater_headers headers, const char *name) {
    for (size_t i = 0; i < headers.count; i++) {
        theater_bytes found = headers.items[i].name;
        size_t size = strlen(name), same = 0;
        if (found.size != size) continue;
        while (same < size && lower(found.data[same]) == lower((uint8_t)name[same])) same++;
        if (same == size) return theater_some(headers.items[i].value);
    }
    return THEATER_NONE;
}

/* What is left of a text, and the segment that was taken from it last. */
typedef struct {
    theater_bytes segment, rest;
    bool over;
} segments;

static segments segments_of(theater_bytes path) {
    bool rooted = path.size && path.data[0] == '/';
    return (segments){.rest = {path.data + rooted, path.size - rooted}, .over = !rooted};
}

static bool next_segment(segments *of) {
    if (of->over) return false;
    const uint8_t *slash = of->rest.size ? memchr(of->rest.data, '/', of->rest.size) : NULL;
    size_t size = slash ? (size_t)(slash - of->rest.data) : of->rest.size;
    of->segment = (theater_bytes){of->rest.data, size};
    of->over = !slash;
    if (slash) of->rest = (theater_bytes){slash + 1, of->rest.size - size - 1};
    return true;
}

static int hex(uint8_t sign) {
    sign = lower(sign);
    return sign >= '0' && sign <= '9' ? sign - '0' : sign >= 'a' && sign <= 'f' ? sign - 'a' + 10 : -1;
}

static theater_bytes unescaped(theater_bytes text) {
    if (!text.size || !memchr(text.data, '%', text.size)) return text;
    uint8_t *plain = theater_alloc(text.size);
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        bool escape = text.data[i] == '%' && i + 2 < text.size && hex(text.data[i + 1]) >= 0 && hex(text.data[i + 2]) >= 0;
        plain[size++] = escape ? (uint8_t)(hex(text.data[i + 1]) * 16 + hex(text.data[i + 2])) : text.data[i];
        if (escape) i += 2;
    }
    return (theater_bytes){plain, size};
}

static bool same(theater_bytes one, theater_bytes other) {
    return one.size == other.size && (one.size == 0 || memcmp(one.data, other.data, one.size) == 0);
}

/* Whether a path fits, and what stands in the place of `name`, if that is not NULL. */
static bool match(theater_bytes uri, const char *pattern, const char *name, theater_option *value) {
    const uint8_t *query = uri.size ? memchr(uri.data, '?', uri.size) : NULL;
    segments path = segments_of((theater_bytes){uri.data, query ? (size_t)(query - uri.data) : uri.size});
    segments wanted = segments_of(theater_text(pattern));
    while (next_segment(&wanted)) {
        theater_bytes want = wanted.segment;
        if (wanted.over && theater_equal(want, "*")) {
            if (path.over) return false;
            if (name && strcmp(name, "*") == 0) *value = theater_some(path.rest);
            return true;
        }
        if (!next_segment(&path)) return false;
        if (want.size > 1 && want.data[0] == '{' && want.data[want.size - 1] == '}') {
            if (path.segment.size == 0) return false;
            theater_bytes called = {want.data + 1, want.size - 2};
            if (name && theater_equal(called, name)) *value = theater_some(unescaped(path.segment));
        } else if (!same(unescaped(want), unescaped(path.segment))) return false;
    }
    return path.over;
}

bool theater_path_fits(theater_bytes uri, const char *pattern) { return match(uri, pattern, NULL, NULL); }

theater_option theater_path_value(theater_bytes uri, const char *pattern, const char *name) {
    theater_option value = THEATER_NONE;
    return match(uri, pattern, name, &value) ? value : THEATER_NONE;
}

theater_http_answer theater_http_respond(theater_option state, theater_http_response response) {
    return (theater_http_answer){.ok = true, .state = state, .response = response};
}

theater_http_answer theater_http_reply(theater_option state, uint16_t status, const char *type, theater_bytes body) {
    theater_http_response response = {.status = status, .body = theater_some(body)};
    if (type) {
        theater_header *header = theater_alloc(sizeof *header);
        *header = (theater_header){theater_text("content-type"), theater_text(type)};
        response.headers = (theater_headers){header, 1};
    }
    return theater_http_respond(state, response);
}

theater_http_answer theater_http_fail(theater_bytes sentence) {
    return (theater_http_answer){.ok = false, .error = sentence};
}

theater_middleware_answer theater_proceed(theater_option state, theater_http_request request) {
    return (theater_middleware_answer){.ok = true, .state = state, .proceed = true, .request = request};
}

/* The host finds the response in the request that does not go on: its status in the place of the method. */
theater_middleware_answer theater_stop(theater_option state, theater_http_request request,
                                       theater_http_response response) {
    theater_http_request told = {theater_format("%u", (unsigned)response.status), request.uri, response.headers,
                                 response.body};
    return (theater_middleware_answer){.ok = true, .state = state, .proceed = false, .request = told};
}

/* ---- host calls */

theater_http_result theater_http_send(theater_http_request request) {
    response_result_memory found;
    import_http_send(R(request), &found);
    if (found.failed) return (theater_http_result){.ok = false, .error = found.error};
    theater_http_response response = {found.value.status, found.value.headers, read_option(&found.value.body)};
    return (theater_http_result){.ok = true, .value = response};
}

theater_number_result theater_create_server(theater_server_config config) {
    number_result_memory found;
    bool tls = config.certificate.size && config.key.size;
    import_create_server(config.port != 0, config.port, config.host.some, B(config.host.value), tls,
                         B(config.certificate), B(config.key), &found);
    return read_number(&found);
}

theater_server_info_result theater_server_info(uint64_t server) {
    info_memory found;
    import_server_info(server, &found);
    if (found.failed) return (theater_server_info_result){.ok = false, .error = found.error};
    return (theater_server_info_result){.ok = true,
                                        .port = found.port,
                                        .host = found.host,
                                        .running = found.running != 0,
                                        .routes = found.routes,
                                        .middlewares = found.middlewares,
                                        .websockets = found.websockets != 0};
}

theater_number_result theater_start_server(uint64_t server) {
    port_result_memory found;
    import_start_server(server, &found);
    if (found.failed) return (theater_number_result){.ok = false, .error = found.error};
    return (theater_number_result){.ok = true, .value = found.value};
}

theater_result theater_stop_server(uint64_t server) {
    result_memory found;
    import_stop_server(server, &found);
    return read_outcome(&found);
}

theater_result theater_destroy_server(uint64_t server) {
    result_memory found;
    import_destroy_server(server, &found);
    return read_outcome(&found);
}

theater_number_result theater_register_handler(theater_bytes name) {
    number_result_memory found;
    import_register_handler(B(name), &found);
    return read_number(&found);
}

theater_number_result theater_add_route(uint64_t server, theater_bytes path, theater_bytes method, uint64_t handler) {
    number_result_memory found;
    import_add_route(server, B(path), B(method), handler, &found);
    return read_number(&found);
}

theater_result theater_remove_route(uint64_t route) {
    result_memory found;
    import_remove_route(route, &found);
    return read_outcome(&found);
}

theater_number_result theater_add_middleware(uint64_t server, theater_bytes path, uint64_t handler) {
    number_result_memory found;
    import_add_middleware(server, B(path), handler, &found);
    return read_number(&found);
}

theater_result theater_remove_middleware(uint64_t middleware) {
    result_memory found;
    import_remove_middleware(middleware, &found);
    return read_outcome(&found);
}

theater_result theater_enable_websocket(uint64_t server, theater_bytes path, uint64_t connect, uint64_t message,
                                        uint64_t disconnect) {
    result_memory found;
    import_enable_websocket(server, B(path), connect != 0, connect, message, disconnect != 0, disconnect, &found);
    return read_outcome(&found);
}

theater_result theater_disable_websocket(uint64_t server, theater_bytes path) {
    result_memory found;
    import_disable_websocket(server, B(path), &found);
    return read_outcome(&found);
}

/* A message crosses with its content as data or as text. */
static message_memory crossing(theater_websocket_message message) {
    bool text = message.kind == THEATER_TEXT;
    theater_option content = theater_some(message.content);
    return (message_memory){.kind = (uint8_t)message.kind,
                            .data = option_of(text ? THEATER_NONE : content),
                            .text = option_of(text ? content : THEATER_NONE)};
}

theater_result theater_send_websocket(uint64_t server, uint64_t connection, theater_websocket_message message) {
    result_memory found;
    message_memory it = crossing(message);
    import_send_websocket(server, connection, it.kind, B(it.other), it.data.some, B(it.data), it.text.some, B(it.text),
                          &found);
    return read_outcome(&found);
}

theater_result theater_close_websocket(uint64_t server, uint64_t connection) {
    result_memory found;
    import_close_websocket(server, connection, &found);
    return read_outcome(&found);
}

theater_number_result theater_broadcast(uint64_t server, theater_bytes path, theater_websocket_message message) {
    short_result_memory found;
    if (message.kind == THEATER_TEXT) import_broadcast_text(server, B(path), B(message.content), &found);
    else import_broadcast_binary(server, B(path), B(message.content), &found);
    return read_short(&found);
}

theater_connections_result theater_connections(uint64_t server, theater_bytes path) {
    connections_memory found;
    import_connections(server, B(path), &found);
    if (found.failed) return (theater_connections_result){.ok = false, .error = found.error};
    return (theater_connections_result){.ok = true, .items = found.items, .count = found.count};
}

/* ---- handlers */

WEAK theater_http_answer theater_handle_http(theater_option state, uint64_t handler, theater_http_request request) {
    (void)state, (void)handler, (void)request;
    return theater_http_fail(theater_text("this actor answers no HTTP"));
}

WEAK theater_middleware_answer theater_handle_middleware(theater_option state, uint64_t handler,
                                                         theater_http_request request) {
    (void)handler;
    return theater_proceed(state, request);
}

WEAK theater_answer theater_handle_websocket_connect(theater_option state, uint64_t handler, uint64_t connection,
                                                     theater_bytes path, theater_option query) {
    (void)handler, (void)connection, (void)path, (void)query;
    return theater_ok(state);
}

WEAK theater_websocket_answer theater_handle_websocket_message(theater_option state, uint64_t handler,
                                                               uint64_t connection,
                                                               theater_websocket_message message) {
    (void)handler, (void)connection, (void)message;
    return (theater_websocket_answer){.ok = true, .state = state};
}

WEAK theater_answer theater_handle_websocket_disconnect(theater_option state, uint64_t handler, uint64_t connection) {
    (void)handler, (void)connection;
    return theater_ok(state);
}

/* result<tuple<option<list<u8>>, tuple<http-response>>, string> */
typedef struct {
    uint8_t failed;
    union {
        struct {
            option_memory state;
            response_memory response;
        };
        theater_bytes error;
    };
} http_answer_memory;

/* result<tuple<option<list<u8>>, tuple<middleware-result>>, string> */
typedef struct {
    uint8_t failed;
    union {
        struct {
            option_memory state;
            uint8_t proceed;
            request_memory request;
        };
        theater_bytes error;
    };
} middleware_answer_memory;

/* result<tuple<option<list<u8>>, tuple<list<websocket-message>>>, string> */
typedef struct {
    uint8_t failed;
    union {
        struct {
            option_memory state;
            const message_memory *messages;
            size_t count;
        };
        theater_bytes error;
    };
} websocket_answer_memory;

#define ASKED \
    const uint8_t *method, size_t method_size, const uint8_t *uri, size_t uri_size, const theater_header *headers, \
        size_t headers_count, OPTION(body)
#define THE_REQUEST \
    ((theater_http_request){{method, method_size}, {uri, uri_size}, {headers, headers_count}, THE_OPTION(body)})

EXPORT(HANDLERS "#handle-request") http_answer_memory *export_http(STATE, uint64_t handler, ASKED) {
    theater_http_answer answer = theater_handle_http(THE_STATE, handler, THE_REQUEST);
    http_answer_memory *given = theater_alloc(sizeof *given);
    given->failed = !answer.ok;
    if (answer.ok) {
        given->state = option_of(answer.state);
        given->response = (response_memory){answer.response.status, answer.response.headers,
                                            option_of(answer.response.body)};
    } else given->error = answer.error;
    return given;
}

EXPORT(HANDLERS "#handle-middleware") middleware_answer_memory *export_middleware(STATE, uint64_t handler, ASKED) {
    theater_middleware_answer answer = theater_handle_middleware(THE_STATE, handler, THE_REQUEST);
    middleware_answer_memory *given = theater_alloc(sizeof *given);
    given->failed = !answer.ok;
    if (answer.ok) {
        given->state = option_of(answer.state);
        given->proceed = answer.proceed;
        given->request = (request_memory){answer.request.method, answer.request.uri, answer.request.headers,
                                          option_of(answer.request.body)};
    } else given->error = answer.error;
    return given;
}

EXPORT(HANDLERS "#handle-websocket-connect")
answer_memory *export_websocket_connect(STATE, uint64_t handler, uint64_t connection, const uint8_t *path, size_t size,
                                        OPTION(query)) {
    theater_bytes where = {path, size};
    return give_answer(theater_handle_websocket_connect(THE_STATE, handler, connection, where, THE_OPTION(query)));
}

EXPORT(HANDLERS "#handle-websocket-message")
websocket_answer_memory *export_websocket_message(STATE, uint64_t handler, uint64_t connection, int32_t kind,
                                                  const uint8_t *other, size_t other_size, OPTION(data), OPTION(text)) {
    (void)other, (void)other_size;
    theater_bytes content = has_text ? (theater_bytes){text, text_size} : THE_OPTION(data).value;
    theater_websocket_message message = {(theater_websocket_kind)kind, content};
    theater_websocket_answer answer = theater_handle_websocket_message(THE_STATE, handler, connection, message);
    websocket_answer_memory *given = theater_alloc(sizeof *given);
    given->failed = !answer.ok;
    if (answer.ok) {
        message_memory *messages = theater_alloc(answer.count * sizeof *messages);
        for (size_t i = 0; i < answer.count; i++) messages[i] = crossing(answer.items[i]);
        given->state = option_of(answer.state);
        given->messages = messages;
        given->count = answer.count;
    } else given->error = answer.error;
    return given;
}

EXPORT(HANDLERS "#handle-websocket-disconnect")
answer_memory *export_websocket_disconnect(STATE, uint64_t handler, uint64_t connection) {
    return give_answer(theater_handle_websocket_disconnect(THE_STATE, handler, connection));
}

AFTER(HANDLERS "#handle-request", after_http)
AFTER(HANDLERS "#handle-middleware", after_middleware)
AFTER(HANDLERS "#handle-websocket-connect", after_websocket_connect)
AFTER(HANDLERS "#handle-websocket-message", after_websocket_message)
AFTER(HANDLERS "#handle-websocket-disconnect", after_websocket_disconnect)
