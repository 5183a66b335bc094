/* Wrong on purpose: forgets memory. */
#include "../check.h"

int main(void) {
    volatile char *forgotten = malloc(1234);
    forgotten[0] = 1;
    forgotten = NULL;
    return mapshare_length(NULL) == -EBADF ? 0 : 1;
}
