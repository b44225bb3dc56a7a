#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The part of the embedding etiquette (doc/architecture.md) that shows in the library's file: what it takes from libc,
that it has no state of its own beside threads' error records, and nothing that runs when it is loaded.

binary.py LIBRARY"""
import re
import subprocess
import sys
import unittest

LIBRARY = sys.argv.pop()


def tool(*words):
    return subprocess.run([*words, LIBRARY], check=True, text=True, capture_output=True).stdout


class Binary(unittest.TestCase):
    def test_imports(self):
        """Nothing that acts on the whole program, or reads what is the program's."""
        taken = {line.split()[-1].split("@")[0] for line in tool("nm", "-D", "--undefined-only").splitlines()}
        self.assertIn("malloc", taken)
        for why, names in {
            "output belongs to the program": "printf vprintf puts putchar perror stdout stderr __printf_chk __vprintf_chk",
            "the environment belongs to the program": "getenv secure_getenv setenv putenv unsetenv clearenv environ __environ",
            "signals belong to the program": "signal sigaction sigaltstack siginterrupt raise alarm setitimer signalfd",
            "it neither ends nor forks the program": "exit abort quick_exit fork vfork system popen posix_spawn daemon atexit "
                                                     "on_exit pthread_atfork __register_atfork",
            "process-wide settings": "umask setlocale setrlimit fchdir nice personality mlockall tzset srand random rand",
        }.items():
            self.assertEqual(taken & set(names.split()), set(), why)

    def test_no_state(self):
        """Variables that are written lie in a host handle or a domain. Left are what the linker puts there itself."""
        size = {}
        for line in tool("readelf", "-SW").splitlines():
            m = re.match(r"\s*\[\s*\d+\] (\.\S+)\s+\S+\s+[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+)", line)
            if m:
                size[m[1]] = int(m[2], 16)
        self.assertIn(".text", size)
        self.assertLessEqual(size.get(".data", 0), 16)  # __dso_handle
        self.assertLessEqual(size.get(".bss", 0), 16)   # completed.0

    def test_no_constructors(self):
        """One pointer each: the start-up code of the compiler itself."""
        sizes = [int(m) for m in re.findall(r"\((?:INIT|FINI)_ARRAYSZ\)\s+(\d+)", tool("readelf", "-dW"))]
        self.assertEqual(sizes, [8, 8])
        self.assertEqual(re.findall(r" [iI] \S+", tool("nm")), [])  # nor functions that choose at load time


if __name__ == "__main__":
    unittest.main(verbosity=2)
