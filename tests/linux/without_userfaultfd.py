#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Run a program on a host that refuses userfaultfd(2), as containers do: `without_userfaultfd.py PROGRAM ARGS`.

ring3 then does by its mapper what it else does by itself (doc/adr/0017)."""
import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO, EPERM, USERFAULTFD = 0x7fff0000, 0x50000, 1, 323


def refuse():
    code = [(LOAD, 0, 0, 0), (EQUAL, 0, 1, USERFAULTFD), (RETURN, 0, 0, ERRNO | EPERM), (RETURN, 0, 0, ALLOW)]
    text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *insn) for insn in code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot install a filter")
    if libc.syscall(USERFAULTFD, 1) != -1 or ctypes.get_errno() != EPERM:
        raise OSError("userfaultfd() is not refused")


if __name__ == "__main__":
    refuse()
    os.execvp(sys.argv[1], sys.argv[1:])
