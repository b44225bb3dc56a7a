#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Install the library into a folder of its own, build a program outside of the tree against it with
nothing but pkg-config, and boot PV GRUB with that program: what an embedder does first."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import stage

build, source, cache = (pathlib.Path(p) for p in sys.argv[1:4])
grub = cache / "grub-x86_64-xen.bin"
if not grub.exists():
    print(f"skipped: {grub} is missing; run scripts/fetch-guests grub")
    sys.exit(77)


def run(*cmd, **kw):
    print("+", *map(str, cmd), flush=True)
    return subprocess.run([str(c) for c in cmd], check=True, timeout=120, **kw)


with tempfile.TemporaryDirectory(prefix="pvv-installed-") as tmp:
    tmp = pathlib.Path(tmp)
    root = tmp / "stage"
    stage.install(root)
    pc = next(root.rglob("libpvvirt.pc"))
    lib = next(root.rglob("libpvvirt.so")).parent
    assert (lib / "libpvvirt.so.0").is_symlink(), "the SONAME link is missing"
    env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=str(root),
               LD_LIBRARY_PATH=str(lib))
    env.pop("LD_PRELOAD", None)

    def pkg(*args):
        return subprocess.run(["pkg-config", *args, "libpvvirt"], env=env, check=True, text=True,
                              capture_output=True).stdout.split()

    assert pkg("--modversion") == ["0.1.0"], pkg("--modversion")
    shutil.copy(source / "examples/hello.c", tmp / "hello.c")
    for std in "c99", "c11":
        run("cc", f"-std={std}", "-pedantic", "-Wall", "-Wextra", "-Werror", "-D_DEFAULT_SOURCE", "-o",
            tmp / "hello", tmp / "hello.c", *pkg("--cflags", "--libs"), env=env)
    san = os.environ.get("PVV_TEST_SANITIZER")
    if san:
        print(f"skipped: booting (a plain program cannot load a library built with {san})")
        sys.exit(77)
    # A GRUB that ends by itself, made by Debian's grub-mkimage.
    (tmp / "grub.cfg").write_text("echo booted by an installed library\nhalt\n")
    if shutil.which("grub-mkimage"):
        run("grub-mkimage", "-O", "x86_64-xen", "-o", tmp / "grub.bin", "-c", tmp / "grub.cfg", "-p", "/",
            "echo", "halt", "normal")
        out = run(tmp / "hello", tmp / "grub.bin", env=env, text=True, capture_output=True,
                  stdin=subprocess.DEVNULL).stdout
        print(out)
        assert "booted by an installed library" in out and out.rstrip().endswith("powered off"), out
    # Stock PV GRUB: to its prompt, with the installed pvvirt.
    exe = next(root.rglob("bin/pvvirt"))
    p = subprocess.Popen([exe, "run", "--kernel", grub, "--memory", "64M", "--timeout", "60"], env=env,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    seen = b""
    while b"grub> " not in seen:
        chunk = os.read(p.stdout.fileno(), 4096)
        assert chunk, seen
        seen += chunk
    p.stdin.write(b"halt\r")
    p.stdin.flush()
    p.stdout.read()
    assert p.wait(30) == 0, p.returncode
    print("stock PV GRUB came to its prompt and powered off")
