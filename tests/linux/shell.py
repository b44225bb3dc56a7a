#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A shell on the console of Debian's kernel: typing, job control, pipes, files, modules, a disk; then power-off."""
import hashlib
import os
import re
import resource
import shutil
import subprocess
import tempfile
import unittest

import linuxlib
from linuxlib import KERNELS, Console, command, initramfs

linuxlib.need_kernels()
KERNEL = KERNELS[0]
MKFS = shutil.which("mke2fs", path=os.environ["PATH"] + ":/sbin:/usr/sbin")
PROMPT = "/root # "


class Shell(unittest.TestCase):
    def test_a_session(self):
        for kernel in KERNELS:
            with self.subTest(kernel=kernel):
                self.session(kernel)

    def session(self, kernel):
        c = Console(command(kernel, initramfs(), "quiet", "384M", "--vcpus", "2", "--timeout", "300"))
        c.expect(PROMPT)
        for line, answer in (("echo $((6*7))", "42\n"), ("cat /proc/version", "Linux version 6."),
                             ("seq 1000 | tail -n 1", "\n1000\n"), ("id -u", "\n0\n"),
                             ("dd if=/dev/zero of=/tmp/z bs=1M count=20 2>/dev/null; sha1sum /tmp/z", hashlib.sha1(
                                 bytes(20 << 20)).hexdigest()),
                             ("(echo a; sleep 1; echo b) | cat", "a\nb\n"),
                             ("for i in 1 2 3 4 5; do (echo p$i) & done; wait; echo all", "all\n"),
                             ("awk 'BEGIN { for (i = 0; i < 100000; i++) s += i; print s }'", "4999950000"),
                             ("cat /sys/hypervisor/type", "xen"), ("printf 'x%.0s' $(seq 300) | wc -c", "300")):
            c.type(line + "\r")
            c.expect(answer)
            c.expect(PROMPT)
        # (By a shell of its own: between an echo of this one and the fork of sleep, ^C would be this one's.)
        c.type("sh -c \"echo be''gun; exec sleep 1000\"\r")
        c.expect("begun\n")  # the terminal is no more the line editor's, which takes ^C for itself
        c.type("\x03")
        c.expect(PROMPT)
        c.type("sh -c 'kill -SEGV $$'; echo status $?\r")
        c.expect("status 139")
        c.expect(PROMPT)
        c.type("exit\r")
        self.assertEqual(c.end(), 0)

    def test_reboot_starts_again(self):
        c = Console(command(KERNEL, initramfs(), "quiet", "256M", "--vcpus", "2", "--timeout", "300"))
        c.expect(PROMPT)
        c.type("touch /tmp/left; reboot -f\r")
        c.expect(PROMPT)
        c.type("ls /tmp | wc -l; grep -c processor /proc/cpuinfo\r")  # nothing of the first boot, all vCPUs
        c.expect("\n0\n2\n")
        c.type("exit\r")
        self.assertEqual(c.end(), 0)

    def test_a_disk(self):
        if not MKFS:
            self.skipTest("mke2fs (package e2fsprogs) is not installed")
        with tempfile.TemporaryDirectory(prefix="pvv-linux-") as tmp:
            image, root = os.path.join(tmp, "disk"), os.path.join(tmp, "root")
            os.mkdir(root)
            data = os.urandom(8 << 20)
            with open(os.path.join(root, "data"), "wb") as f:
                f.write(data)
            subprocess.run([MKFS, "-q", "-t", "ext4", "-d", root, image, "64M"], check=True, stdout=subprocess.DEVNULL)
            rd = initramfs("--kernel", KERNEL, "--module", "xen-blkfront", "--module", "ext4", "--name", "disk")
            script = ("mount -t ext4 /dev/xvda /mnt && sha256sum /mnt/data && cp /mnt/data /mnt/copy && sync && "
                      "echo 3 >/proc/sys/vm/drop_caches && cmp /mnt/data /mnt/copy && rm /mnt/data && umount /mnt")
            code, out, err = linuxlib.run(KERNEL, rd, f'quiet -- "mkdir -p /mnt && {script}"',
                                          args=["--disk", f"{image},xvda"])
            self.assertEqual(code, 0, err + out[-1500:])
            self.assertIn(hashlib.sha256(data).hexdigest(), out)
            self.assertIn("pvv-exit-status: 0", out)
            path = os.environ["PATH"] + ":/sbin:/usr/sbin"
            r = subprocess.run([shutil.which("e2fsck", path=path), "-fn", image], capture_output=True, text=True)
            self.assertEqual(r.returncode, 0, r.stdout)
            r = subprocess.run([shutil.which("debugfs", path=path), "-R", "cat copy", image], capture_output=True)
            self.assertEqual(r.stdout, data)

    def test_statistics(self):
        """Processor time and memory of the guest's programs are the domain's."""
        loop = "busybox awk 'BEGIN { for (i = 0; i < 4000000; i++) s += i; print s }'"
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run(loop.replace("busybox", str(linuxlib.CACHE / "busybox"), 1), shell=True, check=True, stdout=subprocess.DEVNULL)
        native = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

        def stats(script):
            code, out, err = linuxlib.run(KERNEL, initramfs(), f'quiet -- "{script}"', args=["--stats"])
            self.assertIn("pvv-exit-status: 0", out, err)
            self.assertEqual(code, 0)
            return (float(re.search(r"cpu time +([0-9.]+) s", err)[1]), int(re.search(r"overhead +(\d+) KiB", err)[1]))

        # (asleep both times, when the translator gives its look-up table back)
        idle, busy = stats("sleep 1"), stats(loop.replace("busybox ", ""))
        self.assertGreater(busy[0] - idle[0], 0.6 * native)
        self.assertLess(busy[0] - idle[0], 6 * native + 1)
        many = stats("i=0; while [ $i -lt 60 ]; do sleep 100 & i=$((i+1)); done; sleep 1")
        # On a busy host the look-up table may still be there when the short one ends.
        least = idle[1]
        for _ in range(3):
            if many[1] - least > 60 * 4:
                break
            least = min(least, stats("sleep 2")[1])
        self.assertGreater(many[1] - least, 60 * 4)  # page tables: some are of processes that were there

    @unittest.skipUnless(linuxlib.EXECUTOR == "ring3", "skipped: the processor that is shared is this machine's")
    def test_stolen_time(self):
        """Beside a program that computes on the same processor: what the guest did not get it is told."""
        cpu = str(min(os.sched_getaffinity(0)))
        loop = "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done"
        # (on a busy host Linux itself loses more of its ticks: three tries)
        for _ in range(3):
            other = subprocess.Popen(["taskset", "-c", cpu, "sh", "-c", "while :; do :; done"])
            try:
                code, out, err = linuxlib.run(KERNEL, initramfs(), "quiet -- \"head -n1 /proc/stat; cat /proc/uptime; "
                                              f"{loop}; head -n1 /proc/stat; cat /proc/uptime\"", wrapper=["taskset", "-c", cpu])
            finally:
                other.kill()
                other.wait()
            self.assertEqual(code, 0, err + out[-1000:])
            before, after = ([int(word) for word in line.split()] for line in re.findall(r"^cpu +(.*)$", out, re.M))
            start, end = (float(word) for word in re.findall(r"^([0-9.]+) [0-9.]+$", out, re.M))
            ticks = [b - a for a, b in zip(before, after)]
            print(f"of {end - start:.2f} s: {ticks[0] + ticks[2]} ticks used, {ticks[3]} idle, {ticks[7]} stolen")
            # Half of the time, or more on a busy host. (Linux loses up to a tick each time when more than one was stolen.)
            if ticks[7] > 33 * (end - start) and 75 * (end - start) < sum(ticks) < 110 * (end - start) + 20:
                return
        self.fail("a third of the time is stolen, and the ticks add up")

    def test_modules_come_and_go(self):
        """Modules are copied to addresses that were others' before: nothing stale may be left of those."""
        tree = linuxlib.CACHE / KERNEL
        names = sorted({p.stem for p in tree.glob("lib/modules/*/kernel/arch/x86/crypto/*.ko") if p.stem not in ("tcrypt", "crypto_user")} |
                       {"xfs", "btrfs", "nf_tables", "dm-mod", "xen-netfront"})
        rd = initramfs("--kernel", KERNEL, "--name", "modules", *[w for n in names for w in ("--module", n)])
        # First in the wrong order: what fails there is copied twice, the second time from user memory.
        script = ("for i in 1; do for m in $(sed '1!G;h;$!d' /etc/modules) $(cat /etc/modules); do insmod $m; done; "
                  "lsmod | wc -l; for m in $(sed '1!G;h;$!d' /etc/modules); do rmmod $m; done; done >/dev/null 2>&1; "
                  "dmesg | grep -v 'Unknown symbol [a-z_]'; lsmod")
        code, out, err = linuxlib.run(KERNEL, rd, f'quiet -- "{script}"', memory="512M")
        self.assertEqual(code, 0, err + out[-1500:])
        self.assertIn("pvv-exit-status: 0", out, out[-1500:])
        self.assertEqual([line for line in out.splitlines() if linuxlib.TROUBLE.search(line)], [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
