#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""scripts/abi-check notices what it is for, and nothing else: on dumps that were changed by hand."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE, BUILD = (pathlib.Path(p) for p in (sys.argv.pop(1), sys.argv.pop(1)))


class AbiCheck(unittest.TestCase):
    def setUp(self):
        if not shutil.which("abidiff"):
            self.skipTest("skipped: abidiff is not installed (abigail-tools)")
        self.tmp = tempfile.TemporaryDirectory(prefix="pvv-abi-")
        self.addCleanup(self.tmp.cleanup)
        self.tree = pathlib.Path(self.tmp.name)
        for name in "scripts", "abi", "include":
            shutil.copytree(SOURCE / name, self.tree / name)
        self.dump = self.tree / "abi/libpvvirt.so.0.abi"
        self.text = self.dump.read_text()

    def check(self, text):
        self.assertNotEqual(text, self.text)
        self.dump.write_text(text)
        r = subprocess.run([self.tree / "scripts/abi-check", BUILD], text=True, capture_output=True, timeout=100)
        return r.returncode, r.stdout

    def record(self, name):
        start = self.text.index(f"<class-decl name='{name}'")
        end = self.text.index("</class-decl>", start)
        return start, end, re.findall(r" *<data-member.*?</data-member>\n", self.text[start:end], re.S)

    def with_body(self, start, end, change):
        return self.text[:start] + change(self.text[start:end]) + self.text[end:]

    def test_a_removed_function(self):
        status, out = self.check(self.text.replace("pvv_version_string", "pvv_was_here_before"))
        self.assertEqual(status, 1, out)
        self.assertIn("pvv_was_here_before", out)

    def test_an_added_function_is_fine(self):
        """A function that the dump does not have."""
        text = re.sub(r"\s*<elf-symbol name='pvv_version'[^\n]*", "", self.text)
        text = re.sub(r"\s*<function-decl name='pvv_version' .*?</function-decl>", "", text, flags=re.S)
        self.assertEqual(self.check(text)[0], 0)

    def test_a_record_that_grew_at_its_end_is_fine(self):
        start, end, members = self.record("pvv_domain_stats")
        size = int(re.search(r"size-in-bits='(\d+)'", self.text[start:]).group(1))
        status, out = self.check(self.with_body(start, end, lambda body: body.replace(members[-1], "").replace(
            f"size-in-bits='{size}'", f"size-in-bits='{size - 64}'", 1)))
        self.assertEqual(status, 0, out)

    def test_a_record_that_changed_in_the_middle(self):
        start, end, members = self.record("pvv_domain_stats")
        first, second = members[1], members[2]
        offsets = [re.search(r"layout-offset-in-bits='(\d+)'", m).group(0) for m in (first, second)]
        swapped = second.replace(offsets[1], offsets[0]) + first.replace(offsets[0], offsets[1])
        status, out = self.check(self.with_body(start, end, lambda body: body.replace(first + second, swapped)))
        self.assertEqual(status, 1, out)
        self.assertIn("pvv_domain_stats", out)

    def test_what_is_private_may_change(self):
        start, end, members = self.record("pvv_host")
        status, out = self.check(self.with_body(start, end, lambda body: body.replace(members[2], "").replace(
            "name='next_domid'", "name='something_else'")))
        self.assertEqual(status, 0, out)

    def test_a_changed_number(self):
        status, out = self.check(self.text.replace("<enumerator name='PVV_EVENT_STOPPED' value='5'/>",
                                                   "<enumerator name='PVV_EVENT_STOPPED' value='55'/>"))
        self.assertEqual(status, 1, out)

    def test_a_new_enumerator_is_fine(self):
        status, out = self.check(re.sub(r" *<enumerator name='PVV_EVENT_LOST'[^\n]*\n", "", self.text))
        self.assertEqual(status, 0, out)

    def test_a_changed_parameter(self):
        m = re.search(r"<function-decl name='pvv_domain_wait'.*?</function-decl>", self.text, re.S)
        types = re.findall(r"<parameter type-id='([\w-]+)'[^>]*/>", m.group(0))
        changed = re.sub(rf"(<parameter type-id=')({types[1]})(')", rf"\g<1>{types[0]}\g<3>", m.group(0), count=1)
        self.assertEqual(self.check(self.text.replace(m.group(0), changed))[0], 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
