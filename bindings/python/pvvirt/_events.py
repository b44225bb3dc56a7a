# SPDX-License-Identifier: MIT
"""Events: what happened to the domains of a host, for any number of readers.

The C library has one queue that one reader empties. Here every reader sees every event: what is taken
out of the queue goes into a log that each stream reads at its own place. Events are taken out only
while somebody wants them, so that none is lost before the first reader comes.
"""
from __future__ import annotations

import asyncio
import os
import select
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, AsyncIterator, Iterator, Optional, Union
from uuid import UUID

from ._errors import check, invalid, text
from ._generated import EventCrashed, EventShutdown, EventStarted, EventStopped, EventType
from ._pvvirt import ffi, lib

if TYPE_CHECKING:
    from ._core import HostCore

LOG_MAX = 4096
"""How many events are kept for the slowest stream; then it gets one of type LOST."""

_DETAILS = {EventType.STARTED: EventStarted, EventType.SHUTDOWN: EventShutdown,
            EventType.STOPPED: EventStopped, EventType.CRASHED: EventCrashed}


@dataclass(frozen=True)
class Event:
    """Something that happened to a domain."""

    type: EventType
    """What."""
    detail: Union[EventStarted, EventShutdown, EventStopped, EventCrashed, int]
    """How; an enumeration for STARTED, SHUTDOWN, STOPPED and CRASHED, the number of events lost for LOST."""
    domain_name: str
    """The domain's name, "" if the event is about none."""
    domain_uuid: Optional[UUID]
    """The domain's UUID, None if the event is about none."""
    text: str
    """A sentence: why the guest crashed, why the start failed; may be ""."""
    time_ns: int
    """When it happened, as time.time_ns()."""

    def __str__(self) -> str:
        detail = f" ({self.detail.name.lower()})" if isinstance(self.detail, (EventShutdown, EventStopped, EventCrashed)) else ""
        said = f": {self.text}" if self.text else ""
        return f"{self.domain_name or '-'} {text(lib.pvv_event_type_name(self.type))}{detail}{said}"


def _lost(n: int) -> Event:
    return Event(EventType.LOST, n, "", None, "events were dropped because nobody took them", time.time_ns())


class EventLog:
    """The events of one host. Thread-safe."""

    def __init__(self, core: "HostCore") -> None:
        self._core = core
        self.lock = threading.RLock()  # a finalizer or signal handler may come in between
        self._events: deque[Event] = deque()
        self._first = 0  # number of _events[0]
        self._delivered = 0  # the first number that no stream has had
        self._streams: "weakref.WeakSet[EventStream]" = weakref.WeakSet()

    @property
    def end(self) -> int:
        """The number of the next event."""
        return self._first + len(self._events)

    def drain(self) -> None:
        """Take what waits in the library's queue and wake the streams. Called with the lock held."""
        ret = ffi.new("pvv_event **")
        new = False
        while check(lib.pvv_event_next(self._core.c, 0, ret)):
            e = ret[0]
            kind = EventType(lib.pvv_event_get_type(e))
            number = lib.pvv_event_get_detail(e)
            uuid = text(lib.pvv_event_get_domain_uuid(e))
            self._events.append(Event(
                kind, _DETAILS[kind](number) if kind in _DETAILS else number,
                text(lib.pvv_event_get_domain_name(e)), UUID(uuid) if uuid else None,
                text(lib.pvv_event_get_text(e)), lib.pvv_event_get_time_ns(e)))
            lib.pvv_event_free(e)
            new = True
        if new:
            self._trim()
            for stream in list(self._streams):
                stream._wake()

    def _trim(self) -> None:
        slowest = min((s._next for s in self._streams), default=self.end)
        keep = max(min(slowest, self._delivered), self.end - LOG_MAX)
        while self._first < keep:
            self._events.popleft()
            self._first += 1

    def take(self, stream: "EventStream") -> Optional[Event]:
        """The stream's next event. Called with the lock held."""
        if stream._next < self._first:
            lost, stream._next = self._first - stream._next, self._first
            return _lost(lost)
        if stream._next >= self.end:
            return None
        event = self._events[stream._next - self._first]
        stream._next += 1
        if not stream._private:
            self._delivered = max(self._delivered, stream._next)
        return event

    def add(self, stream: "EventStream") -> None:
        """A new stream begins with what no stream has had; a private one with what happens next."""
        self._core.fileno()
        with self.lock:
            if stream._private:
                self.drain()
                stream._next = self.end
            else:
                stream._next = max(self._delivered, self._first)
            self._streams.add(stream)

    def remove(self, stream: "EventStream") -> None:
        """Nothing is kept for this stream any more."""
        if self._core.forked():
            return
        with self.lock:
            self._streams.discard(stream)
            self._trim()


def _finish(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class EventStream:
    """The events of a host, for ``for`` (which waits by blocking) and ``async for``.

    Every stream gets every event from the moment it was made, and the first one also those that
    waited before. One stream is for one reader at a time; several streams are independent. Made by
    :meth:`Host.events`; leaving a ``with`` block, or dropping the stream, ends it.
    """

    def __init__(self, core: "HostCore", private: bool = False) -> None:
        self._core = core
        self._private = private
        self._next = 0
        self._closed = False
        self._pipe: Optional[tuple[int, int]] = None  # while somebody blocks
        self._waiter: "Optional[asyncio.Future[None]]" = None
        core.log.add(self)

    def next(self, timeout: Optional[float] = None) -> Optional[Event]:
        """The next event, waiting for it at most ``timeout`` seconds (None: as long as it takes, 0: not
        at all). None if the time passed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        host_fd = self._core.fileno()
        pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with self._core.log.lock:
            self._pipe = pipe
        poll = select.poll()
        try:
            poll.register(host_fd, select.POLLIN)
            poll.register(pipe[0], select.POLLIN)
            while True:
                event = self._poll()
                if event is not None:
                    return event
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if left == 0.0:
                    return None
                poll.poll(None if left is None else int(left * 1000) + 1)
                self._core.run_log_now()  # else its messages keep the descriptor readable
        finally:
            with self._core.log.lock:
                self._pipe = None
                os.close(pipe[0])
                os.close(pipe[1])

    async def anext(self, timeout: Optional[float] = None) -> Optional[Event]:
        """As :meth:`next`, in the running event loop of asyncio."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        with self._core.pump(loop):
            while True:
                waiter: "asyncio.Future[None]" = loop.create_future()
                self._waiter = waiter
                try:
                    event = self._poll()
                    if event is not None:
                        return event
                    left = None if deadline is None else max(0.0, deadline - loop.time())
                    if left == 0.0:
                        return None
                    # Not wait_for(), which may lose a wakeup that comes with the cancellation.
                    await asyncio.wait([waiter], timeout=left)
                finally:
                    self._waiter = None

    def _poll(self) -> Optional[Event]:
        if self._closed:
            raise invalid("the event stream is closed")
        self._core.fileno()  # a forked child gets its error here: the lock may be another thread's for ever
        with self._core.log.lock:
            event = self._core.log.take(self)
            if event is None:
                self._core.log.drain()
                event = self._core.log.take(self)
            return event

    def _wake(self) -> None:
        """There are events. Called with the log's lock held, by any thread."""
        if self._pipe is not None:
            try:
                os.write(self._pipe[1], b"!")
            except BlockingIOError:
                pass  # full of wakeups that were not needed
        if self._waiter is not None:
            try:
                self._waiter.get_loop().call_soon_threadsafe(_finish, self._waiter)
            except RuntimeError:
                pass  # that loop was closed meanwhile; nobody waits there

    def close(self) -> None:
        """End the stream; events are not kept for it any more."""
        if not self._closed:
            self._closed = True
            self._core.log.remove(self)

    def __enter__(self) -> "EventStream":
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self.next()
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self.anext()
        if event is None:
            raise StopAsyncIteration
        return event
