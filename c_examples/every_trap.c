/*
 * The ten traps of mmap, one after the other: what is asked, and the code and the sentence that mapshare gives instead
 * of a crash, of silence, or of writes that go nowhere. Ends with 1 when one does not give the code that is promised.
 *
 * Build and run, in the top folder of mapshare:
 *     make
 *     cc c_examples/every_trap.c -Ibuild/include -Lbuild/lib -lmapshare -Wl,-rpath,$PWD/build/lib -o every_trap
 *     ./every_trap                          (or ./every_trap PATH; the file there is made anew)
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <mapshare.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *path = "/tmp/mapshare-every_trap.bin";
static mapshare_region *region;
static int wrong;

static void trap(int number, const char *asked, int code, int promised)
{
    printf("%2d  %s\n    %d  %s%s\n", number, asked, code, code < 0 ? mapshare_last_error() : "works",
           code == promised ? "" : "  <- THIS IS NOT WHAT IS PROMISED");
    wrong += code != promised;
}

static int open_path(uint32_t access, uint64_t flags, uint64_t offset, uint64_t length)
{
    mapshare_options options = {.access = access, .flags = flags, .offset = offset, .length = length};
    return mapshare_open(path, &options, sizeof options, &region);
}

/* The whole file, through a descriptor of that mode, which is closed at once. */
static int open_fd(int mode, uint32_t access)
{
    mapshare_options options = {.access = access};
    int fd = open(path, mode);
    int code = mapshare_open_fd(fd, &options, sizeof options, &region);
    close(fd);
    return code;
}

int main(int argc, char **argv)
{
    const uint32_t shared = MAPSHARE_READ_WRITE, copy = MAPSHARE_COPY_ON_WRITE, reading = MAPSHARE_READ_ONLY;
    char bytes[7] = "";
    if (argc > 1)
        path = argv[1];
    unlink(path);
    close(open(path, O_CREAT | O_EXCL | O_WRONLY, 0600));

    trap(1, "4096 bytes of a file of 0 bytes", open_path(shared, 0, 0, 4096), -ENXIO);
    trap(2, "all bytes of a file of 0 bytes", open_path(reading, 0, 0, 0), -EINVAL);
    trap(2, "4096 bytes of it, with MAPSHARE_CREATE", open_path(shared, MAPSHARE_CREATE, 0, 4096), 0);
    wrong += mapshare_unmap(region) != 0;
    trap(3, "shared writing through a descriptor for reading", open_fd(O_RDONLY, shared), -EACCES);
    trap(4, "any mapping through a descriptor for writing", open_fd(O_WRONLY, reading), -EACCES);
    trap(5, "mapping through a descriptor, which is closed then", open_fd(O_RDWR, shared), 0);
    trap(5, "writing \"before\" into that mapping", mapshare_write(region, 0, "before", 7), 0);
    trap(6, "a mapping of the file from its byte 100 on", open_path(reading, 0, 100, 0), -EINVAL);
    trap(7, "2 bytes from byte 4095 of 4096", mapshare_read(region, 4095, bytes, 2), -ERANGE);
    trap(7, "2 bytes from byte 2^64 - 1", mapshare_read(region, UINT64_MAX, bytes, 2), -ERANGE);
    trap(8, "unmap", mapshare_unmap(region), 0);
    trap(8, "unmap of the same once more", mapshare_unmap(region), -EBADF);
    trap(8, "unmap of some address", mapshare_unmap((mapshare_region *)(void *)bytes), -EBADF);
    wrong += chmod(path, 0400) != 0; /* from here on the file may only be read */
    trap(9, "a private mapping, copy-on-write", open_path(copy, 0, 0, 0), 0);
    trap(9, "writing \"after\" into it", mapshare_write(region, 0, "after", 6), 0);
    trap(9, "bringing that to the disk", mapshare_flush(region, 0, 0, 0), -EINVAL);
    wrong += mapshare_unmap(region) != 0;
    trap(10, "copy-on-write of a file that may only be read", open_path(copy, 0, 0, 0), 0);
    wrong += mapshare_read(region, 0, bytes, 7) != 0 || strcmp(bytes, "before") != 0 || mapshare_unmap(region) != 0;
    printf("The file still says \"%s\". %s\n", bytes, wrong ? "NOT ALL IS AS PROMISED." : "All is as promised.");
    return wrong ? 1 : 0;
}
