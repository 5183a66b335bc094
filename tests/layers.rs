//! The sources keep to the table of layers of CONTRIBUTING.md: who imports whom, and where unsafe, libc and atomics stand.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LONGEST: usize = 500;

/// Each layer, and the paths below `crate` that it may name. A path allows all that lies below it.
const TABLE: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("error", &["sys::Errno"]),
    ("mem", &["sys", "error"]),
    (
        "region",
        &[
            "mem",
            "sys::Errno",
            "sys::file",
            "sys::lock",
            "sys::socket",
            "sys::clock",
            "sys::map::Advice",
            "sys::map::Protection",
            "sys::map::Sharing",
            "error",
        ],
    ),
    ("sync", &["mem", "sys::Errno", "sys::futex", "sys::process", "sys::file", "sys::lock", "sys::clock", "error"]),
    ("data", &["mem", "sync", "error"]),
    // The names after error are those that the crate gives to its users; they come from region and mem::view.
    (
        "ffi",
        &[
            "region",
            "sync",
            "error",
            "mem::hazard",
            "mem::atomic",
            "mem::backoff",
            "mem::one_user",
            "Access",
            "Advice",
            "Backing",
            "Cell",
            "Consumer",
            "Error",
            "Flush",
            "Info",
            "LockMode",
            "Locked",
            "Mutex",
            "Options",
            "Owner",
            "Pinned",
            "Producer",
            "Queue",
            "QueueInfo",
            "Region",
            "Result",
            "Sides",
            "View",
        ],
    ),
];

/// What a source is allowed by where it stands.
struct Rights {
    layer: String,
    is_unsafe: bool,
    libc: bool,
    atomics: bool,
}

fn rights(path: &str) -> Option<Rights> {
    let layer = path.split(['/', '.']).next()?;
    if layer == "lib" {
        return None; // the list of modules
    }
    Some(Rights {
        layer: layer.to_owned(),
        is_unsafe: ["sys", "mem", "ffi"].contains(&layer),
        libc: layer == "sys",
        atomics: path == "mem/atomic.rs",
    })
}

/// The source without comments and strings; lines stay where they are.
fn code_of(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = String::new();
    let mut at = 0;
    let newlines = |text: &[u8]| "\n".repeat(text.iter().filter(|byte| **byte == b'\n').count());
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = if rest.starts_with(b"//") {
            rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            rest.windows(2).position(|two| two == b"*/").map_or(rest.len(), |end| end + 2)
        } else if rest[0] == b'"' {
            let mut end = 1;
            while end < rest.len() && rest[end] != b'"' {
                end += if rest[end] == b'\\' { 2 } else { 1 };
            }
            (end + 1).min(rest.len())
        } else if rest.starts_with(b"'\"'") || rest.starts_with(b"'\\'") {
            3
        } else {
            code.push(rest[0] as char);
            at += 1;
            continue;
        };
        code.push_str(&newlines(&rest[..length]));
        at += length;
    }
    code
}

/// All paths that start with `crate` or `super`, with groups in braces written out, as seen from the module `here`.
fn imports(code: &str, here: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for root in ["crate::", "super::"] {
        let mut rest = code;
        while let Some(at) = rest.find(root) {
            let before = rest[..at].chars().next_back();
            let path = &rest[at..];
            rest = &rest[at + root.len()..];
            if before.is_some_and(|letter| letter == ':' || letter == '_' || letter.is_alphanumeric()) {
                continue;
            }
            for path in expand(path) {
                let mut place: Vec<&str> = here.to_vec();
                let mut parts = path.split("::").peekable();
                if parts.peek() == Some(&"crate") {
                    parts.next();
                    place.clear();
                } else {
                    while parts.peek() == Some(&"super") {
                        parts.next();
                        place.pop();
                    }
                }
                place.extend(parts.filter(|part| !part.is_empty() && *part != "self"));
                if !place.is_empty() {
                    found.insert(place.join("::"));
                }
            }
        }
    }
    found
}

/// `a::{b, c::{d, e}} ...` as a::b, a::c::d, a::c::e.
fn expand(text: &str) -> Vec<String> {
    let end = text.find(|letter: char| !(letter.is_alphanumeric() || "_:".contains(letter))).unwrap_or(text.len());
    let head = &text[..end];
    if !head.ends_with("::") || !text[end..].starts_with('{') {
        return vec![head.trim_end_matches(':').to_owned()];
    }
    let (mut depth, mut start, mut all) = (0, end + 1, Vec::new());
    for (at, letter) in text[end..].char_indices().map(|(at, letter)| (at + end, letter)) {
        match letter {
            '{' => depth += 1,
            '}' | ',' if depth == 1 => {
                let part = text[start..at].trim();
                if !part.is_empty() {
                    all.extend(expand(part).into_iter().map(|part| format!("{head}{part}")));
                }
                start = at + 1;
                if letter == '}' {
                    return all;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    all
}

fn has_word(code: &str, word: &str) -> bool {
    let is_part = |letter: Option<char>| letter.is_some_and(|letter| letter == '_' || letter.is_alphanumeric());
    code.match_indices(word)
        .any(|(at, _)| !is_part(code[..at].chars().next_back()) && !is_part(code[at + word.len()..].chars().next()))
}

/// What is wrong with a source that stands at `path` below src.
fn faults(path: &str, source: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |text: String| faults.push(format!("src/{path}: {text}"));
    let lines = source.lines().count();
    if lines > LONGEST {
        fault(format!("{lines} lines, at most {LONGEST}: split it by what it holds"));
    }
    let Some(rights) = rights(path) else { return faults };
    // Tests may look at everything, from wherever they stand.
    if path.ends_with("tests.rs") || path.contains("/tests/") {
        return faults;
    }
    let code = code_of(source);
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or(&code).to_owned();
    let Some((_, allowed)) = TABLE.iter().find(|(layer, _)| *layer == rights.layer) else {
        fault(format!("the layer '{}' is not in the table", rights.layer));
        return faults;
    };
    let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let here: Vec<&str> = module.split('/').collect();
    for import in imports(&code, &here) {
        let is_below = |above: &str| import == above || import.starts_with(&format!("{above}::"));
        if !is_below(&rights.layer) && !allowed.iter().any(|above| is_below(above)) {
            fault(format!("names {import}, which '{}' may not", rights.layer));
        }
    }
    // `unsafe` in attributes and lints, such as forbid(unsafe_code), is another word.
    if !rights.is_unsafe && has_word(&code, "unsafe") {
        fault("unsafe stands in sys, mem and ffi only".into());
    }
    if !rights.libc && has_word(&code, "libc") {
        fault("libc stands in sys only".into());
    }
    if !rights.atomics && ["sync::atomic", "core::sync", "intrinsics::atomic"].iter().any(|path| code.contains(path)) {
        fault("std::sync::atomic stands in mem/atomic.rs only".into());
    }
    faults
}

fn sources() -> Vec<PathBuf> {
    fn collect(folder: &Path, all: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                collect(&path, all);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push(path);
            }
        }
    }
    let mut all = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    all.sort();
    all
}

#[test]
fn the_sources_keep_to_the_table_of_layers() {
    let all = sources();
    assert!(all.len() > 20, "the sources were found");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for path in all {
        let name = path.strip_prefix(&root).expect("below src").to_str().expect("UTF-8").to_owned();
        wrong.extend(faults(&name, &fs::read_to_string(&path).expect("readable")));
    }
    assert!(wrong.is_empty(), "\n{}\nThe table is in tests/layers.rs and DESIGN.md.", wrong.join("\n"));
}

#[test]
fn layers_without_unsafe_forbid_it() {
    for layer in ["region", "sync", "data", "error"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let path =
            [root.join(layer).join("mod.rs"), root.join(format!("{layer}.rs"))].into_iter().find(|path| path.exists());
        let source = fs::read_to_string(path.expect("the layer is there")).expect("readable");
        assert!(source.contains("#![forbid(unsafe_code)]"), "{layer} says #![forbid(unsafe_code)] at its head");
    }
}

#[test]
fn the_checker_finds_what_it_looks_for() {
    let bad = [
        ("sys/file.rs", "use crate::error::Error;"),
        ("sys/file.rs", "use super::super::region::Region;"),
        ("sys/a/b.rs", "use super::super::super::mem;"),
        ("error.rs", "use crate::sys::{Errno, file};"),
        ("error.rs", "fn f() { unsafe { g() } }"),
        ("mem/view.rs", "use crate::region;"),
        ("mem/view.rs", "fn f() -> crate::ffi::Token { }"),
        ("mem/mapping.rs", "use std::sync::atomic::AtomicU64;"),
        ("mem/mapping.rs", "use core::sync::atomic::AtomicU64;"),
        ("mem/mapping.rs", "use std::sync::{Mutex, atomic};\nuse core::sync::Arc;"),
        ("mem/mapping.rs", "let page = libc::sysconf(1);"),
        ("region/mod.rs", "use crate::{error::Error, ffi::{guard, open}};"),
        ("region/mod.rs", "use crate::sys::map::{Advice, map};"),
        ("region/mod.rs", "use crate::sys::futex;"),
        ("region/mod.rs", "fn f() { unsafe {} }"),
        ("region/open.rs", "use crate::\n    sys::\n socket;\nuse crate::sync;"),
        ("ffi/open.rs", "use crate::sys::Errno;"),
        ("ffi/open.rs", "use crate::mem::mapping::Mapping;"),
        ("ffi/open.rs", "use libc::c_int;"),
        ("data/queue.rs", "use crate::sys::futex;"),
        ("data/queue.rs", "use crate::region::Region;"),
        ("data/queue.rs", "fn f() { unsafe {} }"),
        ("newlayer.rs", ""),
        ("error.rs", "let text = \"a \\\" quote\"; let quote = '\"'; unsafe {}"),
    ];
    for (path, source) in bad {
        assert!(!faults(path, source).is_empty(), "not found in {path}: {source}");
    }
    for path in ["mem/a.rs", "mem/a_tests.rs"] {
        assert!(!faults(path, &"\n".repeat(LONGEST + 1)).is_empty(), "a long file");
    }
    let good = [
        ("sys/file.rs", "use super::Errno; use libc::open; unsafe {}"),
        ("error.rs", "use crate::sys::Errno; // unsafe and libc in a comment, crate::ffi too\n/* libc */"),
        ("error.rs", "#![forbid(unsafe_code)] let text = \"unsafe libc crate::ffi\";"),
        ("mem/atomic.rs", "pub(crate) use std::sync::atomic::AtomicU64;"),
        ("mem/view.rs", "use super::span::Span; use crate::mem::{mapping, copy}; use crate::error::{Error, Result};"),
        ("region/open.rs", "use super::create::NewFile; use crate::sys::file::{self, Kind}; pub(super) fn f() {}"),
        ("ffi/open.rs", "use super::guard::guard; use crate::{Options, View}; unsafe {} use crate::mem::hazard::Cell;"),
        ("lib.rs", "pub mod ffi;"),
        ("mem/guard/tests.rs", "use crate::ffi; use libc::open;"),
        ("region/mod.rs", "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use libc::open;\n}\n"),
    ];
    for (path, source) in good {
        assert_eq!(faults(path, source), [""; 0], "{path}");
    }
}
