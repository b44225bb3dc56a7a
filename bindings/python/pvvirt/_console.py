# SPDX-License-Identifier: MIT
"""Consoles as files."""
from __future__ import annotations

import asyncio
import io
import select
import socket
import time
from types import TracebackType
from typing import Any, AsyncIterator, Optional, Union

from ._errors import TimedOutError
from ._generated import ErrorCode, ErrorSubsystem

Pattern = Union[bytes, str]


def _timed_out(name: str, pattern: bytes, seen: bytes) -> TimedOutError:
    return TimedOutError(ErrorCode.ETIMEDOUT, f"the console of '{name}' did not show {pattern!r} in time; its last "
                         f"words were {seen[-200:]!r}", ErrorSubsystem.CONSOLE, 0, name)


def _ended(name: str, pattern: bytes, seen: bytes) -> EOFError:
    return EOFError(f"the guest '{name}' ended before its console showed {pattern!r}; its last words were "
                    f"{seen[-200:]!r}")


def _data(pattern: Pattern) -> bytes:
    return pattern.encode() if isinstance(pattern, str) else bytes(pattern)


class Console(io.RawIOBase):
    """A console as a raw, binary, blocking file; wrap it in io.TextIOWrapper or io.BufferedReader as any
    other. The end of the file comes after the guest's last byte.

    A thread may write while another reads. Closing it leaves the guest alone.
    """

    def __init__(self, fd: int, name: str) -> None:
        super().__init__()
        self._socket = socket.socket(fileno=fd)
        self._pending = b""  # read by read_until() behind its pattern
        self.name = name
        """The domain's name."""

    def fileno(self) -> int:
        """The descriptor."""
        self._check()
        return self._socket.fileno()

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed console")

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read at most as much as fits, at least one byte; 0 at the end."""
        self._check()
        if self._pending:
            data = self._pending[:len(buffer)]
            self._pending = self._pending[len(data):]
            buffer[:len(data)] = data
            return len(data)
        return self._socket.recv_into(buffer)

    def write(self, data: Any) -> int:
        """Type all of ``data``. BrokenPipeError after the guest has ended."""
        self._check()
        view = memoryview(data).cast("B")
        self._socket.sendall(view, socket.MSG_NOSIGNAL)
        return len(view)

    def read_until(self, pattern: Pattern, timeout: Optional[float] = None) -> bytes:
        """Read up to and including ``pattern``, such as a prompt. :class:`TimedOutError` after
        ``timeout`` seconds, EOFError if the guest ends before; what was read can then be read again."""
        self._check()
        want, seen = _data(pattern), bytearray(self._pending)
        self._pending = b""
        deadline = None if timeout is None else time.monotonic() + timeout
        searched, looked = 0, False  # with timeout=0, what is there already counts
        poll = select.poll()  # not a timeout of the socket, which a writing thread would have as well
        poll.register(self._socket, select.POLLIN)
        try:
            while True:
                at = seen.find(want, searched)
                if at >= 0:
                    done = bytes(seen[:at + len(want)])
                    del seen[:at + len(want)]
                    return done
                searched = max(0, len(seen) - len(want) + 1)
                if deadline is not None:
                    left = deadline - time.monotonic()
                    if left <= 0 and looked or not poll.poll(left * 1000 + 1 if left > 0 else 0):
                        raise _timed_out(self.name, want, bytes(seen))
                    looked = True
                data = self._socket.recv(65536)
                if not data:
                    raise _ended(self.name, want, bytes(seen))
                seen += data
        finally:
            self._pending = bytes(seen)

    def close(self) -> None:
        """Close the descriptor."""
        if not self.closed:
            self._socket.close()
        super().close()


class AsyncConsole:
    """A console for coroutines. Made by :meth:`Domain.aopen_console`. One coroutine may read and one may
    write at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        self._reader = reader
        self._writer = writer
        self._pending = bytearray()  # read, but not asked for yet
        self.name = name
        """The domain's name."""

    @classmethod
    async def _open(cls, fd: int, name: str) -> "AsyncConsole":
        sock = socket.socket(fileno=fd)
        try:
            reader, writer = await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise
        return cls(reader, writer, name)

    def _take(self, n: int) -> bytes:
        data = bytes(self._pending[:n])
        del self._pending[:n]
        return data

    async def read(self, n: int = -1) -> bytes:
        """At most ``n`` bytes, at least one; b"" at the end. All until the end by default."""
        if n < 0:
            rest = await self._reader.read()
            return self._take(len(self._pending)) + rest
        if not self._pending:
            return await self._reader.read(n)
        return self._take(n)

    async def readline(self) -> bytes:
        """A line with its newline; the last one may have none; b"" at the end."""
        at = await self._find(b"\n")
        return self._take(len(self._pending) if at < 0 else at + 1)

    async def read_until(self, pattern: Pattern, timeout: Optional[float] = None) -> bytes:
        """As :meth:`Console.read_until`."""
        want = _data(pattern)
        try:
            # wait_for(0) would not even look at what is there already.
            at = await asyncio.wait_for(self._find(want), timeout if timeout is None else max(timeout, 0.001))
        except asyncio.TimeoutError:
            raise _timed_out(self.name, want, bytes(self._pending)) from None
        if at < 0:
            raise _ended(self.name, want, bytes(self._pending))
        return self._take(at + len(want))

    async def _find(self, want: bytes) -> int:
        searched = 0
        while True:
            at = self._pending.find(want, searched)
            if at >= 0:
                return at
            searched = max(0, len(self._pending) - len(want) + 1)
            data = await self._reader.read(65536)
            if not data:
                return -1
            self._pending += data

    async def write(self, data: bytes) -> None:
        """Type all of ``data``."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        """Close the descriptor. The guest stays."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass  # the guest was faster

    async def __aenter__(self) -> "AsyncConsole":
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line
