# SPDX-License-Identifier: MIT
"""Events and log messages without asyncio: streams, callbacks, an event loop of one's own."""
import logging
import selectors
import subprocess
import sys
import threading
import time

import pytest
from conftest import LONG, guest

import pvvirt
from pvvirt import EventStarted, EventStopped, EventType, MiB, StartFlags

LIFE = [EventType.STARTED, EventType.SHUTDOWN, EventType.STOPPED]


def run(domain):
    domain.start()
    assert domain.join(LONG).powered_off


def test_stream(host, make):
    domain = make("hello")
    before = time.time_ns()
    run(domain)
    with host.events() as events:  # what waited since before the first stream comes first
        got = [events.next(LONG) for _ in LIFE]
        assert events.next(0) is None
    assert [e.type for e in got] == LIFE
    assert all(e.domain_name == domain.name and e.domain_uuid == domain.uuid for e in got)
    assert got[0].detail is EventStarted.BOOTED and got[2].detail is EventStopped.SHUTDOWN
    assert before <= got[0].time_ns <= got[2].time_ns <= time.time_ns()
    assert str(got[0]) == f"{domain.name} started" and str(got[2]) == f"{domain.name} stopped (shutdown)"
    with pytest.raises(pvvirt.InvalidArgumentError, match="closed"):
        events.next(0)
    with pytest.raises(AttributeError):
        got[0].type = 1


def test_crash_has_its_text(host, make):
    domain = make("end-ud")
    domain.start()
    for event in host.events():
        if event.type == EventType.CRASHED:
            assert event.detail is pvvirt.EventCrashed.FAULT and event.text
        if event.type == EventType.STOPPED:
            assert event.detail is EventStopped.CRASHED and event.text == domain.join(LONG).text
            break


def test_streams_are_independent(host, make):
    a, b = host.events(), host.events()
    run(make("hello"))
    first = [a.next(LONG) for _ in LIFE]
    late = host.events()  # begins with what nobody has had: nothing
    assert [b.next(LONG) for _ in LIFE] == first
    assert late.next(0) is None
    run(make("hello"))
    assert [late.next(LONG).type for _ in LIFE] == [a.next(LONG).type for _ in LIFE] == LIFE


def test_a_stream_goes_on_where_the_last_one_was_left(host, make):
    run(make("hello"))
    with host.events() as events:
        assert events.next(LONG).type == EventType.STARTED
    assert [e.type for _, e in zip(range(2), host.events())] == LIFE[1:]


def test_dropped_streams_keep_nothing(host, make):
    for _ in range(100):
        host.events()
    idle = host.events()
    log = host._core.log
    run(make("hello"))
    assert [host.events().next(LONG).type for _ in LIFE] == LIFE
    assert len(log._streams) == 1 and len(log._events) == 3
    idle.close()
    assert len(log._events) == 0


def test_slow_streams_lose_the_oldest(host, monkeypatch, make):
    monkeypatch.setattr("pvvirt._events.LOG_MAX", 4)
    slow, fast = host.events(), host.events()
    for _ in range(3):
        run(make("hello"))
        assert [fast.next(LONG).type for _ in LIFE] == LIFE
    event = slow.next(0)
    assert event.type == EventType.LOST and event.detail == 5 and event.domain_name == ""
    assert [slow.next(0).type for _ in range(4)] == [EventType.STOPPED, *LIFE]
    assert slow.next(0) is None


def test_blocked_readers_in_threads(host, make):
    """Each of several threads that block sees everything, whoever empties the queue."""
    results = []

    def read(stream):
        results.append([stream.next(LONG).type for _ in LIFE])

    threads = [threading.Thread(target=read, args=(host.events(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    run(make("hello"))
    for thread in threads:
        thread.join(LONG)
    assert results == [LIFE] * 4


def test_own_loop(host, make):
    """A Host is something that selectors take; dispatch() runs the callback."""
    seen = []
    host.set_event_callback(seen.append)
    stream = host.events()
    domain = make("hello")
    domain.start()
    with selectors.DefaultSelector() as selector:
        selector.register(host, selectors.EVENT_READ)
        while len(seen) < 3:
            assert selector.select(LONG)
            host.dispatch()
        assert not selector.select(0), "level-triggered, and empty now"
    assert [e.type for e in seen] == LIFE == [stream.next(0).type for _ in LIFE]
    host.set_event_callback(None)
    domain.join(LONG)  # the event comes a moment before the domain may be started again
    run(domain)
    assert host.dispatch() == 0
    assert stream.next(0).type == EventType.STARTED


class Oops(Exception):
    pass


def test_event_callbacks_may_raise(host, make, monkeypatch):
    seen, unraisable = [], []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    def callback(event):
        seen.append(event.type)
        raise Oops(event.type)

    host.set_event_callback(callback)
    run(make("hello"))
    with pytest.raises(Oops) as e:
        host.dispatch()
    assert seen == LIFE and e.value.args == (EventType.STARTED,)
    assert [u.exc_value.args[0] for u in unraisable] == LIFE[1:]
    assert host.dispatch() == 0


def test_interrupts_leave_at_once(host, make):
    seen = []

    def callback(event):
        seen.append(event.type)
        raise KeyboardInterrupt

    host.set_event_callback(callback)
    run(make("hello"))
    for n in 1, 2, 3:
        with pytest.raises(KeyboardInterrupt):
            host.dispatch()
        assert seen == LIFE[:n]


def test_log(host, chatty, caplog):
    messages = []
    host.set_log(lambda *a: messages.append(a), pvvirt.LogLevel.DEBUG)
    run(chatty)
    assert messages == [], "nothing is called outside dispatch()"
    assert host.dispatch() == len(messages) > 0
    assert all(isinstance(level, pvvirt.LogLevel) and message for level, _, message in messages)
    assert any(name == "chatty" and "xvda" in message for _, name, message in messages)
    host.set_log(logging.getLogger("guests"), pvvirt.LogLevel.DEBUG)
    with caplog.at_level(logging.DEBUG, "guests"):
        run(chatty)
        host.dispatch()
    assert any(r.getMessage().startswith("chatty: ") for r in caplog.records)
    host.set_log(lambda *a: messages.append(a), pvvirt.LogLevel.ERROR)
    messages.clear()
    run(chatty)
    host.set_log(None)
    run(chatty)
    assert host.dispatch() == 0 and messages == []


def test_log_callbacks_may_raise(host, chatty, monkeypatch):
    unraisable, seen = [], []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    def callback(level, name, message):
        seen.append(message)
        host.dispatch()  # not from inside a callback: does nothing, and no harm
        raise Oops(message)

    host.set_log(callback, pvvirt.LogLevel.DEBUG)
    run(chatty)
    with pytest.raises(Oops) as e:
        host.dispatch()
    assert e.value.args == (seen[0],) and len(unraisable) == len(seen) - 1 > 0
    # Waiting for events delivers messages as well, and so their exceptions.
    with host.events() as events:
        while events.next(0):
            pass
        chatty.start()
        with pytest.raises(Oops):
            while events.next(LONG).type != EventType.STOPPED:
                pass
    host.set_log(None)
    chatty.join(LONG)


def test_bad_log_level(host):
    with pytest.raises(pvvirt.InvalidArgumentError):
        host.set_log(print, 99)


def test_dropped_callbacks_are_not_called(host, chatty):
    """set_log(None) between a message and its delivery."""
    host.set_log(lambda *a: pytest.fail("called"), pvvirt.LogLevel.DEBUG)
    run(chatty)
    host.set_log(None)
    host.set_event_callback(lambda e: pytest.fail("called"))
    host.set_event_callback(None)
    assert host.dispatch() == 0


def test_ctrl_c_interrupts_waiting():
    """join() and a blocked stream let signal handlers run in the main thread."""
    program = f"""
import pvvirt, signal, os, threading
with pvvirt.Host() as host, host.create(name="x", kernel={str(guest("end-spin"))!r}, memory={16 * MiB}) as domain:
    domain.start()
    events = host.events()
    assert events.next().type == pvvirt.EventType.STARTED
    for wait in domain.join, events.next, lambda: domain.stop(1000):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            wait()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""
    out = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, timeout=LONG)
    assert (out.returncode, out.stderr, out.stdout) == (0, "", "interrupted\n" * 3)


def test_start_flags_are_checked(make):
    with pytest.raises(pvvirt.InvalidArgumentError, match="flags"):
        make("hello").start(StartFlags(1 << 20))
