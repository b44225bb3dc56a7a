#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Host a fleet in asyncio: start guests a few at a time, report what happens to them, print their
statistics, and shut all down with a deadline on Ctrl-C or when they have ended.

    python3 asyncio_fleet.py [--count N] [--seconds S] KERNEL
"""
import argparse
import asyncio
import contextlib
import signal

import pvvirt


async def report(host: pvvirt.Host) -> None:
    """Print each event; there may be any number of such readers."""
    async for event in host.events():
        print(event)


async def live(domain: pvvirt.Domain, slots: asyncio.Semaphore) -> pvvirt.DomainStatus:
    """Start one guest, and stay with it to its end. At most so many boot at the same time."""
    async with slots:
        console = await domain.aopen_console()
        domain.start()
        first = await console.readline()  # it is up when it says something
        print(f"{domain.name} says: {first.decode(errors='replace').strip()}")
    async with console:  # reading on, or the console would wait for us when it is full
        while await console.read(65536):
            pass
    return await domain.wait()


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("kernel")
    options.add_argument("--count", type=int, default=10)
    options.add_argument("--seconds", type=float, help="shut the fleet down after this time")
    args = options.parse_args()

    enough = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, enough.set)
    with pvvirt.Host() as host:
        reporter = asyncio.create_task(report(host))
        slots = asyncio.Semaphore(4)
        domains = [host.create(name=f"fleet-{n}", kernel=args.kernel, memory=16 * pvvirt.MiB)
                   for n in range(args.count)]
        fleet = asyncio.gather(*(live(domain, slots) for domain in domains))
        fleet.add_done_callback(lambda _: enough.set())
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(enough.wait(), args.seconds)

        # Ask all of them at once; what has not powered off after 5 seconds is destroyed.
        await asyncio.gather(*(domain.astop(timeout=5) for domain in domains))
        statuses = await fleet
        await asyncio.sleep(0)  # let the reporter have the last events
        reporter.cancel()

        used = sum(domain.stats().cpu_time_ns for domain in domains) / 1e9
        fine = sum(status.powered_off for status in statuses)
        print(f"{fine} of {len(domains)} powered off; {used:.3f} s of processor time")


asyncio.run(main())
