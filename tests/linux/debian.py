#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A Debian 12 root (scripts/mkroot) with systemd: to the login prompt, real programs in it with right results, down again.

    tests/linux/debian.py [--minutes N]      with N > 0 stress-ng's stressors run for that long: the soak test

Not part of the default tests: the image takes minutes to make."""
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import linuxlib
from linuxlib import CACHE, TROUBLE, Console, command, initramfs, plain

IMAGE = CACHE / "debian-12-root.ext4"
MINUTES = 0.0
PROMPT = "guest:~# "
PROGRAM = r"""#include <stdio.h>
#include <math.h>
int main(void) { double s = 0; for (int i = 1; i < 1000000; i++) s += 1 / ((double)i * i); printf("pi %.5f\n", sqrt(s * 6)); }"""

if not IMAGE.exists():
    print(f"skipped: {IMAGE} is missing; scripts/mkroot makes it (as root, minutes)")
    sys.exit(77)


class Debian(unittest.TestCase):
    def test_a_working_day(self):
        with tempfile.TemporaryDirectory(prefix="pvv-debian-", dir=os.environ.get("TMPDIR", "/var/tmp")) as tmp:
            disk = pathlib.Path(tmp) / "root.img"
            subprocess.run(["cp", "--sparse=always", IMAGE, disk], check=True)
            self.session(disk)
            path = os.environ["PATH"] + ":/sbin:/usr/sbin"
            r = subprocess.run(["e2fsck", "-fn", disk], capture_output=True, text=True, env={**os.environ, "PATH": path})
            self.assertEqual(r.returncode, 0, r.stdout)

    def session(self, disk):
        rd = initramfs("--kernel", "cloud", "--module", "xen-blkfront", "--module", "xen-netfront", "--name", "root")
        c = Console(command("cloud", rd, "root=/dev/xvda", "1G", "--disk", f"{disk},xvda", "--timeout",
                            str(900 + int(MINUTES * 120))))
        c.expect("guest login: ", 300)
        c.type("root\r")
        c.expect(PROMPT)
        c.type("export PAGER=cat TERM=dumb; bind 'set enable-bracketed-paste off'; stty -echo\r")
        c.expect(PROMPT)

        def do(line, answer, limit=240):
            c.type(line + "\r")
            out = c.expect(PROMPT, limit)
            self.assertIn(answer, out, line)
            self.assertNotIn("TROUBLE", out)

        do("systemctl is-system-running --wait", "running")
        do("systemctl --failed --no-legend | wc -l", "0")
        do("apt-get --version", "apt 2.")
        do("python3 -c 'import hashlib; print(hashlib.sha256(bytes(10**7)).hexdigest())'",
           hashlib.sha256(bytes(10**7)).hexdigest())
        do("python3 -c 'import json, threading; t = [threading.Thread(target=json.dumps, args=(list(range(9999)),)) "
           "for _ in range(20)]; [x.start() for x in t]; [x.join() for x in t]; print(2**521 - 1)'", str(2**521 - 1))
        do("cat >p.c <<'EOT'\n" + PROGRAM.replace("\n", "\r") + "\nEOT", "")
        do("gcc -O2 -o p p.c -lm && ./p", "pi 3.14159")
        do("git init -q r && cd r && git config user.email a@b && git config user.name n && seq 5000 >f && git add f && "
           "git commit -qm one && git rev-parse HEAD^{tree}; cd", self.tree())
        do("sqlite3 d.db 'create table t(a); with recursive c(x) as (select 1 union all select x+1 from c where x<50000) "
           "insert into t select x from c; select sum(a) from t; pragma integrity_check;'", "1250025000")
        do("openssl speed -seconds 1 -evp sha256 2>&1 | grep -c '^sha256 '", "1")
        do("head -c 20000000 /dev/zero | openssl enc -aes-256-ctr -K 00 -iv 00 2>/dev/null | sha256sum | cut -c1-8",
           self.keystream())
        do("strace -c ls / 2>&1 | grep -c total", "1")
        if MINUTES:
            seconds = int(MINUTES * 60 / 6)
            for stressor in "cpu", "vm", "fork", "pthread", "mmap", "signal":
                do(f"stress-ng --{stressor} 2 --timeout {seconds}s --verify --vm-bytes 200M 2>&1 | tail -n 3", "successful",
                   seconds * 4 + 240)
        do("dmesg | grep -iE 'warning:|bug:|oops|rcu.*stall|soft lockup|segfault' | sed 's,^,TROUBLE ,'; echo looked", "looked")
        c.type("poweroff\r")
        self.assertEqual(c.end(120), 0)
        bad = [line for line in plain(c.raw).splitlines() if TROUBLE.search(line) and "dmesg" not in line]
        self.assertEqual(bad, [])

    @staticmethod
    def tree():
        blob = "".join(f"{i}\n" for i in range(1, 5001)).encode()
        sha = hashlib.sha1(b"blob %d\0" % len(blob) + blob).digest()
        entry = b"100644 f\0" + sha
        return hashlib.sha1(b"tree %d\0" % len(entry) + entry).hexdigest()

    @staticmethod
    def keystream():
        r = subprocess.run("head -c 20000000 /dev/zero | openssl enc -aes-256-ctr -K 00 -iv 00 2>/dev/null | sha256sum | "
                           "cut -c1-8", shell=True, capture_output=True, text=True, check=True)
        return r.stdout.strip()


if __name__ == "__main__":
    if "--minutes" in sys.argv:
        i = sys.argv.index("--minutes")
        MINUTES = float(sys.argv[i + 1])
        del sys.argv[i:i + 2]
    unittest.main(verbosity=2)
