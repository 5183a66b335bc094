/* Wrong on purpose: reads a byte behind its buffer through the library's view. A sanitizer or valgrind has to see it. */
#include "../check.h"

int main(void) {
    mapshare_region *region = open_new("file", 4096, 0);
    volatile char *buffer = malloc(10);
    volatile size_t behind = 10;
    buffer[behind] = 'x';
    free((void *)buffer);
    return mapshare_unmap(region);
}
