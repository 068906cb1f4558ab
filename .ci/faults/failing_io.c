/* Makes one call on a database's files fail: LD_PRELOAD for `.ci/faults/file_system`.
 *
 * FAILING_IO names a file of five 64-bit numbers that this library and the script share: which call is to fail, counted from
 * when the script set it (0: none), the calls since, what fails (1: an I/O error, 2: no space left, 3: half of the bytes), the
 * calls that did, and which function the last of them was in. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { NONE, IO_ERROR, NO_SPACE, HALF };

struct control {
    _Atomic uint64_t fails_at, calls, kind, failed, function;
};

static struct control *control;
static _Atomic char is_database[65536];

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (!next) next = (__typeof__(next))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FAILING_IO");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *shared = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared != MAP_FAILED) control = shared;
}

/* What is to happen to this call. */
static int verdict(int function) {
    if (!control || !atomic_load(&control->fails_at)) return NONE;
    if (atomic_fetch_add(&control->calls, 1) + 1 != atomic_load(&control->fails_at)) return NONE;
    atomic_store(&control->function, function);
    atomic_fetch_add(&control->failed, 1);
    return (int)atomic_load(&control->kind);
}

static int fails(int fd, int function) {
    return fd >= 0 && fd < 65536 && is_database[fd] ? verdict(function) : NONE;
}

static int refuse(int kind) {
    errno = kind == NO_SPACE ? ENOSPC : EIO;
    return -1;
}

static int named(const char *path) {
    return path && strstr(path, ".db") != NULL;
}

static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < 65536) is_database[fd] = named(path);
    return fd;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        NEXT(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        int kind = named(path) ? verdict(1) : NONE; \
        return kind == IO_ERROR || kind == NO_SPACE ? refuse(kind) : opened(next(path, flags, mode), path); \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    NEXT(close);
    if (fd >= 0 && fd < 65536) is_database[fd] = 0;
    return next(fd);
}

/* Half of the bytes, at least one: a caller must go on with the rest. */
#define TRANSFER(name, number, declaration, arguments) \
    ssize_t name declaration { \
        NEXT(name); \
        int kind = fails(fd, number); \
        if (kind == IO_ERROR || kind == NO_SPACE) return refuse(kind); \
        if (kind == HALF && size > 1) size /= 2; \
        return next arguments; \
    }
TRANSFER(read, 2, (int fd, void *to, size_t size), (fd, to, size))
TRANSFER(pread, 3, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
TRANSFER(pread64, 3, (int fd, void *to, size_t size, off64_t at), (fd, to, size, at))
TRANSFER(write, 4, (int fd, const void *from, size_t size), (fd, from, size))
TRANSFER(pwrite, 5, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
TRANSFER(pwrite64, 5, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at))

#define CALL(name, number, declaration, arguments) \
    int name declaration { \
        NEXT(name); \
        int kind = fails(fd, number); \
        return kind == IO_ERROR || kind == NO_SPACE ? refuse(kind) : next arguments; \
    }
CALL(fsync, 6, (int fd), (fd))
CALL(fdatasync, 6, (int fd), (fd))
CALL(ftruncate, 7, (int fd, off_t size), (fd, size))
CALL(ftruncate64, 7, (int fd, off64_t size), (fd, size))
CALL(fstat, 8, (int fd, struct stat *to), (fd, to))
CALL(fstat64, 8, (int fd, struct stat64 *to), (fd, to))
