#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Debian 12 root (scripts/mkroot) with systemd: to the login prompt, real programs in it with right results, down again.

Not part of the default tests: the image takes minutes to make. What runs for longer: tests/linux/soak."""
import sys
import unittest

from debianlib import IMAGE, Guest, working_day

if not IMAGE.exists():
    print(f"skipped: {IMAGE} is missing; scripts/mkroot makes it (as root, minutes)")
    sys.exit(77)


class Debian(unittest.TestCase):
    def test_a_working_day(self):
        with Guest(IMAGE) as g:
            g.login()
            working_day(g)
            g.check_log()
            g.poweroff()


if __name__ == "__main__":
    unittest.main(verbosity=2)
