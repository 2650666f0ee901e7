"""Everything but the extra works where no torch can be imported."""

import os
import subprocess
import sys

SCRIPT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "lightning"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
from conservation_decisions.cli import tool
from conservation_decisions.config import SampleConfig
from conservation_decisions.sample import make_landscape

made = make_landscape(SampleConfig(side=5, features=2, members=4, surveys=8), seed=1)
store = str(made.landscape.save("land.zarr"))
problem = ["--problem.target", "0.3"]
verbs = [
    ["check", store, *problem],
    ["allocate", store, "--out", "a", *problem],
    ["plan", store, "--out", "p", "--steps", "4"],
    ["intervene", store, "--out", "i", "--budget", "2"],
    ["evaluate", store, "--out", "e", *problem, "--solver.gap", "0.1"],
    ["export-marxan", store, "--out", "m", "--target", "0.3"],
    ["import-marxan", "m", "--out", "back.zarr"],
    ["demo", "--print_config"],
]
for words in verbs:
    code = tool.main(words)
    assert code == 0, words
import conservation_decisions.demo
assert not {"torch", "lightning"} & set(sys.modules)
try:
    import conservation_decisions.loss
except Exception as error:
    print(type(error).__name__, error)
"""


def test_all_verbs_but_the_extra_need_no_torch(tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "conservation-decisions[learn]" in done.stdout.splitlines()[-1]
