#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The programs of examples/: each compiles without a warning against the installed library, and does
what it says."""
import os
import pathlib
import pty
import signal
import subprocess
import tempfile
import time
import unittest

import stage

stage.skip_if_sanitized()
SERVICE = stage.GUESTS / "service.elf"


def wait_for(text, fd, seen=b""):
    end = time.monotonic() + 60
    while text not in seen:
        assert time.monotonic() < end, seen
        chunk = os.read(fd, 4096)
        assert chunk, seen
        seen += chunk
    return seen


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tmp = tempfile.TemporaryDirectory(prefix="pvv-examples-")
        cls.dir = pathlib.Path(cls.tmp.name)
        cls.stage = stage.Stage(cls.dir)
        cls.built = {}
        for source in sorted((stage.SOURCE / "examples").glob("*.c")):
            cls.built[source.stem] = cls.stage.compile(source, cls.dir / source.stem)

    @classmethod
    def tearDownClass(cls):
        cls.tmp.cleanup()

    def run_it(self, name, *args, **kw):
        return subprocess.run([self.built[name], *map(str, args)], env=self.stage.env, text=True,
                              capture_output=True, timeout=100, **kw)

    def start(self, name, *args, **kw):
        p = subprocess.Popen([self.built[name], *map(str, args)], env=self.stage.env, **kw)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        return p

    def test_all_are_tested(self):
        self.assertEqual(set(self.built), {"hello", "console", "events-epoll", "fleet"})

    def test_short(self):
        for source in (stage.SOURCE / "examples").glob("*.c"):
            self.assertLess(len(source.read_text().splitlines()), 180, source)

    def test_hello(self):
        r = self.run_it("hello", stage.GUESTS / "hello.elf")
        self.assertEqual((r.returncode, r.stderr), (0, ""))
        self.assertIn("Hello", r.stdout)
        self.assertTrue(r.stdout.rstrip().endswith("powered off"), r.stdout)
        r = self.run_it("hello", "/nonexistent")
        self.assertEqual(r.returncode, 1)
        self.assertIn("/nonexistent", r.stderr)

    def test_console_on_a_pipe(self):
        p = self.start("console", SERVICE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        seen = wait_for(b"service ready", p.stdout.fileno())
        p.stdin.write(b"say good morning\n")
        p.stdin.flush()
        wait_for(b"good morning", p.stdout.fileno(), seen)
        p.stdin.close()  # leaving asks the guest to power off
        self.assertEqual(p.wait(30), 0)
        p.stdout.close()

    def test_console_on_a_terminal(self):
        disk = self.dir / "disk.img"
        disk.write_bytes(bytes(65536))
        mine, theirs = pty.openpty()
        p = self.start("console", SERVICE, disk, stdin=theirs, stdout=theirs)
        os.close(theirs)
        wait_for(b"service ready, with a disk", mine)
        os.write(mine, b"write 1\r")
        wait_for(b"safe 0", mine)
        os.write(mine, b"\x1d")  # ^]
        self.assertEqual(p.wait(30), 0)
        os.close(mine)
        self.assertEqual(disk.read_bytes()[:8], bytes([1, 0, 0, 0, 0, 0, 0, 0]))

    def test_events_epoll(self):
        files = []
        for name in "one", "two":
            files.append(self.dir / f"{name}.xml")
            files[-1].write_text(stage.domain_xml(name, SERVICE))
        p = self.start("events-epoll", *files, stdout=subprocess.PIPE)
        seen = b""
        while not (b"one: started" in seen and b"two: started" in seen):
            seen = wait_for(b"started", p.stdout.fileno(), seen + os.read(p.stdout.fileno(), 4096))
        p.send_signal(signal.SIGTERM)
        out = (seen + p.stdout.read()).decode()
        self.assertEqual(p.wait(30), 0, out)
        for name in "one", "two":
            self.assertIn(f"{name}: shutdown", out)
            self.assertIn(f"{name}: stopped", out)
        p.stdout.close()
        bad = self.dir / "bad.xml"
        bad.write_text(stage.domain_xml("bad", SERVICE, memory="lots"))
        r = self.run_it("events-epoll", bad)
        self.assertEqual(r.returncode, 1)
        self.assertRegex(r.stderr, r":3:\d+: .*memory")

    def test_fleet(self):
        r = self.run_it("fleet", SERVICE, 100, 4, 30)
        self.assertEqual((r.returncode, r.stderr), (0, ""), r.stdout)
        asked = r.stdout.splitlines()[-1]
        self.assertRegex(asked, r"^0 ended by themselves, \d+ when asked, 0 were ended$")

    def test_fleet_deadline(self):
        """echo.elf does not look at control/shutdown: after the grace it is ended."""
        r = self.run_it("fleet", stage.GUESTS / "echo.elf", 3, 1, 0.5)
        self.assertEqual(r.stdout.splitlines()[-1], "0 ended by themselves, 0 when asked, 3 were ended")

    def test_fleet_failure(self):
        """An image that cannot be started is reported for each, and counted."""
        r = self.run_it("fleet", "/bin/true", 3, 5, 1)
        self.assertEqual(r.returncode, 1)
        self.assertEqual(r.stderr.count("/bin/true"), 3, r.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
