#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The template examples/guest stands alone: copy it elsewhere, make, boot, talk to it.

    example.py PVVIRT
"""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TEMPLATE = os.path.join(HERE, "..", "..", "examples", "guest")
WANT = """Hello from a PV guest. Type a line, or quit.
You said: one two
You said:
You said: quit
"""


def main():
    if shutil.which("make") is None:
        print("skipped: no make")
        return 77
    with tempfile.TemporaryDirectory(prefix="example-") as work:
        where = os.path.join(work, "guest")
        shutil.copytree(TEMPLATE, where)
        subprocess.run(["make", "-s"], cwd=where, check=True)
        run = subprocess.run(
            [sys.argv[1], "run", "--kernel", os.path.join(where, "guest.elf"), "--memory", "32M",
             "--console", "stdio", "--timeout", "20"],
            input=b"one two\n\nquit\n", capture_output=True, timeout=60, check=False)
    got = "\n".join(line.rstrip() for line in
                    run.stdout.decode("utf-8", "replace").replace("\r", "").split("\n"))
    if got != WANT or run.returncode:
        print("exit status %d\n%s\n%s" % (run.returncode, got, run.stderr.decode("utf-8", "replace")))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
