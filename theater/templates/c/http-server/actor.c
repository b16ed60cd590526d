/* {{name}}: an actor that answers HTTP. Its state is how often it was visited, in JSON.
 *
 * All routes lead to one handler, which looks at the path again. A restart keeps the server and its routes, and does
 * not call theater_init.
 */
#include <inttypes.h>

#include "theater_http.h"

static theater_option visited(int64_t visits) { return theater_some(theater_format("{\"visits\":%" PRId64 "}", visits)); }

static bool route(uint64_t server, uint64_t handler, const char *method, const char *path) {
    theater_number_result added = theater_add_route(server, theater_text(path), theater_text(method), handler);
    if (!added.ok) theater_log(added.error);
    return added.ok;
}

theater_answer theater_init(theater_option state, theater_bytes id) {
    (void)id;
    theater_number_result handler = theater_register_handler(theater_text("site"));
    if (!handler.ok) return theater_fail(handler.error);
    theater_number_result server = theater_create_server((theater_server_config){.port = 8080});
    if (!server.ok) return theater_fail(server.error);
    uint64_t it = server.value, site = handler.value;
    if (!route(it, site, "GET", "/") || !route(it, site, "GET", "/hello/{name}") || !route(it, site, "PUT", "/visits"))
        return theater_fail(theater_text("a route was refused"));
    theater_number_result port = theater_start_server(it);
    if (!port.ok) return theater_fail(port.error);
    return theater_ok(state.some ? state : visited(0));
}

theater_http_answer theater_handle_http(theater_option state, uint64_t handler, theater_http_request request) {
    (void)handler;
    int64_t visits = 0;
    if (theater_path_fits(request.uri, "/")) {
        theater_json_int(state.value, "visits", &visits);
        theater_bytes said = theater_format("visit %" PRId64 "\n", visits + 1);
        return theater_http_reply(visited(visits + 1), 200, "text/plain; charset=utf-8", said);
    }
    if (theater_path_fits(request.uri, "/hello/{name}")) {
        theater_option name = theater_path_value(request.uri, "/hello/{name}", "name");
        theater_bytes said = theater_format("Hello, %s!\n", theater_string(name.value));
        return theater_http_reply(state, 200, "text/plain; charset=utf-8", said);
    }
    if (!theater_json_int(request.body.value, "visits", &visits))
        return theater_http_reply(state, 400, "text/plain; charset=utf-8",
                                  theater_text("this actor understands {\"visits\": N} with a whole number N\n"));
    return theater_http_respond(visited(visits), (theater_http_response){.status = 204});
}
