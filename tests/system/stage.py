# SPDX-License-Identifier: MIT
"""The library installed into a folder of its own, and programs built against that with nothing but
pkg-config: how an embedder meets it."""
import fcntl
import os
import pathlib
import re
import subprocess
import sys

BUILD = pathlib.Path(os.environ["PVV_BUILD_ROOT"])
SOURCE = pathlib.Path(os.environ["PVV_SOURCE_ROOT"])
GUESTS = pathlib.Path(os.environ.get("PVV_TEST_GUESTS", BUILD / "tests/guest"))
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic"]


def skip_if_sanitized():
    san = os.environ.get("PVV_TEST_SANITIZER")
    if san:
        print(f"skipped: a plain program cannot load a library built with {san}")
        sys.exit(77)


def install(to):
    """What `meson install` says. One at a time: it writes a log into the build folder."""
    folder = os.open(BUILD, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        return subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", to], check=True, text=True,
                              stdout=subprocess.PIPE, timeout=120).stdout
    finally:
        os.close(folder)


class Stage:
    def __init__(self, folder):
        self.root = pathlib.Path(folder) / "stage"
        install(self.root)
        pc = next(self.root.rglob("libpvvirt.pc"))
        # As if it had been installed there: others' .pc files are used beside it, so a sysroot will not do.
        pc.write_text(re.sub(r"(?m)^prefix=", f"prefix={self.root}", pc.read_text()))
        self.lib = next(self.root.rglob("libpvvirt.so")).parent
        self.pvvirt = next(self.root.rglob("bin/pvvirt"))
        self.env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), LD_LIBRARY_PATH=str(self.lib))
        self.env.pop("LD_PRELOAD", None)

    def flags(self, *packages):
        return subprocess.run(["pkg-config", "--cflags", "--libs", *packages], env=self.env, check=True, text=True,
                              capture_output=True).stdout.split()

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
