/* Calls what it is asked to call, and says what came of it. A request is words: VERB A B C, the last with spaces. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "theater.h"

static theater_bytes next(theater_bytes *rest) {
    const uint8_t *space = rest->size ? memchr(rest->data, ' ', rest->size) : NULL;
    size_t size = space ? (size_t)(space - rest->data) : rest->size, skipped = space ? size + 1 : size;
    theater_bytes word = {rest->data, size};
    *rest = (theater_bytes){rest->data + skipped, rest->size - skipped};
    return word;
}

static const char *text(theater_bytes bytes) { return theater_string(bytes); }

static theater_bytes optional(theater_option found) {
    return found.some ? theater_format("some %s", text(found.value)) : theater_text("none");
}

static theater_bytes result(theater_result found) {
    return found.ok ? theater_format("ok %s", text(found.value)) : theater_format("error %s", text(found.error));
}

static theater_bytes number(theater_number_result found) {
    return found.ok ? theater_format("ok %" PRIu64, found.value) : theater_format("error %s", text(found.error));
}

static theater_bytes items(theater_list found) {
    theater_bytes all = theater_format("%zu:", found.count);
    for (size_t i = 0; i < found.count; i++) all = theater_format("%s %s", text(all), text(found.items[i]));
    return all;
}

static theater_bytes list(theater_list_result found) {
    return found.ok ? items(found.value) : theater_format("error %s", text(found.error));
}

static theater_bytes option_result(theater_option_result found) {
    return found.ok ? optional(found.value) : theater_format("error %s", text(found.error));
}

static theater_bytes events(theater_events_result found) {
    if (!found.ok) return theater_format("error %s", text(found.error));
    theater_bytes all = theater_format("%zu:", found.count);
    for (size_t i = 0; i < found.count; i++) {
        const theater_child_event *event = &found.items[i];
        const char *parent = text(optional(event->parent)), *why = text(optional(event->description));
        all = theater_format("%s %s %s %s %s %" PRIu64 " %s", text(all), text(event->hash), parent, text(event->type),
                             text(event->data), event->timestamp, why);
    }
    return all;
}

static theater_bytes reason(theater_exit_reason why) {
    return theater_format("%s %s %u %d %d %d", why.kind, text(optional(why.detail)), (unsigned)why.signal,
                          why.has_status, (int)why.status, why.commanded);
}

static theater_bytes self(void) {
    theater_identity me = theater_self();
    return theater_format("%s %s %s %" PRIu64, text(me.id), text(me.name), text(optional(me.parent)), me.incarnation);
}

static theater_bytes deadline(void) {
    uint64_t when = 0;
    return theater_deadline(&when) ? theater_format("some %" PRIu64, when) : theater_text("none");
}

static theater_bytes json_int(theater_bytes key, theater_bytes json) {
    int64_t value;
    return theater_json_int(json, text(key), &value) ? theater_format("%" PRId64, value) : theater_text("no");
}

static theater_bytes json_bool(theater_bytes key, theater_bytes json) {
    bool value;
    return theater_json_bool(json, text(key), &value) ? theater_text(value ? "true" : "false") : theater_text("no");
}

static theater_bytes json_string(theater_bytes key, theater_bytes json) {
    theater_bytes value;
    return theater_json_string(json, text(key), &value) ? theater_format("%s", theater_json_quote(value))
                                                        : theater_text("no");
}

static int deep(int n) {
    volatile char room[4096];
    room[n % 4096] = 1;
    return n > 1000000 ? 0 : deep(n + 1) + room[0];
}

#define KEEP(...) return (void)state, theater_ok(theater_some(theater_format(__VA_ARGS__)))

theater_answer theater_handle_child_error(theater_option state, theater_bytes child, theater_bytes why) {
    theater_bytes kind = theater_text("nothing");
    theater_json_string(why, "reason", &kind);
    KEEP("error %s %s", text(child), text(kind));
}

theater_answer theater_handle_child_exit(theater_option state, theater_bytes child, theater_option data) {
    KEEP("exit %s %s", text(child), text(optional(data)));
}

theater_answer theater_handle_child_stopped(theater_option state, theater_bytes child) {
    KEEP("stopped %s", text(child));
}

theater_answer theater_handle_down(theater_option state, uint64_t monitor, theater_bytes actor,
                                   theater_exit_reason why) {
    KEEP("down %" PRIu64 " %s %s", monitor, text(actor), text(reason(why)));
}

theater_answer theater_handle_exit(theater_option state, theater_bytes actor, theater_exit_reason why) {
    if (why.commanded) return theater_fail(theater_text("as it was told"));
    KEEP("end %s %s", text(actor), text(reason(why)));
}

#define IS(word) theater_equal(verb, word)
#define SAY(bytes) return theater_reply(state, bytes)

theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
    theater_bytes rest = body, verb = next(&rest), all = rest, a = next(&rest), after_a = rest, b = next(&rest), c = rest;
    if (IS("id")) SAY(id);
    if (IS("echo")) SAY(all);
    if (IS("later")) return theater_later(theater_some(all));
    if (IS("fail")) return theater_fail(all);
    if (IS("log")) return theater_log(all), theater_ok(state);
    if (IS("shutdown")) SAY(result(theater_shutdown(all.size ? theater_some(all) : THEATER_NONE)));
    if (IS("self")) SAY(self());
    if (IS("sender")) SAY(optional(theater_sender()));
    if (IS("deadline")) SAY(deadline());
    if (IS("send")) SAY(result(theater_send(a, after_a)));
    if (IS("request")) SAY(result(theater_request(a, after_a)));
    if (IS("request-timeout")) SAY(result(theater_request_timeout(a, b, strtoull(text(c), NULL, 10))));
    if (IS("outstanding")) SAY(items(theater_outstanding_requests()));
    if (IS("respond")) SAY(result(theater_respond(a, after_a)));
    if (IS("cancel-request")) SAY(result(theater_cancel_request(a)));
    if (IS("register")) SAY(result(theater_register(a)));
    if (IS("unregister")) SAY(result(theater_unregister(a)));
    if (IS("whereis")) SAY(optional(theater_whereis(a)));
    if (IS("send-after")) SAY(number(theater_send_after(strtoull(text(a), NULL, 10), after_a)));
    if (IS("send-interval")) SAY(number(theater_send_interval(strtoull(text(a), NULL, 10), after_a)));
    if (IS("cancel-timer")) SAY(theater_text(theater_cancel_timer(strtoull(text(a), NULL, 10)) ? "yes" : "no"));
    if (IS("spawn")) SAY(result(theater_spawn(a, after_a.size ? theater_some(after_a) : THEATER_NONE)));
    if (IS("resume")) SAY(result(theater_resume(a, after_a.size ? theater_some(after_a) : THEATER_NONE)));
    if (IS("children")) SAY(items(theater_children()));
    if (IS("stop-child")) SAY(result(theater_stop_child(a)));
    if (IS("restart-child")) SAY(result(theater_restart_child(a)));
    if (IS("child-state")) SAY(option_result(theater_child_state(a)));
    if (IS("child-events")) SAY(events(theater_child_events(a)));
    if (IS("monitor")) SAY(number(theater_monitor(a)));
    if (IS("demonitor")) SAY(theater_text(theater_demonitor(strtoull(text(a), NULL, 10)) ? "yes" : "no"));
    if (IS("link")) SAY(result(theater_link(a)));
    if (IS("unlink")) SAY(result(theater_unlink(a)));
    if (IS("trap-exits")) return theater_trap_exits(theater_equal(a, "yes")), theater_reply(state, a);
    if (IS("store-new")) SAY(result(theater_store_new()));
    if (IS("store-put")) SAY(result(theater_store_put(a, after_a)));
    if (IS("secret")) SAY(result(theater_secret(a)));
    if (IS("store-get")) SAY(result(theater_store_get(a, b)));
    if (IS("store-exists")) SAY(number(theater_store_exists(a, b)));
    if (IS("store-label")) SAY(result(theater_store_label(a, b, c)));
    if (IS("store-get-by-label")) SAY(option_result(theater_store_get_by_label(a, b)));
    if (IS("store-remove-label")) SAY(result(theater_store_remove_label(a, b)));
    if (IS("store-remove-from-label")) SAY(result(theater_store_remove_from_label(a, b, c)));
    if (IS("store-put-at-label")) SAY(result(theater_store_put_at_label(a, b, c)));
    if (IS("store-replace-content-at-label")) SAY(result(theater_store_replace_content_at_label(a, b, c)));
    if (IS("store-replace-at-label")) SAY(result(theater_store_replace_at_label(a, b, c)));
    if (IS("store-labels")) SAY(list(theater_store_labels(a)));
    if (IS("store-contents")) SAY(list(theater_store_contents(a)));
    if (IS("store-size")) SAY(number(theater_store_size(a)));
    if (IS("json-int")) SAY(json_int(a, after_a));
    if (IS("json-bool")) SAY(json_bool(a, after_a));
    if (IS("json-string")) SAY(json_string(a, after_a));
    if (IS("allocate")) {
        size_t size = strtoull(text(a), NULL, 10);
        memset(theater_alloc(size), 1, size);
        SAY(theater_format("%zu", size));
    }
    if (IS("assert")) assert(!"asked to fail");
    if (IS("abort")) abort();
    if (IS("exit")) exit(0);
    if (IS("deep")) SAY(theater_format("%d", deep(0)));
    return theater_fail(theater_text("unknown verb"));
}
