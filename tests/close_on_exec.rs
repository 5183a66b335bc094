//! No descriptor that the library makes is inherited by the programs that its host starts.
//!
//! strace tells of all system calls that make descriptors in `tests/c/every_function.c`, which calls each function. A
//! new function needs nothing here but its line there, which is demanded below.

mod common;

use common::programs::{Workshop, assert_good, exists, package};
use common::{Folder, skip};
use std::fs;
use std::path::Path;

/// The calls that make descriptors, and what each must have among its arguments; None: it makes none that is
/// close-on-exec.
const CALLS: &[(&str, Option<&str>)] = &[
    ("open", Some("O_CLOEXEC")),
    ("openat", Some("O_CLOEXEC")),
    ("openat2", Some("O_CLOEXEC")),
    ("creat", None),
    ("dup", None),
    ("dup2", None),
    ("dup3", Some("O_CLOEXEC")),
    ("fcntl", Some("F_DUPFD_CLOEXEC")), // of those that duplicate
    ("memfd_create", Some("MFD_CLOEXEC")),
    ("socket", Some("SOCK_CLOEXEC")),
    ("socketpair", Some("SOCK_CLOEXEC")),
    ("accept", None),
    ("accept4", Some("SOCK_CLOEXEC")),
    ("recvmsg", Some("MSG_CMSG_CLOEXEC")),
    ("recvmmsg", Some("MSG_CMSG_CLOEXEC")),
    ("pipe", None),
    ("pipe2", Some("O_CLOEXEC")),
    ("eventfd2", Some("EFD_CLOEXEC")),
    ("epoll_create", None),
    ("epoll_create1", Some("EPOLL_CLOEXEC")),
    ("inotify_init", None),
    ("inotify_init1", Some("IN_CLOEXEC")),
    ("timerfd_create", Some("TFD_CLOEXEC")),
    ("signalfd4", Some("SFD_CLOEXEC")),
    ("userfaultfd", Some("O_CLOEXEC")),
];

/// The name and the rest of a line of strace's, without the process number in front.
fn call(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ' ');
    let line = line.split_once("] ").filter(|_| line.starts_with("[pid")).map_or(line, |(_, rest)| rest);
    line.split_once('(')
}

/// Whether the line tells of a descriptor that a started program would inherit.
fn is_inherited(line: &str) -> bool {
    let Some((name, rest)) = call(line) else { return false };
    let Some((_, flag)) = CALLS.iter().find(|(call, _)| *call == name) else { return false };
    let duplicates_nothing = name == "fcntl" && !rest.contains("F_DUPFD");
    let failed = rest.rsplit_once(" = ").is_some_and(|(_, result)| result.starts_with('-'));
    !duplicates_nothing && !failed && !flag.is_some_and(|flag| rest.contains(flag))
}

#[test]
fn every_descriptor_that_any_function_makes_is_close_on_exec() {
    if !exists("strace") {
        return skip("no strace: apt-get install strace");
    }
    let (workshop, folder) = (Workshop::new(), Folder::new());
    let program = workshop.build(&package().join("tests/c/every_function.c"), &["-std=gnu11"]);
    let log = folder.join("calls");
    let names: Vec<_> = CALLS.iter().map(|(name, _)| format!("?{name}")).collect();
    let output = workshop
        .command(Path::new("strace"), &folder)
        .args(["-f", "-qq", "-e", "signal=none", "-e", &format!("trace={}", names.join(",")), "-o"])
        .args([&log, &program])
        .output()
        .expect("it runs");
    if String::from_utf8_lossy(&output.stderr).contains("ptrace") {
        return skip("strace may not trace here");
    }
    assert_good("strace", &output);
    let log = fs::read_to_string(log).expect("strace has written it");
    for name in ["openat(", "openat2(", "F_DUPFD_CLOEXEC", "/proc/self/fd/"] {
        assert!(log.contains(name), "the library's calls were seen, {name} too:\n{log}");
    }
    let inherited: Vec<_> = log.lines().filter(|line| is_inherited(line)).collect();
    assert!(inherited.is_empty(), "{inherited:#?}");
}

#[test]
fn every_function_is_called_in_the_program_that_is_looked_at() {
    let program = fs::read_to_string(package().join("tests/c/every_function.c")).expect("the source");
    let check = fs::read_to_string(package().join("tests/c/check.h")).expect("the source");
    let symbols = fs::read_to_string(package().join("tests/abi/symbols.txt")).expect("the list");
    for symbol in symbols.lines() {
        let call = format!("{symbol}(");
        assert!(program.contains(&call) || check.contains(&call), "tests/c/every_function.c does not call {symbol}");
    }
}

#[test]
fn the_checker_finds_what_it_looks_for() {
    for line in [
        r#"openat(AT_FDCWD, "file", O_RDWR|O_NONBLOCK) = 3"#,
        r#"1234  openat2(3, "file", {flags=O_PATH, resolve=RESOLVE_BENEATH}, 24) = 4"#,
        r#"[pid 77] fcntl(3, F_DUPFD, 0) = 4"#,
        r#"memfd_create("name", MFD_ALLOW_SEALING) = 3"#,
        "dup(3) = 4",
        "pipe2([3, 4], 0) = 0",
        "recvmsg(3, {msg_name=NULL}, 0) = 1",
    ] {
        assert!(is_inherited(line), "{line}");
    }
    for line in [
        r#"openat(AT_FDCWD, "file", O_RDWR|O_CLOEXEC) = 3"#,
        r#"openat(AT_FDCWD, "file", O_RDWR) = -1 ENOENT (No such file or directory)"#,
        "fcntl(3, F_DUPFD_CLOEXEC, 0) = 4",
        "fcntl(3, F_OFD_SETLK, {l_type=F_RDLCK, l_whence=SEEK_SET, l_start=0, l_len=1}) = 0",
        "fcntl(3, F_GETFL) = 0x8002",
        "read(3) = 4",
        "+++ exited with 0 +++",
    ] {
        assert!(!is_inherited(line), "{line}");
    }
}
