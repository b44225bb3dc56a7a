#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The kernel's whole log beside that of the same kernel on real Xen (expected/dmesg-KERNEL.txt), line by line.

    tests/linux/transcript.py                   the test
    tests/linux/transcript.py --record KERNEL   ask real Xen again (scripts/record-xen; minutes)

What may differ stands with its reason in expected/dmesg.differs."""
import difflib
import os
import pathlib
import re
import subprocess
import sys
import unittest

import linuxlib
from linuxlib import KERNELS, TOP, initramfs, run

FOLDER = pathlib.Path(__file__).resolve().parent / "expected"
CMDLINE, VCPUS, MEMORY = 'quiet -- "dmesg -r"', "2", "384"
MORE = os.environ.get("PVV_TEST_DIFFERS")  # of tests/system/kvm: what another processor changes
RECORDED = sorted(p.stem[len("dmesg-"):] for p in FOLDER.glob("dmesg-*.txt"))


class Rule:
    def __init__(self, number, line):
        kind, pattern = line.split(" ", 1)
        self.kind, self.may, self.text = kind[0], kind.endswith("?"), f"{number}: {line}"
        self.re, self.used = re.compile(pattern), 0


def rules():
    files = [FOLDER / "dmesg.differs"] + ([pathlib.Path(MORE)] if MORE else [])
    return [Rule(f"{f.name}:{i}", line) for f in files for i, line in enumerate(f.read_text().splitlines(), 1)
            if line and not line.startswith("#")]


def lines_of(console, masks):
    """The messages of `dmesg -r` without time stamps; a mask's groups are replaced."""
    out = []
    for line in console.replace("\r", "").splitlines():
        m = re.match(r"<\d+>\[ *[0-9.]+\] (.*)", line)
        if not m:
            continue
        text = m[1].rstrip()
        for mask in masks:
            found = mask.re.search(text)
            if found:
                mask.used += 1
                for i in range(len(found.groups()), 0, -1):
                    if found[i] is not None:
                        text = text[:found.start(i)] + "#" + text[found.end(i):]
        out.append(text)
    return out


def first(rule_list, line):
    return next((r for r in rule_list if r.re.search(line)), None)


def differences(xen, ours, rule_list):
    """Lines that no rule explains, as a diff has them."""
    masks = [r for r in rule_list if r.kind == "~"]
    moves = [r for r in rule_list if r.kind == "@"]
    sides = {"-": [r for r in rule_list if r.kind == "-"], "+": [r for r in rule_list if r.kind == "+"]}
    a, b = lines_of(xen, masks), lines_of(ours, masks)
    bad = []

    def one_sided(line):
        rule = first(sides[line[0]], line[2:])
        if rule:
            rule.used += 1
        else:
            bad.append(line)

    # Those that come at any time: once on each side, wherever. (Others that are one-sided have a rule of their own.)
    moved = [{line for line in side if first(moves, line)} for side in (a, b)]
    for line in moved[0] | moved[1]:
        first(moves, line).used += 1
        if (line in moved[0]) != (line in moved[1]):
            one_sided(("- " if line in moved[0] else "+ ") + line)
    a = [line for line in a if line not in moved[0]]
    b = [line for line in b if line not in moved[1]]
    for line in difflib.ndiff(a, b, linejunk=None, charjunk=None):
        if line[0] in sides:
            one_sided(line)
    return bad


class Transcript(unittest.TestCase):
    def test_log_is_that_of_xen(self):
        rule_list, compared = rules(), 0
        for kernel in RECORDED:
            with self.subTest(kernel=kernel):
                xen = (FOLDER / f"dmesg-{kernel}.txt").read_text()
                if kernel not in KERNELS:
                    print(f"not compared: {kernel}: scripts/fetch-guests {kernel}")
                    continue
                code, out, err = run(kernel, initramfs(), CMDLINE, MEMORY + "M", ["--vcpus", VCPUS])
                self.assertEqual(code, 0, err + out[-1000:])
                version = [re.search(r"Linux version [^\n]*", log)[0].rstrip() for log in (xen, out)]
                if version[0] != version[1]:
                    print(f"not compared: {kernel} is another one now; tests/linux/transcript.py --record {kernel}")
                    continue
                compared += 1
                self.assertEqual(differences(xen, out, rule_list), [], "see expected/dmesg.differs")
        if not compared:
            self.skipTest("no kernel of which there is a record (scripts/fetch-guests cloud amd64)")
        if compared == len(RECORDED):
            self.assertEqual([r.text for r in rule_list if not r.used and not r.may], [], "rules that nothing needs")


def record(kernel):
    r = subprocess.run([TOP / "scripts/record-xen", "--linux", kernel, "--initrd", initramfs(), "--cmdline",
                        "console=hvc0 " + CMDLINE, "--vcpus", VCPUS, "--memory", MEMORY, "--timeout", "900"],
                       capture_output=True, text=True)
    log = [line.rstrip() for line in r.stdout.splitlines() if re.match(r"<\d+>\[", line)]
    if r.returncode or len(log) < 100:
        print(r.stderr + r.stdout[-1000:])
        return 1
    (FOLDER / f"dmesg-{kernel}.txt").write_text("\n".join(log) + "\n")
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--record"]:
        sys.exit(record(sys.argv[2]))
    linuxlib.need_kernels()
    unittest.main(verbosity=2)
