#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's PV GRUB: typed commands, files of a disk image, scripts to power-off, reboot, hand-over.

PVV_TEST_FILE_MB sets the size of the file that is read and hashed (default 24; CI's long run: 200)."""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

PVVIRT = os.environ["PVV_PVVIRT"]
CACHE = pathlib.Path(os.environ.get("PVV_TEST_CACHE", "/var/cache/libpvvirt-test"))
GRUB = CACHE / "grub-x86_64-xen.bin"
MKFS = shutil.which("mke2fs", path=os.environ["PATH"] + ":/sbin:/usr/sbin")
EXECUTOR = os.environ.get("PVV_TEST_EXECUTOR", "auto")
SLOW = int(os.environ.get("PVV_TEST_SLOW", "1"))
PVVIRT_RUN = [PVVIRT, "run", "--executor", EXECUTOR]
SIZE = int(os.environ.get("PVV_TEST_FILE_MB", "24")) << 20

if not GRUB.exists():
    print(f"skipped: {GRUB} is missing; run scripts/fetch-guests grub")
    sys.exit(77)


def plain(raw):
    """What a person sees: without cursor movements and colours."""
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", raw).replace(b"\r", b"")
    return text.decode("latin-1")


class Disk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not MKFS:
            raise unittest.SkipTest("mke2fs (package e2fsprogs) is not installed")
        cls.tmp = tempfile.TemporaryDirectory(prefix="pvv-grub-")
        cls.dir = pathlib.Path(cls.tmp.name)
        root = cls.dir / "root"
        root.mkdir()
        (root / "hello.txt").write_text("hello from the disk\n")
        digest = hashlib.sha256()
        with open(root / "big", "wb") as f:
            for _ in range(SIZE >> 20):
                chunk = os.urandom(1 << 20)
                digest.update(chunk)
                f.write(chunk)
        cls.digest = digest.hexdigest()
        cls.disk = cls.dir / "disk.img"
        subprocess.run([MKFS, "-q", "-t", "ext4", "-d", root, cls.disk, f"{(SIZE >> 20) * 5 // 4 + 16}M"],
                       check=True, stdout=subprocess.DEVNULL)

    @classmethod
    def tearDownClass(cls):
        cls.tmp.cleanup()

    def image(self, script, *modules):
        if not shutil.which("grub-mkimage"):
            self.skipTest("grub-mkimage (package grub-common) is not installed")
        cfg, out = self.dir / "grub.cfg", self.dir / "grub.bin"
        cfg.write_text(script)
        r = subprocess.run(["grub-mkimage", "-O", "x86_64-xen", "-o", out, "-c", cfg, "-p", "/", "echo", "halt",
                            "normal", *modules], capture_output=True, text=True)
        if r.returncode:
            self.skipTest("grub-mkimage: " + r.stderr)
        return out

    def run_image(self, image, *args, timeout=120):
        timeout *= SLOW
        r = subprocess.run([*PVVIRT_RUN, "--kernel", image, "--memory", "64M", "--timeout", str(timeout), *args],
                           stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout + 20)
        return r.returncode, plain(r.stdout), r.stderr.decode()

    def test_typed_commands(self):
        p = subprocess.Popen([*PVVIRT_RUN, "--kernel", GRUB, "--memory", "64M", "--disk", f"{self.disk},xvda,ro",
                              "--timeout", str(60 * SLOW)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        raw = b""

        def until(text, after=0):
            nonlocal raw
            while text not in plain(raw)[after:]:
                chunk = os.read(p.stdout.fileno(), 65536)
                self.assertTrue(chunk, f"{text!r} was not seen in {plain(raw)!r}")
                raw += chunk
            return len(plain(raw))

        at = until("grub> ")
        head = plain(raw)
        for line in ("Welcome to GRUB!", "error: no such device: /boot/xen/pvboot-x86_64.elf.", "GNU GRUB  version"):
            self.assertIn(line, head)
        for command, answer in (("ls", "(xen/xvda)"), ("ls (xen/xvda)/", "hello.txt"),
                                ("cat (xen/xvda)/hello.txt", "hello from the disk"), ("echo one two", "one two")):
            p.stdin.write(command.encode() + b"\r")
            p.stdin.flush()
            until(answer, at)
            at = until("grub> ", at)
        p.stdin.write(b"halt\r")
        p.stdin.flush()
        p.stdout.read()
        self.assertEqual(p.wait(30 * SLOW), 0)
        p.stdin.close()
        p.stdout.close()

    def test_a_large_file_hashes_right(self):
        code, out, err = self.run_image(self.image("sha256sum (xen/xvda)/big\nhalt\n", "ext2", "hashsum",
                                                   "gcry_sha256"), "--disk", f"{self.disk},xvda,ro")
        self.assertEqual(code, 0, err)
        self.assertIn(self.digest, out)

    def test_several_disks(self):
        code, out, err = self.run_image(self.image("ls\nhalt\n", "ls"), "--disk", f"{self.disk},xvda,ro",
                                        "--disk", f"{self.disk},xvdb,ro", "--disk", f"{self.disk},xvdz,ro")
        self.assertEqual(code, 0, err)
        for name in "xvda", "xvdb", "xvdz":
            self.assertIn(f"(xen/{name})", out)

    def test_a_writer_locks_the_image(self):
        p = subprocess.Popen([*PVVIRT_RUN, "--kernel", GRUB, "--memory", "64M", "--disk", self.disk, "--timeout",
                              str(60 * SLOW)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        while b"grub> " not in p.stdout.read1():
            pass
        code, _, err = self.run_image(GRUB, "--disk", str(self.disk), timeout=10)
        p.stdin.write(b"halt\r")
        p.stdin.flush()
        p.stdout.read()
        self.assertEqual(p.wait(30 * SLOW), 0)
        p.stdin.close()
        p.stdout.close()
        self.assertEqual(code, 1)
        self.assertIn("disk.img", err)

    def test_reboot_is_a_new_life(self):
        """on_reboot=restart: the same domain starts again; a file on the disk cannot remember, time can."""
        with tempfile.TemporaryDirectory() as tmp:
            events = pathlib.Path(tmp) / "events"
            p = subprocess.Popen([*PVVIRT_RUN, "--kernel", GRUB, "--memory", "64M", "--timeout", str(60 * SLOW), "--events",
                                  events], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for command in b"reboot\r", b"halt\r":
                seen = b""
                while b"grub> " not in seen:
                    chunk = os.read(p.stdout.fileno(), 65536)
                    self.assertTrue(chunk)
                    seen += chunk
                p.stdin.write(command)
                p.stdin.flush()
            p.stdout.read()
            self.assertEqual(p.wait(30 * SLOW), 0)
            p.stdin.close()
            p.stdout.close()
            names = re.findall(r'"event": "([a-z-]+)"', events.read_text())
            self.assertEqual(names, ["started", "shutdown", "reboot", "started", "shutdown", "stopped"])

    def test_no_reboot(self):
        code, out, err = self.run_image(self.image("reboot\n", "reboot"), "--no-reboot")
        self.assertEqual(code, 0, err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
