/* Theater actors in C.
 *
 * Write any of the handlers below; of those for messages, one that you leave out answers with an error. Include this
 * header in your files and let `theater build` compile them together with theater.c.
 *
 *     #include "theater.h"
 *
 *     theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
 *         return theater_reply(state, body);
 *     }
 *
 * HTTP and programs that run beside the actor have headers of their own, theater_http.h and theater_process.h; an actor
 * that includes neither has nothing of them in it.
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

/* Somebody wants to open a channel: theater_reply with a first message back, or theater_ok, accepts it; theater_fail
 * refuses it, as does leaving this one out. */
theater_answer theater_handle_channel_open(theater_option state, theater_bytes channel, theater_bytes message);

/* A message on an open channel. */
theater_answer theater_handle_channel_message(theater_option state, theater_bytes channel, theater_bytes message);

/* The other side has closed a channel, or is gone. */
theater_answer theater_handle_channel_close(theater_option state, theater_bytes channel);

/* A child failed; `reason` is a JSON object with "reason" (its kind, as of theater_exit_reason with '_' for '-'),
 * "detail", "signal", "status" and "commanded". It may have been started again by now: the manifest decides that, or
 * this actor if it has no [supervision.children]. Like the next four, when left out it changes nothing. */
theater_answer theater_handle_child_error(theater_option state, theater_bytes child, theater_bytes reason);

/* A child ended by itself and in order; `data` is what its theater_shutdown said. */
theater_answer theater_handle_child_exit(theater_option state, theater_bytes child, theater_option data);

/* A child was stopped by somebody else. */
theater_answer theater_handle_child_stopped(theater_option state, theater_bytes child);

/* Why an actor ended. */
typedef struct {
    const char *kind;       /* normal, shutdown, trap, error, signal, status, out-of-memory, deadline, start-failed,
                             * gave-up, killed, no-process */
    theater_option detail;  /* for people; of a trap its class, its message, and one line for each frame */
    uint32_t signal;        /* that killed its process; 0: none did */
    bool has_status;        /* whether all that is known is */
    int32_t status;         /* the exit status of its process */
    bool commanded;         /* whether somebody had asked for this end */
} theater_exit_reason;

/* The life of a monitored actor is over, or there was none. It comes after every message of that actor. */
theater_answer theater_handle_down(theater_option state, uint64_t monitor, theater_bytes actor,
                                   theater_exit_reason reason);

/* A linked actor has ended, and this one traps exits. It comes after every message of that actor. */
theater_answer theater_handle_exit(theater_option state, theater_bytes actor, theater_exit_reason reason);

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
theater_result theater_open_channel(theater_bytes to, theater_bytes message);           /* the channel's id */
theater_result theater_send_on_channel(theater_bytes channel, theater_bytes message);
theater_result theater_close_channel(theater_bytes channel);

/* "registry" */
theater_result theater_register(theater_bytes name);
theater_result theater_unregister(theater_bytes name);
theater_option theater_whereis(theater_bytes name);     /* the id of the actor that has the name */

/* "timers": the message arrives at theater_handle_send */
theater_number_result theater_send_after(uint64_t milliseconds, theater_bytes message);
theater_number_result theater_send_interval(uint64_t milliseconds, theater_bytes message);
bool theater_cancel_timer(uint64_t timer);              /* false: unknown, or already over */

/* "supervisor": a child is named by its id; children of children may be, too */
theater_result theater_spawn(theater_bytes manifest, theater_option init);    /* a path or the text; the child's id */
theater_result theater_resume(theater_bytes manifest, theater_option state);  /* likewise, going on without init */
theater_list theater_children(void);
theater_result theater_stop_child(theater_bytes child);
theater_result theater_restart_child(theater_bytes child);
theater_option_result theater_child_state(theater_bytes child);               /* what its last call left */

/* An entry of a child's chain. */
typedef struct {
    theater_bytes hash;
    theater_option parent;       /* the hash of the entry before */
    theater_bytes type;
    theater_bytes data;
    uint64_t timestamp;          /* in ms since the epoch */
    theater_option description;  /* a sentence for people */
} theater_child_event;

/* Several of them, or why not. */
typedef struct {
    bool ok;
    const theater_child_event *items;
    size_t count;
    theater_bytes error;
} theater_events_result;

theater_events_result theater_child_events(theater_bytes child);              /* its chain, oldest entry first */

/* "monitors"; `actor` is an id or registered name */
theater_number_result theater_monitor(theater_bytes actor);  /* its end arrives at theater_handle_down, once */
bool theater_demonitor(uint64_t monitor);                    /* false: unknown, or its news has arrived */
theater_result theater_link(theater_bytes actor);            /* the two end together, unless one ends normally */
theater_result theater_unlink(theater_bytes actor);
void theater_trap_exits(bool trap);                          /* linked ends arrive at theater_handle_exit instead */

/* "secrets": the value of one that the manifest names; where it is written, the record has its name instead */
theater_result theater_secret(theater_bytes name);

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

/* "filesystem": a path is relative to the folder of the manifest, or absolute */
theater_result theater_read_file(theater_bytes path);
theater_result theater_write_file(theater_bytes path, theater_bytes text);           /* replaces it as a whole */
theater_list_result theater_list_files(theater_bytes path);                          /* the names in a folder */
theater_result theater_delete_file(theater_bytes path);
theater_result theater_create_folder(theater_bytes path);
theater_result theater_delete_folder(theater_bytes path);                            /* with everything in it */
theater_number_result theater_path_exists(theater_bytes path);
theater_result theater_write_bytes(theater_bytes path, theater_bytes content);       /* as theater_write_file */
theater_result theater_append_file(theater_bytes path, theater_bytes content);
theater_result theater_read_part(theater_bytes path, uint64_t from, uint32_t size);  /* shorter only at the end */
theater_result theater_rename(theater_bytes path, theater_bytes to);

/* What a path leads to, or why that is not known. */
typedef struct {
    bool ok;
    bool exists;
    const char *kind;   /* file, folder or other */
    uint64_t size;      /* bytes of a file */
    uint64_t modified;  /* in ms since the epoch */
    theater_bytes error;
} theater_file_info_result;

theater_file_info_result theater_file_info(theater_bytes path);

/* What a program that has run left. */
typedef struct {
    bool ok;               /* whether it ran to its end */
    int32_t status;        /* its exit status */
    theater_bytes output;  /* what it wrote to its standard output */
    theater_bytes errors;  /* and to its standard error */
    theater_bytes error;   /* why it did not run */
} theater_ran;

theater_ran theater_run(theater_bytes folder, theater_bytes command, const theater_bytes *args, size_t count);
theater_ran theater_run_nix(theater_bytes folder, theater_bytes command);  /* in the folder's development shell */

/* "timing": in ms, moments since the epoch */
uint64_t theater_now(void);
theater_result theater_sleep(uint64_t milliseconds);
theater_result theater_sleep_until(uint64_t when);

/* A number that is not whole, or why not. */
typedef struct {
    bool ok;
    double value;
    theater_bytes error;
} theater_float_result;

/* "random" */
theater_result theater_random_bytes(uint32_t length);
theater_number_result theater_random_range(uint64_t least, uint64_t most);
theater_float_result theater_random_float(void);                           /* from 0 up to, but not including, 1 */
theater_result theater_uuid(void);

/* An environment variable. */
typedef struct {
    theater_bytes name;
    theater_bytes value;
} theater_variable;

/* Several of them. */
typedef struct {
    const theater_variable *items;
    size_t count;
} theater_variables;

/* "environment" */
theater_option theater_variable_value(theater_bytes name);
theater_variables theater_all_variables(void);
bool theater_has_variable(theater_bytes name);

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
