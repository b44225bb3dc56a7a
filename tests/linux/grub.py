#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's PV GRUB loads Debian's kernel and an initrd from a disk image, and hands over to it.

With the amd64 kernel: GRUB unpacks gzip, xz and lzo, and the cloud kernel is packed with lz4."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import linuxlib
from linuxlib import CACHE, EXECUTOR, KERNELS, PVVIRT, SLOW, Console, initramfs

linuxlib.need_kernels()
GRUB = CACHE / "grub-x86_64-xen.bin"
MKFS = shutil.which("mke2fs", path="/sbin:/usr/sbin:/usr/bin")
if "amd64" not in KERNELS or not GRUB.exists():
    print("skipped: PV GRUB or the amd64 kernel is missing; run scripts/fetch-guests grub amd64")
    sys.exit(77)
if not MKFS:
    print("skipped: mke2fs is missing; install e2fsprogs")
    sys.exit(77)


class Grub(unittest.TestCase):
    def test_linux_from_disk(self):
        with tempfile.TemporaryDirectory(prefix="pvv-grub-") as tmp:
            root, disk = pathlib.Path(tmp) / "root", pathlib.Path(tmp) / "disk.img"
            (root / "boot").mkdir(parents=True)
            shutil.copy(CACHE / "vmlinuz-amd64", root / "boot/vmlinuz")
            shutil.copy(initramfs(), root / "boot/initrd")
            subprocess.run([MKFS, "-q", "-t", "ext4", "-d", root, disk, "128M"], check=True, stdout=subprocess.DEVNULL)
            guest = Console([PVVIRT, "run", "--executor", EXECUTOR, "--kernel", GRUB, "--memory", "384M", "--disk",
                             f"{disk},xvda,ro", "--no-reboot", "--timeout", str(240 * SLOW)])
            try:
                for line in ("set root=(xen/xvda)", 'linux /boot/vmlinuz console=hvc0 quiet -- "uname -r; nproc"',
                             "initrd /boot/initrd", "boot"):
                    self.assertNotIn("error: you", guest.expect("grub> "))
                    guest.p.stdin.write(line.encode() + b"\n")
                    guest.p.stdin.flush()
                said = guest.expect("pvv-exit-status: 0")
                self.assertRegex(said, r"\n6\.\S+-amd64\n1\n")
                self.assertEqual(guest.p.wait(60 * SLOW), 0)
            finally:
                guest.p.kill()
                guest.p.communicate()


if __name__ == "__main__":
    unittest.main(verbosity=2)
