/* Threads that share one region, and one that unmaps it in the middle. */
#include "check.h"
#include <pthread.h>

#define THREADS 4
#define ROUNDS 2000

static mapshare_region *shared;

static void *work(void *argument) {
    unsigned char bytes[300], byte = *(unsigned char *)argument;
    int round;
    for (round = 0; round < ROUNDS; round++) {
        uint64_t offset = (uint64_t)byte * 1000;
        CHECK(mapshare_fill(shared, offset, sizeof bytes, byte) == 0);
        CHECK(mapshare_read(shared, offset, bytes, sizeof bytes) == 0);
        CHECK(bytes[0] == byte && bytes[sizeof bytes - 1] == byte);
        REFUSED(mapshare_read(shared, 1 << 20, bytes, 1), ERANGE);
        if (round % 100 == 0) CHECK(mapshare_resize(shared, 8192 + (uint64_t)round) == 0);
    }
    return NULL;
}

static void *read_on(void *argument) {
    char byte;
    int result;
    (void)argument;
    do result = mapshare_read(shared, 0, &byte, 1);
    while (result == 0);
    CHECK(result == -EBADF && strstr(mapshare_last_error(), "mapshare_read: ") == mapshare_last_error());
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    unsigned char bytes[THREADS];
    int i;
    shared = open_new("file", 8192, 1 << 20);
    for (i = 0; i < THREADS; i++) {
        bytes[i] = (unsigned char)(i + 1);
        CHECK(pthread_create(&threads[i], NULL, work, &bytes[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, read_on, NULL) == 0);
    CHECK(mapshare_unmap(shared) == 0);
    for (i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    return 0;
}
