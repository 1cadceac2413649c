"""Reads a page of pipelines/report, without a browser, and compares it with the run's files.

    report_check.py PAGE COMMAND [ARGUMENT...]

    sound           one file that asks for nothing, in which no text of the run is HTML
    same RUN        the figures of metrics.tsv and results.tsv
    has KEY...      the data has these members; -KEY: it has not
    missing PART REGEX   the line that stands in place of a part
    text REGEX      a string somewhere in the data"""

import csv
import json
import math
import re
import sys


def parts(path):
    with open(path, encoding="utf-8") as file:
        html = file.read()
    found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert len(found) == 1, "the page has one block of data"
    return html, found[0], json.loads(found[0])


def sound(html, block, data):
    rest = html.replace(block, "")
    assert not set(block) & set("<>&"), "the data holds a character of HTML"
    assert rest.count("<script") == 2 and rest.count("</script") == 2 and "@NONCE@" not in html
    nonces = set(re.findall(r'nonce="([^"]*)"', rest)) | set(re.findall(r"'nonce-([^']*)'", rest))
    assert len(nonces) == 1 and re.fullmatch("[0-9a-f]{32}", nonces.pop())
    assert "default-src 'none'" in rest
    for value in re.findall(r"""(?:src|href|action|data|poster|srcset)\s*=\s*["']([^"']*)""", rest):
        assert value.startswith("data:"), value
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|innerHTML|eval\(|document\.write", rest)
    assert len(html.encode()) < 3_000_000


def compare(table, path):
    with open(path, encoding="utf-8") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert table["rows"] == len(lines) - 1 and [c["name"] for c in table["columns"]] == lines[0]
    assert table["every"] == 1
    for i, column in enumerate(table["columns"]):
        for value, row in zip(column["values"], lines[1:], strict=True):
            text = row[i] if i < len(row) else ""
            try:
                wanted = float(text)
            except ValueError:
                wanted = text or None
            if isinstance(wanted, float) and not math.isfinite(wanted):
                wanted = None
            same = abs(value - wanted) <= 1e-8 * abs(wanted) if isinstance(wanted, float) else value == wanted
            assert same, (column["name"], value, text)


def same(_, __, data, run):
    compare(data["metrics"], run + "/metrics.tsv")
    if "results" in data:
        compare(data["results"], run + "/evaluation/results.tsv")
        with open(run + "/evaluation/trained-linear.json", encoding="utf-8") as file:
            assert data["scores"]["trained-linear"] == json.load(file)


def has(_, __, data, *keys):
    for key in keys:
        assert (key.lstrip("-") in data) != key.startswith("-"), (key, list(data))


def missing(_, __, data, part, regex):
    assert re.search(regex, data["missing"][part]), data["missing"]


def text(_, block, data, regex):
    def strings(value):
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for key, item in value.items():
                yield key
                yield from strings(item)
        elif isinstance(value, list):
            for item in value:
                yield from strings(item)

    assert any(re.search(regex, s) for s in strings(data)), regex


if __name__ == "__main__":
    commands = {"sound": sound, "same": same, "has": has, "missing": missing, "text": text}
    commands[sys.argv[2]](*parts(sys.argv[1]), *sys.argv[3:])
