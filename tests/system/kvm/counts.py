# SPDX-License-Identifier: MIT
"""What leaves the virtual machine: exits per operation. Run by suite.py."""
import os
import re
import tempfile
import unittest

import common
import vm

# Under QEMU, time goes by instructions: what its slowness would add (ticks, timeouts) is not there.
ICOUNT = True
KERNEL = os.path.join(vm.cache(), "vmlinuz-cloud")


def files(build):
    return [common.guest("exits", build)] + ([KERNEL] if os.path.exists(KERNEL) else [])


def programs(_build):
    return []


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


class Paths(unittest.TestCase):
    """Instructions that operations take, guest and monitor together: QEMU's -icount makes the counter one of those.
    Measured (doc/performance.md), and some for other compilers; null hypercall: Xen's own."""
    AT_MOST = {"hypercall": 281, "syscall": 980, "trap": 1080, "fault": 1110, "update": 6000, "switch": 2420,
               "upcall": 1730}

    @unittest.skipUnless(common.IN_TCG, "skipped: instructions are counted under QEMU only")
    def test_instructions(self):
        r = common.run(common.guest("exits"), "--cmdline", "cost")
        self.assertEqual(r.returncode, 0, r.stderr)
        cost = {m[1]: float(m[2]) for m in re.finditer(r"^(\w+): ([\d.]+)\r?$", r.stdout, re.M)}
        self.assertEqual(set(cost), set(self.AT_MOST), r.stdout)
        self.assertEqual({k: v for k, v in cost.items() if v > self.AT_MOST[k]}, {}, "of at most %s" % self.AT_MOST)


class Forks(unittest.TestCase):
    """Debian's kernel: it boots, forks, executes, exits and waits N times, all with at most 4 N exits."""
    N = 400

    @unittest.skipUnless(os.path.exists(KERNEL), "skipped: %s is missing; run scripts/fetch-guests cloud" % KERNEL)
    def test_fork_exec_exit(self):
        with tempfile.TemporaryDirectory(prefix="pvv-forks-") as tmp:
            initrd = os.path.join(tmp, "initrd")
            cpio = vm.Cpio(initrd)
            cpio.file("init", os.path.join(common.BUILD, "tests", "linux", "forks"))
            cpio.close()
            r = common.run(KERNEL, "--initrd", initrd, "--cmdline", "console=hvc0 quiet panic=-1 FORKS=%d" % self.N,
                           "--stats", seconds=30, memory="128M")
        self.assertEqual(r.returncode, 0, r.stdout[-3000:] + r.stderr)
        self.assertIn("forks done %d\n" % self.N, r.stdout.replace("\r", ""))
        exits = common.exits(r.stderr)
        self.assertLessEqual(exits["guest"], 4 * self.N, exits)
        self.assertLess(exits["user"], 10, exits)
        if common.IN_TCG:
            # 16,216 pages are touched there; with large pages (agent.c allows them) 8,572 were counted.
            self.assertLess(exits["memory"], 12000, exits)


def names():
    return common.names(Exits) + common.names(Paths) + common.names(Forks)
