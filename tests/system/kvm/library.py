# SPDX-License-Identifier: MIT
"""More of the library's own system tests on the kvm executor (system.py has the others): tuning, limits, many domains,
many threads. Run by suite.py. Not here: what needs PV GRUB (the guests' group boots it), whose disk images and fifty
domains are too much for an emulated machine; those tests say so themselves."""
import os
import unittest

import common
import system

PROGRAMS = ("limits", "many", "resources", "restart", "smp", "threads")


def files(build):
    return system.every_guest(build)


def programs(build):
    return [os.path.join(build, "tests", "system", "test_system_" + n) for n in PROGRAMS]


class Library(unittest.TestCase):
    def test_limits(self):
        common.cmocka(self, "limits", 5)

    def test_many(self):
        common.cmocka(self, "many", 1)

    def test_resources(self):
        """Also that vCPU threads are pinned and weighed."""
        common.cmocka(self, "resources", 10)

    def test_restart(self):
        common.cmocka(self, "restart", 2)

    def test_smp(self):
        common.cmocka(self, "smp", 2)

    def test_threads(self):
        common.cmocka(self, "threads", 3)


def names():
    return common.names(Library)
