/* {{name}}: talks to other actors, and answers some requests later.
 *
 * Requests:
 *     who               is answered with the actor's id
 *     ask NAME WORDS    asks the actor NAME with WORDS, and passes the answer on
 *     tell NAME WORDS   sends WORDS to the actor NAME, and is answered with `told`
 *     wait              is answered later
 * Any message that is no request is the answer to all who wait.
 */
#include <string.h>

#include "theater.h"

/* The part of `*rest` before the first space; `*rest` becomes what follows it. */
static theater_bytes next_word(theater_bytes *rest) {
    const uint8_t *space = rest->size ? memchr(rest->data, ' ', rest->size) : NULL;
    size_t size = space ? (size_t)(space - rest->data) : rest->size;
    theater_bytes word = {rest->data, size};
    size_t skipped = space ? size + 1 : size;
    *rest = (theater_bytes){rest->data + skipped, rest->size - skipped};
    return word;
}

static theater_answer ask(theater_option state, theater_bytes name, theater_bytes words) {
    theater_result answer = theater_request(name, words);
    return answer.ok ? theater_reply(state, answer.value) : theater_fail(answer.error);
}

static theater_answer tell(theater_option state, theater_bytes name, theater_bytes words) {
    theater_result sent = theater_send(name, words);
    return sent.ok ? theater_reply(state, theater_text("told")) : theater_fail(sent.error);
}

theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
    (void)id;
    theater_bytes rest = body, verb = next_word(&rest);
    if (theater_equal(verb, "who")) return theater_reply(state, theater_self().id);
    if (theater_equal(verb, "wait")) return theater_later(state);
    theater_bytes name = next_word(&rest);
    if (theater_equal(verb, "ask")) return ask(state, name, rest);
    if (theater_equal(verb, "tell")) return tell(state, name, rest);
    return theater_fail(theater_text("this actor understands who, wait, ask NAME WORDS and tell NAME WORDS"));
}

theater_answer theater_handle_send(theater_option state, theater_bytes message) {
    theater_list waiting = theater_outstanding_requests();
    for (size_t i = 0; i < waiting.count; i++) {
        theater_result answered = theater_respond(waiting.items[i], message);
        if (!answered.ok) theater_logf("nobody waits any more: %s", theater_string(answered.error));
    }
    return theater_ok(state);
}
