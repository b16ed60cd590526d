/* A machine that has faults on request: preloaded into every process of a server (tests/faults/machine.py).

   FAULTS_CONTROL  page shared with the harness, see `struct control`

   The wall clock is off by as much as the page says; the monotonic one is not. Processes cannot be made, with the errno
   that the page has. Writes and syncs of regular files on one device fail, likewise. Nothing is looked for by name: a
   worker that is sealed may not. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
  int64_t clock_ns;      /* the wall clock is ahead by so much */
  uint64_t fork_error;   /* errno of fork, clone and posix_spawn; 0: they work */
  uint64_t write_error;  /* errno of writes and syncs; 0: they work */
  uint64_t device;       /* of which device's files */
  uint64_t forks_failed;
  uint64_t writes_failed;
};

static struct control *control;

__attribute__((constructor)) static void begin(void) {
  const char *page = getenv("FAULTS_CONTROL");
  if (control || !page) return;
  int fd = syscall(SYS_openat, AT_FDCWD, page, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return;
  void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped != MAP_FAILED) control = mapped;
  close(fd);
}

#define REAL(name) ((__typeof__(&name))real(&real_##name, #name))

static void *real(void **kept, const char *name) {
  if (!*kept) *kept = dlsym(RTLD_NEXT, name);
  return *kept;
}

/* ---- the wall clock */

static void *real_clock_gettime;

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = REAL(clock_gettime)(clock, now);
  if (failed || !control || !control->clock_ns || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return failed;
  int64_t all = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec + control->clock_ns;
  now->tv_sec = all / 1000000000;
  now->tv_nsec = all % 1000000000;
  return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec found;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &found);
  now->tv_sec = found.tv_sec;
  now->tv_usec = found.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *where) {
  struct timespec found;
  clock_gettime(CLOCK_REALTIME, &found);
  if (where) *where = found.tv_sec;
  return found.tv_sec;
}

/* ---- processes */

static int no_process(void) {
  if (!control || !control->fork_error) return 0;
  __atomic_add_fetch(&control->forks_failed, 1, __ATOMIC_SEQ_CST);
  return errno = (int)control->fork_error;
}

static void *real_fork, *real_posix_spawn, *real_syscall;

pid_t fork(void) { return no_process() ? -1 : REAL(fork)(); }

int posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *restrict how, char *const words[restrict], char *const environment[restrict]) {
  int failed = no_process();
  return failed ? failed : REAL(posix_spawn)(pid, path, actions, how, words, environment);
}

/* Theater clones by number (theater/server/spawner.py). */
long syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  long a[6];
  for (int each = 0; each < 6; each++) a[each] = va_arg(rest, long);
  va_end(rest);
  if (number == SYS_clone && no_process()) return -1;
  return ((long (*)(long, long, long, long, long, long, long))real(&real_syscall, "syscall"))(number, a[0], a[1], a[2],
                                                                                             a[3], a[4], a[5]);
}

/* ---- the disk */

static int fails(int fd) {
  struct stat found;
  if (!control || !control->write_error || fstat(fd, &found)) return 0;
  if (!S_ISREG(found.st_mode) || found.st_dev != control->device) return 0;
  __atomic_add_fetch(&control->writes_failed, 1, __ATOMIC_SEQ_CST);
  errno = (int)control->write_error;
  return 1;
}

static void *real_write, *real_pwrite64, *real_writev, *real_fsync, *real_fdatasync;

ssize_t write(int fd, const void *data, size_t size) { return fails(fd) ? -1 : REAL(write)(fd, data, size); }

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  return fails(fd) ? -1 : REAL(pwrite64)(fd, data, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) { return fails(fd) ? -1 : REAL(writev)(fd, parts, count); }

int fsync(int fd) { return fails(fd) ? -1 : REAL(fsync)(fd); }

int fdatasync(int fd) { return fails(fd) ? -1 : REAL(fdatasync)(fd); }
