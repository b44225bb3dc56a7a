# SPDX-License-Identifier: MIT
"""Debian's own kernels, unmodified, on the kvm executor. Run by suite.py."""
import os
import tempfile
import unittest

import common
import vm

KERNELS = ("cloud", "amd64")


def kernel(name):
    return os.path.join(vm.cache(), "vmlinuz-" + name)


def files(_build):
    return [kernel(n) for n in KERNELS if os.path.exists(kernel(n))]


def programs(_build):
    return []


class Linux(unittest.TestCase):
    def boot(self, name, vcpus):
        if not os.path.exists(kernel(name)):
            self.skipTest("skipped: %s is missing; run scripts/fetch-guests %s" % (kernel(name), name))
        with tempfile.TemporaryDirectory(prefix="pvv-linux-") as tmp:
            initrd = os.path.join(tmp, "initrd")
            cpio = vm.Cpio(initrd)
            cpio.file("init", os.path.join(common.BUILD, "tests", "linux", "steps"))
            cpio.close()
            r = common.run(kernel(name), "--initrd", initrd, "--vcpus", str(vcpus), "--cmdline",
                           "console=hvc0 quiet panic=-1", "--stats", seconds=30, memory="256M")
        self.assertEqual(r.returncode, 0, r.stdout[-3000:] + r.stderr)
        for step in ("hello", "syscalls", "registers", "fault", "clock", "fork", "segv", "signal", "pipe", "exec"):
            self.assertIn("ok " + step, r.stdout)
        self.assertIn("failed 0", r.stdout)
        return r

    def test_cloud_with_two_vcpus(self):
        self.boot("cloud", 2)

    def test_amd64(self):
        r = self.boot("amd64", 1)
        # Forks, system calls and page faults by the thousand: what comes back to the library is frames given back.
        self.assertLess(common.exits(r.stderr)["user"], 2000)


def names():
    return common.names(Linux)


