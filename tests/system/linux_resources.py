#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Memory, vCPUs, clocks and consoles of Debian's stock kernel while it runs: its balloon, its CPU hot-plug and its
hvc driver against ours. Needs scripts/fetch-guests cloud busybox."""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

PVVIRT = os.environ["PVV_PVVIRT"]
SOURCE = pathlib.Path(os.environ["PVV_SOURCE_ROOT"])
CACHE = pathlib.Path(os.environ.get("PVV_TEST_CACHE", "/var/cache/libpvvirt-test"))
KERNEL = CACHE / "vmlinuz-cloud"
LIMIT = 240 * int(os.environ.get("PVV_TEST_SLOW", "1"))  # seconds, for a loaded machine

XML = """<domain type='xen'><name>linux</name><memory unit='MiB'>256</memory>
<currentMemory unit='MiB'>192</currentMemory><vcpu current='1'>2</vcpu>
<os><type>linux</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>console=hvc0 quiet</cmdline></os>
<devices><console type='null'/><console type='file'><source path='{dir}/second'/></console>
<channel type='file'><source path='{dir}/channel'/><target type='xen' name='org.example.agent.0'/></channel>
</devices></domain>
"""


def copy(how, path):
    """--put or --get where the guest runs in a virtual machine (tests/system/kvm)."""
    if "PVV_VM" in os.environ:
        subprocess.run([PVVIRT, how, path], check=True, stdin=subprocess.DEVNULL)


class Guest:
    def __init__(self, work):
        self.sock = os.path.join(work, "control")
        xml = os.path.join(work, "domain.xml")
        initrd = subprocess.run([SOURCE / "scripts/mkinitramfs"], check=True, text=True,
                                stdout=subprocess.PIPE).stdout.strip()
        copy("--put", initrd)
        pathlib.Path(xml).write_text(XML.format(kernel=KERNEL, initrd=initrd, dir=work))
        self.p = subprocess.Popen([PVVIRT, "run", "--control", self.sock, "--timeout", str(LIMIT), xml],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        os.set_blocking(self.p.stdout.fileno(), False)
        self.seen = ""
        self.end = time.monotonic() + LIMIT

    def expect(self, text):
        while text not in self.seen:
            chunk = self.p.stdout.read()
            if chunk:
                self.seen += chunk.decode(errors="replace")
            elif chunk == b"" or time.monotonic() > self.end:
                raise SystemExit(f"{text!r} was not seen; the console said:\n{self.seen}")
            else:
                time.sleep(0.02)
        before, self.seen = self.seen.split(text, 1)
        return before

    def shell(self, command):
        """What the command prints."""
        self.p.stdin.write(f"{command}; echo do''ne:\n".encode())
        self.p.stdin.flush()
        return self.expect("done:")

    def until(self, command, good):
        while True:
            out = self.shell(command)
            if good(out):
                return
            if time.monotonic() > self.end:
                raise SystemExit(f"{command}: {out}")
            time.sleep(0.1)

    def control(self, *args):
        return subprocess.run([PVVIRT, args[0], self.sock, *args[1:]], check=True, text=True,
                              stdout=subprocess.PIPE).stdout

    def info(self, line):
        """Until the library says so."""
        while line not in self.control("info"):
            if time.monotonic() > self.end:
                raise SystemExit(f"not {line!r} but\n{self.control('info')}")
            time.sleep(0.1)


def total(low, high):
    def good(out):
        words = [w for w in out.split() if w.isdigit()]
        return bool(words) and low << 10 <= int(words[-1]) <= high << 10
    return good


def clocks(g):
    """Seconds: the guest's uptime, its wall clock, and the host's clock between the two questions."""
    while True:  # until the answer came soon enough to say something
        before = time.time()
        words = g.shell("cat /proc/uptime; date +%s").split()
        after = time.time()
        if after - before < 0.5 or after - before < (g.end - time.monotonic()) / 100:
            numbers = [float(w) for w in words if w.replace(".", "", 1).isdigit()]
            return numbers[-3], numbers[-1], before, after


def pause_and_resume(g, seconds=3):
    """The guest's clocks go on while it is paused, as under Xen."""
    first = clocks(g)
    g.control("pause")
    g.info("state paused")
    time.sleep(seconds)
    g.control("resume")
    second = clocks(g)
    low, high = second[2] - first[3], second[3] - first[2]
    for name, i, grain in (("uptime", 0, 0.02), ("wall clock", 1, 1)):
        went = second[i] - first[i]
        if not low - grain <= went <= high + grain:
            raise SystemExit(f"{name}: {went} seconds went by in the guest, {low:.2f} to {high:.2f} outside")
    # By how much it is behind the host's is Linux's matter: until it has a clock source, early in its boot, it
    # counts ticks, and on a busy host loses some. It is never ahead.
    if second[1] > second[3] + 1:
        raise SystemExit(f"the guest's wall clock says {second[1]}, the host's {second[3]}")


def main():
    for needed in (KERNEL, CACHE / "busybox"):
        if not needed.exists():
            print(f"skipped: {needed} is missing; run scripts/fetch-guests cloud busybox")
            return 77
    memory = "grep MemTotal /proc/meminfo"
    online = "cat /sys/devices/system/cpu/online"
    with tempfile.TemporaryDirectory() as work:
        g = Guest(work)
        g.expect("# ")
        g.until(memory, total(120, 192))
        g.info("memory 192 of 256 MiB\nvcpus 1 of 2\n")
        pause_and_resume(g)

        g.control("setmem", "96M")
        g.until(memory, total(24, 96))
        g.info("memory 96 of 256 MiB\n")
        g.control("setmem", "256M")
        g.until(memory, total(184, 256))
        g.info("memory 256 of 256 MiB\n")

        # Linux makes the CPU present; to use it is for user space (a udev rule, elsewhere).
        g.control("setvcpus", "2")
        g.until("echo 1 > /sys/devices/system/cpu/cpu1/online; " + online, lambda out: "0-1" in out)
        g.info("vcpus 2 of 2\n")
        g.control("setvcpus", "1")
        g.until(online, lambda out: "0-1" not in out)
        g.info("vcpus 1 of 2\n")

        g.shell("echo on the second > /dev/hvc1; echo on the channel > /dev/hvc2")
        for name in "second", "channel":
            file = pathlib.Path(work, name)
            while copy("--get", file) or f"on the {name}" not in file.read_text():
                if time.monotonic() > g.end:
                    raise SystemExit(f"{name}: {file.read_text()!r}")
                time.sleep(0.1)
        g.p.stdin.write(b"poweroff -f\n")
        g.p.stdin.flush()
        code = g.p.wait(LIMIT)
        if code:
            raise SystemExit(f"pvvirt's status is {code}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
