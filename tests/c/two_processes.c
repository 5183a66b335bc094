/* A parent, a forked child, and a copy-on-write region that neither shares. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    mapshare_region *region = open_new("file", 4096, 65536), *private_region = NULL;
    mapshare_options options = {0};
    char bytes[8];
    int status = 0, ends[2];
    pid_t child;

    options.access = MAPSHARE_COPY_ON_WRITE;
    CHECK(mapshare_open("file", &options, sizeof options, &private_region) == 0);
    CHECK(mapshare_write(private_region, 0, "private", 7) == 0 && pipe(ends) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char go;
        CHECK(read(ends[0], &go, 1) == 1);
        CHECK(mapshare_read(region, 100, bytes, 6) == 0 && memcmp(bytes, "parent", 6) == 0);
        CHECK(mapshare_read(private_region, 0, bytes, 7) == 0 && memcmp(bytes, "private", 7) == 0);
        CHECK(mapshare_write(private_region, 0, "changed", 7) == 0);
        CHECK(mapshare_resize(region, 10000) == 0 && mapshare_write(region, 9995, "child", 5) == 0);
        CHECK(mapshare_unmap(region) == 0 && mapshare_unmap(private_region) == 0);
        CHECK(mapshare_unmap(region) == -EBADF);
        return 0;
    }
    CHECK(mapshare_write(region, 100, "parent", 6) == 0 && write(ends[1], "!", 1) == 1);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(mapshare_length(region) == 4096);
    CHECK(mapshare_read(region, 9995, bytes, 5) == 0 && memcmp(bytes, "child", 5) == 0);
    CHECK(mapshare_length(region) == 10000);
    CHECK(mapshare_read(private_region, 0, bytes, 7) == 0 && memcmp(bytes, "private", 7) == 0);
    CHECK(mapshare_unmap(region) == 0 && mapshare_unmap(private_region) == 0);
    close(ends[0]);
    close(ends[1]);
    return 0;
}
