#!/usr/bin/python3
"""The manual pages and the shell completion say what the program says of
itself."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import tap
from netbed import PROBER, ROOT, run

MAN = ROOT / "packaging/man"
COMPLETION = ROOT / "packaging/completion"
# Pages that explain more than one command.
SHARED = {"reload": "status", "drain": "status"}
WITHOUT_PAGE = {"version", "help"}
# What getopt takes everywhere and few help texts mention.
EVERYWHERE = {"-h", "--help", "-o", "--output"}


def helped(*words):
    return run(PROBER, "help", *words)


def commands():
    return re.findall(r"^  ([a-z-]+)  ", helped(), re.M)


def options(command):
    """Those that help describes or shows in the usage."""
    lines = [line for line in helped(command).splitlines()
             if re.match(r" *(-|usage:|prober )", line)]
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", "\n".join(lines)))


def page(name):
    """Its source, without the marks of scdoc."""
    text = pathlib.Path(MAN, name + ".scd").read_text(encoding="utf-8")
    return re.sub(r"\\(.)", r"\1", text)


def page_of(command):
    return page(f"prober-{SHARED.get(command, command)}.1")


def defined(text):
    """The options that a page has an entry for."""
    entries = re.findall(r"^\*-.*$", text, re.M)
    return set(re.findall(r"\*(--?[a-z][a-z-]*)\*", "\n".join(entries)))


# ---- pages -------------------------------------------------------------

def every_command_has_a_page():
    overview = page("prober.1")
    assert len(commands()) > 10, commands()
    for command in commands():
        assert f"*{command}*" in overview, command
        if command not in WITHOUT_PAGE:
            assert f"*prober {command}*" in page_of(command), command


def every_option_is_in_the_page_of_its_command():
    for command in set(commands()) - WITHOUT_PAGE:
        shown = options(command)
        assert shown, command
        missing = shown - defined(page_of(command))
        assert not missing, (command, missing)


def no_page_has_an_option_that_the_program_refuses():
    for command in set(commands()) - WITHOUT_PAGE:
        for option in defined(page_of(command)) - options(command):
            assert option in EVERYWHERE or takes(command, option), (command,
                                                                    option)


def takes(command, option):
    tried = subprocess.run([PROBER, command, option, "x", "--help"],
                           check=False, capture_output=True, text=True)
    return tried.returncode == 0


def said_of_keys():
    """{key: the line of prober.yaml(5) that begins its entry}."""
    lines = re.findall(r"^\*[a-z]+\.[a-z_]+\*.*$", page("prober.yaml.5"),
                       re.M)
    return {key: line for line in lines
            for key in re.findall(r"\*([a-z]+\.[a-z_]+)\*", line)}


def keys_of_the_documentation():
    """{key: the rest of its row} of those with a section."""
    text = pathlib.Path(ROOT, "docs/configuration.md").read_text(
        encoding="utf-8")
    rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|(.*\|.*\|.*)\|$", text,
                      re.M)
    assert len(rows) > 40, rows
    return dict(rows)


def every_key_is_in_prober_yaml_with_its_default():
    said = said_of_keys()
    documented = keys_of_the_documentation()
    assert said.keys() == documented.keys(), said.keys() ^ documented.keys()
    for key, row in documented.items():
        default = row.split("|")[1].strip()
        if default.startswith("`"):
            value = default.split("`")[1]
            assert re.search(rf"; {re.escape(value)}[,)]", said[key]), (
                key, value, said[key])


def each_variable_is_named_as_the_page_says():
    for key, row in keys_of_the_documentation().items():
        variable = row.split("|")[-1].strip().strip("`")
        if variable:
            assert variable == "PROBER_" + key.upper().replace(".", "_"), key
        else:
            assert "list" in row.split("|")[0], (key, row)


def pages_become_manuals_without_a_warning():
    if not shutil.which("scdoc") or not shutil.which("man"):
        raise tap.Skip("not installed: scdoc, man")
    for source in sorted(MAN.glob("*.scd")):
        manual = subprocess.run(["scdoc"], stdin=source.open(), check=True,
                                capture_output=True).stdout
        assert max(map(len, source.read_text().splitlines())) <= 84, source
        with tempfile.NamedTemporaryFile(suffix=source.suffixes[-2]) as file:
            file.write(manual)
            file.flush()
            shown = subprocess.run(
                ["man", "--warnings", "-E", "UTF-8", "-l", file.name],
                check=True, capture_output=True, text=True,
                env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
        assert not shown.stderr, (source, shown.stderr)
        # A mark of scdoc that was meant as one and is still there.
        plain = re.sub("\x1b\\[[0-9;]*m|.\b", "", shown.stdout)
        marks = re.findall(r"(?<!\w)\*\w[\w ]*\*|(?<![\w$])_\w+_(?!\w)", plain)
        assert not marks, (source, marks)


# ---- completion --------------------------------------------------------

# zsh's own completion, as far as ours uses it, to say what it was told.
ZSH = """
compadd() { shift; print -l -- ${(M)@:#${PREFIX}*} }
_describe() { compadd -- ${${(P)4}%%:*} }
_files() { local -a found; found=(*(N)); compadd -- $found }
_call_program() { shift; "$@" }
compdef() { }
source $1; shift
words=("$@"); CURRENT=$#; PREFIX=$words[CURRENT]
_prober
"""


def completed(*words, directory="/"):
    """What Tab at the end of the last word would offer: in all shells the
    same."""
    offered = completed_by_bash(*words, directory=directory)
    if shutil.which("zsh"):
        assert completed_by_zsh(*words, directory=directory) == offered, words
    return offered


def completed_by_zsh(*words, directory):
    asked = subprocess.run(
        ["zsh", "-f", "-c", ZSH, "zsh", COMPLETION / "prober.zsh", PROBER,
         *words], check=True, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, cwd=directory, timeout=20)
    assert not asked.stderr, (words, asked.stderr)
    return set(asked.stdout.split())


def completed_by_bash(*words, directory):
    script = ('source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))\n'
              'set -u; _prober; '
              '((${#COMPREPLY[@]} == 0)) || printf "%s\\n" "${COMPREPLY[@]}"')
    asked = subprocess.run(["bash", "-c", script, COMPLETION / "prober.bash",
                            PROBER, *words], check=True, capture_output=True,
                           text=True, stdin=subprocess.DEVNULL, cwd=directory,
                           timeout=20)
    assert not asked.stderr, (words, asked.stderr)
    return set(asked.stdout.split())


def zsh_completes_by_itself():
    """With the completion system of zsh, a terminal and a Tab."""
    if not shutil.which("zsh"):
        raise tap.Skip("not installed: zsh; so only bash was asked")
    with tempfile.TemporaryDirectory() as home:
        shutil.copy(COMPLETION / "prober.zsh", f"{home}/_prober")
        os.symlink(PROBER, f"{home}/prober")
        subprocess.run(
            ["zsh", "-f", "-c", TERMINAL], check=True, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=60,
            env={**os.environ, "HOME": home, "TERM": "dumb",
                 "PATH": f"{home}:{os.environ['PATH']}"})
        line = pathlib.Path(home, "line").read_text()
    assert line == "prober matrix --level region \n", line


# The line that has come about is written down at Ctrl-X.
TERMINAL = r"""
zmodload zsh/zpty
zpty shell zsh -f
zpty -w shell 'fpath=(~ $fpath); autoload -U compinit; compinit -u -D'
zpty -w shell 'tell() { print -r -- "$BUFFER" >~/line.new; mv ~/line.new ~/line }'
zpty -w shell 'zle -N tell; bindkey "^X" tell; echo re""ady'
zpty -r -m shell text '*ready*'
zpty -w -n shell $'prober mat\t--lev\tre\t\x18'
until [[ -e ~/line ]] { sleep 0.1; zpty -r -t shell text }
zpty -d shell
"""


def it_completes_commands():
    assert completed("") == set(commands())
    assert completed("me") == {"members"}
    assert completed("help", "m") == {"matrix", "members"}
    assert completed("nonsense") == set()


def it_completes_every_option_of_a_command():
    for command in set(commands()) - {"help"}:
        long = {o for o in options(command) if o.startswith("--")}
        assert completed(command, "--") == long | {"--help"}, command
    assert completed("probe", "https://a.test", "--no") == {"--nodes-per-zone"}


def an_option_without_a_value_is_followed_by_another():
    assert completed("probe", "x", "--warm", "--cou") == {"--count"}
    assert completed("probe", "x", "--insecure", "--cou") == {"--count"}
    assert completed("matrix", "--watch", "--l") == {"--level"}
    assert completed("zone", "--kubernetes", "--s") == {"--server"}


def it_completes_what_an_option_takes():
    assert completed("matrix", "--stat", "") == {"p50", "p90", "p99", "max",
                                                 "loss"}
    assert completed("probe", "x", "--protocol", "g") == {"grpc"}
    assert completed("matrix", "--protocol", "a") == {"all"}
    assert completed("status", "-o", "") == {"text", "json"}
    assert completed("probe", "x", "-o", "s") == {"summary"}
    assert completed("keygen", "--token", "ci", "p") == {"prober"}


def it_offers_values_that_the_program_takes():
    for option, refused in (("--phase", "phase"), ("--stat", "stat"),
                            ("--mode", "mode"), ("--level", "level"),
                            ("--protocol", "protocol")):
        for value in completed("matrix", option, ""):
            tried = subprocess.run(
                [PROBER, "matrix", "--api", "http://127.0.0.1:1", option,
                 value], check=False, capture_output=True, text=True)
            assert tried.returncode == 1, (refused, value, tried.stderr)


def it_offers_no_names_and_nothing_for_numbers():
    assert completed("probe", "x", "--from", "") == {"self", "all-zones"}
    assert completed("probe", "x", "--count", "") == set()
    assert completed("probe", "") == set()
    assert completed("keygen", "--token", "") == set()


def it_completes_files():
    with tempfile.TemporaryDirectory() as here:
        pathlib.Path(here, "node.yaml").touch()
        assert completed("check-config", "no", directory=here) == {"node.yaml"}
        assert completed("run", "--config", "", directory=here) == {"node.yaml"}
        for option in ("--ca", "--cert", "--key", "--control-ca",
                       "--token-file"):
            assert completed("probe", option, "n",
                             directory=here) == {"node.yaml"}, option


tap.run([
    every_command_has_a_page,
    every_option_is_in_the_page_of_its_command,
    no_page_has_an_option_that_the_program_refuses,
    every_key_is_in_prober_yaml_with_its_default,
    each_variable_is_named_as_the_page_says,
    pages_become_manuals_without_a_warning,
    zsh_completes_by_itself,
    it_completes_commands,
    it_completes_every_option_of_a_command,
    an_option_without_a_value_is_followed_by_another,
    it_completes_what_an_option_takes,
    it_offers_values_that_the_program_takes,
    it_offers_no_names_and_nothing_for_numbers,
    it_completes_files,
])
