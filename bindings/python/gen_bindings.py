#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the Python bindings' generated parts from libpvvirt's public headers.

    gen_bindings.py INCLUDEDIR OUTDIR [DEPFILE]

writes into OUTDIR
    _pvvirt.c       the extension module (cffi, out-of-line API mode), with cffi's emit_c_code()
    _pvvirt.pyi     the types of its functions, for mypy
    _generated.py   the enumerations and the records (statistics), with the headers' comments

Nothing is copied by hand: a function, number or counter that is added to a header is in the next
build. The headers are plain enough (no conditionals, no inline code: tests/api/headers.py) that the
few rules below read them; whatever these rules do not understand is an error, not left out.
"""
from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Iterator, NamedTuple

INTEGERS = {"int", "unsigned int", "int32_t", "uint32_t", "int64_t", "uint64_t", "size_t", "ssize_t",
            "uint8_t", "uint16_t"}
# Whose type another field tells: the Python type, and how to make it of the record.
SPECIAL = {"pvv_domain_info.reason": ("Reason", "reason_of(c.state, c.reason)")}


class Declaration(NamedTuple):
    text: str  # one declaration without its ';', blanks normalised, comments gone
    raw: str  # as it is in the header, with its inner comments
    comment: str  # the doc comment before it


class Headers:
    """The declarations of <pvvirt/pvvirt.h>, in its order."""

    def __init__(self, include: Path) -> None:
        self.declarations: list[Declaration] = []
        self.macros: dict[str, str] = {}
        self.files = [include / "pvvirt/pvvirt.h"]
        top = (include / "pvvirt/pvvirt.h").read_text()
        names = re.findall(r"#include <(pvvirt/\w+\.h)>", top)
        if not names:
            raise SystemExit(f"{include}/pvvirt/pvvirt.h includes nothing: is this the right folder?")
        seen: set[str] = set()
        for name in names:
            self._read(include, name, seen)

    def _read(self, include: Path, name: str, seen: set[str]) -> None:
        if name in seen or name == "pvvirt/macros.h":
            return
        seen.add(name)
        self.files.append(include / name)
        text = (include / name).read_text()
        for other in re.findall(r"#include <(pvvirt/\w+\.h)>", text):
            self._read(include, other, seen)
        text = re.sub(r"\\\n", " ", text)
        for m in re.finditer(r"^#define (PVV_\w+)[ \t]+(.+)$", text, re.M):
            self.macros[m.group(1)] = m.group(2).strip()
        conditionals = [s for s in re.findall(r"^#\s*(if.*)$", text, re.M) if not re.match(r"ifndef PVVIRT_\w+_H$", s)]
        if conditionals:
            raise SystemExit(f"{name}: cannot read a header with '#{conditionals[0]}'")
        text = re.sub(r"^#.*$", "", text, flags=re.M)
        text = re.sub(r"\bPVV_(BEGIN|END)_DECLS\b", "", text)
        self.declarations += split_declarations(text)

    def functions(self) -> Iterator[tuple[str, str, list[str]]]:
        """(name, return type, parameters) of what the library exports."""
        for d in self.declarations:
            m = re.match(r"PVV_API (.*?)\b(pvv_\w+)\((.*)\)$", d.text)
            if m:
                params = [p.strip() for p in m.group(3).split(",")]
                yield m.group(2), m.group(1).strip(), [] if params == ["void"] else params
            elif "PVV_API" in d.text:
                raise SystemExit(f"cannot read this declaration: {d.text}")

    def bodies(self, keyword: str) -> Iterator[tuple[str, str, str]]:
        """(name, body with comments, doc comment) of each `typedef <keyword> x { ... } x`."""
        for d in self.declarations:
            m = re.match(rf"typedef {keyword} (\w+) \{{(.*)\}} (\w+)$", d.raw.strip(), re.S)
            if m:
                yield m.group(3), m.group(2), d.comment


def split_declarations(text: str) -> Iterator[Declaration]:
    depth, start, comment = 0, 0, ""
    i = 0
    while i < len(text):
        if text.startswith("/*", i):
            end = text.index("*/", i) + 2
            if depth == 0 and not text[start:i].strip():
                comment = text[i:end] if text.startswith("/**", i) else ""
                start = end
            i = end
            continue
        if text[i] == "{":
            depth += 1
        elif text[i] == "}":
            depth -= 1
        elif text[i] == ";" and depth == 0:
            raw = text[start:i].strip()
            yield Declaration(" ".join(re.sub(r"/\*.*?\*/", " ", raw, flags=re.S).split()), raw, comment)
            start, comment = i + 1, ""
        i += 1
    if text[start:].strip():
        raise SystemExit(f"cannot read the end of a header: {text[start:].strip()[:200]}")


def plain(comment: str) -> str:
    """A doc comment as one paragraph, without what is C's (parameters, thread words, Since)."""
    text = re.sub(r"^/\*\*<?|\*/$", "", comment.strip())
    text = " ".join(re.sub(r"^\s*\* ?", "", line) for line in text.splitlines())
    text = re.split(r"@param|@return|@thread|Since:", text)[0]
    return " ".join(text.split()).replace('"', "'").replace("\\", "\\\\")


def python_name(c_name: str) -> str:
    return "".join(word.capitalize() for word in c_name.removeprefix("pvv_").split("_"))


def member_prefix(enum: str, members: list[str]) -> str:
    """What to cut off: PVV_START_PAUSED of pvv_start_flags is StartFlags.PAUSED."""
    stem = enum.upper()
    for candidate in (stem + "_", stem.removesuffix("FLAGS")):
        if all(m.startswith(candidate) and not m[len(candidate)].isdigit() for m in members):
            return candidate
    if len(members) == 1:
        return "PVV_"
    common = members[0]
    while not all(m.startswith(common) for m in members):
        common = common[:-1]
    return common[:common.rindex("_") + 1]


class Member(NamedTuple):
    c_name: str
    name: str
    doc: str


def enum_members(enum: str, body: str) -> list[Member]:
    found: list[tuple[str, str]] = []
    token = re.compile(r"(/\*\*.*?\*/)|/\*.*?\*/|(PVV_\w+)\s*(?:=\s*[^,/}]+?)?\s*(?:,|(?=/\*)|$)", re.S)
    before = ""
    for m in token.finditer(body):
        if m.group(2):
            found.append((m.group(2), before))
            before = ""
        elif m.group(1) and m.group(1).startswith("/**<"):
            found[-1] = (found[-1][0], plain(m.group(1)))
        elif m.group(1):
            before = plain(m.group(1))
    if len(found) != len(re.findall(r"\bPVV_\w+", re.sub(r"/\*.*?\*/|=[^,]*", "", body, flags=re.S))):
        raise SystemExit(f"cannot read the members of {enum}")
    prefix = member_prefix(enum, [name for name, _ in found])
    return [Member(name, name.removeprefix(prefix), doc) for name, doc in found]


def cdef(headers: Headers) -> str:
    out = []
    for d in headers.declarations:
        text = d.text.replace("PVV_API ", "")
        m = re.match(r"typedef enum (\w+) \{.*\} (\w+)$", text)
        if m:  # the C compiler knows the values
            names = ", ".join(f"{m2.c_name} = ..." for e, b, _ in headers.bodies("enum") if e == m.group(2)
                              for m2 in enum_members(e, b))
            text = f"typedef enum {m.group(1)} {{ {names} }} {m.group(2)}"
        out.append(text + ";")
    for name, value in headers.macros.items():
        if re.fullmatch(r"\d+", value):
            out.append(f"#define {name} {value}")
        elif value.startswith('"'):
            out.append(f"static char *const {name};")
    for name in options(headers):
        out.append(f"void _pvvpy_init_{name}({name} *p);")
    # The one callback of the C API that needs a function of ours (see _host.py).
    out.append('extern "Python" void _pvvpy_log(pvv_log_level level, const char *domain, '
               'const char *message, void *opaque);')
    return "\n".join(out) + "\n"


def options(headers: Headers) -> list[str]:
    """The structures that have an _INIT."""
    return [m.removesuffix("_INIT").lower() for m in headers.macros if m.endswith("_INIT")]


def c_source(headers: Headers) -> str:
    out = "#include <pvvirt/pvvirt.h>\n"
    for name in options(headers):
        out += (f"static void _pvvpy_init_{name}({name} *p)\n{{\n\t{name} init = {name.upper()}_INIT;\n"
                f"\t*p = init;\n}}\n")
    return out


def python_type(c_type: str, enums: set[str]) -> str:
    c_type = c_type.replace("const ", "").strip()
    if c_type == "void":
        return "None"
    return "int" if c_type in INTEGERS or c_type in enums else "Any"


def stub(headers: Headers) -> str:
    enums = {name for name, _, _ in headers.bodies("enum")}
    out = ['"""Types of the extension module. Generated by gen_bindings.py."""', "from typing import Any", "",
           "ffi: Any", "", "class _Lib:"]
    for name, ret, params in headers.functions():
        args = []
        for p in params:
            m = re.match(r"(.*?)(\w+)$", p)
            assert m, p
            kind = m.group(1).strip() if "*" not in m.group(1) else "pointer"
            args.append(f"__{m.group(2)}: {python_type(kind, enums)}")
        kind = python_type(ret, enums) if "*" not in ret else "Any"
        out.append(f"    def {name}({', '.join(['self', *args])}) -> {kind}: ...")
    for name in options(headers):
        out.append(f"    def _pvvpy_init_{name}(self, __p: Any) -> None: ...")
    out.append("    _pvvpy_log: Any")
    for macro, value in headers.macros.items():
        if re.fullmatch(r"\d+", value):
            out.append(f"    {macro}: int")
        elif value.startswith('"'):
            out.append(f"    {macro}: Any")
    for enum, body, _ in headers.bodies("enum"):
        out += [f"    {m.c_name}: int" for m in enum_members(enum, body)]
    return "\n".join([*out, "", "lib: _Lib"]) + "\n"


PYTHON_HEAD = '''# Generated by gen_bindings.py from libpvvirt's public headers; do not edit.
"""Enumerations and records, as the C headers declare them."""
from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, Callable, Union

from ._pvvirt import lib


class _Open(IntEnum):
    """An enumeration that a newer library may add to: unknown numbers are members without a name."""

    @classmethod
    def _missing_(cls, value: object) -> "_Open | None":
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value}".replace("-", "_")
        member._value_ = value
        return member


# The C constants, by the enumeration that has them; for the tests.
C_NAMES: dict[str, dict[str, str]] = {}

'''


REASONS = '''
Reason = Union[RunningReason, PausedReason, ShutoffReason, CrashedReason, int]
"""Why a domain has its state. The state says which enumeration it is; a plain number for a state that has none."""

_REASONS: "dict[int, Callable[[int], Reason]]" = {
    DomainState.RUNNING: RunningReason, DomainState.BLOCKED: RunningReason, DomainState.PAUSED: PausedReason,
    DomainState.SHUTOFF: ShutoffReason, DomainState.CRASHED: CrashedReason}


def reason_of(state: int, reason: int) -> Reason:
    """A reason as the enumeration that belongs to the state."""
    return _REASONS.get(state, int)(reason)

'''


def python_source(headers: Headers) -> str:
    out = [PYTHON_HEAD]
    public = ["Reason"]
    enums = {}
    for enum, body, comment in headers.bodies("enum"):
        name = enums[enum] = python_name(enum)
        public.append(name)
        members = enum_members(enum, body)
        base = "IntFlag" if enum.endswith("_flags") else "_Open"
        out.append(f'\nclass {name}({base}):\n    """{plain(comment)}"""\n')
        for m in members:
            out.append(f"    {m.name} = lib.{m.c_name}")
            if m.doc:
                out.append(f'    """{m.doc}"""')
        out.append(f"\n\nC_NAMES[{name!r}] = {dict((m.c_name, m.name) for m in members)!r}\n")
    out.append(REASONS)
    for struct, body, comment in headers.bodies("struct"):
        if struct in options(headers):
            continue
        name = python_name(struct)
        public.append(name)
        fields = list(struct_fields(struct, body))
        if fields[0][0] != "size":
            raise SystemExit(f"{struct} has no 'size' and is no options structure: what is it?")
        out.append(f'\n@dataclass(frozen=True)\nclass {name}:\n    """{plain(comment.split("; set")[0])}"""\n')
        calls = []
        for field, c_type, doc in fields[1:]:
            kind = enums.get(doc.split()[0].rstrip(";") if doc else "", "int")
            call = f"int(c.{field})" if kind == "int" else f"{kind}(c.{field})"
            kind, call = SPECIAL.get(f"{struct}.{field}", (kind, call))
            out.append(f"    {field}: {kind}")
            if doc:
                out.append(f'    """{doc}"""')
            calls.append(call)
        out.append(f'\n    @classmethod\n    def _from_c(cls, c: Any) -> "{name}":\n        return cls({", ".join(calls)})\n')
    out.append(f"\n__all__ = {public!r}")
    return "\n".join(out) + "\n"


def struct_fields(struct: str, body: str) -> Iterator[tuple[str, str, str]]:
    """(name, type, doc) of each field; only integers can be in a record that the library fills."""
    for m in re.finditer(r"([^;{}]*?);[ \t]*(/\*\*<.*?\*/)?", body, re.S):
        text = " ".join(re.sub(r"/\*.*?\*/", " ", m.group(1), flags=re.S).split())
        kind, names = re.match(r"((?:unsigned )?\w+) (.*)$", text).groups()  # type: ignore[union-attr]
        if kind not in INTEGERS:
            raise SystemExit(f"{struct}: cannot bind a field of type '{kind}'; teach gen_bindings.py about it")
        for name in names.split(","):
            yield name.strip(), kind, plain(m.group(2) or "")


def make_ffi(headers: Headers):  # type: ignore[no-untyped-def]
    """cffi's description of the module; `libraries` and folders are the build system's business."""
    from cffi import FFI

    ffi = FFI()
    ffi.cdef(cdef(headers))
    return ffi


def write_python(headers: Headers, out: Path) -> None:
    (out / "_generated.py").write_text(python_source(headers))
    (out / "_pvvirt.pyi").write_text(stub(headers))


def main() -> None:
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    headers, out = Headers(Path(sys.argv[1])), Path(sys.argv[2])
    write_python(headers, out)
    ffi = make_ffi(headers)
    ffi.set_source("pvvirt._pvvirt", c_source(headers))
    ffi.emit_c_code(str(out / "_pvvirt.c"))
    if len(sys.argv) == 4:  # for ninja: the module depends on the headers
        Path(sys.argv[3]).write_text(f"{out / '_pvvirt.c'}: {' '.join(map(str, headers.files))}\n")


if __name__ == "__main__":
    main()
