/* A host whose handler jumps out of faults with siglongjmp, below and above ours, on two stacks, again and again. */
#include "check.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static sigjmp_buf before_the_fault;
static volatile sig_atomic_t jumps, passed;
static struct sigaction below;
static long page;

static void jumping(int number, siginfo_t *info, void *context) {
    (void)number, (void)info, (void)context;
    jumps++;
    siglongjmp(before_the_fault, 1);
}

static void chaining(int number, siginfo_t *info, void *context) {
    passed++;
    below.sa_sigaction(number, info, context);
}

static void install(void (*handler)(int, siginfo_t *, void *), struct sigaction *old) {
    struct sigaction action = {0};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    CHECK(sigaction(SIGBUS, &action, old) == 0);
}

/* A page of a file of the host's own that has been cut to nothing. */
static volatile char *foreign(void) {
    int file = open("foreign", O_RDWR | O_CREAT, 0600);
    CHECK(file >= 0 && ftruncate(file, page) == 0);
    volatile char *address = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(address != MAP_FAILED && ftruncate(file, 0) == 0 && close(file) == 0);
    return address;
}

/* The jump comes back here, at the same place of the stack each time. */
static void fault_and_jump(volatile char *address, int times) {
    for (volatile int i = 0; i < times; i++) {
        int jumps_before = jumps;
        if (sigsetjmp(before_the_fault, 1) == 0) {
            (void)*address;
            CHECK(!"it faults");
        }
        CHECK(jumps == jumps_before + 1);
        sigset_t blocked;
        CHECK(sigprocmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, SIGBUS) == 0);
    }
}

static void ours(mapshare_region *region) {
    char bytes[100];
    int jumps_before = jumps;
    REFUSED(mapshare_read(region, 0, bytes, sizeof bytes), ENXIO);
    REFUSED(mapshare_fill(region, (uint64_t)page, 7, 1), ENXIO);
    CHECK(jumps == jumps_before);
}

static void all(mapshare_region *region, volatile char *address) {
    install(jumping, NULL);
    CHECK(mapshare_arm() == 0);
    for (int round = 0; round < 20; round++) {
        fault_and_jump(address, 50);
        ours(region);
    }
    /* Now over ours, where the last jump left its traces, and passing on to us. */
    for (int round = 0; round < 5; round++) {
        install(chaining, &below);
        int passed_before = passed;
        fault_and_jump(address, 1);
        CHECK(passed == passed_before + 1);
        ours(region);
        fault_and_jump(address, 20);
        CHECK(mapshare_arm() == 0);
        fault_and_jump(address, 20);
        ours(region);
        install(jumping, NULL);
        CHECK(mapshare_arm() == 0);
    }
    /* And one that jumps over ours: it takes our faults too, until arm. */
    install(jumping, &below);
    fault_and_jump(address, 20);
    CHECK(mapshare_arm() == 0);
    ours(region);
}

int main(void) {
    page = sysconf(_SC_PAGESIZE);
    mapshare_region *region = open_new("region", 4 * (uint64_t)page, 0);
    CHECK(truncate("region", 0) == 0);
    volatile char *address = foreign();
    all(region, address);
    stack_t stack = {0};
    stack.ss_size = 256 << 10;
    stack.ss_sp = malloc(stack.ss_size);
    CHECK(stack.ss_sp && sigaltstack(&stack, NULL) == 0);
    all(region, address);
    CHECK(jumps > 2000);
    stack.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&stack, NULL) == 0);
    free(stack.ss_sp);
    CHECK(munmap((void *)address, page) == 0);
    CHECK(mapshare_unmap(region) == 0);
    return 0;
}
