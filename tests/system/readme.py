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
            r = subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{SOURCE}/include", "-o", tmp + "/x",
                                tmp + "/x.c", f"-L{BUILD}/src/api", "-lpvvirt"], capture_output=True, text=True)
            self.assertEqual(r.returncode, 0, r.stderr)

    def test_python(self):
        if os.environ.get("PVV_TEST_SANITIZER"):
            self.skipTest("a plain Python cannot load a library built with sanitizers")
        with tempfile.TemporaryDirectory() as tmp:
            tmp = pathlib.Path(tmp)
            (tmp / "domain.xml").write_text(f"""<domain type='xen'><name>readme</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64' machine='xenpv'>linux</type><kernel>{GUESTS}/hello.elf</kernel></os>
<devices><console type='file'><source path='{tmp}/out'/><target type='xen'/></console></devices></domain>""")
            env = dict(os.environ, LD_LIBRARY_PATH=str(BUILD / "src/api"))
            r = subprocess.run([sys.executable, "-c", block("python")], cwd=tmp, env=env, capture_output=True, text=True,
                               timeout=60)
            self.assertEqual((r.returncode, r.stderr), (0, ""))
            self.assertIn("Hello", (tmp / "out").read_text())

    def test_commands_exist(self):
        for path in "scripts/demo", "scripts/test", "examples/hello.c", "doc/architecture.md", "doc/security.md", "examples/guest":
            self.assertTrue((SOURCE / path).exists(), path)
            self.assertIn(path, TEXT)


if __name__ == "__main__":
    unittest.main(verbosity=2)
