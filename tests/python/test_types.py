# SPDX-License-Identifier: MIT
"""The annotations: mypy --strict accepts the package and the examples, and finds mistakes in using it."""
import os
import pathlib
import subprocess

import pytest
from conftest import SOURCE

BUILD = pathlib.Path(os.environ["PVV_BUILD_ROOT"])


def mypy(cache, *args):
    env = dict(os.environ, MYPYPATH=str(BUILD / "bindings/python"))
    try:
        r = subprocess.run(["/usr/bin/mypy", "--strict", "--cache-dir", cache, *args], text=True,
                           capture_output=True, env=env, cwd=cache)
    except FileNotFoundError:
        pytest.skip("skipped: mypy is not installed")
    return r.returncode, r.stdout + r.stderr


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One cache for all: most of mypy's time goes into the standard library."""
    return tmp_path_factory.mktemp("mypy")


def test_the_package(cache):
    status, text = mypy(cache, "-p", "pvvirt")
    assert status == 0, text


def test_the_examples(cache):
    examples = sorted(SOURCE.glob("examples/*.py"))
    assert examples
    status, text = mypy(cache, *examples)
    assert status == 0, text


MISTAKES = [
    ("host.create(name=1)", "call-overload"),
    ("host.create(name='x', kernle='/k')", "call-overload"),
    ("pvvirt.DomainConfig(name='x', kernle='/k')", "call-arg"),
    ("domain.strat()", "attr-defined"),
    ("domain.stats().cpu_time", "attr-defined"),
    ("x: str = domain.stats().hypercalls", "assignment"),
    ("domain.start(1)", "arg-type"),
    ("domain.status.text = ''", "misc"),
    ("host.set_event_callback(lambda: None)", "misc"),
    ("for event in host.events(): event.nmae", "attr-defined"),
    ("domain.set_console('pty')", "arg-type"),
]


def test_mistakes_are_found(cache, tmp_path):
    lines = ["import pvvirt", "host = pvvirt.Host()", "domain = host.lookup('x')", *(m for m, _ in MISTAKES)]
    (tmp_path / "wrong.py").write_text("\n".join(lines) + "\n")
    status, text = mypy(cache, tmp_path / "wrong.py")
    assert status == 1
    for n, (mistake, kind) in enumerate(MISTAKES, 4):
        assert any(f"wrong.py:{n}: error" in line and f"[{kind}]" in line for line in text.splitlines()), \
            f"{mistake}: {text}"
