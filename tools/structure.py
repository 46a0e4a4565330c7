#!/usr/bin/env python3
"""Draws which folder of the Rust crates imports which, and finds circles. Needs Python 3.11 alone.

usage: python3 tools/structure.py [--out DIR] [--level 1|2] [--order FILE] [--check MAX]

Reads crates/*/Cargo.toml and every file that its modules name, without tests. Writes DIR/CRATE.svg
for each crate and DIR/all.svg [target/structure], and prints what it found. Boxes are folders or
modules; what a box imports stands below it; what points up, or goes in a circle, is red.

--level 2     boxes of a second level, folder/module
--order FILE  lines of `CRATE: FOLDER FOLDER ...`, the lowest first, or some lines for one crate:
              imports against it point up; without it, a few that would open every circle
--check MAX   exit with 1 if more than MAX files form a circle, or any folders do, or point up

What counts as an arrow between files: `mod`, `use`, and paths in code. An import leads to the
module that its path names, whatever that re-exports; but a child's import from a module around it
leads to the file that defines the item, through `use` in that module, so a mod.rs that declares and
re-exports is in no circle with its children. Between folders, a module's `mod` and its re-exports
of its own children are no arrows. The text is read token by token and not by a compiler: macros are
not expanded, and names are resolved by modules, items, `use` and globs.
"""
import argparse
import os
import re
import sys
import tomllib
from collections import defaultdict
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# ------------------------------------------------------------------------------------- tokens

STRING = re.compile(r'[bc]?"(?:\\.|[^"\\])*"', re.S)
RAW = re.compile(r'[bc]?r(#*)"')
CHAR = re.compile(r"b?'(?:\\u\{[^}]*\}|\\x..|\\.|[^\\'])'", re.S)
NAME = re.compile(r"(?:r#)?\$?[A-Za-z_]\w*")
OTHER = re.compile(r"'[A-Za-z_]\w*|\d\w*|::|\S")
OPEN, CLOSE = "([{", ")]}"
ITEM = {"fn", "struct", "enum", "union", "trait", "type", "const", "static"}


class Token(str):
    """A piece of text that knows its line; `kind` is n (name), s (string) or p (the rest)."""

    def __new__(cls, text, line, kind):
        token = super().__new__(cls, text)
        token.line, token.kind = line, kind
        return token


def tokens(text):
    found, at, line = [], 0, 1

    def take(end, kind):
        nonlocal at, line
        if kind:
            found.append(Token(text[at:end].removeprefix("r#"), line, kind))
        line += text.count("\n", at, end)
        at = end

    while at < len(text):
        if text[at].isspace():
            take(at + 1, None)
        elif text.startswith("//", at):
            end = text.find("\n", at)
            take(len(text) if end < 0 else end, None)
        elif text.startswith("/*", at):
            end, depth = at + 2, 1
            while depth and end < len(text):
                step = {"/*": 1, "*/": -1}.get(text[end:end + 2], 0)
                depth, end = depth + step, end + (2 if step else 1)
            take(end, None)
        elif match := RAW.match(text, at):
            take(text.index('"' + match[1], match.end()) + 1 + len(match[1]), "s")
        elif match := STRING.match(text, at):
            take(match.end(), "s")
        elif match := CHAR.match(text, at):
            take(match.end(), "p")
        elif match := NAME.match(text, at):
            take(match.end(), "n")
        else:
            take(OTHER.match(text, at).end(), "p")
    return found


def closing(code, at):
    """The place behind the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(code)):
        if code[i].kind == "p":
            depth += (code[i] in OPEN) - (code[i] in CLOSE)
            if depth == 0:
                return i + 1
    return len(code)


def attributes(code, at):
    """The attributes at `at`, each a list of tokens, and the place behind them."""
    found = []
    while code[at:at + 1] == ["#"]:
        begin = at + 1 + (code[at + 1:at + 2] == ["!"])
        if code[begin:begin + 1] != ["["]:
            break
        end = closing(code, begin)
        found.append(code[at:end])
        at = end
    return found, at


def visibility(code, at):
    """Whether the item at `at` is public in any way, and the place behind that word."""
    if code[at:at + 1] != ["pub"]:
        return False, at
    narrow = code[at + 1:at + 2] == ["("] and code[at + 2] in ("crate", "super", "self", "in")
    return True, closing(code, at + 1) if narrow else at + 1


def item_end(code, at):
    """The place behind the item, field or statement at `at`."""
    _, at = visibility(code, attributes(code, at)[1])
    word = code[at] if at < len(code) else ""
    until_semicolon = word in ("use", "static", "type", "let") or (
        word == "const" and code[at + 1] not in ("fn", "unsafe", "async", "extern"))
    is_item = word in ITEM | {"mod", "impl", "unsafe", "async", "extern", "macro_rules"}
    depth = 0
    for i in range(at, len(code)):
        token = code[i]
        if token.kind != "p":
            continue
        if token in CLOSE and depth == 0:
            return i
        depth += (token in OPEN) - (token in CLOSE)
        if depth == 0 and (token == ";" or token == "," and not is_item and not until_semicolon):
            return i + 1
        if depth == 0 and token == "}" and not until_semicolon:
            if is_item or code[i + 1:i + 2] not in ([","], [";"], ["."], ["?"]):
                return i + 1
    return len(code)


def is_test(attribute):
    words = [t for t in attribute if t.kind == "n"]
    if words == ["test"]:
        return True
    return words[:1] == ["cfg"] and any(
        word == "test" and words[i - 1] != "not" for i, word in enumerate(words))


def without_tests(code):
    """The tokens that are not under #[cfg(test)], and the lines of those that are."""
    kept, lines, at = [], set(), 0
    while at < len(code):
        found, end = attributes(code, at)
        if any(is_test(attribute) for attribute in found):
            inner = any(a[1] == "!" and is_test(a) for a in found)
            end = len(code) if inner else item_end(code, end)
            lines.update(range(code[at].line, code[end - 1].line + 1))
        else:
            end = max(end, at + 1)
            for attribute in found:
                spell_out(attribute)
                kept.extend(attribute)
            if not found:
                kept.append(code[at])
        at = end
    return kept, lines


def spell_out(attribute):
    """Paths that serde is told as strings become paths."""
    if attribute[2:3] == ["serde"]:
        for i, token in enumerate(attribute):
            if token.kind == "s" and re.fullmatch(r'"\w+(::\w+)+"', token):
                path = [Token(t, token.line, t.kind) for t in tokens(token[1:-1])]
                attribute[i:i + 1] = path


# ------------------------------------------------------------------------------------ modules

class Module:
    def __init__(self, name, parent, file, crate):
        self.name, self.parent, self.file, self.crate = name, parent, file, crate
        self.children, self.items, self.imports = {}, set(), defaultdict(list)
        self.globs, self.uses, self.names, self.calls = [], [], {}, {}
        self.macros = set()
        self.root = parent.root if parent else self

    def around(self):
        """The modules around this one, the nearest first."""
        module = self.parent
        while module:
            yield module
            module = module.parent

    def path(self):
        return self.parent.path() + [self.name] if self.parent else []


class File:
    def __init__(self, path, crate):
        self.path, self.crate, self.module = path, crate, None
        text = path.read_text()
        self.code, tests = without_tests(tokens(text))
        self.lines = text.count("\n") - len(tests)

    def __repr__(self):
        return Path(os.path.relpath(self.path, self.crate.folder / "src")).as_posix()


class Crate:
    """A package: its library and its programs, each a tree of modules."""

    def __init__(self, manifest):
        told = tomllib.loads(manifest.read_text())
        self.folder = manifest.parent
        self.name = told["package"]["name"]
        library = told.get("lib", {})
        self.library_name = library.get("name", self.name.replace("-", "_"))
        self.files, self.roots = {}, []
        places = [library.get("path", "src/lib.rs")]
        places += [p["path"] for p in told.get("bin", []) if "path" in p] + ["src/main.rs"]
        places += sorted(p.relative_to(self.folder).as_posix()
                         for p in self.folder.glob("src/bin/*.rs"))
        for place in dict.fromkeys(places):
            if (self.folder / place).exists():
                self.roots.append(self.module("", None, self.folder / place))
        self.library = self.roots[0] if (self.folder / places[0]).exists() else None

    def module(self, name, parent, path):
        if path not in self.files:
            self.files[path] = File(path, self)
        file = self.files[path]
        module = Module(name, parent, file, self)
        file.module = file.module or module
        own_folder = parent is None or path.name == "mod.rs"
        Reader(module, path.parent if own_folder else path.with_suffix("")).items(file.code)
        return module


class Reader:
    """Reads the items of a module; `folder` is where its children's files are."""

    def __init__(self, module, folder):
        self.module, self.folder = module, folder

    def items(self, code):
        at = 0
        while at < len(code):
            found, start = attributes(code, at)
            public, start = visibility(code, start)
            if start >= len(code):
                break
            end = max(item_end(code, start), start + 1)
            self.code([token for attribute in found for token in attribute])
            self.item(code[start:end], found, public)
            at = end

    def item(self, code, found, public):
        module, words = self.module, [t for t in code[:6] if t != "(" and t.kind == "n"]
        if code[0] == "mod" and len(code) > 2:
            self.child(code, found)
            return
        if code[0] == "use":
            self.use(code[1:], public)
            return
        if code[0] == "macro_rules" and len(code) > 2:
            module.items.add(code[2])
            module.macros.add(code[2])
            if any("macro_export" in attribute for attribute in found):
                path = ["crate", *module.path(), code[2]]
                module.root.imports[code[2]].append(path)
        kind = next((i for i, word in enumerate(words) if word in ITEM and
                     words[i + 1:i + 2] not in (["fn"], ["unsafe"], ["async"], ["extern"])), None)
        if kind is not None and "impl" not in words[:kind] and kind + 1 < len(words):
            module.items.add(words[kind + 1 + (words[kind + 1] == "mut")])
        self.code(code)

    def child(self, code, found):
        name = code[1]
        if code[2] == "{":
            child = Module(name, self.module, self.module.file, self.module.crate)
            Reader(child, self.folder / name).items(code[3:-1])
        else:
            told = [a for a in found if a[2:4] == ["path", "="]]
            places = [self.folder / f"{name}.rs", self.folder / name / "mod.rs"]
            if told:
                places = [self.module.file.path.parent / told[0][4].strip('"')]
            path = next((p for p in places if p.exists()), None)
            if path is None:
                print(f"{self.module.file!r}: no file for `mod {name}`", file=sys.stderr)
                return
            child = self.module.crate.module(name, self.module, path.resolve())
            self.module.uses.append((["self", name], code[0].line, "mod"))
        self.module.children[name] = child

    def use(self, code, public):
        for path, alias, line in tree(code):
            if path[-1] == "*":
                self.module.globs.append((path[:-1], line, public))
                continue
            if alias is None and path[-1] == "self":
                path = path[:-1] or path
            self.module.imports[alias or path[-1]].append(path)
            self.module.uses.append((path, line, "pub use" if public else "use"))

    def code(self, code):
        """Paths, names and macro calls in an item, and the `use` lines inside it."""
        module, at = self.module, 0
        while at < len(code):
            token, after = code[at], code[at + 1:at + 2]
            if token.kind != "n":
                at += 1
                continue
            if token == "use" and after != ["<"]:
                end = next((i for i in range(at, len(code)) if code[i] == ";"), len(code))
                self.use(code[at + 1:end], False)
                at = end
                continue
            if token == "pub":
                at = visibility(code, at)[1]
                continue
            # `a.b` names nothing of a module, and `a::b` is read from its beginning.
            before, first = code[at - 1:at], code[at - 2:at - 1]
            if before == ["."] and first != ["."] or (
                    before == ["::"] and first and first[0].kind == "n"):
                at += 1
                continue
            path = [str(token)]
            while code[at + 1:at + 2] == ["::"] and at + 2 < len(code) and code[at + 2].kind == "n":
                path.append(str(code[at + 2]))
                at += 2
            at += 1
            after = code[at:at + 1]
            if len(path) > 1:
                module.uses.append((path, token.line, "path"))
            elif after == ["!"] and code[at + 1:at + 2] in (["("], ["["], ["{"]):
                module.calls.setdefault(path[0], token.line)
            if path[0][:1].isupper() or after in (["("], ["!"]):
                module.names.setdefault(path[0], token.line)


def tree(code):
    """The paths of a `use`: (segments, alias, line) each."""
    found = []

    def branch(at, prefix):
        path, alias = list(prefix), None
        while at < len(code) and code[at] not in (",", "}", ";"):
            if code[at] == "{":
                at += 1
                while at < len(code) and code[at] != "}":
                    at = branch(at, path)
                    at += code[at:at + 1] == [","]
                return at + 1
            if code[at] == "as":
                alias = str(code[at + 1])
                at += 1
            elif code[at] != "::":
                path.append(str(code[at]))
            at += 1
        if len(path) > len(prefix):
            found.append((path, alias, code[at - 1].line))
        return at

    branch(0, [])
    return found


# --------------------------------------------------------------------------------- resolution

class Workspace:
    def __init__(self, root):
        self.crates = [Crate(m) for m in sorted(root.glob("crates/*/Cargo.toml"))]
        self.libraries = {c.library_name: c.library for c in self.crates if c.library}
        self.globbed = {}
        self.arrows = defaultdict(list)     # (file, file): [(how, line, path, file that defines)]
        for crate in self.crates:
            for root in crate.roots:
                self.collect(root)

    def collect(self, module):
        if module.file.module is module or module.parent.file is module.file:
            uses = list(module.uses)
            known = module.items | set(module.imports) | set(module.children)
            for path, line, public in module.globs:
                uses.append((path, line, "pub use" if public else "glob"))
                uses += [([*path, name], at, "use") for name, at in module.names.items()
                         if name not in known and self.has(self.at(module, path), name)]
            for name, line in module.calls.items():
                owner = next((m for m in module.around() if name in m.macros), None)
                if name not in known and owner:
                    uses.append((["crate", *owner.path(), name], line, "macro"))
            for path, line, how in uses:
                self.arrow(module, path, line, how)
        for child in module.children.values():
            self.collect(child)

    def arrow(self, module, path, line, how):
        named = self.targets(module, module, path, False)
        defined = self.targets(module, module, path, True)
        for target in named:
            if target.file is not module.file:
                end = next(iter(defined)) if len(defined) == 1 else target
                self.arrows[module.file, target.file].append((how, line, "::".join(path), end.file))

    def at(self, module, path):
        """The module that a path names, or nothing."""
        key = module, *path
        if key not in self.globbed:
            self.globbed[key] = None        # what needs itself is nothing
            found = self.targets(module, module, [*path, "*"], True)
            self.globbed[key] = next(iter(found), None)
        return self.globbed[key]

    def has(self, module, name, seen=()):
        """Whether `module::name` is something."""
        if module is None or module in seen:
            return False
        if name in module.items or name in module.imports or name in module.children:
            return True
        seen = (*seen, module)
        return any(self.has(self.at(module, path), name, seen) for path, _, _ in module.globs)

    def targets(self, viewer, module, path, through, seen=frozenset()):
        """The modules that a path in `module` leads to, as `viewer` uses it."""
        if (module, *path) in seen:
            return set()
        seen = seen | {(module, *path)}
        current, at = module, 0
        if path[0] in self.libraries and path[0] not in {*module.children, *module.imports}:
            current, at = self.libraries[path[0]], 1
        while at < len(path):
            step = path[at]
            if step in ("crate", "$crate"):
                current = current.root
            elif step == "super":
                current = current.parent or current
            elif step in current.children:
                current = current.children[step]
            elif step != "self":
                break
            at += 1
        rest = path[at:]
        around = current in viewer.around()
        if not rest:
            return set() if around or current is viewer else {current}
        if rest == ["*"]:
            return {current}
        if at and not (through or around or current is viewer or current.root is not viewer.root):
            return {current}
        if rest[0] in current.items:
            return set() if current is viewer else {current}
        if rest[0] in current.imports:
            found = set()
            for import_path in current.imports[rest[0]]:
                found |= self.targets(viewer, current, import_path + rest[1:], through, seen)
            return found
        for glob, _, _ in current.globs:
            owner = self.at(current, glob)
            if owner is not current and self.has(owner, rest[0]):
                return self.targets(viewer, current, [*glob, *rest], through, seen)
        # What a macro made, or a name of another crate.
        return {current} if at and current is not viewer else set()


# -------------------------------------------------------------------------------------- graphs

def circles(nodes, edges):
    """Strongly connected components of more than one node, the largest first (Tarjan)."""
    after = defaultdict(list)
    for a, b in edges:
        after[a].append(b)
    index, low, stack, on, found = {}, {}, [], set(), []
    for start in nodes:
        work = [] if start in index else [(start, iter(after[start]))]
        if work:
            index[start] = low[start] = len(index)
            stack.append(start), on.add(start)
        while work:
            node, rest = work[-1]
            for other in rest:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other), on.add(other)
                    work.append((other, iter(after[other])))
                    break
                if other in on:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    at = stack.index(node)
                    if len(stack) - at > 1:
                        found.append([n for n in nodes if n in set(stack[at:])])
                    on.difference_update(stack[at:])
                    del stack[at:]
    return sorted(found, key=len, reverse=True)


def feedback(nodes, weights):
    """A few light arrows whose removal leaves no circle.

    Again and again, of a circle's arrows the one goes that most of the shortest ways take for its
    weight; those that turn out to close no circle come back, the heaviest first.
    """
    inside = {(a, b): w for (a, b), w in weights.items() if a in nodes and b in nodes and a != b}
    gone = set()
    while found := circles(nodes, inside.keys() - gone):
        for circle in found:
            ways = traffic(circle, {a for a in inside if a not in gone})
            rank = {node: i for i, node in enumerate(nodes)}
            gone.add(max(ways, key=lambda a: (ways[a] / inside[a], rank[a[0]], rank[a[1]])))
    for arrow in sorted(gone, key=lambda a: (-inside[a], nodes.index(a[0]), nodes.index(a[1]))):
        if not circles(nodes, (inside.keys() - gone) | {arrow}):
            gone.remove(arrow)
    return gone


def traffic(nodes, arrows):
    """How many of the shortest ways between any two nodes take each arrow inside a circle."""
    after, ways = defaultdict(list), defaultdict(int)
    for a in nodes:
        after[a] = [b for b in nodes if (a, b) in arrows]
    for start in nodes:
        before, queue = {start: None}, [start]
        for node in queue:
            for other in after[node]:
                if other not in before:
                    before[other] = node
                    queue.append(other)
        through = defaultdict(int)
        for node in reversed(queue[1:]):
            through[node] += 1
            through[before[node]] += through[node]
            ways[before[node], node] += through[node]
    return ways


class Folders:
    """Boxes and the arrows between them. A box is (crate name, folder)."""

    def __init__(self, workspace, level, order):
        self.level, self.order = level, order
        self.files, self.arrows = defaultdict(list), defaultdict(list)
        for crate in workspace.crates:
            for file in crate.files.values():
                self.files[self.box(file)].append(file)
        for (a, b), reasons in workspace.arrows.items():
            for how, line, path, end in reasons:
                # Inside the folder that a path names, what counts is where the item is.
                target = end if self.box(end, 1) == self.box(b, 1) else b
                if how in ("mod", "pub use") and a.module in target.module.around():
                    continue
                if self.box(a) != self.box(target):
                    self.arrows[self.box(a), self.box(target)].append((a, line, path, target))
        # A root that declares its modules, and nothing uses, says nothing in a picture.
        for crate in workspace.crates:
            for root in crate.roots:
                box = self.box(root.file)
                if not any(box in arrow for arrow in self.arrows) and len(self.files) > 1:
                    del self.files[box]
        self.boxes = sorted(self.files)
        self.up, self.circles = set(), []
        for name in sorted({crate for crate, _ in self.boxes}):
            self.direct(name)

    def box(self, file, level=None):
        path = file.module.path()[:level or self.level]
        return file.crate.name, "/".join(path) or file.path.stem

    def direct(self, name):
        """Which arrows of a crate point up."""
        boxes = [b for b in self.boxes if b[0] == name]
        weights = {a: len(r) for a, r in self.arrows.items() if a[0] in boxes and a[1] in boxes}
        found = circles(boxes, weights)
        self.circles += found
        rank = {folder: i for i, folder in enumerate(self.order.get(name, []))}
        for a, b in weights:
            ra, rb = (rank.get(folder, rank.get(folder.split("/")[0])) for _, folder in (a, b))
            if ra is not None and rb is not None and ra < rb:
                self.up.add((a, b))
        # The order may leave circles, or say nothing of some boxes.
        left = defaultdict(int, {a: w for a, w in weights.items() if a not in self.up})
        for a, b in self.up & weights.keys():
            left[b, a] += 10 ** 6
        for circle in circles(boxes, left):
            self.up |= feedback(circle, left)

    def lines(self, box):
        return sum(f.lines for f in self.files[box])


# ------------------------------------------------------------------------------------- pictures

ROW, GAP, SPACE, MARGIN = 46, 62, 20, 24      # a row of boxes, between rows, between boxes
STYLE = """text { font-family: "DejaVu Sans", Verdana, sans-serif; fill: #1a1a1a; font-size: 12px }
.title { font-size: 18px; font-weight: bold } .name { font-size: 14px; font-weight: bold }
.box { fill: #fff; stroke: #444; stroke-width: 1.2 } .red.box { stroke: #d00000; stroke-width: 2 }
.frame { fill: #f3f5f8; stroke: #c3cad4 } .line { fill: none; stroke: #5c6f8a; stroke-width: 1.3 }
.red.line { stroke: #d00000; stroke-width: 1.5 } .up.line { stroke-width: 2.6 }
.red.text { fill: #b00000 }
.halo { paint-order: stroke; stroke: #f3f5f8; stroke-width: 6px }"""


def width(text, size):
    """No less than what the text takes in DejaVu Sans, the widest of the fonts named."""
    return len(text) * size * 0.67


def count(n, what):
    return f"{n:,} {what}{'' if n == 1 else 's'}"


class Picture:
    """Layers from the bottom, lines between boxes of neighbouring layers (Sugiyama et al. 1981)."""

    def __init__(self, folders, crates, title):
        self.folders, self.title, self.framed = folders, title, len(crates) > 1
        self.boxes = [b for b in folders.boxes if b[0] in crates]
        here = set(self.boxes)
        self.arrows = [a for a in sorted(folders.arrows) if a[0] in here and a[1] in here]
        self.up = {a for a in self.arrows if a in folders.up}
        # As the picture stands: from above to below.
        self.below, self.above = defaultdict(set), defaultdict(set)
        for arrow in self.arrows:
            a, b = self.falling(arrow)
            self.below[a].add(b)
            self.above[b].add(a)
        self.layers()
        self.reduce()
        self.place()

    def falling(self, arrow):
        return arrow[::-1] if arrow in self.up else arrow

    def layers(self):
        names = sorted({name for name, _ in self.boxes})
        depth, base, height = {}, {}, {}

        def below(box):
            if box not in depth:
                depth[box] = max((below(b) + 1 for b in self.below[box] if b[0] == box[0]),
                                 default=0)
            return depth[box]

        def ground(name):
            """A crate's layers stand on those of the crates that it imports."""
            needs = {b[0] for a in self.boxes if a[0] == name for b in self.below[a]} - {name}
            return max((ground(n) + height[n] for n in needs), default=0)

        for name in names:
            height[name] = 1 + max(below(box) for box in self.boxes if box[0] == name)
        layer = {box: ground(box[0]) + depth[box] for box in self.boxes}
        # Nearer to those that import it, where there are more of them than it imports.
        for box in sorted(self.boxes, key=lambda b: -layer[b]) * 3:
            users = [layer[a] for a in self.above[box]]
            if users and len(users) > len(self.below[box]):
                top = ground(box[0]) + height[box[0]]
                layer[box] = max(layer[box], min([top, *users]) - 1)
        used = {row: i for i, row in enumerate(sorted(set(layer.values())))}
        self.layer = {box: used[row] for box, row in layer.items()}
        self.base = {n: min(r for b, r in self.layer.items() if b[0] == n) for n in names}
        self.end = {n: max(r for b, r in self.layer.items() if b[0] == n) + 1 for n in names}
        # Crates at the same height stand side by side.
        self.column = {n: sum(o < n and self.base[o] < self.end[n] and self.base[n] < self.end[o]
                              for o in names) for n in names}

    def reduce(self):
        """Leaves out the arrows that follow from others, if they are not red."""
        reach = {}
        for box in sorted(self.boxes, key=self.layer.get):
            reach[box] = set().union(*(reach[b] | {b} for b in self.below[box]))
        self.red = self.up | {a for circle in self.folders.circles for a in self.arrows
                              if a[0] in circle and a[1] in circle}
        self.drawn = []
        for arrow in self.arrows:
            top, bottom = self.falling(arrow)
            if arrow in self.red or not any(bottom in reach[b] for b in self.below[top]):
                self.drawn.append(arrow)

    def place(self):
        rows = defaultdict(list)
        for box in self.boxes:
            rows[self.layer[box]].append(box)
        # Bends take a line through the rows between its ends.
        self.chains, self.links = {}, []
        for a, b in self.drawn:
            top, bottom = self.falling((a, b))
            chain = [top]
            for row in range(self.layer[top] - 1, self.layer[bottom], -1):
                bend = ("bend", a, b, row)
                rows[row].append(bend)
                chain.append(bend)
            chain.append(bottom)
            self.chains[a, b] = chain
            self.links += list(zip(chain, chain[1:]))
        self.rows = [rows[i] for i in sorted(rows)]
        near = defaultdict(list)
        for a, b in self.links:
            near[a].append((b, -1))
            near[b].append((a, 1))
        self.near = near
        self.arrange()
        self.position()

    def key(self, node):
        name = node[2][0] if node[0] == "bend" else node[0]
        return self.column[name]

    def arrange(self):
        """Sorts rows by the middle of their neighbours, and keeps the fewest crossings."""
        best, fewest = [list(r) for r in self.rows], self.crossings()
        for sweep in range(40):
            side = -1 if sweep % 2 else 1
            for row in (self.rows[::-1] if side == 1 else self.rows):
                at = {n: (i + 0.5) / len(r) for r in self.rows for i, n in enumerate(r)}
                def middle(node):
                    seen = [at[o] for o, s in self.near[node] if s == side or sweep > 30]
                    return sum(seen) / len(seen) if seen else at[node]
                row.sort(key=lambda n: (self.key(n), middle(n)))
            self.swap()
            now = self.crossings()
            if now < fewest:
                best, fewest = [list(r) for r in self.rows], now
        self.rows = best

    def pair_crossings(self, at, a, b):
        total = 0
        for side in (-1, 1):
            left = [at[o] for o, s in self.near[a] if s == side]
            right = [at[o] for o, s in self.near[b] if s == side]
            total += sum(x > y for x in left for y in right)
        return total

    def swap(self):
        for row in self.rows:
            at = {n: i for r in self.rows for i, n in enumerate(r)}
            for i in range(len(row) - 1):
                a, b = row[i], row[i + 1]
                if self.key(a) == self.key(b) and (
                        self.pair_crossings(at, a, b) > self.pair_crossings(at, b, a)):
                    row[i], row[i + 1] = b, a

    def crossings(self):
        at = {n: i for r in self.rows for i, n in enumerate(r)}
        total = 0
        for row in self.rows:
            ends = [(i, at[o]) for i, n in enumerate(row) for o, s in self.near[n] if s == -1]
            total += sum((a < c) != (b < d) and a != c and b != d
                         for k, (a, b) in enumerate(ends) for c, d in ends[k + 1:])
        return total

    def size(self, node):
        if node[0] == "bend":
            return 8
        lines = count(self.folders.lines(node), "line")
        files = count(len(self.folders.files[node]), "file")
        ports = max(sum(s == side for _, s in self.near[node]) for side in (-1, 1))
        return max(width(node[1], 14) * 1.08, width(f"{files}, {lines}", 12), ports * 9) + 24

    def position(self):
        x = {}
        for row in self.rows:
            at = 0
            for node in row:
                x[node] = at + self.size(node) / 2
                at += self.size(node) + SPACE
        for sweep in range(60):
            for row in (self.rows if sweep % 2 else self.rows[::-1]):
                wish, weight = [], []
                for node in row:
                    pull = [(x[o], 8 if node[0] == o[0] == "bend" else 1)
                            for o, _ in self.near[node]]
                    total = sum(w for _, w in pull)
                    wish.append(sum(v * w for v, w in pull) / total if total else x[node])
                    weight.append(total or 0.1)
                for node, value in zip(row, self.spread(row, wish, weight)):
                    x[node] = value
        self.part(x)
        first = min(x[n] - self.size(n) / 2 for n in x)
        self.x = {n: v - first + MARGIN for n, v in x.items()}

    def part(self, x):
        """Crates side by side keep apart, and what stands above others stands in the middle."""
        def ends(nodes):
            return (min(x[n] - self.size(n) / 2 for n in nodes),
                    max(x[n] + self.size(n) / 2 for n in nodes))

        spans = []      # rows that some crates share
        for low, high in sorted((self.base[n], self.end[n]) for n in self.base):
            if spans and low < spans[-1][1]:
                spans[-1][1] = max(spans[-1][1], high)
            else:
                spans.append([low, high])
        middles = []
        for low, high in spans:
            inside = [n for row in self.rows[low:high] for n in row]
            for column in range(1, 1 + max(map(self.key, inside))):
                left = [n for n in inside if self.key(n) < column]
                right = [n for n in inside if self.key(n) >= column]
                if left and right and any(n[0] != "bend" for n in right):
                    shift = ends(left)[1] - ends(right)[0] + 3 * SPACE
                    x.update({n: x[n] + shift for n in right})
            middles.append((inside, sum(ends([n for n in inside if n[0] != "bend"])) / 2))
        for inside, middle in middles:
            x.update({n: x[n] + middles[0][1] - middle for n in inside})

    def spread(self, row, wish, weight):
        """The places nearest to the wished ones at which nothing overlaps (least squares)."""
        offset, at = [], 0
        for i, node in enumerate(row):
            if i:
                at += (self.size(row[i - 1]) + self.size(node)) / 2 + SPACE
            offset.append(at)
        blocks = []
        for i in range(len(row)):
            blocks.append([(wish[i] - offset[i]) * weight[i], weight[i], 1])
            while len(blocks) > 1 and (blocks[-2][0] / blocks[-2][1]
                                       > blocks[-1][0] / blocks[-1][1]):
                last = blocks.pop()
                blocks[-1] = [a + b for a, b in zip(blocks[-1], last)]
        flat = [total / w for total, w, n in blocks for _ in range(n)]
        return [v + o for v, o in zip(flat, offset)]

    def svg(self):
        out = []
        notes = self.notes()
        head = MARGIN + 82 + (26 if self.framed else 0)
        top = {node: head + i * (ROW + GAP) for i, row in enumerate(reversed(self.rows))
               for node in row}
        bottom = head + len(self.rows) * (ROW + GAP) - GAP + MARGIN
        right = max(self.x[n] + self.size(n) / 2 for n in self.x) + MARGIN
        right = max([right, MARGIN * 2 + width(self.title, 18) * 1.1]
                    + [MARGIN * 2 + width(text, 12) for text, _ in notes + self.caption()])
        tall = bottom + 18 * len(notes) + (MARGIN if notes else 0)
        out.append(f'<svg xmlns="http://www.w3.org/2000/svg" width="{right:.0f}" '
                   f'height="{tall:.0f}" viewBox="0 0 {right:.0f} {tall:.0f}">')
        out.append(f"<style>{STYLE}</style>")
        for name, color in (("gray", "#5c6f8a"), ("crimson", "#d00000")):
            out.append(f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" '
                       f'markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">'
                       f'<path d="M0,1 L10,5 L0,9 z" fill="{color}"/></marker>')
        out.append('<rect width="100%" height="100%" fill="#fff"/>')
        out.append(f'<text class="title" x="{MARGIN}" y="{MARGIN + 16}">'
                   f"{escape(self.title)}</text>")
        for i, (text, style) in enumerate(self.caption()):
            out.append(f'<text class="{style}" x="{MARGIN}" y="{MARGIN + 40 + 18 * i}">'
                       f"{escape(text)}</text>")
        labels = self.frames(out, top) if self.framed else []
        self.lines(out, top)
        out += labels
        for box in self.boxes:
            self.draw(out, box, top[box])
        for i, (text, style) in enumerate(notes):
            out.append(f'<text class="{style}" x="{MARGIN}" y="{bottom + 18 * (i + 1)}">'
                       f"{escape(text)}</text>")
        return "\n".join([*out, "</svg>", ""])

    def caption(self):
        left = len(self.arrows) - len(self.drawn)
        text = "Arrows point to what is imported."
        if left:
            text += f" Left out, since it follows from others: {count(left, 'arrow')}."
        lines = [(text, "")]
        if self.red:
            lines.append(("Red: imports that go in a circle, or point up (thick).", "red text"))
        return lines

    def notes(self):
        """The imports that point up, in words."""
        notes = []
        for a, b in sorted(self.up):
            reasons = self.folders.arrows[a, b]
            file, line, path, _ = reasons[0]
            more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
            notes.append((f"{a[1]} imports {b[1]}: {file!r}:{line} {path}{more}", "red text"))
        return notes

    def frames(self, out, top):
        labels = []
        for name in sorted(self.base):
            # With the lines that stay in the crate.
            inside = [n for n in top if n[0] == name
                      or n[0] == "bend" and n[1][0] == n[2][0] == name]
            x0 = min(self.x[b] - self.size(b) / 2 for b in inside) - 12
            x1 = max(self.x[b] + self.size(b) / 2 for b in inside) + 12
            x1 = max(x1, x0 + width(name, 14) * 1.1 + 16)
            y0, y1 = min(top[b] for b in inside) - 26, max(top[b] for b in inside) + ROW + 12
            out.append(f'<rect class="frame" x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" '
                       f'height="{y1 - y0:.1f}" rx="8"/>')
            labels.append(f'<text class="name halo" x="{x0 + 8:.1f}" y="{y0 + 17:.1f}">'
                          f"{escape(name)}</text>")
        return labels

    def lines(self, out, top):
        # Lines leave a box side by side.
        port = {}
        for node in self.near:
            for side in (-1, 1):
                ends = sorted((o for o, s in self.near[node] if s == side), key=self.x.get)
                step = min(16, (self.size(node) - 16) / max(1, len(ends)))
                for i, other in enumerate(ends):
                    at = (i - (len(ends) - 1) / 2) * step if node[0] != "bend" else 0
                    # Two lines between the same boxes have two places.
                    port.setdefault((node, other), []).append(self.x[node] + at)
        for arrow in self.drawn:
            chain, path = self.chains[arrow], []
            for a, b in zip(chain, chain[1:]):
                x0 = port[a, b].pop(0) if len(port[a, b]) > 1 else port[a, b][0]
                x1 = port[b, a].pop(0) if len(port[b, a]) > 1 else port[b, a][0]
                y0, y1 = top[a] + ROW, top[b]
                path += [(x0, y0), (x0, y0 + GAP * 0.45), (x1, y1 - GAP * 0.45), (x1, y1)]
            up = arrow in self.up
            if up:
                path.reverse()
            words = [f"M{path[0][0]:.1f},{path[0][1]:.1f}"]
            for i in range(0, len(path), 4):
                p = [f"{x:.1f},{y:.1f}" for x, y in path[i:i + 4]]
                words.append(f"L{p[0]} C{p[1]} {p[2]} {p[3]}")
            red = arrow in self.red
            style = "line" + (" red" if red else "") + (" up" if up else "")
            out.append(f'<path class="{style}" d="{" ".join(words)}" '
                       f'marker-end="url(#{"crimson" if red else "gray"})"/>')

    def draw(self, out, box, y):
        size, x = self.size(box), self.x[box]
        red = any(box in arrow for arrow in self.red)
        lines = count(self.folders.lines(box), "line")
        files = count(len(self.folders.files[box]), "file")
        uses = sorted(b[1] for a, b in self.arrows if a == box)
        used = sorted(a[1] for a, b in self.arrows if b == box)
        out.append(f'<g><title>{escape(box[1])}\nimports: {escape(", ".join(uses) or "nothing")}\n'
                   f'imported by: {escape(", ".join(used) or "nothing")}</title>'
                   f'<rect class="box{" red" if red else ""}" x="{x - size / 2:.1f}" y="{y:.1f}" '
                   f'width="{size:.1f}" height="{ROW}" rx="5"/>'
                   f'<text class="name" x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle">'
                   f"{escape(box[1])}</text>"
                   f'<text x="{x:.1f}" y="{y + 37:.1f}" text-anchor="middle">{files}, {lines}'
                   f"</text></g>")


# --------------------------------------------------------------------------------------- report

def file_arrows(workspace, crate):
    """Weights of the arrows between a crate's files, and why: a `mod` cannot be turned around."""
    weights, why = defaultdict(int), defaultdict(list)
    for (a, b), reasons in workspace.arrows.items():
        for how, line, path, _ in reasons:
            if a.crate is crate and b.crate is crate:
                weights[a, b] += 1000 if how == "mod" else 1
                why[a, b].append(f"{a!r}:{line} {path}")
    return weights, why


def report(workspace, folders):
    largest = 0
    for crate in workspace.crates:
        files = sorted(crate.files.values(), key=repr)
        boxes = [b for b in folders.boxes if b[0] == crate.name]
        print(f"{crate.name}: {count(len(files), 'file')}, "
              f"{count(sum(f.lines for f in files), 'line')} without tests")
        for box in boxes:
            inside = [b[1] for a, b in sorted(folders.arrows) if a == box and b[0] == crate.name]
            outside = sorted({b[0] for a, b in folders.arrows if a == box} - {crate.name})
            print(f"  {box[1]:<16} {len(folders.files[box]):>3} {folders.lines(box):>6}  "
                  + " ".join(["->", *inside, *(f"[{name}]" for name in outside)]
                             if inside or outside else []))
        weights, why = file_arrows(workspace, crate)
        found = circles(files, weights)
        largest = max([largest, *map(len, found)])
        sizes = ", ".join(str(len(c)) for c in found) or "none"
        print(f"  circles of files: {sizes}")
        for circle in found:
            print(f"    {len(circle)}: {' '.join(map(repr, circle))}")
            for a, b in sorted(feedback(circle, weights), key=repr):
                more = f", and {len(why[a, b]) - 1} more" if len(why[a, b]) > 1 else ""
                print(f"      closed by {why[a, b][0]} (-> {b!r}){more}")
        rings = [c for c in folders.circles if c[0][0] == crate.name]
        print("  circles of folders: "
              + ("; ".join(" ".join(b[1] for b in c) for c in rings) or "none"))
        for a, b in sorted(folders.up):
            if a[0] == crate.name:
                print(f"  up: {a[1]} -> {b[1]}")
                for file, line, path, target in folders.arrows[a, b]:
                    print(f"      {file!r}:{line} {path} (-> {target!r})")
        print()
    return largest


def read_order(path):
    order = defaultdict(list)
    for line in Path(path).read_text().splitlines() if path else []:
        name, _, rest = line.partition("#")[0].partition(":")
        order[name.strip()] += rest.split()
    return order


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=ROOT, type=Path, help="the repository [this one]")
    parser.add_argument("--out", type=Path, help="[target/structure]")
    parser.add_argument("--level", type=int, choices=(1, 2), default=1)
    parser.add_argument("--order")
    parser.add_argument("--check", type=int, metavar="MAX")
    told = parser.parse_args()
    workspace = Workspace(told.root.resolve())
    folders = Folders(workspace, told.level, read_order(told.order))
    out = told.out or told.root / "target/structure"
    out.mkdir(parents=True, exist_ok=True)
    names = sorted({box[0] for box in folders.boxes})
    for name in names:
        (out / f"{name}.svg").write_text(Picture(folders, [name], name).svg())
    (out / "all.svg").write_text(Picture(folders, names, "All crates").svg())
    largest = report(workspace, folders)
    print(f"pictures in {out}")
    if told.check is not None:
        wrong = []
        if largest > told.check:
            wrong.append(f"{largest} files form a circle, at most {told.check} may")
        wrong += [f"folders in a circle: {' '.join('/'.join(b) for b in c)}"
                  for c in folders.circles]
        wrong += [f"{a[0]}: {a[1]} points up to {b[1]}" for a, b in sorted(folders.up)
                  if not any(a in c and b in c for c in folders.circles)]
        for line in wrong:
            print(f"check: {line}", file=sys.stderr)
        return bool(wrong)
    return 0


if __name__ == "__main__":
    sys.exit(main())
