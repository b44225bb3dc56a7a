# SPDX-License-Identifier: MIT
"""The library installed into a folder of its own, and programs built against that with nothing but
pkg-config: how an embedder meets it. Tests that use this must not run in parallel (meson install
writes into the build folder)."""
import os
import pathlib
import subprocess
import sys

BUILD = pathlib.Path(os.environ["PVV_BUILD_ROOT"])
SOURCE = pathlib.Path(os.environ["PVV_SOURCE_ROOT"])
GUESTS = pathlib.Path(os.environ["PVV_TEST_GUESTS"])
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]


def skip_if_sanitized():
    san = os.environ.get("PVV_TEST_SANITIZER")
    if san:
        print(f"skipped: a plain program cannot load a library built with {san}")
        sys.exit(77)


class Stage:
    def __init__(self, folder):
        self.root = pathlib.Path(folder) / "stage"
        subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", self.root], check=True,
                       stdout=subprocess.DEVNULL, timeout=120)
        pc = next(self.root.rglob("libpvvirt.pc"))
        self.lib = next(self.root.rglob("libpvvirt.so")).parent
        self.pvvirt = next(self.root.rglob("bin/pvvirt"))
        self.env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=str(self.root),
                        LD_LIBRARY_PATH=str(self.lib))
        self.env.pop("LD_PRELOAD", None)

    def flags(self, *packages):
        """Only libpvvirt's .pc is in the stage; the sysroot must not be put before others' paths."""
        out = []
        for p in packages:
            env = self.env if p == "libpvvirt" else os.environ
            out += subprocess.run(["pkg-config", "--cflags", "--libs", p], env=env, check=True, text=True,
                                  capture_output=True).stdout.split()
        return out

    def compile(self, sources, to, *packages, std="c11", more=()):
        if isinstance(sources, (str, pathlib.Path)):
            sources = [sources]
        cmd = ["cc", f"-std={std}", "-D_GNU_SOURCE", *WARNINGS, *more, "-o", to, *sources,
               *self.flags("libpvvirt", *packages)]
        r = subprocess.run([str(c) for c in cmd], text=True, capture_output=True, timeout=120)
        if r.returncode:
            raise AssertionError(" ".join(map(str, cmd)) + "\n" + r.stderr)
        return to


def domain_xml(name, kernel, memory=32, more="", devices=""):
    return f"""<domain type='xen'>
  <name>{name}</name>
  <memory unit='MiB'>{memory}</memory>
  <os><type arch='x86_64' machine='xenpv'>linux</type><kernel>{kernel}</kernel></os>
  {more}
  <devices>{devices}</devices>
</domain>
"""
