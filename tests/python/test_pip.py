# SPDX-License-Identifier: MIT
"""pip builds and installs the package from the source tree, against an installed library that only
pkg-config knows, with nothing from the network."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from conftest import GUESTS, SOURCE

import pvvirt

BUILD = pathlib.Path(os.environ["PVV_BUILD_ROOT"])


def run(*cmd, **kw):
    r = subprocess.run([str(c) for c in cmd], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)
    assert r.returncode == 0, f"{cmd}\n{r.stdout}"
    return r.stdout


@pytest.fixture
def installed(tmp_path):
    """The environment of somebody who has installed libpvvirt, in a folder of its own."""
    for module in "pip", "setuptools", "wheel":
        if subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode:
            pytest.skip(f"skipped: python3-{module} is not installed")
    stage = tmp_path / "stage"
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", stage)
    pc = next(stage.rglob("libpvvirt.pc"))
    # A library that is really installed: its .pc says where, without a sysroot.
    prefix = next(p for p in pc.parents if (p / "include/pvvirt").is_dir())
    text = pc.read_text().splitlines()
    pc.write_text("\n".join(f"prefix={prefix}" if line.startswith("prefix=") else line for line in text) + "\n")
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD")}
    library = next(stage.rglob("libpvvirt.so")).parent
    return dict(env, PKG_CONFIG_PATH=str(pc.parent), LD_LIBRARY_PATH=str(library)), stage


def test_pip(installed, tmp_path):
    env, _ = installed
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(SOURCE / "bindings/python", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    run(sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-index", "--no-deps",
        "--disable-pip-version-check", "--root-user-action", "ignore", "--target", target, source, env=env)
    assert {p.name for p in (target / "pvvirt").glob("*.py*")} >= {
        p.name for p in pathlib.Path(pvvirt.__file__).parent.glob("*.py*")}
    assert not (target / "gen_bindings.py").exists()
    program = f"""
import pvvirt, importlib.metadata
assert pvvirt.__file__.startswith({str(target)!r})
assert importlib.metadata.version("pvvirt") == pvvirt.version()
with pvvirt.Host() as host, host.create(name="pip", kernel={str(GUESTS / 'hello.elf')!r}, memory=16 << 20) as domain:
    domain.start()
    print(domain.join(60))
"""
    out = run(sys.executable, "-B", "-c", program, env=dict(env, PYTHONPATH=str(target)), cwd=tmp_path)
    assert out == "shutoff (shutdown)\n"


def test_staged_install_has_the_package(installed):
    """`meson install` installs it as well."""
    env, stage = installed
    package = next(stage.rglob("pvvirt/__init__.py")).parent
    out = run(sys.executable, "-B", "-c", "import pvvirt; print(pvvirt.version(), pvvirt.__file__)",
              env=dict(env, PYTHONPATH=str(package.parent)))
    assert out.split() == [pvvirt.version(), str(package / "__init__.py")]
    assert (package / "py.typed").exists() and (package / "_pvvirt.pyi").exists()
    assert not (package / "_pvvirt.c").exists()


def test_devenv(tmp_path):
    """From the build tree, without installing."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD")}
    out = run("meson", "devenv", "-C", BUILD, sys.executable, "-B", "-c", "import pvvirt; print(pvvirt.__file__)", env=env, cwd=tmp_path)
    assert out.split() == [str(BUILD / "bindings/python/pvvirt/__init__.py")]


def test_without_the_library_it_says_so(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(SOURCE / "bindings/python", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    env = dict(os.environ, PKG_CONFIG_LIBDIR=str(tmp_path / "empty"), PKG_CONFIG_PATH="")
    r = subprocess.run([sys.executable, "setup.py", "build"], cwd=source, env=env, text=True, capture_output=True)
    assert r.returncode != 0 and "install libpvvirt-dev" in r.stderr
