#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the man pages.

    gen_man.py cmd TEMPLATE PVVIRT OUT     pvvirt.1: what the program says of itself, between the template's words
    gen_man.py lib TEMPLATE INCLUDE OUT    libpvvirt.3: every function of the public headers, with its comment

Commands, options, functions and their descriptions are written once, in the program and in the headers.
"""
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings/python"))
sys.dont_write_bytecode = True

import gen_bindings  # noqa: E402


def roff(text: str) -> str:
    """Text for roff: nothing in it is a request, and a minus stays one when it is copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def literal(text: str) -> str:
    return f".nf\n{roff(text.rstrip())}\n.fi\n"


def command_names(text: str) -> "list[str]":
    """The commands of `pvvirt --help`: the first words of the indented lines, "a, b, c FILE" among them."""
    names: "list[str]" = []
    for line in text.splitlines():
        m = re.match(r"  ([a-z]+(?:, [a-z]+)*)\b", line)
        for name in m.group(1).split(", ") if m else []:
            if name not in names:
                names.append(name)
    return names


def command_page(pvvirt: str) -> "dict[str, str]":
    def ask(*args: str) -> str:
        return subprocess.run([pvvirt, *args], check=True, text=True, capture_output=True).stdout

    overview = ask("--help")
    texts: "dict[str, list[str]]" = {}
    for name in command_names(overview):
        if name not in ("help", "version"):
            texts.setdefault(ask("help", name), []).append(name)  # commands may share a text
    commands = "".join(f".SS {', '.join(names)}\n{literal(text)}" for text, names in texts.items())
    return {"OVERVIEW": literal(overview.split("\n", 2)[2]), "COMMANDS": commands,
            "VERSION": ask("version").split()[-1]}


def comment_text(comment: str) -> str:
    """A doc comment as roff: a paragraph, then parameters, return values and the rest as items."""
    text = re.sub(r"^/\*\*<?|\*/$", "", comment.strip())
    text = " ".join(re.sub(r"^\s*\* ?", "", line) if line.strip() not in ("", "*") else "\0" for line in text.splitlines())
    out = []
    for part in re.split(r"(?=@param\b|@return\b|@thread-\w+|@not-in-callback|Since:)|\0", text):
        part = re.sub(r"\\([<>])", r"\1", " ".join((part or "").split()))
        if not part:
            continue
        m = re.match(r"@param (\w+) (.*)", part)
        if m:
            out.append(f".TP\n.I {m.group(1)}\n{roff(m.group(2))}\n")
        elif part.startswith("@return"):
            out.append(f".TP\nReturns\n{roff(part.removeprefix('@return').strip())}\n")
        elif part.startswith("@"):
            out.append(f".TP\n{roff(part.split()[0].lstrip('@').rstrip(';'))}\n{roff(' '.join(part.split()[1:]).lstrip('; ')) or 'yes'}\n")
        elif part.startswith("Since:"):
            out.append(f".TP\nSince\n{roff(part.removeprefix('Since:').strip())}\n")
        else:
            out.append(f".PP\n{roff(part)}\n")
    return "".join(out)


def library_page(include: Path) -> "dict[str, str]":
    headers = gen_bindings.Headers(include)
    version = headers.macros["PVV_VERSION_STRING"].strip('"')
    out = []
    for d in headers.declarations:
        text = d.text.replace("PVV_API ", "")
        function = re.match(r".*?\b(pvv_\w+)\(", text)
        record = re.match(r"typedef (enum|struct) (\w+) \{", text)
        if d.text.startswith("PVV_API") and function:
            out.append(f".SS {function.group(1)}()\n.nf\n.B \"{roff(text)};\"\n.fi\n{comment_text(d.comment)}")
        elif record:
            out.append(f".SS {record.group(1)} {record.group(2)}\n{comment_text(d.comment)}.PP\n"
                       + literal(re.sub(r"\t", "    ", d.raw) + ";"))
        elif d.comment:
            name = re.search(r"(\w+)(?:\(.*\))?$", text)
            assert name, text
            out.append(f".SS {name.group(1)}\n.nf\n.B \"{roff(text)};\"\n.fi\n{comment_text(d.comment)}")
    return {"FUNCTIONS": "".join(out), "VERSION": version}


def main() -> None:
    kind, template, source, out = sys.argv[1:]
    values = command_page(source) if kind == "cmd" else library_page(Path(source))
    text = Path(template).read_text()
    for name, value in values.items():
        if f"@{name}@" not in text:
            raise SystemExit(f"{template} has no place for @{name}@")
        text = text.replace(f"@{name}@\n", value) if "\n" in value else text.replace(f"@{name}@", value)
    Path(out).write_text(text)


if __name__ == "__main__":
    main()
