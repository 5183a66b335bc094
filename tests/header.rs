//! The header is what the sources say, compiles everywhere, and reads like a manual.

mod common;

use common::header::{functions, header};
use common::programs::{Language, Workshop, assert_good, compiler, exists, package};
use common::{Folder, skip};
use std::fs;
use std::process::Command;

#[test]
fn the_committed_header_is_the_generated_one() {
    let generated = include_str!(concat!(env!("OUT_DIR"), "/mapshare.h"));
    let path = package().join("include/mapshare.h");
    if std::env::var_os("MAPSHARE_UPDATE_HEADER").is_some() {
        fs::write(&path, generated).expect("writable");
    }
    let committed = header();
    let different = committed.lines().zip(generated.lines()).position(|(one, other)| one != other);
    assert!(
        committed == generated,
        "include/mapshare.h is not what src/ffi says (first in line {:?}): run `make header`, or \
         MAPSHARE_UPDATE_HEADER=1 cargo test --test header",
        different.map(|line| line + 1)
    );
}

#[test]
fn the_header_alone_compiles_as_c_and_cpp_without_a_warning() {
    let folder = Folder::new();
    let strict = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wshadow", "-Wconversion", "-fsyntax-only"];
    type Compiler = fn() -> Command;
    let mut compilers: Vec<(Compiler, &str)> =
        vec![(|| compiler(Language::C), "c"), (|| compiler(Language::Cpp), "c++")];
    let clangs: [(Compiler, _, _); 2] =
        [(|| Command::new("clang"), "clang", "c"), (|| Command::new("clang++"), "clang++", "c++")];
    for (command, name, language) in clangs {
        match exists(name) {
            true => compilers.push((command, language)),
            false => skip(&format!("no {name} to compile the header with")),
        }
    }
    // Alone, and twice.
    let source = folder.file_with("header.c", b"#include <mapshare.h>\n#include <mapshare.h>\nextern int unused;\n");
    for (command, language) in compilers {
        let standards: &[&str] =
            if language == "c" { &["c90", "c99", "c11", "c17"] } else { &["c++11", "c++17", "c++20"] };
        for standard in standards {
            let mut command = command();
            let output = command
                .args(["-x", language, &format!("-std={standard}")])
                .args(strict)
                .arg("-I")
                .arg(package().join("include"))
                .arg(&source)
                .output()
                .expect("the compiler runs");
            assert_good(&format!("{:?} -std={standard}", command.get_program()), &output);
        }
    }
}

#[test]
fn a_cpp_program_links_with_c_names() {
    let header = header();
    assert!(header.contains("extern \"C\" {") && header.contains("#ifdef __cplusplus"));
    let folder = Folder::new();
    let source = b"#include <mapshare.h>\nint main() { return mapshare_length(nullptr) < 0 ? 0 : 1; }\n";
    let workshop = Workshop::new();
    let program = workshop.build(&folder.file_with("link.cpp", source), &["-std=c++17"]);
    assert_good("link.cpp", &workshop.command(&program, &folder).output().expect("it runs"));
}

/// The program at the header's head.
fn example(header: &str) -> String {
    let lines = header.lines().skip_while(|line| !line.contains("#include <mapshare.h>"));
    let lines = lines.take_while(|line| line.starts_with(" *   ") || line.trim() == "*");
    lines.map(|line| line.strip_prefix(" *   ").unwrap_or("").to_owned() + "\n").collect()
}

#[test]
fn the_example_at_the_headers_head_compiles_and_does_what_it_says() {
    let source = example(&header());
    assert!(source.contains("int main(void)") && source.trim_end().ends_with('}'), "{source}");
    let folder = Folder::new();
    let path = folder.file_with("example.c", source.as_bytes());
    let workshop = Workshop::new();
    let program = workshop.build(&path, &["-std=c99"]);
    let place = Folder::new();
    assert_good("the example", &workshop.command(&program, &place).output().expect("it runs"));
    let written = fs::read(place.join("a.bin")).expect("the example makes a.bin");
    assert_eq!((&written[..6], written.len()), (&b"hello\0"[..], 4096));
    // And it fails in words.
    fs::remove_file(place.join("a.bin")).expect("ours");
    fs::create_dir(place.join("a.bin")).expect("a new name");
    let output = workshop.command(&program, &place).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("'a.bin' is a directory") && text.contains("ENODEV"), "{text}");
}

#[test]
fn each_function_says_what_it_returns_and_which_threads_may_call_it() {
    let header = header();
    let functions = functions(&header);
    assert!(functions.len() >= 21, "the functions were found");
    for (comment, declaration) in functions {
        assert!(comment.contains("@return"), "no @return at {declaration}");
        assert!(comment.contains("Threads:"), "no Threads: at {declaration}");
        let arguments = declaration.split_once('(').expect("a function").1.trim_end_matches(')');
        for argument in arguments.split(',').map(str::trim).filter(|argument| *argument != "void") {
            let name = argument.rsplit([' ', '*']).next().expect("a name");
            assert!(comment.contains(&format!("@param {name} ")), "no @param {name} at {declaration}");
        }
        if declaration.starts_with("int ") && !declaration.ends_with("(void)") {
            assert!(comment.contains("-E"), "no code at {declaration}");
        }
    }
}

/// Rows of `CODES` that belong to functions that are still to come.
const LATER: &[&str] = &[];

#[test]
fn each_code_of_todays_functions_is_in_the_headers_table_and_no_other() {
    let source = fs::read_to_string(package().join("src/error/codes.rs")).expect("the source");
    let rows = source.split("const CODES").nth(1).expect("the table").split("];").next().expect("it ends");
    let codes: Vec<_> = rows.split("Errno::").skip(1).filter_map(|row| row.split(',').next()).collect();
    assert!(codes.len() > 25, "the table was found: {codes:?}");
    let header = header();
    let table =
        header.split(" * CODES").nth(1).and_then(|rest| rest.split(" * THE TEN TRAPS").next()).expect("the table");
    let is_code = |word: &&str| {
        word.starts_with('E')
            && word.len() > 2
            && word.chars().all(|letter| letter.is_ascii_uppercase() || letter == '2')
    };
    let rows = table.lines().filter_map(|line| line.strip_prefix(" *   "));
    let listed: Vec<&str> = rows.flat_map(|row| row.split_whitespace().take_while(is_code)).collect();
    for code in &codes {
        let expected = !LATER.contains(code);
        assert_eq!(listed.contains(code), expected, "{code} in the header's table of codes");
    }
    for code in &listed {
        assert!(codes.contains(code), "{code} is in the header and not in src/error/codes.rs");
    }
}

#[test]
fn the_headers_head_has_all_that_a_manual_needs() {
    let header = header();
    for part in ["#include <mapshare.h>", "CAVEATS", "CONVENTIONS", "CODES", "THE TEN TRAPS OF MMAP"] {
        assert!(header.contains(part), "no {part}");
    }
    for word in ["Truncation", "Fork", "Anonymous", "Copy-on-write", "Remote files", "Generated by build.rs"] {
        assert!(header.contains(word), "no word on {word}");
    }
    for line in header.lines() {
        assert!(line.chars().count() <= 120, "longer than 120 letters: {line}");
    }
}
