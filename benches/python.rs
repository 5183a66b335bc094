//! Runs `python.py` with the shared library of this build.

mod common;

use common::library::Library;
use std::path::Path;
use std::process::Command;

fn main() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python.py");
    let python = std::env::var_os("PYTHON").unwrap_or("python3".into());
    let run = Command::new(&python).arg(script).env("MAPSHARE_LIBRARY", Library::path()).status();
    match run {
        Ok(status) if status.success() => {}
        Ok(status) => println!("SKIPPED python: the script ended with {status}"),
        Err(error) => println!("SKIPPED python: {} cannot be run: {error}", python.display()),
    }
}
