# SPDX-License-Identifier: MIT
"""Debian's own kernels, unmodified, on the kvm executor. Run by suite.py."""
import os
import socket
import subprocess
import sys
import tempfile
import unittest

import common
import vm

sys.path.append(os.path.join(vm.TOP, "tests", "guest"))
import netpeer  # noqa: E402

KERNELS = ("cloud", "amd64")


def kernel(name):
    return os.path.join(vm.cache(), "vmlinuz-" + name)


def files(_build):
    return [kernel(n) for n in KERNELS if os.path.exists(kernel(n))]


def programs(_build):
    return []


class Linux(unittest.TestCase):
    def init(self, name, program, vcpus=1, cmdline="quiet"):
        if not os.path.exists(kernel(name)):
            self.skipTest("skipped: %s is missing; run scripts/fetch-guests %s" % (kernel(name), name))
        with tempfile.TemporaryDirectory(prefix="pvv-linux-") as tmp:
            initrd = os.path.join(tmp, "initrd")
            cpio = vm.Cpio(initrd)
            cpio.file("init", os.path.join(common.BUILD, "tests", "linux", program))
            cpio.close()
            r = common.run(kernel(name), "--initrd", initrd, "--vcpus", str(vcpus), "--cmdline",
                           "console=hvc0 panic=-1 " + cmdline, "--stats", seconds=30, memory="256M")
        self.assertEqual(r.returncode, 0, r.stdout[-3000:] + r.stderr)
        return r

    def boot(self, name, vcpus):
        r = self.init(name, "steps", vcpus)
        for step in ("hello", "syscalls", "registers", "fault", "clock", "fork", "segv", "signal", "pipe", "exec"):
            self.assertIn("ok " + step, r.stdout)
        self.assertIn("failed 0", r.stdout)
        return r

    def test_cloud_with_two_vcpus(self):
        self.boot("cloud", 2)

    def test_fpu(self):
        """Signals, forks and switches keep the FPU, with AVX where KVM offers it: under QEMU it does."""
        r = self.init("cloud", "conform", cmdline="CONFORM_ONLY=fpu,signal-f")
        self.assertIn("fpu-signals", r.stdout)
        self.assertIn("fpu-switches", r.stdout)
        self.assertNotIn("FAIL", r.stdout)
        if common.IN_TCG:
            self.assertIn("xstate features 0x7", r.stdout)

    def test_network(self):
        """xen-netfront, and the host of tests/guest/netpeer.py on the other side."""
        if not os.path.exists(kernel("cloud")):
            self.skipTest("skipped: %s is missing; run scripts/fetch-guests cloud" % kernel("cloud"))
        if not os.path.exists(os.path.join(vm.cache(), "busybox")):
            self.skipTest("skipped: busybox is missing; run scripts/fetch-guests busybox")
        initrd = subprocess.run([os.path.join(vm.TOP, "scripts", "mkinitramfs"), "--kernel", "cloud", "--module",
                                 "xen-netfront"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        netpeer.serve(mine)
        command = ("ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up; cat /sys/class/net/eth0/address; "
                   "ping -c 4 -w 60 10.0.0.1; ping -c 4 -w 60 -s 1400 10.0.0.1")
        r = common.run(kernel("cloud"), "--initrd", initrd, "--vcpus", "2", "--net",
                       "fd=%d,mac=00:16:3e:11:22:33" % theirs.fileno(), "--cmdline",
                       'console=hvc0 quiet -- "%s"' % command, seconds=60, memory="256M", pass_fds=[theirs.fileno()])
        self.assertEqual(r.returncode, 0, r.stdout[-3000:] + r.stderr)
        self.assertIn("00:16:3e:11:22:33", r.stdout)
        self.assertEqual(r.stdout.count("4 packets transmitted, 4 packets received"), 2, r.stdout[-3000:])

    def test_amd64(self):
        r = self.boot("amd64", 1)
        # Forks, system calls and page faults by the thousand: what comes back to the library is frames given back.
        self.assertLess(common.exits(r.stderr)["user"], 2000)


def names():
    return common.names(Linux)


