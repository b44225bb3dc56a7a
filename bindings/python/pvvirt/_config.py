# SPDX-License-Identifier: MIT
"""Typed configuration: what pvv_domain_options and pvv_disk_options are in C."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Optional, Sequence, Union
from uuid import UUID

from ._errors import encode, encode_path, integer, invalid
from ._generated import Action, ConsoleType, Executor, InterfaceType
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
class Forward:
    """A port, or a range of them, of the host that leads to the guest."""

    start: int
    """The (first) host port, 1 to 65535."""
    end: int = 0
    """The last one; 0 = ``start``."""
    to: int = 0
    """The guest's port for ``start``; 0 = the same."""
    udp: bool = False
    """UDP instead of TCP."""
    address: Optional[str] = None
    """The host address to listen on; any by default."""


@dataclass
class Interface:
    """A network interface. By default it is user networking (passt), which needs no privileges."""

    type: InterfaceType = InterfaceType.USER
    """What it is plugged into."""
    target: Optional[str] = None
    """The tap device on the host."""
    bridge: Optional[str] = None
    """The bridge, with InterfaceType.BRIDGE."""
    mac: Optional[str] = None
    """"00:16:3e:..."; made up from the domain's UUID by default."""
    mtu: int = 0
    """68 to 65535; 0 = as it is."""
    existing: bool = False
    """``target`` exists and is used as it is."""
    forwards: Sequence[Forward] = field(default_factory=list)
    """At most 64, with InterfaceType.USER."""
    fd: Optional[int] = None
    """An open descriptor instead of what ``type`` would open - a tap device, or a socket that carries
    frames; the library duplicates it when the domain is made."""


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
    interfaces: Sequence[Interface] = field(default_factory=list)
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
    uuid: Union[UUID, str, None] = None
    """A uuid.UUID, or 36 characters; made up by default."""
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
        o.uuid = self._text(str(config.uuid) if isinstance(config.uuid, UUID) else config.uuid, "DomainConfig.uuid")
        o.cmdline = self._text(config.cmdline, "DomainConfig.cmdline")
        for name in "kernel", "initrd", "console_path":
            setattr(o, name, self._path(getattr(config, name), f"DomainConfig.{name}"))
        self._numbers(o, config, "DomainConfig", "memory", "max_memory", "vcpus", "vcpus_online", "console",
                      "executor", "on_poweroff", "on_reboot", "on_crash")
        for name in "kernel_fd", "initrd_fd":
            setattr(o, name, descriptor(getattr(config, name), f"DomainConfig.{name}"))
        _check_items(config.disks, Disk, "DomainConfig.disks")
        disks = ffi.new("pvv_disk_options[]", len(config.disks))
        for i, disk in enumerate(config.disks):
            self._disk(disks + i, disk, f"DomainConfig.disks[{i}]")
        self._keep.append(disks)
        o.disks = disks
        o.nr_disks = len(config.disks)
        _check_items(config.interfaces, Interface, "DomainConfig.interfaces")
        interfaces = ffi.new("pvv_interface_options[]", len(config.interfaces))
        for i, interface in enumerate(config.interfaces):
            self._interface(interfaces + i, interface, f"DomainConfig.interfaces[{i}]")
        self._keep.append(interfaces)
        o.interfaces = interfaces
        o.nr_interfaces = len(config.interfaces)

    def _disk(self, c: Any, disk: Disk, what: str) -> None:
        lib._pvvpy_init_pvv_disk_options(c)
        c.path = self._path(disk.path, f"{what}.path")
        c.fd = descriptor(disk.fd, f"{what}.fd")
        c.target = self._text(disk.target, f"{what}.target")
        c.readonly = bool(disk.readonly)

    def _interface(self, c: Any, interface: Interface, what: str) -> None:
        lib._pvvpy_init_pvv_interface_options(c)
        c.fd = descriptor(interface.fd, f"{what}.fd")
        for name in "target", "bridge", "mac":
            setattr(c, name, self._text(getattr(interface, name), f"{what}.{name}"))
        self._numbers(c, interface, what, "type", "mtu")
        c.existing = bool(interface.existing)
        _check_items(interface.forwards, Forward, f"{what}.forwards")
        forwards = ffi.new("pvv_forward_options[]", len(interface.forwards))
        for i, forward in enumerate(interface.forwards):
            lib._pvvpy_init_pvv_forward_options(forwards + i)
            self._numbers(forwards[i], forward, f"{what}.forwards[{i}]", "start", "end", "to")
            forwards[i].udp = bool(forward.udp)
            forwards[i].address = self._text(forward.address, f"{what}.forwards[{i}].address")
        self._keep.append(forwards)
        c.forwards = forwards
        c.nr_forwards = len(interface.forwards)

    @staticmethod
    def _numbers(c: Any, source: object, what: str, *names: str) -> None:
        for name in names:
            try:
                setattr(c, name, integer(getattr(source, name), f"{what}.{name}"))
            except OverflowError:
                raise invalid(f"{what}.{name} = {getattr(source, name)} is out of range") from None

    def _text(self, value: Optional[str], what: str) -> Any:
        return ffi.NULL if value is None else self._hold(encode(value, what))

    def _path(self, value: Optional[Path], what: str) -> Any:
        return ffi.NULL if value is None else self._hold(encode_path(value, what))

    def _hold(self, data: bytes) -> Any:
        c = ffi.new("char[]", data)
        self._keep.append(c)
        return c


def _check_items(items: object, kind: type, what: str) -> None:
    """One disk in place of a list of them, or its path in place of the disk, are easily written."""
    if isinstance(items, (str, bytes)) or not isinstance(items, Sequence):
        raise TypeError(f"{what} must be a list of pvvirt.{kind.__name__}, not {type(items).__name__}")
    for i, item in enumerate(items):
        if not isinstance(item, kind):
            raise TypeError(f"{what}[{i}] must be a pvvirt.{kind.__name__}, not {type(item).__name__}")


def descriptor(fd: Optional[int], what: str) -> int:
    """A descriptor for C, where -1 means none: a negative one here is a mistake, not a default."""
    if fd is None:
        return -1
    if integer(fd, what) < 0:
        raise invalid(f"{what} = {fd} is not a descriptor")
    return fd
