"""Write the tables of numbers in READMEs from the committed records, or check that they are up to date.

    python docs/evidence.py            fails if a README says other than the records
    python docs/evidence.py --write    rewrites the tables

A table stands between the lines ``<!-- NAME: written by docs/evidence.py -->`` and ``<!-- /NAME -->``. Of the
table of tools a row's first cells are written by hand: what a tool does, and whose paper it follows.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from isopleth.io.write import write_text
from isopleth.report import Claim, Evaluation, Score, markdown_table, read_evaluation

ROOT = Path(__file__).parent.parent
# More would bury a README.
MOST_ROWS = 40
# Of one claim, and of several.
VERDICT = {True: "holds", False: "does not hold", None: "undecided"}
COUNTED = {True: "hold", False: "do not", None: "undecided"}


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


def tools_table(present: str) -> str:
    """Put what was found beside what each tool is; the cells that are written by hand stay."""
    told = {row[0]: row for row in map(split_row, present.splitlines()) if row and "](packages/" in row[0]}
    rows = []
    for folder in sorted(ROOT.glob("packages/*/")):
        link = f"[`{folder.name}`](packages/{folder.name})"
        by_hand = told.get(link, [link, "", ""])[:3]
        rows.append([*by_hand, *sum_up(folder)])
    head = ["tool", "what it does", "paper", "its first claim, measured", "all claims", "data", "cost"]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def split_row(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def sum_up(package: Path) -> list[str]:
    """Say in four cells what a tool's committed record says."""
    record = find_record(package)
    if record is None:
        return ["not yet run: `make evidence`", "", "", ""]
    verdicts = Counter(claim.holds for claim in record.claims)
    counts = ", ".join(f"{verdicts[holds]} {word}" for holds, word in COUNTED.items() if verdicts[holds])
    minutes = (record.cost.train_seconds + record.cost.predict_seconds) / 60
    return [
        describe_claim(record.claims[0]),
        f"[{counts}](packages/{package.name}#evidence)",
        record.data.kind,
        f"{minutes:.0f} min, {record.cost.device}",
    ]


def describe_claim(claim: Claim) -> str:
    """Give a claim with its number, its interval and what follows."""
    number = ""
    if claim.difference is not None and claim.interval is not None:
        low, high = claim.interval
        units = "" if claim.units == "1" else f" {claim.units}"
        number = f"{claim.difference:.3g} [{low:.3g}, {high:.3g}]{units}, "
    return f"{claim.claim}: {number}**{VERDICT[claim.holds]}**"


def find_record(package: Path) -> Evaluation | None:
    path = find_path(package)
    return read_evaluation(path) if path.is_file() else None


def find_path(package: Path) -> Path:
    return package / "src" / package.name.replace("-", "_") / "evidence" / "evaluation.json"


def fuzzing_table() -> str:
    """Make one row of each reader's damaged input."""
    path = ROOT / "tests" / "fuzzing.json"
    if not path.is_file():
        return "Not yet run.\n"
    rows = [
        "| reader | read | refused | crashed | hung | failed | slowest, s | peak, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in json.loads(path.read_text()).items():
        cells = [found[key] for key in ("read", "refused", "crashed", "hung")]
        cells += [len(found["failures"]), found["slowest_s"], found["peak_mb"]]
        rows.append(f"| {name} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows) + "\n"


def evidence_table(package: Path) -> str:
    """Make the claims and scores of a tool's committed record."""
    record = find_record(package)
    if record is None:
        return "Not yet run: `make evidence`.\n"
    shown = choose_scores(record)
    rest = len(record.scores) - len(shown)
    path = find_path(package).relative_to(package)
    more = f"\n{rest} more scores are in `{path}`.\n" if rest else ""
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
    tables: dict[str, Callable[[str], str]] = {
        "tools": tools_table,
        "fuzzing": lambda _present: fuzzing_table(),
        "benchmarks": lambda _present: benchmark_table(),
        "evidence": lambda _present: evidence_table(path.parent),
    }
    for name, make in tables.items():
        begin, end = f"<!-- {name}: written by docs/evidence.py -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        if found:
            present, _, after = rest.partition(end)
            text = before + begin + make(present) + end + after
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="rewrite the tables")
    write = parser.parse_args().write
    stale = []
    for path in [ROOT / "README.md", ROOT / "SECURITY.md", *sorted(ROOT.glob("packages/*/README.md"))]:
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
