# SPDX-License-Identifier: MIT
"""Domains."""
from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, Union
from uuid import UUID

from ._config import Path
from ._console import AsyncConsole, Console
from ._errors import Error, StateError, TimedOutError, check, encode, encode_path, invalid, make, take_text, text, unsigned
from ._events import EventStream
from ._generated import (BlockStats, ConsoleFlags, ConsoleType, DomainInfo, DomainState, DomainStats, ErrorCode,
                         ErrorSubsystem, EventStopped, EventType, Executor, InterfaceStats, Reason, ShutoffReason,
                         StartFlags, reason_of)
from ._pvvirt import ffi, lib

if TYPE_CHECKING:
    from ._core import HostCore

_STOPPED = {EventStopped.SHUTDOWN: ShutoffReason.SHUTDOWN, EventStopped.DESTROYED: ShutoffReason.DESTROYED,
            EventStopped.CRASHED: ShutoffReason.CRASHED, EventStopped.FAILED: ShutoffReason.FAILED}

# References of domains that were started with AUTODESTROY, by address: the collector must not be the
# one that drops the last reference, because that ends the guest. Domain.close() drops these.
_autodestroy: "dict[int, Any]" = {}
_autodestroy_lock = threading.RLock()


def _after_fork() -> None:
    # The references are of the parent's domains, and another thread may have had the lock.
    global _autodestroy_lock
    _autodestroy_lock = threading.RLock()
    _autodestroy.clear()


os.register_at_fork(after_in_child=_after_fork)


def _address(c: Any) -> int:
    return int(ffi.cast("uintptr_t", c))


def forget_ended() -> None:
    """Drop the references of domains that have ended by themselves since."""
    state = ffi.new("int *")
    with _autodestroy_lock:
        for address, c in list(_autodestroy.items()):
            if lib.pvv_domain_get_state(c, state, ffi.NULL) == 0 and state[0] == DomainState.SHUTOFF:
                lib.pvv_domain_unref(_autodestroy.pop(address))


# Python runs signal handlers (Ctrl-C) between two calls only: the main thread waits in slices.
_SLICE_MS = 200


@dataclass(frozen=True)
class DomainStatus:
    """The state of a domain, and why it has it."""

    state: DomainState
    """The state."""
    reason: Reason
    """Why: an enumeration by the state (RunningReason, PausedReason, ShutoffReason, CrashedReason)."""
    text: str
    """A sentence about the last end: why the guest crashed, which file was missing; may be ""."""

    @property
    def active(self) -> bool:
        """Whether there is a guest."""
        return self.state not in (DomainState.SHUTOFF, DomainState.CRASHED)

    @property
    def powered_off(self) -> bool:
        """Whether the guest ended by itself and in good order."""
        return self.state == DomainState.SHUTOFF and self.reason == ShutoffReason.SHUTDOWN

    def __str__(self) -> str:
        reason = self.reason.name if hasattr(self.reason, "name") else str(self.reason)
        return f"{self.state.name.lower()} ({reason.lower()}){': ' + self.text if self.text else ''}"


class Domain:
    """A guest's description, and the guest while it runs. Made by :meth:`Host.create` and its sisters.

    Dropping the object never ends the guest: :meth:`Host.lookup` finds it again.
    ``with host.create(...) as domain:`` ends it when the block is left. All methods may be called
    from any thread, none holds the interpreter's lock while the library works.
    """

    def __init__(self, core: "HostCore", c: Any) -> None:
        """Takes over the reference ``c``."""
        self._core = core
        self._c_or_none: Any = ffi.gc(c, lib.pvv_domain_unref)
        self._name = text(lib.pvv_domain_get_name(c))
        self._uuid = UUID(text(lib.pvv_domain_get_uuid(c)))

    @property
    def _c(self) -> Any:
        if self._c_or_none is None:
            raise invalid("the domain is closed")
        return self._c_or_none

    # -- life cycle ------------------------------------------------------------------------------

    def start(self, flags: StartFlags = StartFlags(0)) -> None:
        """Start the guest and return at once. The errors of opening files are raised here; how loading
        and booting went is told by events, :attr:`status` and :meth:`wait`.

        With ``StartFlags.AUTODESTROY``, :meth:`close` ends the guest."""
        if not flags & StartFlags.AUTODESTROY:
            check(lib.pvv_domain_start(self._c, flags))
            return
        c = self._c
        with _autodestroy_lock:
            new = _address(c) not in _autodestroy
            if new:
                _autodestroy[_address(c)] = lib.pvv_domain_ref(c)
            code = lib.pvv_domain_start(c, flags)
        if code < 0:
            error = make(code)
            if new:
                self._forget_autodestroy()
            raise error

    def pause(self) -> None:
        """Stop all vCPUs; on return no guest instruction runs until :meth:`resume`."""
        check(lib.pvv_domain_pause(self._c, 0))

    def resume(self) -> None:
        """Let a paused guest go on."""
        check(lib.pvv_domain_resume(self._c, 0))

    def shutdown(self) -> None:
        """Ask the guest to power off. It may take its time, or ignore it: see :meth:`stop`."""
        check(lib.pvv_domain_shutdown(self._c, 0))

    def reboot(self) -> None:
        """Ask the guest to reboot."""
        check(lib.pvv_domain_reboot(self._c, 0))

    def destroy(self) -> None:
        """End the guest at whatever instruction it is. On return nothing of it runs, and the writes that
        were acknowledged to it are in their files."""
        check(lib.pvv_domain_destroy(self._c, 0))

    def join(self, timeout: Optional[float] = None) -> DomainStatus:
        """Wait, blocking this thread, until the domain is not active any more; :class:`TimedOutError`
        after ``timeout`` seconds. Coroutines use :meth:`wait`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        in_main = threading.current_thread() is threading.main_thread()
        while True:
            left = -1 if deadline is None else max(0, int((deadline - time.monotonic()) * 1000 + 0.999))
            ms = left if not in_main or 0 <= left <= _SLICE_MS else _SLICE_MS
            code = lib.pvv_domain_wait(self._c, ms, 0)
            if code == ErrorCode.ETIMEDOUT and ms != left:
                continue
            check(code)
            return self.status

    async def wait(self, timeout: Optional[float] = None) -> DomainStatus:
        """Wait in asyncio until the domain is not active any more; :class:`TimedOutError` after
        ``timeout`` seconds. Any number of coroutines may wait. Threads use :meth:`join`."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        with EventStream(self._core, private=True) as events:
            status = self.status
            while status.active:
                event = await events.anext(None if deadline is None else max(0.0, deadline - loop.time()))
                if event is None:
                    raise TimedOutError(ErrorCode.ETIMEDOUT, f"domain '{self.name}' is still active",
                                        ErrorSubsystem.DOMAIN, 0, self.name)
                if event.type == EventType.LOST:
                    status = self.status
                elif event.type == EventType.STOPPED and event.domain_uuid == self.uuid:
                    status = self.status
                    if status.active:  # somebody has started it again
                        reason = _STOPPED.get(EventStopped(event.detail), ShutoffReason.UNKNOWN)
                        status = DomainStatus(DomainState.SHUTOFF, reason, event.text)
            return status

    def stop(self, timeout: float = 30.0) -> DomainStatus:
        """End the guest with grace: ask it to power off, and destroy it after ``timeout`` seconds. Fine
        for a domain that is not active."""
        try:
            self.shutdown()
            return self.join(timeout)
        except (StateError, TimedOutError):
            self._end()
            return self.status

    async def astop(self, timeout: float = 30.0) -> DomainStatus:
        """:meth:`stop` for coroutines."""
        try:
            self.shutdown()
            return await self.wait(timeout)
        except (StateError, TimedOutError):
            await asyncio.to_thread(self._end)
            return self.status

    def _end(self) -> None:
        try:
            self.destroy()
        except StateError:
            pass  # it has ended by itself

    def close(self) -> None:
        """Drop this object's reference now. Ends the guest only if it was started with
        ``StartFlags.AUTODESTROY`` and no other object refers to the domain."""
        if self._c_or_none is not None:
            self._forget_autodestroy()
            self._c_or_none = None

    def _forget_autodestroy(self) -> None:
        with _autodestroy_lock:
            held = _autodestroy.pop(_address(self._c), None)
        if held is not None:
            lib.pvv_domain_unref(held)

    def __enter__(self) -> "Domain":
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        if self._c_or_none is not None:
            if not self._core.forked():
                self._end()
            self.close()

    # -- facts -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name; it never changes."""
        return self._name

    @property
    def uuid(self) -> UUID:
        """The UUID; it never changes."""
        return self._uuid

    @property
    def id(self) -> int:
        """The domain id of the guest, or -1 while the domain is not active."""
        return lib.pvv_domain_get_id(self._c)

    @property
    def status(self) -> DomainStatus:
        """The state, the reason and a sentence about the last end."""
        state, reason = ffi.new("int *"), ffi.new("int *")
        check(lib.pvv_domain_get_state(self._c, state, reason))
        said = take_text(lib.pvv_domain_get_reason_text, self._c)
        return DomainStatus(DomainState(state[0]), reason_of(state[0], reason[0]), said)

    @property
    def state(self) -> DomainState:
        """The state alone."""
        return self.status.state

    @property
    def info(self) -> DomainInfo:
        """Memory, vCPUs, processor time, executor."""
        c = ffi.new("pvv_domain_info *")
        c.size = ffi.sizeof(c[0])
        check(lib.pvv_domain_get_info(self._c, c))
        return DomainInfo._from_c(c)

    @property
    def xml(self) -> str:
        """The description as canonical libvirt XML; :meth:`Host.create_xml` takes it."""
        return take_text(lib.pvv_domain_get_xml, self._c, 0)

    @property
    def warnings(self) -> "list[str]":
        """What was ignored in its XML."""
        return take_text(lib.pvv_domain_get_warnings, self._c).splitlines()

    def stats(self) -> DomainStats:
        """The counters; they start at 0 with the guest and can be read after its end."""
        c = ffi.new("pvv_domain_stats *")
        c.size = ffi.sizeof(c[0])
        check(lib.pvv_domain_get_stats(self._c, 0, c))
        return DomainStats._from_c(c)

    def block_stats(self, target: str) -> BlockStats:
        """The counters of a disk, by its name in the guest ("xvda")."""
        c = ffi.new("pvv_block_stats *")
        c.size = ffi.sizeof(c[0])
        check(lib.pvv_domain_get_block_stats(self._c, encode(target, "target"), 0, c))
        return BlockStats._from_c(c)

    def interface_stats(self, interface: Union[str, int]) -> InterfaceStats:
        """The counters of a network interface: by its MAC address, by its device on the host, or by its
        number in the description."""
        c = ffi.new("pvv_interface_stats *")
        c.size = ffi.sizeof(c[0])
        check(lib.pvv_domain_get_interface_stats(self._c, encode(str(interface), "interface"), 0, c))
        return InterfaceStats._from_c(c)

    # -- consoles and changes --------------------------------------------------------------------

    def open_console(self, index: int = 0) -> Console:
        """A console as a file: what the guest writes can be read, what is written is its input. What was
        written before the call (at most 64 KiB) comes first. Works before the start, too."""
        return Console(self._open_console(index, ConsoleFlags(0)), self.name)

    def open_channel(self, name: str) -> Console:
        """A channel (of a domain made from XML, by its target's name) as a file, as :meth:`open_console`."""
        return Console(self._open_channel(name, ConsoleFlags(0)), self.name)

    async def aopen_channel(self, name: str) -> AsyncConsole:
        """:meth:`open_channel` for coroutines."""
        return await AsyncConsole._open(self._open_channel(name, ConsoleFlags.NONBLOCK), self.name)

    def _open_channel(self, name: str, flags: ConsoleFlags) -> int:
        ret = ffi.new("int *")
        check(lib.pvv_domain_open_channel(self._c, encode(name, "name"), flags, ret))
        return int(ret[0])

    async def aopen_console(self, index: int = 0) -> AsyncConsole:
        """:meth:`open_console` for coroutines."""
        return await AsyncConsole._open(self._open_console(index, ConsoleFlags.NONBLOCK), self.name)

    def _open_console(self, index: int, flags: ConsoleFlags) -> int:
        ret = ffi.new("int *")
        check(lib.pvv_domain_open_console(self._c, unsigned(index, 32, "index"), flags, ret))
        return int(ret[0])

    def console_path(self, index: int = 0) -> str:
        """The name of the pseudo terminal behind a console of type PTY, while the domain is active."""
        return take_text(lib.pvv_domain_get_console_path, self._c, unsigned(index, 32, "index"))

    def set_console(self, type: ConsoleType, path: Optional[Path] = None, index: int = 0) -> None:
        """Say what a console is connected to; the domain must be shut off, and the streams that were
        opened before end."""
        name = ffi.NULL if path is None else encode_path(path, "path")
        check(lib.pvv_domain_set_console(self._c, unsigned(index, 32, "index"), unsigned(type, 32, "type"), name, 0))

    def set_executor(self, executor: Executor) -> None:
        """Choose what runs the guest; the domain must be shut off."""
        check(lib.pvv_domain_set_executor(self._c, unsigned(executor, 32, "executor"), 0))

    def set_brief_turns(self, allowed: bool) -> None:
        """Say whether ring3 may interpret short turns of guest programs itself, which is faster, or leaves all
        of them to the programs' processes; the domain must be shut off."""
        check(lib.pvv_domain_set_brief_turns(self._c, unsigned(allowed, 32, "allowed"), 0))

    def set_memory(self, size: int) -> None:
        """Ask the guest's balloon to have this many bytes (rounded up to MiB). Returns at once;
        :attr:`info` says what it has."""
        check(lib.pvv_domain_set_memory(self._c, unsigned(size, 64, "size"), 0))

    def set_vcpus(self, vcpus: int) -> None:
        """Ask the guest to use this many vCPUs. Returns at once; :attr:`info` says how many are up."""
        check(lib.pvv_domain_set_vcpus(self._c, unsigned(vcpus, 32, "vcpus"), 0))

    # -- identity --------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        """Two objects are equal if they are the same domain of the same host."""
        if not isinstance(other, Domain):
            return NotImplemented
        return self is other or (self._c_or_none is not None and bool(self._c_or_none == other._c_or_none))

    def __hash__(self) -> int:
        return hash(self._uuid)

    def __repr__(self) -> str:
        return "<pvvirt.Domain closed>" if self._c_or_none is None else f"<pvvirt.Domain {self.name!r}>"
