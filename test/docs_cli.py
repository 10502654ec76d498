#!/usr/bin/python3
"""The documents, checked against the program itself: commands, options, keys
of the configuration, and every example.

usage: docs_cli.py SOURCE_ROOT PROBER

Nothing is run that has an effect: commands get --help behind their arguments,
which are read, and refused if they are wrong, before it.
"""
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

import yaml

WORD = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
# What stands for something in usage lines and examples.
PLACE = re.compile(r"[A-Z]{1,10}$|[A-Z]+=|.*[\[\]|<>…]|\.\.\.")
STAND_INS = {"URL": "https://db.example/", "ADDRESS": "10.0.0.7",
             "FILE": "node.yaml", "NODE": "b-1", "WHERE": "all-zones",
             "NAME": "ci", "ROLE": "runner", "ADDR": "/run/c.sock"}


class Program:
    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.directory = tempfile.TemporaryDirectory(prefix="docs_cli.")
        self.environment = {k: v for k, v in os.environ.items()
                            if not k.startswith("PROBER_")}

    def run(self, *argv):
        return subprocess.run([self.path, *argv], text=True, timeout=20,
                              capture_output=True, check=False,
                              stdin=subprocess.DEVNULL,
                              cwd=self.directory.name, env=self.environment)

    def commands(self):
        text = self.run("help").stdout
        return re.findall(r"^  ([a-z-]+)  ", text, re.M)

    def help(self, command):
        done = self.run("help", command)
        assert done.returncode == 0 and done.stdout, (command, done)
        return done.stdout

    def options(self, command):
        return set(WORD.findall(self.help(command))) - {"--help"}


def documents(root):
    files = [root / "README.md", *sorted((root / "docs").glob("*.md")),
             *sorted((root / "charts").glob("*/README.md"))]
    return {f.relative_to(root).as_posix(): f.read_text(encoding="utf-8")
            for f in files}


def blocks(text):
    """(language, body) of each code block."""
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)


# ---- commands and options ----

def sections(text):
    """{command: what docs/cli.md says of it}"""
    found = {}
    for heading, body in re.findall(r"^(## .*?)$(.*?)(?=^## |\Z)", text,
                                    re.M | re.S):
        if heading.startswith("## prober "):
            for name in heading.removeprefix("## prober ").split(", "):
                found[name] = body
    return found


def check_commands(program, docs):
    text, bad = docs["docs/cli.md"], []
    table = {name for row in re.findall(r"^\| (`prober .*?) \|", text, re.M)
             for name in re.findall(r"`prober ([a-z-]+)", row)}
    has = set(program.commands())
    bad += [f"docs/cli.md: {c} is not in the table" for c in has - table]
    bad += [f"docs/cli.md: there is no command {c}" for c in table - has]
    parts = sections(text)
    for command in sorted(has & set(parts)):
        known = program.options(command)
        said = set(WORD.findall(parts[command])) - {"--help"}
        if "-o " in parts[command]:
            said.add("--output")
        bad += [f"docs/cli.md: {command} {o} is not documented"
                for o in sorted(known - said)]
        bad += [f"docs/cli.md: {command} has no {o}"
                for o in sorted(said - known - hidden(program, parts, command))]
    bad += [f"docs/cli.md: there is no section prober {c}"
            for c in sorted(has - set(parts)) if program.options(c) - {
                "--config", "--output"}]
    return bad


def hidden(program, parts, command):
    """Options of others that a section may speak of: those that it names with
    their command (`prober probe --from`)."""
    spoken = set()
    for other, options in re.findall(r"prober ([a-z-]+)((?: --[a-z-]+)+)",
                                     parts[command]):
        if other in program.commands():
            spoken |= set(WORD.findall(options)) & program.options(other)
    # Shorter names for options of the same meaning work, and are told of.
    return spoken | {o for o in {"--ca", "--output"} if program.run(
        command, o, "text" if o == "--output" else "f", "--help"
    ).returncode == 0}


# ---- shell lines ----

def shell_lines(text):
    """Every `prober ...` of the blocks."""
    for language, body in blocks(text):
        if language not in ("sh", "console"):
            continue
        joined = re.sub(r"\\\n\s*", " ", body)
        for line in joined.splitlines():
            line = re.sub(r"^\$ ", "", line)
            yield from re.findall(
                r"(?:^|^\(.*?&& |&& )(prober [^&();]+)", line)


def spoken_lines(text):
    """Commands within a sentence, where the target may be left out."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return re.findall(r"`(prober [^`\n]+)`", plain)


def argv_of(line):
    """The words behind `prober`, or None for a line that is a pattern."""
    line = re.split(r"\s+#\s|\s\d?>+\s|\s\|\s", line + " ")[0]
    words = shlex.split(line.replace("\\|", "|"))[1:]
    words = [STAND_INS.get(word, word) for word in words]
    if not words or any(PLACE.match(word) for word in words):
        return None
    return [word.replace("NODE", "127.0.0.1") for word in words]


def why_wrong(program, argv, *ways_on):
    """None if one of the ways to go on is taken, else what is wrong."""
    for more in [(), *ways_on]:
        done = program.run(*argv, *more, *["--help"] * (argv[0] != "help"))
        if done.returncode == 0:
            return None
    return done.stderr.strip().partition("\n")[0]


def check_shell_lines(program, docs):
    bad, tried, target = [], 0, "https://db.example/"
    for path, text in docs.items():
        lines = [(line, []) for line in shell_lines(text)]
        lines += [(line, [[target], ["self", target]])
                  for line in spoken_lines(text)]
        for line, ways_on in lines:
            argv = argv_of(line)
            if argv is None:
                continue
            tried += 1
            why = why_wrong(program, argv, *ways_on)
            if why:
                bad.append(f"{path}: {line.strip()}: {why}")
    if tried < 40:
        bad.append(f"only {tried} command lines found, that is too few")
    return bad


# ---- configuration ----

def documented_keys(text):
    """{section.key} of the tables; keys of lists as peers[].name."""
    keys = set()
    for heading, body in re.findall(r"^### (\w+): .*?$(.*?)(?=^##|\Z)", text,
                                    re.M | re.S):
        for row in re.findall(r"^\| (`.*?) \|", body, re.M):
            for key in re.findall(r"`([a-z_.]+)`", row):
                if key.startswith(heading + "."):
                    keys.add(key)
                elif heading in ("peers", "targets"):
                    keys.add(f"{heading}[].{key}")
    return keys


def keys_of_program(root):
    """The same, from the tables of the sources."""
    text = (root / "prober/config_keys.c").read_text(encoding="utf-8")
    keys = set()
    for name, body in re.findall(
            r"struct config_key (\w+)_keys\[\] = \{(.*?)^\};", text,
            re.M | re.S):
        section = {"peer": "peers[]", "target": "targets[]"}.get(name, name)
        # Users and certificates are told of in the row of their list.
        if section in ("user", "certificate", "config"):
            continue
        keys |= {f"{section}.{key}" for key in
                 re.findall(r'^\s+\{"(\w+)",', body, re.M)}
    return keys


def check_keys(program, root, docs):
    says = documented_keys(docs["docs/configuration.md"])
    has = keys_of_program(root)
    bad = [f"docs/configuration.md: {k} is not documented"
           for k in sorted(has - says)]
    bad += [f"docs/configuration.md: there is no key {k}"
            for k in sorted(says - has)]
    # And the program, to be sure that the tables are the ones it uses.
    wrong = pathlib.Path(program.directory.name, "keys.yaml")
    for key in sorted(says):
        section, _, name = key.partition(".")
        body = f"{{{name}: x}}"
        wrong.write_text(f"{section.removesuffix('[]')}: " + (
            f"[{body}]" if section.endswith("[]") else body) + "\n",
            encoding="utf-8")
        if "unknown key" in program.run("check-config", str(wrong)).stderr:
            bad.append(f"docs/configuration.md: {key} is unknown to prober")
    return bad


def named_keys(docs, known):
    """Keys that documents mention: `probe.timeout`, `control.allow: []`."""
    groups = {k.partition(".")[0] for k in known if "[]" not in k}
    for path, text in docs.items():
        if path.startswith("charts/"):
            continue  # keys of values.yaml, which has a schema
        for group, key in re.findall(r"`([a-z]+)\.([a-z_]+)(?::[^`]*)?`", text):
            if group in groups:
                yield path, f"{group}.{key}"


def check_named_keys(docs, has, fields):
    """Fields of the API may have the same groups."""
    return [f"{path}: there is no key {key}"
            for path, key in sorted(set(named_keys(docs, has)))
            if key not in has and key not in fields
            and not (key.endswith((".c", ".h", ".md", ".yaml", ".log")))]


def api_fields(root):
    """`plane.attempts` and the like: fields of the API's objects."""
    document = yaml.safe_load(
        (root / "docs/openapi.yaml").read_text(encoding="utf-8"))
    schemas = document["components"]["schemas"]

    def properties(node):
        for part in [node, *node.get("oneOf", [])]:
            if "$ref" in part:
                part = schemas[part["$ref"].rpartition("/")[2]]
            yield from part.get("properties", {}).items()

    def walk(node):
        for name, below in properties(node):
            for field, _ in properties(below):
                yield f"{name}.{field}"
            yield from walk(below)

    return {field for schema in schemas.values() for field in walk(schema)}


# ---- examples ----

def check_examples(program, docs):
    bad, tried = [], 0
    for path, text in docs.items():
        for language, body in blocks(text):
            if language == "json":
                try:
                    json.loads(body)
                except ValueError:
                    try:
                        [json.loads(line) for line in body.splitlines()]
                    except ValueError as why:
                        bad.append(f"{path}: JSON that is none: {why}")
            if language != "yaml":
                continue
            value = yaml.safe_load(body)
            sections_ = {"node", "gossip", "control", "probe", "peers"}
            if not isinstance(value, dict) or not sections_ & set(value) or \
                    "charts" in path:
                continue
            file = pathlib.Path(program.directory.name, "example.yaml")
            file.write_text(body, encoding="utf-8")
            done = program.run("check-config", str(file))
            tried += 1
            if done.returncode:
                bad.append(f"{path}: example: {done.stderr.strip()}")
    if tried < 3:
        bad.append(f"only {tried} configurations found, that is too few")
    return bad


def main():
    root, program = pathlib.Path(sys.argv[1]), Program(sys.argv[2])
    docs = documents(root)
    bad = check_commands(program, docs) + check_shell_lines(program, docs)
    bad += check_keys(program, root, docs) + check_examples(program, docs)
    bad += check_named_keys(docs, keys_of_program(root), api_fields(root))
    for line in bad:
        print(line)
    print(f"{len(docs)} documents, {len(bad)} complaints")
    sys.exit(bool(bad))


main()
