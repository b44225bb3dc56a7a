#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measure libpvvirt as a whole: the hot paths from inside a guest (bench-guest), PV GRUB to its prompt,
what an idle guest costs. Prints one line per number with its goal and, where it makes sense, the ratio
to the host's own cost of the same thing in the same run.

    tests/bench/guest.py BUILD [--markdown]
"""
import glob
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

build = pathlib.Path(sys.argv[1])
pvvirt = build / "pvvirt"
cache = pathlib.Path(os.environ.get("PVV_TEST_CACHE", "/var/cache/libpvvirt-test"))
rows = []


def row(name, value, unit, goal="", native=None):
    ratio = f"{value / native:.2f}x of the host's {native:.3g}" if native else ""
    rows.append((name, f"{value:.4g} {unit}", goal, ratio))
    print(f"{name:<34} {value:>10.4g} {unit:<6} {('goal ' + goal) if goal else '':<18} {ratio}", flush=True)


def native_ns(code, setup, number):
    import timeit
    return min(timeit.repeat(code, setup, number=number, repeat=7)) / number * 1e9


def host_signal_and_syscall():
    """ns of a getpid and of a SIGSEGV round trip on this host, by a small C program."""
    src = r"""
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <sys/syscall.h>
static void h(int s, siginfo_t *i, void *c) { ((ucontext_t *)c)->uc_mcontext.gregs[REG_RIP] += 2; }
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
int main(void)
{
	struct sigaction sa = {.sa_sigaction = h, .sa_flags = SA_SIGINFO | SA_NODEFER};
	double g = 1e9, f = 1e9;
	sigaction(SIGSEGV, &sa, 0);
	for (int r = 0; r < 7; r++) {
		double a = now();
		for (int i = 0; i < 100000; i++) syscall(SYS_getpid);
		double b = now();
		for (int i = 0; i < 20000; i++) __asm__ volatile("movb (%0), %%al" : : "a"(16ul));
		double c = now();
		if ((b - a) / 100000 < g) g = (b - a) / 100000;
		if ((c - b) / 20000 < f) f = (c - b) / 20000;
	}
	printf("%f %f\n", g, f);
}
"""
    with tempfile.TemporaryDirectory() as tmp:
        (pathlib.Path(tmp) / "n.c").write_text(src)
        subprocess.run(["cc", "-D_GNU_SOURCE", "-O2", "-o", tmp + "/n", tmp + "/n.c"], check=True)
        out = subprocess.run([tmp + "/n"], check=True, capture_output=True, text=True).stdout.split()
    return float(out[0]), float(out[1])


def bench_guest():
    getpid, segv = host_signal_and_syscall()
    row("host getpid", getpid, "ns")
    row("host SIGSEGV round trip", segv, "ns")
    goals = {
        "null_hypercall": ("<= 60 ns", getpid), "exception_ud2": ("<= 2500 ns", segv),
        "exception_int3": ("<= 2500 ns", segv), "exception_page_fault": ("<= 2500 ns", segv),
        "exception_divide": ("<= 2500 ns", segv), "mmu_update_each_of_512": ("<= 20 ns", None),
        "block_read_sequential": (">= 1000 MB/s", None),
    }
    with tempfile.TemporaryDirectory() as tmp:
        disk = os.path.join(tmp, "disk")
        with open(disk, "wb") as f:
            for _ in range(256):
                f.write(os.urandom(1 << 20))
        out = subprocess.run([pvvirt, "run", "--kernel", build / "tests/bench/bench-guest.elf", "--memory", "64M",
                              "--disk", disk, "--timeout", "120"], stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, timeout=180)
    for line in out.stdout.splitlines():
        m = re.match(r"(\w+) ([\d.]+) (ns|MB/s)\s*$", line)
        if m:
            goal, native = goals.get(m.group(1), ("", None))
            row(m.group(1), float(m.group(2)), m.group(3), goal, native)
        elif line.strip():
            print("guest:", line)
    if out.returncode:
        sys.exit(f"bench-guest: exit {out.returncode}: {out.stderr}")


def sandbox_of(pid):
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        for child in open(path).read().split():
            return int(child)
    return None


def cpu_ns(pid):
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        total += int(open(path).read().split()[0])
    return total


def grub_boot():
    grub = cache / "grub-x86_64-xen.bin"
    if not grub.exists():
        print(f"skipped: GRUB; {grub} is missing (scripts/fetch-guests grub)")
        return
    best_wall, best_cpu, idle, memory = 1e9, 1e9, 1e9, 0
    for attempt in range(5):
        begin = time.monotonic()
        p = subprocess.Popen([pvvirt, "run", "--kernel", grub, "--memory", "64M"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
        seen = b""
        while b"grub> " not in seen:
            chunk = os.read(p.stdout.fileno(), 65536)
            assert chunk, seen
            seen += chunk
        best_wall = min(best_wall, time.monotonic() - begin)
        box = sandbox_of(p.pid)
        best_cpu = min(best_cpu, (cpu_ns(p.pid) + cpu_ns(box)) / 1e9)
        if attempt == 0:
            time.sleep(1)
            a = cpu_ns(p.pid) + cpu_ns(box)
            time.sleep(5)
            idle = (cpu_ns(p.pid) + cpu_ns(box) - a) / 5e9 * 100
            for line in open(f"/proc/{box}/status"):
                if line.startswith(("RssAnon", "VmPTE")):
                    memory += int(line.split()[1])
        p.stdin.write(b"halt\r")
        p.stdin.flush()
        p.stdout.read()
        p.wait()
    row("GRUB to its prompt, wall", best_wall * 1000, "ms")
    row("GRUB to its prompt, CPU", best_cpu * 1000, "ms", "<= 500 ms")
    row("GRUB idle at its prompt", idle, "%", "<= 1 % of a core")
    row("sandbox beyond RAM", memory / 1024, "MiB", "<= 16 MiB")


print("#", time.strftime("%Y-%m-%d"), os.uname().release, open("/proc/cpuinfo").read().split("model name\t: ")[1].split("\n")[0])
bench_guest()
grub_boot()
if "--markdown" in sys.argv:
    print("\n| what | measured | goal | |\n|---|---|---|---|")
    for r in rows:
        print("| " + " | ".join(r) + " |")
