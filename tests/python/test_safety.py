# SPDX-License-Identifier: MIT
"""What Python does behind the program's back - the interpreter's lock, the garbage collector, fork,
threads, the end of the process - harms no guest."""
import ctypes
import gc
import multiprocessing
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import weakref

import pytest
from conftest import LONG, guest

import pvvirt
from pvvirt import DomainState, EventType, MiB, ShutoffReason, StartFlags


def address(cdata):
    return int(pvvirt.ffi.cast("uintptr_t", cdata))


def library(kind):
    """The loaded libpvvirt, by ctypes: CDLL lets go of the interpreter's lock in a call, PyDLL does not."""
    return kind(re.search(r"\S+/libpvvirt\.so\S*", pathlib.Path("/proc/self/maps").read_text()).group(0))


def test_a_held_gil_does_not_stall_a_guest(host, make):
    """Boot, print, use a disk and end while this thread holds the GIL in one call: whatever a guest
    needed Python for would wait until the call gives up. With callbacks set for all there is."""
    host.set_log(lambda *a: None, pvvirt.LogLevel.DEBUG)
    host.set_event_callback(lambda e: None)
    wait = library(ctypes.PyDLL).pvv_domain_wait
    wait.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint64]
    for name in "hello", "timers", "xenstore":
        domain = make(name, memory=64 * MiB)
        pointer = address(domain._c)
        domain.start()
        assert wait(pointer, 1000 * LONG, 0) == 0
        assert domain.status.powered_off
    assert host.dispatch() > 0


def test_blocking_calls_let_other_threads_run(make, start_paused):
    """While a thread blocks in the library, this one goes on; if a call kept the GIL, this would hang."""
    domain = make("hello")
    start_paused(domain)
    result = []
    thread = threading.Thread(target=lambda: result.append(domain.join()))
    thread.start()
    while not thread.is_alive():
        pass
    domain.resume()
    thread.join(LONG)
    assert result and result[0].powered_off


def test_every_function_releases_the_gil():
    """cffi's API mode does it for each call: nothing in the module was made otherwise."""
    text = (pathlib.Path(pvvirt.__file__).parent / "_pvvirt.c").read_text()
    calls = re.findall(r"^_cffi_f_(pvv_\w+)\(PyObject.*?^\}", text, re.M | re.S)
    bodies = re.findall(r"^_cffi_f_pvv_\w+\(PyObject.*?^\}", text, re.M | re.S)
    assert len(calls) > 50
    for name, body in zip(calls, bodies):
        assert re.search(r"Py_BEGIN_ALLOW_THREADS.*\b" + name + r"\(.*Py_END_ALLOW_THREADS", body, re.S), name


@pytest.mark.parametrize("flags", [StartFlags(0), StartFlags.AUTODESTROY])
def test_the_collector_kills_no_guest(host, make, flags):
    domain = make("echo")
    console = domain.open_console()
    domain.start(flags)
    name, gone = domain.name, weakref.ref(domain)
    del domain
    gc.collect()
    assert gone() is None
    console.write(b"still there?\n")
    assert b"still there?" in console.read_until("there?", LONG)
    again = host.lookup(name)
    assert again.status.active
    again.destroy()
    again.close()


@pytest.mark.parametrize("flags", [StartFlags(0), StartFlags.AUTODESTROY])
def test_the_collector_kills_no_guest_with_its_host(flags):
    host = pvvirt.Host()
    domain = host.create(name="orphan", kernel=guest("echo"), memory=16 * MiB)
    console = domain.open_console()
    domain.start(flags)
    core = weakref.ref(host._core)
    del host, domain
    gc.collect()
    assert core() is None, "the handle's Python side is really gone"
    console.write(b"still there?\n")
    console.read_until("12 characters: still there?\n", LONG)
    console.write(b"quit\n")
    assert console.readall() == b"4 characters: quit\n"


def test_objects_are_collected(make):
    """No leak: handles, their threads and descriptors go with the last Python object."""
    def usage():
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    def use():
        host = pvvirt.Host()
        host.set_log(lambda *a: host, pvvirt.LogLevel.DEBUG)  # a cycle through the callback
        domain = host.create(name="d", kernel=guest("hello"), memory=8 * MiB)
        events, console = host.events(), domain.open_console()
        domain.start()
        domain.join(LONG)
        assert events.next(LONG) and console.read(1)

    use()
    time.sleep(1)  # threads that an earlier test has left to end by themselves
    before = usage()
    for _ in range(10):
        use()
    assert all(now <= then for now, then in zip(usage(), before))


def in_child(fn):
    """What fn() returned, or raised, in a forked child."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            out = repr(fn())
        except BaseException as e:
            out = type(e).__name__
        os.write(w, out.encode())
        os._exit(0)
    os.close(w)
    with os.fdopen(r) as f:
        out = f.read()
    assert os.waitpid(pid, 0)[1] == 0, "the child crashed"
    return out


def test_a_forked_child_gets_errors(host, make):
    domain = make("end-spin")
    stream = host.events()
    console = domain.open_console()
    domain.start(StartFlags.AUTODESTROY)
    calls = [
        host.domains, host.events, host.fileno, host.dispatch, host.capabilities, lambda: host.create(name="n"),
        lambda: host.create_xml("<domain/>"), lambda: host.lookup("x"), lambda: host.set_log(print),
        lambda: host.set_event_callback(print), lambda: stream.next(0), lambda: next(stream),
        domain.start, domain.pause, domain.resume, domain.shutdown, domain.reboot, domain.destroy, domain.join,
        domain.stop, domain.stats, lambda: domain.info, lambda: domain.status, lambda: domain.xml,
        lambda: domain.warnings, lambda: domain.block_stats("xvda"), domain.open_console, domain.console_path,
        lambda: domain.set_console(pvvirt.ConsoleType.NULL), lambda: domain.set_executor(pvvirt.Executor.RING3),
    ]
    for i, call in enumerate(calls):
        assert in_child(call) == "ForkError", f"call {i}"
    import asyncio
    assert in_child(lambda: asyncio.run(domain.wait())) == "ForkError"
    # Names are copies; ends, closing and collecting do nothing to the parent's guest.
    assert in_child(lambda: domain.name) == repr(domain.name)

    def leave():
        with host, domain, stream, console:
            pass
        gc.collect()
        return "left"
    assert in_child(leave) == "'left'"
    assert domain.status.active
    domain.destroy()


def test_a_child_forked_while_locks_are_held(host, make):
    """Another thread is in the middle of something: the child must not wait for it."""
    stream = host.events()
    with host._core.log.lock:
        def fork():
            assert in_child(lambda: stream.next(0)) == "ForkError"
            assert in_child(stream.close) == "None"
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join(LONG)
        assert not thread.is_alive()


def boot_one(n):
    with pvvirt.Host() as host, host.create(name=f"own-{n}", kernel=guest("hello"), memory=8 * MiB) as domain:
        domain.start()
        return domain.join(LONG).powered_off


def test_a_forked_child_may_have_hosts_of_its_own(host, make):
    make("end-spin").start()
    assert in_child(lambda: boot_one(0)) == "True"
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(boot_one, range(4)) == [True] * 4


def test_threads(host):
    """Several threads make, run, look up, list and drop domains of one host."""
    errors = []

    def work(n):
        try:
            for i in range(5):
                with host.create(name=f"t{n}-{i}", kernel=guest("hello"), memory=8 * MiB) as domain:
                    domain.start()
                    host.domains(), host.lookup(domain.name).stats(), domain.xml, domain.info
                    assert domain.join(LONG).powered_off
                    gc.collect()
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and host.domains() == []


def test_closing_while_another_thread_is_inside(host, make):
    """The C object lives as long as a call that uses it."""
    domain = make("end-spin")
    domain.start()
    result = []
    other = host.lookup(domain.name)

    def wait():
        try:
            result.append(domain.join())
        except pvvirt.InvalidArgumentError as e:  # closed between two slices of the wait
            result.append(e)
    thread = threading.Thread(target=wait)
    thread.start()
    domain.close()
    other.destroy()
    thread.join(LONG)
    assert len(result) == 1


def test_errors_belong_to_their_thread(host):
    """Two threads that fail all the time each get their own message."""
    wrong = []

    def fail(name):
        for _ in range(2000):
            try:
                host.lookup(name)
            except pvvirt.NotFoundError as e:
                if e.object != name:
                    wrong.append((name, e.object))

    threads = [threading.Thread(target=fail, args=(f"nobody-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(0)", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_the_end_of_the_program(end):
    """However it ends, it ends at once, without a word and without leaving processes."""
    program = f"""
import os, threading, pvvirt
host = pvvirt.Host()
host.set_log(lambda *a: None, pvvirt.LogLevel.DEBUG)
domain = host.create(name="x", kernel={str(guest("end-spin"))!r}, memory={16 * MiB})
threading.Thread(target=domain.join, daemon=True).start()
events = host.events()
domain.start()
while events.next().type != pvvirt.EventType.STARTED: pass
children = open("/proc/self/task/%d/children" % os.getpid()).read()
tasks = [open(f"/proc/self/task/{{t}}/children").read().split() for t in os.listdir("/proc/self/task")]
print(*[pid for pids in tasks for pid in pids], flush=True)
{end}
"""
    p = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, timeout=LONG)
    assert p.stderr == "" and p.returncode == (-9 if "kill" in end else 0)
    pids = p.stdout.split()
    assert pids, "the guest had a process"
    for pid in pids:
        for _ in range(1000):
            try:
                state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                break
            if state == "Z":
                break  # init has not looked yet
            threading.Event().wait(0.01)
        else:
            pytest.fail(f"process {pid} is still there")


def test_signals_stay_the_programs():
    """A SIGCHLD handler and children of the program's own."""
    program = f"""
import os, pvvirt, signal, subprocess
seen = []
signal.signal(signal.SIGCHLD, lambda *a: seen.append(a))
before = [signal.getsignal(n) for n in signal.valid_signals()]
with pvvirt.Host() as host:
    domain = host.create(name="x", kernel={str(guest("hello"))!r}, memory={16 * MiB})
    domain.start()
    print(domain.join({LONG}), len(seen))
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print("no children")
print(subprocess.run(["true"]).returncode, len(seen), before == [signal.getsignal(n) for n in signal.valid_signals()])
"""
    p = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, timeout=LONG)
    assert (p.stderr, p.stdout) == ("", "shutoff (shutdown) 0\nno children\n0 1 True\n")


def test_states_seen_from_a_thread_are_consistent(host, make):
    """status, while another thread starts and ends the domain."""
    domain, stop = make("hello"), threading.Event()

    def restart():
        while not stop.is_set():
            domain.start()
            domain.join(LONG)

    thread = threading.Thread(target=restart)
    thread.start()
    for _ in range(300):
        status = domain.status
        assert isinstance(status.state, DomainState) and status.state.name
        if status.state == DomainState.SHUTOFF:
            assert isinstance(status.reason, ShutoffReason)
    stop.set()
    thread.join()
    with host.events() as events:
        assert events.next(0).type == EventType.STARTED
