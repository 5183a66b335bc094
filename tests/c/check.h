/* A check that says what failed, where, and the library's own sentence, and ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <mapshare.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition)                                                                                      \
    do {                                                                                                      \
        if (!(condition)) {                                                                                   \
            fprintf(stderr, "%s:%d: %s\nlast error: %s\n", __FILE__, __LINE__, #condition, mapshare_last_error()); \
            exit(1);                                                                                          \
        }                                                                                                     \
    } while (0)

/* The call gives this code, and the last error names it. */
#define REFUSED(call, code)                                            \
    do {                                                               \
        CHECK((call) == -(code));                                      \
        CHECK(strstr(mapshare_last_error(), "(" #code ")") != NULL);   \
    } while (0)

static inline mapshare_region *open_new(const char *path, uint64_t length, uint64_t reserve) {
    mapshare_options options = {0};
    mapshare_region *region = NULL;
    options.flags = MAPSHARE_CREATE;
    options.access = MAPSHARE_READ_WRITE;
    options.length = length;
    options.reserve = reserve;
    CHECK(mapshare_open(path, &options, sizeof options, &region) == 0);
    CHECK(region != NULL);
    return region;
}

/* A name of shared memory that no other program has. */
static inline const char *own_name(const char *what) {
    static char name[64];
    snprintf(name, sizeof name, "/mapshare-c-test-%s-%ld", what, (long)getpid());
    return name;
}

#endif
