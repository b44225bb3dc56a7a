# SPDX-License-Identifier: MIT
"""Build the package against an installed libpvvirt, which pkg-config finds. (meson builds it without
this file; see meson.build.)"""
import shlex
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import gen_bindings  # noqa: E402


def pkg_config(*args: str) -> str:
    try:
        return subprocess.run(["pkg-config", *args, "libpvvirt"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    except FileNotFoundError:
        raise SystemExit("pvvirt: pkg-config is missing: install it, it tells where libpvvirt is") from None
    except subprocess.CalledProcessError:
        raise SystemExit("pvvirt: pkg-config does not find libpvvirt: install libpvvirt-dev (or `meson install` it), "
                         "or set PKG_CONFIG_PATH to the folder with libpvvirt.pc") from None


class BuildPython(build_py):
    """Adds what is generated from the headers."""

    def run(self) -> None:
        super().run()
        headers = gen_bindings.Headers(Path(pkg_config("--variable=includedir")))
        gen_bindings.write_python(headers, Path(self.build_lib) / "pvvirt")


class BuildExtension(build_ext):
    """Generates the extension module's source."""

    def build_extension(self, ext: Extension) -> None:
        headers = gen_bindings.Headers(Path(pkg_config("--variable=includedir")))
        source = Path(self.build_temp) / "_pvvirt.c"
        source.parent.mkdir(parents=True, exist_ok=True)
        ffi = gen_bindings.make_ffi(headers)
        ffi.set_source("pvvirt._pvvirt", gen_bindings.c_source(headers))
        ffi.emit_c_code(str(source))
        ext.sources = [str(source)]
        ext.extra_compile_args = shlex.split(pkg_config("--cflags"))
        ext.extra_link_args = shlex.split(pkg_config("--libs"))
        super().build_extension(ext)


setup(ext_modules=[Extension("pvvirt._pvvirt", sources=[])],
      cmdclass={"build_py": BuildPython, "build_ext": BuildExtension})
