/* The bridge between theater.h and the canonical ABI of the component model.
 *
 * A component function crosses as a core function: a text or a list of bytes as pointer and size, a result of more than
 * one number through memory whose layout follows from its type ("Despecialization", "Alignment", "Element Size" in
 * design/mvp/CanonicalABI.md of the component model). Each struct called *_memory below is such a layout, and the
 * numbers of each import and export are checked against the .wit files when the component is made.
 */
#include "theater_bridge.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNTIME "theater:simple/runtime"
#define HOST "theater:simple/message-server-host"
#define STORE "theater:simple/store"
#define IDENTITY "theater:otp/identity@0.1.0"
#define REGISTRY "theater:otp/registry@0.1.0"
#define TIMERS "theater:otp/timers@0.1.0"
#define REQUESTS "theater:otp/requests@0.1.0"
#define SUPERVISOR "theater:simple/supervisor"
#define MONITORS "theater:otp/monitors@0.1.0"
#define SECRETS "theater:otp/secrets@0.1.0"
#define LINKS "theater:otp/links@0.1.0"
#define FILESYSTEM "theater:simple/filesystem"
#define FILES "theater:otp/files@0.1.0"
#define TIMING "theater:simple/timing"
#define RANDOM "theater:simple/random"
#define ENVIRONMENT "theater:simple/environment"
#define ACTOR "theater:simple/actor"
#define CLIENT "theater:simple/message-server-client"
#define OF_CHILDREN "theater:simple/supervisor-handlers"
#define OF_ENDS "theater:otp/monitor-handlers@0.1.0"

/* ---- memory of one call: a list of blocks that is dropped when the call is over */

typedef struct block {
    struct block *next;
    size_t size;
    size_t used;
    _Alignas(16) uint8_t data[];
} block;

#define FIRST_SIZE 16384

static block *blocks;

static void *allocate(size_t size, size_t alignment) {
    size_t from = blocks ? (blocks->used + alignment - 1) & ~(alignment - 1) : 0;
    if (!blocks || from > blocks->size || size > blocks->size - from) {
        size_t room = size > FIRST_SIZE ? size : FIRST_SIZE;
        block *fresh = malloc(sizeof(block) + room);
        if (!fresh) __builtin_trap();
        fresh->next = blocks;
        fresh->size = room;
        blocks = fresh;
        from = 0;
    }
    blocks->used = from + size;
    return blocks->data + from;
}

/* One block of the usual size is kept, so that a small call allocates nothing. */
void theater_release(void) {
    block *kept = NULL;
    while (blocks) {
        block *next = blocks->next;
        if (!kept && blocks->size == FIRST_SIZE) kept = blocks;
        else free(blocks);
        blocks = next;
    }
    if (kept) {
        kept->next = NULL;
        kept->used = 0;
    }
    blocks = kept;
}

void *theater_alloc(size_t size) { return allocate(size, 16); }

EXPORT("cabi_realloc") void *theater_realloc(void *old, size_t old_size, size_t alignment, size_t size) {
    if (size == 0) return (void *)alignment;
    void *fresh = allocate(size, alignment);
    if (old_size) memcpy(fresh, old, old_size < size ? old_size : size);
    return fresh;
}

/* A failed assert says so in the actor's log; the C library would look for a terminal. */
_Noreturn void __assert_fail(const char *expression, const char *file, int line, const char *function) {
    theater_logf("%s:%d: %s: assertion failed: %s", file, line, function, expression);
    __builtin_trap();
}

/* ---- values */

theater_bytes theater_text(const char *text) { return (theater_bytes){(const uint8_t *)text, strlen(text)}; }

theater_option theater_some(theater_bytes value) { return (theater_option){true, value}; }

bool theater_equal(theater_bytes bytes, const char *text) {
    return bytes.size == strlen(text) && (bytes.size == 0 || memcmp(bytes.data, text, bytes.size) == 0);
}

char *theater_string(theater_bytes bytes) {
    char *copy = theater_alloc(bytes.size + 1);
    if (bytes.size) memcpy(copy, bytes.data, bytes.size);
    copy[bytes.size] = 0;
    return copy;
}

static theater_bytes format_list(const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    if (size < 0) __builtin_trap();
    char *text = theater_alloc((size_t)size + 1);
    vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    return (theater_bytes){(const uint8_t *)text, (size_t)size};
}

theater_bytes theater_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    theater_bytes text = format_list(format, arguments);
    va_end(arguments);
    return text;
}

theater_answer theater_ok(theater_option state) {
    return (theater_answer){.ok = true, .state = state, .reply = THEATER_NONE};
}

theater_answer theater_reply(theater_option state, theater_bytes reply) {
    return (theater_answer){.ok = true, .state = state, .reply = theater_some(reply)};
}

theater_answer theater_later(theater_option state) { return theater_ok(state); }

theater_answer theater_fail(theater_bytes sentence) { return (theater_answer){.ok = false, .error = sentence}; }

/* ---- host calls */

/* result<command-result, string> */
typedef struct {
    uint8_t failed;
    union {
        struct {
            uint8_t not_run;
            union {
                struct {
                    theater_bytes output, errors;
                    int32_t status;
                };
                theater_bytes message;
            };
        };
        theater_bytes error;
    };
} ran_memory;

/* result<option<file-info>, string> */
typedef struct {
    uint8_t failed;
    union {
        struct {
            uint8_t exists;
            struct {
                uint8_t kind;
                uint64_t size, modified;
            } info;
        };
        theater_bytes error;
    };
} info_memory;

/* result<f64, string> */
typedef struct {
    uint8_t failed;
    union {
        double value;
        theater_bytes error;
    };
} float_result_memory;

/* list<tuple<string, string>> */
typedef struct {
    const theater_variable *items;
    size_t count;
} variables_memory;

/* record chain-event has the layout of theater_child_event */
_Static_assert(sizeof(theater_child_event) == 64 && offsetof(theater_child_event, timestamp) == 40 &&
               offsetof(theater_option, value) == 4, "an event is read where it lies");

/* record me */
typedef struct {
    theater_bytes id;
    theater_bytes name;
    option_memory parent;
    uint64_t incarnation;
} identity_memory;

IMPORT(RUNTIME, "log") void import_log(BYTES);
IMPORT(RUNTIME, "shutdown") void import_shutdown(int32_t, BYTES, result_memory *);
IMPORT(IDENTITY, "self") void import_self(identity_memory *);
IMPORT(IDENTITY, "sender") void import_sender(option_memory *);
IMPORT(IDENTITY, "deadline") void import_deadline(number_option_memory *);
IMPORT(HOST, "send") void import_send(BYTES, BYTES, result_memory *);
IMPORT(HOST, "request") void import_request(BYTES, BYTES, result_memory *);
IMPORT(HOST, "list-outstanding-requests") void import_list_outstanding(list_memory *);
IMPORT(HOST, "respond-to-request") void import_respond(BYTES, BYTES, result_memory *);
IMPORT(HOST, "cancel-request") void import_cancel_request(BYTES, result_memory *);
IMPORT(HOST, "open-channel") void import_open_channel(BYTES, BYTES, result_memory *);
IMPORT(HOST, "send-on-channel") void import_send_on_channel(BYTES, BYTES, result_memory *);
IMPORT(HOST, "close-channel") void import_close_channel(BYTES, result_memory *);
IMPORT(REQUESTS, "request-timeout") void import_request_timeout(BYTES, BYTES, uint64_t, result_memory *);
IMPORT(REGISTRY, "register") void import_register(BYTES, result_memory *);
IMPORT(REGISTRY, "unregister") void import_unregister(BYTES, result_memory *);
IMPORT(REGISTRY, "whereis") void import_whereis(BYTES, option_memory *);
IMPORT(TIMERS, "send-after") void import_send_after(uint64_t, BYTES, number_result_memory *);
IMPORT(TIMERS, "send-interval") void import_send_interval(uint64_t, BYTES, number_result_memory *);
IMPORT(TIMERS, "cancel") int32_t import_cancel_timer(uint64_t);
IMPORT(SUPERVISOR, "spawn") void import_spawn(BYTES, int32_t, BYTES, result_memory *);
IMPORT(SUPERVISOR, "resume") void import_resume(BYTES, int32_t, BYTES, result_memory *);
IMPORT(SUPERVISOR, "list-children") void import_list_children(list_memory *);
IMPORT(SUPERVISOR, "stop-child") void import_stop_child(BYTES, result_memory *);
IMPORT(SUPERVISOR, "restart-child") void import_restart_child(BYTES, result_memory *);
IMPORT(SUPERVISOR, "get-child-state") void import_child_state(BYTES, option_result_memory *);
IMPORT(SUPERVISOR, "get-child-events") void import_child_events(BYTES, result_memory *);
IMPORT(MONITORS, "monitor") void import_monitor(BYTES, number_result_memory *);
IMPORT(MONITORS, "demonitor") int32_t import_demonitor(uint64_t);
IMPORT(LINKS, "link") void import_link(BYTES, result_memory *);
IMPORT(LINKS, "unlink") void import_unlink(BYTES, result_memory *);
IMPORT(LINKS, "trap-exits") void import_trap_exits(int32_t);
IMPORT(SECRETS, "get") void import_secret(BYTES, result_memory *);
IMPORT(FILESYSTEM, "read-file") void import_read_file(BYTES, result_memory *);
IMPORT(FILESYSTEM, "write-file") void import_write_file(BYTES, BYTES, result_memory *);
IMPORT(FILESYSTEM, "list-files") void import_list_files(BYTES, result_memory *);
IMPORT(FILESYSTEM, "delete-file") void import_delete_file(BYTES, result_memory *);
IMPORT(FILESYSTEM, "create-dir") void import_create_folder(BYTES, result_memory *);
IMPORT(FILESYSTEM, "delete-dir") void import_delete_folder(BYTES, result_memory *);
IMPORT(FILESYSTEM, "path-exists") void import_path_exists(BYTES, bool_result_memory *);
IMPORT(FILESYSTEM, "execute-command") void import_run(BYTES, BYTES, const theater_bytes *, size_t, ran_memory *);
IMPORT(FILESYSTEM, "execute-nix-command") void import_run_nix(BYTES, BYTES, ran_memory *);
IMPORT(FILES, "write-bytes") void import_write_bytes(BYTES, BYTES, result_memory *);
IMPORT(FILES, "append") void import_append_file(BYTES, BYTES, result_memory *);
IMPORT(FILES, "read-part") void import_read_part(BYTES, uint64_t, uint32_t, result_memory *);
IMPORT(FILES, "rename") void import_rename(BYTES, BYTES, result_memory *);
IMPORT(FILES, "stat") void import_file_info(BYTES, info_memory *);
IMPORT(TIMING, "now") uint64_t import_now(void);
IMPORT(TIMING, "sleep") void import_sleep(uint64_t, result_memory *);
IMPORT(TIMING, "deadline") void import_sleep_until(uint64_t, result_memory *);
IMPORT(RANDOM, "random-bytes") void import_random_bytes(uint32_t, result_memory *);
IMPORT(RANDOM, "random-range") void import_random_range(uint64_t, uint64_t, number_result_memory *);
IMPORT(RANDOM, "random-float") void import_random_float(float_result_memory *);
IMPORT(RANDOM, "generate-uuid") void import_uuid(result_memory *);
IMPORT(ENVIRONMENT, "get-var") void import_variable(BYTES, option_memory *);
IMPORT(ENVIRONMENT, "list-vars") void import_variables(variables_memory *);
IMPORT(ENVIRONMENT, "exists") int32_t import_has_variable(BYTES);
IMPORT(STORE, "new") void import_store_new(result_memory *);
IMPORT(STORE, "store") void import_store_put(BYTES, BYTES, result_memory *);
IMPORT(STORE, "get") void import_store_get(BYTES, BYTES, result_memory *);
IMPORT(STORE, "exists") void import_store_exists(BYTES, BYTES, bool_result_memory *);
IMPORT(STORE, "label") void import_store_label(BYTES, BYTES, BYTES, result_memory *);
IMPORT(STORE, "get-by-label") void import_store_get_by_label(BYTES, BYTES, option_result_memory *);
IMPORT(STORE, "remove-label") void import_store_remove_label(BYTES, BYTES, result_memory *);
IMPORT(STORE, "remove-from-label") void import_store_remove_from_label(BYTES, BYTES, BYTES, result_memory *);
IMPORT(STORE, "store-at-label") void import_store_put_at_label(BYTES, BYTES, BYTES, result_memory *);
IMPORT(STORE, "replace-content-at-label")
void import_store_replace_content_at_label(BYTES, BYTES, BYTES, result_memory *);
IMPORT(STORE, "replace-at-label") void import_store_replace_at_label(BYTES, BYTES, BYTES, result_memory *);
IMPORT(STORE, "list-labels") void import_store_labels(BYTES, result_memory *);
IMPORT(STORE, "list-all-content") void import_store_contents(BYTES, result_memory *);
IMPORT(STORE, "calculate-total-size") void import_store_size(BYTES, number_result_memory *);

void theater_log(theater_bytes line) { import_log(B(line)); }

void theater_logf(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    theater_log(format_list(format, arguments));
    va_end(arguments);
}

theater_result theater_shutdown(theater_option data) {
    result_memory found;
    import_shutdown(data.some, B(data.value), &found);
    return read_outcome(&found);
}

theater_identity theater_self(void) {
    identity_memory found;
    import_self(&found);
    return (theater_identity){found.id, found.name, read_option(&found.parent), found.incarnation};
}

theater_option theater_sender(void) {
    option_memory found;
    import_sender(&found);
    return read_option(&found);
}

bool theater_deadline(uint64_t *when) {
    number_option_memory found;
    import_deadline(&found);
    if (found.some) *when = found.value;
    return found.some;
}

theater_result theater_send(theater_bytes to, theater_bytes message) {
    result_memory found;
    import_send(B(to), B(message), &found);
    return read_outcome(&found);
}

theater_result theater_request(theater_bytes to, theater_bytes body) {
    result_memory found;
    import_request(B(to), B(body), &found);
    return read_result(&found);
}

theater_result theater_request_timeout(theater_bytes to, theater_bytes body, uint64_t milliseconds) {
    result_memory found;
    import_request_timeout(B(to), B(body), milliseconds, &found);
    return read_result(&found);
}

theater_list theater_outstanding_requests(void) {
    list_memory found;
    import_list_outstanding(&found);
    return (theater_list){found.items, found.count};
}

theater_result theater_respond(theater_bytes request, theater_bytes reply) {
    result_memory found;
    import_respond(B(request), B(reply), &found);
    return read_outcome(&found);
}

theater_result theater_cancel_request(theater_bytes request) {
    result_memory found;
    import_cancel_request(B(request), &found);
    return read_outcome(&found);
}

theater_result theater_register(theater_bytes name) {
    result_memory found;
    import_register(B(name), &found);
    return read_outcome(&found);
}

theater_result theater_unregister(theater_bytes name) {
    result_memory found;
    import_unregister(B(name), &found);
    return read_outcome(&found);
}

theater_option theater_whereis(theater_bytes name) {
    option_memory found;
    import_whereis(B(name), &found);
    return read_option(&found);
}

theater_number_result theater_send_after(uint64_t milliseconds, theater_bytes message) {
    number_result_memory found;
    import_send_after(milliseconds, B(message), &found);
    return read_number(&found);
}

theater_number_result theater_send_interval(uint64_t milliseconds, theater_bytes message) {
    number_result_memory found;
    import_send_interval(milliseconds, B(message), &found);
    return read_number(&found);
}

bool theater_cancel_timer(uint64_t timer) { return import_cancel_timer(timer) != 0; }

theater_result theater_spawn(theater_bytes manifest, theater_option init) {
    result_memory found;
    import_spawn(B(manifest), init.some, B(init.value), &found);
    return read_result(&found);
}

theater_result theater_resume(theater_bytes manifest, theater_option state) {
    result_memory found;
    import_resume(B(manifest), state.some, B(state.value), &found);
    return read_result(&found);
}

theater_list theater_children(void) {
    list_memory found;
    import_list_children(&found);
    return (theater_list){found.items, found.count};
}

theater_result theater_stop_child(theater_bytes child) {
    result_memory found;
    import_stop_child(B(child), &found);
    return read_outcome(&found);
}

theater_result theater_restart_child(theater_bytes child) {
    result_memory found;
    import_restart_child(B(child), &found);
    return read_outcome(&found);
}

theater_option_result theater_child_state(theater_bytes child) {
    option_result_memory found;
    import_child_state(B(child), &found);
    return read_option_result(&found);
}

theater_events_result theater_child_events(theater_bytes child) {
    result_memory found;
    import_child_events(B(child), &found);
    if (found.failed) return (theater_events_result){.ok = false, .error = {found.data, found.size}};
    return (theater_events_result){.ok = true, .items = (const theater_child_event *)found.data, .count = found.size};
}

theater_number_result theater_monitor(theater_bytes actor) {
    number_result_memory found;
    import_monitor(B(actor), &found);
    return read_number(&found);
}

bool theater_demonitor(uint64_t monitor) { return import_demonitor(monitor) != 0; }

theater_result theater_link(theater_bytes actor) {
    result_memory found;
    import_link(B(actor), &found);
    return read_outcome(&found);
}

theater_result theater_unlink(theater_bytes actor) {
    result_memory found;
    import_unlink(B(actor), &found);
    return read_outcome(&found);
}

void theater_trap_exits(bool trap) { import_trap_exits(trap); }

theater_result theater_secret(theater_bytes name) {
    result_memory found;
    import_secret(B(name), &found);
    return read_result(&found);
}

theater_result theater_open_channel(theater_bytes to, theater_bytes message) {
    result_memory found;
    import_open_channel(B(to), B(message), &found);
    return read_result(&found);
}

theater_result theater_send_on_channel(theater_bytes channel, theater_bytes message) {
    result_memory found;
    import_send_on_channel(B(channel), B(message), &found);
    return read_outcome(&found);
}

theater_result theater_close_channel(theater_bytes channel) {
    result_memory found;
    import_close_channel(B(channel), &found);
    return read_outcome(&found);
}

theater_result theater_read_file(theater_bytes path) {
    result_memory found;
    import_read_file(B(path), &found);
    return read_result(&found);
}

theater_result theater_write_file(theater_bytes path, theater_bytes text) {
    result_memory found;
    import_write_file(B(path), B(text), &found);
    return read_outcome(&found);
}

theater_list_result theater_list_files(theater_bytes path) {
    result_memory found;
    import_list_files(B(path), &found);
    return read_list(&found);
}

theater_result theater_delete_file(theater_bytes path) {
    result_memory found;
    import_delete_file(B(path), &found);
    return read_outcome(&found);
}

theater_result theater_create_folder(theater_bytes path) {
    result_memory found;
    import_create_folder(B(path), &found);
    return read_outcome(&found);
}

theater_result theater_delete_folder(theater_bytes path) {
    result_memory found;
    import_delete_folder(B(path), &found);
    return read_outcome(&found);
}

theater_number_result theater_path_exists(theater_bytes path) {
    bool_result_memory found;
    import_path_exists(B(path), &found);
    return read_bool(&found);
}

theater_result theater_write_bytes(theater_bytes path, theater_bytes content) {
    result_memory found;
    import_write_bytes(B(path), B(content), &found);
    return read_outcome(&found);
}

theater_result theater_append_file(theater_bytes path, theater_bytes content) {
    result_memory found;
    import_append_file(B(path), B(content), &found);
    return read_outcome(&found);
}

theater_result theater_read_part(theater_bytes path, uint64_t from, uint32_t size) {
    result_memory found;
    import_read_part(B(path), from, size, &found);
    return read_result(&found);
}

theater_result theater_rename(theater_bytes path, theater_bytes to) {
    result_memory found;
    import_rename(B(path), B(to), &found);
    return read_outcome(&found);
}

theater_file_info_result theater_file_info(theater_bytes path) {
    static const char *const kinds[] = {"file", "folder", "other"};
    info_memory found;
    import_file_info(B(path), &found);
    if (found.failed) return (theater_file_info_result){.ok = false, .error = found.error};
    if (!found.exists) return (theater_file_info_result){.ok = true, .kind = ""};
    return (theater_file_info_result){.ok = true,
                                      .exists = true,
                                      .kind = kinds[found.info.kind],
                                      .size = found.info.size,
                                      .modified = found.info.modified};
}

static theater_ran read_ran(const ran_memory *found) {
    if (found->failed) return (theater_ran){.ok = false, .error = found->error};
    if (found->not_run) return (theater_ran){.ok = false, .error = found->message};
    return (theater_ran){.ok = true, .status = found->status, .output = found->output, .errors = found->errors};
}

theater_ran theater_run(theater_bytes folder, theater_bytes command, const theater_bytes *args, size_t count) {
    ran_memory found;
    import_run(B(folder), B(command), args, count, &found);
    return read_ran(&found);
}

theater_ran theater_run_nix(theater_bytes folder, theater_bytes command) {
    ran_memory found;
    import_run_nix(B(folder), B(command), &found);
    return read_ran(&found);
}

uint64_t theater_now(void) { return import_now(); }

theater_result theater_sleep(uint64_t milliseconds) {
    result_memory found;
    import_sleep(milliseconds, &found);
    return read_outcome(&found);
}

theater_result theater_sleep_until(uint64_t when) {
    result_memory found;
    import_sleep_until(when, &found);
    return read_outcome(&found);
}

theater_result theater_random_bytes(uint32_t length) {
    result_memory found;
    import_random_bytes(length, &found);
    return read_result(&found);
}

theater_number_result theater_random_range(uint64_t least, uint64_t most) {
    number_result_memory found;
    import_random_range(least, most, &found);
    return read_number(&found);
}

theater_float_result theater_random_float(void) {
    float_result_memory found;
    import_random_float(&found);
    if (found.failed) return (theater_float_result){.ok = false, .error = found.error};
    return (theater_float_result){.ok = true, .value = found.value};
}

theater_result theater_uuid(void) {
    result_memory found;
    import_uuid(&found);
    return read_result(&found);
}

theater_option theater_variable_value(theater_bytes name) {
    option_memory found;
    import_variable(B(name), &found);
    return read_option(&found);
}

theater_variables theater_all_variables(void) {
    variables_memory found;
    import_variables(&found);
    return (theater_variables){found.items, found.count};
}

bool theater_has_variable(theater_bytes name) { return import_has_variable(B(name)) != 0; }

theater_result theater_store_new(void) {
    result_memory found;
    import_store_new(&found);
    return read_result(&found);
}

theater_result theater_store_put(theater_bytes store, theater_bytes content) {
    result_memory found;
    import_store_put(B(store), B(content), &found);
    return read_result(&found);
}

theater_result theater_store_get(theater_bytes store, theater_bytes hash) {
    result_memory found;
    import_store_get(B(store), B(hash), &found);
    return read_result(&found);
}

theater_number_result theater_store_exists(theater_bytes store, theater_bytes hash) {
    bool_result_memory found;
    import_store_exists(B(store), B(hash), &found);
    return read_bool(&found);
}

theater_result theater_store_label(theater_bytes store, theater_bytes label, theater_bytes hash) {
    result_memory found;
    import_store_label(B(store), B(label), B(hash), &found);
    return read_outcome(&found);
}

theater_option_result theater_store_get_by_label(theater_bytes store, theater_bytes label) {
    option_result_memory found;
    import_store_get_by_label(B(store), B(label), &found);
    return read_option_result(&found);
}

theater_result theater_store_remove_label(theater_bytes store, theater_bytes label) {
    result_memory found;
    import_store_remove_label(B(store), B(label), &found);
    return read_outcome(&found);
}

theater_result theater_store_remove_from_label(theater_bytes store, theater_bytes label, theater_bytes hash) {
    result_memory found;
    import_store_remove_from_label(B(store), B(label), B(hash), &found);
    return read_outcome(&found);
}

theater_result theater_store_put_at_label(theater_bytes store, theater_bytes label, theater_bytes content) {
    result_memory found;
    import_store_put_at_label(B(store), B(label), B(content), &found);
    return read_result(&found);
}

theater_result theater_store_replace_content_at_label(theater_bytes store, theater_bytes label, theater_bytes content) {
    result_memory found;
    import_store_replace_content_at_label(B(store), B(label), B(content), &found);
    return read_result(&found);
}

theater_result theater_store_replace_at_label(theater_bytes store, theater_bytes label, theater_bytes hash) {
    result_memory found;
    import_store_replace_at_label(B(store), B(label), B(hash), &found);
    return read_outcome(&found);
}

theater_list_result theater_store_labels(theater_bytes store) {
    result_memory found;
    import_store_labels(B(store), &found);
    return read_list(&found);
}

theater_list_result theater_store_contents(theater_bytes store) {
    result_memory found;
    import_store_contents(B(store), &found);
    return read_list(&found);
}

theater_number_result theater_store_size(theater_bytes store) {
    number_result_memory found;
    import_store_size(B(store), &found);
    return read_number(&found);
}

/* ---- handlers */

WEAK theater_answer theater_init(theater_option state, theater_bytes id) {
    (void)id;
    return theater_ok(state);
}

WEAK theater_answer theater_handle_send(theater_option state, theater_bytes message) {
    (void)state, (void)message;
    return theater_fail(theater_text("this actor handles no messages but requests"));
}

WEAK theater_answer theater_handle_request(theater_option state, theater_bytes id, theater_bytes body) {
    (void)state, (void)id, (void)body;
    return theater_fail(theater_text("this actor handles no requests"));
}

WEAK theater_answer theater_handle_channel_open(theater_option state, theater_bytes channel, theater_bytes message) {
    (void)state, (void)channel, (void)message;
    return theater_fail(theater_text("this actor takes no channels"));
}

WEAK theater_answer theater_handle_channel_message(theater_option state, theater_bytes channel, theater_bytes message) {
    (void)channel, (void)message;
    return theater_ok(state);
}

WEAK theater_answer theater_handle_channel_close(theater_option state, theater_bytes channel) {
    (void)channel;
    return theater_ok(state);
}

WEAK theater_answer theater_handle_child_error(theater_option state, theater_bytes child, theater_bytes reason) {
    (void)child, (void)reason;
    return theater_ok(state);
}

WEAK theater_answer theater_handle_child_exit(theater_option state, theater_bytes child, theater_option data) {
    (void)child, (void)data;
    return theater_ok(state);
}

WEAK theater_answer theater_handle_child_stopped(theater_option state, theater_bytes child) {
    (void)child;
    return theater_ok(state);
}

WEAK theater_answer theater_handle_down(theater_option state, uint64_t monitor, theater_bytes actor,
                                        theater_exit_reason reason) {
    (void)monitor, (void)actor, (void)reason;
    return theater_ok(state);
}

WEAK theater_answer theater_handle_exit(theater_option state, theater_bytes actor, theater_exit_reason reason) {
    (void)actor, (void)reason;
    return theater_ok(state);
}

/* result<tuple<option<list<u8>>, tuple<option<list<u8>>>>, string> */
typedef struct {
    uint8_t failed;
    union {
        struct {
            option_memory state;
            option_memory reply;
        };
        theater_bytes error;
    };
} reply_memory;

/* result<tuple<option<list<u8>>, tuple<channel-accept>>, string> */
typedef struct {
    uint8_t failed;
    union {
        struct {
            option_memory state;
            uint8_t accepted;
            option_memory message;
        };
        theater_bytes error;
    };
} accept_memory;

static reply_memory *give_reply(theater_answer answer) {
    reply_memory *given = theater_alloc(sizeof *given);
    given->failed = !answer.ok;
    if (answer.ok) {
        given->state = option_of(answer.state);
        given->reply = option_of(answer.reply);
    } else given->error = answer.error;
    return given;
}

EXPORT(ACTOR "#init") answer_memory *export_init(STATE, const uint8_t *id, size_t id_size) {
    return give_answer(theater_init(THE_STATE, (theater_bytes){id, id_size}));
}

EXPORT(CLIENT "#handle-send") answer_memory *export_handle_send(STATE, const uint8_t *message, size_t size) {
    return give_answer(theater_handle_send(THE_STATE, (theater_bytes){message, size}));
}

EXPORT(CLIENT "#handle-request")
reply_memory *export_handle_request(STATE, const uint8_t *id, size_t id_size, const uint8_t *body, size_t size) {
    return give_reply(theater_handle_request(THE_STATE, (theater_bytes){id, id_size}, (theater_bytes){body, size}));
}

EXPORT(CLIENT "#handle-channel-open")
accept_memory *export_channel_open(STATE, const uint8_t *id, size_t id_size, const uint8_t *message, size_t size) {
    theater_bytes channel = {id, id_size}, first = {message, size};
    theater_answer answer = theater_handle_channel_open(THE_STATE, channel, first);
    accept_memory *given = theater_alloc(sizeof *given);
    given->failed = !answer.ok;
    if (answer.ok) {
        given->state = option_of(answer.state);
        given->accepted = 1;
        given->message = option_of(answer.reply);
    } else given->error = answer.error;
    return given;
}

EXPORT(CLIENT "#handle-channel-message")
answer_memory *export_channel_message(STATE, const uint8_t *id, size_t id_size, const uint8_t *message, size_t size) {
    theater_bytes channel = {id, id_size};
    return give_answer(theater_handle_channel_message(THE_STATE, channel, (theater_bytes){message, size}));
}

EXPORT(CLIENT "#handle-channel-close") answer_memory *export_channel_close(STATE, const uint8_t *id, size_t id_size) {
    return give_answer(theater_handle_channel_close(THE_STATE, (theater_bytes){id, id_size}));
}

#define CHILD const uint8_t *child, size_t child_size
#define THE_CHILD ((theater_bytes){child, child_size})
#define OTHER const uint8_t *actor, size_t actor_size
#define THE_OTHER ((theater_bytes){actor, actor_size})

EXPORT(OF_CHILDREN "#handle-child-error")
answer_memory *export_child_error(STATE, CHILD, int32_t type, OPTION(reason)) {
    (void)type, (void)has_reason; /* without a reason, it is empty */
    return give_answer(theater_handle_child_error(THE_STATE, THE_CHILD, THE_OPTION(reason).value));
}

EXPORT(OF_CHILDREN "#handle-child-exit") answer_memory *export_child_exit(STATE, CHILD, OPTION(data)) {
    return give_answer(theater_handle_child_exit(THE_STATE, THE_CHILD, THE_OPTION(data)));
}

EXPORT(OF_CHILDREN "#handle-child-external-stop") answer_memory *export_child_stopped(STATE, CHILD) {
    return give_answer(theater_handle_child_stopped(THE_STATE, THE_CHILD));
}

/* record exit-reason as parameters */
#define REASON \
    int32_t kind, OPTION(detail), int32_t has_signal, uint32_t signal, int32_t has_status, int32_t status, \
        int32_t commanded
#define THE_REASON \
    ((theater_exit_reason){.kind = kinds[kind], .detail = THE_OPTION(detail), .signal = has_signal ? signal : 0, \
                           .has_status = has_status != 0, .status = status, .commanded = commanded != 0})

/* enum exit-kind, in its order */
static const char *const kinds[] = {
    "normal",        "shutdown", "trap",         "error",   "signal", "status",
    "out-of-memory", "deadline", "start-failed", "gave-up", "killed", "no-process",
};

EXPORT(OF_ENDS "#handle-down") answer_memory *export_down(STATE, uint64_t monitor, OTHER, REASON) {
    return give_answer(theater_handle_down(THE_STATE, monitor, THE_OTHER, THE_REASON));
}

EXPORT(OF_ENDS "#handle-exit") answer_memory *export_exit(STATE, OTHER, REASON) {
    return give_answer(theater_handle_exit(THE_STATE, THE_OTHER, THE_REASON));
}

AFTER(OF_CHILDREN "#handle-child-error", after_child_error)
AFTER(OF_CHILDREN "#handle-child-exit", after_child_exit)
AFTER(OF_CHILDREN "#handle-child-external-stop", after_child_stopped)
AFTER(OF_ENDS "#handle-down", after_down)
AFTER(OF_ENDS "#handle-exit", after_exit)
AFTER(ACTOR "#init", after_init)
AFTER(CLIENT "#handle-send", after_handle_send)
AFTER(CLIENT "#handle-request", after_handle_request)
AFTER(CLIENT "#handle-channel-open", after_channel_open)
AFTER(CLIENT "#handle-channel-message", after_channel_message)
AFTER(CLIENT "#handle-channel-close", after_channel_close)

/* ---- JSON (RFC 8259): one pass over the whole text, so that what follows the key is checked too */

#define DEEPEST 32

typedef struct {
    const uint8_t *at;
    const uint8_t *end;
} reader;

static void skip_space(reader *json) {
    while (json->at < json->end && strchr(" \t\r\n", *json->at) && *json->at) json->at++;
}

static bool take(reader *json, char sign) {
    skip_space(json);
    if (json->at == json->end || *json->at != (uint8_t)sign) return false;
    json->at++;
    return true;
}

static bool take_word(reader *json, const char *word) {
    size_t size = strlen(word);
    if ((size_t)(json->end - json->at) < size || memcmp(json->at, word, size) != 0) return false;
    json->at += size;
    return true;
}

static bool is_digit(uint8_t sign) { return sign >= '0' && sign <= '9'; }

static bool take_digits(reader *json) {
    const uint8_t *from = json->at;
    while (json->at < json->end && is_digit(*json->at)) json->at++;
    return json->at > from;
}

static bool take_number(reader *json) {
    take_word(json, "-");
    if (!take_word(json, "0") && !take_digits(json)) return false;
    if (take_word(json, ".") && !take_digits(json)) return false;
    if (take_word(json, "e") || take_word(json, "E")) {
        if (!take_word(json, "+")) take_word(json, "-");
        return take_digits(json);
    }
    return true;
}

static int hex_value(uint8_t sign) {
    if (is_digit(sign)) return sign - '0';
    if (sign >= 'a' && sign <= 'f') return sign - 'a' + 10;
    if (sign >= 'A' && sign <= 'F') return sign - 'A' + 10;
    return -1;
}

static bool take_hex(reader *json, uint32_t *code) {
    *code = 0;
    for (int i = 0; i < 4; i++, json->at++) {
        int value = json->at < json->end ? hex_value(*json->at) : -1;
        if (value < 0) return false;
        *code = *code * 16 + (uint32_t)value;
    }
    return true;
}

/* The code point after \u, from two escapes if the first is the first half of a pair; half a pair alone is refused,
 * since no text can hold it. */
static bool take_code(reader *json, uint32_t *code) {
    if (!take_hex(json, code)) return false;
    if (*code < 0xD800 || *code > 0xDFFF) return true;
    uint32_t low;
    if (*code > 0xDBFF || !take_word(json, "\\u") || !take_hex(json, &low)) return false;
    if (low < 0xDC00 || low > 0xDFFF) return false;
    *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

static size_t put_utf8(uint8_t *to, uint32_t code) {
    if (code < 0x80) return to[0] = (uint8_t)code, 1;
    size_t size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, code >>= 6) to[i] = (uint8_t)(0x80 | (code & 0x3F));
    to[0] = (uint8_t)((0xF0 << (4 - size)) | code);
    return size;
}

/* A string, written without its escapes to `to`, which has room for it, unless that is NULL. */
static bool take_string(reader *json, uint8_t *to, size_t *size) {
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    uint8_t utf8[4];
    *size = 0;
    if (!take(json, '"')) return false;
    while (json->at < json->end && *json->at >= 0x20) {
        uint32_t code = *json->at++;
        size_t length = 1;
        utf8[0] = (uint8_t)code;
        if (code == '"') return true;
        if (code == '\\') {
            const char *escape = json->at < json->end && *json->at ? strchr(escapes, *json->at) : NULL;
            if (escape) json->at++, utf8[0] = (uint8_t)meanings[escape - escapes];
            else if (!take_word(json, "u") || !take_code(json, &code)) return false;
            else length = put_utf8(utf8, code);
        }
        if (to) memcpy(to + *size, utf8, length);
        *size += length;
    }
    return false;
}

static bool take_value(reader *json, int depth);

static bool take_members(reader *json, int depth, bool keys, char last) {
    size_t size;
    if (take(json, last)) return true;
    do {
        if (keys && !(take_string(json, NULL, &size) && take(json, ':'))) return false;
        if (!take_value(json, depth)) return false;
    } while (take(json, ','));
    return take(json, last);
}

static bool take_value(reader *json, int depth) {
    size_t size;
    skip_space(json);
    if (json->at == json->end || depth == DEEPEST) return false;
    switch (*json->at) {
        case '{': return take(json, '{') && take_members(json, depth + 1, true, '}');
        case '[': return take(json, '[') && take_members(json, depth + 1, false, ']');
        case '"': return take_string(json, NULL, &size);
        case 't': return take_word(json, "true");
        case 'f': return take_word(json, "false");
        case 'n': return take_word(json, "null");
        default: return take_number(json);
    }
}

/* The text of the value of a key in the object that `json` is. */
static bool find(theater_bytes json, const char *key, reader *value) {
    reader all = {json.data, json.data + json.size};
    bool found = false;
    size_t size;
    if (!take(&all, '{')) return false;
    if (!take(&all, '}')) {
        do {
            skip_space(&all);
            const uint8_t *name = all.at + 1;
            if (!take_string(&all, NULL, &size)) return false;
            bool same = theater_equal((theater_bytes){name, (size_t)(all.at - 1 - name)}, key);
            if (!take(&all, ':')) return false;
            skip_space(&all);
            const uint8_t *from = all.at;
            if (!take_value(&all, 1)) return false;
            if (same) *value = (reader){from, all.at}, found = true;
        } while (take(&all, ','));
        if (!take(&all, '}')) return false;
    }
    skip_space(&all);
    return found && all.at == all.end;
}

bool theater_json_int(theater_bytes json, const char *key, int64_t *value) {
    reader text;
    if (!find(json, key, &text)) return false;
    bool negative = take_word(&text, "-");
    uint64_t limit = (uint64_t)INT64_MAX + negative, number = 0;
    if (text.at == text.end) return false;
    for (; text.at < text.end; text.at++) {
        if (!is_digit(*text.at)) return false;
        uint64_t digit = *text.at - (uint64_t)'0';
        if (number > (limit - digit) / 10) return false;
        number = number * 10 + digit;
    }
    *value = (int64_t)(negative ? 0 - number : number);
    return true;
}

bool theater_json_bool(theater_bytes json, const char *key, bool *value) {
    reader text;
    if (!find(json, key, &text) || (*text.at != 't' && *text.at != 'f')) return false;
    *value = *text.at == 't';
    return true;
}

bool theater_json_string(theater_bytes json, const char *key, theater_bytes *value) {
    reader text;
    if (!find(json, key, &text) || *text.at != '"') return false;
    size_t size;
    uint8_t *copy = theater_alloc((size_t)(text.end - text.at)); /* an escape is never shorter than what it means */
    if (!take_string(&text, copy, &size)) return false;
    *value = (theater_bytes){copy, size};
    return true;
}

const char *theater_json_quote(theater_bytes text) {
    static const char digits[] = "0123456789abcdef";
    char *quoted = theater_alloc(text.size * 6 + 3), *to = quoted;
    *to++ = '"';
    for (size_t i = 0; i < text.size; i++) {
        uint8_t sign = text.data[i];
        if (sign < 0x20) {
            memcpy(to, "\\u00", 4);
            to[4] = digits[sign >> 4], to[5] = digits[sign & 15];
            to += 6;
            continue;
        }
        if (sign == '"' || sign == '\\') *to++ = '\\';
        *to++ = (char)sign;
    }
    *to++ = '"';
    *to = 0;
    return quoted;
}
