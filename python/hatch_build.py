"""Builds libmapshare with cargo and puts it into the wheel, which is then for this platform and any Python 3."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "mapshare/libmapshare.so.0"


class LibraryHook(BuildHookInterface[Any]):
    """Nothing to be done for an sdist; in an sdist the crate stands in crate/, in the repository one folder up."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        beside = root / "crate"
        crate = beside if beside.exists() else root.parent
        if crate == beside:
            # All files of an sdist are of one time, which is long ago. Cargo goes by times: in a CARGO_TARGET_DIR that
            # is there already it would take the library of other sources for that of these.
            for file in crate.rglob("*"):
                os.utime(file)
        cargo = os.environ.get("CARGO", "cargo")
        if not shutil.which(cargo):
            raise RuntimeError("building mapshare needs Rust 1.91 or newer: https://rustup.rs")
        target = Path(os.environ.get("CARGO_TARGET_DIR", crate / "target"))
        command = [cargo, "build", "--release", "--lib", "--locked", "--target-dir", str(target)]
        subprocess.run(command, cwd=crate, check=True)
        built = target / "release/libmapshare.so"
        if version == "editable":
            # A link: what cargo builds later is what the package then uses.
            link = root / LIBRARY
            link.unlink(missing_ok=True)
            link.symlink_to(built.resolve())
            return
        build_data["force_include"][str(built)] = LIBRARY
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
