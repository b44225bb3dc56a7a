#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Boot one guest of guests.tbl by `pvvirt run` and compare its console with Xen's transcript.

    run.py PVVIRT BUILDDIR GUEST

expected/GUEST.txt is what Xen showed. expected/GUEST.differs, when there is one, holds blocks of

    # why
    -a regular expression for lines of Xen's transcript
    +what stands there instead with us (\\1 allowed; nothing: the line is missing)

A line `?AuthenticAMD` or `?GenuineIntel` says for which processors the rules of its block are; a block ends where the next
begins with #.

Exit: 0 same, 1 different, 77 skipped (with the reason).
"""
import difflib
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guestlib  # noqa: E402
import netpeer  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
# $PVV_TEST_EXECUTOR: how to run the guest; "auto" is ring3 where the tests run. $PVV_TEST_SLOW: how much longer to wait.
EXECUTOR = os.environ.get("PVV_TEST_EXECUTOR", "auto")
# $PVV_TEST_BRIEF_TURNS: "no", or as usual.
SLOW = int(os.environ.get("PVV_TEST_SLOW", "1"))
# exit status of `pvvirt run` by how the guest ends
STATUS = {"poweroff": 0, "crash": 10, "watchdog": 10, "timeout": 11}


def vendor():
    """Of the processor that guests run on: QEMU's TCG plays one of AMD's where there is a virtual machine between."""
    if os.environ.get("PVV_VM"):
        return "AuthenticAMD"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        return next((line.split()[-1] for line in f if line.startswith("vendor_id")), "")


def differs(name, source):
    """The rules of the guest, or else those of the guest with the name of its source. Those for one executor only
    are in NAME.EXECUTOR.differs, which replaces NAME.differs."""
    for path in [os.path.join(HERE, "expected", n + e + ".differs") for n in (name, source)
                 for e in ("." + EXECUTOR, "")]:
        if os.path.exists(path):
            break
    rules, old, ours = [], None, True
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            for line in f:
                line = line.rstrip("\n")
                if line.startswith("#"):
                    ours = True
                elif line.startswith("?"):
                    ours = line[1:] == vendor()
                elif not ours:
                    continue
                elif line.startswith("-"):
                    if old is not None:
                        rules.append((old, None))
                    old = line[1:]
                elif line.startswith("+"):
                    rules.append((old, line[1:]))
                    old = None
        if old is not None:
            rules.append((old, None))
    return [(re.compile(a), b) for a, b in rules]


def expected(name, source):
    with open(os.path.join(HERE, "expected", name + ".txt"), "rb") as f:
        lines = f.read().decode("utf-8", "replace").split("\n")
    rules = differs(name, source)
    used = set()
    out = []
    for line in lines:
        for i, (pattern, new) in enumerate(rules):
            m = pattern.fullmatch(line)
            if m:
                used.add(i)
                line = None if new is None else m.expand(new)
                break
        if line is not None:
            out.append(line)
    for i, (pattern, _) in enumerate(rules):
        if i not in used:
            print("%s.differs: no line of Xen's is like %s" % (name, pattern.pattern))
            sys.exit(1)
    return out


def play(script, proc, seen):
    """Runs the lines of a .input file: expect, send, wait."""
    for line in script.splitlines():
        verb, _, rest = line.partition(" ")
        if verb == "expect":
            while rest.encode() not in seen[0] and proc.poll() is None:
                time.sleep(0.02)
        elif verb == "send":
            proc.stdin.write(rest.encode().decode("unicode_escape").encode("latin-1"))
            proc.stdin.flush()
        elif verb == "wait":
            time.sleep(float(rest))


def run(pvvirt, guest, work):
    cmd = [pvvirt, "run", "--kernel", guest.image, "--memory", "%dM" % guest.memory,
           "--console", "stdio", "--no-reboot", "--timeout", str(guest.timeout), "--executor", EXECUTOR]
    if "PVV_TEST_BRIEF_TURNS" in os.environ:
        cmd += ["--brief-turns", os.environ["PVV_TEST_BRIEF_TURNS"]]
    if guest.vcpus > 1:
        cmd += ["--vcpus", str(guest.vcpus)]
    for i, disk in enumerate(guest.disks):
        path = os.path.join(work, "disk%d" % i)
        with open(path, "wb") as f:
            f.write(disk.content())
        cmd += ["--disk", "%s,%s%s" % (path, disk.target, ",ro" if disk.readonly else "")]
    peer = None
    if guest.net:
        mine, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        netpeer.serve(mine)
        cmd += ["--net", "fd=%d,mac=00:16:3e:11:22:33" % peer.fileno()]
    if guest.cmdline:
        cmd += ["--cmdline", guest.cmdline]
    proc = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, pass_fds=[peer.fileno()] if peer else [])
    seen, errors = [b""], []

    def reader():
        while True:
            chunk = os.read(proc.stdout.fileno(), 65536)
            if not chunk:
                return
            seen[0] += chunk

    threads = [threading.Thread(target=reader, daemon=True),
               threading.Thread(target=lambda: errors.append(proc.stderr.read()), daemon=True)]
    if guest.input:
        threads.append(threading.Thread(target=play, args=(guest.input, proc, seen), daemon=True))
    for t in threads:
        t.start()
    try:
        proc.wait(guest.timeout + 20)
    except subprocess.TimeoutExpired:
        proc.kill()
        proc.wait()
        print("pvvirt did not end %d s after its own --timeout" % 20)
    for t in threads[:2]:
        t.join(5)
    return seen[0], proc.returncode, b"".join(errors)


def main():
    if len(sys.argv) != 4:
        print(__doc__)
        return 2
    pvvirt, build, name = sys.argv[1:]
    guest = guestlib.load(build, [name])[0]
    if guest.exit != "timeout":
        guest.timeout *= SLOW
    if guest.image == "grub":
        guest.image = guestlib.grub()
        if not guest.image:
            print("skipped: no PV GRUB; scripts/fetch-guests fetches it")
            return 77
    with tempfile.TemporaryDirectory(prefix="guest-") as work:
        raw, status, errors = run(pvvirt, guest, work)
    got = guestlib.clean(raw).decode("utf-8", "replace").split("\n")
    want = expected(name, guest.source)
    bad = 0
    if got != want:
        sys.stdout.write("\n".join(difflib.unified_diff(want, got, "Xen", "pvvirt", lineterm="",
                                                        n=2)) + "\n")
        bad = 1
    if guest.exit in STATUS and status != STATUS[guest.exit]:
        print("exit status %s; %s should give %d" % (status, guest.exit, STATUS[guest.exit]))
        bad = 1
    if guest.exit == "crash" and not errors.strip():
        print("a crashed guest needs its reason on stderr")
        bad = 1
    if bad and errors:
        sys.stdout.write(errors.decode("utf-8", "replace"))
    return bad


if __name__ == "__main__":
    sys.exit(main())
