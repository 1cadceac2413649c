"""Compares what commands print for --option-table with their --help, which is read here in another way. The two
are printed with different numbers of threads, which must not show.

  option_tables.py COMMAND...
"""
import os
import re
import subprocess
import sys

KINDS = {"string", "int", "bytes", "double", "switch", "choice", "variable", "heading"}


def output(command, option, threads):
    return subprocess.run([command, option], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True, text=True,
                          env=dict(os.environ, OMP_NUM_THREADS=str(threads))).stdout


def options_of(text):
    """The options in a text of help, as (name, argument, the rest of their text with single blanks)."""
    for entry in re.findall(r"^  --.*(?:\n {6,}.*)*", text, re.M):
        flag, rest = re.fullmatch(r"  --(\S+(?: \S+)?)(?:\s\s+([\s\S]*)|)", entry).groups()
        name, _, argument = flag.partition(" ")
        yield name, argument, " ".join((rest or "").split())


def rows_of(table, text_of_help):
    for line in table.splitlines():
        name, kind, argument, default, text = line.split("\t")
        assert kind in KINDS, f"unknown kind: {line}"
        if kind == "heading":
            assert not name + argument + default and text + "\n" in text_of_help.replace(":\n", "\n"), line
            continue
        assert (kind == "switch") == (argument == ""), line
        assert (kind == "choice") == ("|" in argument), line
        yield name, argument, f"{text} [{default}]".strip() if default else text


def compare(command):
    text = output(command, "--help", 3)
    want, got = list(options_of(text)), list(rows_of(output(command, "--option-table", 1), text))
    assert len(want) > 1, "--help has no options"
    for a, b in zip(want, got):
        assert a == b, f"{a} in --help, {b} in the table"
    assert len(want) == len(got), f"{len(want)} options in --help, {len(got)} in the table"
    assert len({name for name, _, _ in got}) == len(got), "an option is there twice"


for command in sys.argv[1:]:
    try:
        compare(command)
    except AssertionError as error:
        sys.exit(f"{command}: {error}")
