/*
 * A child process fills an array that its parent then reads: after fork both have the same memory. It has no name, is
 * in no file, and goes away with the last of them.
 *
 * Build and run, in the top folder of mapshare:
 *     make
 *     cc c_examples/child_and_parent.c -Ibuild/include -Lbuild/lib -lmapshare -Wl,-rpath,$PWD/build/lib -o family
 *     ./family
 */
#define _POSIX_C_SOURCE 200809L
#include <mapshare.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 10 };

static int failed(void)
{
    fprintf(stderr, "%s\n", mapshare_last_error());
    return 1;
}

/* What the child does: it writes through the address that its parent got. */
static int child(mapshare_region *region, int *squares)
{
    for (int i = 0; i < COUNT; i++)
        squares[i] = i * i;
    /* The child unmaps its own mapping; the parent keeps its. */
    if (mapshare_release(region, squares) < 0 || mapshare_unmap(region) < 0)
        return failed();
    return 0;
}

int main(void)
{
    mapshare_options options = {0};
    options.access = MAPSHARE_READ_WRITE;
    options.length = COUNT * sizeof(int);

    mapshare_region *region;
    void *view; /* an address in the mapped bytes, valid until mapshare_release */
    if (mapshare_open_anonymous(&options, sizeof options, &region) < 0
        || mapshare_view(region, 0, options.length, &view) < 0)
        return failed();
    int *squares = view;

    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        return 1;
    }
    if (pid == 0)
        _exit(child(region, squares));

    int status;
    if (waitpid(pid, &status, 0) != pid || status != 0) { /* the end of the child orders its writes before our reads */
        fprintf(stderr, "the child failed\n");
        return 1;
    }
    int good = 1;
    for (int i = 0; i < COUNT; i++) {
        printf("the child wrote %d * %d = %d\n", i, i, squares[i]);
        good = good && squares[i] == i * i;
    }
    if (mapshare_release(region, view) < 0 || mapshare_unmap(region) < 0)
        return failed();
    return good ? 0 : 1;
}
