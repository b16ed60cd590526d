/* Calls what it is asked to call of files, programs, clocks, chance, channels and HTTP, and says what came of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "theater_http.h"
#include "theater_process.h"

static theater_bytes next(theater_bytes *rest) {
    const uint8_t *space = rest->size ? memchr(rest->data, ' ', rest->size) : NULL;
    size_t size = space ? (size_t)(space - rest->data) : rest->size, skipped = space ? size + 1 : size;
    theater_bytes word = {rest->data, size};
    *rest = (theater_bytes){rest->data + skipped, rest->size - skipped};
    return word;
}

static const char *text(theater_bytes bytes) { return theater_string(bytes); }

static uint64_t value(theater_bytes bytes) { return strtoull(text(bytes), NULL, 10); }

static theater_bytes said(bool ok, theater_bytes value, theater_bytes error) {
    return ok ? theater_format("ok %s", text(value)) : theater_format("error %s", text(error));
}

static theater_bytes result(theater_result found) { return said(found.ok, found.value, found.error); }

static theater_bytes number(theater_number_result found) {
    return said(found.ok, theater_format("%" PRIu64, found.value), found.error);
}

static theater_bytes optional(theater_option found) {
    return found.some ? theater_format("some %s", text(found.value)) : theater_text("none");
}

static theater_bytes list(theater_list_result found) {
    theater_bytes all = theater_text("");
    for (size_t i = 0; i < found.value.count && found.ok; i++)
        all = theater_format("%s[%s]", text(all), text(found.value.items[i]));
    return said(found.ok, all, found.error);
}

static theater_bytes ran(theater_ran found) {
    return said(found.ok, theater_format("%d %s %s", (int)found.status, text(found.output), text(found.errors)), found.error);
}

static theater_bytes variables(theater_variables found) {
    theater_bytes all = theater_text("");
    for (size_t i = 0; i < found.count; i++)
        all = theater_format("%s[%s=%s]", text(all), text(found.items[i].name), text(found.items[i].value));
    return all;
}

static theater_bytes headers(theater_headers found) {
    theater_bytes all = theater_text("");
    for (size_t i = 0; i < found.count; i++)
        all = theater_format("%s[%s: %s]", text(all), text(found.items[i].name), text(found.items[i].value));
    return all;
}

static theater_bytes fetch(theater_bytes method, theater_bytes url, theater_bytes body) {
    theater_header header = {theater_text("X-From"), theater_text("c")};
    theater_http_request request = {method, url, {&header, 1}, body.size ? theater_some(body) : THEATER_NONE};
    theater_http_result found = theater_http_send(request);
    if (!found.ok) return theater_format("error %s", text(found.error));
    theater_http_response it = found.value;
    return theater_format("%d %s %s", it.status, text(headers(it.headers)), text(optional(it.body)));
}

static theater_bytes info(uint64_t server) {
    theater_server_info_result it = theater_server_info(server);
    theater_bytes all = theater_format("%s:%d %d %u %u %d", text(it.host), it.port, it.running, (unsigned)it.routes,
                                       (unsigned)it.middlewares, it.websockets);
    return said(it.ok, all, it.error);
}

static theater_bytes status(uint64_t process) {
    theater_process_status_result it = theater_process_status(process);
    theater_bytes all = theater_format("%d %d %d %" PRIu64, it.running, it.has_status, (int)it.status, it.started);
    return said(it.ok, all, it.error);
}

static theater_bytes start(theater_bytes program, theater_bytes folder, theater_bytes argument) {
    theater_variable variable = {theater_text("LANG"), theater_text("C")};
    return number(theater_start_program((theater_program){.program = program,
                                                          .args = &argument,
                                                          .args_count = argument.size != 0,
                                                          .folder = folder.size ? theater_some(folder) : THEATER_NONE,
                                                          .environment = &variable,
                                                          .environment_count = folder.size != 0,
                                                          .output = THEATER_LINES,
                                                          .errors = argument.size ? THEATER_CHUNKS : THEATER_RAW,
                                                          .chunk = argument.size ? 7 : 0,
                                                          .timeout = argument.size ? 9 : 0}));
}

static theater_bytes file_info(theater_bytes path) {
    theater_file_info_result it = theater_file_info(path);
    theater_bytes all = theater_format("%d %s %" PRIu64 " %" PRIu64, it.exists, it.ok ? it.kind : "", it.size, it.modified);
    return said(it.ok, all, it.error);
}

static theater_bytes connections(uint64_t server, theater_bytes path) {
    theater_connections_result it = theater_connections(server, path);
    theater_bytes all = theater_text("");
    for (size_t i = 0; i < it.count && it.ok; i++) all = theater_format("%s[%" PRIu64 "]", text(all), it.items[i]);
    return said(it.ok, all, it.error);
}

static theater_bytes create(theater_bytes port, theater_bytes host, theater_bytes certificate) {
    theater_server_config config = {.port = (uint16_t)value(port), .host = host.size ? theater_some(host) : THEATER_NONE,
                                    .certificate = certificate, .key = certificate};
    return number(theater_create_server(config));
}

#define IS(word) theater_equal(verb, word)
#define SAY(bytes) return theater_reply(state, bytes)

theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
    theater_bytes rest = body, verb = next(&rest), a = next(&rest), after_a = rest, b = next(&rest), after_b = rest;
    theater_bytes c = next(&rest), d = rest;
    (void)id;
    if (IS("read-file")) SAY(result(theater_read_file(a)));
    if (IS("write-file")) SAY(result(theater_write_file(a, after_a)));
    if (IS("list-files")) SAY(list(theater_list_files(a)));
    if (IS("delete-file")) SAY(result(theater_delete_file(a)));
    if (IS("create-folder")) SAY(result(theater_create_folder(a)));
    if (IS("delete-folder")) SAY(result(theater_delete_folder(a)));
    if (IS("path-exists")) SAY(number(theater_path_exists(a)));
    if (IS("write-bytes")) SAY(result(theater_write_bytes(a, after_a)));
    if (IS("append-file")) SAY(result(theater_append_file(a, after_a)));
    if (IS("read-part")) SAY(result(theater_read_part(a, value(b), (uint32_t)value(c))));
    if (IS("rename")) SAY(result(theater_rename(a, b)));
    if (IS("file-info")) SAY(file_info(a));
    if (IS("broadcast-text")) SAY(number(theater_broadcast(value(a), b, (theater_websocket_message){THEATER_TEXT, after_b})));
    if (IS("broadcast-binary"))
        SAY(number(theater_broadcast(value(a), b, (theater_websocket_message){THEATER_BINARY, after_b})));
    if (IS("connections")) SAY(connections(value(a), b));
    if (IS("run")) SAY(ran(theater_run(a, b, &after_b, after_b.size != 0)));
    if (IS("run-nix")) SAY(ran(theater_run_nix(a, after_a)));
    if (IS("now")) SAY(theater_format("%" PRIu64, theater_now()));
    if (IS("sleep")) SAY(result(theater_sleep(value(a))));
    if (IS("sleep-until")) SAY(result(theater_sleep_until(value(a))));
    if (IS("random-bytes")) SAY(result(theater_random_bytes((uint32_t)value(a))));
    if (IS("random-range")) SAY(number(theater_random_range(value(a), value(b))));
    if (IS("random-float")) {
        theater_float_result found = theater_random_float();
        SAY(said(found.ok, theater_format("%g", found.value), found.error));
    }
    if (IS("uuid")) SAY(result(theater_uuid()));
    if (IS("variable")) SAY(optional(theater_variable_value(a)));
    if (IS("variables")) SAY(variables(theater_all_variables()));
    if (IS("has-variable")) SAY(theater_text(theater_has_variable(a) ? "yes" : "no"));
    if (IS("open-channel")) SAY(result(theater_open_channel(a, after_a)));
    if (IS("send-on-channel")) SAY(result(theater_send_on_channel(a, after_a)));
    if (IS("close-channel")) SAY(result(theater_close_channel(a)));
    if (IS("start")) SAY(start(a, b, after_b));
    if (IS("write-input")) SAY(number(theater_write_input(value(a), after_a)));
    if (IS("status")) SAY(status(value(a)));
    if (IS("signal")) SAY(result(theater_signal_process(value(a), (uint32_t)value(b))));
    if (IS("kill")) SAY(result(theater_kill_process(value(a))));
    if (IS("fetch")) SAY(fetch(a, b, after_b));
    if (IS("create-server")) SAY(create(a, b, c));
    if (IS("server-info")) SAY(info(value(a)));
    if (IS("start-server")) SAY(number(theater_start_server(value(a))));
    if (IS("stop-server")) SAY(result(theater_stop_server(value(a))));
    if (IS("destroy-server")) SAY(result(theater_destroy_server(value(a))));
    if (IS("register-handler")) SAY(number(theater_register_handler(a)));
    if (IS("add-route")) SAY(number(theater_add_route(value(a), b, c, value(d))));
    if (IS("remove-route")) SAY(result(theater_remove_route(value(a))));
    if (IS("add-middleware")) SAY(number(theater_add_middleware(value(a), b, value(c))));
    if (IS("remove-middleware")) SAY(result(theater_remove_middleware(value(a))));
    if (IS("enable-websocket")) SAY(result(theater_enable_websocket(value(a), b, value(c), value(d), 0)));
    if (IS("disable-websocket")) SAY(result(theater_disable_websocket(value(a), b)));
    if (IS("send-text")) SAY(result(theater_send_websocket(value(a), value(b), (theater_websocket_message){THEATER_TEXT, after_b})));
    if (IS("send-binary"))
        SAY(result(theater_send_websocket(value(a), value(b), (theater_websocket_message){THEATER_BINARY, after_b})));
    if (IS("close-websocket")) SAY(result(theater_close_websocket(value(a), value(b))));
    if (IS("path")) SAY(optional(theater_path_value(a, text(b), text(c))));
    if (IS("fits")) SAY(theater_text(theater_path_fits(a, text(b)) ? "yes" : "no"));
    return theater_fail(theater_text("unknown verb"));
}

#define KEEP(...) return (void)state, theater_ok(theater_some(theater_format(__VA_ARGS__)))

theater_answer theater_handle_channel_open(theater_option state, theater_bytes channel, theater_bytes message) {
    if (theater_equal(message, "no")) return theater_fail(theater_text("closed today"));
    return theater_equal(message, "silent") ? theater_ok(state) : theater_reply(theater_some(channel), message);
}

theater_answer theater_handle_channel_message(theater_option state, theater_bytes channel, theater_bytes message) {
    KEEP("%s said %s", text(channel), text(message));
}

theater_answer theater_handle_channel_close(theater_option state, theater_bytes channel) {
    KEEP("%s is closed", text(channel));
}

theater_answer theater_handle_stdout(theater_option state, uint64_t process, theater_bytes data) {
    KEEP("out %" PRIu64 " %s", process, text(data));
}

theater_answer theater_handle_stderr(theater_option state, uint64_t process, theater_bytes data) {
    KEEP("err %" PRIu64 " %s", process, text(data));
}

theater_answer theater_handle_process_exit(theater_option state, uint64_t process, int32_t status) {
    KEEP("exit %" PRIu64 " %d", process, (int)status);
}

theater_http_answer theater_handle_http(theater_option state, uint64_t handler, theater_http_request request) {
    if (handler == 0) return theater_http_fail(theater_text("no such handler"));
    if (handler == 1) return theater_http_respond(state, (theater_http_response){.status = 204});
    theater_bytes kind = theater_header_value(request.headers, "Content-Type").value;
    theater_bytes body = theater_format("%s %s %s", text(request.method), text(request.uri), text(optional(request.body)));
    return theater_http_reply(theater_some(kind), 201, "text/plain", body);
}

theater_middleware_answer theater_handle_middleware(theater_option state, uint64_t handler, theater_http_request request) {
    if (handler == 1) return theater_proceed(state, request);
    theater_http_response refusal = {.status = 403, .body = theater_some(theater_text("no"))};
    return theater_stop(state, request, refusal);
}

theater_answer theater_handle_websocket_connect(theater_option state, uint64_t handler, uint64_t connection,
                                                theater_bytes path, theater_option query) {
    KEEP("%" PRIu64 " %" PRIu64 " %s %s", handler, connection, text(path), text(optional(query)));
}

theater_websocket_answer theater_handle_websocket_message(theater_option state, uint64_t handler, uint64_t connection,
                                                          theater_websocket_message message) {
    theater_websocket_message *both = theater_alloc(2 * sizeof *both);
    both[0] = message;
    both[1] = (theater_websocket_message){THEATER_TEXT, theater_format("%d", (int)message.kind)};
    (void)handler, (void)connection;
    return (theater_websocket_answer){.ok = true, .state = state, .items = both, .count = 2};
}

theater_answer theater_handle_websocket_disconnect(theater_option state, uint64_t handler, uint64_t connection) {
    KEEP("%" PRIu64 " %" PRIu64 " is gone", handler, connection);
}
