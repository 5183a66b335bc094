/* Each function once, doing what its comment in the header says. The program's own descriptors are close-on-exec, as
   tests/close_on_exec.rs wants of every one that is made here. */
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void) {
    char buffer[64];
    void *view = NULL;
    mapshare_region *region = open_new("file", 8192, 1 << 20), *again = NULL, *other;
    mapshare_options options = {0};
    mapshare_region_info info;
    int fd;

    CHECK(mapshare_write(region, 10, "hello", 5) == 0);
    CHECK(mapshare_read(region, 9, buffer, 7) == 0 && memcmp(buffer, "\0hello\0", 7) == 0);
    CHECK(mapshare_fill(region, 100, 50, 0x7f) == 0);
    CHECK(mapshare_copy(region, 110, region, 100, 45) == 0);
    CHECK(mapshare_flush(region, 0, 0, 0) == 0);
    CHECK(mapshare_flush(region, 0, 0, MAPSHARE_FLUSH_ASYNC) == 0);
    CHECK(mapshare_advise(region, 0, 0, MAPSHARE_ADVISE_RANDOM) == 0);

    CHECK(mapshare_view(region, 10, 5, &view) == 0 && memcmp(view, "hello", 5) == 0);
    memcpy(view, "HELLO", 5);
    CHECK(mapshare_unmap(region) == -EBUSY);
    CHECK(mapshare_release(region, view) == 0);
    CHECK(*mapshare_lost_count() == 0);
    CHECK(mapshare_read(region, 10, buffer, 5) == 0 && memcmp(buffer, "HELLO", 5) == 0);

    fd = mapshare_fd(region);
    CHECK(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(pread(fd, buffer, 5, 10) == 5 && memcmp(buffer, "HELLO", 5) == 0);
    CHECK(mapshare_open_fd(fd, NULL, 0, &again) == 0 && close(fd) == 0);
    CHECK(mapshare_length(again) == 8192);
    REFUSED(mapshare_write(again, 0, "x", 1), EACCES);

    CHECK(mapshare_resize(region, 20000) == 0 && mapshare_length(region) == 20000);
    CHECK(mapshare_refresh(again) == 1 && mapshare_length(again) == 20000 && mapshare_refresh(again) == 0);
    CHECK(mapshare_protect(region, MAPSHARE_READ_ONLY) == 0);
    REFUSED(mapshare_fill(region, 0, 1, 0), EACCES);
    CHECK(mapshare_protect(region, MAPSHARE_READ_WRITE) == 0);

    memset(&info, 0xee, sizeof info);
    CHECK(mapshare_info(region, &info, sizeof info) == 0);
    CHECK(info.length == 20000 && info.file_length == 20000 && info.reserve == 1 << 20 && info.offset == 0);
    CHECK(info.access == MAPSHARE_READ_WRITE && info.backing == MAPSHARE_BACKING_FILE && info.views == 0);
    CHECK(mapshare_info(again, &info, sizeof info) == 0 && info.backing == MAPSHARE_BACKING_FD);

    CHECK(mapshare_lock_range(region, 0, 10, MAPSHARE_LOCK_EXCLUSIVE, -1) == 0);
    CHECK(mapshare_lock_range(again, 10, 0, MAPSHARE_LOCK_SHARED, 0) == 0);
    CHECK(mapshare_unlock_range(region, 0, 10) == 0 && mapshare_unlock_range(again, 10, 0) == 0);

    fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(mapshare_open_at(fd, "file", NULL, 0, &other) == 0 && mapshare_unmap(other) == 0);
    options.flags = MAPSHARE_BENEATH;
    if (mapshare_open_at(fd, "file", &options, sizeof options, &other) != 0) {
        /* valgrind has no openat2 */
        CHECK(strstr(mapshare_last_error(), "(EOPNOTSUPP)") != NULL);
        CHECK(mapshare_open_at(fd, "file", NULL, 0, &other) == 0);
    }
    CHECK(close(fd) == 0);
    CHECK(mapshare_copy(region, 0, other, 10, 5) == 0);
    CHECK(mapshare_unmap(other) == 0 && mapshare_unmap(again) == 0 && mapshare_unmap(region) == 0);

    {
        const char *name = own_name("every_function");
        mapshare_options options = {0};
        options.flags = MAPSHARE_CREATE | MAPSHARE_UNLINK_LAST;
        options.access = MAPSHARE_READ_WRITE;
        options.length = 100;
        CHECK(mapshare_open_named(name, &options, sizeof options, &region) == 0);
        CHECK(mapshare_info(region, &info, sizeof info) == 0 && info.backing == MAPSHARE_BACKING_NAMED);
        fd = shm_open(name, O_RDWR, 0);
        CHECK(fd >= 0 && pwrite(fd, "shared", 6, 50) == 6 && close(fd) == 0);
        CHECK(mapshare_read(region, 50, buffer, 6) == 0 && memcmp(buffer, "shared", 6) == 0);
        CHECK(mapshare_sweep_named(name) == 0);
        CHECK(mapshare_unlink_named(name) == 0 && mapshare_unmap(region) == 0);
        REFUSED(mapshare_unlink_named(name), ENOENT);
    }

    CHECK(mapshare_arm() == 0);
    CHECK(mapshare_version_number() == 1 << 8 && strcmp(mapshare_version(), "0.1.0") == 0);
    CHECK(strcmp(mapshare_strerror(0), "success") == 0 && strcmp(mapshare_strerror(-EIO), mapshare_strerror(EIO)) == 0);
    return 0;
}
