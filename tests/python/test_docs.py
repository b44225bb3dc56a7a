# SPDX-License-Identifier: MIT
"""Every block of doc/python.md runs, in a folder of its own."""
import re

import pytest
from conftest import SOURCE, guest

import pvvirt

TEXT = (SOURCE / "doc/python.md").read_text()
BLOCKS = [(m.group(1), TEXT[:m.start()].count("\n") + 2) for m in re.finditer(r"```python\n(.*?)```", TEXT, re.S)]
NAMES = {"KERNEL": "hello", "CRASHING_KERNEL": "end-crash", "SPINNING_KERNEL": "end-spin", "ECHO_KERNEL": "echo"}
SAYS = ["shutoff (shutdown)", "web ", "/no/such/kernel", "the guest crashed: the guest", "shutoff (destroyed)",
        "5 characters: hello", "watched stopped (shutdown)", "", "shutoff (shutdown)", "'ring3'"]


def test_there_are_blocks():
    assert len(BLOCKS) == len(SAYS)


@pytest.mark.parametrize("n", range(len(SAYS)))
def test_block(n, tmp_path, monkeypatch, capsys):
    code, line = BLOCKS[n]
    monkeypatch.chdir(tmp_path)
    names = {"pvvirt": pvvirt, **{name: str(guest(file)) for name, file in NAMES.items()}}
    exec(compile("\n" * (line - 1) + code, "doc/python.md", "exec"), names)
    assert SAYS[n] in capsys.readouterr().out


def test_what_is_named_exists():
    """Each `name()` or `Class.NAME` of the text is one of the package, or of Python."""
    for name in set(re.findall(r"`(?:domain|host|console|events|await domain|await events|await console)\.(\w+)\(", TEXT)):
        assert any(hasattr(c, name) for c in (pvvirt.Domain, pvvirt.Host, pvvirt.Console, pvvirt.EventStream,
                                              pvvirt.AsyncConsole)), name
    for cls, name in set(re.findall(r"\b([A-Z]\w+)\.([A-Z]+)\b", TEXT)):
        assert hasattr(getattr(pvvirt, cls), name), f"{cls}.{name}"
    for name in set(re.findall(r"`(\w+Error)`", TEXT)) - {"TimeoutError", "LookupError", "ValueError"}:
        assert issubclass(getattr(pvvirt, name), pvvirt.Error)
