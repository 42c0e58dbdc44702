/* Stands between lmdb and the kernel (LD_PRELOAD) and sees every write and flush of files named
 * *.mdb. It counts them, holds flushes back or fails any of them on command, and keeps what a power
 * loss would take: the bytes that each write replaced, until a flush makes that write durable.
 * Commands and counters lie in a file that the test reads and writes.
 *
 * lmdb 3.5.6 on Linux, as found with strace: pages go out by pwrite64 (one) or lseek64 + writev
 * (several), then fdatasync, then the meta page by pwrite64 on a second descriptor with O_DSYNC,
 * which is a write and a flush in one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ON_FLUSH = 1, ON_PAGES = 2, ON_META = 4, ON_GROWTH = 8 };

/* The order is that of FIELDS in flush-gate.ts. */
struct gate {
  _Atomic uint32_t flushes_begun;
  _Atomic uint32_t flushes_ended;
  _Atomic uint32_t page_writes;
  _Atomic uint32_t meta_writes;
  _Atomic uint32_t failures;
  _Atomic uint32_t held;
  _Atomic uint32_t hold;
  _Atomic uint32_t fail_errno;
  _Atomic uint32_t fail_on;
};

static struct gate *gate;
static int undo_fd = -1;
static pthread_mutex_t undo_mutex = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_pwrite64)(int, const void *, size_t, off64_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);

__attribute__((constructor)) static void open_gate(void) {
  real_pwrite64 = dlsym(RTLD_NEXT, "pwrite64");
  real_writev = dlsym(RTLD_NEXT, "writev");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  const char *path = getenv("TREELINE_FLUSH_GATE");
  const char *undo = getenv("TREELINE_FLUSH_UNDO");
  int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *map = mmap(NULL, sizeof *gate, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (map == MAP_FAILED) return;
  gate = map;
  if (undo != NULL) undo_fd = open(undo, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int is_store(int fd) {
  char link[64], name[4096];
  if (gate == NULL) return 0;
  char digits[16];
  int length = 0, rest = fd;
  do digits[length++] = (char)('0' + rest % 10); while ((rest /= 10) > 0);
  char *end = stpcpy(link, "/proc/self/fd/");
  while (length > 0) *end++ = digits[--length];
  *end = 0;
  ssize_t size = readlink(link, name, sizeof name);
  return size > 4 && memcmp(name + size - 4, ".mdb", 4) == 0;
}

static int is_meta(int fd) { return (fcntl(fd, F_GETFL) & O_DSYNC) != 0; }

/* Whether this call is to fail; errno is set then. */
static int refuses(uint32_t what) {
  uint32_t error = atomic_load(&gate->fail_errno);
  if (error == 0 || (atomic_load(&gate->fail_on) & what) == 0) return 0;
  atomic_fetch_add(&gate->failures, 1);
  errno = (int)error;
  return 1;
}

/* A write that would make the file longer: where a full disk says so. */
static uint32_t growth(int fd, off64_t offset, size_t length) {
  struct stat64 about;
  if (fstat64(fd, &about) != 0) return 0;
  return offset + (off64_t)length > about.st_size ? ON_GROWTH : 0;
}

/* What lies there now, as one entry: u64 offset, u64 length, bytes. Zeros where the file ends. */
static void remember(int fd, off64_t offset, size_t length) {
  if (undo_fd < 0) return;
  unsigned char *entry = calloc(1, 16 + length);
  if (entry == NULL) abort();
  uint64_t head[2] = {(uint64_t)offset, length};
  memcpy(entry, head, 16);
  for (size_t at = 0; at < length;) {
    ssize_t got = pread64(fd, entry + 16 + at, length - at, offset + (off64_t)at);
    if (got <= 0) break;
    at += (size_t)got;
  }
  pthread_mutex_lock(&undo_mutex);
  if (write(undo_fd, entry, 16 + length) != (ssize_t)(16 + length)) abort();
  pthread_mutex_unlock(&undo_mutex);
  free(entry);
}

static int flush(int fd, int (*real)(int)) {
  if (!is_store(fd)) return real(fd);
  atomic_fetch_add(&gate->flushes_begun, 1);
  atomic_fetch_add(&gate->held, 1);
  while (atomic_load(&gate->hold) != 0) usleep(200);
  atomic_fetch_sub(&gate->held, 1);
  if (refuses(ON_FLUSH)) return -1;
  int result = real(fd);
  if (result != 0) return result;
  /* One transaction at a time: nothing was written while we flushed. */
  pthread_mutex_lock(&undo_mutex);
  if (undo_fd >= 0 && ftruncate(undo_fd, 0) != 0) abort();
  pthread_mutex_unlock(&undo_mutex);
  atomic_fetch_add(&gate->flushes_ended, 1);
  return 0;
}

int fdatasync(int fd) { return flush(fd, real_fdatasync); }

int fsync(int fd) { return flush(fd, real_fsync); }

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
  if (!is_store(fd)) return real_pwrite64(fd, bytes, length, offset);
  int meta = is_meta(fd);
  if (refuses(meta ? ON_META : ON_PAGES | growth(fd, offset, length))) return -1;
  if (!meta) remember(fd, offset, length);
  atomic_fetch_add(meta ? &gate->meta_writes : &gate->page_writes, 1);
  return real_pwrite64(fd, bytes, length, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
  return pwrite64(fd, bytes, length, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (!is_store(fd)) return real_writev(fd, parts, count);
  size_t length = 0;
  for (int i = 0; i < count; i++) length += parts[i].iov_len;
  off64_t offset = lseek64(fd, 0, SEEK_CUR);
  if (refuses(ON_PAGES | growth(fd, offset, length))) return -1;
  remember(fd, offset, length);
  atomic_fetch_add(&gate->page_writes, 1);
  return real_writev(fd, parts, count);
}
