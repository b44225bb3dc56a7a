# SPDX-License-Identifier: MIT
"""Typed configuration: what pvv_domain_options and pvv_disk_options are in C."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Optional, Sequence, Union

from ._errors import encode, invalid
from ._generated import Action, ConsoleType, Executor
from ._pvvirt import ffi, lib

Path = Union[str, "os.PathLike[str]"]

KiB = 1 << 10
MiB = 1 << 20
GiB = 1 << 30


@dataclass
class Disk:
    """A disk: exactly one of ``path`` and ``fd``."""

    path: Optional[Path] = None
    """A raw image file or a block device."""
    target: Optional[str] = None
    """The device's name in the guest, "xvda"; the next free one by default."""
    readonly: bool = False
    """The guest cannot write."""
    fd: Optional[int] = None
    """An open descriptor; the library duplicates it when the domain is made."""


@dataclass
class DomainConfig:
    """A domain. Only ``name`` and a kernel are required."""

    name: str
    """1 to 64 characters without '/' and control characters."""
    kernel: Optional[Path] = None
    """The file with the PV kernel (ELF or bzImage). It is opened at the start, not before."""
    memory: int = 0
    """Bytes (``64 * MiB``), at least 4 MiB; 0 = 256 MiB."""
    cmdline: Optional[str] = None
    """The kernel's command line, at most 1,023 bytes."""
    initrd: Optional[Path] = None
    """The module handed to the guest."""
    vcpus: int = 0
    """1 to 32; 0 = 1."""
    max_memory: int = 0
    """Bytes that :meth:`Domain.set_memory` may give it; 0 = ``memory``."""
    vcpus_online: int = 0
    """vCPUs at the start; 0 = all."""
    disks: Sequence[Disk] = field(default_factory=list)
    """At most 64."""
    console: ConsoleType = ConsoleType.STREAM
    """What console 0 is connected to; :meth:`Domain.open_console` works with each."""
    console_path: Optional[Path] = None
    """For ConsoleType.FILE and ConsoleType.UNIX."""
    on_poweroff: Action = Action.DEFAULT
    """What follows when the guest powers off; by default it is destroyed."""
    on_reboot: Action = Action.DEFAULT
    """What follows when the guest reboots; by default it is started again."""
    on_crash: Action = Action.DEFAULT
    """What follows when the guest crashes; by default it is destroyed."""
    executor: Executor = Executor.AUTO
    """What runs the guest."""
    uuid: Optional[str] = None
    """36 characters; made up by default."""
    kernel_fd: Optional[int] = None
    """An open descriptor in place of ``kernel``; duplicated when the domain is made."""
    initrd_fd: Optional[int] = None
    """An open descriptor in place of ``initrd``; duplicated when the domain is made."""


class COptions:
    """A pvv_domain_options, with what it points to kept alive."""

    def __init__(self, config: DomainConfig) -> None:
        self._keep: list[Any] = []
        self.c = o = ffi.new("pvv_domain_options *")
        lib._pvvpy_init_pvv_domain_options(o)
        o.name = self._text(config.name, "DomainConfig.name")
        o.uuid = self._text(config.uuid, "DomainConfig.uuid")
        o.cmdline = self._text(config.cmdline, "DomainConfig.cmdline")
        for name in "kernel", "initrd", "console_path":
            setattr(o, name, self._path(getattr(config, name), f"DomainConfig.{name}"))
        for name in "memory", "max_memory", "vcpus", "vcpus_online", "console", "executor", "on_poweroff", "on_reboot", "on_crash":
            try:
                setattr(o, name, getattr(config, name))
            except OverflowError:
                raise invalid(f"DomainConfig.{name} = {getattr(config, name)} is out of range") from None
        for name in "kernel_fd", "initrd_fd":
            setattr(o, name, descriptor(getattr(config, name), f"DomainConfig.{name}"))
        disks = ffi.new("pvv_disk_options[]", len(config.disks))
        for i, disk in enumerate(config.disks):
            self._disk(disks + i, disk, f"DomainConfig.disks[{i}]")
        self._keep.append(disks)
        o.disks = disks
        o.nr_disks = len(config.disks)

    def _disk(self, c: Any, disk: Disk, what: str) -> None:
        lib._pvvpy_init_pvv_disk_options(c)
        c.path = self._path(disk.path, f"{what}.path")
        c.fd = descriptor(disk.fd, f"{what}.fd")
        c.target = self._text(disk.target, f"{what}.target")
        c.readonly = bool(disk.readonly)

    def _text(self, value: Optional[str], what: str) -> Any:
        return ffi.NULL if value is None else self._hold(encode(value, what))

    def _path(self, value: Optional[Path], what: str) -> Any:
        if value is None:
            return ffi.NULL
        data = os.fsencode(value)
        if b"\0" in data:
            raise invalid(f"{what} contains a NUL character")
        return self._hold(data)

    def _hold(self, data: bytes) -> Any:
        c = ffi.new("char[]", data)
        self._keep.append(c)
        return c


def descriptor(fd: Optional[int], what: str) -> int:
    """A descriptor for C, where -1 means none: a negative one here is a mistake, not a default."""
    if fd is None:
        return -1
    if fd < 0:
        raise invalid(f"{what} = {fd} is not a descriptor")
    return fd
