//! What `include/mapshare.h` says.

use super::programs::package;
use std::fs;

pub(crate) fn header() -> String {
    fs::read_to_string(package().join("include/mapshare.h")).expect("include/mapshare.h is in the tree")
}

/// Each function of the header: its comment and its declaration.
pub(crate) fn functions(header: &str) -> Vec<(String, String)> {
    let code = header.split("extern \"C\" {").nth(1).expect("the functions");
    let parts = code.split("/**").skip(1).filter_map(|part| part.split_once("*/"));
    let functions = parts.filter_map(|(comment, declaration)| {
        let declaration = declaration.split(';').next()?.trim().to_owned();
        declaration.contains("mapshare_").then(|| (comment.to_owned(), declaration))
    });
    functions.collect()
}

/// A function's name.
pub(crate) fn name(declaration: &str) -> &str {
    let before = declaration.split('(').next().expect("text");
    before.rsplit([' ', '*']).next().expect("a name")
}
