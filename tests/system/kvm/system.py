# SPDX-License-Identifier: MIT
"""The kvm executor: what leaves the virtual machine, and the library's own system tests on it. Run by suite.py."""
import os
import tempfile
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


class Exits(unittest.TestCase):
    """Exits per operation: those of many minus those of none, without the host's own interrupts and without memory
    that the guest touched for the first time. Some are left over for the console and for what came along."""
    SLACK = 60

    @classmethod
    def setUpClass(cls):
        cls.tmp = tempfile.TemporaryDirectory(prefix="pvv-kvm-")
        cls.disk = os.path.join(cls.tmp.name, "disk")
        with open(cls.disk, "wb") as f:
            f.truncate(1 << 20)

    @classmethod
    def tearDownClass(cls):
        cls.tmp.cleanup()

    def count(self, what, n):
        r = common.run(common.guest("exits"), "--cmdline", "%s %d" % (what, n), "--disk", self.disk + ",xvda",
                       "--stats")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn("%s: %d of %d" % (what, n, n), r.stdout)
        return common.exits(r.stderr)

    def per_operation(self, what, n):
        none, many = self.count(what, 0), self.count(what, n)
        return {k: many[k] - none[k] for k in many}

    def none(self, what, n=20000):
        more = self.per_operation(what, n)
        # A guest that runs long is interrupted by its own ticker: 100 a second at most, two exits each.
        self.assertLess(more["guest"], n // 20 + self.SLACK, more)
        self.assertLessEqual(more["io"], 3, more)
        self.assertEqual(more["user"], 0, more)

    def test_hypercall(self):
        self.none("hypercall")

    def test_null_syscall(self):
        self.none("syscall")

    def test_exception_bounce_and_iret(self):
        self.none("trap")

    def test_page_fault(self):
        self.none("fault")

    def test_mmu_update_batch(self):
        self.none("update", 5000)

    def test_context_switch(self):
        self.none("switch", 5000)

    def test_upcall(self):
        self.none("upcall")

    def test_idle_tick(self):
        more = self.per_operation("tick", 200)
        self.assertLess(more["guest"], 2 * 200 + self.SLACK, more)
        self.assertEqual(more["user"], 0, more)

    def test_block_request(self):
        more = self.per_operation("request", 200)
        self.assertLessEqual(more["io"], 200 + 10, more)
        self.assertEqual(more["user"], 0, more)


class Library(unittest.TestCase):
    """tests/system's C programs with the kvm executor, which `auto` chooses where this runs."""
    # Of these, what is about something else.
    NOT_HERE = {"test_killed_program": "is about the sandbox process, which only ring3 has"}

    def cmocka(self, name):
        r = common.program("PVV_TEST_GUESTS=" + os.path.join(common.BUILD, "tests", "guest"), "PVV_SOURCE_ROOT=/",
                           os.path.join(common.BUILD, "tests", "system", "test_system_" + name))
        text = r.stdout + r.stderr
        passed = [line.split("]")[1].strip() for line in text.splitlines() if line.startswith("[       OK")]
        failed = [line.split("]")[1].strip() for line in text.splitlines() if line.startswith("[  FAILED  ] test_")]
        self.assertGreater(len(passed), 4, text)
        self.assertEqual(set(failed) - set(self.NOT_HERE), set(), text)

    def test_lifecycle(self):
        self.cmocka("lifecycle")

    def test_api(self):
        self.cmocka("api")

    def test_etiquette(self):
        self.cmocka("etiquette")


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
    return [n for case in (Exits, Library, Choice) for n in common.names(case)]
