#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Path lengths: instructions that an operation takes, guest and hypervisor together, the same guest on both.

    tests/bench/paths.py BUILD [--xen]

QEMU's -icount makes a virtual nanosecond, and a tick of the time-stamp counter, of each instruction; the guest `exits`
(command line "cost") counts ticks. So a busy machine changes nothing. Once with the kvm executor, in the virtual machine
of tests/system/kvm; with --xen also with Xen 4.17, by scripts/record-xen (some ten minutes)."""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(TOP, "tests", "system", "kvm"))
import vm  # noqa: E402

NAMES = {"hypercall": "null hypercall", "syscall": "null system call: user, kernel, user", "trap": "int3 bounce and iret",
         "fault": "page fault bounce and iret", "update": "16 page-table updates, and invlpg",
         "switch": "both roots, stack_switch, set_segment_base", "upcall": "event to itself, upcall and iret"}


def costs(text):
    return {m[1]: float(m[2]) for m in re.finditer(r"^(\w+): ([\d.]+)\r?$", text, re.M)}


def under_kvm(build, guest):
    with vm.Vm(build, files=[guest], icount=True) as machine:
        return subprocess.run(
            [sys.executable, os.path.join(vm.HERE, "remote.py"), os.path.join(build, "pvvirt"), "run", "--executor", "kvm",
             "--kernel", guest, "--memory", "64M", "--cmdline", "cost", "--console", "stdio", "--no-reboot"],
            env={**os.environ, "PVV_VM": machine.path, "PVV_VM_HAS": guest}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=True).stdout


def under_xen(build, guest):
    return subprocess.run([os.path.join(TOP, "scripts", "record-xen"), "--build", build, "--icount", "--cmdline", "cost",
                           guest], capture_output=True, text=True, check=True).stdout


def main():
    build = os.path.abspath(sys.argv[1])
    guest = os.path.join(build, "tests", "guest", "exits.elf")
    kvm = costs(under_kvm(build, guest))
    xen = costs(under_xen(build, guest)) if "--xen" in sys.argv else {}
    print("| operation | libpvvirt, kvm | Xen 4.17 |\n|---|---|---|")
    for key, name in NAMES.items():
        print("| %s | %.0f | %s |" % (name, kvm[key], "%.0f" % xen[key] if key in xen else ""))


if __name__ == "__main__":
    try:
        main()
    except vm.Missing as e:
        print("skipped:", e)
        sys.exit(77)
