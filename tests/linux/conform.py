#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The conformance program (guest/conform) in a guest: the same lines as natively, on the machine that runs the guest.
$PVV_TEST_CONFORM: only tests whose names begin so. $PVV_TEST_VCPUS: with so many.

EXPECTED lists what is known to differ, and why: a test of that list that passes after all is an error as well."""
import os
import re
import unittest

import linuxlib
from linuxlib import EXECUTOR, KERNELS, PROGRAMS, beside, initramfs, run

linuxlib.need_kernels()
EXPECTED = {
    "memory-low-edges": "ring3's stub lies from 0x10000 to 0x2ffff (doc/ring3.md)",
} if EXECUTOR == "ring3" else {}
VCPUS = os.environ.get("PVV_TEST_VCPUS", "1")
SETTINGS = ["CONFORM_LIMIT=%d" % (60 * linuxlib.SLOW)]
if "PVV_TEST_CONFORM" in os.environ:
    SETTINGS.append("CONFORM_ONLY=" + os.environ["PVV_TEST_CONFORM"])


def verdicts(text):
    return {m[2]: (m[1], m[3] or "") for m in re.finditer(r"^(ok|skip|FAIL) ([\w-]+)(?:: (.*))?$", text, re.M)}


class Conform(unittest.TestCase):
    def test_as_natively(self):
        native = verdicts(beside(*SETTINGS, PROGRAMS / "conform").stdout)
        self.assertGreater(len(native), 0 if "PVV_TEST_CONFORM" in os.environ else 80)
        image = initramfs("--bare", "--name", "conform", "--init", PROGRAMS / "conform")
        kernel = os.environ.get("PVV_TEST_KERNEL", KERNELS[0])
        code, out, err = run(kernel, image, " ".join(["quiet", *SETTINGS]), "512M", ["--vcpus", VCPUS], timeout=500)
        self.assertIn("conform: ", out, err + out[-1500:])
        self.assertEqual(code, 0, err)
        guest, bad = verdicts(out), []
        failed = [name for name in native if native[name][0] == "FAIL"]
        if failed:
            print(f"not right natively, either: {', '.join(failed)}")
        for name, (verdict, _why) in native.items():
            got, why = guest.get(name, ("missing", ""))
            if name in EXPECTED:
                if got != "FAIL":
                    bad.append(f"{name}: {got}, although {EXPECTED[name]}; take it off the list")
            elif verdict == "FAIL" and linuxlib.EXECUTOR == "kvm" and got in ("ok", "FAIL"):
                continue  # an emulated processor that is not right: what the guest's has to be nobody can say
            elif got == "skip" and verdict == "ok":
                print(f"not in this guest: {name}: {why}")  # a kernel without vsyscall page, a masked feature
            elif got != verdict:
                bad.append(f"{name}: natively {verdict}, in the guest {got}: {why}")
        self.assertEqual(bad, [])

    @unittest.skipIf(os.geteuid(), "skipped: only root can be another user, whose number of processes is limited")
    @unittest.skipUnless(EXECUTOR == "ring3", "skipped: only ring3 has processes for programs")
    def test_few_processes(self):
        """What the host has no processes for shares those that there are."""
        image = initramfs("--bare", "--name", "conform", "--init", PROGRAMS / "conform")
        few = ["prlimit", "--nproc=24", "setpriv", "--reuid=65533", "--regid=65533", "--clear-groups",
               "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        code, out, err = run(KERNELS[0], image, f"quiet {SETTINGS[0]} CONFORM_ONLY=process-,thread-futex-processes", "256M",
                             timeout=500, wrapper=few)
        self.assertRegex(out, r"conform: \d+ ok, 0 skipped, 0 failed", err + out[-1500:])
        self.assertEqual(code, 0, err)


if __name__ == "__main__":
    unittest.main(verbosity=2)
