#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's kernels boot to a program of ours and end as they should; each kernel of the test cache."""
import re
import unittest

import linuxlib
from linuxlib import KERNELS, PROGRAMS, TROUBLE, initramfs, run

linuxlib.need_kernels()
# Warnings that the same kernels print on Xen 4.17, too (scripts/record-xen --linux); the last two only on a busy host
HARMLESS = re.compile(r"Grant table initialized|cpu \d+ spinlock event irq|ACPI: MPS support code is not built-in|"
                      r"CPU\d+: APIC id mismatch. Firmware: ffff|hrtimer: interrupt took|"
                      r"clocksource: Long readout interval|"
                      # on AMD's processors (--cpu Nehalem,vendor=AuthenticAMD,family=25,model=17)
                      r"PMU not available due to virtualization|amd_pstate: |Please enable it if your BIOS has the CPPC")


def memory(kernel):
    return "256M" if kernel.startswith("cloud") else "384M"


def trouble(out):
    return [line for line in out.splitlines() if TROUBLE.search(line) or
            (re.match("<[0-4]>", line) and not HARMLESS.search(line))]


class Boot(unittest.TestCase):
    def each(self, check, vcpus=(1,)):
        for kernel in KERNELS:
            for n in vcpus:
                with self.subTest(kernel=kernel, vcpus=n):
                    check(kernel, ("--vcpus", str(n)))

    def test_first_program(self):
        image = initramfs("--bare", "--name", "hello-init", "--init", PROGRAMS / "hello-init")

        def check(kernel, vcpus):
            code, out, err = run(kernel, image, memory=memory(kernel), args=vcpus)
            self.assertEqual(code, 0, err + out[-1000:])
            self.assertIn("hello from user mode", out)
        self.each(check, (1, 2))

    def test_steps(self):
        image = initramfs("--bare", "--name", "steps", "--init", PROGRAMS / "steps")

        def check(kernel, vcpus):
            code, out, err = run(kernel, image, memory=memory(kernel), args=vcpus)
            self.assertEqual(code, 0, err + out[-1000:])
            self.assertIn("failed 0", out)
            self.assertEqual(len(re.findall(r"^ok ", out, re.M)), 10, out)
        self.each(check)

    def test_log_is_clean(self):
        image = initramfs()

        def check(kernel, vcpus):
            code, out, err = run(kernel, image, 'quiet -- "dmesg -r; cat /proc/interrupts /proc/meminfo; mount; true"',
                                 memory=memory(kernel), args=vcpus)
            self.assertEqual(code, 0, err + out[-1000:])
            self.assertIn("pvv-exit-status: 0", out)
            self.assertIn("Hypervisor detected: Xen PV", out)
            self.assertEqual(trouble(out), [])
            self.assertIn(f"Brought up 1 node, {vcpus[1]} CPU", out)
        self.each(check, (1, 2, 4))

    def test_many_vcpus(self):
        """More than the host has processors: each is there, and programs run on each."""
        image = initramfs()
        for kernel, n in [(KERNELS[0], 32)] + [(k, 8) for k in KERNELS]:
            with self.subTest(kernel=kernel, vcpus=n):
                # (field 39 of stat: the processor)
                script = (f"i=0; while [ $i -lt {n} ]; do taskset -c $i cut -d' ' -f39 /proc/self/stat & i=$((i+1)); done; wait; "
                          "dmesg -r")
                code, out, err = run(kernel, image, f'quiet -- "{script}"', memory="384M", args=("--vcpus", str(n)))
                self.assertEqual(code, 0, err + out[-1000:])
                self.assertIn("pvv-exit-status: 0", out)
                self.assertIn(f"Brought up 1 node, {n} CPUs", out)
                self.assertEqual(sorted(int(s) for s in re.findall(r"^(\d+)$", out, re.M)), list(range(n)))
                self.assertEqual(trouble(out), [])

    def test_entropy(self):
        """/dev/random does not block, and two guests do not draw the same."""
        image = initramfs()
        seen = set()
        for _ in range(2):
            code, out, err = run(KERNELS[0], image, 'quiet -- "head -c 16 /dev/random | md5sum; dmesg | grep crng"',
                                 memory=memory(KERNELS[0]))
            self.assertEqual(code, 0, err + out[-1000:])
            self.assertIn("crng init done", out)
            seen |= set(re.findall(r"^([0-9a-f]{32})  -", out, re.M))
        self.assertEqual(len(seen), 2)

    def test_compressed(self):
        for how in "gz", "zst":
            image = initramfs("--compress", how)
            code, out, err = run(KERNELS[0], image, 'quiet -- "echo it is $((6*7))"', memory=memory(KERNELS[0]))
            self.assertEqual(code, 0, err + out[-1000:])
            self.assertIn("it is 42", out)

    def test_memory(self):
        """What the domain has is what the kernel sees, but for its own share."""
        image = initramfs()
        for size in 192, 1024, 3072:
            _code, out, err = run(KERNELS[0], image, 'quiet -- "cat /proc/meminfo"', memory=f"{size}M")
            total = re.search(r"MemTotal:\s+(\d+) kB", out)
            self.assertTrue(total, err + out[-1000:])
            self.assertGreater(int(total[1]), (size - 80 - size // 16) * 1024)
            self.assertLessEqual(int(total[1]), size * 1024)

    def test_panic_is_a_crash(self):
        image = initramfs()
        code, out, err = run(KERNELS[0], image, 'quiet rdinit=/nonexistent root=/dev/none')
        self.assertEqual(code, 10, err + out[-1000:])
        self.assertIn("Kernel panic", out)
        code, out, err = run(KERNELS[0], image, 'quiet -- "echo c >/proc/sysrq-trigger"')
        self.assertEqual(code, 10, err + out[-1000:])
        self.assertIn("sysrq", out.lower())

    def test_reboot(self):
        image = initramfs()
        code, out, err = run(KERNELS[0], image, 'quiet -- "reboot -f"', args=["--no-reboot"])
        self.assertEqual(code, 0, err + out[-1000:])

    def test_exit_status_of_a_command(self):
        code, out, _err = run(KERNELS[0], initramfs(), 'quiet -- "exit 7"')
        self.assertEqual(code, 0)
        self.assertIn("pvv-exit-status: 7", out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
