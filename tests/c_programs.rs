//! C and C++ programs linked to the shared library: plain, under valgrind, and with AddressSanitizer; and the examples.

mod common;

use common::names::Name;
use common::programs::{Workshop, assert_good, exists, package};
use common::{Folder, skip};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The files of a directory with one of these endings, in order; programs, not headers.
fn sources(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(package().join(folder)) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_source = |path: &PathBuf| path.extension().is_some_and(|end| endings.iter().any(|ending| end == *ending));
    let mut sources: Vec<_> = paths.filter(is_source).collect();
    sources.sort();
    sources
}

fn standard(source: &Path) -> &'static str {
    if source.extension().is_some_and(|end| end == "cpp") { "-std=c++17" } else { "-std=gnu11" }
}

const SANITIZED: [&str; 3] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];

fn build(workshop: &Workshop, source: &Path, more: &[&str]) -> PathBuf {
    workshop.build(source, &[&[standard(source)], more].concat())
}

fn run(command: &mut Command) -> Output {
    // A program that hangs is a failure, not a wait.
    let mut limited = Command::new("timeout");
    limited.arg("240").arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        limited.env(key, value.unwrap_or_default());
    }
    limited.current_dir(command.get_current_dir().expect("set by the workshop")).output().expect("it runs")
}

/// Valgrind on a program, with every error and leak an end in failure.
fn under_valgrind(workshop: &Workshop, program: &Path, folder: &Folder) -> Output {
    let mut command = workshop.command(Path::new("valgrind"), folder);
    let options = [
        "--quiet",
        "--fair-sched=yes",
        "--error-exitcode=99",
        "--leak-check=full",
        "--errors-for-leak-kinds=definite,indirect",
    ];
    run(command.args(options).args(["--trace-children=yes", "--track-fds=yes"]).arg(program))
}

#[test]
fn each_c_program_runs_plain_and_sanitized() {
    let workshop = Workshop::new();
    let sources = sources("tests/c", &["c", "cpp"]);
    assert!(sources.len() >= 5, "the programs were found: {sources:?}");
    std::thread::scope(|scope| {
        for source in &sources {
            let workshop = &workshop;
            scope.spawn(move || {
                for more in [&[][..], &["-O2"], &SANITIZED] {
                    let folder = Folder::new();
                    let program = build(workshop, source, more);
                    let output = run(workshop.command(&program, &folder).env("ASAN_OPTIONS", "detect_leaks=1"));
                    assert_good(&format!("{} {more:?}", source.display()), &output);
                }
            });
        }
    });
}

#[test]
fn each_c_program_runs_under_valgrind() {
    if !exists("valgrind") {
        return skip("no valgrind: apt-get install valgrind");
    }
    let workshop = Workshop::new();
    std::thread::scope(|scope| {
        for source in sources("tests/c", &["c", "cpp"]) {
            let workshop = &workshop;
            scope.spawn(move || {
                let folder = Folder::new();
                let program = build(workshop, &source, &[]);
                assert_good(&source.display().to_string(), &under_valgrind(workshop, &program, &folder));
            });
        }
    });
}

#[test]
fn a_program_with_a_fault_dies_under_the_same_tools() {
    let workshop = Workshop::new();
    for (name, word) in [("overflow", "heap-buffer-overflow"), ("leak", "detected memory leaks")] {
        let source = package().join(format!("tests/c/broken/{name}.c"));
        let folder = Folder::new();
        let plain = build(&workshop, &source, &[]);
        assert_good(name, &run(&mut workshop.command(&plain, &folder)));
        let sanitized = build(&workshop, &source, &SANITIZED);
        let output = run(workshop.command(&sanitized, &folder).env("ASAN_OPTIONS", "detect_leaks=1"));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(word), "AddressSanitizer is off: {text}");
        if exists("valgrind") {
            let output = under_valgrind(&workshop, &plain, &folder);
            assert_eq!(
                output.status.code(),
                Some(99),
                "valgrind saw nothing: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

/// Examples that need another one beside them, and have a test of their own below.
fn is_half_of_a_pair(source: &Path) -> bool {
    ["two_programs", "named", "latest_price", "pipeline"].iter().any(|name| source.file_stem() == Some(name.as_ref()))
}

#[test]
fn each_c_example_is_short_and_runs() {
    let workshop = Workshop::new();
    let sources = sources("c_examples", &["c"]);
    for expected in [
        "write_and_read",
        "child_and_parent",
        "hand_over",
        "two_programs",
        "named",
        "counter_lock",
        "private_copy",
        "every_trap",
    ] {
        assert!(sources.iter().any(|source| source.ends_with(format!("{expected}.c"))), "no c_examples/{expected}.c");
    }
    for source in sources {
        let lines = std::fs::read_to_string(&source).expect("readable").lines().count();
        assert!(lines < 80, "{} has {lines} lines", source.display());
        let program = workshop.build(&source, &["-std=c99"]);
        if is_half_of_a_pair(&source) {
            continue;
        }
        let folder = Folder::new();
        assert_good(&source.display().to_string(), &run(workshop.command(&program, &folder).arg("example.bin")));
    }
}

#[test]
fn each_python_example_is_short_and_runs() {
    if !exists("python3") {
        return skip("no python3");
    }
    let workshop = Workshop::new();
    let sources = sources("python/examples", &["py"]);
    assert!(sources.len() >= 4, "python/examples: {sources:?}");
    for source in sources {
        let lines = std::fs::read_to_string(&source).expect("readable").lines().count();
        assert!(lines < 80, "{} has {lines} lines", source.display());
        if is_half_of_a_pair(&source) {
            continue;
        }
        let folder = Folder::new();
        let mut command = workshop.command(Path::new("python3"), &folder);
        command.env("PYTHONPATH", package().join("python"));
        assert_good(&source.display().to_string(), &run(command.arg("-B").arg(&source).arg("example.bin")));
    }
}

#[test]
fn the_two_example_programs_share_a_file_and_see_the_same_bytes() {
    if !exists("python3") {
        return skip("no python3");
    }
    let folder = Folder::new();
    run_pair("two_programs", &folder, &["shared", "seen by C"], &["shared", "seen by Python"]);
    let [file, one, other] =
        ["shared", "seen by C", "seen by Python"].map(|name| std::fs::read(folder.join(name)).expect(name));
    assert!(file.len() > 100_000 && file == one && file == other, "the file and both memories have the same bytes");
}

#[test]
fn a_name_is_shared_with_pythons_own_module_and_goes_in_the_end() {
    if !exists("python3") {
        return skip("no python3");
    }
    let name = Name::new();
    run_pair("named", &Folder::new(), &[name.text()], &[name.text()]);
    assert!(!name.exists());
}

#[test]
fn the_latest_price_and_the_pipeline_go_from_c_to_python() {
    if !exists("python3") {
        return skip("no python3");
    }
    for name in ["latest_price", "pipeline"] {
        run_pair(name, &Folder::new(), &["shared"], &["shared"]);
    }
}

/// Runs an example in C and the one in Python that goes with it, each with its arguments.
fn run_pair(name: &str, folder: &Folder, c_arguments: &[&str], python_arguments: &[&str]) {
    let workshop = Workshop::new();
    let program = workshop.build(&package().join(format!("c_examples/{name}.c")), &["-std=c99"]);
    let asking = workshop
        .command(&program, folder)
        .args(c_arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut answering = workshop.command(Path::new("python3"), folder);
    answering.arg("-B").arg(package().join(format!("python/examples/{name}.py"))).args(python_arguments);
    let answered = run(&mut answering);
    let asked = asking.wait_with_output().expect("it ends: it waits 10 seconds at most");
    assert_good(&format!("{name}.py"), &answered);
    assert_good(&format!("{name}.c"), &asked);
}

#[test]
fn the_python_tests_pass() {
    if !exists("python3") {
        return skip("no python3");
    }
    let workshop = Workshop::new();
    let folder = Folder::new();
    let mut command = workshop.command(Path::new("python3"), &folder);
    command.args(["-B", "-m", "unittest", "discover", "-s"]).arg(package().join("tests/python"));
    let output = run(&mut command);
    assert_good("tests/python", &output);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("Ran ") && !text.contains("Ran 0 tests"), "{text}");
}
