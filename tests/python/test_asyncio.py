# SPDX-License-Identifier: MIT
"""The package in asyncio."""
import asyncio
import threading

import pytest
from conftest import LONG, guest

import pvvirt
from pvvirt import EventType, MiB, ShutoffReason

LIFE = [EventType.STARTED, EventType.SHUTDOWN, EventType.STOPPED]


def readers(loop):
    return len(loop._selector.get_map())


def test_wait(make):
    async def main():
        loop = asyncio.get_running_loop()
        idle = readers(loop)
        domain = make("hello")
        assert (await domain.wait()).state == pvvirt.DomainState.SHUTOFF  # not started: at once
        domain.start()
        statuses = await asyncio.gather(*(domain.wait(LONG) for _ in range(10)))
        assert all(s.powered_off for s in statuses)
        domain.start()  # may be started again at once
        assert (await domain.wait(LONG)).powered_off
        assert readers(loop) == idle, "nothing is left in the loop"
    asyncio.run(main())


def test_wait_times_out_and_can_be_cancelled(host, make):
    async def main():
        domain = make("end-spin")
        domain.start()
        with pytest.raises(pvvirt.TimedOutError, match=domain.name) as e:
            await domain.wait(0.05)
        assert e.value.object == domain.name
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(domain.wait(), 0.05)
        task = asyncio.create_task(domain.wait())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not host._core.log._streams, "cancelled waiters leave nothing"
        status = await domain.astop(0.1)
        assert status.reason is ShutoffReason.DESTROYED
        assert (await domain.astop()).reason is ShutoffReason.DESTROYED
    asyncio.run(main())


def test_destroy_by_another_task(make):
    async def main():
        domain = make("end-spin")
        domain.start()
        waiting = asyncio.create_task(domain.wait(LONG))
        await asyncio.sleep(0)
        await asyncio.to_thread(domain.destroy)
        assert (await waiting).reason is ShutoffReason.DESTROYED
    asyncio.run(main())


def test_old_events_are_not_mistaken(host, make):
    """The end of an earlier run, that nobody has read yet, does not end wait()."""
    async def main():
        domain = make("hello")
        domain.start()
        await asyncio.to_thread(domain.join, LONG)
        spin = make("end-spin", name="spin")
        spin.start()
        await asyncio.to_thread(spin.destroy)
        spin.start()
        with pytest.raises(pvvirt.TimedOutError):
            await spin.wait(0.1)
        with host.events() as events:  # and wait() took none from others
            got = [(await events.anext(LONG)).type for _ in range(4)]
        assert got == [*LIFE, EventType.STOPPED] or got[:3] == LIFE
        await spin.astop(0)
    asyncio.run(main())


def test_events(host, make):
    async def main():
        domain = make("hello")
        domain.start()
        got = []
        async for event in host.events():
            got.append(event.type)
            if event.type == EventType.STOPPED:
                break
        assert got == LIFE
        assert await host.events().anext(0) is None
        assert await host.events().anext(0.01) is None
    asyncio.run(main())


def test_several_readers_and_waiters(host, make):
    async def main():
        domains = [make("hello") for _ in range(8)]

        async def read(stream):
            ends = set()
            async for event in stream:
                if event.type == EventType.STOPPED:
                    ends.add(event.domain_name)
                    if len(ends) == len(domains):
                        return ends

        tasks = [asyncio.create_task(read(host.events())) for _ in range(3)]
        for domain in domains:
            domain.start()
        statuses = await asyncio.gather(*(d.wait(LONG) for d in domains))
        assert all(s.powered_off for s in statuses)
        for ends in await asyncio.wait_for(asyncio.gather(*tasks), LONG):
            assert ends == {d.name for d in domains}
    asyncio.run(main())


def test_threads_and_asyncio_together(host, make):
    """A thread that blocks and a coroutine that waits: both see all."""
    async def main():
        stream, seen = host.events(), []
        thread = threading.Thread(target=lambda: seen.extend(stream.next(LONG).type for _ in LIFE))
        thread.start()
        domain = make("hello")
        domain.start()
        assert (await domain.wait(LONG)).powered_off
        await asyncio.to_thread(thread.join)
        assert seen == LIFE
    asyncio.run(main())


def test_callbacks_run_in_the_loop_and_may_raise(host, chatty):
    async def main():
        problems, threads, messages = [], set(), []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))

        def callback(event):
            threads.add(threading.current_thread())
            raise ValueError(event.type)

        host.set_event_callback(callback)
        host.set_log(lambda *a: messages.append(a), pvvirt.LogLevel.DEBUG)
        chatty.start()
        assert (await chatty.wait(LONG)).powered_off
        assert threads == {threading.main_thread()} and messages
        assert [p["exception"].args[0] for p in problems] == LIFE
    asyncio.run(main())


def test_loop_after_loop(make):
    """A host outlives the loops it is used in."""
    domain = make("hello")
    for _ in range(3):
        domain.start()
        assert asyncio.run(domain.wait(LONG)).powered_off


def test_two_loops_at_once_are_refused(make):
    domain = make("end-spin")
    domain.start()

    async def main():
        task = asyncio.create_task(domain.wait())
        await asyncio.sleep(0)

        def other():
            with pytest.raises(RuntimeError, match="another asyncio event loop"):
                asyncio.run(domain.wait(1))
            return True

        assert await asyncio.to_thread(other)
        task.cancel()
    asyncio.run(main())
    domain.destroy()


def test_an_abandoned_loop_is_forgotten(make):
    domain = make("end-spin")
    domain.start()
    loop = asyncio.new_event_loop()
    task = loop.create_task(domain.wait())
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()  # with the task still in it
    with pytest.raises(pvvirt.TimedOutError):
        asyncio.run(domain.wait(0.05))
    domain.destroy()
    assert asyncio.run(domain.wait()).reason is ShutoffReason.DESTROYED
    del task


def test_a_fleet(host):
    """Many guests, each awaited; the loop's thread is never blocked by one."""
    async def main():
        domains = [host.create(name=f"fleet-{i}", kernel=guest("hello"), memory=8 * MiB) for i in range(30)]
        for domain in domains:
            domain.start()
        statuses = await asyncio.gather(*(d.wait(2 * LONG) for d in domains))
        assert all(s.powered_off for s in statuses)
    asyncio.run(main())


def test_closed_host(make, host):
    domain = make("end-spin")
    domain.start()
    host.close()
    with pytest.raises(pvvirt.TimedOutError):  # the domain keeps what it needs
        asyncio.run(domain.wait(0.05))
    domain.destroy()
    with pytest.raises(pvvirt.InvalidArgumentError, match="closed"):
        host.events()
