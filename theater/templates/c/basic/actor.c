/* {{name}}: counts what it is told to add.
 *
 * {"add": 2} is answered with {"count": ...}; {"crash": true} ends this life of the actor, to see it come back. The
 * state is {"count": ...} as well. What theater.h says about memory is all there is to know about it: nothing here is
 * ever freed.
 */
#include <inttypes.h>

#include "theater.h"

static theater_bytes count_as_json(int64_t count) { return theater_format("{\"count\":%" PRId64 "}", count); }

theater_answer theater_init(theater_option state, theater_bytes id) {
    (void)id;
    return theater_ok(state.some ? state : theater_some(count_as_json(0)));
}

theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
    (void)id;
    int64_t count, add;
    bool crash = false;
    if (theater_json_bool(body, "crash", &crash) && crash) __builtin_trap();
    if (!theater_json_int(body, "add", &add))
        return theater_fail(theater_text("this actor understands {\"add\": N} with a whole number N"));
    if (!theater_json_int(state.value, "count", &count)) return theater_fail(theater_text("the state is no count"));
    if (__builtin_add_overflow(count, add, &count)) return theater_fail(theater_text("the count would be too large"));
    theater_bytes counted = count_as_json(count);
    return theater_reply(theater_some(counted), counted);
}
