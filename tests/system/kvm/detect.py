#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the probe says of this host must be true: `auto` and `kvm` agree with it, and a processor without VMX and SVM
has no KVM that guests can rely on, whatever /dev/kvm says."""
import json
import subprocess
import sys
import time

PVVIRT, HELLO = sys.argv[1:]


def run(executor):
    return subprocess.run([PVVIRT, "run", "--executor", executor, "--kernel", HELLO, "--memory", "64M", "--console", "stdio",
                           "--no-reboot", "--timeout", "60"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)


def main():
    took = []
    for _ in range(3):
        start = time.monotonic()
        out = subprocess.run([PVVIRT, "host", "--json"], capture_output=True, text=True, check=True).stdout
        took.append(time.monotonic() - start)
    assert min(took) < 2, "the probe of this host takes %.1f s" % min(took)
    doc = json.loads(out)
    kvm = {e["name"]: e for e in doc["executors"]}["kvm"]
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        flags = next((line.split() for line in f if line.startswith("flags")), [])
    print("kvm:", kvm["reason"] or "available")
    if "vmx" not in flags and "svm" not in flags:
        assert not kvm["available"], "there is neither VMX nor SVM, and yet KVM is trusted"
    explicit, auto = run("kvm"), run("auto")
    assert auto.returncode == 0 and "Hello, world!" in auto.stdout, auto.stderr
    text = subprocess.run([PVVIRT, "host"], capture_output=True, text=True, check=True).stdout
    if kvm["available"]:
        assert explicit.returncode == 0 and "Hello, world!" in explicit.stdout, explicit.stderr
        assert "'auto' chooses: kvm" in text, text
    else:
        assert kvm["reason"] and kvm["reason"] in explicit.stderr, explicit.stderr
        assert explicit.returncode == 1, explicit.returncode
        assert "'auto' chooses: ring3" in text, text


main()
