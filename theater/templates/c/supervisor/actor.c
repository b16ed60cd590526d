/* {{name}}: starts two workers, gives each message to one of them, and counts their failures.
 *
 * Whether a worker that fails is started again is said by [supervision.children] in the manifest.
 */
#include <inttypes.h>

#include "theater.h"

#define WORKERS 2

static theater_option counted(int64_t turn, int64_t failures) {
    return theater_some(theater_format("{\"turn\":%" PRId64 ",\"failures\":%" PRId64 "}", turn, failures));
}

theater_answer theater_init(theater_option state, theater_bytes id) {
    (void)id;
    for (int i = 0; i < WORKERS; i++) {
        theater_result worker = theater_spawn(theater_text("worker/manifest.toml"), THEATER_NONE);
        if (!worker.ok) return theater_fail(worker.error);
    }
    return theater_ok(state.some ? state : counted(0, 0));
}

theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
    (void)id;
    int64_t turn = 0, failures = 0;
    bool report = false;
    theater_json_int(state.value, "turn", &turn);
    theater_json_int(state.value, "failures", &failures);
    theater_list workers = theater_children();
    if (theater_json_bool(body, "report", &report) && report)
        return theater_reply(state, theater_format("{\"workers\":%zu,\"failures\":%" PRId64 "}", workers.count, failures));
    turn++;
    theater_result answer = theater_request(workers.items[(size_t)turn % workers.count], body);
    return answer.ok ? theater_reply(counted(turn, failures), answer.value) : theater_fail(answer.error);
}

theater_answer theater_handle_child_error(theater_option state, theater_bytes child, theater_bytes reason) {
    int64_t turn = 0, failures = 0;
    theater_bytes kind = theater_text("unknown");
    theater_json_int(state.value, "turn", &turn);
    theater_json_int(state.value, "failures", &failures);
    theater_json_string(reason, "reason", &kind);
    theater_logf("the worker %s failed: %s", theater_string(child), theater_string(kind));
    return theater_ok(counted(turn, failures + 1));
}
