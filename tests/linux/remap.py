#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Memory is remapped at random by one thread (guest/remap), and threads on all vCPUs must see it at once."""
import os
import pathlib
import unittest

import linuxlib
from linuxlib import KERNELS, PROGRAMS, initramfs, run

linuxlib.need_kernels()
SECONDS = int(os.environ.get("PVV_TEST_SECONDS", "6"))


class Remap(unittest.TestCase):
    def one(self, vcpus, memory, processes, wrapper=()):
        image = initramfs("--bare", "--name", "remap", "--init", PROGRAMS / "remap")
        code, out, err = run(KERNELS[0], image, f"quiet REMAP={SECONDS},{processes},3", memory, ["--vcpus", str(vcpus)],
                             timeout=240 + SECONDS, wrapper=wrapper)
        self.assertIn("remap: right", out, err + out[-1500:])
        self.assertEqual(code, 0, err)

    def test_one_vcpu(self):
        self.one(1, "128M", 2)

    def test_two_vcpus(self):
        self.one(2, "128M", 2)

    def test_four_vcpus(self):
        self.one(4, "192M", 3)

    def test_without_userfaultfd(self):
        """On hosts that refuse it ring3's mapper does everything (doc/adr/0017)."""
        self.one(2, "128M", 2, [pathlib.Path(__file__).with_name("without_userfaultfd.py")])


if __name__ == "__main__":
    unittest.main(verbosity=2)
