/* Theater actors in C.
 *
 * Write any of the three handlers below; one that you leave out answers with an error. Include this header in your
 * files and let `theater build` compile them together with theater.c.
 *
 *     #include "theater.h"
 *
 *     theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
 *         return theater_reply(state, body);
 *     }
 *
 * State. The host keeps the actor's state between calls: each handler gets it and returns the new one. Variables of
 * your own live as long as one life of the actor; after a restart only the state is left.
 *
 * Memory. Whatever the host hands in, whatever a function below returns and whatever theater_alloc gives lives until
 * the call is over and the host has taken the answer; then all of it is gone at once. Nothing needs to be freed, and
 * nothing of it may be kept for a later call: copy it with malloc for that. What you return may lie anywhere that
 * lives until then: there, in malloc'ed or static memory, in a literal; not in a local variable of your function.
 *
 * Text is UTF-8 and, like all bytes here, has a size and no NUL at its end. Text that is handed to the host and is not
 * UTF-8 traps.
 *
 * A trap (an abort, a failed assert, a division by zero, an access out of bounds) ends this life of the actor; its
 * supervisor starts the next one. So does exit, whatever its status.
 */
#ifndef THEATER_H
#define THEATER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- values */

/* Bytes or text. */
typedef struct {
    const uint8_t *data;
    size_t size;
} theater_bytes;

/* Bytes that may be absent. */
typedef struct {
    bool some;
    theater_bytes value;
} theater_option;

/* What a host call came to: ok, and its value if it has one; or not, and a sentence that says why. */
typedef struct {
    bool ok;
    theater_bytes value;
    theater_bytes error;
} theater_result;

/* The same for a value that may be absent. */
typedef struct {
    bool ok;
    theater_option value;
    theater_bytes error;
} theater_option_result;

/* The same for a number: a timer, a size, or 0 and 1 for no and yes. */
typedef struct {
    bool ok;
    uint64_t value;
    theater_bytes error;
} theater_number_result;

/* Several texts. */
typedef struct {
    const theater_bytes *items;
    size_t count;
} theater_list;

/* The same for several texts. */
typedef struct {
    bool ok;
    theater_list value;
    theater_bytes error;
} theater_list_result;

/* What a handler returns; made by theater_ok, theater_reply, theater_later or theater_fail. */
typedef struct {
    bool ok;
    theater_option state;
    theater_option reply;
    theater_bytes error;
} theater_answer;

#define THEATER_NONE ((theater_option){false, {NULL, 0}})

theater_bytes theater_text(const char *text);           /* a C string, without its NUL; not copied */
theater_option theater_some(theater_bytes value);       /* a value that is present */
bool theater_equal(theater_bytes bytes, const char *text);
char *theater_string(theater_bytes bytes);              /* a C string: a copy with a NUL */
void *theater_alloc(size_t size);                       /* memory until the call is over */
theater_bytes theater_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- handlers: what you write */

/* The actor starts. `state` is the initial state of the manifest, if it has one; `id` is the actor's own id.
 * When this one is left out, the state stays what it is. */
theater_answer theater_init(theater_option state, theater_bytes id);

/* A message that wants no answer; a timer's message arrives here too. */
theater_answer theater_handle_send(theater_option state, theater_bytes message);

/* A message that wants an answer: theater_reply, or theater_later and then theater_respond with its `id`. */
theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body);

theater_answer theater_ok(theater_option state);                          /* done; the new state */
theater_answer theater_reply(theater_option state, theater_bytes reply);  /* of a request: done; the reply */
theater_answer theater_later(theater_option state);                       /* of a request: the reply comes later */
theater_answer theater_fail(theater_bytes sentence);                      /* failed; the state stays as it was */

/* ---- the host; each part needs the handler that is named in its heading in the manifest */

/* for every actor */
void theater_log(theater_bytes line);
void theater_logf(const char *format, ...) __attribute__((format(printf, 1, 2)));
theater_result theater_shutdown(theater_option data);   /* asks for this actor's normal end */

typedef struct {
    theater_bytes id;
    theater_bytes name;
    theater_option parent;
    uint64_t incarnation;  /* which life of the actor this is, from 1 */
} theater_identity;

theater_identity theater_self(void);
theater_option theater_sender(void);      /* the id of the actor whose message is being handled */
bool theater_deadline(uint64_t *when);    /* until when its sender waits, in ms since the epoch; false: no limit */

/* "message-server"; `to` is an actor's id or registered name */
theater_result theater_send(theater_bytes to, theater_bytes message);
theater_result theater_request(theater_bytes to, theater_bytes body);
theater_result theater_request_timeout(theater_bytes to, theater_bytes body, uint64_t milliseconds);
theater_list theater_outstanding_requests(void);        /* ids of requests that were answered with theater_later */
theater_result theater_respond(theater_bytes request, theater_bytes reply);
theater_result theater_cancel_request(theater_bytes request);

/* "registry" */
theater_result theater_register(theater_bytes name);
theater_result theater_unregister(theater_bytes name);
theater_option theater_whereis(theater_bytes name);     /* the id of the actor that has the name */

/* "timers": the message arrives at theater_handle_send */
theater_number_result theater_send_after(uint64_t milliseconds, theater_bytes message);
theater_number_result theater_send_interval(uint64_t milliseconds, theater_bytes message);
bool theater_cancel_timer(uint64_t timer);              /* false: unknown, or already over */

/* "store": content by its hash; a store is named by what theater_store_new returned */
theater_result theater_store_new(void);
theater_result theater_store_put(theater_bytes store, theater_bytes content);        /* its hash */
theater_result theater_store_get(theater_bytes store, theater_bytes hash);           /* the content */
theater_number_result theater_store_exists(theater_bytes store, theater_bytes hash);
theater_result theater_store_label(theater_bytes store, theater_bytes label, theater_bytes hash);
theater_option_result theater_store_get_by_label(theater_bytes store, theater_bytes label);  /* a hash */
theater_result theater_store_remove_label(theater_bytes store, theater_bytes label);
theater_result theater_store_remove_from_label(theater_bytes store, theater_bytes label, theater_bytes hash);
theater_result theater_store_put_at_label(theater_bytes store, theater_bytes label, theater_bytes content);
theater_result theater_store_replace_content_at_label(theater_bytes store, theater_bytes label, theater_bytes content);
theater_result theater_store_replace_at_label(theater_bytes store, theater_bytes label, theater_bytes hash);
theater_list_result theater_store_labels(theater_bytes store);
theater_list_result theater_store_contents(theater_bytes store);                     /* hashes */
theater_number_result theater_store_size(theater_bytes store);                       /* bytes */

/* ---- JSON, as far as small messages need it
 *
 * Each looks up a key of a JSON object that is the whole of `json`. False when `json` is not a valid object, when it
 * has no such key, or when the key's value is of another kind; `*value` is then left alone. Other keys may have values
 * of any kind, nested up to 32 deep. Keys that are written with escapes are not found; of two equal keys the last
 * counts. */

bool theater_json_int(theater_bytes json, const char *key, int64_t *value);          /* a whole number that fits */
bool theater_json_bool(theater_bytes json, const char *key, bool *value);
bool theater_json_string(theater_bytes json, const char *key, theater_bytes *value); /* without its escapes */

/* `text` as a JSON string, quoted and escaped: for theater_format with "%s". */
const char *theater_json_quote(theater_bytes text);

#endif
