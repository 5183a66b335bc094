/*
 * Two programs that know nothing of each other but a path talk through the bytes of one file. This one asks, the other
 * one, python/examples/two_programs.py, answers. Once the file is mapped no read or write call is made.
 *
 * Build and run, in the top folder of mapshare; within 10 seconds start the other program in a second terminal:
 *     make
 *     cc c_examples/two_programs.c -Ibuild/include -Lbuild/lib -lmapshare -Wl,-rpath,$PWD/build/lib -o two_programs
 *     ./two_programs                        (or ./two_programs PATH; a second path gets a copy of what was shared)
 *     python3 python/examples/two_programs.py                       (with the same PATH)
 */
#define _POSIX_C_SOURCE 200809L
#include <mapshare.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 1000, SECONDS = 10 };

/* What stands in the file; the other program spells out the same. */
struct shared {
    uint32_t turn; /* 2i: question i is to be asked; 2i + 1: it is to be answered */
    char unused[60];
    struct { char question[64], answer[64]; } rounds[ROUNDS];
};

static int failed(const char *why)
{
    fprintf(stderr, "C: %s\n", why);
    return 1;
}

/* Waits until the other program has made it our turn. ACQUIRE: what it wrote before is then seen here. */
static int wait_for(uint32_t *turn, uint32_t value)
{
    time_t deadline = time(NULL) + SECONDS;
    while (__atomic_load_n(turn, __ATOMIC_ACQUIRE) != value) {
        if (time(NULL) > deadline)
            return -1;
        sched_yield();
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "/tmp/mapshare-two_programs.bin";
    mapshare_options options = {0};
    mapshare_region *region;
    void *view; /* the address of the mapped bytes */
    options.flags = MAPSHARE_CREATE | MAPSHARE_EXCLUSIVE;
    options.access = MAPSHARE_READ_WRITE;
    options.length = sizeof(struct shared);
    unlink(path); /* the file of an earlier run */
    if (mapshare_open(path, &options, sizeof options, &region) < 0
        || mapshare_view(region, 0, options.length, &view) < 0)
        return failed(mapshare_last_error());
    struct shared *shared = view;
    char expected[64];
    for (uint32_t i = 0; i < ROUNDS; i++) {
        snprintf(shared->rounds[i].question, 64, "question %u from C", (unsigned)i);
        __atomic_store_n(&shared->turn, 2 * i + 1, __ATOMIC_RELEASE); /* RELEASE: question first */
        if (wait_for(&shared->turn, 2 * i + 2) < 0)
            return failed("no answer within 10 seconds; is two_programs.py running, with the same path?");
        snprintf(expected, sizeof expected, "Python has seen: question %u from C", (unsigned)i);
        if (strncmp(shared->rounds[i].answer, expected, 64) != 0)
            return failed("the answer is not the one that was expected");
    }
    printf("C:      process %ld saw %d answers, the last one: \"%s\"\n", (long)getpid(), ROUNDS, expected);

    FILE *copy = argc > 2 ? fopen(argv[2], "wb") : NULL;
    if (argc > 2 && (!copy || fwrite(view, sizeof *shared, 1, copy) != 1 || fclose(copy) != 0))
        return failed("the copy cannot be written");
    if (mapshare_flush(region, 0, 0, 0) < 0 || mapshare_release(region, view) < 0 || mapshare_unmap(region) < 0)
        return failed(mapshare_last_error());
    return 0;
}
