# SPDX-License-Identifier: MIT
"""A Debian 12 guest (scripts/mkroot) at whose root prompt commands are typed: for debian.py and soak."""
import hashlib
import os
import pathlib
import subprocess
import tempfile

from linuxlib import CACHE, TROUBLE, Console, command, initramfs, plain

IMAGE = CACHE / "debian-12-root.ext4"
FULL = CACHE / "debian-12-full.ext4"
PROMPT = "root@guest:~# "
# What no log of a guest in which programs only do what they should has.
LOG = "dmesg | grep -iE 'warning:|bug:|oops|rcu.*stall|soft lockup|segfault|general protection|trap |out of memory'"


class Wrong(AssertionError):
    """The guest said something else than it should."""


class Guest:
    """Boots a copy of the image; the copy goes with the object (a context manager)."""

    def __init__(self, image, memory="1G", vcpus=1, timeout=900, kernel="cloud", disks=(), cmdline=""):
        self.tmp = tempfile.TemporaryDirectory(prefix="pvv-debian-", dir=os.environ.get("TMPDIR", "/var/tmp"))
        self.disk = pathlib.Path(self.tmp.name) / "root.img"
        subprocess.run(["cp", "--sparse=always", image, self.disk], check=True)
        rd = initramfs("--kernel", kernel, "--module", "xen-blkfront", "--module", "xen-netfront", "--name", "root")
        more = [w for i, d in enumerate(disks) for w in ("--disk", f"{d},xvd{chr(ord('b') + i)},ro")]
        self.console = Console(command(kernel, rd, "root=/dev/xvda " + cmdline, memory, "--vcpus", str(vcpus), "--disk",
                                       f"{self.disk},xvda", *more, "--timeout", str(timeout)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.console.p.poll() is None:
            self.console.p.kill()
            self.console.p.wait()
        self.tmp.cleanup()

    def login(self, limit=300):
        self.console.expect("guest login: ", limit)
        self.console.type("root\r")
        self.console.expect(PROMPT)
        # (the kernel's messages would come in between: check_log() looks at them)
        self.console.type("dmesg -n 1; export PAGER=cat TERM=dumb; bind 'set enable-bracketed-paste off'; stty -echo\r")
        self.console.expect(PROMPT)

    def do(self, line, answer="", limit=240):
        """Types a command and returns what it said, which must have `answer` in it."""
        self.console.type(line + "\r")
        out = self.console.expect(PROMPT, limit)
        if answer not in out:
            raise Wrong(f"{line}\n  should have said {answer!r}, but said:\n{out[-3000:]}")
        return out

    def write(self, name, text):
        self.do(f"cat >{name} <<'EOT'\n" + text.expandtabs(2).replace("\n", "\r") + "\nEOT")

    def check_log(self, allowed=None):
        """The kernel's log has nothing that it should not have."""
        out = self.do(LOG + "; true")
        bad = [line for line in out.splitlines() if not (allowed and allowed.search(line))]
        if bad:
            raise Wrong("in the guest's log: " + "\n".join(bad))

    def poweroff(self, allowed=None):
        """Down again; the file system is clean then. On the console nothing was said but what is allowed."""
        self.console.type("poweroff\r")
        status = self.console.end(120)
        if status:
            raise Wrong(f"pvvirt ended with status {status}")
        bad = [line for line in plain(self.console.raw).splitlines() if TROUBLE.search(line) and "dmesg" not in line
               and not (allowed and allowed.search(line))]
        if bad:
            raise Wrong("on the console: " + "\n".join(bad))
        path = os.environ["PATH"] + ":/sbin:/usr/sbin"
        r = subprocess.run(["e2fsck", "-fn", self.disk], capture_output=True, text=True, env={**os.environ, "PATH": path})
        if r.returncode:
            raise Wrong(r.stdout)


PROGRAM = r"""#include <stdio.h>
#include <math.h>
int main(void) { double s = 0; for (int i = 1; i < 1000000; i++) s += 1 / ((double)i * i); printf("pi %.5f\n", sqrt(s * 6)); }"""


def tree():
    """What git calls a tree with a file f of the numbers to 5000."""
    blob = "".join(f"{i}\n" for i in range(1, 5001)).encode()
    sha = hashlib.sha1(b"blob %d\0" % len(blob) + blob).digest()
    entry = b"100644 f\0" + sha
    return hashlib.sha1(b"tree %d\0" % len(entry) + entry).hexdigest()


ENCRYPT = "head -c 20000000 /dev/zero | openssl enc -aes-256-ctr -K 00 -iv 00 2>/dev/null | sha256sum | cut -c1-8"


def working_day(g):
    """Real programs, each with a result that is known."""
    g.do("systemctl is-system-running --wait", "running", 300)
    g.do("systemctl --failed --no-legend | wc -l", "0")
    g.do("apt-get --version", "apt 2.")
    g.do("python3 -c 'import hashlib; print(hashlib.sha256(bytes(10**7)).hexdigest())'",
         hashlib.sha256(bytes(10**7)).hexdigest())
    g.do("python3 -c 'import json, threading; t = [threading.Thread(target=json.dumps, args=(list(range(9999)),)) "
         "for _ in range(20)]; [x.start() for x in t]; [x.join() for x in t]; print(2**521 - 1)'", str(2**521 - 1))
    g.write("p.c", PROGRAM)
    g.do("gcc -O2 -o p p.c -lm && ./p", "pi 3.14159")
    g.do("rm -rf r; git init -q r && cd r && git config user.email a@b && git config user.name n && seq 5000 >f && git add f "
         "&& git commit -qm one && git rev-parse HEAD^{tree}; cd", tree())
    g.do("rm -f d.db; sqlite3 d.db 'create table t(a); with recursive c(x) as (select 1 union all select x+1 from c where "
         "x<50000) insert into t select x from c; select sum(a) from t; pragma integrity_check;'", "1250025000\nok")
    g.do("openssl speed -seconds 1 -evp sha256 2>&1 | grep -c '^sha256 '", "1")
    g.do(ENCRYPT, subprocess.run(ENCRYPT, shell=True, capture_output=True, text=True, check=True).stdout.strip())
    g.do("strace -c ls / 2>&1 | grep -c total", "1")
