# SPDX-License-Identifier: MIT
"""The rows of tests/bench/compare that need a disk or a network: iobench.c under each system.

The disk is a file in the host's page cache, the network a tap device in a network namespace of the run's own, with
iobench's server as the host's program, which may run on another CPU. UML and libpvvirt are pinned to one CPU, which helps
both (waking a thread on another CPU costs more than what it could do meanwhile, in a VM at least); the others are not.
Network rows need root."""
import os
import pathlib
import subprocess
import threading
import time

ROWS = [
    ("blk_buffered", "MB/s", False, ">= 2,000"), ("blk_direct", "MB/s", False, ">= 4,000"), ("blk_4k", "us", True, ""),
    ("net_send", "Mbit/s", False, ">= 6,000"), ("net_recv", "Mbit/s", False, ">= 6,000"),
]
BLOCK = [r[0] for r in ROWS if r[0].startswith("blk")]
NET = [r[0] for r in ROWS if r[0].startswith("net")]
TAP, HOST, GUEST = "cmptap", "10.9.7.1", "10.9.7.2"
DISK_MB = 192
ROOT = os.geteuid() == 0


def own_network(argv):
    """Go on in a network namespace of our own, with a tap device."""
    if os.environ.get("PVV_IN_NETNS") != "1":
        os.execvpe("unshare", ["unshare", "-n", *argv], {**os.environ, "PVV_IN_NETNS": "1"})
    for line in ("ip link set lo up", f"ip tuntap add dev {TAP} mode tap vnet_hdr",
                 f"ip addr add {HOST}/24 dev {TAP}", f"ip link set {TAP} up"):
        subprocess.run(line.split(), check=True)


def first(pids):
    """Ahead of the machine's other work. With autogroups (man 7 sched) a nice value counts inside a session only, and
    each of the systems makes sessions of its own."""
    for pid in pids:
        try:
            pathlib.Path(f"/proc/{pid}/autogroup").write_text("-19")
        except OSError:
            continue  # it has ended, or there are no autogroups


def tree(pid):
    """The process and all that it made."""
    out = [pid]
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in path.read_text().split():
                out += tree(int(child))
        except OSError:
            continue  # it has ended meanwhile
    return out


def keep_first(p):
    """first() for what the process makes in its first seconds: sandboxes have sessions of their own."""
    for delay in (0, 0.5, 1, 2, 4, 8):
        timer = threading.Timer(delay, lambda: first(tree(p.pid)))
        timer.daemon = True
        timer.start()


class Host:
    """The disk's file and the server."""

    def __init__(self, program, folder):
        self.disk = os.path.join(folder, "disk")
        with open(self.disk, "wb") as f:
            for _ in range(DISK_MB):
                f.write(os.urandom(1 << 20))
        self.server = None
        if ROOT:
            self.server = subprocess.Popen([program, "--serve", "0.0.0.0"], start_new_session=True)
            time.sleep(0.2)
            first([self.server.pid])

    def warm(self):
        with open(self.disk, "rb") as f:
            while f.read(1 << 20):
                pass

    def end(self):
        if self.server:
            self.server.terminate()
            self.server.wait()


def guest_words(disk, nic):
    words = ["UBENCH_DISK=" + disk]
    return words + ([f"UBENCH_NIC={nic}", "UBENCH_ADDR=" + GUEST, "UBENCH_PEER=" + HOST] if ROOT else [])


def commands(c):
    """name -> (rows it can do, command(words)). c: what compare knows, see there."""
    net = NET if ROOT else []
    xen, virtio = (c.initramfs(c.iobench, ["--kernel", "cloud", *sum([["--module", m] for m in modules], [])])
                   for modules in (("xen-blkfront", "xen-netfront"), ("virtio_pci", "virtio_blk", "virtio_net")))

    def native(words):
        return ["env", "UBENCH_DISK=" + c.host.disk, "UBENCH_PEER=127.0.0.1", *words, c.iobench]

    def uml(words):
        return [*c.pin, c.uml, f"mem={c.memory}M", "initrd=" + c.initramfs(c.iobench, []), "ubd0r=" + c.host.disk,
                *([f"vec0:transport=tap,ifname={TAP},depth=128,gro=1"] if ROOT else []), "con0=fd:0,fd:1", "con=null",
                "ssl=null", "quiet", *guest_words("/dev/ubda", "vec0"), *words]

    def tcg(words):
        return [c.qemu, "-accel", "tcg", "-cpu", "max", "-m", f"{c.memory}M", "-nodefaults", "-display", "none",
                "-no-reboot", "-serial", "stdio", "-kernel", c.kernel, "-initrd", virtio, "-drive",
                f"file={c.host.disk},format=raw,if=virtio,readonly=on",
                *(["-netdev", f"tap,id=n,ifname={TAP},script=no,downscript=no", "-device", "virtio-net-pci,netdev=n"]
                  if ROOT else []),
                "-append", " ".join(["console=ttyS0", "quiet", *guest_words("/dev/vda", "eth0"), *words])]

    def gvisor(words):
        return [*c.runsc, "env", "UBENCH_DIR=/tmp", "UBENCH_DISK=" + c.host.disk, *words, c.iobench]

    def pvvirt(words):
        return [*c.pin, c.pvvirt, "run", "--executor", "ring3", "--kernel", c.kernel, "--initrd", xen, "--memory",
                f"{c.memory}M", "--disk", c.host.disk + ",xvda,ro", *(["--net", f"tap={TAP},existing"] if ROOT else []),
                "--cmdline", " ".join(["console=hvc0", "quiet", *guest_words("/dev/xvda", "eth0"), *words])]

    # O_DIRECT on the host itself is the machine's disk, another thing.
    return {"native": (["blk_buffered", *net], native), "uml": (BLOCK + net, uml), "tcg": (BLOCK + net, tcg),
            "gvisor": (BLOCK, gvisor), "pvvirt": (BLOCK + net, pvvirt)}
