/* Programs that run beside a Theater actor in C (handler "process"). Which ones may is said by the manifest; they end
 * with the actor's life. The rules of memory are those of theater.h.
 */
#ifndef THEATER_PROCESS_H
#define THEATER_PROCESS_H

#include "theater.h"

/* How a program's output is cut into messages. */
typedef enum {
    THEATER_RAW,    /* as it comes */
    THEATER_LINES,  /* a line each */
    THEATER_JSON,   /* a JSON value each */
    THEATER_CHUNKS, /* of one size */
} theater_output;

/* A program to start. What is left out is 0: no arguments, the usual folder, no variables. */
typedef struct {
    theater_bytes program;                /* as the manifest names it */
    const theater_bytes *args;
    size_t args_count;
    theater_option folder;                /* that it runs in */
    const theater_variable *environment;
    size_t environment_count;
    uint32_t buffer;                      /* bytes of output that are held at most; 0: 64 KiB */
    theater_output output, errors;        /* of its standard output, and of its standard error */
    uint32_t chunk;                       /* the size of chunks */
    uint64_t timeout;                     /* seconds after which it is ended; 0: none */
} theater_program;

/* How a program is doing, or why that is not known. */
typedef struct {
    bool ok;
    bool running;
    bool has_status;   /* whether it has ended */
    int32_t status;    /* its exit status */
    uint64_t started;  /* in ms since the epoch */
    theater_bytes error;
} theater_process_status_result;

theater_number_result theater_start_program(theater_program program);                     /* its id */
theater_number_result theater_write_input(uint64_t process, theater_bytes data);          /* how many bytes it took */
theater_process_status_result theater_process_status(uint64_t process);
theater_result theater_signal_process(uint64_t process, uint32_t number);
theater_result theater_kill_process(uint64_t process);

/* ---- handlers; one that you leave out changes nothing */

/* A program wrote to its standard output, or to its standard error. */
theater_answer theater_handle_stdout(theater_option state, uint64_t process, theater_bytes data);
theater_answer theater_handle_stderr(theater_option state, uint64_t process, theater_bytes data);

/* A program has ended. */
theater_answer theater_handle_process_exit(theater_option state, uint64_t process, int32_t status);

#endif
