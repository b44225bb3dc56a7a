# SPDX-License-Identifier: MIT
"""A virtual machine with a faithful /dev/kvm on any host: QEMU's TCG emulates AMD's SVM, Debian's cloud kernel
brings kvm-amd. The initramfs holds the built library, pvvirt, the guests, and agent.c as its first process.

    vm.py BUILDDIR COMMAND...      boot it, run a command inside, power off

Programs outside talk to it through the Unix socket Vm.path (remote.py), so that the ordinary tests run unchanged
with `pvvirt` replaced by a program that passes on its arguments, files, input and output."""
import os
import re
import select
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
FRAME = struct.Struct("<B3xII")
MODULES = ["virtio_pci", "virtio_console", "kvm-amd"]


class Missing(Exception):
    """Something the virtual machine cannot be made without; the text says what and how to get it."""


def cache():
    return subprocess.run([os.path.join(TOP, "scripts", "fetch-guests"), "--dir"], capture_output=True, text=True,
                          check=True).stdout.strip()


class Cpio:
    """The archive format of initramfs ("newc")."""

    def __init__(self, path):
        self.f, self.ino, self.dirs, self.names = open(path, "wb"), 0, set(), set()

    def entry(self, name, mode, data=b""):
        self.ino += 1
        raw = name.encode() + b"\0"
        self.f.write(b"070701" + b"".join(b"%08X" % n for n in (
            self.ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)) + raw)
        self.f.write(b"\0" * (-(110 + len(raw)) % 4) + data + b"\0" * (-len(data) % 4))

    def parents(self, name):
        parts = name.split("/")[:-1]
        for i in range(1, len(parts) + 1):
            path = "/".join(parts[:i])
            if path not in self.dirs:
                self.dirs.add(path)
                self.entry(path, stat.S_IFDIR | 0o755)

    def file(self, name, source):
        name = name.lstrip("/")
        if name in self.names:
            return
        self.names.add(name)
        self.parents(name)
        with open(source, "rb") as f:
            self.entry(name, stat.S_IFREG | 0o755, f.read())

    def data(self, name, data):
        self.parents(name)
        self.entry(name, stat.S_IFREG | 0o644, data)

    def close(self):
        self.entry("TRAILER!!!", 0)
        self.f.close()


def libraries(programs):
    found = set()
    for program in programs:
        for line in subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.splitlines():
            words = line.split()
            path = words[2] if "=>" in words else words[0]
            if path.startswith("/"):
                found.add(path)
    return sorted(found)


def in_order(names, where):
    """The modules and what they need, in the order of loading."""
    out = []
    for name in names:
        if name not in where:
            raise Missing("the cloud kernel has no module %s; run scripts/fetch-guests cloud" % name)
        with open(where[name], "rb") as f:
            needs = re.search(rb"\0depends=([^\0]*)\0", f.read()).group(1).decode()
        out += [m for m in in_order([n.replace("-", "_") for n in needs.split(",") if n], where) if m not in out]
        out += [name] if name not in out else []
    return out


def make_initramfs(path, agent, programs, files):
    modules = {}
    for root, _, names in os.walk(os.path.join(cache(), "cloud", "lib", "modules")):
        for name in names:
            if name.endswith(".ko"):
                modules[name[:-3].replace("-", "_")] = os.path.join(root, name)
    order = in_order([m.replace("-", "_") for m in MODULES], modules)
    cpio = Cpio(path)
    cpio.file("init", agent)
    for m in order:
        cpio.file("modules/%s.ko" % m, modules[m])
    cpio.data("modules/list", "".join("/modules/%s.ko\n" % m for m in order).encode())
    for source in [*programs, *libraries([agent, *programs])]:
        cpio.file(source, source)
    # pthread_cancel() wants it, and ldd does not know.
    for name in ("/lib/x86_64-linux-gnu/libgcc_s.so.1",):
        if os.path.exists(name):
            cpio.file(name, name)
    # Tests want some program and some file that is no kernel.
    cpio.file("bin/sh", agent)
    cpio.data("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
    for source in files:
        cpio.file(source, source)
    cpio.close()


class Vm:
    def __init__(self, build, programs=(), files=(), memory=1024, cpus=1, log=None, icount=False):
        qemu = shutil.which("qemu-system-x86_64")
        if not qemu:
            raise Missing("QEMU (package qemu-system-x86) is not installed")
        kernel = os.path.join(cache(), "vmlinuz-cloud")
        if not os.path.exists(kernel):
            raise Missing("%s is missing; run scripts/fetch-guests cloud" % kernel)
        self.tmp = tempfile.TemporaryDirectory(prefix="pvv-vm-")
        self.dir = self.tmp.name
        initrd = os.path.join(self.dir, "initrd")
        agent = os.path.join(build, "tests", "system", "kvm", "agent")
        make_initramfs(initrd, agent,
                       [os.path.join(build, "pvvirt"), *programs], files)
        port = os.path.join(self.dir, "port")
        self.path = os.path.join(self.dir, "run")
        self.port_listen = socket.socket(socket.AF_UNIX)
        self.port_listen.bind(port)
        self.port_listen.listen(1)
        self.log_path = log or os.path.join(self.dir, "console")
        # A virtual nanosecond for each instruction: time and timers depend on nothing else.
        count = ["-icount", "shift=0"] if icount else []
        # Else the machine's counter is the host's. On a busy host the kernel counts its ticks wrong against the timer's,
        # and all its time goes by several times too fast.
        tsc = "" if icount else "tsc_early_khz=" + subprocess.run([agent, "tsc"], capture_output=True, text=True,
                                                                  check=True).stdout.strip()
        self.qemu = subprocess.Popen(
            ["nice", "-n", "5", qemu, "-machine", "pc", "-accel", "tcg", *count, "-cpu", "max,-la57", "-smp", str(cpus), "-m", str(memory),
             "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-kernel", kernel, "-initrd", initrd,
             "-append", "console=ttyS0 panic=-1 quiet mitigations=off tsc=reliable " + tsc,
             "-serial", "file:" + self.log_path,
             "-chardev", "socket,id=port,path=" + port, "-device", "virtio-serial-pci",
             "-device", "virtserialport,chardev=port,name=agent"], stdin=subprocess.DEVNULL)
        self.port_listen.settimeout(60)
        self.port, _ = self.port_listen.accept()
        self.listen = socket.socket(socket.AF_UNIX)
        self.listen.bind(self.path)
        self.listen.listen(16)
        self.clients, self.next = {}, 1
        # QEMU 7.2 sometimes loses the interrupt of the machine's timer, once in some minutes of guests with several
        # vCPUs. The kernel in it, idle, would sleep until something else wakes it: a frame that says nothing.
        self.wake = None if icount else 1
        self.lock = threading.Lock()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.mux, daemon=True)
        self.thread.start()
        if not self.ready.wait(300):
            text = self.console()
            self.close()
            raise RuntimeError("the virtual machine did not come up:\n" + text[-2000:])

    def console(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    # ---- frames between the port and the clients

    def mux(self):
        buf = {self.port: b""}
        ids = {}
        while True:
            ready, _, _ = select.select([self.listen, *buf], [], [], self.wake)
            if not ready and self.ready.is_set():
                self.send_port(b"T"[0], 0, b"")
            for s in ready:
                if s is self.listen:
                    client, _ = s.accept()
                    buf[client] = b""
                    ids[client] = self.next
                    self.clients[self.next] = client
                    self.next += 1
                    continue
                try:
                    chunk = s.recv(1 << 20)
                except OSError:
                    chunk = b""
                if not chunk:
                    if s is self.port:  # the machine is gone: nobody waits for it
                        self.listen.close()
                        for client in self.clients.values():
                            client.close()
                        return
                    # whoever goes away takes its program along
                    self.send_port(b"K"[0], ids[s], b"")
                    self.clients.pop(ids.pop(s), None)
                    del buf[s]
                    s.close()
                    continue
                buf[s] += chunk
                while len(buf[s]) >= FRAME.size:
                    kind, num, size = FRAME.unpack_from(buf[s])
                    if len(buf[s]) < FRAME.size + size:
                        break
                    data = buf[s][FRAME.size:FRAME.size + size]
                    buf[s] = buf[s][FRAME.size + size:]
                    if s is not self.port:
                        self.send_port(kind, ids[s], data)
                    elif kind == b"H"[0]:
                        self.ready.set()
                    elif num in self.clients:
                        try:
                            self.clients[num].sendall(FRAME.pack(kind, num, size) + data)
                        except OSError:
                            pass

    def send_port(self, kind, num, data):
        with self.lock:
            try:
                self.port.sendall(FRAME.pack(kind, num, len(data)) + data)
            except OSError:
                pass

    def close(self):
        self.send_port(b"Q"[0], 0, b"")
        try:
            self.qemu.wait(10)
        except subprocess.TimeoutExpired:
            self.qemu.kill()
            self.qemu.wait()
        self.tmp.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


if __name__ == "__main__":
    # For people: VM_FILES=a:b adds files, VM_LOG=f keeps the console.
    try:
        with Vm(os.path.abspath(sys.argv[1]), files=[f for f in os.environ.get("VM_FILES", "").split(":") if f],
                programs=[f for f in os.environ.get("VM_PROGRAMS", "").split(":") if f],
                cpus=int(os.environ.get("VM_CPUS", "1")), log=os.environ.get("VM_LOG")) as vm:
            sys.exit(subprocess.run([sys.executable, os.path.join(HERE, "remote.py"), *sys.argv[2:]],
                                    env={**os.environ, "PVV_VM": vm.path}, check=False).returncode)
    except Missing as e:
        print("skipped:", e)
        sys.exit(77)
