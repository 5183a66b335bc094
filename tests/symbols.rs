//! The binary interface: exported symbols, the library's name and needs, struct layouts and constants are frozen.
//!
//! After an intended change: `MAPSHARE_UPDATE_ABI=1 cargo test --test symbols`, and look at the difference in
//! tests/abi. To take a symbol or field away, or to move one, needs a new SONAME.

mod common;

use common::programs::{Workshop, assert_good, exists, package, shared_library};
use common::{Folder, skip};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    if !exists(program) {
        skip(&format!("no {program}: apt-get install binutils"));
        return None;
    }
    let output = Command::new(program).args(arguments).arg(shared_library()).output().expect("it runs");
    assert_good(program, &output);
    Some(String::from_utf8(output.stdout).expect("names are UTF-8"))
}

/// Compares with the frozen list, or renews it when asked to.
fn compare(file: &str, found: &str) {
    let path = package().join("tests/abi").join(file);
    if std::env::var_os("MAPSHARE_UPDATE_ABI").is_some() {
        fs::write(&path, found).expect("writable");
    }
    let frozen = fs::read_to_string(&path).unwrap_or_default();
    let only_in = |one: &str, other: &str| {
        let lines = one.lines().filter(|line| !other.lines().any(|found| found == *line));
        lines.collect::<Vec<_>>().join(", ")
    };
    assert!(
        frozen == found,
        "gone since tests/abi/{file}: [{}], new: [{}]. If that is intended: MAPSHARE_UPDATE_ABI=1 cargo test --test \
         symbols",
        only_in(&frozen, found),
        only_in(found, &frozen)
    );
}

#[test]
fn exactly_the_listed_symbols_are_exported() {
    let Some(text) = run("nm", &["-D", "--defined-only"]) else { return };
    // `_init` and the like, which linkers add on some systems, would be listed too: nothing of that is exported here.
    let mut names: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().last()).collect();
    names.sort_unstable();
    assert!(names.iter().all(|name| name.starts_with("mapshare_")), "{names:?}");
    compare("symbols.txt", &(names.join("\n") + "\n"));
    let header = fs::read_to_string(package().join("include/mapshare.h")).expect("the header");
    for name in names {
        assert!(header.contains(&format!("{name}(")), "{name} is exported and not in the header");
    }
}

#[test]
fn the_library_has_its_name_and_needs_the_system_only() {
    let Some(text) = run("readelf", &["-d"]) else { return };
    let tagged = |tag: &str| -> Vec<&str> {
        let lines = text.lines().filter(|line| line.contains(tag));
        lines.filter_map(|line| line.split(['[', ']']).nth(1)).collect()
    };
    assert_eq!(tagged("(SONAME)"), ["libmapshare.so.0"], "{text}");
    let system = ["libc.so", "libgcc_s.so", "ld-linux", "libpthread.so", "libdl.so", "libm.so", "librt.so"];
    let foreign: Vec<_> =
        tagged("(NEEDED)").into_iter().filter(|need| !system.iter().any(|name| need.starts_with(name))).collect();
    assert!(foreign.is_empty(), "{foreign:?} would have to be installed too");
    assert!(text.contains("NODELETE"), "it stays loaded once it is: {text}");
    assert!(!text.contains("TEXTREL"), "{text}");
}

/// They come out of a reserve of less than 2 KiB that glibc has for all libraries that are loaded while a program runs.
#[test]
fn its_thread_local_bytes_are_few() {
    let Some(text) = run("readelf", &["-lW"]) else { return };
    let segment = text.lines().find(|line| line.trim_start().starts_with("TLS ")).expect("it has some");
    let size = segment.split_whitespace().nth(5).and_then(|size| size.strip_prefix("0x")).expect("its size");
    let size = u64::from_str_radix(size, 16).expect("a number");
    assert!(size <= 320, "{size} bytes");
}

/// Built against an older glibc, as the Python wheel is, the linker leaves such a name without a version, and the
/// library is then refused where it is loaded.
#[test]
fn nothing_is_called_that_glibc_2_17_does_not_have() {
    let Some(text) = run("nm", &["-D", "--undefined-only"]) else { return };
    // What std calls is weak where it may be missing. pthread_* and fstat* are old functions, which have moved.
    let strong = text.lines().filter_map(|line| line.trim_start().strip_prefix("U ")?.split_once("@GLIBC_2."));
    let newer: Vec<_> = strong
        .filter(|(_, version)| version.split('.').next().and_then(|minor| minor.parse::<u32>().ok()) > Some(17))
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with("pthread_") && !["fstat", "fstat64", "fstatat", "stat64"].contains(name))
        .collect();
    assert!(newer.is_empty(), "{newer:?}: call it by its number");
}

/// The fields of a struct of the header, in order.
fn fields(header: &str, name: &str) -> Vec<String> {
    let start = header.find(&format!("typedef struct {name} {{")).expect("the struct is in the header");
    let body = &header[start..start + header[start..].find('}').expect("it ends")];
    let lines = body.lines().map(str::trim).filter(|line| line.ends_with(';') && !line.starts_with('*'));
    lines.filter_map(|line| line.trim_end_matches(';').split(' ').nth(1).map(str::to_owned)).collect()
}

#[test]
fn structs_and_constants_are_laid_out_as_listed() {
    let header = fs::read_to_string(package().join("include/mapshare.h")).expect("the header");
    let mut lines = String::new();
    for name in ["mapshare_options", "mapshare_region_info", "mapshare_owner", "mapshare_queue_state"] {
        let _ = writeln!(lines, "    printf(\"sizeof({name}) %zu\\n\", sizeof({name}));");
        for field in fields(&header, name) {
            let _ = writeln!(
                lines,
                "    printf(\"{name}.{field} %zu %zu\\n\", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));"
            );
        }
    }
    let constants = header.lines().filter_map(|line| line.strip_prefix("#define MAPSHARE_")?.split_once(' '));
    for (name, _) in constants {
        let _ = writeln!(lines, "    printf(\"MAPSHARE_{name} %llu\\n\", (unsigned long long)MAPSHARE_{name});");
    }
    let source = format!("#include <mapshare.h>\n#include <stdio.h>\nint main(void) {{\n{lines}    return 0;\n}}\n");
    let folder = Folder::new();
    let path = folder.file_with("layout.c", source.as_bytes());
    let workshop = Workshop::new();
    let output = workshop.command(&workshop.build(&path, &["-std=c11"]), &folder).output().expect("it runs");
    assert_good("layout", &output);
    compare("layout.txt", &String::from_utf8(output.stdout).expect("text"));
}
