//! Names the shared library and generates the C header.

use cbindgen::{Builder, Config, DocumentationStyle, Language, Style};
use std::path::PathBuf;
use std::{env, fs};

/// The files whose comments become the header, in its order.
const SOURCES: &[&str] = &[
    "src/ffi/options.rs",
    "src/ffi/open.rs",
    "src/ffi/named.rs",
    "src/ffi/access.rs",
    "src/ffi/view.rs",
    "src/ffi/region.rs",
    "src/ffi/handover.rs",
    "src/ffi/range_lock.rs",
    "src/ffi/atomic.rs",
    "src/ffi/wait.rs",
    "src/ffi/mutex.rs",
    "src/ffi/cell.rs",
    "src/ffi/queue.rs",
    "src/ffi/library.rs",
];
/// What stands at the header's head.
const PREAMBLE: &str = "src/ffi/preamble.h";

fn main() {
    // The name that programs are linked with; it changes when the ABI does. The library stays loaded once it is, since
    // threads and tokens outlive a dlclose.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libmapshare.so.0,-z,nodelete");

    println!("cargo:rerun-if-changed={PREAMBLE}");
    let preamble = fs::read_to_string(PREAMBLE).expect("the preamble is in the source tree");
    let mut builder = Builder::new().with_config(Config {
        language: Language::C,
        style: Style::Both,
        cpp_compat: true,
        header: Some(preamble.trim_end().to_owned()),
        include_guard: Some("MAPSHARE_H".to_owned()),
        no_includes: true,
        sys_includes: vec!["stddef.h".to_owned(), "stdint.h".to_owned()],
        usize_is_size_t: true,
        documentation_style: DocumentationStyle::Doxy,
        line_length: 120,
        ..Config::default()
    });
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
        builder = builder.with_src(source);
    }
    let header = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("mapshare.h");
    let mut generated = Vec::new();
    builder.generate().expect("cbindgen understands the interface").write(&mut generated);
    let generated = String::from_utf8(generated).expect("the sources are UTF-8");
    // Where cbindgen writes no C comment, whatever its style.
    let generated = ["__cplusplus", "extern \"C\""].into_iter().fold(generated, |text, said| {
        let [near, far] = [" ", "  "].map(|space| format!("{space}// {said}\n"));
        let comment = format!("  /* {said} */\n");
        text.replace(&far, &comment).replace(&near, &comment)
    });
    fs::write(header, generated).expect("OUT_DIR can be written");
}
