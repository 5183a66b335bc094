/*
 * mapshare: programs share data through mapped memory, without the traps of mmap.
 * A region is a range of a file, mapped: what one process writes, every other process that has the file mapped sees
 * at once, with no read or write call, and it is in the file. Each trap is a code and a sentence that says what to do.
 *
 *   #include <mapshare.h>
 *   #include <stdio.h>
 *
 *   int main(void) {
 *       mapshare_options options = {0};
 *       options.flags = MAPSHARE_CREATE;
 *       options.access = MAPSHARE_READ_WRITE;
 *       options.length = 4096;
 *       mapshare_region *region;
 *       if (mapshare_open("a.bin", &options, sizeof options, &region) < 0
 *           || mapshare_write(region, 0, "hello", 5) < 0 || mapshare_unmap(region) < 0) {
 *           fprintf(stderr, "%s\n", mapshare_last_error());
 *           return 1;
 *       }
 *       return 0;
 *   }
 *
 * CAVEATS
 *   Truncation     A process that cuts a file short takes the bytes from everyone who has them mapped. Functions here
 *                  then return -ENXIO; a view reads as zeros there and takes writes that go nowhere, and
 *                  mapshare_release tells when it was used there. The bytes between the file's end and the end of
 *                  that page raise no error: they read as zeros, and writes to them are lost. mapshare_refresh takes
 *                  over the new length.
 *   SIGBUS         That needs a handler for SIGBUS, which the first open installs. It passes everything that is not its
 *                  own to the handler that was there before. A program that installs one of its own later calls
 *                  mapshare_arm, or opens another region. A thread that has SIGBUS blocked when it first calls is
 *                  served by system calls instead, and has it unblocked for the moment of an atomic; one that blocks
 *                  it later, or that uses a view while it is blocked, is not protected. MAPSHARE_NO_HANDLER leaves
 *                  SIGBUS alone.
 *   Full disks     MAPSHARE_CREATE and mapshare_resize reserve the storage, so that a full disk is an error of theirs.
 *                  With MAPSHARE_SPARSE it is -ENOSPC at the first write to a page that finds no room.
 *   Descriptors    Each region holds one descriptor of its file, close-on-exec; three with MAPSHARE_UNLINK_LAST.
 *                  A program that closes descriptors which it has not opened (closefrom) leaves those out: else
 *                  whatever concerns the file is -EBADF, and others may take the region's name for dead.
 *   Last users     MAPSHARE_UNLINK_LAST: a forked child counts as a user until it unmaps, ends or execs; one of vfork
 *                  or posix_spawn does not. Who maps the object by other means, as with shm_open, does not count; the
 *                  bytes stay mapped all the same. After an exit without unmap the name stays until the next open of it
 *                  or mapshare_sweep_named.
 *   F_SETLK        Such locks of fcntl(2) are lost whenever their process closes any descriptor of the file, and so
 *                  when it unmaps a region of it. Those of mapshare_lock_range are not. Locks of fcntl and lockf to
 *                  the end of the file (length 0) cover the bytes from 2^62 on as well, which this library locks for
 *                  MAPSHARE_UNLINK_LAST and mutexes: such a lock waits for all users, and they for it. Lock up to a
 *                  length.
 *   Pointers       Writing through a view of a MAPSHARE_READ_ONLY region, using one after its release, or passing a
 *                  buffer that is not there is a crash, as everywhere in C.
 *   Fork           A child has its parent's regions, under the same tokens, and shares their bytes; each process unmaps
 *                  its own. A call that another thread was in at that moment does not hold the child up. Locks of
 *                  ranges stay the parent's alone.
 *   Anonymous      mmap(2) with MAP_ANONYMOUS shares with the children of one process only. mapshare_open_anonymous
 *                  makes memory that they have as well, and that mapshare_send hands to any process that runs.
 *   Hand-over      Of a file, its permissions decide what a receiver may reopen; of anonymous memory, its seals do.
 *   Copy-on-write  Bytes that this process has not written yet still show what others write to the file.
 *   Remote files   NFS, CIFS and FUSE may show another machine's writes late or never. Share between processes of one
 *                  machine.
 *   Races          Nothing orders the accesses of different processes: bytes that are read while another writes them
 *                  may be part old, part new.
 *
 * CONVENTIONS
 *   Results        Functions that can fail return 0 or a positive number when good, and -errno when not: then nothing
 *                  was acquired, no ret_* was written, and mapshare_last_error() says what was asked, what was found
 *                  and what to do. errno itself is neither read nor promised.
 *   Handles        mapshare_region * is a token, never dereferenced and checked in every call: NULL, forged, closed or
 *                  foreign tokens are -EBADF, on any thread at any time.
 *   Options        Pass the struct's size. Zero in a field is the default; NULL, 0 is all defaults. A larger struct
 *                  whose unknown tail is not zero is -E2BIG, an unknown flag -EINVAL.
 *   Numbers        Offsets and lengths are bytes. Offsets inside a region count from its first mapped byte.
 *   Threads        Any function may be called on any thread. Tokens may be passed between threads.
 *   Signals        Not to be called in signal handlers, unless the function says so.
 *   Output         Nothing is ever printed, and nothing aborts.
 *
 * CODES
 *   EINVAL           broken contract: NULL with a length, unknown flag, misaligned offset, nothing to map
 *   EBADF            the token is not an open region or queue handle; the descriptor is not open
 *   EACCES           more access asked than the file, descriptor or region grants; another user's name to create; a
 *                    path that MAPSHARE_BENEATH refuses
 *   ENXIO            the bytes do not exist in the file: shorter than the range at open, or cut short later
 *   ERANGE           offset + length leaves the region; nothing was done
 *   ENOSPC           no room on the file system for the bytes written or created
 *   EIO              the device failed
 *   EBUSY            views, queue handles or locks of the region are still out, a call sleeps in it, or this one was
 *                    made inside one; the queue handle is in use, or the role that it asks for is taken; a name that
 *                    was about to go with its last user all the time; for a seal, a mapping that may write
 *   E2BIG            the options are newer than this library
 *   ENODEV           this kind of file cannot be mapped
 *   EEXIST           MAPSHARE_EXCLUSIVE, and the file exists; MAPSHARE_UNLINK_LAST, and it was made without; the
 *                    object exists
 *   ELOOP            a symbolic link where none is followed, or links in a circle
 *   ENOMEM           no memory, no address space, or RLIMIT_MEMLOCK is met
 *   EPERM            a seal or file attribute forbids it, or sending needs one that is missing; the lock is not yours
 *   EDEADLK          this thread holds the lock already
 *   ETIMEDOUT        the time given has passed
 *   EINTR            a signal handler ran while the call waited; nothing has happened
 *   EBADMSG          no object of this kind stands at the offset, or it was damaged
 *   EPROTONOSUPPORT  an object of a layout that this library does not speak
 *   EPROTO           what came over the socket is not a hand-over
 *   EPIPE            the other side of the socket has closed; a producer has ended the queue
 *   EMSGSIZE         the message is longer than the queue's capacity, or than the buffer
 *   EAGAIN           the socket is not ready, and does not wait; a cell was overwritten 64 times while it was read
 *   ENOTSOCK         the descriptor is not a socket
 *   ENOENT ENOTDIR ENAMETOOLONG EMFILE ENFILE ENOLCK EROFS ETXTBSY    as the kernel says them
 *   EOPNOTSUPP       this kind of region or file system cannot do it: views and atomics under MAPSHARE_NO_HANDLER,
 *                    seals on files, locks, MAPSHARE_BENEATH, and more
 *   ENOTRECOVERABLE  an internal error was caught
 *
 * THE TEN TRAPS OF MMAP, AND WHAT THEY ARE HERE
 *    1  file of 0 bytes, length > 0: bus error at the first touch    -ENXIO at open, or extended by MAPSHARE_CREATE
 *    2  file of 0 bytes, length 0                                    -EINVAL
 *    3  file readable only, mapping shared and writable              -EACCES
 *    4  descriptor write-only, or narrower than the mapping          -EACCES
 *    5  descriptor closed after mapping                              goes on working; yours is never kept
 *    6  file offset not a multiple of the page size                  -EINVAL, the message names the nearest ones
 *    7  access past the mapping                                      -ERANGE, nothing copied, whatever the numbers
 *    8  unmap of what open did not return, or twice                  -EBADF
 *    9  private mapping: changes never reach the file                MAPSHARE_COPY_ON_WRITE; flush is -EINVAL
 *   10  private mapping needs permission to read only                such a file opens MAPSHARE_COPY_ON_WRITE
 *
 * Generated by build.rs from the comments in src/ffi; do not edit.
 */

#ifndef MAPSHARE_H
#define MAPSHARE_H

#include <stddef.h>
#include <stdint.h>

/**
 * mapshare_options.flags: make the file when it is missing, extend it when it is shorter than offset + length, and
 * reserve the storage. A new file becomes visible under its name only when it is complete; one that is there keeps its
 * contents. Needs MAPSHARE_READ_WRITE wherever something has to be made. Whoever needs to know whether it made the file
 * passes MAPSHARE_EXCLUSIVE first, and opens without it after -EEXIST.
 */
#define MAPSHARE_CREATE 1

/**
 * mapshare_options.flags, with MAPSHARE_CREATE: -EEXIST when the file exists.
 */
#define MAPSHARE_EXCLUSIVE 2

/**
 * mapshare_options.flags: bring all pages in at open, so that the first accesses do not fault.
 */
#define MAPSHARE_POPULATE 4

/**
 * mapshare_options.flags: keep the pages in memory as long as they are mapped. Counts against RLIMIT_MEMLOCK: -ENOMEM.
 */
#define MAPSHARE_LOCKED 8

/**
 * mapshare_options.flags: ask for huge pages, which the kernel gives where the file system has them.
 */
#define MAPSHARE_HUGE_PAGES 16

/**
 * mapshare_options.flags: -ELOOP when the last part of the path is a symbolic link.
 */
#define MAPSHARE_NO_FOLLOW 32

/**
 * mapshare_options.flags, for paths that come from others: -EACCES when the path leads out of the directory that it
 * counts from (an absolute path does), -ELOOP when any part of it is a symbolic link; -EOPNOTSUPP before Linux 5.6.
 * What was found is what is opened, though others rename and replace meanwhile.
 */
#define MAPSHARE_BENEATH 64

/**
 * mapshare_options.flags: do not reserve storage for what is added. A full disk then shows at the first write to it.
 */
#define MAPSHARE_SPARSE 128

/**
 * mapshare_options.flags: a file or name that is made with MAPSHARE_CREATE goes with its last user. Its name is removed
 * when the last region of it is unmapped; when its last user ends without that, or is killed, by the next open of it or
 * by mapshare_sweep_named. Whoever has a region of it is a user, with this flag or without. A file is removed only by
 * those that pass this flag too; a name of shared memory by any. Of what exists already, only what was made with this
 * flag may be opened with it: -EEXIST. Regions of mapshare_open_fd and mapshare_receive count as users, but leave the
 * name, as does whoever may not remove it (another user, in a sticky directory), to the next open or sweep. Users are
 * counted by locks of fcntl(2): another user who may open the object can keep it alive by one, or hold up its opening,
 * which is -EBUSY after 10 seconds.
 * mode has to have 0600 and may have no execute bit, since the file is marked by its mode: sticky, and execute for
 * nobody. A symbolic link in the last place of the path is -ELOOP.
 */
#define MAPSHARE_UNLINK_LAST 256

/**
 * mapshare_options.flags: leave the process's SIGBUS handling as it is, for hosts that own that signal. Every read,
 * write, fill and copy is then done by the kernel, at about a microsecond each, and still gives codes; views and
 * atomics are -EOPNOTSUPP, unless the region is a memory file that is sealed against shrinking.
 */
#define MAPSHARE_NO_HANDLER 512

/**
 * mapshare_options.access: reading only. The default.
 */
#define MAPSHARE_READ_ONLY 0

/**
 * mapshare_options.access: writes reach the file and everyone who has it mapped.
 */
#define MAPSHARE_READ_WRITE 1

/**
 * mapshare_options.access: writes are seen in this process only and the file stays; permission to read it is enough.
 */
#define MAPSHARE_COPY_ON_WRITE 2

/**
 * mapshare_flush flags: start the writing and return, without waiting for the device.
 */
#define MAPSHARE_FLUSH_ASYNC 1

/**
 * mapshare_advise: nothing special. The default of every region.
 */
#define MAPSHARE_ADVISE_NORMAL 0

/**
 * mapshare_advise: read from the lower offsets to the higher, so read far ahead.
 */
#define MAPSHARE_ADVISE_SEQUENTIAL 1

/**
 * mapshare_advise: read here and there, so do not read ahead.
 */
#define MAPSHARE_ADVISE_RANDOM 2

/**
 * mapshare_advise: needed soon, so start reading it in.
 */
#define MAPSHARE_ADVISE_WILL_NEED 3

/**
 * mapshare_advise: not needed for a while, so this process may let go of the pages. No byte is lost.
 */
#define MAPSHARE_ADVISE_DONT_NEED 4

/**
 * mapshare_advise: use huge pages where the file system has them.
 */
#define MAPSHARE_ADVISE_HUGE_PAGES 5

/**
 * mapshare_lock_range: together with other shared locks.
 */
#define MAPSHARE_LOCK_SHARED 1

/**
 * mapshare_lock_range: alone.
 */
#define MAPSHARE_LOCK_EXCLUSIVE 2

/**
 * mapshare_region_info.backing: opened by a path.
 */
#define MAPSHARE_BACKING_FILE 1

/**
 * mapshare_region_info.backing: opened by a name of shared memory.
 */
#define MAPSHARE_BACKING_NAMED 2

/**
 * mapshare_region_info.backing: anonymous memory, made by mapshare_open_anonymous or received.
 */
#define MAPSHARE_BACKING_ANONYMOUS 3

/**
 * mapshare_region_info.backing: opened by a descriptor.
 */
#define MAPSHARE_BACKING_FD 4

/**
 * mapshare_seal: no further seals. This and the next four are the numbers of fcntl(2) F_ADD_SEALS.
 */
#define MAPSHARE_SEAL_SEAL 1

/**
 * mapshare_seal: nobody makes it shorter. Whoever opens it after that can trust its bytes to stay, without a handler.
 */
#define MAPSHARE_SEAL_SHRINK 2

/**
 * mapshare_seal: nobody makes it longer.
 */
#define MAPSHARE_SEAL_GROW 4

/**
 * mapshare_seal: nobody writes. -EBUSY as long as anyone has it mapped shared from a descriptor that is open for
 * writing; mapshare_seal tells the way.
 */
#define MAPSHARE_SEAL_WRITE 8

/**
 * mapshare_seal: nobody writes but those who have it mapped writable already, as its owner. Since Linux 5.1.
 */
#define MAPSHARE_SEAL_FUTURE_WRITE 16

/**
 * Bytes of a lock in a region; it stands at a multiple of 8.
 */
#define MAPSHARE_MUTEX_SIZE 64

/**
 * What mapshare_mutex_lock returns when an owner has died with the lock: the caller has it now, and the data that it
 * protects may be half written.
 */
#define MAPSHARE_OWNER_DIED 1

/**
 * mapshare_queue_init flags: one producer at a time, which saves it a lock.
 */
#define MAPSHARE_QUEUE_SINGLE_PRODUCER 1

/**
 * mapshare_queue_init flags: one consumer at a time, which saves it a lock.
 */
#define MAPSHARE_QUEUE_SINGLE_CONSUMER 2

/**
 * mapshare_queue_open role: pushes messages.
 */
#define MAPSHARE_PRODUCER 1

/**
 * mapshare_queue_open role: pops messages.
 */
#define MAPSHARE_CONSUMER 2

/**
 * A producer or a consumer of a queue: a token, never to be dereferenced. It keeps the region from being unmapped, and
 * is not inherited by a child: there it is -EBADF.
 *
 * One thread at a time uses it: a call that is made while another one is under way on the same handle, asleep or not,
 * is -EBUSY. Threads that push or pop at the same time open a handle each, of a queue that is not single on that side.
 */
typedef struct mapshare_queue mapshare_queue;

/**
 * A mapped range of a file: a token that only the functions here understand. Pass it on, never dereference it.
 */
typedef struct mapshare_region mapshare_region;

/**
 * How to open a region. Zero in a field is its default, so start from `mapshare_options options = {0};` and pass
 * `&options, sizeof options`; `NULL, 0` is all defaults.
 */
typedef struct mapshare_options {
  /**
   * MAPSHARE_CREATE and the other flags of this group, or'ed.
   */
  uint64_t flags;
  /**
   * First byte to map, counted from the start of the file: a multiple of the page size.
   */
  uint64_t offset;
  /**
   * Bytes to map; 0 = from offset to the end of the file.
   */
  uint64_t length;
  /**
   * Bytes of address space to keep for growth, length included; 0 = length. Pointers stay while length <= reserve.
   * With length 0 it is at least what there is from offset to the end of the file.
   */
  uint64_t reserve;
  /**
   * MAPSHARE_READ_ONLY (0), MAPSHARE_READ_WRITE or MAPSHARE_COPY_ON_WRITE. Not O_RDWR, whose number is that of
   * MAPSHARE_COPY_ON_WRITE.
   */
  uint32_t access;
  /**
   * Permission bits of a file that is created, less the umask; 0 = 0600.
   */
  uint32_t mode;
} mapshare_options;

/**
 * What mapshare_info tells. Lengths and offsets are bytes.
 */
typedef struct mapshare_region_info {
  /**
   * Bytes that may be accessed now.
   */
  uint64_t length;
  /**
   * First mapped byte, counted from the start of the file.
   */
  uint64_t offset;
  /**
   * The length up to which the region grows without moving.
   */
  uint64_t reserve;
  /**
   * The file's length now.
   */
  uint64_t file_length;
  /**
   * Bytes in a page of this mapping; huge on hugetlbfs.
   */
  uint64_t page_size;
  /**
   * Bytes of the region that are in memory now, whoever has brought them there.
   */
  uint64_t resident;
  /**
   * Accesses that were turned into an error so far.
   */
  uint64_t faults;
  /**
   * The file's device number, st_dev of stat(2).
   */
  uint64_t device;
  /**
   * The file's inode number, st_ino of stat(2).
   */
  uint64_t inode;
  /**
   * MAPSHARE_READ_ONLY, MAPSHARE_READ_WRITE or MAPSHARE_COPY_ON_WRITE.
   */
  uint32_t access;
  /**
   * MAPSHARE_BACKING_FILE or another of that group.
   */
  uint32_t backing;
  /**
   * The seals of a memory file as fcntl(2) F_GET_SEALS gives them: MAPSHARE_SEAL_SHRINK and its like, or'ed, and
   * what else the kernel has: 0x20 says that the memory cannot be made executable. 0 for other files, but 1 on a tmpfs.
   */
  uint32_t seals;
  /**
   * Views that are out.
   */
  uint32_t views;
} mapshare_region_info;

/**
 * Who has a lock: for people and tools.
 */
typedef struct mapshare_owner {
  /**
   * The process, by the number that it has for itself; 0 when nobody has the lock.
   */
  uint32_t pid;
  /**
   * The thread, by the kernel's number.
   */
  uint32_t tid;
  /**
   * 1 when the process lives, 0 when not.
   */
  uint32_t alive;
  /**
   * 1 when somebody may be waiting, 0 when nobody is; not how many: those that are killed cannot be counted out.
   */
  uint32_t waiters;
} mapshare_owner;

/**
 * How a queue does.
 */
typedef struct mapshare_queue_state {
  /**
   * Messages pushed and not yet popped.
   */
  uint64_t messages;
  /**
   * Bytes of the message space that they take, with 8 to 15 for each, and what is passed over at the end.
   */
  uint64_t bytes;
  /**
   * Bytes of message space, as the queue was made.
   */
  uint64_t capacity;
  /**
   * Messages pushed since the queue was made; less by one for each producer that was killed at a certain instant.
   */
  uint64_t pushed;
  /**
   * Messages popped since, likewise.
   */
  uint64_t popped;
  /**
   * Producer handles of living processes, 16 at the most.
   */
  uint32_t producers;
  /**
   * Consumer handles, likewise.
   */
  uint32_t consumers;
} mapshare_queue_state;

#ifdef __cplusplus
extern "C" {
#endif  /* __cplusplus */

/**
 * Opens a file as a region: maps `length` bytes of it from `offset`, as the options say.
 *
 * @param path          Path of a regular file; one that is relative counts from the working directory.
 * @param options       How to open it; NULL for all defaults: read-only, the whole file.
 * @param options_size  sizeof *options, or 0 with NULL.
 * @param ret_region    Receives the region's token.
 * @return 0, or
 *   -EINVAL: path or ret_region is NULL; an option is unknown or contradicts another; offset is not a multiple of the
 *            page size; there is no byte to map (length 0 and an empty file); something would have to be created or
 *            extended and access is not MAPSHARE_READ_WRITE.
 *   -ENXIO:  the file is shorter than offset + length, and MAPSHARE_CREATE is not set.
 *   -EACCES: the file's or a directory's permissions do not allow this access. A file without write permission opens
 *            MAPSHARE_READ_ONLY and MAPSHARE_COPY_ON_WRITE. Or MAPSHARE_BENEATH, and the path leads out of the
 *            directory that it counts from.
 *   -ENOSPC: no room for the bytes to be reserved; or the file would pass RLIMIT_FSIZE or the file system's limit.
 *   -ENODEV: a directory, FIFO, socket or device stands there, or a file that cannot be mapped, as those of /proc.
 *   -ENOMEM: no address space for reserve bytes (RLIMIT_AS, vm.max_map_count), or RLIMIT_MEMLOCK is met.
 *   -EEXIST: MAPSHARE_EXCLUSIVE, and the file exists; or MAPSHARE_UNLINK_LAST, and it was made without.
 *   -EBUSY:  a file that goes with its last user was about to go for 10 seconds: a process was stopped meanwhile.
 *   -ELOOP:  MAPSHARE_NO_FOLLOW or MAPSHARE_UNLINK_LAST, and the last part of the path is a symbolic link;
 *            MAPSHARE_BENEATH, and any part is; or links lead in a circle.
 *   -E2BIG:  the options struct is larger than this library's, and its tail is not zero.
 *   -EOPNOTSUPP: MAPSHARE_UNLINK_LAST or MAPSHARE_BENEATH, and /proc is not mounted; MAPSHARE_BENEATH, and this kernel
 *            has no openat2(2).
 *   -EPERM:  a seal or the immutable flag forbids this access.
 *   -ENOENT, -ENOTDIR, -ENAMETOOLONG, -EMFILE, -ENFILE, -EROFS, -ETXTBSY, -EIO: as the kernel says them.
 *
 * A failed call leaves nothing behind: no new file, no longer file, no descriptor.
 *
 * Threads: any. Signals: not in a handler. Blocks: never on a FIFO or device; on the disk only.
 * Processes: any number may open the same file, also with MAPSHARE_CREATE at the same time: one makes it.
 * Fork: the child has the region too, under the same token, and unmaps its own.
 * Source: open(2), mmap(2), fallocate(2); POSIX.1-2024 mmap().
 */
int mapshare_open(const char *path,
                  const struct mapshare_options *options,
                  size_t options_size,
                  struct mapshare_region **ret_region);

/**
 * Opens what stands behind a descriptor as a region. The descriptor stays the caller's, who may close it at once.
 *
 * @param fd            An open descriptor of a regular file or memfd, open for reading, and for writing too where
 *                      access is MAPSHARE_READ_WRITE.
 * @param options       As for mapshare_open; MAPSHARE_NO_FOLLOW, MAPSHARE_BENEATH and mode mean
 *                      nothing here.
 * @param options_size  sizeof *options, or 0 with NULL.
 * @param ret_region    Receives the region's token.
 * @return 0, or
 *   -EBADF:  fd is not open, or was opened with O_PATH.
 *   -EACCES: fd is open for writing only, which cannot be mapped, or for reading only and access is
 *            MAPSHARE_READ_WRITE.
 *   -EEXIST: MAPSHARE_EXCLUSIVE: what a descriptor stands for exists always.
 *   -EINVAL: also MAPSHARE_UNLINK_LAST, since a descriptor does not tell the name to remove.
 *   and all codes of mapshare_open that do not concern paths.
 *
 * Threads: any. Signals: not in a handler. Fork: as mapshare_open.
 * Source: mmap(2), fcntl(2) F_DUPFD_CLOEXEC.
 */
int mapshare_open_fd(int fd,
                     const struct mapshare_options *options,
                     size_t options_size,
                     struct mapshare_region **ret_region);

/**
 * Opens a file as a region, by a path that counts from a directory.
 *
 * @param directory_fd  An open descriptor of the directory that a relative path counts from; AT_FDCWD for the
 *                      working directory. With an absolute path it means nothing, and may be any number.
 * @param path          As for mapshare_open.
 * @param options       As for mapshare_open.
 * @param options_size  sizeof *options, or 0 with NULL.
 * @param ret_region    Receives the region's token.
 * @return 0, and for a relative path -EBADF when directory_fd is not open, -ENOTDIR when it is no directory; and all
 *   codes of mapshare_open.
 *
 * Threads: any. Signals: not in a handler. Fork: as mapshare_open.
 * Source: openat(2).
 */
int mapshare_open_at(int directory_fd,
                     const char *path,
                     const struct mapshare_options *options,
                     size_t options_size,
                     struct mapshare_region **ret_region);

/**
 * Makes a region of new memory, all zeros, that has no name: children have it after fork, and mapshare_send hands it
 * to any other process. It is gone when the last process that has it unmaps it or ends, in whatever way.
 *
 * It is a memory file, memfd_create(2), and not what mmap(2) calls MAP_ANONYMOUS: that can be shared with children of
 * the process that made it only, cannot be handed to a process that runs already, and neither grows for all nor can be
 * sealed.
 *
 * @param options       access MAPSHARE_READ_WRITE and a length; offset 0. reserve, MAPSHARE_SPARSE, _POPULATE, _LOCKED
 *                      and _NO_HANDLER as for mapshare_open. MAPSHARE_HUGE_PAGES asks for transparent ones
 *                      (/sys/kernel/mm/transparent_hugepage/shmem_enabled). mode says who may open it through
 *                      /proc/PID/fd, without execute bits; 0 = 0600. MAPSHARE_CREATE and _EXCLUSIVE hold by
 *                      themselves; what is about paths means nothing here.
 * @param options_size  sizeof *options.
 * @param ret_region    Receives the region's token.
 * @return 0, or
 *   -EINVAL: ret_region is NULL; access is not MAPSHARE_READ_WRITE, so that nothing could ever be in it; length is 0;
 *            offset is not 0; an option is unknown or contradicts another.
 *   -ENOMEM: more than the machine's memory and swap; no address space for reserve bytes; RLIMIT_MEMLOCK is met.
 *   -ENOSPC: no room for the bytes, or they would pass RLIMIT_FSIZE.
 *   -E2BIG:  the options struct is larger than this library's, and its tail is not zero.
 *   -EMFILE, -ENFILE: as the kernel says them.
 *
 * The memory counts against the limits of the process that first touches a page (memory.max of its control group);
 * without MAPSHARE_SPARSE that is this one, at once.
 * Threads: any. Signals: not in a handler. Fork: the child has the region too, under the same token, and unmaps its
 * own.
 * Processes: whoever may look into this one (ptrace(2)) can also open /proc/PID/fd/N.
 * Source: memfd_create(2).
 */
int mapshare_open_anonymous(const struct mapshare_options *options,
                            size_t options_size,
                            struct mapshare_region **ret_region);

/**
 * Unmaps a region and forgets its token. Writes that were not flushed are not lost: the system brings them to the
 * file. Waits for calls of other threads that are under way in the region. If it was the last one of something that
 * was made with MAPSHARE_UNLINK_LAST, the name is removed.
 *
 * @param region  The region.
 * @return 0, or
 *   -EBADF: it is not an open region: NULL, forged, or unmapped already.
 *   -EBUSY: views of it are still out, queue handles open, or locks that were taken through it held; a call sleeps in
 *           it (mapshare_lock_range, mapshare_wait, mapshare_mutex_lock, mapshare_cell_wait); or this is a signal
 *           handler that interrupted a call on it. Nothing has changed.
 *
 * Threads: any; of several that unmap the same region one succeeds, and calls that come later get -EBADF.
 * Signals: not in a handler. Source: munmap(2).
 */
int mapshare_unmap(struct mapshare_region *region);

/**
 * Opens shared memory by its name: what anybody has made under it with shm_open, or with MAPSHARE_CREATE a new object
 * of `length` bytes, which has its name only when it is complete. It lives in memory until it is unlinked and nobody
 * has it mapped any more, or until the system ends.
 *
 * @param name          1 to 255 bytes without a slash, but for one in front, which may be left out; not "." or "..".
 *                      Any other bytes are good. A name is the file /dev/shm/NAME: it is the same object for shm_open,
 *                      for Python's multiprocessing.shared_memory and for Boost's shared_memory_object, which call it.
 * @param options       As for mapshare_open; a symbolic link is never followed.
 * @param options_size  sizeof *options, or 0 with NULL.
 * @param ret_region    Receives the region's token.
 * @return 0, or
 *   -EINVAL: name or ret_region is NULL; name is empty, "." or "..", or has a slash inside; an option is unknown or
 *            contradicts another.
 *   -ENAMETOOLONG: name is longer than 255 bytes without its slash.
 *   -ENOENT: nothing has the name, and MAPSHARE_CREATE is not set.
 *   -EEXIST: MAPSHARE_EXCLUSIVE, and something has the name; or MAPSHARE_UNLINK_LAST, and what has it was made without.
 *   -EACCES: its permissions do not allow this access; or MAPSHARE_CREATE, and another user than this process's
 *            effective one and root has made it: whoever creates does not take what somebody has put there for it.
 *            Without MAPSHARE_CREATE such an object is opened, where its permissions allow it.
 *   -ELOOP:  a symbolic link has the name.
 *   -ENODEV: a directory, FIFO, socket or device has it; it is not touched.
 *   -ENOSPC: no room in /dev/shm for the bytes to be reserved.
 *   -EOPNOTSUPP: MAPSHARE_UNLINK_LAST, and /proc is not mounted.
 *   -EBUSY:  an object that goes with its last user was about to go for 10 seconds: a process was stopped meanwhile.
 *   and all codes of mapshare_open that do not concern paths.
 *
 * A failed call leaves nothing behind. New objects have mode 0600 unless options.mode says otherwise.
 *
 * Threads: any. Signals: not in a handler. Blocks: never on a FIFO or device.
 * Processes: any number may open the same name, also with MAPSHARE_CREATE at the same time: one makes it.
 * Fork: as mapshare_open. Source: shm_open(3), shm_overview(7); POSIX.1-2024 shm_open().
 */
int mapshare_open_named(const char *name,
                        const struct mapshare_options *options,
                        size_t options_size,
                        struct mapshare_region **ret_region);

/**
 * Removes a name of shared memory. Whoever has the object open goes on using it; it goes with the last of them. The
 * name is free at once.
 *
 * @param name  As for mapshare_open_named.
 * @return 0, or
 *   -EINVAL, -ENAMETOOLONG: name is NULL or no such name.
 *   -ENOENT: nothing has the name.
 *   -EACCES: the object belongs to another user.
 *   -ELOOP, -ENODEV: a symbolic link, or something else that is no shared memory, has the name; it stays.
 *
 * Threads: any. Signals: not in a handler. Source: shm_unlink(3).
 */
int mapshare_unlink_named(const char *name);

/**
 * Removes the names of shared memory whose users are all dead. Only those that were made with MAPSHARE_UNLINK_LAST are
 * looked at: a name that anybody uses stays, as do all others, and what this process may not open for writing or may
 * not remove.
 *
 * @param prefix  How the names begin, with or without a slash in front; "" for all.
 * @return How many were removed, or
 *   -EINVAL, -ENAMETOOLONG: prefix is NULL, or no name begins so.
 *   -EMFILE, -ENFILE, -ENOENT: /dev/shm cannot be read, as the kernel says it.
 *
 * Threads: any. Signals: not in a handler. Blocks: never.
 * Processes: any number may sweep at the same time, while others open, create and leave.
 * Source: fcntl(2), "Open file description locks".
 */
int64_t mapshare_sweep_named(const char *prefix);

/**
 * Copies bytes out of a region.
 *
 * @param region  The region.
 * @param offset  First byte, counted from the region's start.
 * @param buffer  Receives the bytes; may be NULL when length is 0.
 * @param length  How many bytes.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: buffer is NULL and length is not 0.
 *   -ERANGE: offset + length leaves the region, for any numbers, sums that overflow included; nothing was copied.
 *            A file that others have grown is taken over first, within the region's reserve.
 *   -ENXIO:  the file was cut short, and a page of the range lies wholly behind its end. Up to the end of the file's
 *            last page there is no error: those bytes read as zeros.
 *   -ENOSPC: its file system has no room for a page. -EIO: its device failed.
 *            mapshare_last_error says for the three how many bytes were copied before.
 *
 * Threads: any number at once. Bytes that others write meanwhile are seen old or new, each byte for itself.
 * Signals: not in a handler. Blocks: on the disk only, for pages that are not in memory.
 */
int mapshare_read(struct mapshare_region *region, uint64_t offset, void *buffer, size_t length);

/**
 * Copies bytes into a region. Everyone who has the file mapped sees them at once, without a call.
 *
 * @param region  The region.
 * @param offset  First byte, counted from the region's start.
 * @param buffer  The bytes; may be NULL when length is 0.
 * @param length  How many.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: buffer is NULL and length is not 0.
 *   -EACCES: the region is read-only.
 *   -ERANGE: offset + length leaves the region; nothing was copied. Growth by others is taken over as in
 *            mapshare_read.
 *   -ENXIO, -ENOSPC, -EIO: as in mapshare_read; bytes written behind the end of the file in its last page are lost.
 *
 * Threads: any number at once; writes of several threads or processes to the same bytes mix byte by byte.
 * Signals: not in a handler. Blocks: on the disk only, for pages that are not in memory.
 */
int mapshare_write(struct mapshare_region *region, uint64_t offset, const void *buffer, size_t length);

/**
 * Sets all bytes of a range to one value.
 *
 * @param region  The region.
 * @param offset  First byte, counted from the region's start.
 * @param length  How many bytes.
 * @param byte    The value, 0 to 255.
 * @return 0, or -EBADF, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO as mapshare_write; -EINVAL when byte is more than 255.
 *
 * Threads: any number at once. Signals: not in a handler.
 */
int mapshare_fill(struct mapshare_region *region, uint64_t offset, uint64_t length, uint32_t byte);

/**
 * Copies bytes from one region to another, or inside one. Ranges that overlap are copied as memmove(3) does, also
 * when they are the same bytes of one file in two regions.
 *
 * @param to           The region to write.
 * @param to_offset    First byte there.
 * @param from         The region to read; may be the same.
 * @param from_offset  First byte there.
 * @param length       How many bytes.
 * @return 0, or the codes of mapshare_read for `from` and of mapshare_write for `to`; with -ERANGE nothing was
 *   copied.
 *
 * Threads: any number at once. Signals: not in a handler.
 */
int mapshare_copy(struct mapshare_region *to,
                  uint64_t to_offset,
                  struct mapshare_region *from,
                  uint64_t from_offset,
                  uint64_t length);

/**
 * Brings written bytes to the file's storage, so that they survive a power cut. Other processes see them without it.
 *
 * @param region  The region.
 * @param offset  First byte, counted from the region's start.
 * @param length  How many bytes; 0 = to the end of the region. Whole pages are written.
 * @param flags   0 to wait until the device has them; MAPSHARE_FLUSH_ASYNC to start the writing and return.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: a flag is unknown; or the region is copy-on-write, whose changes never reach the file.
 *   -ERANGE: offset + length leaves the region.
 *   -EIO, -ENOSPC: the device or file system failed to take them.
 *
 * Threads: any number at once. Signals: not in a handler. Blocks: until the device answers, without the flag.
 * Source: msync(2) MS_SYNC, sync_file_range(2).
 */
int mapshare_flush(struct mapshare_region *region, uint64_t offset, uint64_t length, uint32_t flags);

/**
 * Gives the address of a range, for access without copying. The bytes stay mapped at that address until
 * mapshare_release: as long as a view is out, unmap, and all else that would take its bytes or its address away, is
 * -EBUSY.
 *
 * @param region       The region.
 * @param offset       First byte, counted from the region's start; any alignment.
 * @param length       How many bytes, at least 1.
 * @param ret_pointer  Receives the address. Writing through it needs a region that is not read-only.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: ret_pointer is NULL, or length is 0.
 *   -ERANGE: offset + length leaves the region.
 *   -EOPNOTSUPP: the region was opened MAPSHARE_NO_HANDLER, and its file may shrink.
 *
 * A page that the file loses while the view is out reads as zeros and takes writes that go nowhere; functions called
 * on it, and mapshare_release, say so by their code. mapshare_refresh puts back what the file has.
 *
 * Threads: any; the address may be used on all threads and released on any. Others change the bytes at any moment:
 * use atomics, volatile accesses or a lock.
 * Signals: not in a handler. Fork: the child has its own mapping at the same address, of the same bytes.
 */
int mapshare_view(struct mapshare_region *region, uint64_t offset, uint64_t length, void **ret_pointer);

/**
 * Gives a view back. Its address must not be used any more.
 *
 * @param region   The region.
 * @param pointer  An address that mapshare_view returned; one that was returned twice is released twice, the
 *                 shortest view first.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: pointer is no address that is out, or was released already.
 *   -ENXIO, -ENOSPC, -EIO: pages of it were lost while it was out: the file was cut short, its file system was full,
 *            its device failed. Zeros stood in their place since, and what was written there is gone. The view is
 *            released all the same. It is pages that were used through the view, or stood as zeros when it was taken,
 *            that this tells of. Of several views at one address, where one has lost pages all of them say so.
 *
 * Threads: any. Signals: not in a handler.
 */
int mapshare_release(struct mapshare_region *region, void *pointer);

/**
 * Where this process counts, in all its views together, the pages that were lost. Bindings that read a view at the
 * speed of memory look at it after each access: as long as it stands where it stood when mapshare_release last
 * returned 0 for a view of the region, the access met the file's own bytes. When it has changed, mapshare_read of the
 * same range tells whether they were lost.
 *
 * @return The address of a number that goes up before zeros take a page's place, and again after; it stays valid, and
 *   is only read.
 *
 * Threads: any; an aligned load sees the number whole. Signals: safe in a handler. Fork: the child counts on its own.
 */
const uint64_t *mapshare_lost_count(void);

/**
 * Makes a region and its file longer or shorter. What is added reads as zeros, and its storage is reserved unless the
 * region was opened MAPSHARE_SPARSE. Growing never cuts a file that others have made longer still; shrinking does.
 *
 * @param region  The region, MAPSHARE_READ_WRITE.
 * @param length  The new length in bytes, counted from the region's start; at least 1.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: length is 0, or the region is copy-on-write.
 *   -EACCES: the region is read-only.
 *   -EBUSY:  views are out or queue handles open, and length cuts bytes from one of them or is more than the reserve; a
 *            thread of this process holds a lock that it would cut away; or it would have to wait for a call that
 *            sleeps in the region.
 *   -ENOSPC: no room on the file system, or the file would pass its limit or RLIMIT_FSIZE.
 *   -ENOMEM: no address space for a length beyond the reserve, or RLIMIT_MEMLOCK is met.
 *   -EPERM:  a seal forbids it.
 *
 * Pointers stay while length <= reserve; beyond it the region moves, which needs that no view is out.
 * Threads: any. Growing within the reserve goes on beside all other calls; shrinking and moving wait for those under
 * way, and calls that come wait for them.
 * Processes: others keep their length; an access of theirs past it takes the growth over, within their reserve.
 * Signals: not in a handler. Source: fallocate(2), ftruncate(2), mremap(2).
 */
int mapshare_resize(struct mapshare_region *region, uint64_t length);

/**
 * Takes over the file's length of now, which other processes may have changed. A region that reached the end of its
 * file goes on doing so, and moves for it when it must; one opened on a part of the file grows up to its reserve.
 * When the file ends at or before the region's offset, the length becomes 0. Where views have lost pages, it puts back
 * what the file has.
 *
 * @param region  The region.
 * @return 1 when the length has changed, 0 when not, or
 *   -EBADF: not an open region.
 *   -EBUSY: views are out, and the file has grown beyond the reserve; or it would have to wait for a call that sleeps
 *           in the region.
 *   -EBADF also when the program has closed the region's own descriptor; so do all functions below that ask the file.
 *   -ENOMEM, -EIO: as the kernel says them.
 *
 * Threads: any, as mapshare_resize; one that has put pages back waits for the calls under way.
 * Signals: not in a handler. Source: fstat(2).
 */
int mapshare_refresh(struct mapshare_region *region);

/**
 * Changes what may be done with a region, up to what its descriptor grants: of mapshare_open_fd, what fd was opened
 * for; of mapshare_receive, what was handed over; else the access that it was opened with.
 *
 * @param region  The region.
 * @param access  MAPSHARE_READ_ONLY, or MAPSHARE_READ_WRITE for a shared region, MAPSHARE_COPY_ON_WRITE for a private
 *                one.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: access is unknown, or MAPSHARE_COPY_ON_WRITE asked of a shared region: that is decided at open.
 *   -EACCES: writing asked where the descriptor is for reading only, or shared writing of a private region.
 *   -EBUSY:  MAPSHARE_READ_ONLY while views are out that may be written through, or locks are held that were taken
 *            through the region; or a call sleeps in it.
 *   -EPERM:  a seal forbids it.
 *
 * Threads: any; waits for calls under way, and calls that come wait for it. Signals: not in a handler.
 * Source: mprotect(2).
 */
int mapshare_protect(struct mapshare_region *region, uint32_t access);

/**
 * Tells the kernel what to expect of a range, for speed. No advice changes a byte.
 *
 * @param region  The region.
 * @param offset  First byte, counted from the region's start.
 * @param length  How many bytes; 0 = to the end of the region. Whole pages are meant.
 * @param advice  MAPSHARE_ADVISE_NORMAL or another of that group.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: the advice is unknown, to this library or to this kernel.
 *   -ERANGE: offset + length leaves the region.
 *
 * Threads: any. Signals: not in a handler. Source: madvise(2), POSIX.1-2024 posix_madvise().
 */
int mapshare_advise(struct mapshare_region *region, uint64_t offset, uint64_t length, uint32_t advice);

/**
 * How long a region is. This does not look at the file: mapshare_refresh takes over what other processes have changed.
 *
 * @param region  The region.
 * @return Bytes that may be accessed now, or -EBADF: not an open region.
 *
 * Threads: any. Signals: not in a handler.
 */
int64_t mapshare_length(struct mapshare_region *region);

/**
 * What there is to know about a region. The kernel counts the pages that are in memory, so it is for people and tools;
 * before Linux 6.5, of a copy-on-write region, and of a file that this user may neither write nor owns, it looks at
 * each page of the region, which takes minutes for a huge one.
 *
 * @param region    The region.
 * @param ret_info  Receives the facts.
 * @param info_size sizeof *ret_info: a shorter struct gets the first fields, a longer one zeros at its end.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: ret_info is NULL or info_size is 0.
 *   -EIO, -ENOMEM: the kernel cannot answer.
 *
 * Threads: any. Signals: not in a handler. Source: fstat(2), cachestat(2), mincore(2).
 */
int mapshare_info(struct mapshare_region *region, struct mapshare_region_info *ret_info, size_t info_size);

/**
 * A new descriptor of a region's file, for whoever needs one: fstat, flock, sendmsg, /proc/PID/fd.
 *
 * @param region  The region.
 * @return A descriptor, close-on-exec, that the caller closes; or -EBADF: not an open region, -EMFILE: too many
 *   descriptors are open.
 *
 * Threads: any. Signals: not in a handler. Source: fcntl(2) F_DUPFD_CLOEXEC.
 */
int mapshare_fd(struct mapshare_region *region);

/**
 * Hands a region to whoever reads the other end of a Unix socket, with mapshare_receive: related or not, of any user,
 * in any container. It goes as one message with one descriptor; the receiver has the region for as long as it likes,
 * also when the sender unmaps it or ends.
 *
 * @param region  The region. A part of a file is sent as that part; the receiver's descriptor is of the whole file.
 * @param socket  A connected Unix socket: stream, datagram or seqpacket. It stays the caller's.
 * @param access  The most that the receiver may do: MAPSHARE_READ_ONLY, MAPSHARE_READ_WRITE or MAPSHARE_COPY_ON_WRITE.
 *                What a copy-on-write region has written privately is not sent: the receiver sees the file.
 * @return 0, or
 *   -EBADF:  not an open region, or socket is not open.
 *   -EACCES: more access than the region grants, as for mapshare_protect; or without /proc, and for a user whom the
 *            file's permissions bar from opening it anew: a region that could be written, for reading.
 *   -EPERM:  anonymous memory for reading or copy-on-write, without MAPSHARE_SEAL_FUTURE_WRITE or _WRITE: the receiver
 *            could open it for writing through /proc/self/fd. Or for writing, with one of those seals: nobody can map
 *            it so any more.
 *   -EINVAL: access is unknown, or socket is not connected or no Unix socket; the region's length is 0.
 *   -ENOTSOCK: socket is no socket.
 *   -EPIPE:  the other side has closed. No SIGPIPE is raised.
 *   -EAGAIN: socket is full and does not wait (O_NONBLOCK, SO_SNDTIMEO).
 *   -EINTR:  a signal handler ran while it waited, also one with SA_RESTART; nothing was sent.
 *   -EMFILE, -ENFILE: no free descriptor, or too many are under way that nobody has received yet.
 *   -ENOMEM: as the kernel says it.
 *
 * Read-only is what it says: the receiver's descriptor is opened for reading only. A receiver can ask the kernel to
 * open the file again, through /proc/self/fd, and then the file's permissions decide: for a user whom they let write,
 * hand-over takes no right away. Of anonymous memory a seal decides, against everyone; with MAPSHARE_SEAL_SHRINK and
 * _GROW too, no receiver can change its length either.
 *
 * Threads: any; the region may be unmapped meanwhile. Blocks: while a blocking socket is full. Signals: not in a
 * handler.
 * Source: unix(7) SCM_RIGHTS, sendmsg(2), ppoll(2), proc(5) /proc/PID/fd.
 */
int mapshare_send(struct mapshare_region *region, int socket, uint32_t access);

/**
 * Takes a region that mapshare_send has sent. It consumes one message, also when it fails, unless the code is one of
 * those marked *, for what is found before anything is taken: the message stays. After the others a receiver goes on
 * with the next. What it received and cannot use is closed.
 *
 * Nothing that comes is trusted: whatever a hostile sender does gives a code. What a sender can do is to cut the file
 * short later, which is -ENXIO then as with any file; memory that carries MAPSHARE_SEAL_SHRINK (mapshare_info) it
 * cannot cut. A file on FUSE can keep whoever touches it waiting.
 *
 * @param socket        The other end of a Unix socket; it stays the caller's. Where users are not to be trusted, ask
 *                      for theirs (unix(7), SO_PEERCRED).
 * @param options       As for mapshare_open_fd, and: access is at most what was sent; offset and length count inside
 *                      what was handed over, 0 and 0 = all of it. MAPSHARE_CREATE means nothing here: no file is made
 *                      longer, and no storage reserved, because of what a sender says.
 * @param options_size  sizeof *options, or 0 with NULL.
 * @param ret_region    Receives the region's token.
 * @return 0, or
 *   -EBADF:  * socket is not open.
 *   -EINVAL: * ret_region is NULL; an option is unknown or contradicts another; socket is not connected or no Unix
 *            socket.
 *   -EINVAL: offset is not a multiple of the page size, which is known once the message has been taken.
 *   -ENOTSOCK: * socket is no socket.
 *   -E2BIG:  * the options struct is larger than this library's, and its tail is not zero.
 *   -EAGAIN: * nothing has come, and socket does not wait (O_NONBLOCK, SO_RCVTIMEO).
 *   -EINTR:  * a signal handler ran while it waited, also one with SA_RESTART.
 *   -EPROTO: what came is no hand-over: other bytes, no descriptor or several, one of a pipe, directory or device, one
 *            that grants less than was said. Of a stream, up to 32 bytes were taken.
 *   -EPIPE:  the other side has closed, and nothing is left to receive. A datagram socket does not tell that: give it
 *            a time (SO_RCVTIMEO), or see by other means that the sender lives.
 *   -EACCES: more access was asked than was handed over.
 *   -ERANGE: offset + length leaves what was handed over.
 *   -ENXIO:  the file is shorter than what was handed over: it was cut short since.
 *   -EMFILE, -ENFILE: there was no free descriptor for the one that came.
 *   -EPERM:  a seal forbids to map it writable.
 *   -EEXIST, -ENOSPC, -ENOMEM, -EIO: as mapshare_open_fd.
 *
 * Threads: any; each message goes to one of those that wait. Blocks: on a blocking socket until something comes; the
 * peer of a stream that sends a part of a message and stops keeps it waiting for the rest, unless SO_RCVTIMEO is set.
 * Signals: not in a handler. Fork: as mapshare_open.
 * Source: unix(7) SCM_RIGHTS, ppoll(2), recvmsg(2) MSG_CMSG_CLOEXEC.
 */
int mapshare_receive(int socket,
                     const struct mapshare_options *options,
                     size_t options_size,
                     struct mapshare_region **ret_region);

/**
 * Seals a region's memory, for everyone who has it and for good.
 *
 * @param region  The region: anonymous memory, or a memfd that allows sealing; opened with a descriptor for writing.
 * @param seals   MAPSHARE_SEAL_SHRINK, _GROW, _WRITE, _FUTURE_WRITE and _SEAL, or'ed; those that are there already
 *                stay.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: a bit of seals is unknown, to this library or to this kernel.
 *   -EOPNOTSUPP: the region is a file: only memory files can be sealed.
 *   -EACCES: the region's descriptor is for reading only.
 *   -EPERM:  it carries MAPSHARE_SEAL_SEAL.
 *   -EBUSY:  MAPSHARE_SEAL_WRITE while anyone has it mapped shared from a descriptor that is open for writing, as is
 *            every region that was opened MAPSHARE_READ_WRITE, also when mapshare_protect has narrowed it.
 *            MAPSHARE_SEAL_FUTURE_WRITE lets those there are go on writing.
 *
 * MAPSHARE_SEAL_WRITE is to be had so: take a descriptor (mapshare_fd), unmap all regions of the memory, open the
 * descriptor MAPSHARE_COPY_ON_WRITE (mapshare_open_fd), and seal through that region.
 *
 * To publish data that readers cannot change, and that no trick of theirs takes away: mapshare_seal with
 * MAPSHARE_SEAL_FUTURE_WRITE | MAPSHARE_SEAL_SHRINK, then mapshare_send MAPSHARE_READ_ONLY. The owner goes on writing,
 * and growing within its reserve. What a seal forbids from then on, in resize, protect, open or send, is -EPERM with
 * its name.
 *
 * Threads: any. Signals: not in a handler. Processes: all that have the memory are bound by it.
 * Source: fcntl(2), "File Sealing".
 */
int mapshare_seal(struct mapshare_region *region, uint32_t seals);

/**
 * Locks a range of a region's bytes in its file, against all other threads, of this and of other processes, that lock
 * some of the same bytes: shared locks stand together, an exclusive one stands alone. A lock is advice between those
 * who ask for it; it keeps nobody from reading and writing.
 *
 * The lock is the calling thread's. It ends with mapshare_unlock_range, with the thread, or with the process, whose
 * locks the kernel frees however it dies; mapshare_unmap is -EBUSY until then.
 *
 * @param region      The region; MAPSHARE_READ_WRITE for an exclusive lock.
 * @param offset      First byte, counted from the region's start.
 * @param length      How many bytes, inside the region; 0 = all that follow, also those that the file grows by later.
 * @param mode        MAPSHARE_LOCK_SHARED or MAPSHARE_LOCK_EXCLUSIVE.
 * @param timeout_ns  How long to wait, in nanoseconds; 0 = only try, < 0 = for ever.
 * @return 0, or
 *   -EBADF:     not an open region; or the program has closed a descriptor of the library's.
 *   -EINVAL:    mode is unknown.
 *   -ERANGE:    offset + length leaves the region, or the range does not end below byte 2^62 of the file.
 *   -EACCES:    an exclusive lock of a region that is not MAPSHARE_READ_WRITE; or the file's permissions do not let
 *               this user open it anew, which a thread does at its first lock of a region.
 *   -EDEADLK:   this thread has locked some of the bytes, in either mode, and would wait for itself: a lock is never
 *               widened, and never changed from shared to exclusive. Through another region of the same file: only
 *               where the two exclude each other.
 *   -ETIMEDOUT: the time has passed.
 *   -EINTR:     a signal handler ran while the call waited, also one with SA_RESTART; call again to wait on.
 *   -EOPNOTSUPP: the file system or the kernel has no such locks, or /proc is not there.
 *   -ENOLCK, -ENOMEM, -EMFILE, -ENFILE, -EIO: as the kernel says them.
 *
 * Threads: any; threads of one process exclude each other. A thread that has locked holds one more descriptor for
 * each region, until it ends or the region is unmapped.
 * Signals: not in a handler. Blocks: up to timeout_ns. It looks again at intervals, of 50 us at first and 4 ms at
 * most, and those who wait have no order. Meanwhile functions that want the region for themselves alone are -EBUSY.
 * Processes: these are open file description locks (fcntl F_OFD_SETLK). Locks of programs without this library,
 * F_OFD_SETLK as well as F_SETLK (lockf), exclude them and are excluded by them, inside one process too; those of flock
 * do not. They do not end, as F_SETLK locks do, when the program closes a descriptor of the file.
 * Fork: the child holds none of the parent's locks, and does not prolong them.
 * Source: fcntl(2), "Open file description locks (non-POSIX)"; POSIX.1-2024 fcntl().
 */
int mapshare_lock_range(struct mapshare_region *region,
                        uint64_t offset,
                        uint64_t length,
                        uint32_t mode,
                        int64_t timeout_ns);

/**
 * Frees a lock that the calling thread took with mapshare_lock_range. Only whole locks are freed.
 *
 * @param region  The region.
 * @param offset  As it was locked.
 * @param length  As it was locked: 0 where that was 0.
 * @return 0, or
 *   -EBADF: not an open region; or the program has closed a descriptor of the library's.
 *   -EPERM: this thread holds no lock of this offset and length through this region: it was freed, taken by another
 *           thread, or by the parent before a fork.
 *   -ENOLCK, -ENOMEM: as the kernel says them; the lock is still held.
 *
 * Threads: the one that took the lock. Signals: not in a handler. Source: fcntl(2).
 */
int mapshare_unlock_range(struct mapshare_region *region, uint64_t offset, uint64_t length);

/**
 * Reads a number of 8 bytes atomically.
 *
 * @param region        The region.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 8.
 * @param ret_value     Receives the number.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: offset is not a multiple of 8, or ret_value is NULL.
 *   -ERANGE: the word leaves the region. Growth by others is taken over as in mapshare_read.
 *   -ENXIO:  the file was cut short, and the word's page lies wholly behind its end; or a view has lost that page.
 *   -ENOSPC: its file system has no room for the page. -EIO: its device failed.
 *   -EOPNOTSUPP: the region was opened MAPSHARE_NO_HANDLER, and its file may shrink.
 *
 * Threads: any number at once, of any processes that have the bytes mapped. All atomic operations on a word happen one
 * after another, and all threads see all of them in one order (sequentially consistent).
 * Signals: not in a handler. Blocks: on the disk only, for pages that are not in memory. In a copy-on-write region the
 * word is this process's own once it has written to the page.
 * Source: C11 7.17.3, 7.17.7.
 */
int mapshare_atomic_load_u64(struct mapshare_region *region, uint64_t offset, uint64_t *ret_value);

/**
 * Writes a number of 8 bytes atomically.
 *
 * @param region        The region, not MAPSHARE_READ_ONLY.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 8.
 * @param value         The number.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: offset is not a multiple of 8.
 *   -EACCES: the region is read-only.
 *   -ERANGE: the word leaves the region. Growth by others is taken over as in mapshare_read.
 *   -ENXIO:  the file was cut short, and the word's page lies wholly behind its end; or a view has lost that page.
 *   -ENOSPC: its file system has no room for the page. -EIO: its device failed.
 *   -EOPNOTSUPP: the region was opened MAPSHARE_NO_HANDLER, and its file may shrink.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_store_u64(struct mapshare_region *region, uint64_t offset, uint64_t value);

/**
 * Writes a number of 8 bytes, and gives the one that stood there, in one step.
 *
 * @param region        The region, not MAPSHARE_READ_ONLY.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 8.
 * @param value         The number.
 * @param ret_previous  Receives the number that stood there before; may be NULL.
 * @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_swap_u64(struct mapshare_region *region, uint64_t offset, uint64_t value, uint64_t *ret_previous);

/**
 * Adds to a number of 8 bytes in one step. The sum wraps around: to take k away, add -k.
 *
 * @param region        The region, not MAPSHARE_READ_ONLY.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 8.
 * @param value         What to add.
 * @param ret_previous  Receives the number that stood there before; may be NULL.
 * @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_add_u64(struct mapshare_region *region, uint64_t offset, uint64_t value, uint64_t *ret_previous);

/**
 * Keeps only some bits of a number of 8 bytes, in one step.
 *
 * @param region        The region, not MAPSHARE_READ_ONLY.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 8.
 * @param value         The bits to keep.
 * @param ret_previous  Receives the number that stood there before; may be NULL.
 * @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_and_u64(struct mapshare_region *region, uint64_t offset, uint64_t value, uint64_t *ret_previous);

/**
 * Sets bits of a number of 8 bytes, in one step.
 *
 * @param region        The region, not MAPSHARE_READ_ONLY.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 8.
 * @param value         The bits to set.
 * @param ret_previous  Receives the number that stood there before; may be NULL.
 * @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_or_u64(struct mapshare_region *region, uint64_t offset, uint64_t value, uint64_t *ret_previous);

/**
 * Writes a number of 8 bytes if another one stands there, in one step.
 *
 * @param region        The region, not MAPSHARE_READ_ONLY.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 8.
 * @param expected      The number that has to stand there.
 * @param desired       What to write in its place.
 * @param ret_previous  Receives the number that stood there before; may be NULL.
 * @return 1 when it was written, 0 when another number than expected stood there;
 *   or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_compare_swap_u64(struct mapshare_region *region,
                                     uint64_t offset,
                                     uint64_t expected,
                                     uint64_t desired,
                                     uint64_t *ret_previous);

/**
 * Reads a number of 4 bytes atomically.
 *
 * @param region        The region.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 4.
 * @param ret_value     Receives the number.
 * @return 0; or -EBADF, -EINVAL, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_load_u64.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_load_u32(struct mapshare_region *region, uint64_t offset, uint32_t *ret_value);

/**
 * Writes a number of 4 bytes atomically.
 *
 * @param region        The region, not MAPSHARE_READ_ONLY.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 4.
 * @param value         The number.
 * @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_store_u32(struct mapshare_region *region, uint64_t offset, uint32_t value);

/**
 * Writes a number of 4 bytes, and gives the one that stood there, in one step.
 *
 * @param region        The region, not MAPSHARE_READ_ONLY.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 4.
 * @param value         The number.
 * @param ret_previous  Receives the number that stood there before; may be NULL.
 * @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_swap_u32(struct mapshare_region *region, uint64_t offset, uint32_t value, uint32_t *ret_previous);

/**
 * Adds to a number of 4 bytes in one step. The sum wraps around: to take k away, add -k.
 *
 * @param region        The region, not MAPSHARE_READ_ONLY.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 4.
 * @param value         What to add.
 * @param ret_previous  Receives the number that stood there before; may be NULL.
 * @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_add_u32(struct mapshare_region *region, uint64_t offset, uint32_t value, uint32_t *ret_previous);

/**
 * Keeps only some bits of a number of 4 bytes, in one step.
 *
 * @param region        The region, not MAPSHARE_READ_ONLY.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 4.
 * @param value         The bits to keep.
 * @param ret_previous  Receives the number that stood there before; may be NULL.
 * @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_and_u32(struct mapshare_region *region, uint64_t offset, uint32_t value, uint32_t *ret_previous);

/**
 * Sets bits of a number of 4 bytes, in one step.
 *
 * @param region        The region, not MAPSHARE_READ_ONLY.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 4.
 * @param value         The bits to set.
 * @param ret_previous  Receives the number that stood there before; may be NULL.
 * @return 0; or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_or_u32(struct mapshare_region *region, uint64_t offset, uint32_t value, uint32_t *ret_previous);

/**
 * Writes a number of 4 bytes if another one stands there, in one step.
 *
 * @param region        The region, not MAPSHARE_READ_ONLY.
 * @param offset        The word's first byte, counted from the region's start: a multiple of 4.
 * @param expected      The number that has to stand there.
 * @param desired       What to write in its place.
 * @param ret_previous  Receives the number that stood there before; may be NULL.
 * @return 1 when it was written, 0 when another number than expected stood there;
 *   or -EBADF, -EINVAL, -EACCES, -ERANGE, -ENXIO, -ENOSPC, -EIO or -EOPNOTSUPP as mapshare_atomic_store_u64.
 *
 * Threads: any number at once, as mapshare_atomic_load_u64. Signals: not in a handler.
 */
int mapshare_atomic_compare_swap_u32(struct mapshare_region *region,
                                     uint64_t offset,
                                     uint32_t expected,
                                     uint32_t desired,
                                     uint32_t *ret_previous);

/**
 * Sleeps while a number stands in a word of 4 bytes, until another thread or process calls mapshare_wake on it. Returns
 * at once when another number stands there, so that no change is missed which was made before its wake:
 *
 *   one side:   while (mapshare_atomic_load_u32(region, at, &seen), seen == 0) mapshare_wait(region, at, 0, -1);
 *   the other:  mapshare_atomic_store_u32(region, at, 1); mapshare_wake(region, at, 1);
 *
 * @param region      The region, not MAPSHARE_COPY_ON_WRITE; it may be read-only.
 * @param offset      The word's first byte, counted from the region's start: a multiple of 4.
 * @param expected    The number during which to sleep.
 * @param timeout_ns  How long, in nanoseconds; 0 = only look, < 0 = for ever.
 * @return 0: another number stands there, or somebody has called mapshare_wake. Look again: it is possible that nothing
 *   has changed, or not for this caller. Or
 *   -ETIMEDOUT: expected still stood there when the time had passed.
 *   -EINTR:  a signal handler ran during the wait; call again to go on waiting.
 *   -EBADF:  not an open region.
 *   -EINVAL: offset is not a multiple of 4, or the region is copy-on-write, where nobody sees the others' changes.
 *   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP: as mapshare_atomic_load_u32. A file that is cut short under a sleeper
 *            is noticed within 100 ms; so is a change whose maker was killed before it could wake.
 *
 * Threads: any number at once. While one sleeps, mapshare_unmap and all else that waits for the calls under way in this
 * region (shrinking, moving, mapshare_protect) is -EBUSY.
 * Processes: those meet that have the same bytes of the file mapped, at whatever addresses and offsets.
 * Signals: not in a handler. Blocks: up to timeout_ns. Source: futex(2).
 */
int mapshare_wait(struct mapshare_region *region, uint64_t offset, uint32_t expected, int64_t timeout_ns);

/**
 * Wakes threads that sleep in mapshare_wait on a word, in whatever process. Change the word first.
 *
 * @param region  The region, not MAPSHARE_COPY_ON_WRITE; it may be read-only.
 * @param offset  The word's first byte, counted from the region's start: a multiple of 4.
 * @param count   How many to wake at the most; UINT32_MAX for all.
 * @return How many were woken, or
 *   -EBADF:  not an open region.
 *   -EINVAL: offset is not a multiple of 4, or the region is copy-on-write.
 *   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP: as mapshare_atomic_load_u32.
 *
 * Threads: any. Signals: not in a handler. Source: futex(2).
 */
int mapshare_wake(struct mapshare_region *region, uint64_t offset, uint32_t count);

/**
 * Makes a lock of MAPSHARE_MUTEX_SIZE bytes that are all zero. One that was killed in the middle of it is made good.
 *
 * @param region  The region, MAPSHARE_READ_WRITE.
 * @param offset  The lock's first byte, counted from the region's start: a multiple of 8.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: offset is not a multiple of 8, or the region is copy-on-write.
 *   -EACCES: the region is read-only; or it is the first call in this process on an object of the file, which opens it
 *            anew through /proc/self/fd, and the process may not. -EMFILE, -ENFILE: no descriptor is left for that.
 *   -EEXIST: a lock stands there already. Of several that make one at the same time, one gets 0 and the others this.
 *   -EBADMSG: other bytes than zeros stand there. -EPROTONOSUPPORT: a lock of another version.
 *   -EBUSY:  somebody has locked the bytes of the file by which processes show that they live (from 2^62 on); or
 *            another process is making the lock and does not get on with it.
 *   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP: as mapshare_atomic_store_u64.
 *   -ENOLCK, -ENOENT: the file system has no locks, or there is no /proc to open the file anew by.
 *
 * Threads: any. Signals: not in a handler.
 * Processes: any number that have the file mapped for writing and may open it.
 */
int mapshare_mutex_init(struct mapshare_region *region, uint64_t offset);

/**
 * Takes a lock for the calling thread. When the thread or the process that has it ends without freeing it, however that
 * comes about, the next caller gets it and is told.
 *
 * @param region      The region, MAPSHARE_READ_WRITE.
 * @param offset      The lock's first byte, counted from the region's start: a multiple of 8.
 * @param timeout_ns  How long to wait, in nanoseconds; 0 = only try, < 0 = for ever.
 * @return 0: the caller has the lock. 1, MAPSHARE_OWNER_DIED: it has the lock, but an owner before it has died with it,
 *   and the data may be half written: repair them, then call mapshare_mutex_recover; until then every next owner is
 *   told. Or
 *   -EBADF:  not an open region.
 *   -EINVAL: offset is not a multiple of 8, or the region is copy-on-write.
 *   -EBADMSG: no lock stands there. -EPROTONOSUPPORT: a lock of another version.
 *   -EDEADLK: the calling thread has it already.
 *   -ETIMEDOUT: the time has passed; mapshare_last_error tells who has the lock.
 *   -EINTR:  a signal handler ran; call again to go on waiting.
 *   -EACCES, -EBUSY, -ENOLCK, -ENOENT, -EMFILE, -ENFILE: as mapshare_mutex_init.
 *   -ENOMEM: the thread holds 16 locks, those of its reservations and peeked messages in queues of many included.
 *   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP: as mapshare_atomic_store_u64.
 *
 * Who comes first gets a free lock, but one that waits is not passed over for long: after 20 milliseconds the lock is
 * kept for it when it is freed, for 5 milliseconds at most, in which others that wait go on waiting. Who only tries
 * gets it.
 *
 * Threads: any. What an owner wrote before it freed the lock, the next one sees. While a call waits, mapshare_unmap and
 * all else that needs the region alone is -EBUSY; while a lock is held, mapshare_unmap is, and making the region
 * read-only.
 * Processes: all that have the file mapped for writing, of any user and pid namespace that may open it.
 * Fork: a child has no locks; those of its parent stay its parent's. Its own first call opens the file anew.
 * Signals: not in a handler. Blocks: up to timeout_ns. Source: fcntl(2) "Open file description locks", futex(2).
 */
int mapshare_mutex_lock(struct mapshare_region *region, uint64_t offset, int64_t timeout_ns);

/**
 * Says that the data which a lock protects are in order again, after MAPSHARE_OWNER_DIED.
 *
 * @param region  The region.
 * @param offset  The lock's first byte.
 * @return 0, -EPERM when the calling thread does not have the lock, or -EBADF, -EINVAL, -EACCES, -EBADMSG and the
 *   others of mapshare_mutex_lock that do not concern waiting.
 *
 * Threads: the one that has the lock. Signals: not in a handler.
 */
int mapshare_mutex_recover(struct mapshare_region *region, uint64_t offset);

/**
 * Frees a lock, and wakes one that waits for it.
 *
 * @param region  The region, or another one of the same file that has the lock's bytes.
 * @param offset  The lock's first byte.
 * @return 0, -EPERM when the calling thread does not have the lock, or -EBADF, -EINVAL, -EACCES, -EBADMSG and the
 *   others of mapshare_mutex_lock that do not concern waiting. After -EBADMSG, and after -ENXIO and -ERANGE, which a
 *   file that was cut short gives, the thread has the lock no more, either.
 *
 * Threads: the one that has the lock. Signals: not in a handler.
 */
int mapshare_mutex_unlock(struct mapshare_region *region, uint64_t offset);

/**
 * Who has a lock, for people and tools: it may be another one by the time of the return.
 *
 * @param region      The region; it may be read-only.
 * @param offset      The lock's first byte.
 * @param ret_owner   Receives the facts.
 * @param owner_size  sizeof *ret_owner: a shorter struct gets the first fields, a longer one zeros at its end.
 * @return 0, -EINVAL also when ret_owner is NULL or owner_size is 0, or -EBADF, -EBADMSG and the others of
 *   mapshare_mutex_lock that do not concern waiting.
 *
 * Threads: any. Signals: not in a handler.
 */
int mapshare_mutex_owner(struct mapshare_region *region,
                         uint64_t offset,
                         struct mapshare_owner *ret_owner,
                         size_t owner_size);

/**
 * How many bytes a cell takes: a head of 128, and the value 4 to 16 times over, each rounded up to 64.
 *
 * @param value_length  Bytes of its values.
 * @return The bytes, a multiple of 64, or
 *   -EINVAL: value_length is 0.
 *   -ERANGE: value_length is more than 2^56.
 *
 * Threads: any. Signals: not in a handler.
 */
int64_t mapshare_cell_footprint(uint64_t value_length);

/**
 * Makes a cell: a place for the latest value, which one or more processes publish and any number read. Until the first
 * one is published, it has version 0 and a value of zeros.
 *
 * @param region        The region, MAPSHARE_READ_WRITE.
 * @param offset        The cell's first byte, counted from the region's start: a multiple of 64. It takes as many bytes
 *                      as mapshare_cell_footprint says, of which the first 128 are zeros.
 * @param value_length  Bytes of its values.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: offset is not a multiple of 64, value_length is 0, or the region is copy-on-write.
 *   -EACCES: the region is read-only; or as mapshare_mutex_init. -EMFILE, -ENFILE: likewise.
 *   -EEXIST: a cell stands there already. Of several that make one at the same time, one gets 0 and the others this.
 *            One that is made anew has version 0 again, and mapshare_cell_wait of an older version goes on waiting.
 *   -EBADMSG: other bytes than zeros stand there. -EPROTONOSUPPORT: a cell of another version.
 *   -EBUSY:  another process is making the cell and does not get on with it; or as mapshare_mutex_init.
 *   -ERANGE: the cell would leave the region, or value_length is more than 2^56.
 *   -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP, -ENOLCK, -ENOENT: as mapshare_mutex_init.
 *
 * Threads: any. Signals: not in a handler. Processes: any number that have the file mapped for writing; one that is
 * killed in the middle is replaced by the next.
 */
int mapshare_cell_init(struct mapshare_region *region, uint64_t offset, uint64_t value_length);

/**
 * Makes a value the latest one of a cell.
 *
 * @param region  The region, MAPSHARE_READ_WRITE.
 * @param offset  The cell's first byte: a multiple of 64.
 * @param value   The value.
 * @param length  Its bytes: as many as the cell was made for.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: value is NULL; length is not the cell's; offset is not a multiple of 64; the region is copy-on-write.
 *   -EACCES: the region is read-only; or as mapshare_mutex_lock.
 *   -EBADMSG: no cell stands there, or it is damaged. -EPROTONOSUPPORT: a cell of another version.
 *   -ETIMEDOUT: another writer that lives has been publishing for a second. -EINTR: a signal handler ran meanwhile.
 *   -EDEADLK: called by a signal handler that has interrupted this thread's publishing here.
 *   -EBUSY:  another process is making the cell and does not get on with it; or as mapshare_mutex_lock.
 *   -ENOMEM: the thread holds 16 locks: a publishing takes one for its time.
 *   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP, -ENOLCK, -ENOENT, -EMFILE, -ENFILE: as mapshare_mutex_lock.
 *
 * Threads: any; writers take turns. Readers are never kept waiting, and a writer that is killed in the middle leaves
 * them the value before. Signals: not in a handler. Blocks: a second at most.
 */
int mapshare_cell_publish(struct mapshare_region *region, uint64_t offset, const void *value, size_t length);

/**
 * Copies the latest value of a cell out: always a whole one, whatever writers do meanwhile.
 *
 * @param region       The region; it may be read-only.
 * @param offset       The cell's first byte: a multiple of 64.
 * @param value        Where to copy it to; after a failure it may have been written to.
 * @param length       The bytes there: as many as the cell was made for.
 * @param ret_version  Receives the value's version: 1 for the first that was published, 0 for the zeros before; NULL
 *                     when it is of no interest.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: value is NULL; length is not the cell's; offset is not a multiple of 64; the region is copy-on-write.
 *   -EBADMSG: no cell stands there, or it is damaged. -EPROTONOSUPPORT: a cell of another version.
 *   -EAGAIN: writers overwrote it 64 times while it was read.
 *   -EBUSY:  another process is making the cell and does not get on with it.
 *   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP: as mapshare_atomic_load_u64.
 *
 * Threads: any. Signals: not in a handler. Blocks: never.
 * Source: Boehm, Can seqlocks get along with programming language memory models, MSPC 2012.
 */
int mapshare_cell_read(struct mapshare_region *region,
                       uint64_t offset,
                       void *value,
                       size_t length,
                       uint64_t *ret_version);

/**
 * Sleeps until a cell has a newer value than the caller has seen. Returns at once when it has one.
 *
 * @param region        The region; it may be read-only, and is looked at every 5 ms then.
 * @param offset        The cell's first byte: a multiple of 64.
 * @param seen_version  The version that mapshare_cell_read told last; 0 waits for the first value.
 * @param timeout_ns    How long, in nanoseconds; 0 = only look, < 0 = for ever.
 * @return 0: there is a newer one. Or
 *   -ETIMEDOUT: there was none when the time had passed. -EINTR: a signal handler ran; call again to go on waiting.
 *   -EBADF:  not an open region.
 *   -EINVAL: offset is not a multiple of 64, or the region is copy-on-write.
 *   -EBADMSG: no cell stands there, or it is damaged. -EPROTONOSUPPORT: a cell of another version.
 *   -EBUSY:  another process is making the cell and does not get on with it.
 *   -ERANGE, -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP: as mapshare_atomic_load_u64.
 *
 * Threads: any number at once. While one sleeps, mapshare_unmap and all else that needs the region alone is -EBUSY. A
 * value whose writer was killed before it could wake is noticed within 100 ms.
 * Signals: not in a handler. Blocks: up to timeout_ns. Source: futex(2), membarrier(2).
 */
int mapshare_cell_wait(struct mapshare_region *region, uint64_t offset, uint64_t seen_version, int64_t timeout_ns);

/**
 * How many bytes a queue takes.
 *
 * @param capacity  The longest message, in bytes. A message takes its own bytes, rounded up to 8, and 8 more, of a ring
 *                  of capacity + 16, rounded up to 64; so what is in it may be more bytes than capacity. It lies in
 *                  one piece: where it would go over the ring's end, what is left there is passed over. So one of
 *                  more than half of capacity may have to wait in an empty queue until a consumer comes by and passes
 *                  that too, and then each one after it has to, a short one as well. Where nobody waits for anybody, as
 *                  in a program of one thread, let capacity be twice the longest message and more.
 * @return The bytes, a multiple of 64, or
 *   -EINVAL: capacity is 0.
 *   -ERANGE: capacity is more than 2^56.
 *
 * Threads: any. Signals: not in a handler.
 */
int64_t mapshare_queue_footprint(uint64_t capacity);

/**
 * Makes an empty queue: a bounded first-in, first-out queue of messages of any length, in the region's bytes. In a file
 * it keeps its messages when no process is there.
 *
 * @param region    The region, MAPSHARE_READ_WRITE.
 * @param offset    The queue's first byte, counted from the region's start: a multiple of 64. It takes as many bytes as
 *                  mapshare_queue_footprint says, of which the first 512 are zeros.
 * @param capacity  Bytes of message space.
 * @param flags     MAPSHARE_QUEUE_SINGLE_PRODUCER, MAPSHARE_QUEUE_SINGLE_CONSUMER, both, or 0.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: offset is not a multiple of 64, capacity is 0, a flag is unknown, or the region is copy-on-write.
 *   -EACCES: the region is read-only; or as mapshare_mutex_init. -EMFILE, -ENFILE: likewise.
 *   -EEXIST: a queue stands there already. Of several that make one at the same time, one gets 0 and the others this.
 *            To make it anew, close its handles in all processes first: they go on as if it were the one they know.
 *   -EBADMSG: other bytes than zeros stand there. -EPROTONOSUPPORT: a queue of another version.
 *   -EBUSY:  another process is making the queue and does not get on with it; or as mapshare_mutex_init.
 *   -ERANGE: the queue would leave the region, or capacity is more than 2^56.
 *   -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP, -ENOLCK, -ENOENT: as mapshare_mutex_init.
 *
 * Threads: any. Signals: not in a handler. Processes: any number that have the file mapped for writing; one that is
 * killed in the middle is replaced by the next.
 */
int mapshare_queue_init(struct mapshare_region *region, uint64_t offset, uint64_t capacity, uint32_t flags);

/**
 * Opens a queue, to push or to pop.
 *
 * @param region     The region, MAPSHARE_READ_WRITE. It cannot be unmapped before the handle is closed.
 * @param offset     The queue's first byte: a multiple of 64.
 * @param role       MAPSHARE_PRODUCER or MAPSHARE_CONSUMER.
 * @param ret_queue  Receives the handle.
 * @return 0, or
 *   -EBADF:  not an open region.
 *   -EINVAL: ret_queue is NULL, role is unknown, offset is not a multiple of 64, or the region is copy-on-write.
 *   -EACCES: the region is read-only; or as mapshare_mutex_init. -EMFILE, -ENFILE: likewise.
 *   -EBADMSG: no queue stands there, or it is damaged. -EPROTONOSUPPORT: a queue of another version.
 *   -EBUSY:  the side is single, and another handle that lives has it; or as mapshare_mutex_init.
 *   -ENOMEM: no memory for the handle.
 *   -ERANGE: the queue leaves the region.
 *   -ENXIO, -ENOSPC, -EIO, -EOPNOTSUPP, -ENOLCK, -ENOENT: as mapshare_mutex_init.
 *
 * Threads: any. Signals: not in a handler. Processes: any number; a dead one's place is taken over.
 * Fork: the child opens handles of its own. Its parent's are -EBADF there, in mapshare_queue_close as well, which lets
 * go of them all the same; until then the child cannot unmap the region.
 */
int mapshare_queue_open(struct mapshare_region *region,
                        uint64_t offset,
                        uint32_t role,
                        struct mapshare_queue **ret_queue);

/**
 * Appends a message. Consumers see it whole or not at all, also when this process is killed in the middle.
 *
 * @param queue       A producer's handle.
 * @param message     The message; may be NULL when length is 0.
 * @param length      Its bytes; 0 is a message too.
 * @param timeout_ns  How long to wait for room, in nanoseconds; 0 = only try, < 0 = for ever.
 * @return 0, or
 *   -EBADF:  not an open handle of this process.
 *   -EINVAL: message is NULL; the handle is a consumer's; it has a reservation open.
 *   -EMSGSIZE: length is more than the queue's capacity.
 *   -ETIMEDOUT: there was no room in that time, in one piece (see mapshare_queue_footprint: a message of more than half
 *            of capacity may find none in an empty queue before a consumer comes by); with timeout_ns 0 also when
 *            another producer is just at it, as one that has a reservation is all the time. What is left at the ring's
 *            end may have been passed over then.
 *   -EINTR: a signal handler ran; call again to go on waiting.
 *   -EPIPE:  mapshare_queue_end was called.
 *   -EBUSY:  another call is under way on this handle.
 *   -EDEADLK: the thread has a reservation open by another handle, or this is a handler that interrupted it pushing.
 *   -EBADMSG: the queue is damaged, or other bytes stand in its place now.
 *   -ENOMEM, -ENXIO, -ENOSPC, -EIO: as mapshare_mutex_lock; -ENOMEM only where a side has many members.
 *
 * Threads: one at a time. Signals: not in a handler. Blocks: up to timeout_ns; what befalls the queue's bytes while it
 * sleeps is noticed within 100 ms. Source: futex(2), membarrier(2).
 */
int mapshare_queue_push(struct mapshare_queue *queue, const void *message, size_t length, int64_t timeout_ns);

/**
 * Takes the first message out and copies it. When this process is killed in the middle, the message is either still
 * there or gone.
 *
 * @param queue       A consumer's handle.
 * @param buffer      Where to copy the message to; may be NULL when capacity is 0.
 * @param capacity    The bytes there.
 * @param timeout_ns  How long to wait for a message, in nanoseconds; 0 = only try, < 0 = for ever.
 * @return The message's bytes, 0 or more, or
 *   -EBADF:  not an open handle of this process.
 *   -EINVAL: buffer is NULL; the handle is a producer's; it has a message peeked.
 *   -EMSGSIZE: the message is longer than capacity. It stays the first one; mapshare_queue_peek tells its length.
 *   -ETIMEDOUT: there was no message in that time; with timeout_ns 0 also when another consumer is just at it.
 *   -EINTR: a signal handler ran; call again to go on waiting.
 *   -EPIPE:  mapshare_queue_end was called, and all messages have been popped.
 *   -EBUSY:  another call is under way on this handle.
 *   -EDEADLK: the thread has a message peeked by another handle, or this is a handler that interrupted it popping.
 *   -EBADMSG: the queue is damaged, or other bytes stand in its place now. A message of which a part was lost to zeros,
 *            in a file that was cut short and made longer again, is told of only where its beginning was lost too.
 *   -ENOMEM, -ENXIO, -ENOSPC, -EIO: as mapshare_mutex_lock; -ENOMEM only where a side has many members.
 *
 * Threads: one at a time. Signals: not in a handler. Blocks: up to timeout_ns, as mapshare_queue_push. A consumer that
 * is faster than a stream of messages may rest for about a microsecond when none is there, and takes several then:
 * looking at each one while it is written would slow both sides down. Before it sleeps, a call looks for some
 * microseconds, and for 0.1 ms where what it waits for has come within that lately; so does mapshare_queue_push.
 * Source: futex(2), membarrier(2).
 */
int64_t mapshare_queue_pop(struct mapshare_queue *queue, void *buffer, size_t capacity, int64_t timeout_ns);

/**
 * Finds room for a message inside the queue, to be filled in place and sent by mapshare_queue_commit. Nobody sees it
 * before. In a queue of many producers the others wait until then.
 *
 * @param queue        A producer's handle.
 * @param length       The message's bytes at the most.
 * @param timeout_ns   How long to wait for room, in nanoseconds; 0 = only try, < 0 = for ever.
 * @param ret_pointer  Receives the address of the first byte, a multiple of 8. It is good until the commit or cancel;
 *                     in a queue of many producers no longer than the thread lives, whose end gives it up.
 *                     A page that the file loses meanwhile takes writes that go nowhere, as with mapshare_view.
 * @return 0, -EINVAL also when ret_pointer is NULL, and all codes of mapshare_queue_push.
 *
 * Threads: one at a time. Signals: not in a handler. Blocks: up to timeout_ns.
 */
int mapshare_queue_reserve(struct mapshare_queue *queue, size_t length, int64_t timeout_ns, void **ret_pointer);

/**
 * Sends what was written into a reservation.
 *
 * @param queue   A producer's handle.
 * @param length  The message's bytes: as many as were reserved, or less.
 * @return 0, or
 *   -EBADF:  not an open handle of this process.
 *   -EINVAL: no reservation is open, it is shorter, or the handle is a consumer's.
 *   -EPERM:  the queue is one of many producers, and another thread has reserved.
 *   -EBUSY:  another call is under way on this handle.
 *   -EBADMSG: other bytes stand in the queue's place now. The reservation stays open; cancel, then close.
 *   -ENXIO, -ENOSPC, -EIO: pages of the reservation were lost meanwhile, and what was written there with them. It stays
 *            open: once mapshare_refresh has put back what the file has, write the message anew, or cancel.
 *
 * Threads: the one that reserved; any, one at a time, when the producer is single. Signals: not in a handler.
 */
int mapshare_queue_commit(struct mapshare_queue *queue, size_t length);

/**
 * Looks at the first message inside the queue, which mapshare_queue_consume takes out. In a queue of many consumers the
 * others wait until then. When this process is killed before, the message is delivered to another consumer.
 *
 * @param queue        A consumer's handle.
 * @param timeout_ns   How long to wait for a message, in nanoseconds; 0 = only try, < 0 = for ever.
 * @param ret_pointer  Receives the address of the first byte, a multiple of 8. It is good until the consume or cancel;
 *                     in a queue of many consumers no longer than the thread lives, whose end puts it back.
 *                     A page that the file loses meanwhile reads as zeros, as with mapshare_view.
 * @return The message's bytes, 0 or more, -EINVAL also when ret_pointer is NULL, and all codes of mapshare_queue_pop
 *   but -EMSGSIZE.
 *
 * Threads: one at a time. Signals: not in a handler. Blocks: up to timeout_ns.
 */
int64_t mapshare_queue_peek(struct mapshare_queue *queue, int64_t timeout_ns, const void **ret_pointer);

/**
 * Takes the message out that mapshare_queue_peek has found.
 *
 * @param queue  A consumer's handle.
 * @return 0, or
 *   -EBADF:  not an open handle of this process.
 *   -EINVAL: no message is peeked, or the handle is a producer's.
 *   -EPERM:  the queue is one of many consumers, and another thread has peeked.
 *   -EBUSY:  another call is under way on this handle.
 *   -EBADMSG: other bytes stand in the queue's place now. The message stays peeked; cancel, then close.
 *   -ENXIO, -ENOSPC, -EIO: pages of the message were lost meanwhile, and zeros stand in their place; it stays.
 *
 * Threads: the one that peeked; any, one at a time, when the consumer is single. Signals: not in a handler.
 */
int mapshare_queue_consume(struct mapshare_queue *queue);

/**
 * Gives up a reservation, or puts a peeked message back. Nothing happens when there is none.
 *
 * @param queue  The handle.
 * @return 0, -EBADF when it is not an open handle of this process, -EBUSY when another call is under way on it, or
 *   -ENXIO, -ENOSPC, -EIO when the queue's bytes are not there any more, but nothing is reserved or peeked then either.
 *
 * Threads: any, one at a time. Signals: not in a handler.
 */
int mapshare_queue_cancel(struct mapshare_queue *queue);

/**
 * Tells how a queue does, at about this moment.
 *
 * @param queue       The handle.
 * @param ret_state   Receives the facts.
 * @param state_size  sizeof *ret_state: a shorter struct gets the first fields, a longer one zeros at its end.
 * @return 0, -EINVAL when ret_state is NULL or state_size is 0, -EBADF when it is not an open handle of this process,
 *   -EBUSY when another call is under way on it, -EBADMSG when the queue is damaged, or -ENXIO, -ENOSPC, -EIO.
 *
 * Threads: any, one at a time. Signals: not in a handler.
 */
int mapshare_queue_info(struct mapshare_queue *queue, struct mapshare_queue_state *ret_state, size_t state_size);

/**
 * Says that there will be no more messages, from no producer and for good: consumers pop those that are left, and then
 * get -EPIPE. An open reservation of this handle is given up; those of others are waited for, a second at most.
 *
 * @param queue  A producer's handle.
 * @return 0, or
 *   -EBADF:  not an open handle of this process.
 *   -EINVAL: the handle is a consumer's.
 *   -ETIMEDOUT: another producer's reservation stays open. -EINTR: a signal handler ran meanwhile. Call again.
 *   -EBUSY:  another call is under way on this handle.
 *   -EDEADLK, -EBADMSG, -ENOMEM, -ENXIO, -ENOSPC, -EIO: as mapshare_queue_push.
 *
 * Threads: one at a time. Signals: not in a handler. Blocks: a second at most.
 */
int mapshare_queue_end(struct mapshare_queue *queue);

/**
 * Closes a handle. A reservation is given up, a peeked message put back; the queue stays as it is.
 *
 * @param queue  The handle.
 * @return 0, or
 *   -EBADF:  not an open handle: NULL, forged, or closed already. Or the handle of a parent, which this process has
 *            let go of then.
 *   -EBUSY:  a call sleeps in it. Nothing has changed.
 *   -ENXIO, -ENOSPC, -EIO: the queue's bytes are not there any more; the handle is closed all the same.
 *
 * Threads: any. Signals: not in a handler.
 */
int mapshare_queue_close(struct mapshare_queue *queue);

/**
 * The version of the library that runs, as text: "0.1.0".
 *
 * @return A static string.
 *
 * Threads: any. Signals: safe in a handler.
 */
const char *mapshare_version(void);

/**
 * The version of the library that runs, as a number that can be compared.
 *
 * @return major << 16 | minor << 8 | patch.
 *
 * Threads: any. Signals: safe in a handler.
 */
uint32_t mapshare_version_number(void);

/**
 * What a code means, in general.
 *
 * @param code  A code as a function returned it, or a positive error number of errno(3).
 * @return A static sentence; "success" for 0.
 *
 * Threads: any. Signals: safe in a handler.
 */
const char *mapshare_strerror(int code);

/**
 * This thread's last failure in full: the function, what was asked, what was found, what to do, and the code's name.
 * For example: "mapshare_open: 'a.bin' is 100 bytes long, 4096 were asked at offset 0; pass MAPSHARE_CREATE to extend
 * it (ENXIO)". A call that succeeds leaves it as it was.
 *
 * @return A string that stays until this thread's next failure or its end; "" when nothing has failed yet.
 *
 * Threads: each has its own.
 */
const char *mapshare_last_error(void);

/**
 * Takes SIGBUS back after the program has installed a handler of its own. That one stays chained: it gets every SIGBUS
 * that does not concern a region. Every opening function does the same, unless MAPSHARE_NO_HANDLER is set.
 *
 * @return 0.
 *
 * Threads: any. Signals: not in a handler. Source: sigaction(2).
 */
int mapshare_arm(void);

#ifdef __cplusplus
}  /* extern "C" */
#endif  /* __cplusplus */

#endif  /* MAPSHARE_H */
