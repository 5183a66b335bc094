/*
 * Shared memory with a name instead of a file: this program asks, and one that does not have mapshare answers, through
 * python/examples/named.py and Python's own multiprocessing.shared_memory. Nothing is left behind in the end.
 *
 * Build and run, in the top folder of mapshare; within 10 seconds start the other program in a second terminal:
 *     make
 *     cc c_examples/named.c -Ibuild/include -Lbuild/lib -lmapshare -Wl,-rpath,$PWD/build/lib -o named
 *     ./named                               (or ./named NAME)
 *     python3 python/examples/named.py      (with the same NAME)
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <mapshare.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* What stands in the memory; the other program spells out the same. */
struct shared {
    uint32_t turn; /* 1: the question is there; 2: the answer is there */
    char question[60], answer[64];
};

static int failed(const char *why)
{
    fprintf(stderr, "C: %s\n", why);
    return 1;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "/mapshare-example";
    mapshare_options options = {0};
    mapshare_region *region;
    void *view;
    /* EXCLUSIVE: it is new. UNLINK_LAST: the name goes with this program, and what a run that was killed left is no
       hindrance. */
    options.flags = MAPSHARE_CREATE | MAPSHARE_EXCLUSIVE | MAPSHARE_UNLINK_LAST;
    options.access = MAPSHARE_READ_WRITE;
    options.length = sizeof(struct shared);
    if (mapshare_open_named(name, &options, sizeof options, &region) < 0
        || mapshare_view(region, 0, options.length, &view) < 0)
        return failed(mapshare_last_error());

    struct shared *shared = view;
    strcpy(shared->question, "what is 6 times 7?");
    __atomic_store_n(&shared->turn, 1, __ATOMIC_RELEASE); /* RELEASE: question first */
    time_t deadline = time(NULL) + 10;
    while (__atomic_load_n(&shared->turn, __ATOMIC_ACQUIRE) != 2) { /* ACQUIRE: then the answer is seen too */
        if (time(NULL) > deadline)
            return failed("no answer within 10 seconds; is named.py running, with the same name?");
        sched_yield();
    }
    printf("C: \"%s\" \"%.64s\"\n", shared->question, shared->answer);

    if (mapshare_release(region, view) < 0 || mapshare_unmap(region) < 0)
        return failed(mapshare_last_error());
    if (mapshare_unlink_named(name) != -ENOENT)
        return failed("the name is still there, though its last region has gone");
    return 0;
}
