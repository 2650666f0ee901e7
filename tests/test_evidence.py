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


def test_every_tool_that_is_released_has_a_committed_record():
    """What has no evidence yet carries a version of 0.0, and its README says so."""
    from isopleth.report import read_evaluation

    for tool in TOOLS:
        path = tool.folder / "src" / tool.name.replace("-", "_") / "evidence" / "evaluation.json"
        if tool.project["version"].startswith("0.0."):
            assert not path.exists(), f"{tool.name} has evidence: its version can be 0.1.0"
            assert "Not yet run: `make evidence`" in (tool.folder / "README.md").read_text()
            continue
        record = read_evaluation(path)
        assert record.tool == tool.name
        assert record.claims
