#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A guest that ends in the middle of writing: pvvirt is killed (SIGKILL), or ends it by force (SIGHUP). Then the file
system is clean after its journal was replayed, and every write whose fsync the guest saw return is there, in the image
as the host's tools read it, and to the same guest when it starts again."""
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import linuxlib
from linuxlib import PROGRAMS, Console, command, initramfs, plain

linuxlib.need_kernels()
# (Under nohup it is ignored by all that is started there; here it is sent.)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
PATH = os.environ["PATH"] + ":/sbin:/usr/sbin"
KERNEL = linuxlib.KERNELS[0]
NAMES = ["mke2fs", "e2fsck", "debugfs"]
MISSING = [n for n in NAMES if not shutil.which(n, path=PATH)]
LINE = re.compile(r"^(ack|has|torn) (\d+) (\d+) (\d+)\n", re.M)
WRITERS = 2  # of writer.c
ROUNDS = int(os.environ.get("PVV_TEST_ROUNDS", "2"))
SEED = int(os.environ.get("PVV_CRASH_SEED", random.randrange(1 << 20)))


def tool(*words, ok=(0,)):
    r = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       env={**os.environ, "PATH": PATH})
    if r.returncode not in ok:
        raise AssertionError(f"{words}: {r.returncode}\n{r.stdout}")
    return r.stdout


def lines(text):
    return [(m[1], (int(m[2]), int(m[3])), int(m[4])) for m in LINE.finditer(text)]


def children(pid):
    out = []
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            out += [int(child), *children(int(child))]
    return out


@unittest.skipIf(MISSING, f"skipped: {', '.join(MISSING)} is not installed (e2fsprogs)")
class Crash(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pvv-crash-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.addCleanup(folder.cleanup)
        self.disk = pathlib.Path(folder.name) / "disk"
        with open(self.disk, "wb") as f:
            f.truncate(64 << 20)
        tool("mke2fs", "-q", "-t", "ext4", self.disk)
        self.rd = initramfs("--kernel", KERNEL, "--module", "xen-blkfront", "--module", "ext4", "--file",
                            f"{PROGRAMS / 'writer'}:/bin/writer", "--name", "crash")
        self.acked = {}  # (file, slot) -> the newest that must be there
        self.rounds = 0
        self.random = random.Random(SEED)

    def guest(self, words):
        line = f'quiet -- "mkdir /m && mount /dev/xvda /m && {words}"'
        return Console(command(KERNEL, self.rd, line, "192M", "--no-reboot", "--timeout", str(200 * linuxlib.SLOW), "--disk",
                               f"{self.disk},xvda"))

    def write_and_end(self, sig):
        self.rounds += 1
        c = self.guest(f"writer write /m {self.rounds}")
        for _ in range(self.random.randrange(20, 120)):
            c.expect("ack ")
        time.sleep(self.random.random() * 0.05)
        ours = children(c.p.pid)
        if linuxlib.EXECUTOR == "ring3":
            self.assertTrue(ours)
        c.p.send_signal(sig)
        status = c.end()
        self.assertEqual(status, -sig if sig == signal.SIGKILL else 1)
        end = time.monotonic() + 20
        while any(os.path.exists(f"/proc/{p}") for p in ours):
            self.assertLess(time.monotonic(), end, "processes of the guest outlive pvvirt")
            time.sleep(0.05)
        linuxlib.bring_back(self.disk)
        acks = [(where, seq) for what, where, seq in lines(plain(c.raw)) if what == "ack"]
        for where, seq in acks:
            self.acked[where] = max(seq, self.acked.get(where, 0))
        return len(acks)

    def compare(self, text):
        """What is there may be newer than what was acknowledged, as the console lags behind the disk."""
        torn = {where for what, where, _ in lines(text) if what == "torn"}
        has = {where: seq for what, where, seq in lines(text) if what == "has"}
        for where, seq in self.acked.items():
            if where not in torn:
                self.assertGreaterEqual(has.get(where, 0), seq, f"{where}: seed {SEED}")
        # Only a write that was under way may be half done, one of each writer in each round.
        self.assertLessEqual(len(torn), WRITERS * self.rounds, f"{torn}: seed {SEED}")
        return len(has)

    def look(self):
        """With the host's tools, on a copy: the guest shall find the journal as it was left."""
        with tempfile.TemporaryDirectory(dir=self.disk.parent) as folder:
            copy, out = pathlib.Path(folder) / "copy", pathlib.Path(folder) / "files"
            shutil.copy(self.disk, copy)
            tool("e2fsck", "-fy", "-E", "journal_only", copy, ok=(0, 1))
            tool("e2fsck", "-fn", copy)
            out.mkdir()
            tool("debugfs", "-R", f"rdump / {out}", copy)
            self.assertGreater(self.compare(tool(PROGRAMS / "writer", "check", out)), 10)

    def test_ended_while_writing(self):
        total = 0
        for sig in [signal.SIGKILL, signal.SIGHUP] * ROUNDS:
            total += self.write_and_end(sig)
            self.look()
        self.assertGreater(total, 40 * ROUNDS)
        c = self.guest("writer check /m && umount /m")
        self.assertEqual(c.end(200 * linuxlib.SLOW), 0, plain(c.raw))
        text = plain(c.raw)
        self.assertIn("pvv-exit-status: 0", text)
        self.compare(text)
        tool("e2fsck", "-fn", self.disk)


if __name__ == "__main__":
    print(f"PVV_CRASH_SEED={SEED}")
    unittest.main()
