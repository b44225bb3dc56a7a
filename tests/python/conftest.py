# SPDX-License-Identifier: MIT
"""Fixtures: hosts, and the test guests of the build folder."""
import os
import pathlib
import uuid

import pytest

import pvvirt

GUESTS = pathlib.Path(os.environ["PVV_TEST_GUESTS"])
SOURCE = pathlib.Path(os.environ["PVV_SOURCE_ROOT"])
CACHE = pathlib.Path(os.environ.get("PVV_TEST_CACHE", "/var/cache/libpvvirt-test"))
LONG = 60  # seconds that are never reached unless something is broken


def guest(name):
    path = GUESTS / f"{name}.elf"
    assert path.exists(), f"{path} was not built"
    return path


@pytest.fixture
def host():
    with pvvirt.Host() as h:
        yield h


@pytest.fixture
def make(host):
    """make("hello", field=...) is a domain with that guest."""
    def make(kernel, **fields):
        fields.setdefault("name", f"{kernel}-{uuid.uuid4().hex[:8]}")
        fields.setdefault("memory", 16 * pvvirt.MiB)
        return host.create(kernel=guest(kernel), **fields)
    return make


@pytest.fixture
def start_paused(host):
    """start_paused(domain): it is there, and has not run an instruction."""
    def start_paused(domain, flags=pvvirt.StartFlags(0)):
        with host.events() as events:
            domain.start(pvvirt.StartFlags.PAUSED | flags)
            while domain.status.reason is not pvvirt.PausedReason.USER:
                assert events.next(LONG), "the guest did not come up"
    return start_paused


@pytest.fixture
def chatty(host, tmp_path):
    """A domain that causes log messages: each state of its disks."""
    for name, size in ("a", pvvirt.MiB), ("b", 64 * pvvirt.KiB):
        (tmp_path / name).write_bytes(bytes(size))
    return host.create(name="chatty", kernel=guest("block"), memory=64 * pvvirt.MiB,
                       disks=[pvvirt.Disk(tmp_path / "a"), pvvirt.Disk(tmp_path / "b", readonly=True)])


@pytest.fixture
def grub():
    path = CACHE / "grub-x86_64-xen.bin"
    if not path.exists():
        pytest.skip(f"{path} is missing; run scripts/fetch-guests grub")
    return path
