/* theater_process.h, as theater.c is to theater.h. */
#include "theater_process.h"

#include "theater_bridge.h"

#define PROCESS "theater:simple/process"
#define OF_PROGRAMS "theater:simple/process-handlers"
#define USUAL_BUFFER (64 << 10)

/* result<process-status, string> */
typedef struct {
    uint8_t failed;
    union {
        struct {
            uint64_t process;
            uint8_t running;
            struct {
                uint8_t some;
                int32_t value;
            } status;
            uint64_t started;
        };
        theater_bytes error;
    };
} status_memory;

IMPORT(PROCESS, "os-spawn")
void import_spawn_program(BYTES, const theater_bytes *, size_t, int32_t, BYTES, const theater_variable *, size_t,
                          uint32_t, int32_t, int32_t, int32_t, uint32_t, int32_t, uint64_t, number_result_memory *);
IMPORT(PROCESS, "os-write-stdin") void import_write_input(uint64_t, BYTES, short_result_memory *);
IMPORT(PROCESS, "os-status") void import_process_status(uint64_t, status_memory *);
IMPORT(PROCESS, "os-signal") void import_signal_process(uint64_t, uint32_t, result_memory *);
IMPORT(PROCESS, "os-kill") void import_kill_process(uint64_t, result_memory *);

theater_number_result theater_start_program(theater_program it) {
    number_result_memory found;
    import_spawn_program(B(it.program), it.args, it.args_count, it.folder.some, B(it.folder.value), it.environment,
                         it.environment_count, it.buffer ? it.buffer : USUAL_BUFFER, it.output, it.errors,
                         it.chunk != 0, it.chunk, it.timeout != 0, it.timeout, &found);
    return read_number(&found);
}

theater_number_result theater_write_input(uint64_t process, theater_bytes data) {
    short_result_memory found;
    import_write_input(process, B(data), &found);
    return read_short(&found);
}

theater_process_status_result theater_process_status(uint64_t process) {
    status_memory found;
    import_process_status(process, &found);
    if (found.failed) return (theater_process_status_result){.ok = false, .error = found.error};
    return (theater_process_status_result){.ok = true,
                                           .running = found.running != 0,
                                           .has_status = found.status.some != 0,
                                           .status = found.status.value,
                                           .started = found.started};
}

theater_result theater_signal_process(uint64_t process, uint32_t number) {
    result_memory found;
    import_signal_process(process, number, &found);
    return read_outcome(&found);
}

theater_result theater_kill_process(uint64_t process) {
    result_memory found;
    import_kill_process(process, &found);
    return read_outcome(&found);
}

/* ---- handlers */

WEAK theater_answer theater_handle_stdout(theater_option state, uint64_t process, theater_bytes data) {
    (void)process, (void)data;
    return theater_ok(state);
}

WEAK theater_answer theater_handle_stderr(theater_option state, uint64_t process, theater_bytes data) {
    (void)process, (void)data;
    return theater_ok(state);
}

WEAK theater_answer theater_handle_process_exit(theater_option state, uint64_t process, int32_t status) {
    (void)process, (void)status;
    return theater_ok(state);
}

EXPORT(OF_PROGRAMS "#handle-stdout")
answer_memory *export_stdout(STATE, uint64_t process, const uint8_t *data, size_t size) {
    return give_answer(theater_handle_stdout(THE_STATE, process, (theater_bytes){data, size}));
}

EXPORT(OF_PROGRAMS "#handle-stderr")
answer_memory *export_stderr(STATE, uint64_t process, const uint8_t *data, size_t size) {
    return give_answer(theater_handle_stderr(THE_STATE, process, (theater_bytes){data, size}));
}

EXPORT(OF_PROGRAMS "#handle-exit") answer_memory *export_process_exit(STATE, uint64_t process, int32_t status) {
    return give_answer(theater_handle_process_exit(THE_STATE, process, status));
}

AFTER(OF_PROGRAMS "#handle-stdout", after_stdout)
AFTER(OF_PROGRAMS "#handle-stderr", after_stderr)
AFTER(OF_PROGRAMS "#handle-exit", after_process_exit)
