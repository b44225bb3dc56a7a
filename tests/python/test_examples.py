# SPDX-License-Identifier: MIT
"""The examples in Python, run as a reader would."""
import os
import re
import signal
import subprocess
import sys
from conftest import LONG, SOURCE, guest


def run(example, *args, **kw):
    return subprocess.run([sys.executable, SOURCE / "examples" / example, *map(str, args)], text=True,
                          capture_output=True, timeout=LONG, **kw)


def test_they_are_short():
    for path in SOURCE.glob("examples/*.py"):
        assert len(path.read_text().splitlines()) <= 80, path


def test_hello():
    r = run("hello.py", guest("hello"))
    assert (r.returncode, r.stderr) == (0, "")
    assert r.stdout.startswith("Hello, world!") and r.stdout.endswith("powered off\n")
    r = run("hello.py", guest("end-crash"))
    assert r.returncode == 1 and "did not power off: shutoff (crashed): the guest" in r.stdout
    r = run("hello.py", "/nowhere")
    assert r.returncode == 1 and r.stderr.startswith("hello: ") and "/nowhere" in r.stderr


def test_fleet_ends_by_itself():
    r = run("asyncio_fleet.py", "--count", 12, guest("hello"))
    assert (r.returncode, r.stderr) == (0, "")
    assert re.search(r"^12 of 12 powered off; [\d.]+ s", r.stdout, re.M)
    assert len(re.findall(r"fleet-\d+ says: Hello, world!", r.stdout)) == 12
    assert len(re.findall(r"fleet-\d+ stopped \(shutdown\)", r.stdout)) == 12


def test_fleet_that_does_not_listen_is_destroyed():
    r = run("asyncio_fleet.py", "--count", 2, "--seconds", 0.2, guest("end-spin"))
    assert (r.returncode, r.stderr) == (0, "")
    assert len(re.findall(r"stopped \(destroyed\)", r.stdout)) == 2 and "0 of 2 powered off" in r.stdout


def test_fleet_on_ctrl_c():
    p = subprocess.Popen([sys.executable, SOURCE / "examples/asyncio_fleet.py", "--count", "2", guest("service")],
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env=dict(os.environ, PYTHONUNBUFFERED="1"))
    seen = ""
    while seen.count("says: service ready") < 2:
        line = p.stdout.readline()
        assert line, seen
        seen += line
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=LONG)
    assert err == "" and p.returncode == 0 and "2 of 2 powered off" in out

