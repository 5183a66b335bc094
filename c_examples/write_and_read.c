/*
 * The first program: makes a file, writes into its mapped bytes, and reads them back as any other program would.
 *
 * Build and run, in the top folder of mapshare:
 *     make
 *     cc c_examples/write_and_read.c -Ibuild/include -Lbuild/lib -lmapshare -Wl,-rpath,$PWD/build/lib -o write_and_read
 *     ./write_and_read                      (or ./write_and_read PATH)
 */
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
    const char *path = argc > 1 ? argv[1] : "/tmp/mapshare-write_and_read.bin";
    const char text[] = "hello from C";
    char found[sizeof text];

    /* Zero in a field is its default, so start from zeros and name what is wanted. */
    mapshare_options options = {0};
    options.flags = MAPSHARE_CREATE;      /* make the file when it is missing */
    options.access = MAPSHARE_READ_WRITE;
    options.length = 4096;                /* bytes; a file that is shorter is extended */

    mapshare_region *writer;
    if (mapshare_open(path, &options, sizeof options, &writer) < 0)
        return failed();
    if (mapshare_write(writer, 100, text, sizeof text) < 0)
        return failed();

    /* Another region of the same file, as another program has it: no options, so read-only and the whole file. */
    mapshare_region *reader;
    if (mapshare_open(path, NULL, 0, &reader) < 0)
        return failed();
    if (mapshare_read(reader, 100, found, sizeof found) < 0)
        return failed();
    printf("read from byte 100 of %s: \"%s\"\n", path, found);

    /* Other programs see the bytes without this; it brings them to the disk, so that they survive a power cut. */
    if (mapshare_flush(writer, 0, 0, 0) < 0)
        return failed();
    if (mapshare_unmap(reader) < 0 || mapshare_unmap(writer) < 0)
        return failed();
    return memcmp(found, text, sizeof text) == 0 ? 0 : 1;
}
