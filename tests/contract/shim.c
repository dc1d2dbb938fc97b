/* Stands between a program and the C library (LD_PRELOAD) for the files below one folder: writes down every change in
 * the order in which it happened, and lets the k-th call fail. tests/contract/shim.rs compiles it and tells it what to
 * do by opening paths that begin with "/jovis-shim/".
 *
 * A line of the record: kind u8 | inode u64 | offset u64 | length u32 | bytes, numbers as this machine has them.
 *   c created (bytes: its path)   m folder made (path)   w written (bytes)   t cut or grown to offset
 *   s synced   n renamed (from NUL to)   u removed (path)   ! a note (bytes)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define CONTROL "/jovis-shim/"
#define FILES 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char under[PATH_MAX];
static size_t under_length;
static int record = -1;
static char tracked[FILES];
static long calls, fail_at, fail_with, after_short;
static int for_ever, shorten, reads_too;

static int open_raw(const char *path, int flags, int mode) {
    return syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
}

static void note(char kind, uint64_t inode, uint64_t offset, const void *bytes, uint32_t length) {
    if (record < 0) return;
    char head[21];
    head[0] = kind;
    memcpy(head + 1, &inode, 8);
    memcpy(head + 9, &offset, 8);
    memcpy(head + 17, &length, 4);
    if (syscall(SYS_write, record, head, sizeof head) != sizeof head) abort();
    if (length && syscall(SYS_write, record, bytes, (size_t)length) != (long)length) abort();
}

static void control(const char *word) {
    pthread_mutex_lock(&lock);
    if (!strncmp(word, "under=", 6)) {
        snprintf(under, sizeof under, "%s", word + 6);
        under_length = strlen(under);
        memset(tracked, 0, sizeof tracked);
    } else if (!strncmp(word, "record=", 7)) {
        record = open_raw(word + 7, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (record < 0) abort();
    } else if (!strncmp(word, "note=", 5)) {
        note('!', 0, 0, word + 5, strlen(word + 5));
    } else if (!strncmp(word, "fail=", 5)) {
        after_short = calls = 0;
        if (sscanf(word + 5, "%ld,%ld,%d,%d,%d", &fail_at, &fail_with, &for_ever, &shorten, &reads_too) != 5) abort();
    } else if (!strncmp(word, "count=", 6)) {
        char text[32];
        int fd = open_raw(word + 6, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        int length = snprintf(text, sizeof text, "%ld", calls);
        if (fd < 0 || syscall(SYS_write, fd, text, length) != length) abort();
        syscall(SYS_close, fd);
    } else {
        abort();
    }
    pthread_mutex_unlock(&lock);
}

static int ours(const char *path) {
    return under_length && !strncmp(path, under, under_length) && (path[under_length] == '/' || !path[under_length]);
}

/* The whole path of a name in an open folder. */
static const char *whole(int dir, const char *path, char *room) {
    if (path[0] == '/' || dir == AT_FDCWD) return path;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t length = readlink(link, room, PATH_MAX - 2);
    if (length < 0) return path;
    snprintf(room + length, PATH_MAX - length, "/%s", path);
    return room;
}

static const char *below(const char *path) { return path[under_length] ? path + under_length + 1 : ""; }

/* Is it this call's turn? To be asked once per call, with the lock held. */
static int fails(void) {
    if (!fail_at) return 0;
    calls++;
    if (shorten) return after_short && (for_ever ? calls >= after_short : calls == after_short);
    return for_ever ? calls >= fail_at : calls == fail_at;
}

static int refused(void) {
    errno = fail_with;
    pthread_mutex_unlock(&lock);
    return -1;
}

static int is_ours(int fd) { return fd >= 0 && fd < FILES && tracked[fd]; }

static uint64_t inode(int fd) {
    struct stat it;
    return fstat(fd, &it) ? 0 : it.st_ino;
}

static int open_any(int dir, const char *path, int flags, int mode) {
    if (!strncmp(path, CONTROL, strlen(CONTROL))) {
        control(path + strlen(CONTROL));
        errno = ENOENT;
        return -1;
    }
    char room[PATH_MAX];
    const char *full = whole(dir, path, room);
    if (!ours(full)) {
        int fd = syscall(SYS_openat, dir, path, flags, mode);
        /* Its number may have been closed where we do not see it (closedir). */
        if (is_ours(fd)) tracked[fd] = 0;
        return fd;
    }
    pthread_mutex_lock(&lock);
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    if ((writes || reads_too) && fails()) return refused();
    int was = faccessat(AT_FDCWD, full, F_OK, 0) == 0;
    int fd = syscall(SYS_openat, dir, path, flags, mode);
    if (fd >= 0) {
        if (fd < FILES) tracked[fd] = 1;
        const char *name = below(full);
        if (!was) note('c', inode(fd), 0, name, strlen(name));
        else if (flags & O_TRUNC) note('t', inode(fd), 0, 0, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN(name, before, dir)                                                                                        \
    int name(before const char *path, int flags, ...) {                                                                \
        int mode = 0;                                                                                                  \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                           \
            va_list rest;                                                                                              \
            va_start(rest, flags);                                                                                     \
            mode = va_arg(rest, int);                                                                                  \
            va_end(rest);                                                                                              \
        }                                                                                                              \
        return open_any(dir, path, flags, mode);                                                                       \
    }
#define DIR_ARGUMENT int dir,
OPEN(open, , AT_FDCWD)
OPEN(open64, , AT_FDCWD)
OPEN(openat, DIR_ARGUMENT, dir)
OPEN(openat64, DIR_ARGUMENT, dir)

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < FILES) tracked[fd] = 0;
    int done = syscall(SYS_close, fd);
    pthread_mutex_unlock(&lock);
    return done;
}

static int fcntl_any(int fd, int command, long argument) {
    int done = syscall(SYS_fcntl, fd, command, argument);
    if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && done >= 0 && done < FILES) tracked[done] = is_ours(fd);
    return done;
}

#define FCNTL(name)                                                                                                    \
    int name(int fd, int command, ...) {                                                                               \
        va_list rest;                                                                                                  \
        va_start(rest, command);                                                                                       \
        long argument = va_arg(rest, long);                                                                            \
        va_end(rest);                                                                                                  \
        return fcntl_any(fd, command, argument);                                                                       \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

static ssize_t write_any(int fd, const void *bytes, size_t length, off_t at) {
    if (!is_ours(fd)) return at < 0 ? syscall(SYS_write, fd, bytes, length) : syscall(SYS_pwrite64, fd, bytes, length, at);
    pthread_mutex_lock(&lock);
    if (fails()) return refused();
    if (shorten && calls >= fail_at && !after_short && length > 1) {
        length /= 2;
        after_short = calls + 1;
    }
    off_t place = at < 0 ? lseek(fd, 0, SEEK_CUR) : at;
    ssize_t done = at < 0 ? syscall(SYS_write, fd, bytes, length) : syscall(SYS_pwrite64, fd, bytes, length, at);
    if (done > 0) note('w', inode(fd), place, bytes, done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) { return write_any(fd, bytes, length, -1); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return write_any(fd, bytes, length, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) { return write_any(fd, bytes, length, at); }

static ssize_t read_any(int fd, void *bytes, size_t length, off_t at) {
    if (is_ours(fd) && reads_too) {
        pthread_mutex_lock(&lock);
        if (fails()) return refused();
        pthread_mutex_unlock(&lock);
    }
    return at < 0 ? syscall(SYS_read, fd, bytes, length) : syscall(SYS_pread64, fd, bytes, length, at);
}

ssize_t read(int fd, void *bytes, size_t length) { return read_any(fd, bytes, length, -1); }
ssize_t pread(int fd, void *bytes, size_t length, off_t at) { return read_any(fd, bytes, length, at); }
ssize_t pread64(int fd, void *bytes, size_t length, off_t at) { return read_any(fd, bytes, length, at); }

static int sync_any(long call, int fd) {
    if (!is_ours(fd)) return syscall(call, fd);
    pthread_mutex_lock(&lock);
    if (fails()) return refused();
    int done = syscall(call, fd);
    if (!done) note('s', inode(fd), 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int fsync(int fd) { return sync_any(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_any(SYS_fdatasync, fd); }

/* Writes neither lengths nor the drive's cache: it may fail, and promises nothing. */
int sync_file_range(int fd, off_t at, off_t length, unsigned flags) {
    if (is_ours(fd)) {
        pthread_mutex_lock(&lock);
        if (fails()) return refused();
        pthread_mutex_unlock(&lock);
    }
    return syscall(SYS_sync_file_range, fd, at, length, flags);
}

static int cut_any(int fd, off_t length) {
    if (!is_ours(fd)) return syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    if (fails()) return refused();
    int done = syscall(SYS_ftruncate, fd, length);
    if (!done) note('t', inode(fd), length, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) { return cut_any(fd, length); }
int ftruncate64(int fd, off_t length) { return cut_any(fd, length); }

static int allocate_any(int fd, off_t at, off_t length) {
    if (is_ours(fd)) {
        pthread_mutex_lock(&lock);
        if (fails()) {
            pthread_mutex_unlock(&lock);
            return fail_with;
        }
    }
    int done = syscall(SYS_fallocate, fd, 0, at, length) ? errno : 0;
    if (is_ours(fd)) {
        if (!done) note('t', inode(fd), at + length, 0, 0);
        pthread_mutex_unlock(&lock);
    }
    return done;
}

int posix_fallocate(int fd, off_t at, off_t length) { return allocate_any(fd, at, length); }
int posix_fallocate64(int fd, off_t at, off_t length) { return allocate_any(fd, at, length); }

int rename(const char *from, const char *to) {
    if (!ours(from)) return syscall(SYS_rename, from, to);
    pthread_mutex_lock(&lock);
    if (fails()) return refused();
    int done = syscall(SYS_rename, from, to);
    if (!done) {
        char both[2 * PATH_MAX];
        int length = snprintf(both, sizeof both, "%s", below(from)) + 1;
        length += snprintf(both + length, PATH_MAX, "%s", below(to));
        note('n', 0, 0, both, length);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

static int remove_any(int dir, const char *path, int flags) {
    char room[PATH_MAX];
    const char *full = whole(dir, path, room);
    if (!ours(full)) return syscall(SYS_unlinkat, dir, path, flags);
    pthread_mutex_lock(&lock);
    if (fails()) return refused();
    int done = syscall(SYS_unlinkat, dir, path, flags);
    if (!done) note('u', 0, 0, below(full), strlen(below(full)));
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path) { return remove_any(AT_FDCWD, path, 0); }
int unlinkat(int dir, const char *path, int flags) { return remove_any(dir, path, flags); }
int rmdir(const char *path) { return remove_any(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdir(const char *path, mode_t mode) {
    if (!ours(path)) return syscall(SYS_mkdir, path, mode);
    pthread_mutex_lock(&lock);
    if (fails()) return refused();
    int done = syscall(SYS_mkdir, path, mode);
    struct stat it;
    if (!done && !stat(path, &it)) note('m', it.st_ino, 0, below(path), strlen(below(path)));
    pthread_mutex_unlock(&lock);
    return done;
}
