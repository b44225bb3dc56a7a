# SPDX-License-Identifier: MIT
"""What the wrappers of one host handle share: the C handle, its callbacks and its event log.

Life times: the only thing that the garbage collector does to a C object is to drop a reference, which
never ends a guest. C objects are kept by the wrappers and, during a call, by that call's arguments;
closing a wrapper forgets the C object, so that a call of another thread which is still inside the
library is safe.
"""
from __future__ import annotations

import asyncio
import os
import sys
import threading
from types import TracebackType
from typing import Any, Callable, Optional

from ._errors import check, text
from ._events import Event, EventLog, EventStream
from ._generated import LogLevel
from ._pvvirt import ffi, lib

LogFn = Callable[[LogLevel, str, str], object]
EventFn = Callable[[Event], object]


class HostCore:
    """A pvv_host and what belongs to it."""

    def __init__(self) -> None:
        ret = ffi.new("pvv_host **")
        check(lib.pvv_host_open(0, ret))
        self.c = ffi.gc(ret[0], lib.pvv_host_unref)
        self.log = EventLog(self)
        self.log_fn: Optional[LogFn] = None
        self.event_fn: Optional[EventFn] = None
        self._event_stream: Optional[EventStream] = None
        self._handle = ffi.new_handle(self)  # lives as long as the C handle has it
        self._pid = os.getpid()
        self._errors = threading.local()
        self._pump: Optional[Pump] = None
        self._pump_lock = threading.RLock()

    def forked(self) -> bool:
        """Whether this is a child of the process that opened the handle."""
        return os.getpid() != self._pid

    def fileno(self) -> int:
        """The descriptor to poll."""
        return check(lib.pvv_host_fd(self.c))

    def set_log(self, fn: Optional[LogFn], level: int) -> None:
        """See Host.set_log()."""
        self.log_fn = fn
        check(lib.pvv_host_set_log(self.c, level, lib._pvvpy_log if fn else ffi.NULL, self._handle))

    def set_event_callback(self, fn: Optional[EventFn]) -> None:
        """See Host.set_event_callback()."""
        if self._event_stream is not None:
            self._event_stream.close()
        self._event_stream = EventStream(self) if fn else None
        self.event_fn = fn

    def run_log(self) -> "tuple[int, list[BaseException]]":
        """Run the log callback for what waits: how often, and what it raised."""
        if getattr(self._errors, "list", None) is not None:
            return 0, []  # inside a callback: the outer call goes on with it
        errors: "list[BaseException]" = []
        self._errors.list = errors
        try:
            return check(lib.pvv_dispatch(self.c, 0)), errors
        finally:
            self._errors.list = None

    def run_log_now(self) -> None:
        """As run_log(), and raise what it raised."""
        raise_first(self.run_log()[1])

    def dispatch(self) -> "tuple[int, list[BaseException]]":
        """Run all callbacks that are due."""
        n, errors = self.run_log()
        stream, fn = self._event_stream, self.event_fn
        while stream is not None and fn is not None and not stream._closed:
            event = stream._poll()
            if event is None:
                break
            n += 1
            try:
                fn(event)
            except BaseException as e:
                errors.append(e)
                if not isinstance(e, Exception):
                    break  # KeyboardInterrupt and SystemExit: at once, the rest waits
        return n, errors

    def callback_failed(self, error: BaseException) -> None:
        """A log callback raised, inside the library: kept for the end of dispatch()."""
        self._errors.list.append(error)  # run_log() of this thread has set it

    def pump(self, loop: asyncio.AbstractEventLoop) -> "Pump":
        """What moves events into the log while something in that loop waits for them."""
        self.fileno()  # raises in a forked child, where nobody may ever release the lock
        with self._pump_lock:
            if self._pump is None or self._pump.is_over():
                self._pump = Pump(self, loop)
            elif self._pump.loop is not loop:
                raise RuntimeError("another asyncio event loop is waiting for events of this host; use one "
                                   "host a loop, or await them in that loop")
            return self._pump


class Pump:
    """One reader on the host's descriptor, while at least one coroutine waits."""

    def __init__(self, core: HostCore, loop: asyncio.AbstractEventLoop) -> None:
        self._core = core
        self._users = 0
        self._fd = core.fileno()
        self.loop = loop

    def is_over(self) -> bool:
        """Whether another loop may have the host now."""
        return self._users == 0 or self.loop.is_closed()

    def __enter__(self) -> "Pump":
        self._users += 1
        if self._users == 1:
            self.loop.add_reader(self._fd, self._ready)
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self._users -= 1
        if self._users == 0 and not self.loop.is_closed():
            self.loop.remove_reader(self._fd)

    def _ready(self) -> None:
        errors: "list[BaseException]" = []
        try:
            with self._core.log.lock:
                self._core.log.drain()
            errors = self._core.dispatch()[1]
        except Exception as e:
            # Such as a forked child's: a loop that cannot go on must not spin on the descriptor.
            self.loop.remove_reader(self._fd)
            errors.append(e)
        for error in errors:
            if not isinstance(error, Exception):
                raise error
            self.loop.call_exception_handler({"message": "a callback of a pvvirt.Host raised", "exception": error})


def raise_first(errors: "list[BaseException]") -> None:
    """Raise what callbacks raised: the first one, the others go to sys.unraisablehook."""
    if not errors:
        return
    for e in errors[1:]:
        sys.unraisablehook(_Unraisable(e))  # type: ignore[arg-type]
    raise errors[0]


class _Unraisable:
    """What sys.unraisablehook expects; its own class cannot be made."""

    def __init__(self, error: BaseException) -> None:
        self.exc_type, self.exc_value, self.exc_traceback = type(error), error, error.__traceback__
        self.err_msg = "Another callback of a pvvirt.Host raised too"
        self.object = None



@ffi.def_extern(name="_pvvpy_log")  # type: ignore[misc]
def _pvvpy_log(level: int, domain: Any, message: Any, opaque: Any) -> None:
    core = ffi.from_handle(opaque)
    fn = core.log_fn
    if fn is None:
        return
    try:
        fn(LogLevel(level), text(domain), text(message))
    except BaseException as e:
        core.callback_failed(e)
