//! Runs `python.py`, `package.py` and `package_queue.py` with the shared library of this build.

mod common;

use common::library::Library;
use std::path::Path;
use std::process::Command;

fn main() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("PYTHON").unwrap_or("python3".into());
    for script in ["python.py", "package.py", "package_queue.py"] {
        let mut command = Command::new(&python);
        command.arg("-B").arg(top.join("benches").join(script));
        command.env("MAPSHARE_LIBRARY", Library::path()).env("PYTHONPATH", top.join("python"));
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => println!("SKIPPED {script}: the script ended with {status}"),
            Err(error) => println!("SKIPPED {script}: {} cannot be run: {error}", python.display()),
        }
    }
}
