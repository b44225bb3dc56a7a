#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Who executes the turns of a program that makes system calls, and forks children that only exit (guest/turns.c): the monitor,
or with --brief-turns no processes of its own (doc/adr/0019). By counts."""
import re
import sys
import unittest

import linuxlib
from linuxlib import KERNELS, PROGRAMS, initramfs, run

linuxlib.need_kernels()
if linuxlib.EXECUTOR != "ring3":
    print("skipped: only ring3 has turns and processes for programs")
    sys.exit(77)
CALLS, CHILDREN = 20000, 200


class Turns(unittest.TestCase):
    def turns(self, calls, children, *args):
        """(interpreted, by processes)"""
        image = initramfs("--bare", "--name", "turns", "--init", PROGRAMS / "turns")
        code, out, err = run(KERNELS[0], image, f"quiet TURNS={calls},{children}", "128M", ["--stats", *args])
        self.assertEqual(code, 0, err + out[-1500:])
        self.assertIn(f"calls {calls}\n", out)
        self.assertIn(f"children {children}\n", out)
        found = re.search(r"^brief turns +(\d+) of programs, interpreted; (\d+) by their processes$", err, re.M)
        self.assertTrue(found, err)
        print(f"{calls} calls, {children} children: {found[0]}")
        return int(found[1]), int(found[2])

    def test_brief(self):
        for vcpus, how in (1, []), (2, ["--brief-turns", "yes"]):
            brief, by_processes = self.turns(CALLS, 0, "--vcpus", str(vcpus), *how)
            self.assertGreaterEqual(brief, CALLS * 9 // 10)
            self.assertLess(by_processes, CALLS // 10)

    def test_brief_children(self):
        """One that only exits has no process. (Their parent may need one.)"""
        brief, by_processes = self.turns(0, CHILDREN)
        self.assertGreaterEqual(brief, CHILDREN)
        self.assertLess(by_processes, CHILDREN)

    def test_by_processes(self):
        for vcpus in "1", "2":
            brief, by_processes = self.turns(CALLS, CHILDREN, "--vcpus", vcpus, "--brief-turns", "no")
            self.assertEqual(brief, 0)
            # The parent's fork and wait, the child's exit
            self.assertGreaterEqual(by_processes, CALLS + 3 * CHILDREN)


if __name__ == "__main__":
    unittest.main(verbosity=2)
