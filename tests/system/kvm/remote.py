#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run a program in the virtual machine behind the socket $PVV_VM, as if it ran here.

    remote.py PROGRAM ARGUMENTS...       or, with $PVV_VM_PROGRAM set, only the arguments
    remote.py --put FILE, --get FILE     copy a file there, or back, at the same path

Arguments that name files here, alone or in front of a comma, and are not there yet ($PVV_VM_HAS: files of the
initramfs, separated by colons) are copied first, to the same path. What the program writes is copied back: the files
behind --events, and disks that are not read-only. SIGHUP is passed on; SIGKILL reaches the program, too. A descriptor behind `--net fd=` is there, too, and packets go to and fro."""
import os
import re
import select
import signal
import socket
import struct
import sys

FRAME = struct.Struct("<B3xII")
CHUNK = 1 << 16
ZERO = bytes(CHUNK)


def copy(send, path):
    """To the other side; holes stay holes."""
    send("F", path.encode())
    hole = 0
    with open(path, "rb") as f:
        while chunk := f.read(CHUNK):
            if chunk == ZERO:
                hole += CHUNK
                continue
            if hole:
                send("s", struct.pack("<Q", hole))
                hole = 0
            send("f", chunk)
    if hole:
        send("s", struct.pack("<Q", hole))


def main():
    args = sys.argv[1:]
    putting, getting = args[:1] == ["--put"], args[:1] == ["--get"]
    if not putting and not getting and os.environ.get("PVV_VM_PROGRAM"):
        args.insert(0, os.environ["PVV_VM_PROGRAM"])
    has = set(os.environ.get("PVV_VM_HAS", "").split(":"))
    vm = socket.socket(socket.AF_UNIX)
    vm.connect(os.environ["PVV_VM"])

    def send(kind, data=b""):
        vm.sendall(FRAME.pack(ord(kind), 0, len(data)) + data)

    outputs = [b.split(",")[0] for a, b in zip(args, args[1:]) if
               a == "--events" or (a == "--disk" and "ro" not in b.split(",")[1:])]
    if putting:
        copy(send, args[1])
        outputs = ["/dev/null"]  # when that is back, the copy is there
    if getting:
        outputs = args[1:]
    net = None
    for arg, value in [] if putting or getting else zip(args[1:], args[2:] + [""]):
        path = arg.split(",")[0]
        if path in outputs and not os.path.exists(path):
            send("F", path.encode())
        elif path not in has and path.startswith("/") and os.path.isfile(path):
            copy(send, path)
        m = re.search(r"(?:^|,)fd=(\d+)", value) if arg == "--net" else None
        if m:
            net = socket.socket(fileno=os.dup(int(m.group(1))))
            send("N", m.group(1).encode() + b"\0")
    buf, inputs, status, files = b"", [vm, 0] + ([net] if net else []), None, []

    def fetch():
        for name in outputs:
            send("G", name.encode() + b"\0")
        return [open(name, "wb") for name in outputs]

    if putting or getting:
        inputs, status, files = [vm], 0, fetch()
    else:
        send("R", b"".join(a.encode() + b"\0" for a in args))
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGHUP, lambda *_: None)
    inputs.append(wake)
    while True:
        ready, _, _ = select.select(inputs, [], [])
        if wake in ready:
            send("S", os.read(wake, 1))
        if 0 in ready:
            data = os.read(0, 65536)
            if data:
                send("I", data)
            else:
                send("E")
                inputs.remove(0)
        if net in ready:
            packet = net.recv(1 << 17)
            if packet:
                send("P", packet)
            else:
                inputs.remove(net)
        if vm in ready:
            chunk = vm.recv(1 << 20)
            if not chunk:
                print("the virtual machine is gone", file=sys.stderr)
                return 125
            buf += chunk
        while len(buf) >= FRAME.size:
            kind, _, size = FRAME.unpack_from(buf)
            if len(buf) < FRAME.size + size:
                break
            data, buf = buf[FRAME.size:FRAME.size + size], buf[FRAME.size + size:]
            if kind == ord("O"):
                os.write(1, data)
            elif kind == ord("X"):
                os.write(2, data)
            elif kind == ord("P"):
                net.send(data)
            elif kind == ord("D"):
                status = struct.unpack("<I", data)[0]
                files = fetch()
            elif kind == ord("h"):
                files[0].seek(struct.unpack("<Q", data)[0], os.SEEK_CUR)
            elif kind == ord("g") and data:
                files[0].write(data)
            elif kind == ord("g"):
                if outputs[0] != "/dev/null":
                    files[0].truncate()
                files.pop(0).close()
                outputs.pop(0)
            if status is not None and not outputs:
                return status


if __name__ == "__main__":
    sys.exit(main())
