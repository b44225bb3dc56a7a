#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""User programs that attack the ring3 executor's pages in their address space (guest/hostile.c): only they may die. And
each task of a domain's processes has its filter for system calls, and no descriptor but its own (doc/security.md).
$PVV_TEST_HOSTILE: only these attacks."""
import ctypes
import os
import pathlib
import re
import threading
import unittest

import linuxlib
from linuxlib import KERNELS, PROGRAMS, TROUBLE, initramfs, run

linuxlib.need_kernels()


def tasks(pid):
    """Those of the sandboxes below this process, (name, Seccomp of /proc/.../status, descriptors) by task."""
    out = {}
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        try:
            name, status = (task / "comm").read_text().strip(), (task / "status").read_text()
            if name in ("pvv:guest", "pvv-user"):
                fds = tuple(sorted(os.readlink(fd).split(" ")[0] for fd in (task / "fd").iterdir()))
                out[task.name] = (name, re.search(r"^Seccomp:\s+(\d)", status, re.M)[1], fds)
            for child in (task / "children").read_text().split():
                out.update(tasks(child))
        except OSError:
            continue  # it has ended meanwhile
    return out


def too_much(fds):
    """A program's task has nothing, or the memory and a descriptor of the other task's process."""
    others = [fd for fd in fds if "pidfd" not in fd and not fd.startswith("/memfd:")]
    return bool(others) or len(fds) > 2 or sum("pidfd" in fd for fd in fds) > 1 or sum("memfd" in fd for fd in fds) > 1


def shared_birth(pid):
    """Of a program's task: whether the page with its stub or with its filters is memory that the guest's kernel can change."""
    lines = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4})", pathlib.Path(f"/proc/{pid}/maps").read_text(), re.M)
    found = [rights for page in (0x10000, 0x11000) for a, b, rights in lines if int(a, 16) <= page < int(b, 16)]
    return len(found) == 2 and found != ["r-xp", "r--p"]


def has_userfaultfd():
    """With UFFD_USER_MODE_ONLY, and protection of shared memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(323, 1)
    if fd < 0:
        return False
    api = (ctypes.c_uint64 * 3)(0xaa, 1 << 0 | 1 << 7 | 1 << 10 | 1 << 12, 0)
    ok = libc.ioctl(fd, ctypes.c_ulong(0xc018aa3f), api) == 0
    os.close(fd)
    return ok


class Watch(threading.Thread):
    """Looks at the tasks while a guest runs: all that were seen, and those that had no filter, or too many descriptors, a
    second later, either."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen, self.bare, self.rich, self.open, self.stop = {}, [], [], [], threading.Event()

    def run(self):
        before, turn = {}, 0
        while not self.stop.wait(0.2):
            now = tasks(os.getpid())
            self.seen.update(now)
            turn += 1
            if turn % 5:
                continue
            self.bare += [t for t in now.items() if t[1][1] != "2" and before.get(t[0]) == t[1]]
            users = [t for t in now.items() if t[1][0] == "pvv-user" and before.get(t[0]) == t[1]]
            self.rich += [t for t in users if too_much(t[1][2])]
            for pid, _ in users:
                try:
                    self.open += [pid] if shared_birth(pid) else []
                except OSError:
                    continue  # it has ended meanwhile
            before = now


class Hostile(unittest.TestCase):
    def attack(self, how_many, cmdline="quiet", args=()):
        image = initramfs("--bare", "--name", "hostile", "--init", PROGRAMS / "hostile")
        watch = Watch()
        watch.start()
        code, out, err = run(KERNELS[0], image, cmdline, memory="512M", args=args, timeout=560)
        watch.stop.set()
        watch.join()
        self.assertEqual(code, 0, err + out[-1500:])
        self.assertIn("hostile: 0 failed", out)
        self.assertEqual(len(re.findall(r"^ok ", out, re.M)), how_many, out)
        bad = [line for line in out.splitlines() if TROUBLE.search(line) and "segfault" not in line]
        self.assertEqual(bad, [])
        if linuxlib.EXECUTOR != "ring3":
            print(f"not looked for with {linuxlib.EXECUTOR}: the tasks of ring3 and their filters")
            return
        for attack in re.findall(r"^ok (possessions|ghosts|fallen-ghosts)", out, re.M):
            self.assertRegex(out, rf"of \d+ {attack} there were [1-9]", "the attack does not work any more")
        names = [name for name, _, _ in watch.seen.values()]
        self.assertGreaterEqual(names.count("pvv:guest"), 2, "the vCPU and its nursery")
        self.assertGreaterEqual(names.count("pvv-user"), 2, "the two tasks of a program")
        self.assertEqual(watch.bare, [], "tasks without a filter")
        self.assertEqual(watch.rich, [], "tasks of programs with more than the memory and each other")
        self.assertEqual(watch.open, [], "tasks of programs whose filters or stub the guest's kernel can write to")
        mappers = [fds for name, _, fds in watch.seen.values() if name == "pvv-user" and any("pidfd" in fd for fd in fds)]
        self.assertNotEqual(mappers, [], "tasks that can interrupt a program")
        held = [fd for name, _, fds in watch.seen.values() for fd in fds if "userfaultfd" in fd and name == "pvv:guest"]
        if has_userfaultfd():
            self.assertNotEqual(held, [], "those that protect pages of programs (doc/adr/0017)")
        else:
            print("not looked for on this host: descriptors of userfaultfd")

    def test_all(self):
        only = os.environ.get("PVV_TEST_HOSTILE")
        if only:
            self.attack(len(only.split(",")), "quiet HOSTILE_ONLY=" + only)
        else:
            self.attack(17)

    def test_other_vcpus(self):
        """What the threads of a program can do to each other's vCPU."""
        self.attack(5, "quiet HOSTILE_ONLY=ghosts,falls,possessions,fallen-ghosts,claims", ["--vcpus", "2"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
