"""Builds libmapshare with cargo and puts it into the wheel, which is then for this platform and any Python 3.

With MAPSHARE_GLIBC=2.17, say, the library needs no newer glibc than that, and the wheel says so (manylinux_2_17). This
takes cargo-zigbuild and ziglang, which PyPI has: the linker is told of the symbols of that version only.
"""

from __future__ import annotations

import os
import platform
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
        glibc = os.environ.get("MAPSHARE_GLIBC")
        machine = f"{platform.machine()}-unknown-linux-gnu"
        how = ["zigbuild", "--target", f"{machine}.{glibc}"] if glibc else ["build"]
        command = [cargo, *how, "--release", "--lib", "--locked", "--target-dir", str(target)]
        subprocess.run(command, cwd=crate, check=True)
        built = target / (machine if glibc else "") / "release/libmapshare.so"
        if version == "editable":
            # A link: what cargo builds later is what the package then uses.
            link = root / LIBRARY
            link.unlink(missing_ok=True)
            link.symlink_to(built.resolve())
            return
        build_data["force_include"][str(built)] = LIBRARY
        build_data["pure_python"] = False
        system = f"manylinux_{glibc}_{platform.machine()}" if glibc else sysconfig.get_platform()
        build_data["tag"] = "py3-none-" + system.replace("-", "_").replace(".", "_")
