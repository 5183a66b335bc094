/* Locks of ranges between threads and processes, each code as a C program meets it. */
#include "check.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static mapshare_region *region;

static void *try_it(void *argument) {
    (void)argument;
    REFUSED(mapshare_lock_range(region, 0, 1, MAPSHARE_LOCK_SHARED, 1000), ETIMEDOUT);
    REFUSED(mapshare_unlock_range(region, 0, 10), EPERM);
    CHECK(mapshare_lock_range(region, 50, 1, MAPSHARE_LOCK_EXCLUSIVE, 0) == 0);
    return NULL; /* which frees it */
}

static void on_alarm(int signal) { (void)signal; }

int main(void) {
    struct sigaction action;
    mapshare_options options = {0};
    mapshare_region *reader;
    pthread_t thread;
    pid_t child;
    int status, ends[2];
    char byte;

    region = open_new("file", 100, 0);
    CHECK(mapshare_open("file", &options, sizeof options, &reader) == 0);
    CHECK(mapshare_lock_range(region, 0, 10, MAPSHARE_LOCK_EXCLUSIVE, 0) == 0);
    REFUSED(mapshare_lock_range(region, 9, 0, MAPSHARE_LOCK_SHARED, -1), EDEADLK);
    REFUSED(mapshare_lock_range(reader, 9, 1, MAPSHARE_LOCK_SHARED, -1), EDEADLK);
    REFUSED(mapshare_lock_range(reader, 20, 1, MAPSHARE_LOCK_EXCLUSIVE, -1), EACCES);
    REFUSED(mapshare_unmap(region), EBUSY);
    CHECK(pthread_create(&thread, NULL, try_it, NULL) == 0 && pthread_join(thread, NULL) == 0);

    /* A child that is killed while it holds a lock, and while this process waits for it. */
    CHECK(pipe(ends) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK(mapshare_lock_range(region, 0, 1, MAPSHARE_LOCK_SHARED, 0) == -ETIMEDOUT);
        CHECK(mapshare_lock_range(region, 20, 10, MAPSHARE_LOCK_EXCLUSIVE, 0) == 0);
        CHECK(write(ends[1], "x", 1) == 1);
        for (;;) pause();
    }
    CHECK(read(ends[0], &byte, 1) == 1 && close(ends[0]) == 0 && close(ends[1]) == 0);
    REFUSED(mapshare_lock_range(region, 20, 1, MAPSHARE_LOCK_SHARED, 0), ETIMEDOUT);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    action.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0 && ualarm(20000, 0) == 0);
    REFUSED(mapshare_lock_range(region, 20, 1, MAPSHARE_LOCK_SHARED, -1), EINTR);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(mapshare_lock_range(region, 20, 1, MAPSHARE_LOCK_SHARED, -1) == 0);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));

    CHECK(mapshare_unlock_range(region, 20, 1) == 0 && mapshare_unlock_range(region, 0, 10) == 0);
    CHECK(mapshare_unmap(reader) == 0 && mapshare_unmap(region) == 0);
    REFUSED(mapshare_lock_range(region, 0, 1, MAPSHARE_LOCK_SHARED, 0), EBADF);
    REFUSED(mapshare_unlock_range(region, 0, 1), EBADF);
    return 0;
}
