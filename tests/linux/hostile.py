#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""User programs that attack the ring3 executor's pages in their address space (guest/hostile.c): only they may die."""
import re
import unittest

import linuxlib
from linuxlib import KERNELS, PROGRAMS, TROUBLE, initramfs, run

linuxlib.need_kernels()


class Hostile(unittest.TestCase):
    def test_all(self):
        image = initramfs("--bare", "--name", "hostile", "--init", PROGRAMS / "hostile")
        code, out, err = run(KERNELS[0], image, memory="512M", timeout=560)
        self.assertEqual(code, 0, err + out[-1500:])
        self.assertIn("hostile: 0 failed", out)
        self.assertEqual(len(re.findall(r"^ok ", out, re.M)), 11, out)
        bad = [line for line in out.splitlines() if TROUBLE.search(line) and "segfault" not in line]
        self.assertEqual(bad, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
