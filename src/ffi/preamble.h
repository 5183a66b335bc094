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
