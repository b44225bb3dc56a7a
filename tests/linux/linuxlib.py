# SPDX-License-Identifier: MIT
"""What the tests of this folder share: initramfs images, running a kernel, a console to talk to."""
import os
import pathlib
import re
import subprocess
import sys
import time

TOP = pathlib.Path(os.environ.get("PVV_SOURCE_ROOT", pathlib.Path(__file__).resolve().parents[2]))
PVVIRT = os.environ.get("PVV_PVVIRT", str(TOP / "build/pvvirt"))
PROGRAMS = pathlib.Path(os.environ.get("PVV_LINUX", TOP / "build/tests/linux"))
# `tests/system/kvm` runs these tests once more, with another executor and not with every kernel.
EXECUTOR = os.environ.get("PVV_TEST_EXECUTOR", "ring3")
# "no": programs are executed by processes of their own only
BRIEF_TURNS = os.environ.get("PVV_TEST_BRIEF_TURNS")
SLOW = int(os.environ.get("PVV_TEST_SLOW", "1"))
CACHE = pathlib.Path(subprocess.run([TOP / "scripts/fetch-guests", "--dir"], capture_output=True, text=True,
                                    check=True).stdout.strip())
KERNELS = [k + v for v in ("", "-6.12") for k in ("cloud", "amd64", "rt") if (CACHE / f"vmlinuz-{k}{v}").exists()]
KERNELS = [k for k in KERNELS if k in os.environ.get("PVV_TEST_KERNELS", " ".join(KERNELS)).split()]
# What the log of a healthy kernel does not have
TROUBLE = re.compile(r"WARNING:|BUG:|Oops|Call Trace|Kernel panic|rcu.*stall|hung task|soft lockup|segfault|"
                     r"general protection|unable to handle|Unhandled|call_trap|Spectre.*Vulnerable", re.I)


def need_kernels():
    if not KERNELS:
        print("skipped: no kernel; run scripts/fetch-guests cloud amd64 rt cloud-6.12 busybox")
        sys.exit(77)
    if not (CACHE / "busybox").exists():
        try:
            subprocess.run([TOP / "scripts/fetch-guests", "busybox"], check=True, stdout=subprocess.DEVNULL)
        except subprocess.CalledProcessError:
            print("skipped: no busybox; run scripts/fetch-guests busybox")
            sys.exit(77)


def initramfs(*args):
    r = subprocess.run([TOP / "scripts/mkinitramfs", *map(str, args)], capture_output=True, text=True)
    if r.returncode:
        raise RuntimeError(r.stderr)
    return r.stdout.strip()


def command(kernel, initrd, cmdline, memory="256M", *args):
    return [PVVIRT, "run", "--executor", EXECUTOR, "--kernel", str(CACHE / f"vmlinuz-{kernel}"), "--initrd", initrd,
            "--memory", memory, "--cmdline", "console=hvc0 " + cmdline,
            *(["--brief-turns", BRIEF_TURNS] if BRIEF_TURNS else []), *args]


def run(kernel, initrd, cmdline="quiet", memory="256M", args=(), timeout=240, wrapper=()):
    """Runs until the guest ends. (exit status, console as text, stderr)"""
    timeout *= SLOW
    r = subprocess.run([*wrapper, *command(kernel, initrd, cmdline, memory, "--timeout", str(timeout), *args)],
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout + 30)
    return r.returncode, plain(r.stdout), r.stderr.decode()


def beside(*words):
    """A program on the machine that runs the guests, a virtual one in tests/system/kvm; settings may be in front of it."""
    env = {k: v for k, v in os.environ.items() if k != "PVV_VM_PROGRAM"}
    return subprocess.run([PVVIRT if "PVV_VM" in env else "env", *map(str, words)], env=env, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace")


def bring_back(path):
    """What the guest left in its disk image, if that machine is a virtual one."""
    if "PVV_VM" in os.environ:
        subprocess.run([PVVIRT, "--get", path], check=True, stdin=subprocess.DEVNULL)


def plain(raw):
    return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", raw).replace(b"\r", b"").decode("latin-1")


class Console:
    """A guest whose console is typed at."""

    def __init__(self, words):
        self.p = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.set_blocking(self.p.stdout.fileno(), False)
        self.raw, self.at = b"", 0

    def expect(self, text, limit=180 * SLOW):
        """Waits for the text behind what was expected last; the console up to there."""
        end = time.monotonic() + limit
        while True:
            seen = plain(self.raw)
            found = seen.find(text, self.at)
            if found >= 0:
                before = seen[self.at:found]
                self.at = found + len(text)
                return before
            chunk = self.p.stdout.read()
            if chunk:
                self.raw += chunk
            elif chunk == b"" or time.monotonic() > end:
                raise AssertionError(f"{text!r} was not seen in {seen[self.at:][-2000:]!r}")
            else:
                time.sleep(0.02)

    def type(self, text):
        self.p.stdin.write(text.encode())
        self.p.stdin.flush()

    def end(self, limit=60 * SLOW):
        os.set_blocking(self.p.stdout.fileno(), True)
        end = time.monotonic() + limit
        while self.p.poll() is None and time.monotonic() < end:
            chunk = os.read(self.p.stdout.fileno(), 65536)
            self.raw += chunk
            if not chunk:
                break
        status = self.p.wait(limit)
        for f in (self.p.stdin, self.p.stdout, self.p.stderr):
            f.close()
        return status
