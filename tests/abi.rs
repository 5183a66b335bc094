//! The interface keeps what programs were built against: compared by abidiff with the baseline in tests/abi.
//!
//! Decision: both sides are what a C compiler makes of the header, with empty bodies. The library's own debug information
//! tells of Rust's types, and differs from one rustc to the next. That the header is what the library has, `header.rs`
//! and `symbols.rs` check.
//!
//! The baseline is the last release's interface: `make baseline` writes it, at a release only. A function or constant
//! may be added, and nothing that is there may change.

mod common;

use common::header::{functions, header};
use common::programs::{Language, assert_good, compiler, exists, package};
use common::{Folder, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A shared library with the header's functions and types, and nothing in them.
fn hollow(folder: &Folder, header: &str) -> PathBuf {
    let include = folder.file_with("mapshare.h", header.as_bytes());
    let bodies: String =
        functions(header).iter().map(|(_, declaration)| format!("{declaration} {{ return 0; }}\n")).collect();
    let source = folder.file_with("hollow.c", format!("#include <mapshare.h>\n{bodies}").as_bytes());
    let library = folder.join("libmapshare.so");
    let mut command = compiler(Language::C);
    command
        .args(["-g", "-shared", "-fPIC", "-Wl,-soname,libmapshare.so.0", "-I"])
        .arg(include.parent().expect("a folder"));
    let output = command.arg("-o").arg(&library).arg(source).output().expect("the compiler runs");
    assert_good("the hollow library", &output);
    library
}

fn baseline() -> PathBuf {
    package().join("tests/abi/baseline.abi")
}

fn abidiff(baseline: &Path, library: &Path) -> Output {
    let mut command = Command::new("abidiff");
    command.args(["--no-added-syms", "--no-show-locs"]).arg(baseline).arg(library).output().expect("it runs")
}

fn can_compare() -> bool {
    let can = cfg!(target_arch = "x86_64") && exists("abidiff") && exists("abidw");
    if !can {
        skip("no abidiff (apt-get install abigail-tools), or not on x86-64, where the baseline is from");
    }
    can
}

#[test]
fn nothing_of_the_baseline_has_changed() {
    if !can_compare() {
        return;
    }
    let folder = Folder::new();
    let library = hollow(&folder, &header());
    if std::env::var_os("MAPSHARE_UPDATE_BASELINE").is_some() {
        let mut command = Command::new("abidw");
        command.args(["--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--no-elf-needed", "--out-file"]);
        assert_good("abidw", &command.arg(baseline()).arg(&library).output().expect("it runs"));
    }
    assert_good(
        "the interface has changed since the last release, and programs that are built against it would break; before \
         the first release, or with a new SONAME, `make baseline` accepts that",
        &abidiff(&baseline(), &library),
    );
}

#[test]
fn a_change_of_any_kind_is_found_and_an_addition_is_none() {
    if !can_compare() {
        return;
    }
    let header = header();
    let differs = |changed: &str| {
        let folder = Folder::new();
        assert_ne!(changed, header, "the change was made");
        !abidiff(&baseline(), &hollow(&folder, changed)).status.success()
    };
    let declaration = "int mapshare_unmap(struct mapshare_region *region)";
    assert!(header.contains(declaration) && fs::exists(baseline()).expect("readable"));
    for (what, changed) in [
        ("a function is gone", header.replace("mapshare_unmap(struct", "mapshare_gone(struct")),
        (
            "a parameter more",
            header.replace(declaration, "int mapshare_unmap(struct mapshare_region *region, int how)"),
        ),
        ("another parameter type", header.replace("mapshare_strerror(int code)", "mapshare_strerror(int64_t code)")),
        ("another result", header.replace(declaration, &declaration.replace("int ", "int64_t "))),
        ("a wider field", header.replace("  uint32_t mode;", "  uint64_t mode;")),
        ("a field in the middle", header.replace("  uint64_t reserve;", "  uint64_t more;\n  uint64_t reserve;")),
    ] {
        assert!(differs(&changed), "not found: {what}");
    }
    let end = header.rfind("#ifdef __cplusplus").expect("the end of the functions");
    let more = "/** More. */\nint mapshare_more(int number);\n\n";
    assert!(!differs(&[&header[..end], more, &header[end..]].concat()), "a function may be added");
}
