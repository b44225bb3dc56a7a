#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Public headers: each compiles alone as C99, C11 and C++, everything exported is documented, and the
library exports exactly what the headers declare."""
import pathlib
import re
import subprocess
import sys
import unittest

SOURCE = pathlib.Path(sys.argv.pop(1))
LIBRARY = pathlib.Path(sys.argv.pop(1))
HEADERS = sorted((SOURCE / "include/pvvirt").glob("*.h"))


def declarations():
    """(header, name, comment) of each PVV_API function."""
    for header in HEADERS:
        text = header.read_text()
        for m in re.finditer(r"^PVV_API\b[^;]*?\b(pvv_\w+)\(", text, re.M):
            before = text[:m.start()].rstrip()
            comment = ""
            if before.endswith("*/"):
                comment = before[before.rindex("/**"):] if "/**" in before else ""
            yield header.name, m.group(1), comment


class Headers(unittest.TestCase):
    def test_each_compiles_alone(self):
        for header in HEADERS:
            for cc in (["cc", "-std=c99", "-xc"], ["cc", "-std=c11", "-xc"], ["c++", "-std=c++11", "-xc++"]):
                r = subprocess.run([*cc, "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                                    f"-I{SOURCE}/include", "-"], input=f"#include <pvvirt/{header.name}>\nextern int not_an_empty_file;\n",
                                   text=True, capture_output=True)
                self.assertEqual(r.returncode, 0, f"{header.name} with {cc}: {r.stderr}")

    def test_documented(self):
        seen = 0
        for header, name, comment in declarations():
            seen += 1
            with self.subTest(f"{header}: {name}"):
                self.assertTrue(comment, "no doc comment")
                self.assertIn("Since:", comment)
                self.assertRegex(comment, r"@thread-(safe|object)")
                args = re.search(re.escape(name) + r"\(([^;]*)\);", (SOURCE / "include/pvvirt" / header).read_text())
                self.assertTrue(args)
        self.assertGreater(seen, 40)

    def test_exports_are_the_headers(self):
        out = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, text=True,
                             capture_output=True).stdout
        exported = {w[2].split("@")[0] for w in map(str.split, out.splitlines()) if len(w) == 3 and w[1] in "TDBRV"}
        declared = {name for _, name, _ in declarations()}
        self.assertEqual(exported - declared, set(), "exported but not declared")
        self.assertEqual(declared - exported, set(), "declared but not exported")

    def test_versioned(self):
        out = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, text=True,
                             capture_output=True).stdout
        for line in out.splitlines():
            if " T " in line:
                self.assertIn("@@PVV_0.1", line)

    def test_no_global_state(self):
        """No constructors, and nothing writable but the per-thread error record."""
        out = subprocess.run(["readelf", "-d", LIBRARY], check=True, text=True, capture_output=True).stdout
        m = re.search(r"INIT_ARRAYSZ\D+(\d+)", out)
        self.assertLessEqual(int(m.group(1)) if m else 0, 8, "constructors besides libgcc's frame_dummy")


if __name__ == "__main__":
    unittest.main(verbosity=2)
