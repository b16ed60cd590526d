/* What the parts of the guest library share, and actors need not know: how values lie in memory when they cross. */
#ifndef THEATER_BRIDGE_H
#define THEATER_BRIDGE_H

#include "theater.h"

#define IMPORT(interface, name) __attribute__((import_module(interface), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
#define WEAK __attribute__((weak))

/* All memory of the call is given back. */
void theater_release(void);

/* What the host calls when it has taken the answer of an export. */
#define AFTER(export, name) \
    EXPORT("cabi_post_" export) void name(void *given) { (void)given, theater_release(); }

/* ---- layouts of results in memory, and how they are read */

/* option<list<u8>>, option<string>, option<content-ref> */
typedef struct {
    uint8_t some;
    const uint8_t *data;
    size_t size;
} option_memory;

/* result<_, string>, result<string, string>, result<list<u8>, string>, result<content-ref, string>; also
 * result<list<string>, string> and result<list<chain-event>, string>, where `data` are the items */
typedef struct {
    uint8_t failed;
    const uint8_t *data;
    size_t size;
} result_memory;

/* result<option<content-ref>, string>, result<option<list<u8>>, string> */
typedef struct {
    uint8_t failed;
    union {
        option_memory value;
        theater_bytes error;
    };
} option_result_memory;

/* result<bool, string> */
typedef struct {
    uint8_t failed;
    union {
        uint8_t value;
        theater_bytes error;
    };
} bool_result_memory;

/* result<u64, string> */
typedef struct {
    uint8_t failed;
    union {
        uint64_t value;
        theater_bytes error;
    };
} number_result_memory;

/* result<u32, string> */
typedef struct {
    uint8_t failed;
    union {
        uint32_t value;
        theater_bytes error;
    };
} short_result_memory;

/* list<string>; its items have the layout of theater_bytes */
typedef struct {
    const theater_bytes *items;
    size_t count;
} list_memory;

/* option<u64> */
typedef struct {
    uint8_t some;
    uint64_t value;
} number_option_memory;

static inline theater_option read_option(const option_memory *found) {
    return found->some ? theater_some((theater_bytes){found->data, found->size}) : THEATER_NONE;
}

static inline theater_result read_result(const result_memory *found) {
    theater_bytes bytes = {found->data, found->size};
    return found->failed ? (theater_result){.ok = false, .error = bytes} : (theater_result){.ok = true, .value = bytes};
}

/* result<_, string>: what lies in the place of the value of an ok means nothing. */
static inline theater_result read_outcome(const result_memory *found) {
    return found->failed ? read_result(found) : (theater_result){.ok = true};
}

static inline theater_number_result read_number(const number_result_memory *found) {
    if (found->failed) return (theater_number_result){.ok = false, .error = found->error};
    return (theater_number_result){.ok = true, .value = found->value};
}

static inline theater_number_result read_short(const short_result_memory *found) {
    if (found->failed) return (theater_number_result){.ok = false, .error = found->error};
    return (theater_number_result){.ok = true, .value = found->value};
}

static inline theater_number_result read_bool(const bool_result_memory *found) {
    if (found->failed) return (theater_number_result){.ok = false, .error = found->error};
    return (theater_number_result){.ok = true, .value = found->value};
}

static inline theater_option_result read_option_result(const option_result_memory *found) {
    if (found->failed) return (theater_option_result){.ok = false, .error = found->error};
    return (theater_option_result){.ok = true, .value = read_option(&found->value)};
}

static inline theater_list_result read_list(const result_memory *found) {
    if (found->failed) return (theater_list_result){.ok = false, .error = {found->data, found->size}};
    return (theater_list_result){.ok = true, .value = {(const theater_bytes *)found->data, found->size}};
}

/* ---- B(x) passes bytes as pointer and size */

#define B(bytes) (bytes).data, (bytes).size
#define BYTES const uint8_t *, size_t

/* ---- answers of handlers */

/* result<tuple<option<list<u8>>>, string> */
typedef struct {
    uint8_t failed;
    union {
        option_memory state;
        theater_bytes error;
    };
} answer_memory;

static inline option_memory option_of(theater_option value) { return (option_memory){value.some, B(value.value)}; }

static inline answer_memory *give_answer(theater_answer answer) {
    answer_memory *given = theater_alloc(sizeof *given);
    given->failed = !answer.ok;
    if (answer.ok) given->state = option_of(answer.state);
    else given->error = answer.error;
    return given;
}

/* state: option<list<u8>>, then the parameters */
#define STATE int32_t has_state, const uint8_t *state, size_t state_size
#define THE_STATE ((theater_option){has_state != 0, {state, state_size}})

/* option<list<u8>> as parameters */
#define OPTION(name) int32_t has_##name, const uint8_t *name, size_t name##_size
#define THE_OPTION(name) ((theater_option){has_##name != 0, {name, name##_size}})

#endif
