# SPDX-License-Identifier: MIT
"""The table of guests (guests.tbl) as objects; shared by run.py and scripts/record-xen."""
import os
import re
import shutil
import struct
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


class Disk:
    """disk=SIZE[,ro] in the table: an image whose every 8-byte word tells its own place.
    disk=ext2:SIZE[,ro]: a file system with a few files."""

    def __init__(self, spec, target):
        parts = spec.split(",")
        self.files = parts[0].startswith("ext2:")
        size = parts[0].replace("ext2:", "")
        self.size = int(size[:-1]) * {"k": 1 << 10, "M": 1 << 20}[size[-1]]
        self.readonly = "ro" in parts[1:]
        self.target = target

    def content(self):
        if not self.files:
            words = self.size // 8
            return struct.pack("<%dQ" % words,
                               *[i * 0x9E3779B97F4A7C15 % (1 << 64) for i in range(words)])
        with tempfile.TemporaryDirectory() as work:
            root, image = os.path.join(work, "root"), os.path.join(work, "image")
            os.makedirs(os.path.join(root, "dir", "inner"))
            files = {"hello.txt": "Hello from the disk.\n", "dir/one": "1\n", "dir/inner/two": "2\n",
                     "lines": "".join("line %d\n" % i for i in range(20))}
            for name, text in files.items():
                with open(os.path.join(root, name), "w", encoding="ascii") as f:
                    f.write(text)
            # not in an ordinary user's PATH
            mkfs = shutil.which("mke2fs", path=os.environ["PATH"] + ":/sbin:/usr/sbin") or "mke2fs"
            subprocess.run([mkfs, "-q", "-F", "-t", "ext2", "-L", "data", "-U",
                            "11111111-2222-3333-4444-555555555555", "-d", root, image,
                            "%dk" % (self.size >> 10)], check=True, stdout=subprocess.DEVNULL)
            with open(image, "rb") as f:
                return f.read()


class Guest:
    def __init__(self, name, image, memory=64, timeout=20, exit=None, listed=False):
        self.name, self.image, self.memory = name, image, memory
        self.timeout, self.exit, self.listed = timeout, exit, listed
        self.record_timeout = timeout * 3
        self.disks, self.cmdline, self.input, self.initrd = [], "", None, None
        self.source, self.by_hand, self.net = name, False, False
        self.driven = False  # does what a test of tests/system says
        self.vcpus = 1


def read_table():
    """Lines: NAME FLAVOUR MEMORY(MiB) TIMEOUT(s) EXIT [disk=..] [cmdline=..] [image=..]"""
    out = []
    with open(os.path.join(HERE, "guests.tbl"), encoding="utf-8") as f:
        for line in f:
            words = line.split("#")[0].split()
            if words:
                out.append(words)
    return out


def load(build, names=()):
    known = {}
    for words in read_table():
        name, _flavour, memory, timeout, exit_ = words[:5]
        g = Guest(name, os.path.join(build, "tests", "guest", name + ".elf"), int(memory),
                  int(timeout), exit_, True)
        for opt in words[5:]:
            key, _, value = opt.partition("=")
            if key == "disk":
                g.disks.append(Disk(value, "xvd" + chr(ord("a") + len(g.disks))))
            elif key == "cmdline":
                g.cmdline = value.replace("_", " ")
            elif key == "image":
                g.image = value
            elif key == "net":
                g.net = True
            elif key == "by_hand":
                g.by_hand = True
            elif key == "driven":
                g.driven = True
            elif key == "vcpus":
                g.vcpus = int(value)
            elif key == "src":
                g.source = value
        path = os.path.join(HERE, name + ".input")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                g.input = f.read()
        known[name] = g
    out = []
    for name in names or [n for n, g in known.items() if not g.driven]:
        if name in known:
            out.append(known[name])
        elif os.path.exists(name):
            base = re.sub(r"[^A-Za-z0-9-]", "-", os.path.basename(name))
            out.append(Guest(base, os.path.abspath(name)))
        else:
            raise SystemExit("no such guest: %s (neither in guests.tbl nor a file)" % name)
    return out


# GRUB shows how fast a slow read goes, in the right corner of the line.
PROGRESS = re.compile(rb"\x1b\[\d+;\d+H +\[ [^\]\n]* \]\x1b\[\d+;\d+H")


def clean(raw):
    """A console log as it is compared: no carriage returns, trailing blanks or progress."""
    text = PROGRESS.sub(b"", raw.replace(b"\r", b""))
    return b"\n".join(line.rstrip() for line in text.split(b"\n"))


def grub():
    """Debian's PV GRUB where scripts/fetch-guests put it, or None."""
    fetch = os.path.join(HERE, "..", "..", "scripts", "fetch-guests")
    where = subprocess.run([fetch, "--dir"], capture_output=True, text=True, check=False).stdout
    path = os.path.join(where.strip(), "grub-x86_64-xen.bin")
    return path if os.path.exists(path) else None
