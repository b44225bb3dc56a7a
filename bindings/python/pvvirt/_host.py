# SPDX-License-Identifier: MIT
"""Host handles."""
from __future__ import annotations

import json
import logging
from types import TracebackType
from typing import Any, Callable, Optional, Sequence, Union, overload
from uuid import UUID

from ._config import COptions, Disk, DomainConfig, Interface, Path
from ._core import EventFn, HostCore, LogFn, raise_first
from ._domain import Domain, forget_ended
from ._errors import check, encode, invalid, take_text
from ._events import EventStream
from ._generated import Action, ConsoleType, CreateFlags, DomainState, Executor, LogLevel
from ._pvvirt import ffi, lib

_LOGGING = {LogLevel.ERROR: logging.ERROR, LogLevel.WARNING: logging.WARNING, LogLevel.INFO: logging.INFO,
            LogLevel.DEBUG: logging.DEBUG}


class Host:
    """A set of domains with one event queue. Several may exist; they know nothing of each other.

    Opening one starts one thread, which never runs Python code. All methods may be called from any
    thread. ``with Host() as host:`` ends the guests that still run when the block is left;
    :meth:`close`, and dropping the object, end none.
    """

    def __init__(self) -> None:
        self._core_or_none: Optional[HostCore] = HostCore()

    @property
    def _core(self) -> HostCore:
        if self._core_or_none is None:
            raise invalid("the host is closed")
        return self._core_or_none

    # -- life ------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the handle. Guests that run go on running, until this process ends; domain
        objects can still be used, but not their events."""
        self._core_or_none = None

    def __enter__(self) -> "Host":
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        if self._core_or_none is None:
            return
        if not self._core.forked():  # a child has copies; the guests are its parent's
            for domain in self.domains():
                domain._end()
                domain._forget_autodestroy()
        self.close()

    def __repr__(self) -> str:
        return f"<pvvirt.Host {'closed' if self._core_or_none is None else hex(id(self))}>"

    # -- domains ---------------------------------------------------------------------------------

    @overload
    def create(self, config: DomainConfig) -> Domain: ...

    @overload
    def create(self, *, name: str, kernel: Optional[Path] = ..., memory: int = ..., cmdline: Optional[str] = ...,
               initrd: Optional[Path] = ..., vcpus: int = ..., max_memory: int = ...,
               vcpus_online: int = ..., disks: Sequence[Disk] = ..., interfaces: Sequence[Interface] = ...,
               console: ConsoleType = ..., console_path: Optional[Path] = ..., on_poweroff: Action = ...,
               on_reboot: Action = ..., on_crash: Action = ..., executor: Executor = ..., uuid: Union[UUID, str, None] = ...,
               kernel_fd: Optional[int] = ..., initrd_fd: Optional[int] = ...) -> Domain: ...

    def create(self, config: Optional[DomainConfig] = None, **fields: Any) -> Domain:
        """Make a domain from a :class:`DomainConfig`, or from its fields as keywords. It is not
        started."""
        if config is not None and fields:
            raise TypeError("give a DomainConfig or its fields as keywords, not both")
        options = COptions(config if config is not None else DomainConfig(**fields))
        ret = ffi.new("pvv_domain **")
        forget_ended()
        check(lib.pvv_domain_create(self._core.c, options.c, 0, ret))
        return Domain(self._core, ret[0])

    def create_xml(self, xml: str, strict: bool = False) -> Domain:
        """Make a domain from libvirt domain XML; see :attr:`Domain.warnings` for what was ignored.

        :param strict: refuse what would be ignored with a warning
        """
        ret = ffi.new("pvv_domain **")
        flags = CreateFlags.XML_STRICT if strict else 0
        check(lib.pvv_domain_create_xml(self._core.c, encode(xml, "xml"), flags, ret))
        return Domain(self._core, ret[0])

    def domains(self) -> "list[Domain]":
        """All domains, whether they run or not."""
        ret, count = ffi.new("pvv_domain ***"), ffi.new("size_t *")
        check(lib.pvv_host_list_domains(self._core.c, 0, ret, count))
        try:
            return [Domain(self._core, ret[0][i]) for i in range(count[0])]
        finally:
            lib.pvv_free(ret[0])

    def lookup(self, name: str) -> Domain:
        """The domain of that name, or :class:`NotFoundError`."""
        ret = ffi.new("pvv_domain **")
        check(lib.pvv_host_lookup_domain(self._core.c, encode(name, "name"), ret))
        return Domain(self._core, ret[0])

    def lookup_uuid(self, uuid: Union[UUID, str]) -> Domain:
        """The domain of that UUID, or :class:`NotFoundError`."""
        ret = ffi.new("pvv_domain **")
        check(lib.pvv_host_lookup_domain_by_uuid(self._core.c, encode(str(uuid), "uuid"), ret))
        return Domain(self._core, ret[0])

    # -- events and messages ---------------------------------------------------------------------

    def events(self) -> EventStream:
        """A stream of what happens to the domains: ``async for event in host.events():``, or a plain
        ``for``, which blocks. It begins with the first event that no other stream has had."""
        return EventStream(self._core)

    def fileno(self) -> int:
        """The descriptor to poll for reading, for an event loop of your own; then call
        :meth:`dispatch`. (It makes a Host something that ``selectors`` takes.)"""
        return self._core.fileno()

    def dispatch(self) -> int:
        """Run the callbacks that are due, on this thread, without waiting. Returns how many ran. What
        one raises is raised here, after all have run. asyncio programs need not call it while they
        await events of this host. Not from inside a callback."""
        n, errors = self._core.dispatch()
        raise_first(errors)
        return n

    def set_event_callback(self, fn: Optional[EventFn]) -> None:
        """Have :meth:`dispatch` call ``fn(event)`` for each event; None: not any more. Streams get the
        events as well."""
        self._core.set_event_callback(fn)

    def set_log(self, fn: Union[LogFn, logging.Logger, None], level: LogLevel = LogLevel.INFO) -> None:
        """Say where log messages go: to ``fn(level, domain_name, message)``, or to a logging.Logger.
        They wait (at most 1,024) until :meth:`dispatch`, or somebody waiting for events, delivers
        them. None: they are dropped.

        :param level: the least severe one to deliver
        """
        self._core.set_log(_to_logger(fn) if isinstance(fn, logging.Logger) else fn, level)

    # -- facts -----------------------------------------------------------------------------------

    def capabilities(self) -> "dict[str, Any]":
        """What this host can do, and why not. The first call may take up to 2 seconds."""
        found: "dict[str, Any]" = json.loads(take_text(lib.pvv_host_get_capabilities, self._core.c, 0))
        return found

    def active_domains(self) -> "list[Domain]":
        """The domains that are not shut off (or crashed)."""
        return [d for d in self.domains() if d.state not in (DomainState.SHUTOFF, DomainState.CRASHED)]


def _to_logger(logger: logging.Logger) -> Callable[[LogLevel, str, str], None]:
    def fn(level: LogLevel, domain: str, message: str) -> None:
        logger.log(_LOGGING.get(level, logging.INFO), "%s%s", f"{domain}: " if domain else "", message)
    return fn
