# SPDX-License-Identifier: MIT
"""Host paravirtualized (Xen PV) guests from inside a Python program, with libpvvirt.

    import pvvirt

    with pvvirt.Host() as host, host.create(name="hello", kernel="grub-x86_64-xen.bin",
                                            memory=64 * pvvirt.MiB) as domain:
        console = domain.open_console()
        domain.start()
        print(console.read_until("grub> ").decode())

Everything may be called from any thread; the library runs no Python code but callbacks inside
:meth:`Host.dispatch` (and inside waiting for events), so that a busy interpreter cannot stall a guest.
After a fork the child's objects raise :class:`ForkError`. See doc/python.md.
"""
from __future__ import annotations

import json
from typing import Any, Optional

from . import _errors, _generated
from ._config import Disk, DomainConfig, Forward, GiB, Interface, KiB, MiB, Path, descriptor
from ._console import AsyncConsole, Console
from ._domain import Domain, DomainStatus
from ._errors import (AccessError, AgainError, BusyError, Error, ExistsError, ForkError, GuestError, ImageError,
                      InternalError, InvalidArgumentError, IOFailedError, LimitError, NotFoundError, OutOfMemoryError,
                      StateError, SystemCallError, TimedOutError, UnsupportedError, XMLError)
from ._events import Event, EventStream
from ._generated import *  # noqa: F403
from ._generated import ImageFlags
from ._host import Host
from ._pvvirt import ffi, lib


def version() -> str:
    """The version of the library that is running."""
    return _errors.text(lib.pvv_version_string())


def version_number() -> int:
    """The same as major * 1000000 + minor * 1000 + micro."""
    return lib.pvv_version()


def has_feature(name: str) -> bool:
    """Whether this build of the library has a feature, such as "executor.ring3" or "net". What this
    host can do is another question: see :meth:`Host.capabilities`."""
    return bool(lib.pvv_has_feature(_errors.encode(name, "name")))


def inspect_image(path: Optional[Path] = None, fd: Optional[int] = None) -> "dict[str, Any]":
    """Describe a kernel image, without running it: format, compression, Xen notes."""
    if (path is None) == (fd is None):
        raise _errors.invalid("inspect_image: give either a path or a descriptor")
    name = ffi.NULL if path is None else _errors.encode_path(path, "inspect_image: path")
    found: "dict[str, Any]" = json.loads(_errors.take_text(
        lib.pvv_image_inspect, name, descriptor(fd, "inspect_image: fd"), ImageFlags.JSON))
    return found


__version__ = version()

UNBOUND = {
    "pvv_host_ref": "Python objects count their references themselves",
    "pvv_host_unrefp": "a C cleanup attribute",
    "pvv_domain_unrefp": "a C cleanup attribute",
    "pvv_host_set_event_callback": "Host.set_event_callback() is made of pvv_event_next(), so that callback, streams "
                                   "and wait() each get every event",
}
"""C functions that this package deliberately does not use, and why. A test checks that all others are."""

__all__ = [*_generated.__all__, "AccessError", "AgainError", "AsyncConsole", "BusyError", "Console", "Disk", "Domain",
           "DomainConfig", "DomainStatus", "Error", "Event", "EventStream", "ExistsError", "ForkError", "Forward", "GiB",
           "GuestError", "Host", "IOFailedError", "ImageError", "Interface", "InternalError", "InvalidArgumentError", "KiB",
           "LimitError", "MiB", "NotFoundError", "OutOfMemoryError", "StateError", "SystemCallError", "TimedOutError",
           "UNBOUND", "UnsupportedError", "XMLError", "has_feature", "inspect_image", "version", "version_number"]
