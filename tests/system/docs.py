#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The documentation is true: every block of code of the tutorial and the how-to pages is compiled or run against
the installed library, the API reference covers what is exported, and links lead somewhere.

What the word behind a fence means:
    c file=NAME     a whole program: written to NAME, for the shell blocks after it
    c fragment      compiled inside of a function that has `host` and `domain`
    xml [file=NAME] accepted by `pvvirt check`; written to NAME
    sh [needs=A,B]  run by bash -e, in one folder for the page; needs: programs, or root
    text output     each of its lines stands in the output of the block before it
    python          run, with the package of the build folder"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import stage

stage.skip_if_sanitized()
DOC = stage.SOURCE / "doc"
PAGES = ["tutorial.md", "howto.md"]
FRAGMENT = """#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <pvvirt/pvvirt.h>

void fragment(pvv_host *host, pvv_domain *domain);
void fragment(pvv_host *host, pvv_domain *domain)
{
	(void)host;
	(void)domain;
	{
%s	}
}
"""


def blocks(text):
    """(line, language, words, code) of each fenced block."""
    for m in re.finditer(r"^```(\S*)([^\n]*)\n(.*?)^```$", text, re.S | re.M):
        yield text[:m.start()].count("\n") + 2, m.group(1), m.group(2).split(), m.group(3)


def option(words, name):
    return next((w.split("=", 1)[1] for w in words if w.startswith(name + "=")), None)


class Page:
    """Runs the blocks of one page, in order."""

    def __init__(self, test, page, folder):
        self.test, self.page, self.dir = test, page, pathlib.Path(folder)
        self.out = None
        st = test.stage
        self.env = dict(st.env, SRC=str(stage.SOURCE), GUESTS=str(stage.GUESTS), KERNEL=str(stage.GUESTS / "hello.elf"),
                        PATH=f"{st.pvvirt.parent}:{os.environ['PATH']}", PYTHONDONTWRITEBYTECODE="1",
                        PYTHONPATH=str(stage.BUILD / "bindings/python"))

    def run(self, cmd, **kw):
        return subprocess.run([str(c) for c in cmd], cwd=self.dir, env=self.env, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120, stdin=subprocess.DEVNULL, **kw)

    def must(self, r):
        self.test.assertEqual(r.returncode, 0, r.stdout)
        self.out = r.stdout

    def c(self, words, code):
        if "fragment" in words:
            body = "".join("\t\t" + line + "\n" for line in code.splitlines())
            (self.dir / "fragment.c").write_text(FRAGMENT % body)
            self.must(self.run(["cc", "-std=c11", "-D_GNU_SOURCE", *stage.WARNINGS, "-c", "fragment.c",
                                *self.test.stage.flags("libpvvirt")]))
        else:
            name = option(words, "file")
            self.test.assertTrue(name, "a program needs file=")
            (self.dir / name).write_text(code)

    def xml(self, words, code):
        (self.dir / (option(words, "file") or "block.xml")).write_text(code)
        self.must(self.run([self.test.stage.pvvirt, "check", option(words, "file") or "block.xml"]))

    def sh(self, words, code):
        for need in (option(words, "needs") or "").split(","):
            if need and (os.getuid() if need == "root" else not shutil.which(need)):
                print(f"skipped a block: no {need}")
                self.out = None
                return
        self.must(self.run(["bash", "-e", "-c", code]))

    def text(self, words, code):
        self.test.assertEqual(words, ["output"])
        for line in code.splitlines():
            if self.out is not None:
                self.test.assertIn(line, self.out)

    def python(self, words, code):
        python = os.environ.get("PVV_PYTHON")
        if not python:
            print("skipped a block: the Python package is not built")
            self.out = None
            return
        self.must(self.run([python, "-c", code]))


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        tmp = tempfile.TemporaryDirectory(prefix="pvv-docs-")
        cls.addClassCleanup(tmp.cleanup)
        cls.dir = pathlib.Path(tmp.name)
        cls.stage = stage.Stage(cls.dir)

    def page(self, name):
        folder = self.dir / name
        folder.mkdir()
        page, seen = Page(self, name, folder), 0
        for line, language, words, code in blocks((DOC / name).read_text()):
            with self.subTest(f"{name}:{line}"):
                self.assertIn(language, ("c", "xml", "sh", "text", "python"), "nobody runs this")
                getattr(page, language)(words, code)
                seen += 1
        return seen

    def test_tutorial(self):
        self.assertGreater(self.page("tutorial.md"), 12)

    def test_howto(self):
        self.assertGreater(self.page("howto.md"), 15)

    def anchors(self, page):
        """As GitHub makes them of the headings."""
        heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.S | re.M), re.M)
        return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}

    def test_links(self):
        """Relative links of all pages, and files that are named in backquotes with a known folder."""
        for page in [*DOC.rglob("*.md"), *(stage.SOURCE / "examples").rglob("*.md"), stage.SOURCE / "README.md"]:
            text = page.read_text()
            for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
                there = page.parent / target if target else page
                self.assertTrue(there.exists(), f"{page}: {target}")
                if anchor:
                    self.assertIn(anchor, self.anchors(there), f"{page}: {target}")
            for name in re.findall(r"`((?:src|doc|tests|examples|scripts)/[\w./-]+\.\w+)`", text):
                self.assertTrue((stage.SOURCE / name).exists() or "/build/" in name, f"{page}: {name}")

    def test_the_tour_names_what_exists(self):
        source = "\n".join(p.read_text() for p in (stage.SOURCE / "src").rglob("*") if p.suffix in (".c", ".h", ".S"))
        text = (DOC / "tour.md").read_text()
        names = set(re.findall(r"\b([a-z]\w+)\(\)", text))
        self.assertGreater(len(names), 10)
        for name in names:
            self.assertRegex(source, rf"\b{name}\b", name)
        for name in set(re.findall(r"\b([\w/]+\.(?:c|h|S|def))\b", text)):
            self.assertTrue(list((stage.SOURCE / "src").rglob(os.path.basename(name))), name)

    def test_index_names_its_pages(self):
        text = (DOC / "README.md").read_text()
        for page in PAGES + ["architecture.md", "tour.md", "ring3.md", "pv-mmu.md", "security.md", "performance.md",
                             "comparison.md", "domain-xml.md", "block.md", "xenstore.md", "abi-coverage.md"]:
            self.assertIn(f"({page})", text)


class Reference(unittest.TestCase):
    def test_everything_exported_is_described(self):
        text = (stage.BUILD / "doc/api.md").read_text()
        lib = stage.BUILD / "src/api/libpvvirt.so.0"
        out = subprocess.run(["nm", "-D", "--defined-only", lib], check=True, text=True, capture_output=True).stdout
        exported = {w[2].split("@")[0] for w in map(str.split, out.splitlines()) if len(w) == 3 and w[1] in "TDBRV"}
        self.assertGreater(len(exported), 50)
        for name in exported:
            section = re.search(rf"^### {name}\n\n```c\n[^`]*\b{name}\(.*?```\n\n(.*?)^##", text + "\n##", re.S | re.M)
            self.assertTrue(section, name)
            self.assertIn("Since ", section.group(1), name)
            self.assertGreater(len(section.group(1)), 20, name)
        # No link to nowhere.
        heads = {h.lower() for h in re.findall(r"^### (\w+)$", text, re.M)}
        for anchor in re.findall(r"\]\(#(\w+)\)", text):
            self.assertIn(anchor, heads)

    def test_a_symbol_without_a_comment_is_an_error(self):
        with tempfile.TemporaryDirectory() as tmp:
            (pathlib.Path(tmp) / "x.h").write_text("/**\n * @file x.h\n * X.\n */\nPVV_API int pvv_secret(void);\n")
            r = subprocess.run([sys.executable, stage.SOURCE / "scripts/gen-api-reference.py", tmp, tmp + "/out"],
                               text=True, capture_output=True)
            self.assertEqual(r.returncode, 1)
            self.assertIn("pvv_secret", r.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
