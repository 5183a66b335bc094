/*
 * Copy-on-write: a program changes the bytes of a file for itself only; the file and everyone else keep the old ones.
 * Permission to read the file is enough.
 *
 * Build and run, in the top folder of mapshare:
 *     make
 *     cc c_examples/private_copy.c -Ibuild/include -Lbuild/lib -lmapshare -Wl,-rpath,$PWD/build/lib -o private_copy
 *     ./private_copy                        (or ./private_copy PATH)
 */
#include <errno.h>
#include <mapshare.h>
#include <stdio.h>
#include <string.h>

static int failed(void)
{
    fprintf(stderr, "%s\n", mapshare_last_error());
    return 1;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "/tmp/mapshare-private_copy.bin";
    char here[8] = "", in_file[8] = "";
    mapshare_region *shared, *copy;
    mapshare_options options = {0};
    options.flags = MAPSHARE_CREATE;
    options.access = MAPSHARE_READ_WRITE;
    options.length = 4096;
    if (mapshare_open(path, &options, sizeof options, &shared) < 0)
        return failed();
    if (mapshare_write(shared, 0, "before", 7) < 0)
        return failed();

    memset(&options, 0, sizeof options);
    options.access = MAPSHARE_COPY_ON_WRITE;
    if (mapshare_open(path, &options, sizeof options, &copy) < 0)
        return failed();
    if (mapshare_write(copy, 0, "after", 6) < 0)
        return failed();

    if (mapshare_read(copy, 0, here, 7) < 0 || mapshare_read(shared, 0, in_file, 7) < 0)
        return failed();
    printf("this program sees \"%s\", the file has \"%s\"\n", here, in_file);

    /* There is nothing to bring to the disk, and mapshare says so instead of doing nothing. */
    int code = mapshare_flush(copy, 0, 0, 0);
    printf("flush of the copy: %d, %s\n", code, mapshare_last_error());

    if (mapshare_unmap(copy) < 0 || mapshare_unmap(shared) < 0)
        return failed();
    return code == -EINVAL && strcmp(here, "after") == 0 && strcmp(in_file, "before") == 0 ? 0 : 1;
}
