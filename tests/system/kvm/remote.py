#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run a program in the virtual machine behind the socket $PVV_VM, as if it ran here.

    remote.py PROGRAM ARGUMENTS...       or, with $PVV_VM_PROGRAM set, only the arguments

Arguments that name files here, alone or in front of a comma, and are not there yet ($PVV_VM_HAS: files of the
initramfs, separated by colons) are copied first, to the same path. PVV_VM_ARGS is inserted behind `PROGRAM run`."""
import os
import select
import socket
import struct
import sys

FRAME = struct.Struct("<B3xII")


def main():
    args = sys.argv[1:]
    if os.environ.get("PVV_VM_PROGRAM"):
        args.insert(0, os.environ["PVV_VM_PROGRAM"])
    extra = os.environ.get("PVV_VM_ARGS", "").split()
    if extra and len(args) > 1 and args[1] == "run":
        args[2:2] = extra
    has = set(os.environ.get("PVV_VM_HAS", "").split(":"))
    vm = socket.socket(socket.AF_UNIX)
    vm.connect(os.environ["PVV_VM"])

    def send(kind, data=b""):
        vm.sendall(FRAME.pack(ord(kind), 0, len(data)) + data)

    for arg in args[1:]:
        path = arg.split(",")[0]
        if path not in has and path.startswith("/") and os.path.isfile(path):
            send("F", path.encode())
            with open(path, "rb") as f:
                while True:
                    chunk = f.read(1 << 16)
                    if not chunk:
                        break
                    send("f", chunk)
    send("R", b"".join(a.encode() + b"\0" for a in args))
    buf, inputs = b"", [vm, 0]
    while True:
        ready, _, _ = select.select(inputs, [], [])
        if 0 in ready:
            data = os.read(0, 65536)
            if data:
                send("I", data)
            else:
                send("E")
                inputs = [vm]
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
            elif kind == ord("D"):
                return struct.unpack("<I", data)[0]


if __name__ == "__main__":
    sys.exit(main())
