#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The API reference, from the doc comments of the public headers, as one page of Markdown.

    gen-api-reference.py INCLUDE/PVVIRT OUTPUT.md

Fails if an exported function, a type or a constant has no description: CI and the build run it."""
import pathlib
import re
import sys

ORDER = ["pvvirt.h", "version.h", "error.h", "host.h", "domain.h", "options.h", "event.h", "stats.h", "image.h", "macros.h"]
WORDS = {"@thread-safe": "Thread-safe.", "@thread-object": "Not at the same time for the same object.",
         "@not-in-callback": "Not inside a callback."}


def clean(comment):
    """The text of a /** */ comment."""
    lines = comment.strip()[3:-2].split("\n")
    return "\n".join(re.sub(r"^\s*\* ?", "", line) for line in lines).strip()


def items(text):
    """(comment, declaration) for each documented declaration, in order."""
    for m in re.finditer(r"^/\*\*(?:(?!\*/).)*\*/\n(?=\S)", text, re.S | re.M):
        if "@file" in m.group(0):
            continue
        rest = text[m.end():]
        if rest.startswith("#define"):
            d = re.match(r"#define (?:[^\n]*\\\n)*[^\n]*", rest).group(0)
        else:
            depth, i = 0, 0
            for i, ch in enumerate(rest):
                depth += {"{": 1, "}": -1}.get(ch, 0)
                if ch == ";" and depth == 0:
                    break
            d = rest[:i + 1]
        yield clean(m.group(0)), d


def name_of(declaration):
    if declaration.startswith("#define"):
        return re.match(r"#define (\w+)", declaration).group(1)
    if declaration.startswith("PVV_API"):
        return re.search(r"\b(pvv_\w+)\(", declaration).group(1)
    if "(" in declaration.split("{")[0]:
        return re.search(r"\b(pvv_\w+)\(", declaration).group(1)  # a function type
    return re.search(r"(\w+);\s*$", declaration).group(1)


def tags(text):
    """Splits a comment into its prose and its @words."""
    prose, out, current = [], [], None
    for word in re.split(r"(?=@(?:param|return|thread-safe|thread-object|not-in-callback)\b)|(?=\bSince: )", text):
        m = re.match(r"@param (\w+)\s+(.*)", word, re.S)
        if m:
            out.append(("param", m.group(1), m.group(2)))
        elif word.startswith("@return"):
            out.append(("return", "", word[len("@return"):]))
        elif word.startswith("Since: "):
            out.append(("since", "", word[len("Since: "):]))
        elif word.startswith("@"):
            key = re.match(r"@[\w-]+", word).group(0)
            out.append(("thread", key, word[len(key):]))
        else:
            prose.append(word)
    return "\n".join(prose).strip(), out


def flow(text):
    return re.sub(r"\s+", " ", text).strip()


def members(declaration):
    """Rows of an enum's or a struct's members: (member, description)."""
    if "{" not in declaration or declaration.startswith("#define"):
        return []
    body = declaration[declaration.index("{") + 1:declaration.rindex("}")]
    rows, before = [], ""
    for m in re.finditer(r"/\*\*(.*?)\*/|([^;,/]+)[;,]?", body, re.S):
        if m.group(1) is not None:
            text = flow(re.sub(r"^\s*\* ?", "", m.group(1), flags=re.M))
            if text.startswith("<"):
                if rows:
                    rows[-1] = (rows[-1][0], text[1:].strip())
            else:
                before = text
        elif m.group(2).strip():
            rows.append((flow(m.group(2)), before))
            before = ""
    return rows


def render(comment, declaration):
    name = name_of(declaration)
    prose, found = tags(comment)
    if not prose and not found:
        raise SystemExit(f"{name}: no description")
    out = [f"### {name}", ""]
    function = declaration.startswith("PVV_API")
    if function or not members(declaration):
        code = declaration.split("{")[0] if declaration.startswith("#define") else declaration
        code = re.sub(r"\s*\\\n.*", " ...", code, flags=re.S) if code.startswith("#define") else code
        out += ["```c", re.sub(r"^PVV_API ", "", code).replace("\t", "    ").strip(), "```", ""]
    if prose:
        out += [prose, ""]
    for kind, key, text in found:
        if kind == "param":
            out.append(f"- `{key}`: {flow(text)}")
    if any(k == "param" for k, _, _ in found):
        out.append("")
    for kind, key, text in found:
        if kind == "return":
            out += [f"**Returns** {flow(text)}", ""]
    rows = members(declaration) if not function else []
    if rows:
        out += ["| member | |", "|---|---|"]
        out += [f"| `{m}` | {d.replace('|', chr(92) + '|')} |" for m, d in rows]
        out.append("")
    notes = [WORDS[key] + (" " + flow(t).lstrip("; ").capitalize() if flow(t).lstrip("; .") else "")
             for kind, key, t in found if kind == "thread"]
    since = [flow(t).rstrip(".") for kind, _, t in found if kind == "since"]
    if since:
        notes.append(f"Since {since[0]}.")
    if notes:
        out += ["*" + " ".join(notes) + "*", ""]
    return name, out


def main():
    where, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    headers = sorted(where.glob("*.h"), key=lambda h: (ORDER.index(h.name) if h.name in ORDER else len(ORDER), h.name))
    page = ["# API reference", "", "Generated from the public headers. The conventions that hold for all of it are at the "
            "top of `<pvvirt/pvvirt.h>`, errors in `<pvvirt/error.h>`.", ""]
    body, index, seen = [], [], set()
    for h in headers:
        text = h.read_text()
        intro = flow_intro(text)
        body += [f"## <pvvirt/{h.name}>", "", intro, ""]
        names = []
        for comment, declaration in items(text):
            name, lines = render(comment, declaration)
            body += lines
            names.append(name)
        exported = set(re.findall(r"^PVV_API\b[^;]*?\b(pvv_\w+)\(", text, re.M))
        if exported - set(names):
            raise SystemExit(f"{h.name}: no description: {', '.join(sorted(exported - set(names)))}")
        seen |= set(names)
        if names:
            index.append(f"- `{h.name}`: " + ", ".join(f"[{n}](#{n.lower()})" for n in names))
    output.write_text("\n".join(page + index + [""] + body))


def flow_intro(text):
    m = re.search(r"/\*\*\s*\n \* @file \w+\.h\n(.*?)\*/", text, re.S)
    return re.sub(r"^ \* ?", "", m.group(1), flags=re.M).strip() if m else ""


if __name__ == "__main__":
    main()
