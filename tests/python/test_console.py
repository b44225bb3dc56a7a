# SPDX-License-Identifier: MIT
"""Consoles as files and for coroutines."""
import asyncio
import io
import threading

import pytest
from conftest import LONG, guest

import pvvirt


def test_conversation(make):
    domain = make("echo")
    with domain.open_console() as console:
        assert console.readable() and console.writable() and console.fileno() > 2 and console.name == domain.name
        domain.start()
        assert console.read_until(b"ready\n", LONG).endswith(b"ready\n")
        assert console.write(b"hello\n") == 6
        assert console.readline() == b"5 characters: hello\n"
        console.write(b"one\ntwo\n")
        assert console.read_until("one\n", LONG) == b"3 characters: one\n"
        assert console.read(4) == b"3 ch"  # from what came behind the pattern, or later
        assert console.read_until("\n", LONG) == b"aracters: two\n"
        console.write(b"quit\n")
        assert console.readall() == b"4 characters: quit\n"
        assert domain.join(LONG).powered_off
        assert console.read(1) == b""
        with pytest.raises(BrokenPipeError):
            for _ in range(100):
                console.write(b"x" * 65536)
    with pytest.raises(ValueError):
        console.fileno()
    with pytest.raises(ValueError):
        console.write(b"x")
    console.close()


def test_text_wrapper(make):
    domain = make("hello")
    console = io.TextIOWrapper(io.BufferedReader(domain.open_console()), encoding="utf-8", errors="replace")
    domain.start()
    lines = [line.rstrip() for line in console]
    assert lines[0] == "Hello, world!" and len(lines) > 5


def test_no_time_is_enough_for_what_is_there(make):
    domain = make("echo")
    console = domain.open_console()
    domain.start()
    console.read_until("ready\n", LONG)
    with pytest.raises(pvvirt.TimedOutError):
        console.read_until("quit\n", 0)
    console.write(b"quit\n")
    domain.join(LONG)
    assert console.read_until("quit\n", 0).endswith(b"quit\n")


def test_what_was_read_in_vain_is_not_lost(make):
    domain = make("echo")
    console = domain.open_console()
    domain.start()
    said = ""
    while "ready" not in said:
        with pytest.raises(TimeoutError, match="'never'.*last words") as e:
            console.read_until("never", 0.05)
        said = str(e.value)
    assert console.read_until("ready\n", LONG) == b"ready\n"
    console.write(b"quit\n")
    with pytest.raises(EOFError, match="never.*quit"):
        console.read_until("never", LONG)
    assert console.readall().endswith(b"quit\n")


def test_one_stream_at_a_time(make):
    domain = make("hello")
    console = domain.open_console()
    with pytest.raises(pvvirt.BusyError):
        domain.open_console()
    with pytest.raises(pvvirt.NotFoundError):
        domain.open_console(9)
    console.close()
    domain.open_console().close()


def test_writing_while_reading(make):
    domain = make("echo")
    console = domain.open_console()
    domain.start()
    console.read_until("ready\n", LONG)
    lines = 200

    def write():
        for i in range(lines):
            console.write(b"line %d\n" % i)

    thread = threading.Thread(target=write)
    thread.start()
    for i in range(lines):
        console.read_until(b"line %d\n" % i, LONG)
    thread.join()
    domain.destroy()


def test_asyncio(make):
    domain = make("echo")

    async def main():
        async with await domain.aopen_console() as console:
            domain.start()
            with pytest.raises(pvvirt.TimedOutError):
                await console.read_until("never", 0.05)
            await console.read_until("ready\n", LONG)
            await console.write(b"one\ntwo\n")
            assert await console.readline() == b"3 characters: one\n"
            assert await console.read_until("two", LONG) == b"3 characters: two"
            assert await console.read(1) == b"\n"
            await console.write(b"three\nquit\n")
            lines = [line async for line in console]
            assert lines == [b"5 characters: three\n", b"4 characters: quit\n"]
            assert await console.read() == b"" == await console.readline()
            with pytest.raises(EOFError, match="never"):
                await console.read_until("never", LONG)
            return await domain.wait(LONG)

    assert asyncio.run(main()).powered_off


def test_channels(host):
    domain = host.create_xml(f"""<domain type='xen'><name>channels</name><memory unit='MiB'>16</memory>
<os><type arch='x86_64' machine='xenpv'>linux</type><kernel>{guest("hello")}</kernel></os>
<devices><channel type='pty'><target type='xen' name='org.example.agent'/></channel></devices></domain>""")
    with domain.open_channel("org.example.agent") as channel:
        assert channel.fileno() > 2
        with pytest.raises(pvvirt.BusyError):
            domain.open_channel("org.example.agent")
    with pytest.raises(pvvirt.NotFoundError, match="nobody"):
        domain.open_channel("nobody")

    async def main():
        async with await domain.aopen_channel("org.example.agent") as channel:
            assert channel.name == "channels"
    asyncio.run(main())
