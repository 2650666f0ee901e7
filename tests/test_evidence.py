"""No number in a README is typed by hand: its tables say what the committed records say."""

import sys

from workspace import ROOT, TOOLS, run


def test_tables_are_those_of_the_records():
    done = run(sys.executable, "docs/evidence.py", cwd=ROOT)
    assert done.returncode == 0, f"{done.stderr}run: python docs/evidence.py --write"


def test_a_changed_number_is_noticed(tmp_path):
    from shutil import copytree, ignore_patterns

    copy = tmp_path / "copy"
    copytree(ROOT, copy, ignore=ignore_patterns(".*", "runs", "dist", "site", "uv.lock"))
    readme = copy / "packages" / TOOLS[0].name / "README.md"
    head, marker, table = readme.read_text().partition("<!-- evidence: written by docs/evidence.py -->\n")
    readme.write_text(head + marker + "| better than ever |\n" + table)
    done = run(sys.executable, "docs/evidence.py", cwd=copy)
    assert done.returncode == 1
    assert "out of date" in done.stderr


def test_every_tool_has_a_committed_record():
    from isopleth.report import read_evaluation

    for tool in TOOLS:
        module = tool.folder / "src" / tool.name.replace("-", "_")
        record = read_evaluation(module / "evidence" / "evaluation.json")
        assert record.tool == tool.name
        assert record.claims
