#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""TCP throughput between Debian's stock kernel (xen-netfront) and the host through a tap device, and of the
host's loopback in the same run: tests/bench/net.py BUILD [SECONDS [PASSES]]

As in tests/bench/compare, which measures the peers too, the guest is pinned to one CPU and goes ahead of other work.

Needs root (a network namespace of its own), iperf3, iproute2 and scripts/fetch-guests cloud busybox."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import io_peers

SOURCE = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("PVV_TEST_CACHE", "/var/cache/libpvvirt-test"))
RATE = re.compile(r"([\d.]+) Mbits/sec +receiver")


def initrd():
    iperf = shutil.which("iperf3")
    libs = re.findall(r"(/\S+) \(", subprocess.run(["ldd", iperf], check=True, text=True,
                                                   stdout=subprocess.PIPE).stdout)
    files = [f"--file={os.path.realpath(f)}:{f}" for f in [iperf, *libs]]
    return subprocess.run([SOURCE / "scripts/mkinitramfs", "--kernel", "cloud", "--module", "xen-netfront",
                           *files], check=True, text=True, stdout=subprocess.PIPE).stdout.strip(), iperf


def native(seconds):
    out = subprocess.run(["iperf3", "-c", "127.0.0.1", "-t", str(seconds), "-f", "m"], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    return float(RATE.search(out).group(1))


def guest(build, seconds, passes):
    image, iperf = initrd()
    client = f"{iperf} -c 10.9.0.1 -t {seconds} -f m"
    command = ("ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up; sleep 1; for i in "
               f"{' '.join(map(str, range(passes)))}; do {client}; {client} -R; done")
    p = subprocess.Popen(
        ["taskset", "-c", str(max(os.sched_getaffinity(0))), pathlib.Path(build) / "pvvirt", "run", "--kernel", CACHE / "vmlinuz-cloud", "--initrd", image,
         "--memory", "512M", "--no-reboot", "--timeout", str(60 + 10 * passes * seconds), "--net",
         "tap=benchtap,existing", "--cmdline", f'console=hvc0 quiet -- "{command}"'],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
    io_peers.keep_first(p)
    out, _ = p.communicate()
    rates = [float(r) for r in RATE.findall(out)]
    if len(rates) != 2 * passes:
        raise SystemExit(f"iperf3 did not run as it should:\n{out}")
    return rates[::2], rates[1::2]


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    if os.environ.get("PVV_IN_NETNS") != "1":
        os.execvpe("unshare", ["unshare", "-n", sys.executable, *sys.argv], {**os.environ, "PVV_IN_NETNS": "1"})
    missing = [tool for tool in ("iperf3", "ip") if not shutil.which(tool)]
    if missing:
        raise SystemExit(f"{', '.join(missing)} not found: scripts/setup bench")
    seconds, passes = (int(a) for a in (sys.argv[2:] + ["3", "3"][len(sys.argv) - 2:])[:2])
    for line in ("ip link set lo up", "ip tuntap add dev benchtap mode tap vnet_hdr",
                 "ip addr add 10.9.0.1/24 dev benchtap", "ip link set benchtap up"):
        subprocess.run(line.split(), check=True)
    with subprocess.Popen(["iperf3", "-s"], stdout=subprocess.DEVNULL, start_new_session=True) as server:
        io_peers.first([server.pid, os.getpid()])
        try:
            subprocess.run(["sleep", "1"], check=True)
            before = native(seconds)
            out, back = guest(sys.argv[1], seconds, passes)
            base = sorted([before, native(seconds)])
        finally:
            server.terminate()
    for name, rates in (("guest to host", sorted(out)), ("host to guest", sorted(back)), ("native loopback", base)):
        middle = rates[len(rates) // 2]
        print(f"{name:16} {rates[0]:8.0f} least {middle:8.0f} median {rates[-1]:8.0f} most Mbit/s, "
              f"{middle / base[-1]:.2f} of native")


if __name__ == "__main__":
    main()
