/*
 * A counter behind a lock that outlives its owner: a child is killed between the two halves of a change, and its parent,
 * the next one to get the lock, is told so, repairs the counter and goes on.
 *
 * Build and run, in the top folder of mapshare:
 *     make
 *     cc c_examples/counter_lock.c -Ibuild/include -Lbuild/lib -lmapshare -Wl,-rpath,$PWD/build/lib -o counter
 *     ./counter                             (or ./counter PATH)
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <mapshare.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* What stands in the file. Whoever has the lock keeps count and copy equal. */
struct shared {
    uint64_t lock[MAPSHARE_MUTEX_SIZE / 8];
    uint64_t count, copy;
};
enum { LOCK = offsetof(struct shared, lock), COUNT = offsetof(struct shared, count), COPY = offsetof(struct shared, copy) };

static int checked(int result)
{
    if (result >= 0)
        return result;
    fprintf(stderr, "%s\n", mapshare_last_error());
    exit(1);
}

/* One more, under the lock; the counter then. One that is doomed dies half way. */
static uint64_t count_one(mapshare_region *region, int doomed)
{
    uint64_t count;
    if (checked(mapshare_mutex_lock(region, LOCK, -1)) == MAPSHARE_OWNER_DIED) {
        checked(mapshare_atomic_load_u64(region, COPY, &count)); /* written last: the last whole change */
        checked(mapshare_atomic_store_u64(region, COUNT, count));
        checked(mapshare_mutex_recover(region, LOCK));
        printf("the lock's owner has died: back to %d\n", (int)count);
    }
    checked(mapshare_atomic_load_u64(region, COUNT, &count));
    checked(mapshare_atomic_store_u64(region, COUNT, ++count));
    if (doomed)
        kill(getpid(), SIGKILL);
    checked(mapshare_atomic_store_u64(region, COPY, count));
    checked(mapshare_mutex_unlock(region, LOCK));
    return count;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "/tmp/mapshare-counter.bin";
    mapshare_options options = {0};
    mapshare_region *region;
    options.flags = MAPSHARE_CREATE;
    options.access = MAPSHARE_READ_WRITE;
    options.length = sizeof(struct shared);
    checked(mapshare_open(path, &options, sizeof options, &region));
    int made = mapshare_mutex_init(region, LOCK); /* -EEXIST: an earlier run has made it, which is as good */
    if (made != -EEXIST)
        checked(made);

    uint64_t before = count_one(region, 0);
    pid_t child = fork();
    if (child == 0)
        count_one(region, 1);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
        return 1;
    uint64_t after = count_one(region, 0);
    printf("%d, a child was killed, %d\n", (int)before, (int)after);
    checked(mapshare_unmap(region));
    return after == before + 1 ? 0 : 1;
}
