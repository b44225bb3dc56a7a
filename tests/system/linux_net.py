#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's stock kernel and its xen-netfront: through a tap device to a server in this test's own network
namespace, and through passt by a forwarded port. Needs root, scripts/fetch-guests cloud busybox."""
import fcntl
import hashlib
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000

PVVIRT = os.environ["PVV_PVVIRT"]
SOURCE = pathlib.Path(os.environ["PVV_SOURCE_ROOT"])
CACHE = pathlib.Path(os.environ.get("PVV_TEST_CACHE", "/var/cache/libpvvirt-test"))
KERNEL = CACHE / "vmlinuz-cloud"
IN_VM = "PVV_VM" in os.environ  # tests/system/kvm: pvvirt runs in a virtual machine, the network is here
LIMIT = 240 * int(os.environ.get("PVV_TEST_SLOW", "1"))  # seconds, for a loaded machine
DATA = os.urandom(1 << 20) * int(os.environ.get("PVV_TEST_MB", "16"))


def setup_net():
    for command in ("ip link set lo up",
                    "ip tuntap add dev lintap mode tap" + ("" if IN_VM else " vnet_hdr multi_queue"),
                    "ip addr add 10.9.0.1/24 dev lintap", "ip link set lintap up",
                    "ip tuntap add dev out mode tap", "ip addr add 192.0.2.2/24 dev out",
                    "ip link set out up", "ip route add default via 192.0.2.1"):
        subprocess.run(command.split(), check=True)


def tap_by_socket():
    """A socket with the frames of the tap device, for a pvvirt that cannot open it."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"lintap", IFF_TAP | IFF_NO_PI))
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def pass_on(read, write):
        try:
            while frame := read(1 << 16):
                write(frame)
        except OSError:
            return

    for read, write in ((lambda n: os.read(fd, n), mine.send), (mine.recv, lambda frame: os.write(fd, frame))):
        threading.Thread(target=pass_on, args=(read, write), daemon=True).start()
    return theirs


def run(nets, command, vcpus=1, pass_fds=()):
    """The guest's shell runs the command; its console, and the process."""
    initrd = subprocess.run([SOURCE / "scripts/mkinitramfs", "--kernel", "cloud", "--module", "xen-netfront"],
                            check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    args = [PVVIRT, "run", "--kernel", KERNEL, "--initrd", initrd, "--memory", "256M", "--no-reboot",
            "--vcpus", str(vcpus), "--timeout", str(LIMIT), "--stats",
            "--cmdline", 'console=hvc0 quiet -- "%s"' % command]
    for net in nets:
        args += ["--net", net]
    return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, errors="replace", pass_fds=pass_fds)


def finish(p, wanted):
    out, err = p.communicate(timeout=LIMIT + 30)
    missing = [w for w in wanted if w not in out]
    if p.returncode or missing or "Call Trace" in out or "WARNING" in out:
        raise SystemExit(f"status {p.returncode}, missing {missing}; the console said\n{out}\n{err}")
    return out, err


class Server(threading.Thread):
    """Sends DATA to the first who connects, keeps what the second sends."""

    def __init__(self):
        super().__init__(daemon=True)
        self.sock = socket.create_server(("10.9.0.1", 7000))
        self.got = hashlib.sha256()
        self.size = 0

    def run(self):
        conn, _ = self.sock.accept()
        conn.sendall(DATA)
        conn.close()
        conn, _ = self.sock.accept()
        while chunk := conn.recv(1 << 16):
            self.got.update(chunk)
            self.size += len(chunk)
        conn.close()


def tap(vcpus):
    server = Server()
    server.start()
    theirs = tap_by_socket() if IN_VM else None
    p = run([("fd=%d" % theirs.fileno() if IN_VM else "tap=lintap,existing") + ",mac=00:16:3e:11:22:33"],
            "ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up; cat /sys/class/net/eth0/address; "
            "ls -d /sys/class/net/eth0/queues/rx-* | wc -l; ping -c 2 -w 60 10.9.0.1; "
            "nc 10.9.0.1 7000 </dev/null >/tmp/data; sha256sum /tmp/data; nc 10.9.0.1 7000 </tmp/data; "
            "ping -c 2 -w 60 -s 8000 10.9.0.1", vcpus, [theirs.fileno()] if IN_VM else ())
    _, err = finish(p, ["00:16:3e:11:22:33", "\n%d\n" % vcpus, hashlib.sha256(DATA).hexdigest(),
                        " 0% packet loss", "pvv-exit-status: 0"])
    server.join(10)
    if server.size != len(DATA) or server.got.digest() != hashlib.sha256(DATA).digest():
        raise SystemExit(f"the guest sent {server.size} bytes, or others than it was given")
    if " 0 errors, 0 dropped" not in err:
        raise SystemExit(err)
    server.sock.close()


def user():
    p = run(["user,tcp:127.0.0.1:17080:80"],
            "ip addr add 192.0.2.2/24 dev eth0; ip link set eth0 up; ip route add default via 192.0.2.1; "
            "while true; do echo the guest answers | nc -l -p 80; done")
    end, got = time.monotonic() + LIMIT, b""
    # passt answers for the guest before that listens: such connections end, and the next is tried.
    while not got and time.monotonic() < end and p.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", 17080), 60) as conn:
                conn.settimeout(20)
                conn.sendall(b"hello\n")  # Debian 12's passt waits for it (doc/network.md)
                got = conn.recv(100)
                if not got:
                    time.sleep(0.5)
        except OSError:
            time.sleep(0.5)
    p.send_signal(signal.SIGHUP)
    out, err = p.communicate(timeout=60)
    if got != b"the guest answers\n":
        raise SystemExit(f"through the forwarded port came {got!r}; the console said\n{out}\n{err}")


def main():
    for needed in (KERNEL, CACHE / "busybox"):
        if not needed.exists():
            print(f"skipped: {needed} is missing; run scripts/fetch-guests cloud busybox")
            return 77
    if os.environ.get("PVV_IN_NETNS") != "1":
        if subprocess.run(["unshare", "-n", "true"], stderr=subprocess.DEVNULL, check=False).returncode:
            print("skipped: no network namespaces here (needs root)")
            return 77
        os.execvpe("unshare", ["unshare", "-n", sys.executable, *sys.argv], {**os.environ, "PVV_IN_NETNS": "1"})
    if not shutil.which("ip") or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        print("skipped: ip (iproute2) or /dev/net/tun is missing")
        return 77
    # (Under nohup it is ignored by all that is started there; here it is sent.)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    setup_net()
    tap(1)
    if not IN_VM:
        tap(2)
    if IN_VM:
        print("not tested in a virtual machine: several queues, as the descriptor that leads into it has one")
        print("user networking is not tested in a virtual machine: there is no passt in it")
    elif shutil.which("passt"):
        user()
    else:
        print("user networking is not tested: passt is not installed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
