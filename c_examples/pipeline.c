/*
 * A queue: this program writes messages in place, without copying, and python/examples/pipeline.py reads them in place,
 * each once and in order. Either may start first; the messages wait in the file.
 *
 * Build and run, in the top folder of mapshare; start the other program in a second terminal, with the same FILE:
 *     make
 *     cc c_examples/pipeline.c -Ibuild/include -Lbuild/lib -lmapshare -Wl,-rpath,$PWD/build/lib -o pipeline
 *     ./pipeline FILE
 *     python3 python/examples/pipeline.py FILE
 */
#include <errno.h>
#include <mapshare.h>
#include <stdio.h>

/* The other program spells out the same. */
enum { QUEUE = 64, CAPACITY = 4096, LINES = 1000, LONGEST = 100 };
static const int64_t PATIENCE_NS = 10000000000;

static int failed(void)
{
    fprintf(stderr, "C: %s\n", mapshare_last_error());
    return 1;
}

int main(int argc, char **argv)
{
    const uint32_t single = MAPSHARE_QUEUE_SINGLE_PRODUCER | MAPSHARE_QUEUE_SINGLE_CONSUMER;
    mapshare_options options = {0};
    mapshare_region *region;
    mapshare_queue *queue;
    int rc, number;
    options.flags = MAPSHARE_CREATE;
    options.access = MAPSHARE_READ_WRITE;
    options.length = QUEUE + (uint64_t)mapshare_queue_footprint(CAPACITY);
    if (mapshare_open(argc > 1 ? argv[1] : "pipeline.bin", &options, sizeof options, &region) < 0)
        return failed();
    rc = mapshare_queue_init(region, QUEUE, CAPACITY, single);
    if (rc < 0 && rc != -EEXIST) /* the other program has made it */
        return failed();
    if (mapshare_queue_open(region, QUEUE, MAPSHARE_PRODUCER, &queue) < 0)
        return failed();
    for (number = 0; number < LINES; number++) {
        void *room;
        /* Waits while the queue is full. Nobody sees the message before the commit, which says how long it is. */
        if (mapshare_queue_reserve(queue, LONGEST, PATIENCE_NS, &room) < 0)
            return failed();
        int length = snprintf(room, LONGEST, "line %d, its square is %d", number, number * number);
        if (mapshare_queue_commit(queue, (size_t)length) < 0)
            return failed();
    }
    if (mapshare_queue_end(queue) < 0 || mapshare_queue_close(queue) < 0 || mapshare_unmap(region) < 0)
        return failed();
    printf("C: has handed on %d lines\n", LINES);
    return 0;
}
