#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `meson install` puts down: all of it and nothing else; and the man pages say what there is."""
import fnmatch
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = pathlib.Path(os.environ["PVV_BUILD_ROOT"])
SOURCE = pathlib.Path(os.environ["PVV_SOURCE_ROOT"])
sys.path.insert(0, str(SOURCE / "tests/system"))
import stage  # noqa: E402

PVVIRT = BUILD / "pvvirt"
VERSION = re.search(r"version: '([\d.]+)'", (SOURCE / "meson.build").read_text()).group(1)


def run(*cmd, **kw):
    return subprocess.run([str(c) for c in cmd], check=True, text=True, capture_output=True, timeout=100, **kw).stdout


def plain(page):
    """A man page without roff's escapes."""
    return re.sub(r"\\&", "", page.read_text().replace("\\-", "-").replace("\\e", "\\"))


class Staged(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tmp = tempfile.TemporaryDirectory(prefix="pvv-staged-")
        cls.stage = pathlib.Path(cls.tmp.name)
        stage.install(cls.stage)
        cls.files = sorted(p for p in cls.stage.rglob("*") if not p.is_dir())

    @classmethod
    def tearDownClass(cls):
        cls.tmp.cleanup()

    def test_files(self):
        kinds = {
            "header": r"include/pvvirt/\w+\.h", "library": r"libpvvirt\.so(\.0|\.[\d.]+)?", "program": r"bin/pvvirt",
            "pkg-config": r"pkgconfig/libpvvirt\.pc", "man": r"share/man/man(1/pvvirt\.1|3/libpvvirt\.3)",
            "reference": r"share/doc/libpvvirt/api\.md",
            "python": r"pvvirt/(\w+\.py|py\.typed|_pvvirt\.pyi|_pvvirt\.[\w-]+\.so)",
        }
        found = {k: [p for p in self.files if re.search(v + "$", str(p))] for k, v in kinds.items()}
        self.assertEqual(len({p for v in found.values() for p in v}), len(self.files),
                         f"what is this? {[str(p) for p in self.files if not any(p in v for v in found.values())]}")
        self.assertEqual({p.name for p in found["header"]}, {p.name for p in (SOURCE / "include/pvvirt").glob("*.h")})
        self.assertEqual({p.name for p in found["library"]}, {"libpvvirt.so", "libpvvirt.so.0", f"libpvvirt.so.{VERSION}"})
        self.assertEqual([len(found[k]) for k in ("program", "pkg-config", "man")], [1, 1, 2])
        if (BUILD / "bindings/python/pvvirt/_generated.py").exists():
            self.assertEqual({p.name for p in found["python"] if p.suffix in (".py", ".typed")},
                             {p.name for p in (SOURCE / "bindings/python/pvvirt").glob("*.py")} | {"_generated.py", "py.typed"})
            where = "/" + str(found["python"][0].parent.parent.relative_to(self.stage))
            if re.match("/usr(/local)?/lib/", where):
                looks = run("/usr/bin/python3", "-I", "-c", "import site; print(*site.getsitepackages())").split()
                self.assertIn(where, looks, "Debian's Python does not find the package there")

    def test_debian_packages_take_each_file(self):
        """Every installed file is in exactly one of debian/*.install."""
        patterns = {}
        for path in (SOURCE / "debian").glob("*.install"):
            for line in path.read_text().split():
                patterns[line] = path.stem
        for f in self.files:
            name = str(f.relative_to(self.stage))
            name = re.sub(r"^usr/local/", "usr/", name)
            name = re.sub(r"^usr/lib/python3[\d.]*/(site|dist)-packages", "usr/lib/python3/dist-packages", name)
            name = re.sub(r"^usr/lib/(?!python3|x86_64)", "usr/lib/x86_64-linux-gnu/", name)
            takes = [p for p in patterns if any(fnmatch.fnmatchcase(name[:n], p) for n in
                                                [m.start() for m in re.finditer("/", name)] + [len(name)])]
            self.assertEqual(len(takes), 1, f"{name}: {takes}")

    def test_pkg_config(self):
        pc = next(p for p in self.files if p.suffix == ".pc")
        env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent))
        run("pkg-config", "--validate", "libpvvirt", env=env)
        self.assertEqual(run("pkg-config", "--modversion", "libpvvirt", env=env).strip(), VERSION)
        self.assertIn("ring3", run("pkg-config", "--variable=executors", "libpvvirt", env=env))
        # What the library needs is its own business, unless it is linked statically.
        self.assertEqual(run("pkg-config", "--libs-only-l", "libpvvirt", env=env).split(), ["-lpvvirt"])

    def test_libraries_need_no_paths(self):
        for path in self.files:
            if path.suffix != ".pc" and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF":
                dynamic = run("readelf", "-d", path)
                paths = re.findall(r"R(?:UN)?PATH.*\[(.*)\]", dynamic)
                prefix_only = all(str(BUILD) not in p and str(SOURCE) not in p for p in paths)
                self.assertTrue(prefix_only, f"{path}: {paths}")

    def man(self, name):
        return next(p for p in self.files if p.name == name)

    def test_man_pages_are_sound(self):
        if not shutil.which("man"):
            self.skipTest("man is not installed")
        for name in "pvvirt.1", "libpvvirt.3":
            r = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", self.man(name)],
                               text=True, capture_output=True, env=dict(os.environ, MANWIDTH="80", LC_ALL="C.UTF-8"))
            self.assertEqual((r.returncode, r.stderr), (0, ""))
            self.assertIn(VERSION, self.man(name).read_text())

    def test_pvvirt_1_has_every_command_and_option(self):
        text = plain(self.man("pvvirt.1"))
        overview = run(PVVIRT, "--help")
        commands = set(re.findall(r"[a-z]+", " ".join(re.findall(r"^  ([a-z]+(?:, [a-z]+)*)\b", overview, re.M))))
        self.assertGreaterEqual(commands, {"run", "check", "host", "inspect"})
        # The commands that the program really has, from its table.
        source = (SOURCE / "src/cli/main.c").read_text()
        table = set(re.findall(r'\{"(\w+)", cmd_', source))
        self.assertEqual(table, commands - {"help", "version"}, "pvvirt --help lists other commands than there are")
        for command in table:
            self.assertRegex(text, rf"(?m)^\.SS .*\b{command}\b")
            for option in set(re.findall(r"--[a-z][a-z-]*", run(PVVIRT, "help", command))):
                self.assertIn(option, text, f"pvvirt help {command}")

    def test_options_of_the_source_are_in_the_help(self):
        for path in sorted((SOURCE / "src/cli").glob("*.c")):
            options = set(re.findall(r'\{"([a-z-]+)", (?:no|required)_argument', path.read_text())) - {"help"}
            if options:
                shown = run(PVVIRT, "help", path.stem) if path.stem in run(PVVIRT, "--help") else None
                for option in options if shown else ():
                    self.assertIn(f"--{option}", shown, f"{path.name} has an option that `pvvirt help` does not show")

    def test_libpvvirt_3_has_every_function(self):
        text = plain(self.man("libpvvirt.3"))
        headers = "\n".join(p.read_text() for p in (SOURCE / "include/pvvirt").glob("*.h"))
        functions = set(re.findall(r"^PVV_API\b[^;]*?\b(pvv_\w+)\(", headers, re.M))
        self.assertGreater(len(functions), 50)
        self.assertEqual(functions, set(re.findall(r"^\.SS (pvv_\w+)\(\)$", text, re.M)))
        for name in set(re.findall(r"^typedef enum (\w+)", headers, re.M)):
            self.assertIn(f".SS enum {name}\n", text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
