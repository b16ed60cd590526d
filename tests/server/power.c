/* A machine whose power can be cut, and whose disk can fail: preloaded into every process of a server (tests/server/machine.py).

   What fsync and fdatasync have made durable is copied aside, by inode; a directory's names are what its own fsync saw.
   Everything else is on the disk or not, as chance will have it: machine.py puts such a disk together.

   POWER_HOME     folder that is watched, without links in its path
   POWER_SHADOW   folder of copies: f.INODE.BIRTH for files, d.INODE.BIRTH for the names in a folder
   POWER_CONTROL  page shared with the test, see `struct control`
   POWER_BOOT     file that is read in place of the kernel's boot id

   They are looked for until they are there: a process may get its environment after it has begun (ready_commands.py).

   It keeps its copies wherever it is preloaded, also in processes that may write nothing of theirs any more: no process
   that it is in is walled off by filters of its system calls, or by what it may do with files (theater/walls).

   After a sync of a file has failed, its pages look written and are not: a read shows them until the cache is dropped
   (posix_fadvise), and a later sync that succeeds does not bring them back. So it is here. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct control {
  uint64_t fail_at;   /* number of the write or sync that fails; 0 for none */
  uint64_t count;     /* writes and syncs of files whose path has `match` in it */
  uint64_t error;     /* errno that it fails with */
  uint64_t failed;    /* how many have failed */
  uint64_t lasting;   /* 1: all after it fail as well */
  uint64_t partial;   /* a failing write takes so many bytes first, and fails at the rest */
  char match[256];
};

#define NEW_LISTENER 8

long syscall(long number, ...) {
  static long (*really)(long, ...);
  va_list more;
  va_start(more, number);
  long a = va_arg(more, long), b = va_arg(more, long), c = va_arg(more, long);
  long d = va_arg(more, long), e = va_arg(more, long), f = va_arg(more, long);
  va_end(more);
  if (number == SYS_seccomp) return b & NEW_LISTENER ? eventfd(0, EFD_CLOEXEC) : 0;
  if (number == SYS_landlock_restrict_self) return 0;
  if (!really) really = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  return really(number, a, b, c, d, e, f);
}

static char home[PATH_MAX], shadow[PATH_MAX - 256], boot[PATH_MAX];
static struct control *control;
static uint64_t serial;

static void begin(void) {
  const char *where = getenv("POWER_HOME"), *copies = getenv("POWER_SHADOW");
  const char *page = getenv("POWER_CONTROL"), *id = getenv("POWER_BOOT");
  if (!where || !copies || !page || !id) return;
  snprintf(home, sizeof home, "%s/", where);
  snprintf(shadow, sizeof shadow, "%s", copies);
  snprintf(boot, sizeof boot, "%s", id);
  int fd = syscall(SYS_openat, AT_FDCWD, page, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return;
  void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped != MAP_FAILED) control = mapped;
  close(fd);
}

static int has_begun(void) {
  if (!control) begin();
  return control != NULL;
}

/* Whether the descriptor is of something below the watched folder; its path goes into `path`. */
static int watched(int fd, char *path) {
  char link[64];
  if (!has_begun()) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, PATH_MAX - 2);
  if (size < 0) return 0;
  path[size] = '/';
  path[size + 1] = 0;
  int inside = !strncmp(path, home, strlen(home));
  path[size] = 0;
  return inside;
}

static int key_of(int at, const char *name, char *key) {
  struct statx found;
  if (statx(at, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &found)) return -1;
  sprintf(key, "%llu.%lld.%u", (unsigned long long)found.stx_ino, (long long)found.stx_btime.tv_sec,
          found.stx_btime.tv_nsec);
  return found.stx_mode & S_IFMT;
}

static int draft(char *name) {
  sprintf(name, "%s/draft.%d.%llu", shadow, (int)syscall(SYS_gettid),
          (unsigned long long)__atomic_add_fetch(&serial, 1, __ATOMIC_SEQ_CST));
  return syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static void copy(int from, int to) {
  static __thread char block[1 << 16];
  ssize_t size;
  while ((size = syscall(SYS_read, from, block, sizeof block)) > 0)
    if (syscall(SYS_write, to, block, size) != size) abort();
}

/* The part of a file that a failed sync has left in memory only: "first last" in e.INODE.BIRTH. */
static int undead(const char *key, long long *first, long long *last) {
  char name[PATH_MAX + 64], text[64] = "";
  snprintf(name, sizeof name, "%s/e.%s", shadow, key);
  int fd = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return 0;
  syscall(SYS_read, fd, text, sizeof text - 1);
  close(fd);
  return sscanf(text, "%lld %lld", first, last) == 2;
}

static void zero(int fd, long long first, long long last) {
  static const char nothing[4096];
  for (long long at = first; at < last; at += sizeof nothing)
    syscall(SYS_pwrite64, fd, nothing, last - at < (long long)sizeof nothing ? last - at : sizeof nothing, at);
}

static void save_file(int fd, const char *key) {
  char link[64], fresh[PATH_MAX + 64], name[PATH_MAX + 64];
  long long first, last;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  int from = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0), to = draft(fresh);
  if (from < 0 || to < 0) abort();
  copy(from, to);
  struct stat found;
  if (undead(key, &first, &last) && !fstat(to, &found))
    zero(to, first, last < found.st_size ? last : found.st_size);
  close(from);
  close(to);
  snprintf(name, sizeof name, "%s/f.%s", shadow, key);
  rename(fresh, name);
}

static void save_folder(int fd, const char *key) {
  char link[64], fresh[PATH_MAX + 64], name[PATH_MAX + 64], line[PATH_MAX], child[96];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  DIR *folder = opendir(link);
  int to = draft(fresh);
  if (!folder || to < 0) abort();
  for (struct dirent *entry; (entry = readdir(folder));) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    if (key_of(dirfd(folder), entry->d_name, child) < 0) continue;
    int size = snprintf(line, sizeof line, "%s %s\n", child, entry->d_name);
    if (syscall(SYS_write, to, line, size) != size) abort();
  }
  closedir(folder);
  close(to);
  snprintf(name, sizeof name, "%s/d.%s", shadow, key);
  rename(fresh, name);
}

static int fails(const char *path) {
  if (!control->match[0] || !strstr(path, control->match)) return 0;
  uint64_t number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
  if (!control->fail_at || number < control->fail_at || (number > control->fail_at && !control->lasting)) return 0;
  __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
  return 1;
}

static void note_failed_sync(int fd, const char *key) {
  char name[PATH_MAX + 64], text[64];
  struct stat found, durable;
  snprintf(name, sizeof name, "%s/f.%s", shadow, key);
  long long first = stat(name, &durable) ? 0 : durable.st_size, older, last;
  if (undead(key, &older, &last)) first = older;
  if (fstat(fd, &found)) return;
  snprintf(name, sizeof name, "%s/e.%s", shadow, key);
  int to = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  int size = snprintf(text, sizeof text, "%lld %lld", first, (long long)found.st_size);
  syscall(SYS_write, to, text, size);
  close(to);
}

static int sync_it(int fd, int number) {
  char path[PATH_MAX], key[96];
  if (!watched(fd, path)) return syscall(number, fd);
  int kind = key_of(fd, "", key);
  if (kind == S_IFREG) {
    if (fails(path)) {
      note_failed_sync(fd, key);
      errno = control->error;
      return -1;
    }
    save_file(fd, key);
  } else if (kind == S_IFDIR) {
    save_folder(fd, key);
  }
  return 0; /* The disk of this machine is the shadow. */
}

int fsync(int fd) { return sync_it(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_it(fd, SYS_fdatasync); }

static void save_all(const char *path) {
  char key[96], below[PATH_MAX];
  int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
  if (fd < 0) return;
  int kind = key_of(fd, "", key);
  if (kind == S_IFREG) save_file(fd, key);
  if (kind == S_IFDIR) {
    save_folder(fd, key);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
      if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
      snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
      save_all(below);
    }
    if (folder) closedir(folder);
  }
  close(fd);
}

int syncfs(int fd) {
  char path[PATH_MAX];
  if (!watched(fd, path)) return syscall(SYS_syncfs, fd);
  snprintf(path, sizeof path, "%.*s", (int)strlen(home) - 1, home);
  save_all(path);
  return 0;
}

ssize_t write(int fd, const void *data, size_t size) {
  char path[PATH_MAX];
  struct stat found;
  if (has_begun() && control->match[0] && !fstat(fd, &found) && S_ISREG(found.st_mode) && watched(fd, path) &&
      fails(path)) {
    if (control->partial && control->partial < size) return syscall(SYS_write, fd, data, control->partial);
    errno = control->error;
    return -1;
  }
  return syscall(SYS_write, fd, data, size);
}

int posix_fadvise(int fd, off_t offset, off_t length, int advice) {
  char path[PATH_MAX], key[96], link[64];
  long long first, last;
  struct stat found;
  if (advice == POSIX_FADV_DONTNEED && watched(fd, path) && key_of(fd, "", key) == S_IFREG &&
      undead(key, &first, &last) && !fstat(fd, &found)) {
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int again = syscall(SYS_openat, AT_FDCWD, link, O_WRONLY | O_CLOEXEC, 0); /* not O_APPEND, as pwrite wants */
    zero(again, first, last < found.st_size ? last : found.st_size);
    close(again);
    snprintf(path, sizeof path, "%s/e.%s", shadow, key);
    unlink(path); /* What a read shows is on the disk again. */
  }
  return syscall(SYS_fadvise64, fd, offset, length, advice) < 0 ? errno : 0;
}
int posix_fadvise64(int fd, off_t offset, off_t length, int advice) { return posix_fadvise(fd, offset, length, advice); }

static int open_it(int at, const char *path, int flags, va_list more) {
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
  if (has_begun() && boot[0] && !strcmp(path, "/proc/sys/kernel/random/boot_id")) path = boot;
  return syscall(SYS_openat, at, path, flags, mode);
}

#define OPENER(name) \
  int name(const char *path, int flags, ...) { \
    va_list more; \
    va_start(more, flags); \
    int fd = open_it(AT_FDCWD, path, flags, more); \
    va_end(more); \
    return fd; \
  }
OPENER(open)
OPENER(open64)
