/* Counts what it is asked, whatever the request says; the state is the count as JSON. */
#include <inttypes.h>

#include "theater.h"

static theater_bytes count_as_json(int64_t count) { return theater_format("{\"count\":%" PRId64 "}", count); }

theater_answer theater_init(theater_option state, theater_bytes id) {
    (void)id;
    return theater_ok(state.some ? state : theater_some(count_as_json(0)));
}

theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
    int64_t count;
    (void)id;
    (void)body;
    if (!theater_json_int(state.value, "count", &count)) return theater_fail(theater_text("the state is no count"));
    theater_bytes counted = count_as_json(count + 1);
    return theater_reply(theater_some(counted), counted);
}
