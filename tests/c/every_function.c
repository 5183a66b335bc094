/* Each function once, doing what its comment in the header says. The program's own descriptors are close-on-exec, as
   tests/close_on_exec.rs wants of every one that is made here. */
#include "check.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* Memory without a name, sealed, sent and received. */
static void hand_over(void) {
    mapshare_options options = {0};
    mapshare_region *owner = NULL, *receiver = NULL;
    mapshare_region_info info;
    char byte = 0;
    int ends[2];
    options.access = MAPSHARE_READ_WRITE;
    options.length = 100;
    CHECK(mapshare_open_anonymous(&options, sizeof options, &owner) == 0 && mapshare_length(owner) == 100);
    CHECK(mapshare_seal(owner, MAPSHARE_SEAL_FUTURE_WRITE | MAPSHARE_SEAL_SHRINK) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(mapshare_send(owner, ends[0], MAPSHARE_READ_ONLY) == 0);
    CHECK(mapshare_receive(ends[1], NULL, 0, &receiver) == 0);
    CHECK(mapshare_write(owner, 99, "x", 1) == 0 && mapshare_read(receiver, 99, &byte, 1) == 0 && byte == 'x');
    CHECK(mapshare_info(receiver, &info, sizeof info) == 0 && info.backing == MAPSHARE_BACKING_ANONYMOUS);
    CHECK((info.seals & 0x1f) == (MAPSHARE_SEAL_FUTURE_WRITE | MAPSHARE_SEAL_SHRINK));
    CHECK(mapshare_unmap(receiver) == 0 && mapshare_unmap(owner) == 0 && close(ends[0]) == 0 && close(ends[1]) == 0);
}

/* The latest value, and messages in order. */
static void cells_and_queues(void) {
    int64_t cell = mapshare_cell_footprint(5), queue = mapshare_queue_footprint(100);
    mapshare_region *region = open_new("objects", 8192, 0);
    mapshare_queue *producer = NULL, *consumer = NULL;
    mapshare_queue_state state;
    const void *peeked = NULL;
    void *room = NULL;
    uint64_t version = 9;
    char buffer[100];
    CHECK(cell == 128 + 16 * 64 && queue == 512 + 128 && mapshare_cell_footprint(0) == -EINVAL);
    CHECK(mapshare_queue_footprint(UINT64_MAX) == -ERANGE);
    CHECK(mapshare_cell_init(region, 64, 5) == 0 && mapshare_cell_publish(region, 64, "hello", 5) == 0);
    CHECK(mapshare_cell_wait(region, 64, 0, -1) == 0);
    CHECK(mapshare_cell_read(region, 64, buffer, 5, &version) == 0 && memcmp(buffer, "hello", 5) == 0 && version == 1);
    CHECK(mapshare_cell_read(region, 64, buffer, 5, NULL) == 0);
    REFUSED(mapshare_cell_wait(region, 64, 1, 1000), ETIMEDOUT);
    REFUSED(mapshare_cell_publish(region, 64, "hello", 4), EINVAL);
    REFUSED(mapshare_cell_read(region, 64, NULL, 5, NULL), EINVAL);
    REFUSED(mapshare_cell_init(region, 64, 5), EEXIST);

    CHECK(mapshare_queue_init(region, 4096, 100, MAPSHARE_QUEUE_SINGLE_CONSUMER) == 0);
    REFUSED(mapshare_queue_init(region, 6400, 100, 4), EINVAL);
    REFUSED(mapshare_queue_open(region, 4096, 3, &producer), EINVAL);
    REFUSED(mapshare_queue_open(region, 4096, MAPSHARE_PRODUCER, NULL), EINVAL);
    CHECK(mapshare_queue_open(region, 4096, MAPSHARE_PRODUCER, &producer) == 0);
    CHECK(mapshare_queue_open(region, 4096, MAPSHARE_CONSUMER, &consumer) == 0);
    REFUSED(mapshare_queue_open(region, 4096, MAPSHARE_CONSUMER, &consumer), EBUSY);
    CHECK(mapshare_queue_push(producer, "first", 5, 0) == 0 && mapshare_queue_push(producer, NULL, 0, 0) == 0);
    REFUSED(mapshare_queue_push(producer, NULL, 1, 0), EINVAL);
    REFUSED(mapshare_queue_push(producer, buffer, 101, 0), EMSGSIZE);
    REFUSED(mapshare_queue_push(consumer, "x", 1, 0), EINVAL);
    CHECK(mapshare_queue_reserve(producer, 20, 0, &room) == 0);
    memcpy(room, "third", 5);
    CHECK(mapshare_queue_commit(producer, 5) == 0 && mapshare_queue_cancel(producer) == 0);
    REFUSED(mapshare_queue_commit(producer, 5), EINVAL);
    memset(&state, 0xee, sizeof state);
    CHECK(mapshare_queue_info(consumer, &state, sizeof state) == 0 && state.messages == 3 && state.pushed == 3);
    CHECK(state.capacity == 100 && state.popped == 0 && state.producers == 1 && state.consumers == 1);
    REFUSED(mapshare_queue_info(consumer, NULL, sizeof state), EINVAL);
    REFUSED(mapshare_queue_pop(consumer, buffer, 4, 0), EMSGSIZE);
    CHECK(mapshare_queue_pop(consumer, buffer, sizeof buffer, 0) == 5 && memcmp(buffer, "first", 5) == 0);
    CHECK(mapshare_queue_pop(consumer, NULL, 0, 0) == 0);
    CHECK(mapshare_queue_peek(consumer, 0, &peeked) == 5 && memcmp(peeked, "third", 5) == 0);
    CHECK(mapshare_queue_consume(consumer) == 0);
    REFUSED(mapshare_queue_consume(consumer), EINVAL);
    REFUSED(mapshare_queue_pop(consumer, buffer, sizeof buffer, 1000), ETIMEDOUT);
    REFUSED(mapshare_unmap(region), EBUSY);
    CHECK(mapshare_queue_end(producer) == 0);
    REFUSED(mapshare_queue_push(producer, "x", 1, 0), EPIPE);
    REFUSED(mapshare_queue_pop(consumer, buffer, sizeof buffer, -1), EPIPE);
    CHECK(mapshare_queue_close(producer) == 0 && mapshare_queue_close(consumer) == 0);
    REFUSED(mapshare_queue_close(consumer), EBADF);
    REFUSED(mapshare_queue_push(NULL, "x", 1, 0), EBADF);
    CHECK(mapshare_unmap(region) == 0);
}

int main(void) {
    char buffer[64];
    void *view = NULL;
    mapshare_region *region = open_new("file", 8192, 1 << 20), *again = NULL, *other;
    mapshare_options options = {0};
    mapshare_region_info info;
    mapshare_owner owner;
    uint64_t word = 0;
    uint32_t half = 0;
    int fd;

    CHECK(mapshare_write(region, 10, "hello", 5) == 0);
    CHECK(mapshare_read(region, 9, buffer, 7) == 0 && memcmp(buffer, "\0hello\0", 7) == 0);
    CHECK(mapshare_fill(region, 100, 50, 0x7f) == 0);
    CHECK(mapshare_copy(region, 110, region, 100, 45) == 0);
    CHECK(mapshare_flush(region, 0, 0, 0) == 0);
    CHECK(mapshare_flush(region, 0, 0, MAPSHARE_FLUSH_ASYNC) == 0);
    CHECK(mapshare_advise(region, 0, 0, MAPSHARE_ADVISE_RANDOM) == 0);

    CHECK(mapshare_view(region, 10, 5, &view) == 0 && memcmp(view, "hello", 5) == 0);
    memcpy(view, "HELLO", 5);
    CHECK(mapshare_unmap(region) == -EBUSY);
    CHECK(mapshare_release(region, view) == 0);
    CHECK(*mapshare_lost_count() == 0);
    CHECK(mapshare_read(region, 10, buffer, 5) == 0 && memcmp(buffer, "HELLO", 5) == 0);

    fd = mapshare_fd(region);
    CHECK(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(pread(fd, buffer, 5, 10) == 5 && memcmp(buffer, "HELLO", 5) == 0);
    CHECK(mapshare_open_fd(fd, NULL, 0, &again) == 0 && close(fd) == 0);
    CHECK(mapshare_length(again) == 8192);
    REFUSED(mapshare_write(again, 0, "x", 1), EACCES);

    CHECK(mapshare_resize(region, 20000) == 0 && mapshare_length(region) == 20000);
    CHECK(mapshare_refresh(again) == 1 && mapshare_length(again) == 20000 && mapshare_refresh(again) == 0);
    CHECK(mapshare_protect(region, MAPSHARE_READ_ONLY) == 0);
    REFUSED(mapshare_fill(region, 0, 1, 0), EACCES);
    CHECK(mapshare_protect(region, MAPSHARE_READ_WRITE) == 0);

    CHECK(mapshare_atomic_store_u64(region, 512, 1) == 0);
    CHECK(mapshare_atomic_add_u64(region, 512, 2, &word) == 0 && word == 1);
    CHECK(mapshare_atomic_and_u64(region, 512, 2, &word) == 0 && word == 3);
    CHECK(mapshare_atomic_or_u64(region, 512, 1, &word) == 0 && word == 2);
    CHECK(mapshare_atomic_swap_u64(region, 512, 9, &word) == 0 && word == 3);
    CHECK(mapshare_atomic_compare_swap_u64(region, 512, 8, 7, &word) == 0 && word == 9);
    CHECK(mapshare_atomic_compare_swap_u64(region, 512, 9, 7, NULL) == 1);
    CHECK(mapshare_atomic_load_u64(region, 512, &word) == 0 && word == 7);
    CHECK(mapshare_atomic_store_u32(region, 516, 1) == 0);
    CHECK(mapshare_atomic_add_u32(region, 516, 2, &half) == 0 && half == 1);
    CHECK(mapshare_atomic_and_u32(region, 516, 2, &half) == 0 && half == 3);
    CHECK(mapshare_atomic_or_u32(region, 516, 1, &half) == 0 && half == 2);
    CHECK(mapshare_atomic_swap_u32(region, 516, 9, &half) == 0 && half == 3);
    CHECK(mapshare_atomic_compare_swap_u32(region, 516, 8, 7, &half) == 0 && half == 9);
    CHECK(mapshare_atomic_compare_swap_u32(region, 516, 9, 7, NULL) == 1);
    CHECK(mapshare_atomic_load_u32(region, 516, &half) == 0 && half == 7);
    REFUSED(mapshare_atomic_load_u64(region, 516, &word), EINVAL);
    CHECK(mapshare_fill(region, 512, 64, 0) == 0 && mapshare_mutex_init(region, 512) == 0);
    CHECK(mapshare_mutex_lock(region, 512, -1) == 0);
    CHECK(mapshare_mutex_owner(region, 512, &owner, sizeof owner) == 0 && owner.pid == (uint32_t)getpid());
    CHECK(owner.tid != 0 && owner.alive == 1 && owner.waiters == 0);
    REFUSED(mapshare_mutex_lock(region, 512, 0), EDEADLK);
    REFUSED(mapshare_unmap(region), EBUSY);
    CHECK(mapshare_mutex_recover(region, 512) == 0 && mapshare_mutex_unlock(region, 512) == 0);
    REFUSED(mapshare_mutex_unlock(region, 512), EPERM);
    REFUSED(mapshare_mutex_recover(region, 512), EPERM);
    REFUSED(mapshare_mutex_init(region, 512), EEXIST);
    REFUSED(mapshare_mutex_lock(region, 8, 0), EBADMSG);
    REFUSED(mapshare_mutex_owner(region, 512, NULL, 16), EINVAL);
    CHECK(mapshare_fill(region, 512, 64, 0) == 0 && mapshare_atomic_store_u32(region, 516, 7) == 0);
    CHECK(mapshare_wait(region, 516, 8, -1) == 0 && mapshare_wake(region, 516, UINT32_MAX) == 0);
    REFUSED(mapshare_wait(region, 516, 7, 1000), ETIMEDOUT);
    REFUSED(mapshare_wait(region, 517, 7, 0), EINVAL);
    REFUSED(mapshare_wake(region, 20000, 1), ERANGE);

    memset(&info, 0xee, sizeof info);
    CHECK(mapshare_info(region, &info, sizeof info) == 0);
    CHECK(info.length == 20000 && info.file_length == 20000 && info.reserve == 1 << 20 && info.offset == 0);
    CHECK(info.access == MAPSHARE_READ_WRITE && info.backing == MAPSHARE_BACKING_FILE && info.views == 0);
    CHECK(mapshare_info(again, &info, sizeof info) == 0 && info.backing == MAPSHARE_BACKING_FD);

    CHECK(mapshare_lock_range(region, 0, 10, MAPSHARE_LOCK_EXCLUSIVE, -1) == 0);
    CHECK(mapshare_lock_range(again, 10, 0, MAPSHARE_LOCK_SHARED, 0) == 0);
    CHECK(mapshare_unlock_range(region, 0, 10) == 0 && mapshare_unlock_range(again, 10, 0) == 0);

    fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(mapshare_open_at(fd, "file", NULL, 0, &other) == 0 && mapshare_unmap(other) == 0);
    options.flags = MAPSHARE_BENEATH;
    if (mapshare_open_at(fd, "file", &options, sizeof options, &other) != 0) {
        /* valgrind has no openat2 */
        CHECK(strstr(mapshare_last_error(), "(EOPNOTSUPP)") != NULL);
        CHECK(mapshare_open_at(fd, "file", NULL, 0, &other) == 0);
    }
    CHECK(close(fd) == 0);
    CHECK(mapshare_copy(region, 0, other, 10, 5) == 0);
    CHECK(mapshare_unmap(other) == 0 && mapshare_unmap(again) == 0 && mapshare_unmap(region) == 0);

    {
        const char *name = own_name("every_function");
        mapshare_options options = {0};
        options.flags = MAPSHARE_CREATE | MAPSHARE_UNLINK_LAST;
        options.access = MAPSHARE_READ_WRITE;
        options.length = 100;
        CHECK(mapshare_open_named(name, &options, sizeof options, &region) == 0);
        CHECK(mapshare_info(region, &info, sizeof info) == 0 && info.backing == MAPSHARE_BACKING_NAMED);
        fd = shm_open(name, O_RDWR, 0);
        CHECK(fd >= 0 && pwrite(fd, "shared", 6, 50) == 6 && close(fd) == 0);
        CHECK(mapshare_read(region, 50, buffer, 6) == 0 && memcmp(buffer, "shared", 6) == 0);
        CHECK(mapshare_sweep_named(name) == 0);
        CHECK(mapshare_unlink_named(name) == 0 && mapshare_unmap(region) == 0);
        REFUSED(mapshare_unlink_named(name), ENOENT);
    }

    hand_over();
    cells_and_queues();
    CHECK(mapshare_arm() == 0);
    CHECK(mapshare_version_number() == 1 << 8 && strcmp(mapshare_version(), "0.1.0") == 0);
    CHECK(strcmp(mapshare_strerror(0), "success") == 0 && strcmp(mapshare_strerror(-EIO), mapshare_strerror(EIO)) == 0);
    return 0;
}
