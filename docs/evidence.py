"""Write the tables of numbers in the READMEs from the committed records, or check that they are up to date.

    python docs/evidence.py            fails if a README says other than the records
    python docs/evidence.py --write    rewrites the tables

A table stands between the lines ``<!-- NAME: written by docs/evidence.py -->`` and ``<!-- /NAME -->``.
"""

import argparse
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

from isopleth.io.write import write_text
from isopleth.report import Evaluation, Score, markdown_table, read_evaluation

ROOT = Path(__file__).parent.parent
# More would bury a README.
MOST_ROWS = 40


def benchmark_table() -> str:
    """Make one row of each ratio that a benchmark printed."""
    rows, machines = [], {}
    for path in sorted([*ROOT.glob("shared/benchmarks/*.json"), *ROOT.glob("packages/*/benchmarks/*.json")]):
        record = json.loads(path.read_text())
        source = path.with_suffix(".py").relative_to(ROOT)
        machines[describe(record["machine"])] = None
        rows += [write_row(ratio, source) for ratio in record["ratios"]]
    if not rows:
        return "No benchmark has been run: `make bench`.\n"
    head = ["| ratio | measured | asked | script |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, "", f"Machine: {'; '.join(machines)}.", ""])


def write_row(ratio: dict[str, object], source: Path) -> str:
    asked = "" if ratio["asked"] is None else f"{ratio['asked']:g}"
    return f"| {ratio['name']} | {ratio['ratio']:.3g} | {asked} | [`{source}`]({source}) |"


def describe(machine: dict[str, object]) -> str:
    """Name a machine in a few words."""
    return "{cpu}, {cores} cores, {memory_gb:.0f} GB, Python {python}".format(**machine)


def evidence_table(package: Path) -> str:
    """Make the claims and scores of a tool's committed record."""
    (module,) = (package / "src").iterdir()
    path = module / "evidence" / "evaluation.json"
    if not path.is_file():
        return "Not yet run: `make evidence`.\n"
    record = read_evaluation(path)
    shown = choose_scores(record)
    rest = len(record.scores) - len(shown)
    more = f"\n{rest} more scores are in `{path.relative_to(package)}`.\n" if rest else ""
    return markdown_table(replace(record, scores=shown)) + more


def choose_scores(record: Evaluation) -> tuple[Score, ...]:
    """Keep all scores where they are few, else those of the first metric of variables that a claim names."""
    if len(record.scores) <= MOST_ROWS:
        return tuple(record.scores)
    words = " ".join(claim.claim for claim in record.claims)
    first = record.scores[0].metric
    return tuple(
        score
        for score in record.scores
        if score.metric == first and score.variable.replace("_", " ") in words
    )


def render(path: Path) -> str:
    """Give a README's text with its tables as the records have them."""
    text = path.read_text()
    tables = {"benchmarks": benchmark_table, "evidence": lambda: evidence_table(path.parent)}
    for name, make in tables.items():
        begin, end = f"<!-- {name}: written by docs/evidence.py -->\n", f"<!-- /{name} -->"
        if begin in text:
            pattern = re.escape(begin) + ".*?" + re.escape(end)
            table = f"{begin}{make()}{end}"
            text = re.sub(pattern, lambda _match, table=table: table, text, flags=re.DOTALL)
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="rewrite the tables")
    write = parser.parse_args().write
    stale = []
    for path in [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md"))]:
        text = render(path)
        if text != path.read_text():
            stale.append(path)
            if write:
                write_text(path, text)
    for path in stale:
        print(f"{'rewritten' if write else 'out of date'}: {path.relative_to(ROOT)}", file=sys.stderr)
    return 0 if write else min(len(stale), 1)


if __name__ == "__main__":
    sys.exit(main())
