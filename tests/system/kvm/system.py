# SPDX-License-Identifier: MIT
"""The library's own system tests on the kvm executor. Run by suite.py."""
import os
import unittest

import common


def files(build):
    return [common.guest(n, build) for n in ("exits", "hello", "end-spin", "echo", "agent") if
            os.path.exists(common.guest(n, build))] + every_guest(build)


def every_guest(build):
    where = os.path.join(build, "tests", "guest")
    return sorted(os.path.join(where, n) for n in os.listdir(where) if n.endswith(".elf"))


def programs(build):
    return [os.path.join(build, "tests", "system", "test_system_" + n) for n in ("lifecycle", "api", "etiquette")]


class Library(unittest.TestCase):
    def test_lifecycle(self):
        common.cmocka(self, "lifecycle", 5)

    def test_api(self):
        common.cmocka(self, "api", 5)

    def test_etiquette(self):
        common.cmocka(self, "etiquette", 5)


class Choice(unittest.TestCase):
    def test_auto_is_kvm(self):
        r = common.pvvirt("host")
        self.assertIn("'auto' chooses: kvm", r.stdout)

    def test_a_spinning_guest_can_be_ended(self):
        r = common.run(common.guest("end-spin"), seconds=2)
        self.assertEqual(r.returncode, 11, r.stderr)

    def test_a_crash_has_its_reason(self):
        r = common.run(common.guest("end-ud"))
        self.assertEqual(r.returncode, 10, r.stderr)
        self.assertIn("invalid opcode", r.stderr)

    def test_ram_beyond_4_gib(self):
        """More than 4 GiB of guest RAM: its machine addresses must not meet KVM's own pages."""
        r = common.run(common.guest("exits"), "--cmdline", "update 100", memory="5G")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn("update: 100 of 100", r.stdout)


def names():
    return [n for case in (Library, Choice) for n in common.names(case)]
