#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The pvvirt program as people and scripts use it: commands, options, exit statuses, messages."""
import json
import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

PVVIRT = os.environ["PVV_PVVIRT"]
GUESTS = pathlib.Path(os.environ["PVV_TEST_GUESTS"])
CACHE = pathlib.Path(os.environ.get("PVV_TEST_CACHE", "/var/cache/libpvvirt-test"))
GRUB = CACHE / "grub-x86_64-xen.bin"
needs_grub = unittest.skipUnless(GRUB.exists(), f"{GRUB} is missing; run scripts/fetch-guests grub")

# (Under nohup it is ignored by all that is started there; here it is sent.)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

XML = """<domain type='xen'>
  <name>{name}</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='xenpv'>linux</type><kernel>{kernel}</kernel></os>
  {more}
</domain>
"""


def pvvirt(*args, stdin="", timeout=60, **kw):
    return subprocess.run([PVVIRT, *map(str, args)], input=stdin, text=True, capture_output=True,
                          timeout=timeout, **kw)


class Session:
    """pvvirt with pipes: expect text, type text."""

    def __init__(self, *args):
        self.p = subprocess.Popen([PVVIRT, *map(str, args)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.seen = b""

    def expect(self, text, timeout=30):
        end = time.monotonic() + timeout
        os.set_blocking(self.p.stdout.fileno(), False)
        while text.encode() not in self.seen:
            if time.monotonic() > end:
                raise AssertionError(f"{text!r} not seen in {self.seen!r}")
            chunk = self.p.stdout.read()
            if chunk:
                self.seen += chunk
            elif chunk == b"":
                raise AssertionError(f"{text!r} not seen before the end in {self.seen!r}: "
                                     f"{self.p.stderr.read()!r}")
            else:
                time.sleep(0.01)
        self.seen = self.seen.split(text.encode(), 1)[1]

    def type(self, text):
        self.p.stdin.write(text.encode())
        self.p.stdin.flush()

    def end(self, timeout=30):
        code = self.p.wait(timeout)
        err = self.p.stderr.read().decode()
        for f in self.p.stdin, self.p.stdout, self.p.stderr:
            f.close()
        return code, err


class Usage(unittest.TestCase):
    def test_no_arguments(self):
        r = pvvirt()
        self.assertEqual(r.returncode, 2)
        self.assertIn("Usage: pvvirt", r.stderr)

    def test_help(self):
        for args in (["help"], ["--help"], ["help", "run"], ["run", "--help"], ["check", "--help"],
                     ["host", "--help"], ["inspect", "--help"]):
            r = pvvirt(*args)
            self.assertEqual((r.returncode, r.stderr), (0, ""), args)
            self.assertIn("Usage: pvvirt", r.stdout)

    def test_version(self):
        self.assertEqual(pvvirt("--version").stdout, "pvvirt 0.1.0\n")

    def test_wrong_usage(self):
        for args in (["fly"], ["run"], ["run", "--nonsense"], ["run", "a.xml", "b.xml"],
                     ["run", "--kernel", "/k", "a.xml"], ["run", "--kernel", "/k", "--memory", "lots"],
                     ["run", "--kernel", "/k", "--vcpus", "-1"],
                     ["run", "--kernel", "/k", "--executor", "magic"],
                     ["run", "--kernel", "/k", "--timeout", "soon"],
                     ["run", "--kernel", "/k", "--timeout", "0"],
                     ["run", "--kernel", "/k", "--timeout", "-1"],
                     ["run", "--kernel", "/k", "--timeout", "nan"],
                     ["run", "--kernel", "/k", "--console", "teletype"],
                     ["check"], ["check", "a", "b"], ["host", "x"], ["inspect"]):
            r = pvvirt(*args)
            self.assertEqual(r.returncode, 2, (args, r.stderr))
            self.assertTrue(r.stderr, args)


class Host(unittest.TestCase):
    def test_text(self):
        r = pvvirt("host")
        self.assertEqual(r.returncode, 0)
        self.assertRegex(r.stdout, r"ring3 +available")
        self.assertRegex(r.stdout, r"kvm +(available|not available: \w+)")

    def test_json(self):
        doc = json.loads(pvvirt("host", "--json").stdout)
        names = {e["name"]: e for e in doc["executors"]}
        self.assertTrue(names["ring3"]["available"])
        self.assertEqual(names["kvm"]["available"], not names["kvm"]["reason"])


class Check(unittest.TestCase):
    def test_good(self):
        r = pvvirt("check", "-", stdin=XML.format(name="x", kernel="/k", more=""))
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        again = pvvirt("check", "-", stdin=r.stdout)
        self.assertEqual(again.stdout, r.stdout)

    def test_error_has_line(self):
        r = pvvirt("check", "-", stdin=XML.format(name="x", kernel="/k", more="<vcpu>many</vcpu>"))
        self.assertEqual(r.returncode, 1)
        self.assertRegex(r.stderr, r":5:\d+: ")

    def test_ignored_is_named(self):
        xml = XML.format(name="x", kernel="/k", more="<devices><sound model='ich6'/></devices>")
        r = pvvirt("check", "-", stdin=xml)
        self.assertEqual(r.returncode, 0)
        self.assertIn("<sound>", r.stderr)
        self.assertEqual(pvvirt("check", "--strict", "-", stdin=xml).returncode, 1)

    def test_missing_file(self):
        r = pvvirt("check", "/nonexistent.xml")
        self.assertEqual(r.returncode, 1)
        self.assertIn("/nonexistent.xml", r.stderr)


class Inspect(unittest.TestCase):
    def test_guest(self):
        r = pvvirt("inspect", GUESTS / "hello.elf")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn("ELF", r.stdout)
        self.assertIn("HYPERCALL_PAGE", r.stdout)
        json.loads(pvvirt("inspect", "--json", GUESTS / "hello.elf").stdout)

    def test_not_an_image(self):
        r = pvvirt("inspect", "/etc/passwd")
        self.assertEqual(r.returncode, 1)
        self.assertIn("/etc/passwd", r.stderr)
        r = pvvirt("inspect", "/bin/sh")  # an ELF file, at least
        self.assertEqual(r.returncode, 0)
        self.assertRegex(r.stdout, "startable: +no")


class Run(unittest.TestCase):
    def test_power_off(self):
        r = pvvirt("run", "--kernel", GUESTS / "hello.elf", "--memory", "64M", "--timeout", "30")
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn("Hello", r.stdout)

    def test_brief_turns(self):
        """Of ring3: the XML's word, and the option's, which is the last one; as the statistics count them."""
        def turns(briefly, *args):
            attr = f" briefTurns='{briefly}'" if briefly else ""
            more = f"<pvvirt:domain xmlns:pvvirt='https://libpvvirt.org/schemas/domain/1.0'>" \
                   f"<pvvirt:executor name='ring3'{attr}/></pvvirt:domain>"
            with tempfile.NamedTemporaryFile("w", suffix=".xml") as f:
                f.write(XML.format(name="turns", kernel=GUESTS / "access-bits.elf", more=more))
                f.flush()
                r = pvvirt("run", "--stats", *args, f.name)
            self.assertEqual(r.returncode, 0, r.stderr)
            found = re.search(r"^brief turns +(\d+) of programs, interpreted; (\d+) by their processes$", r.stderr, re.M)
            return int(found[1]) > 0, int(found[2]) > 0

        for briefly, args, expected in ("", (), True), ("yes", (), True), ("no", (), False), \
                ("no", ("--brief-turns", "yes"), True), ("yes", ("--brief-turns", "no", "--executor", "ring3"), False):
            with self.subTest(xml=briefly, args=args):
                brief, by_processes = turns(briefly, *args)
                self.assertEqual(brief, expected)
                self.assertTrue(brief or by_processes)
        r = pvvirt("run", "--brief-turns", "no", "--executor", "ring3", "--stats", "--kernel", GUESTS / "access-bits.elf")
        self.assertRegex(r.stderr, r"brief turns +0 of programs, interpreted; [1-9]")
        r = pvvirt("run", "--brief-turns", "off", "--kernel", GUESTS / "access-bits.elf")
        self.assertEqual(r.returncode, 2)
        self.assertIn("--brief-turns 'off' is not yes or no", r.stderr)

    def test_xml_and_events(self):
        with tempfile.TemporaryDirectory() as tmp:
            xml, events = pathlib.Path(tmp, "d.xml"), pathlib.Path(tmp, "events")
            xml.write_text(XML.format(name="evented", kernel=GUESTS / "hello.elf", more=""))
            r = pvvirt("run", "--events", events, "--timeout", "30", xml)
            self.assertEqual(r.returncode, 0, r.stderr)
            lines = [json.loads(s) for s in events.read_text().splitlines()]
            self.assertEqual([e["event"] for e in lines], ["started", "shutdown", "stopped"])
            self.assertTrue(all(e["domain"] == "evented" for e in lines))

    def test_missing_kernel(self):
        r = pvvirt("run", "--kernel", "/nonexistent")
        self.assertEqual(r.returncode, 1)
        self.assertIn("/nonexistent", r.stderr)

    def test_bad_image(self):
        r = pvvirt("run", "--kernel", "/bin/sh")
        self.assertEqual(r.returncode, 1)
        self.assertIn("/bin/sh", r.stderr)

    def test_kvm_is_refused_with_a_reason(self):
        doc = json.loads(pvvirt("host", "--json").stdout)
        if {e["name"]: e for e in doc["executors"]}["kvm"]["available"]:
            self.skipTest("this host has a working kvm executor")
        r = pvvirt("run", "--executor", "kvm", "--kernel", GUESTS / "hello.elf")
        self.assertEqual(r.returncode, 1)
        self.assertIn("kvm executor", r.stderr)

    @needs_grub
    def test_timeout(self):
        start = time.monotonic()
        r = pvvirt("run", "--kernel", GRUB, "--memory", "64M", "--timeout", "2")
        self.assertEqual(r.returncode, 11, r.stderr)
        self.assertLess(time.monotonic() - start, 15)

    @needs_grub
    def test_sigterm_twice(self):
        s = Session("run", "--kernel", GRUB, "--memory", "64M", "--timeout", "60")
        s.expect("grub> ")
        s.p.send_signal(signal.SIGTERM)  # GRUB does not listen to control/shutdown
        time.sleep(0.3)
        s.p.send_signal(signal.SIGTERM)
        code, err = s.end()
        self.assertEqual(code, 1, err)
        self.assertIn("asked", err)
        self.assertIn("ended before it had powered off", err)

    @needs_grub
    def test_console_unix(self):
        import socket
        with tempfile.TemporaryDirectory() as tmp:
            path = os.path.join(tmp, "console")
            s = Session("run", "--kernel", GRUB, "--memory", "64M", "--timeout", "60", "--console",
                        "unix:" + path)
            for _ in range(200):
                if os.path.exists(path):
                    break
                time.sleep(0.05)
            c = socket.socket(socket.AF_UNIX)
            c.connect(path)
            c.settimeout(30)
            seen = b""
            while b"grub> " not in seen:
                chunk = c.recv(4096)
                self.assertTrue(chunk, seen)
                seen += chunk
            c.sendall(b"halt\r")
            self.assertEqual(s.end()[0], 0)
            c.close()

    @needs_grub
    def test_console_pty(self):
        s = Session("run", "--kernel", GRUB, "--memory", "64M", "--timeout", "60", "--console", "pty")
        line = s.p.stderr.readline().decode()
        path = re.search(r"/dev/pts/\d+", line)
        self.assertTrue(path, line)
        fd = os.open(path.group(), os.O_RDWR | os.O_NOCTTY)
        seen = b""
        while b"grub> " not in seen:
            seen += os.read(fd, 4096)
        os.write(fd, b"halt\r")
        self.assertEqual(s.end()[0], 0)
        os.close(fd)

    @needs_grub
    def test_leave_the_terminal(self):
        """On a real terminal: raw while it is the console, as before after ^]."""
        pid, fd = pty.fork()
        if pid == 0:
            os.execv(PVVIRT, [PVVIRT, "run", "--kernel", str(GRUB), "--memory", "64M", "--timeout", "60"])
        seen = b""

        def until(text):
            nonlocal seen
            while text not in seen:
                seen += os.read(fd, 4096)
            seen = seen.split(text, 1)[1]

        until(b"grub> ")
        os.write(fd, b"echo typed\r")  # echoed with cursor movements in between
        until(b"typed")
        os.write(fd, b"\x1d")
        until(b"left the console")
        os.write(fd, b"\x03")  # the terminal is cooked again: ^C is a signal
        until(b"asked")
        os.write(fd, b"\x03")
        _, status = os.waitpid(pid, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 1)
        os.close(fd)

    @needs_grub
    def test_terminal_is_restored(self):
        """Whatever ends the guest, the terminal is as it was."""
        import termios
        for args, expected in ((["--kernel", str(GUESTS / "hello.elf")], 0),
                               (["--kernel", str(GUESTS / "end-crash.elf")], 10),
                               (["--kernel", str(GRUB), "--timeout", "1"], 11)):
            pid, fd = pty.fork()
            if pid == 0:
                before = termios.tcgetattr(0)
                p = subprocess.Popen([PVVIRT, "run", "--memory", "64M", *args])
                code = p.wait()
                os._exit(code if termios.tcgetattr(0) == before else 99)
            try:
                while os.read(fd, 4096):
                    pass
            except OSError:
                pass
            _, status = os.waitpid(pid, 0)
            self.assertEqual(os.waitstatus_to_exitcode(status), expected, args)
            os.close(fd)

    def test_closed_streams(self):
        """Closed standard streams do not turn other descriptors into them."""
        base = f"{PVVIRT} run --kernel {GUESTS / 'hello.elf'} --memory 64M --timeout 30"
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            r = subprocess.run(f"{base} {closed}", shell=True, capture_output=True, timeout=60)
            self.assertEqual(r.returncode, 0, (closed, r.stderr))
            if ">&-" not in closed.replace("2>&-", ""):
                self.assertIn(b"Hello", r.stdout)

    def test_slow_reader(self):
        """A pager may sleep: nothing of the output is lost."""
        p = subprocess.Popen([PVVIRT, "run", "--kernel", GUESTS / "mmu-matrix.elf", "--memory", "64M",
                              "--timeout", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, pipesize=4096)
        time.sleep(1)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 0, err)
        whole = pvvirt("run", "--kernel", GUESTS / "mmu-matrix.elf", "--memory", "64M").stdout.encode()
        self.assertEqual(len(out.splitlines()), len(whole.splitlines()))

    @needs_grub
    def test_timeout_while_nobody_reads(self):
        """Neither a full pipe nor a guest that floods it keeps --timeout from ending it."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        try:
            while os.write(write, b"x" * 4096):
                pass
        except BlockingIOError:
            pass
        os.set_blocking(write, True)
        start = time.monotonic()
        p = subprocess.run([PVVIRT, "run", "--kernel", GRUB, "--memory", "64M", "--timeout", "2"],
                           stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(p.returncode, 11, p.stderr)
        self.assertLess(time.monotonic() - start, 15)
        os.close(read)
        os.close(write)

    @needs_grub
    def test_long_input(self):
        """Input that waits for the guest arrives whole, also if that takes longer than a moment."""
        lines = "".join(f"set a{i}=1\n" for i in range(60)) + "echo last-$a59-line\nhalt\n"
        r = pvvirt("run", "--kernel", GRUB, "--memory", "64M", "--timeout", "60",
                   stdin=lines.replace("\n", "\r"))
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertIn("last-1-line", r.stdout)

    def test_control(self):
        agent = os.path.join(GUESTS, "agent.elf")
        with tempfile.TemporaryDirectory() as tmp:
            sock = os.path.join(tmp, "s")
            s = Session("run", "--kernel", agent, "--memory", "64M", "--max-memory", "96M",
                        "--timeout", "60", "--control", sock)
            s.expect("ready")
            self.assertEqual(os.stat(sock).st_mode & 0o777, 0o600)
            r = pvvirt("info", sock)
            self.assertEqual(r.returncode, 0, r.stderr)
            self.assertIn("memory 64 of 96 MiB\nvcpus 1 of 1\n", r.stdout)
            self.assertEqual(pvvirt("setmem", sock, "48M").returncode, 0)
            s.type("mem\n")
            s.expect("pages 12288 of 12288 zero 1")
            self.assertIn("memory 48 of 96 MiB\n", pvvirt("info", sock).stdout)
            r = pvvirt("setmem", sock, "97M")
            self.assertEqual(r.returncode, 1)
            self.assertIn("can have 4 to 96 MiB", r.stderr)
            r = pvvirt("setvcpus", sock, "2")
            self.assertEqual(r.returncode, 1)
            self.assertIn("can have 1 to 1 vCPUs", r.stderr)
            for args in (["setmem", sock], ["setmem", sock, "much"], ["setvcpus", sock, "-1"],
                         ["info"], ["pause", sock, "1"]):
                self.assertEqual(pvvirt(*args).returncode, 2, args)
            self.assertEqual(pvvirt("pause", sock).returncode, 0)
            self.assertIn("state paused\n", pvvirt("info", sock).stdout)
            self.assertEqual(pvvirt("resume", sock).returncode, 0)
            r = pvvirt("resume", sock)
            self.assertEqual(r.returncode, 1)
            self.assertIn("not paused", r.stderr)
            # Clients that say nothing, nonsense, or too much.
            import socket
            for text in (b"", b"nonsense\n", b"setmem\n", b"info 3\n", b"x" * 1000):
                with socket.socket(socket.AF_UNIX) as c:
                    c.connect(sock)
                    c.sendall(text)
                    if text:
                        self.assertTrue(c.recv(4096).startswith(b"error"), text)
            s.type("quit\n")
            code, err = s.end()
            self.assertEqual(code, 0, err)
            self.assertFalse(os.path.exists(sock))
            r = pvvirt("info", sock)
            self.assertEqual(r.returncode, 1)
            self.assertIn("cannot connect", r.stderr)

    @needs_grub
    def test_hangup(self):
        s = Session("run", "--kernel", GRUB, "--memory", "64M", "--timeout", "60")
        s.expect("grub> ")
        start = time.monotonic()
        s.p.send_signal(signal.SIGHUP)
        code, err = s.end()
        self.assertEqual(code, 1, err)
        self.assertLess(time.monotonic() - start, 15)

    @needs_grub
    def test_ignored_hangup(self):
        """As under nohup."""
        p = subprocess.Popen([PVVIRT, "run", "--kernel", GRUB, "--memory", "64M", "--timeout", "4"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        time.sleep(1.5)
        p.send_signal(signal.SIGHUP)
        _, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 11, err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
