/*
 * A process hands memory to another one that it shares nothing with but a socket. The receiver reads it, and cannot
 * get it writable whatever it tries, while the owner goes on writing. The program starts itself as the receiver.
 *
 * Build and run, in the top folder of mapshare:
 *     make
 *     cc c_examples/hand_over.c -Ibuild/include -Lbuild/lib -lmapshare -Wl,-rpath,$PWD/build/lib -o hand_over
 *     ./hand_over
 */
#define _POSIX_C_SOURCE 200809L
#include <mapshare.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int failed(void)
{
    fprintf(stderr, "%s\n", mapshare_last_error());
    return 1;
}

/* The other process; its end of the socket is its standard input. */
static int receiver(void)
{
    mapshare_region *region;
    char text[32];
    if (mapshare_receive(0, NULL, 0, &region) < 0 || mapshare_read(region, 0, text, sizeof text) < 0)
        return failed();
    printf("received, for reading: %s\n", text);
    if (mapshare_protect(region, MAPSHARE_READ_WRITE) == 0 || mapshare_write(region, 0, "x", 1) == 0)
        return 1;
    printf("writing to it: %s\n", mapshare_last_error());
    char byte = 0;
    if (write(0, &byte, 1) != 1 || read(0, &byte, 1) != 1 || mapshare_read(region, 0, text, sizeof text) < 0)
        return failed();
    printf("what the owner has written since: %s\n", text);
    return mapshare_unmap(region) < 0 ? failed() : strcmp(text, "and this is news") != 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "receiver") == 0)
        return receiver();

    mapshare_options options = {0};
    options.access = MAPSHARE_READ_WRITE;
    options.length = 4096;
    mapshare_region *region;
    if (mapshare_open_anonymous(&options, sizeof options, &region) < 0
        || mapshare_write(region, 0, "this was here before", 21) < 0
        || mapshare_seal(region, MAPSHARE_SEAL_FUTURE_WRITE | MAPSHARE_SEAL_SHRINK) < 0)
        return failed();

    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 0);
        execl(argv[0], argv[0], "receiver", (char *)NULL); /* a new program: it has none of our memory */
        _exit(127);
    }
    close(ends[1]);
    char byte;
    int status;
    if (mapshare_send(region, ends[0], MAPSHARE_READ_ONLY) < 0)
        return failed();
    if (read(ends[0], &byte, 1) != 1 || mapshare_write(region, 0, "and this is news", 17) < 0
        || write(ends[0], &byte, 1) != 1 || waitpid(pid, &status, 0) != pid)
        return failed();
    return mapshare_unmap(region) < 0 ? failed() : status != 0;
}
