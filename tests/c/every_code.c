/* Codes as a C program meets them. */
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static mapshare_region *const untouched = (mapshare_region *)16;

static int try_open(const char *path, uint64_t flags, uint32_t access, uint64_t offset, uint64_t length) {
    mapshare_options options = {0};
    mapshare_region *region = untouched;
    int result;
    options.flags = flags;
    options.access = access;
    options.offset = offset;
    options.length = length;
    result = mapshare_open(path, &options, sizeof options, &region);
    CHECK((result < 0) == (region == untouched));
    return result < 0 ? result : mapshare_unmap(region);
}

int main(void) {
    struct { mapshare_options options; uint64_t newer; } newer = {{0, 0, 0, 0, 0, 0}, 0};
    mapshare_region *region = open_new("file", 100, 0), *stale;
    char bytes[256];
    void *view;
    int fd;

    CHECK(close(open("empty", O_CREAT | O_WRONLY, 0600)) == 0);
    CHECK(mkfifo("fifo", 0600) == 0 && symlink("file", "link") == 0 && mkdir("directory", 0700) == 0);

    REFUSED(try_open("empty", 0, MAPSHARE_READ_ONLY, 0, 10), ENXIO);
    REFUSED(try_open("empty", 0, MAPSHARE_READ_ONLY, 0, 0), EINVAL);
    REFUSED(try_open("file", 0, MAPSHARE_READ_ONLY, 1, 0), EINVAL);
    REFUSED(try_open("file", 0, MAPSHARE_READ_ONLY, 0, 101), ENXIO);
    REFUSED(try_open("file", 0, 3, 0, 0), EINVAL);
    REFUSED(try_open("file", 1u << 30, MAPSHARE_READ_ONLY, 0, 0), EINVAL);
    REFUSED(try_open("missing", 0, MAPSHARE_READ_ONLY, 0, 0), ENOENT);
    REFUSED(try_open("file/below", 0, MAPSHARE_READ_ONLY, 0, 0), ENOTDIR);
    REFUSED(try_open("file", MAPSHARE_CREATE | MAPSHARE_EXCLUSIVE, MAPSHARE_READ_WRITE, 0, 1), EEXIST);
    REFUSED(try_open("link", MAPSHARE_NO_FOLLOW, MAPSHARE_READ_ONLY, 0, 0), ELOOP);
    if (try_open("./file", MAPSHARE_BENEATH, MAPSHARE_READ_ONLY, 0, 0) != -EOPNOTSUPP) { /* valgrind has no openat2 */
        CHECK(try_open("./file", MAPSHARE_BENEATH, MAPSHARE_READ_ONLY, 0, 0) == 0);
        REFUSED(try_open("link", MAPSHARE_BENEATH, MAPSHARE_READ_ONLY, 0, 0), ELOOP);
        REFUSED(try_open("../file", MAPSHARE_BENEATH, MAPSHARE_READ_ONLY, 0, 0), EACCES);
        REFUSED(try_open("fifo", MAPSHARE_BENEATH, MAPSHARE_READ_WRITE, 0, 0), ENODEV);
    }
    REFUSED(try_open("fifo", 0, MAPSHARE_READ_WRITE, 0, 0), ENODEV);
    REFUSED(try_open("directory", 0, MAPSHARE_READ_ONLY, 0, 0), ENODEV);
    REFUSED(try_open("/dev/null", 0, MAPSHARE_READ_ONLY, 0, 0), ENODEV);
    REFUSED(try_open(NULL, 0, MAPSHARE_READ_ONLY, 0, 0), EINVAL);
    memset(bytes, 'x', sizeof bytes);
    bytes[sizeof bytes - 1] = 0;
    CHECK(try_open(bytes, 0, 0, 0, 0) == -ENOENT);
    {
        char longer[300];
        memset(longer, 'x', sizeof longer);
        longer[sizeof longer - 1] = 0;
        REFUSED(try_open(longer, MAPSHARE_CREATE, MAPSHARE_READ_WRITE, 0, 1), ENAMETOOLONG);
    }
    CHECK(try_open("link", 0, MAPSHARE_COPY_ON_WRITE, 0, 0) == 0);

    CHECK(mapshare_open("file", &newer.options, sizeof newer, &stale) == 0 && mapshare_unmap(stale) == 0);
    newer.newer = 1;
    stale = untouched;
    REFUSED(mapshare_open("file", &newer.options, sizeof newer, &stale), E2BIG);
    CHECK(stale == untouched);
    REFUSED(mapshare_open("file", NULL, 0, NULL), EINVAL);

    fd = open("file", O_WRONLY);
    REFUSED(mapshare_open_fd(fd, NULL, 0, &stale), EACCES);
    CHECK(close(fd) == 0);
    REFUSED(mapshare_open_fd(fd, NULL, 0, &stale), EBADF);
    REFUSED(mapshare_open_at(-1, "file", NULL, 0, &stale), EBADF);

    {
        const char *name = own_name("every_code");
        mapshare_options last = {0};
        last.flags = MAPSHARE_CREATE | MAPSHARE_UNLINK_LAST;
        last.access = MAPSHARE_READ_WRITE;
        last.length = 1;
        REFUSED(mapshare_open_named(NULL, NULL, 0, &stale), EINVAL);
        REFUSED(mapshare_open_named("a/b", NULL, 0, &stale), EINVAL);
        REFUSED(mapshare_open_named(name, NULL, 0, &stale), ENOENT);
        CHECK(close(shm_open(name, O_CREAT | O_RDWR, 0600)) == 0);
        REFUSED(mapshare_open_named(name, &last, sizeof last, &stale), EEXIST);
        CHECK(mapshare_sweep_named(name) == 0 && mapshare_unlink_named(name) == 0);
        last.mode = 0755;
        REFUSED(mapshare_open_named(name, &last, sizeof last, &stale), EINVAL);
        REFUSED(mapshare_unlink_named(name), ENOENT);
        REFUSED(mapshare_sweep_named("a/b"), EINVAL);
        CHECK(stale == untouched);
    }

    REFUSED(mapshare_read(region, 100, bytes, 1), ERANGE);
    REFUSED(mapshare_read(region, UINT64_MAX, bytes, 2), ERANGE);
    REFUSED(mapshare_write(region, 1, bytes, SIZE_MAX), ERANGE);
    REFUSED(mapshare_read(region, 0, NULL, 1), EINVAL);
    REFUSED(mapshare_fill(region, 0, 1, 256), EINVAL);
    REFUSED(mapshare_flush(region, 0, 0, 2), EINVAL);
    REFUSED(mapshare_advise(region, 0, 0, 6), EINVAL);
    REFUSED(mapshare_view(region, 0, 1, NULL), EINVAL);
    REFUSED(mapshare_view(region, 0, 0, &view), EINVAL);
    REFUSED(mapshare_release(region, bytes), EINVAL);
    REFUSED(mapshare_info(region, NULL, 8), EINVAL);
    REFUSED(mapshare_protect(region, MAPSHARE_COPY_ON_WRITE), EINVAL);
    REFUSED(mapshare_lock_range(region, 0, 1, 0, 0), EINVAL);
    REFUSED(mapshare_lock_range(region, 0, 101, MAPSHARE_LOCK_SHARED, 0), ERANGE);
    REFUSED(mapshare_unlock_range(region, 0, 1), EPERM);
    REFUSED(mapshare_resize(region, 0), EINVAL);

    CHECK(mapshare_view(region, 0, 1, &view) == 0);
    REFUSED(mapshare_unmap(region), EBUSY);
    REFUSED(mapshare_resize(region, UINT64_C(1) << 30), EBUSY);
    REFUSED(mapshare_protect(region, MAPSHARE_READ_ONLY), EBUSY);
    CHECK(mapshare_release(region, view) == 0 && mapshare_unmap(region) == 0);
    REFUSED(mapshare_unmap(region), EBADF);
    REFUSED(mapshare_unmap(NULL), EBADF);
    REFUSED(mapshare_release(region, view), EBADF);
    CHECK(mapshare_length((mapshare_region *)(void *)bytes) == -EBADF);
    CHECK(mapshare_fd(NULL) == -EBADF && mapshare_refresh(NULL) == -EBADF);
    return 0;
}
