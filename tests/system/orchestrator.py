#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""examples/orchestrator: built by its own Makefile against the installed library, and used."""
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import stage

stage.skip_if_sanitized()
HERE = stage.SOURCE / "examples/orchestrator"
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(stage.SOURCE / "tests/linux"))
import linuxlib  # noqa: E402
import load  # noqa: E402

SERVICE = stage.GUESTS / "service.elf"


def setUpModule():
    global TOP, STAGE, KEEPERD, CTL
    TOP = tempfile.TemporaryDirectory(prefix="pvv-orch-")
    STAGE = stage.Stage(TOP.name)
    where = pathlib.Path(TOP.name) / "orchestrator"
    shutil.copytree(HERE, where)
    subprocess.run(["make", "-s", "-C", where, "CFLAGS=-O2 -g -Werror"], env=STAGE.env, check=True, timeout=120)
    KEEPERD, CTL = where / "keeperd", where / "keeperctl"


def tearDownModule():
    TOP.cleanup()


class Case(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory(prefix="pvv-keeper-")
        self.addCleanup(tmp.cleanup)
        self.dir = pathlib.Path(tmp.name)
        self.fleet = self.dir / "fleet"
        self.fleet.mkdir()
        self.sock = self.dir / "sock"

    def write(self, name, kernel=SERVICE, **kw):
        new = self.fleet / f"{name}.new"
        new.write_text(stage.domain_xml(name, kernel, **kw))
        new.rename(self.fleet / f"{name}.xml")

    def keeper(self, *options, **kw):
        with open(self.dir / "log", "ab") as log:
            k = load.Keeper(KEEPERD, self.fleet, self.sock, *options, env=STAGE.env, stderr=log, **kw)
        self.addCleanup(self.no_more, k)
        return k

    @staticmethod
    def no_more(k):
        if k.p.poll() is None:
            k.p.kill()
            k.p.wait()

    def log(self):
        return (self.dir / "log").read_text()

    def ctl(self, *args, **kw):
        return subprocess.run([CTL, "--socket", self.sock, *args], text=True, capture_output=True, timeout=60, **kw)

    @staticmethod
    def written(k, name):
        return json.loads(k.get(f"/v1/domains/{name}")[1])["counters"]["disks"]["xvda"]["written_bytes"]

    def disk(self, name, size):
        path = self.dir / name
        path.write_bytes(bytes(size))
        return path, f"<disk type='file'><source file='{path}'/><target dev='xvda' bus='xen'/></disk>"


class Client(Case):
    def test_verbs(self):
        self.write("one")
        self.write("two")
        k = self.keeper()
        k.wait_states({"one": "running", "two": "running"})
        self.assertRegex(self.ctl("list").stdout, r"(?s)^NAME .*\none +running.*\ntwo +running")
        self.assertEqual(self.ctl("--wait", "20", "stop", "one").stdout, "one: stopped\n")
        self.assertEqual(self.ctl("--wait", "20", "start", "one").stdout, "one: running\n")
        before = k.domains()["one"]["id"]
        self.assertEqual(self.ctl("--wait", "20", "restart", "one").returncode, 0)
        k.wait_until(lambda: k.domains()["one"]["id"] not in (-1, before))
        self.assertIn('"hypercalls"', self.ctl("show", "one").stdout)
        self.assertEqual(self.ctl("health").stdout, "ok\n")
        self.assertEqual(k.end(), 0)

    def test_refusals(self):
        self.write("one")
        (self.fleet / "bad.xml").write_text(stage.domain_xml("bad", SERVICE, memory="lots"))
        (self.fleet / "other.xml").write_text(stage.domain_xml("another", SERVICE))
        (self.fleet / "huge.xml").write_text("<!-- " + "x" * (1 << 20) + " -->")
        (self.fleet / "not a word.xml").write_text("this is not looked at")
        k = self.keeper()
        k.wait_states({"one": "running", "bad": "invalid", "other": "invalid", "huge": "invalid"})
        r = self.ctl("start", "bad")
        self.assertEqual(r.returncode, 1)
        self.assertRegex(r.stderr, r"bad\.xml: .*:3:\d+: .*memory")
        self.assertIn("has to be 'other', as the file", self.ctl("start", "other").stderr)
        self.assertIn("no such domain", self.ctl("stop", "nobody").stderr)
        self.assertIn("no such domain", self.ctl("console", "nobody").stderr)
        self.assertEqual(self.ctl("fly").returncode, 2)
        self.assertEqual(k.get("/nowhere")[0], 404)
        self.assertEqual(k.get("/v1/domains/one/nowhere")[0], 404)
        self.assertEqual(k.post("/v1/domains/one/fly")[0], 404)
        self.assertEqual(k.request("DELETE", "/v1/domains/one")[0], 405)
        self.assertEqual(k.get("/v1/domains/one/console")[0], 426)
        self.assertEqual(k.get("/v1/domains/" + "x" * 4000)[0], 404)
        k.post("/v1/domains/one/stop")
        k.wait_until(lambda: k.domains()["one"]["state"] == "stopped")
        with self.assertRaisesRegex(ConnectionError, "409"):
            k.console("one")

    def test_console(self):
        self.write("one")
        k = self.keeper()
        k.wait_states({"one": "running"})
        r = subprocess.Popen([CTL, "--socket", self.sock, "console", "one"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
        seen = b""
        while b"service ready" not in seen:  # from before the connection
            seen += os.read(r.stdout.fileno(), 4096)
        with self.assertRaisesRegex(ConnectionError, "409"):
            k.console("one")  # one at a time
        r.stdin.write(b"say good evening\n")
        r.stdin.flush()
        while b"good evening" not in seen:
            seen += os.read(r.stdout.fileno(), 4096)
        r.stdin.write(b"\x1d")
        r.stdin.flush()
        self.assertEqual(r.wait(20), 0)
        r.stdin.close()
        r.stdout.close()
        k.wait_until(lambda: k.metric("keeper_consoles") == 0)
        with k.console("one") as s:  # and again; it ends with the guest
            s.sendall(b"quit\n")
            while s.recv(4096):
                pass
        k.wait_states({"one": "stopped"})

    def test_console_leaves_nothing_open(self):
        self.write("one")
        k = self.keeper()
        k.wait_states({"one": "running"})
        fds = k.metric("process_open_fds")
        for _ in range(20):
            k.wait_until(lambda: k.metric("keeper_consoles") == 0)
            k.console("one").close()
        k.wait_until(lambda: k.metric("process_open_fds") == fds)

    def test_metrics(self):
        _, devices = self.disk("disk", 1 << 20)
        self.write("one", devices=devices)
        k = self.keeper()
        k.wait_states({"one": "running"})
        with k.console("one") as s:
            s.sendall(b"write 5\n")
            load.expect(s, b"safe 4")
        status, text = k.get("/metrics")
        self.assertEqual(status, 200)
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        for line in lines:  # the format, strictly
            self.assertRegex(line, r'^[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+]+$')
        self.assertEqual(len(lines), len({line.rsplit(" ", 1)[0] for line in lines}))
        self.assertIn('keeper_domain_up{domain="one"} 1', lines)
        self.assertIn('pvvirt_disk_written_bytes_total{domain="one",disk="xvda"} 2560', lines)
        self.assertIn('pvvirt_disk_flushes_total{domain="one",disk="xvda"} 5', lines)
        for name in {re.split(r"[{ ]", line)[0] for line in lines}:
            self.assertEqual(text.count(f"# TYPE {name} "), 1, name)


class Folder(Case):
    def test_add_change_remove(self):
        k = self.keeper("--grace", 20)
        self.write("one")
        k.wait_states({"one": "running"})
        self.assertEqual(k.domains()["one"]["memory"], 32 << 20)
        self.write("one", memory=48)
        k.wait_until(lambda: k.domains()["one"]["memory"] == 48 << 20 and k.domains()["one"]["state"] == "running")
        self.write("two")
        k.wait_states({"one": "running", "two": "running"})
        (self.fleet / "one.xml").unlink()
        k.wait_states({"two": "running"})
        (self.fleet / "two.xml").rename(self.fleet / "two.xml.off")
        k.wait_states({})
        self.assertEqual(k.processes(), [])
        self.assertNotIn("does not power off", self.log())  # all of them were asked, and did

    def test_a_mistake_does_not_end_a_guest(self):
        k = self.keeper()
        self.write("one")
        k.wait_states({"one": "running"})
        number = k.domains()["one"]["id"]
        (self.fleet / "one.xml").write_text("<domain type='xen'><name>one</name>")
        k.wait_until(lambda: k.domains()["one"]["error"])
        self.assertEqual((k.domains()["one"]["state"], k.domains()["one"]["id"]), ("running", number))
        self.write("one")  # as it was
        k.wait_until(lambda: not k.domains()["one"]["error"])
        self.assertEqual((k.domains()["one"]["state"], k.domains()["one"]["id"]), ("running", number))

    def test_a_burst(self):
        k = self.keeper("--grace", 20)
        for n in range(30):
            self.write(f"b{n}", memory=16)
        for n in range(0, 30, 2):
            (self.fleet / f"b{n}.xml").unlink()
        k.wait_states({f"b{n}": "running" for n in range(1, 30, 2)})


class Policy(Case):
    def test_what_follows_an_end(self):
        """Each action for each kind of end; with guests that end by themselves at once."""
        ends = {"poweroff": "hello", "reboot": "end-reboot", "crash": "end-crash"}
        want = {}
        for kind, guest in ends.items():
            for action in "destroy", "restart", "preserve":
                name = f"{kind}-{action}"
                self.write(name, stage.GUESTS / f"{guest}.elf", memory=64, more=f"<on_{kind}>{action}</on_{kind}>")
                want[name] = "stopped"
        want["crash-preserve"] = "crashed"
        k = self.keeper("--backoff", "0.02,0.1")
        restarting = [n for n in want if n.endswith("-restart")]
        k.wait_until(lambda: all(k.domains()[n]["restarts"] >= 4 for n in restarting))
        k.wait_until(lambda: all(d["state"] == want[n] for n, d in k.domains().items() if n not in restarting))
        for n, d in k.domains().items():
            if n not in restarting:
                self.assertEqual(d["restarts"], 0, n)
        for n in restarting:  # twice as long each time, to the maximum
            waits = [int(m) for m in re.findall(rf"{n}: starts again in (\d+) ms", self.log())]
            self.assertEqual(waits[:4], [20, 40, 80, 100], n)
        # A preserved one is destroyed by a stop; a stop ends a back-off, too.
        self.assertEqual(self.ctl("--wait", "10", "stop", "crash-preserve").returncode, 0)
        self.assertEqual(self.ctl("--wait", "10", "stop", "crash-restart").returncode, 0)
        count = k.domains()["crash-restart"]["restarts"]
        time.sleep(0.3)
        self.assertEqual(k.domains()["crash-restart"]["restarts"], count)
        self.assertEqual(k.end(), 0)

    def test_back_off_is_forgotten(self):
        self.write("one", more="<on_crash>restart</on_crash>")
        k = self.keeper("--backoff", "0.02,60", "--steady", "0.2")
        for _ in range(3):
            k.wait_states({"one": "running"})
            time.sleep(0.4)
            with k.console("one") as s:
                s.sendall(b"crash\n")
                while s.recv(4096):
                    pass
            k.wait_until(lambda: k.domains()["one"]["restarts"] == _ + 1)
        k.wait_states({"one": "running"})
        self.assertEqual(re.findall(r"starts again in (\d+) ms", self.log()), ["20"] * 3)

    def test_a_missing_kernel_may_come(self):
        kernel = self.dir / "kernel.elf"
        self.write("one", kernel)
        k = self.keeper("--backoff", "0.05,0.2")
        k.wait_until(lambda: k.domains()["one"]["restarts"] >= 2)
        self.assertIn("kernel.elf", k.domains()["one"]["error"])
        shutil.copy(SERVICE, kernel)
        k.wait_states({"one": "running"})


class End(Case):
    def test_drain(self):
        for n in range(6):
            self.write(f"d{n}")
        k = self.keeper("--grace", 30)
        k.wait_states({f"d{n}": "running" for n in range(6)})
        pids = k.processes()
        self.assertEqual(len(pids), 6)
        for pid in pids:  # whoever signals a whole process group or cgroup does not pull a guest's plug
            os.kill(pid, signal.SIGTERM)
        self.assertEqual(k.end(), 0)
        self.assertNotIn("does not power off", self.log())
        self.assertEqual(load.alive(pids), [])
        self.assertFalse(self.sock.exists())

    @unittest.skipUnless(linuxlib.KERNELS, "no kernel of Debian; scripts/fetch-guests cloud busybox")
    def test_linux(self):
        """Debian's kernel: runs, has a console, powers off when it is asked to."""
        xml = stage.domain_xml("debian", linuxlib.CACHE / f"vmlinuz-{linuxlib.KERNELS[0]}", memory=192)
        xml = xml.replace("</os>", f"<initrd>{linuxlib.initramfs()}</initrd><cmdline>console=hvc0 quiet</cmdline></os>")
        (self.fleet / "debian.xml").write_text(xml)
        k = self.keeper("--grace", 60, "--drain", 60)
        k.wait_states({"debian": "running"})
        with k.console("debian") as s:
            load.expect(s, b"# ")
            s.sendall(b"cat /sys/hypervisor/type\n")
            load.expect(s, b"xen\r\n")
        stop = self.ctl("--wait", "60", "stop", "debian")
        self.assertEqual((stop.returncode, stop.stderr), (0, ""))
        self.assertEqual(self.ctl("start", "debian").returncode, 0)
        k.wait_states({"debian": "running"})
        with k.console("debian") as s:
            load.expect(s, b"# ")
        self.assertEqual(k.end(), 0)
        self.assertNotIn("does not power off", self.log())

    def test_deadlines(self):
        """Guests that do not listen: the grace of each, the deadline of all, or a second signal."""
        for options, again in ((["--grace", 0.3], False), (["--grace", 90, "--drain", 0.3], False),
                               (["--grace", 90, "--drain", 90], True)):
            self.write("deaf", stage.GUESTS / "echo.elf")
            k = self.keeper(*options)
            k.wait_states({"deaf": "running"})
            if again:
                k.p.send_signal(signal.SIGTERM)
                k.wait_until(lambda: k.get("/readyz")[0] == 503)
                self.assertEqual(k.post("/v1/domains/deaf/start")[0], 503)
            self.assertEqual(k.end(seconds=60), 0)
            self.assertIn("deaf: does not power off", self.log())
            (self.dir / "log").unlink()

    def test_kill_9(self):
        """No process stays, no write that was called safe is lost, the fleet comes back."""
        disks = {}
        for n in range(4):
            disks[f"w{n}"], devices = self.disk(f"disk{n}", 32 << 20)
            self.write(f"w{n}", devices=devices)
        k = self.keeper()
        k.wait_states({n: "running" for n in disks})
        safe = {}

        def follow(name):
            seen = b""
            with k.console(name) as s:
                s.sendall(b"write 60000\n")
                try:
                    while chunk := s.recv(65536):
                        seen += chunk
                except ConnectionError:
                    pass
            safe[name] = [int(m) for m in re.findall(rb"safe (\d+)\r?\n", seen)][-1]

        threads = [threading.Thread(target=follow, args=(n,)) for n in disks]
        for t in threads:
            t.start()
        k.wait_until(lambda: all(self.written(k, n) > 100 * 512 for n in disks))
        pids = k.processes()
        self.assertEqual(len(pids), 4)
        k.end(signal.SIGKILL)
        for t in threads:
            t.join()
        end = time.monotonic() + 20
        while load.alive(pids) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(load.alive(pids), [], "orphans")
        self.assertTrue(all(last > 50 for last in safe.values()), safe)
        for name, last in safe.items():
            data = disks[name].read_bytes()
            for i in range(last + 1):
                words = struct.unpack_from("<64Q", data, i * 512)
                self.assertEqual(words, tuple(range(i * 64 + 1, i * 64 + 65)), f"{name}: sector {i} of {last}")
        # Nothing has to be cleaned up: the socket, the locks of the images.
        k = self.keeper()
        k.wait_states({n: "running" for n in disks})
        self.assertEqual(k.end(), 0)

    def test_one_keeper_a_socket(self):
        self.keeper()
        r = subprocess.run([KEEPERD, "--folder", self.fleet, "--socket", self.sock], env=STAGE.env, text=True,
                           capture_output=True, timeout=20)
        self.assertEqual(r.returncode, 1)
        self.assertIn("Address already in use", r.stderr)

    @unittest.skipUnless(shutil.which("systemd-socket-activate"), "no systemd-socket-activate; install systemd")
    def test_socket_of_another(self):
        """A socket that systemd made stays: it is the one that the next client starts keeperd through."""
        k = self.keeper(wrapper=["systemd-socket-activate", "-E", "LD_LIBRARY_PATH", "-l", self.sock])
        self.assertEqual(k.get("/readyz")[0], 200)
        self.assertEqual(k.end(), 0)
        self.assertTrue(self.sock.exists())

    def test_no_folder(self):
        r = subprocess.run([KEEPERD, "--folder", self.dir / "nothing", "--socket", self.sock], env=STAGE.env,
                           text=True, capture_output=True, timeout=20)
        self.assertEqual(r.returncode, 1)
        self.assertIn("No such file", r.stderr)


def unit_settings():
    """keeper.service as {name: [values]}."""
    out = {}
    for line in (HERE / "keeper.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            out.setdefault(name, []).append(value)
    return out


def syscall_groups():
    """systemd's own lists, as names; groups may contain groups."""
    text = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter"], text=True, capture_output=True,
                          check=True).stdout
    groups, current = {}, None
    for line in text.splitlines():
        word = line.strip()
        if line.startswith("@"):
            current = groups.setdefault(word, set())
        elif line.startswith("#") or not word:
            current = None if line.startswith("#") else current
        elif current is not None and not word.startswith("#"):
            current.add(word)
    return groups


def expand(words, groups):
    out = set()
    for w in words:
        out |= expand(groups[w], groups) if w.startswith("@") else {w}
    return out


class Unit(Case):
    """The unit file. systemd itself is not started by any test; what it would do to keeperd is done here."""

    def setUp(self):
        super().setUp()
        if not shutil.which("systemd-analyze"):
            self.skipTest("no systemd-analyze; install systemd")

    def test_exposure(self):
        unit = self.dir / "keeper.service"
        unit.write_text((HERE / "keeper.service").read_text())
        r = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=6", unit],
                           text=True, capture_output=True)
        self.assertEqual(r.returncode, 0, r.stdout[-300:])
        print(r.stdout.strip().splitlines()[-1], file=sys.stderr)

    def test_confined(self):
        """Its system calls and address families, an unprivileged user, no capability, no new privileges."""
        settings, groups = unit_settings(), syscall_groups()
        allowed = set()
        for value in settings["SystemCallFilter"]:
            names = expand(value.lstrip("~").split(), groups)
            allowed = allowed - names if value.startswith("~") else allowed | names
        # always possible under systemd: to execute the program, and @default
        allowed |= expand(["@default", "execve"], groups)
        # Its arguments cannot be looked into, so systemd answers ENOSYS (as confine.c does).
        self.assertEqual(settings["RestrictNamespaces"], ["yes"])
        allowed.discard("clone3")
        self.assertNotIn("mount", allowed)
        self.assertNotIn("setuid", allowed)
        self.assertEqual(settings["RestrictAddressFamilies"], ["AF_UNIX"])
        (self.dir / "allowed").write_text("\n".join(sorted(allowed)) + "\n")
        subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-o", self.dir / "confine", stage.SOURCE / "tests/system/confine.c",
                        "-lseccomp"], check=True)
        wrapper = [self.dir / "confine", self.dir / "allowed"]
        _, devices = self.disk("disk", 65536)
        if os.getuid() == 0:
            wrapper = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all",
                       "--bounding-set=-all", "--no-new-privs", *wrapper]
            shutil.copytree(STAGE.lib, self.dir / "lib", symlinks=True)
            for f in KEEPERD, SERVICE:
                shutil.copy(f, self.dir)
            for f in [self.dir, *self.dir.rglob("*")]:
                os.chown(f, 65534, 65534, follow_symlinks=False)
        self.write("one", self.dir / "service.elf" if os.getuid() == 0 else SERVICE, devices=devices)
        exe = self.dir / "keeperd" if os.getuid() == 0 else KEEPERD
        env = dict(STAGE.env, LD_LIBRARY_PATH=str(self.dir / "lib" if os.getuid() == 0 else STAGE.lib))
        with open(self.dir / "log", "ab") as log:
            k = load.Keeper(exe, self.fleet, self.sock, env=env, stderr=log, wrapper=wrapper)
        self.addCleanup(self.no_more, k)
        k.wait_until(lambda: k.domains()["one"]["state"] == "running" or k.domains()["one"]["restarts"])
        self.assertEqual(k.domains()["one"]["state"], "running", self.log())
        for pid in [k.p.pid, *k.processes()]:
            status = dict(s.split(":", 1) for s in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
            self.assertNotIn("0", status["Uid"].split())
            self.assertEqual(int(status["CapEff"], 16), 0)
            self.assertEqual((status["NoNewPrivs"].strip(), status["Seccomp"].strip()), ("1", "2"))
        with k.console("one") as s:
            s.sendall(b"write 3\n")
            load.expect(s, b"safe 2")
        self.assertEqual(k.end(), 0, self.log())


class Load(unittest.TestCase):
    def test_short(self):
        """The long one is by hand: load.py --domains 100 --clients 10 --seconds 180."""
        r = subprocess.run([sys.executable, HERE / "load.py", "--domains", "20", "--clients", "4", "--seconds", "6",
                            KEEPERD, SERVICE], env=STAGE.env, text=True, capture_output=True, timeout=200)
        print(r.stdout, file=sys.stderr)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
