#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The code of README.md: the C example compiles without a warning, the Python one runs a guest."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ["PVV_SOURCE_ROOT"])
BUILD = pathlib.Path(os.environ["PVV_BUILD_ROOT"])
GUESTS = pathlib.Path(os.environ["PVV_TEST_GUESTS"])
TEXT = (SOURCE / "README.md").read_text()


def block(language):
    return re.search(rf"```{language}\n(.*?)```", TEXT, re.S).group(1)


class Readme(unittest.TestCase):
    def test_c(self):
        code = block("c")
        self.assertLessEqual(len(code.splitlines()), 36)
        with tempfile.TemporaryDirectory() as tmp:
            (pathlib.Path(tmp) / "x.c").write_text(code)
            # As in `meson devenv`
            flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libpvvirt"], capture_output=True, text=True, check=True,
                                   env=dict(os.environ, PKG_CONFIG_PATH=str(BUILD / "meson-uninstalled"))).stdout.split()
            r = subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", tmp + "/x", tmp + "/x.c", *flags],
                               capture_output=True, text=True)
            self.assertEqual(r.returncode, 0, r.stderr)

    def test_python(self):
        package = BUILD / "bindings/python"
        if "PVV_PYTHON" not in os.environ:
            self.skipTest("the Python package was not built (python3-cffi, python3-dev), or with a sanitizer")
        grub = pathlib.Path(os.environ.get("PVV_TEST_CACHE", "/var/cache/libpvvirt-test")) / "grub-x86_64-xen.bin"
        if not grub.exists():
            self.skipTest(f"{grub} is missing; run scripts/fetch-guests grub")
        code = block("python").replace("/usr/lib/grub-xen/grub-x86_64-xen.bin", str(grub))
        self.assertIn(str(grub), code)
        r = subprocess.run([os.environ.get("PVV_PYTHON", sys.executable), "-c", code], capture_output=True, text=True,
                           env=dict(os.environ, PYTHONPATH=str(package)), timeout=90)
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertIn("grub> ", r.stdout)
        self.assertTrue(r.stdout.endswith("shutoff (shutdown)\n"), r.stdout)

    def test_commands_exist(self):
        named = set(re.findall(r"\b(?:scripts|examples|doc|bindings|tests|src)/[\w./-]*\w", TEXT))
        for path in named:
            self.assertTrue((SOURCE / path).exists(), path)
        self.assertLessEqual({"scripts/demo", "scripts/test", "examples/hello.c", "examples/orchestrator", "examples/guest",
                              "doc/architecture.md", "doc/security.md", "doc/python.md", "bindings/python"}, named)


if __name__ == "__main__":
    unittest.main(verbosity=2)
