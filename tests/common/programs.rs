//! C programs: compiled by the compiler that the `cc` crate finds, linked to the shared library that cargo built.

use super::files::Folder;
use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The package's directory.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The shared library that belongs to this test program.
pub(crate) fn shared_library() -> PathBuf {
    let program = std::env::current_exe().expect("this program");
    let deps = program.parent().expect("it lies in a directory");
    let places = [deps.join("libmapshare.so"), deps.join("../libmapshare.so")];
    let found = places.into_iter().find(|place| place.exists());
    found.expect("libmapshare.so beside the tests: cargo builds the cdylib with them")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    C,
    Cpp,
}

/// The command that runs the compiler.
pub(crate) fn compiler(language: Language) -> Command {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut build = cc::Build::new();
    build.target(&target).host(&target).opt_level(0).out_dir(std::env::temp_dir()).cargo_metadata(false);
    build.cpp(language == Language::Cpp).warnings(false);
    build.try_get_compiler().expect("a C compiler (apt-get install gcc g++)").to_command()
}

/// Whether a program can be started.
pub(crate) fn exists(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// A place for executables, with the library under the name that the loader asks for.
pub(crate) struct Workshop(Folder);

impl Workshop {
    pub(crate) fn new() -> Workshop {
        let folder = Folder::new();
        symlink(shared_library(), folder.join("libmapshare.so.0")).expect("a new name");
        symlink(shared_library(), folder.join("libmapshare.so")).expect("a new name");
        Workshop(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Compiles and links one source with extra arguments; the executable.
    #[track_caller]
    pub(crate) fn build(&self, source: &Path, arguments: &[&str]) -> PathBuf {
        let language = if source.extension() == Some(OsStr::new("cpp")) { Language::Cpp } else { Language::C };
        let stem = source.file_stem().expect("a name").to_string_lossy();
        let executable = self.0.join(&format!("{stem}{}", arguments.concat().replace(['=', ',', '/'], "")));
        let output = compiler(language)
            .args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-g"])
            .args(arguments)
            .arg("-I")
            .arg(package().join("include"))
            .arg("-o")
            .arg(&executable)
            .arg(source)
            .arg("-L")
            .arg(self.path())
            .args(["-lmapshare", "-lpthread"])
            .output()
            .expect("the compiler runs");
        assert_good(&format!("compiling {}", source.display()), &output);
        executable
    }

    /// A command that finds the library, and that works in a directory of its own.
    pub(crate) fn command(&self, program: &Path, folder: &Folder) -> Command {
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", self.path()).env("MAPSHARE_LIBRARY", shared_library());
        command.current_dir(folder.path());
        command
    }
}

#[track_caller]
pub(crate) fn assert_good(what: &str, output: &Output) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    assert!(output.status.success(), "{what}: {}\n{}", output.status, String::from_utf8_lossy(&text));
}
