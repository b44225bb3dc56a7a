#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How an event best reaches a vCPU: an irqfd with the kernel's split or full interrupt controller, or KVM_INTERRUPT.

    tests/bench/kvm_events.py BUILD

Runs kvm_events.c in the virtual machine of tests/system/kvm with QEMU's -icount, so that its ticks are instructions
and a busy machine changes nothing. `kvm_events` by itself measures a host's own KVM, in real ticks."""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system", "kvm"))
import vm  # noqa: E402


def main():
    build = os.path.abspath(sys.argv[1])
    program = os.path.join(build, "tests", "bench", "kvm_events")
    with vm.Vm(build, programs=[program], icount=True) as machine:
        r = subprocess.run([sys.executable, os.path.join(vm.HERE, "remote.py"), program], stdin=subprocess.DEVNULL,
                           env={**os.environ, "PVV_VM": machine.path}, capture_output=True, text=True, check=False)
    if r.returncode:
        sys.exit(r.stdout + r.stderr)
    print("| | a vCPU that | instructions | exits | returns to the thread |\n|---|---|---|---|---|")
    for m in re.finditer(r"^(\w+) (\w+): (\d+) ticks \(least \d+\), ([\d.]+) exits, ([\d.]+) returns", r.stdout, re.M):
        print("| %s | %s | %s | %s | %s |" % m.groups())


if __name__ == "__main__":
    try:
        main()
    except vm.Missing as e:
        print("skipped:", e)
        sys.exit(77)
