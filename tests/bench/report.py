"""Prints tables row by row as they are measured: for a terminal, as Markdown, and raw to a TSV file."""
import contextlib
import sys

MEASURES = ("", "unit", "here", "PyTorch", "ratio", "tuned", "ratio")


class Failure(Exception):
    """A measurement failed; the text is one line."""


class Times(float):
    """A ratio of speeds, shown as 1.79 x."""


def figure(value):
    """Formats a number with three significant digits; returns text unchanged."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Times):
        return figure(float(value)) + " x"
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


class Report:
    """Rows go to stdout at once; `failed` tells whether something went wrong."""

    def __init__(self, markdown=False, tsv=None, only=""):
        self.markdown, self.tsv, self.only = markdown, tsv, only
        self.failed = False
        self.pending = self.columns = self.words = self.title = None

    def progress(self, text):
        if sys.stderr.isatty():
            print(f"\r\033[K{text}"[:100], end="", file=sys.stderr, flush=True)

    def table(self, title, columns=MEASURES, words=(52, 10)):
        """Begins a table; nothing is printed before its first row. words: widths on a terminal of
        the first columns, those that are no numbers."""
        self.title, self.columns, self.words = title, columns, words
        self.pending = True

    def row(self, *values):
        cells = [figure(v) for v in values] + [""] * (len(self.columns) - len(values))
        self.progress("")
        if self.pending:
            self._head()
        print(self._line(cells), flush=True)
        if self.tsv:
            raw = ["" if v is None else v if isinstance(v, str) else f"{v:.9g}" for v in values]
            print("\t".join([self.title] + raw), file=self.tsv, flush=True)

    @contextlib.contextmanager
    def attempt(self, what):
        """What fails inside is told in a line, and the report goes on."""
        self.progress(f"{self.title}: {what} ...")
        try:
            yield
        except (Failure, OSError) as problem:
            self.failed = True
            self.row(what, f"failed: {problem}")

    def wants(self, what):
        return self.only in what

    def _line(self, cells):
        if self.markdown:
            return "| " + " | ".join(cells) + " |"
        left = [f"{c:<{w}}" for c, w in zip(cells, self.words)]
        return " ".join(left + [f"{c:>10}" for c in cells[len(left) :]]).rstrip()

    def _head(self):
        self.pending = False
        print(f"\n### {self.title}\n" if self.markdown else f"\n{self.title}")
        print(self._line(self.columns))
        if self.markdown:
            print("|" + " --- |" * len(self.columns))
