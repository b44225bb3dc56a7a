# SPDX-License-Identifier: MIT
"""Nothing of the C API is forgotten: functions, numbers, fields, comments."""
import ast
import dataclasses
import inspect
import pathlib
import re
import subprocess
import sys

import pytest
from conftest import SOURCE

import pvvirt
from pvvirt import _config, _errors, _generated
from pvvirt._pvvirt import lib

HEADERS = "\n".join(p.read_text() for p in sorted((SOURCE / "include/pvvirt").glob("*.h")) if p.name != "macros.h")
FUNCTIONS = sorted(set(re.findall(r"^PVV_API\b[^;]*?\b(pvv_\w+)\(", HEADERS, re.M)))
PACKAGE = "\n".join(p.read_text() for p in pathlib.Path(pvvirt.__file__).parent.glob("_*.py"))
CODE = re.sub(r'"pvv_\w+":', "", PACKAGE)


def test_found_the_functions():
    assert len(FUNCTIONS) > 50


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_is_bound(name):
    assert callable(getattr(lib, name)), "the extension module has it"
    used = re.search(rf"\blib\.{name}\b", CODE) is not None
    assert used or name in pvvirt.UNBOUND, f"{name}() is neither used by bindings/python/pvvirt nor listed in UNBOUND"
    assert not (used and name in pvvirt.UNBOUND), f"{name}() is used: take it out of UNBOUND"


def test_unbound_is_not_stale():
    assert set(pvvirt.UNBOUND) <= set(FUNCTIONS)
    assert all(len(reason) > 10 for reason in pvvirt.UNBOUND.values())


def test_the_library_exports_no_more():
    maps = pathlib.Path("/proc/self/maps").read_text()
    library = re.search(r"\S+/libpvvirt\.so\S*", maps).group(0)
    out = subprocess.run(["nm", "-D", "--defined-only", library], check=True, text=True, capture_output=True).stdout
    exported = {w.split()[2].split("@")[0] for w in out.splitlines() if " T " in w}
    assert exported == set(FUNCTIONS)


def test_numbers_are_those_of_the_headers(tmp_path):
    """Each enumerator, asked of the C compiler, not of cffi."""
    names = re.findall(r"^\s+(PVV_\w+) *(?==|,|\n)", HEADERS, re.M)
    names += re.findall(r"typedef enum \w+ \{ (PVV_\w+)", HEADERS)
    bound = {c: getattr(getattr(pvvirt, enum), py) for enum, members in _generated.C_NAMES.items()
             for c, py in members.items()}
    assert len(bound) > 60
    names = [n for n in names if n not in ("PVV_BEGIN_DECLS", "PVV_END_DECLS")]
    assert set(names) == set(bound)
    source = "#include <stdio.h>\n#include <pvvirt/pvvirt.h>\nint main(void) {\n"
    source += "".join(f'printf("{n} %lld\\n", (long long){n});\n' for n in names) + "}\n"
    (tmp_path / "x.c").write_text(source)
    subprocess.run(["cc", f"-I{SOURCE}/include", "-o", tmp_path / "x", tmp_path / "x.c"], check=True)
    out = subprocess.run([tmp_path / "x"], check=True, text=True, capture_output=True).stdout
    assert {line.split()[0]: int(line.split()[1]) for line in out.splitlines()} == bound


def test_unknown_numbers_are_members():
    event = pvvirt.EventType(4711)
    assert event == 4711 and isinstance(event, pvvirt.EventType) and "4711" in event.name
    with pytest.raises(ValueError):
        pvvirt.EventType("started")


@pytest.mark.parametrize("struct, cls, special", [
    ("pvv_domain_options", _config.DomainConfig, {"size", "nr_disks", "disk_stride", "nr_interfaces", "interface_stride", "reserved",
                                                       "reserved2"}),
    ("pvv_disk_options", _config.Disk, {"size"}),
    ("pvv_interface_options", _config.Interface, {"size", "nr_forwards", "forward_stride"}),
    ("pvv_forward_options", _config.Forward, {"size"}),
    ("pvv_domain_info", pvvirt.DomainInfo, {"size"}),
    ("pvv_domain_stats", pvvirt.DomainStats, {"size"}),
    ("pvv_block_stats", pvvirt.BlockStats, {"size"}),
    ("pvv_interface_stats", pvvirt.InterfaceStats, {"size"}),
])
def test_each_field_is_bound(struct, cls, special):
    fields = {name for name, _ in pvvirt.ffi.typeof(struct).fields}
    assert fields - special == {f.name for f in dataclasses.fields(cls)}, \
        f"{struct} and {cls.__name__} differ: bind the field in bindings/python/pvvirt"


def test_create_takes_each_field_as_a_keyword():
    """The types of Host.create()'s keywords are written out, for editors and mypy."""
    tree = ast.parse(pathlib.Path(pvvirt.__file__).with_name("_host.py").read_text())
    signatures = [f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.name == "create" and f.args.kwonlyargs]
    types = {f.name: f.type for f in dataclasses.fields(pvvirt.DomainConfig)}
    assert len(signatures) == 1
    assert {a.arg: ast.unparse(a.annotation) for a in signatures[0].args.kwonlyargs} == types


def test_every_structure_is_known():
    assert set(re.findall(r"^typedef struct (pvv_\w+) \{", HEADERS, re.M)) == {
        "pvv_domain_options", "pvv_disk_options", "pvv_interface_options", "pvv_forward_options", "pvv_domain_info",
        "pvv_domain_stats", "pvv_block_stats", "pvv_interface_stats"}


def test_every_error_has_its_class():
    codes = [c for c in pvvirt.ErrorCode if c != pvvirt.ErrorCode.OK]
    assert set(_errors.BY_CODE) == set(codes)
    for cls in _errors.BY_CODE.values():
        assert issubclass(cls, pvvirt.Error)
        assert getattr(pvvirt, cls.__name__) is cls


def public_things():
    yield "pvvirt", pvvirt
    for name in pvvirt.__all__:
        thing = getattr(pvvirt, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        yield name, thing
        if inspect.isclass(thing) and thing.__module__.startswith("pvvirt"):
            for attribute, value in vars(thing).items():
                if not attribute.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                    yield f"{name}.{attribute}", value


@pytest.mark.parametrize("name, thing", public_things(), ids=lambda x: x if isinstance(x, str) else "")
def test_docstrings(name, thing):
    doc = inspect.getdoc(thing)
    assert doc and len(doc) >= 4, f"{name} has no docstring"
    assert not re.match(r"\w+\(.*\) -> |\w+\(\w+: ", doc), f"{name} has only dataclass's own docstring"


def test_all_is_complete():
    assert sorted(set(pvvirt.__all__)) == sorted(pvvirt.__all__)
    for name in pvvirt.__all__:
        assert hasattr(pvvirt, name)


def test_generator_refuses_what_it_cannot_read(tmp_path):
    include = tmp_path / "pvvirt"
    include.mkdir()
    (include / "pvvirt.h").write_text("#include <pvvirt/a.h>\n")
    for text in ("#ifdef X\nPVV_API int pvv_x(void);\n#endif\n", "PVV_API int pvv_x;\n", "int pvv_x(void)"):
        (include / "a.h").write_text(text)
        r = subprocess.run([sys.executable, SOURCE / "bindings/python/gen_bindings.py", tmp_path, tmp_path],
                           text=True, capture_output=True)
        assert r.returncode != 0 and "cannot read" in r.stderr, r.stderr
