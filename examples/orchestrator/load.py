#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Load on keeperd: many domains, clients that start, stop, restart and talk to them, files that come,
change and go; afterwards descriptors, memory and processes must be what they were.

    load.py [--domains 100] [--clients 10] [--seconds 180] KEEPERD KERNEL

KERNEL obeys control/shutdown and "say" on its console: tests/guest/service.elf. Exit status 0: no leak."""
import argparse
import contextlib
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

XML = """<domain type='xen'><name>{name}</name><memory unit='MiB'>{memory}</memory>
<os><type arch='x86_64' machine='xenpv'>linux</type><kernel>{kernel}</kernel></os>
<on_crash>restart</on_crash></domain>"""


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("keeper", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Keeper:
    """keeperd under test."""

    def __init__(self, exe, folder, sock, *options, env=None, stderr=subprocess.DEVNULL, wrapper=()):
        self.sock = str(sock)
        self.p = subprocess.Popen([*map(str, wrapper), str(exe), "--folder", str(folder), "--socket", self.sock,
                                   *map(str, options)], env=env, stderr=stderr)
        self.wait_until(lambda: self.get("/healthz")[0] == 200)

    def request(self, method, path):
        c = Connection(self.sock)
        try:
            c.request(method, path)
            r = c.getresponse()
            return r.status, r.read().decode()
        finally:
            c.close()

    def get(self, path):
        return self.request("GET", path)

    def post(self, path):
        return self.request("POST", path)

    def domains(self):
        return {d["name"]: d for d in json.loads(self.get("/v1/domains")[1])}

    def metric(self, name):
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise KeyError(name)

    def wait_until(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if condition():
                    return
            if self.p.poll() is not None:
                raise RuntimeError(f"keeperd ended with status {self.p.returncode}")
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds} s: {self.domains()}")
            time.sleep(0.05)

    def wait_states(self, states, seconds=60):
        """states: {name: state}, for exactly these names."""
        self.wait_until(lambda: {n: d["state"] for n, d in self.domains().items()} == states, seconds)

    def processes(self):
        """The sandboxes: its children."""
        out = []
        for task in pathlib.Path(f"/proc/{self.p.pid}/task").iterdir():
            out += map(int, (task / "children").read_text().split())
        return out

    def console(self, name):
        """A connected socket after the 101."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(60)
        s.connect(self.sock)
        s.sendall(f"GET /v1/domains/{name}/console HTTP/1.1\r\nHost: k\r\nConnection: Upgrade\r\n"
                  "Upgrade: console\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            byte = s.recv(1)
            if not byte:
                break
            head += byte
        if b" 101 " not in head:
            s.close()
            raise ConnectionError(head)
        return s

    def end(self, sig=signal.SIGTERM, seconds=120):
        self.p.send_signal(sig)
        return self.p.wait(seconds)


def alive(pids):
    """Of these processes, those that are. A zombie is none: in a container without an init nobody collects orphans."""
    out = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                out.append(pid)
    return out


def expect(s, text):
    seen = b""
    while text not in seen:
        chunk = s.recv(4096)
        if not chunk:
            raise ConnectionError(seen)
        seen += chunk
    return seen


class Client(threading.Thread):
    def __init__(self, load, seed):
        super().__init__()
        self.load, self.random = load, random.Random(seed)
        self.count, self.times, self.errors = {}, [], []

    def did(self, what, start=None):
        self.count[what] = self.count.get(what, 0) + 1
        if start:
            self.times.append(time.monotonic() - start)

    def talk(self, name):
        # It may not run, may be opened already, may end meanwhile: all of these are answers.
        with contextlib.suppress(ConnectionError, TimeoutError), self.load.keeper.console(name) as s:
            s.sendall(self.random.choice([b"say hello\n", b"crash\n", b"reboot\n", b"quit\n"]))
            s.settimeout(0.3)
            expect(s, b"hello")
        self.did("console")

    def one(self, keeper, n):
        name, what = f"load-{n:03d}", self.random.random()
        start = time.monotonic()
        if what < 0.5:
            path = "/v1/domains" if what < 0.1 else "/metrics" if what < 0.15 else f"/v1/domains/{name}"
            status, _ = keeper.get(path)
            if status not in (200, 404):
                self.errors.append((path, status))
            self.did("read", start)
        elif what < 0.85:
            verb = self.random.choice(["stop", "stop?force=1", "start", "start", "restart"])
            status, text = keeper.post(f"/v1/domains/{name}/{verb}")
            if status not in (202, 404):
                self.errors.append((verb, status, text))
            self.did(verb, start)
        elif what < 0.95:
            self.talk(name)
        else:
            self.load.write(n, memory=self.random.choice([16, 32]), present=self.random.random() < 0.8)
            self.did("file")

    def run(self):
        while time.monotonic() < self.load.until:
            try:
                self.one(self.load.keeper, self.random.randrange(self.load.args.domains))
            except Exception as e:  # pylint: disable=broad-except
                self.errors.append(repr(e))


class Load:
    def __init__(self, args, folder):
        self.args, self.folder = args, pathlib.Path(folder)
        self.fleet = self.folder / "fleet"
        self.fleet.mkdir()
        self.lock = threading.Lock()

    def write(self, n, memory=32, present=True):
        path = self.fleet / f"load-{n:03d}.xml"
        with self.lock:
            if not present:
                path.unlink(missing_ok=True)
                return
            new = path.with_suffix(".new")
            new.write_text(XML.format(name=path.stem, memory=memory, kernel=os.path.abspath(self.args.kernel)))
            new.rename(path)

    def settle(self):
        """All files there, all domains running: a state to compare."""
        for n in range(self.args.domains):
            self.write(n)
        names = [f"load-{n:03d}" for n in range(self.args.domains)]
        self.keeper.wait_until(lambda: set(self.keeper.domains()) == set(names))
        for name in names:
            self.keeper.post(f"/v1/domains/{name}/start")
        self.keeper.wait_states({n: "running" for n in names}, 180)
        self.keeper.wait_until(lambda: self.keeper.metric("keeper_consoles") == 0)
        # Its own memory: what of the guests' it has mapped comes and goes with what they touch.
        status = pathlib.Path(f"/proc/{self.keeper.p.pid}/status").read_text()
        anon = int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")))
        return {"fds": self.keeper.metric("process_open_fds"), "processes": len(self.keeper.processes()),
                "anon_mib": round(anon / 1024, 1)}

    def churn(self, seconds):
        self.until = time.monotonic() + seconds
        clients = [Client(self, seed) for seed in range(self.args.clients)]
        for c in clients:
            c.start()
        for c in clients:
            c.join()
        return clients

    def report(self, before, after, clients):
        count, times, errors = {}, sorted(t for c in clients for t in c.times), []
        for c in clients:
            errors += c.errors
            for what, n in c.count.items():
                count[what] = count.get(what, 0) + n
        print(f"after {self.args.seconds:.0f} s of churn: {after}")
        print(f"{sum(count.values())} requests: {count}")
        print(f"answered in {statistics.median(times) * 1000:.1f} ms (median), "
              f"{times[len(times) * 99 // 100] * 1000:.1f} ms (99 %), {times[-1] * 1000:.1f} ms (longest)")
        if errors:
            print(f"{len(errors)} errors, the first: {errors[:3]}")
        return (not errors and after["fds"] == before["fds"] and after["processes"] == before["processes"] and
                after["anon_mib"] <= before["anon_mib"] * 1.25 + 4)

    def run(self):
        a = self.args
        start = time.monotonic()
        self.keeper = Keeper(a.keeperd, self.fleet, self.folder / "sock", "--grace", 5, "--backoff", "0.1,1")
        try:
            cold = self.settle()
            print(f"{a.domains} domains up after {time.monotonic() - start:.1f} s: {cold}", flush=True)
            # Allocators and tables grow to their size first; then nothing may.
            self.churn(min(a.seconds / 2, 30))
            before = self.settle()
            print(f"{a.clients} clients; warm: {before}", flush=True)
            clients = self.churn(a.seconds)
            ok = self.report(before, self.settle(), clients)
            sandboxes = self.keeper.processes()
            status = self.keeper.end()
            left = alive(sandboxes)
            ok = ok and status == 0 and not left
            print("no leak" if ok else f"LEAK or error (status {status}, left {left})")
            return 0 if ok else 1
        finally:
            if self.keeper.p.poll() is None:
                self.keeper.p.kill()
                self.keeper.p.wait()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--domains", type=int, default=100)
    p.add_argument("--clients", type=int, default=10)
    p.add_argument("--seconds", type=float, default=180)
    p.add_argument("keeperd")
    p.add_argument("kernel")
    with tempfile.TemporaryDirectory(prefix="keeper-load-") as tmp:
        return Load(p.parse_args(), tmp).run()


if __name__ == "__main__":
    sys.exit(main())
