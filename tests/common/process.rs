//! Processes of the tests' own: a test runs its own program again, for itself alone.

use std::any::type_name;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Says to the program which role it plays.
const ROLE: &str = "MAPSHARE_TEST_ROLE";
/// Stands before what a partner tells, among the harness's own lines.
const MARK: &str = "@tell ";
/// No test waits longer.
const WATCHDOG_SECONDS: u32 = 30;

/// The test's name as the harness knows it.
fn test_name<F>() -> &'static str {
    type_name::<F>().split_once("::").expect("a path with the crate's name in front").1
}

fn command<F: Fn()>(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([test_name::<F>(), "--exact", "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command
}

/// The role that this process plays; None in the program that cargo started.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Runs `body` in a process of its own, where it may use up limits, drop rights or die. `test` is the calling test.
pub(crate) fn in_own_process<F: Fn()>(_test: F, body: impl FnOnce()) {
    if role().as_deref() == Some("alone") {
        watchdog();
        body();
        tell("done");
        return;
    }
    let output = command::<F>("alone").stdin(Stdio::null()).output().expect("it runs again");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    for line in errors.lines().filter(|line| line.starts_with(super::SKIPPED)) {
        super::say(line);
    }
    let done = text.lines().any(|line| line.ends_with("@tell done"));
    assert!(output.status.success() && done, "{} alone: {}\n{text}\n{errors}", test_name::<F>(), output.status);
}

/// Kills this process when it hangs.
pub(crate) fn watchdog() {
    // SAFETY: no memory is passed.
    unsafe { libc::alarm(WATCHDOG_SECONDS) };
}

/// Another process that runs the same test in another role; both talk in lines.
pub(crate) struct Partner {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Partner {
    /// `test` is the calling test, which looks at `role()` first and does the partner's part.
    pub(crate) fn start<F: Fn()>(_test: F, role: &str) -> Partner {
        let mut child = command::<F>(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("it runs again");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Partner { input: child.stdin.take(), child, output }
    }

    pub(crate) fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("open until finish");
        writeln!(input, "{line}").expect("the partner listens");
    }

    /// The next line that the partner tells; None when it has ended.
    pub(crate) fn hear(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).expect("readable") == 0 {
                return None;
            }
            if let Some(at) = line.find(MARK) {
                return Some(line[at + MARK.len()..].trim_end().to_owned());
            }
        }
    }

    #[track_caller]
    pub(crate) fn hears(&mut self, expected: &str) {
        assert_eq!(self.hear().as_deref(), Some(expected));
    }

    /// Kills it, now.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it was alive");
        self.child.wait().expect("it can be waited for");
    }

    /// Lets it end; it has to end well.
    #[track_caller]
    pub(crate) fn finish(mut self) {
        drop(self.input.take());
        while self.hear().is_some() {}
        let status = self.child.wait().expect("it can be waited for");
        assert!(status.success(), "the partner ended with {status}");
    }
}

/// In a partner: says a line to the test.
pub(crate) fn tell(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "\n{MARK}{line}").expect("the test listens");
    output.flush().expect("the test listens");
}

/// In a partner: the next line that the test says; "" at the end.
pub(crate) fn listen() -> String {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("readable");
    line.trim_end().to_owned()
}

pub(crate) fn is_root() -> bool {
    // SAFETY: it only asks.
    unsafe { libc::geteuid() == 0 }
}

/// Gives up all rights of root, for good; true when there were any or none are held anyway.
pub(crate) fn become_nobody() {
    if !is_root() {
        return;
    }
    const NOBODY: u32 = 65534;
    // SAFETY: an empty list.
    assert_eq!(unsafe { libc::setgroups(0, std::ptr::null()) }, 0);
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }, 0);
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }, 0);
}

/// Sets a soft limit, and the hard one where it has to be raised and may be; the limit of now.
pub(crate) fn limit(resource: libc::__rlimit_resource_t, soft: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the struct.
    unsafe { libc::getrlimit(resource, &mut limit) };
    if soft > limit.rlim_max && is_root() {
        limit.rlim_max = soft;
    }
    limit.rlim_cur = soft.min(limit.rlim_max);
    // SAFETY: the struct is whole.
    assert_eq!(unsafe { libc::setrlimit(resource, &limit) }, 0);
    limit.rlim_cur
}

/// What a refused system call does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    Errno(i32),
    /// The process dies at once, as by kill -9.
    Kill,
}

/// From now on this process's calls of `number` end so; where `bits` is given, those only that have all these bits
/// in that argument.
pub(crate) fn refuse(number: i64, bits: Option<(u32, u32)>, refusal: Refusal) {
    let result = match refusal {
        Refusal::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno.unsigned_abs(),
        Refusal::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    };
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let unless_equal = |k: u32, skip: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: 0,
        jf: skip,
        k,
    };
    let load = |at: u32| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at);
    let end = |result: u32| statement(libc::BPF_RET | libc::BPF_K, result);
    let number = u32::try_from(number).expect("a system call's number");
    let mut filter = match bits {
        None => vec![load(0), unless_equal(number, 1), end(result)],
        Some((argument, bits)) => vec![
            load(0),
            unless_equal(number, 4),
            load(16 + 8 * argument),
            statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits),
            unless_equal(bits, 1),
            end(result),
        ],
    };
    filter.push(end(libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the program is whole, and the kernel copies it.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) }, 0);
}

/// Runs `body` in a forked child of a process that does nothing on other threads; its exit code, or the negative signal.
pub(crate) fn forked(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the only other thread of a process of its own is the harness's, which waits for the test and holds no lock.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1, "fork");
    if child == 0 {
        watchdog();
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(101);
        // SAFETY: ends the child without the harness's own end.
        unsafe { libc::_exit(code) };
    }
    wait_for(child)
}

/// Waits for a child; its exit code, or the negative signal that killed it.
pub(crate) fn wait_for(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the kernel fills the number.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    if libc::WIFSIGNALED(status) { -libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

/// Descriptors that this process has open.
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// Mappings that this process has.
pub(crate) fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").expect("/proc").lines().count()
}

/// Raises a flag when it goes, also when a check has failed, so that the threads that look at it come to their end.
pub(crate) struct StopAtEnd<'a>(pub(crate) &'a std::sync::atomic::AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Waits until it is so; fails when it has not become so in ten seconds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{what}: not in ten seconds");
        std::thread::yield_now();
    }
}

/// The calling thread's number in the kernel.
pub(crate) fn thread_id() -> i32 {
    // SAFETY: it only asks.
    unsafe { libc::gettid() }
}

/// Whether a thread of this process, or the first one of a child, is in that system call.
pub(crate) fn is_in_call(thread: i32, number: i64) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{thread}/syscall")).unwrap_or_default();
    call.split(' ').next() == Some(&number.to_string())
}
