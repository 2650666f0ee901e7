"""What every command line of the house does alike."""

import json
import sys

import pytest
import yaml

from workspace import PACKAGES, PLACEHOLDER, Package, load_tool, name_required, run


def list_verbs(package: Package) -> list[str]:
    return list(load_tool(package.name).all_verbs)


def _required(package: Package, verb: str) -> list[str]:
    return name_required(load_tool(package.name).all_verbs[verb])


CASES = [(package, verb) for package in PACKAGES for verb in list_verbs(package)]
each_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
each_verb = pytest.mark.parametrize(("package", "verb"), CASES, ids=lambda x: getattr(x, "name", x))

# Runs a command's --help in a fresh interpreter and reports what it imported and what it cost.
MEASURE_HELP = """
import contextlib, io, json, resource, sys
from importlib.metadata import entry_points
sys.argv = [sys.argv[1], "--help"]
(script,) = entry_points(group="console_scripts", name=sys.argv[0])
with contextlib.redirect_stdout(io.StringIO()):
    assert script.load()() == 0
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"modules": sorted(sys.modules), "seconds": usage.ru_utime + usage.ru_stime}))
"""


@each_package
def test_help_is_quick_and_light(package, tmp_path):
    done = run(sys.executable, "-c", MEASURE_HELP, package.name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert not {"torch", "lightning", "xarray", "matplotlib"} & set(measured["modules"])
    assert measured["seconds"] < 1.0


@each_package
def test_version_and_usage(package, tmp_path):
    version = run(package.command, "--version", cwd=tmp_path)
    assert (version.returncode, version.stdout) == (0, f"{package.name} {package.project['version']}\n")
    as_json = run(package.command, "--version", "--json", cwd=tmp_path)
    assert json.loads(as_json.stdout) == {"tool": package.name, "version": package.project["version"]}
    assert run(package.command, cwd=tmp_path).returncode == 2
    assert list(tmp_path.iterdir()) == []


@each_package
def test_info_is_one_json_object(package, tmp_path):
    done = run(package.command, "info", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["version"] == package.project["version"]


@each_package
def test_a_tool_that_has_a_sample_has_a_demo(package):
    verbs = list_verbs(package)
    if package.name != "isopleth":
        assert "demo" in verbs


@each_verb
def test_every_verb_explains_itself(package, verb, tmp_path):
    done = run(package.command, verb, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"{package.name} {verb}" in done.stdout
    assert "--config" in done.stdout


@each_verb
def test_a_printed_config_replays_to_itself(package, verb, tmp_path):
    words = [package.command, verb, *_required(package, verb), "--print_config"]
    printed = run(*words, cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    (tmp_path / "config.yaml").write_text(printed.stdout)
    again = run(package.command, verb, "--config", "config.yaml", "--print_config", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert yaml.safe_load(again.stdout) == yaml.safe_load(printed.stdout)


@each_verb
@pytest.mark.parametrize("words", [["--no_such_option", "3"], ["--config", "no-such-file.yaml"]])
def test_what_is_unknown_is_named_in_one_line(package, verb, words, tmp_path):
    done = run(package.command, verb, *_required(package, verb), *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert words[0 if words[0] != "--config" else 1].strip("-") in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@each_verb
def test_an_unknown_key_in_a_config_is_named(package, verb, tmp_path):
    (tmp_path / "config.yaml").write_text("no_such_key: 3\n")
    done = run(package.command, verb, *_required(package, verb), "--config", "config.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "no_such_key" in done.stderr
    assert done.stderr.count("\n") == 1


BAD_FILES = {
    "missing": None,
    "empty": b"",
    "html": b"<!doctype html><title>404</title>",
    "truncated": b"\x89HDF\r\n\x1a\n" + bytes(64),
    "pickle": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94.",
}


@pytest.mark.parametrize(
    ("package", "verb"), [case for case in CASES if _required(*case)], ids=lambda x: getattr(x, "name", x)
)
@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_input_file_is_one_line_without_traceback(package, verb, kind, tmp_path):
    content = BAD_FILES[kind]
    if content is not None:
        (tmp_path / PLACEHOLDER).write_bytes(content)
    done = run(package.command, verb, *_required(package, verb), "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert PLACEHOLDER in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {PLACEHOLDER}
