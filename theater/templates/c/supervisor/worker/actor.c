/* {{name}}: one of the workers. */
#include <ctype.h>
#include <stdlib.h>

#include "theater.h"

theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
    (void)id;
    bool crash = false;
    if (theater_json_bool(body, "crash", &crash) && crash) {
        theater_log(theater_text("crashed, as the message told it to"));
        abort();
    }
    theater_bytes text;
    if (!theater_json_string(body, "work", &text))
        return theater_fail(theater_text("a worker understands {\"work\": TEXT} and {\"crash\": true}"));
    char *upper = theater_string(text);
    for (size_t i = 0; i < text.size; i++) upper[i] = (char)toupper((unsigned char)upper[i]);
    theater_bytes done = {(const uint8_t *)upper, text.size};
    return theater_reply(state, theater_format("{\"done\":%s}", theater_json_quote(done)));
}
