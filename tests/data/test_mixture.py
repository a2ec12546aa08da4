"""The paper's 24 mixture rows, their datasets here, and mixtures that lack some of them."""

import pathlib
import subprocess
import sys

import commands
import pytest
from conftest import build_dummy

import rlds_builders
from experiments import cli
from experiments.configs import default, gato, gato_1b
from gato_jax.domain import DocumentDomain
from gato_jax.env import logs, results
from gato_jax.errors import GatoError

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAPER = """
DM Lab 9.35
ALE Atari 9.5
ALE Atari Extended 10.0
Sokoban 1.33
BabyAI 9.06
DM Control Suite 4.62
DM Control Suite Pixels 7.07
DM Control Suite Random Small 3.04
DM Control Suite Random Large 3.04
Meta-World 8.96
Procgen 5.34
RGB Stacking simulator 1.33
RGB Stacking real robot 1.33
Modular RL 8.23
DM Manipulation Playground 1.68
Playroom 1.33
MassiveText 6.7
M3W 4.0
ALIGN 0.67
MS-COCO Captions 0.67
Conceptual Captions 0.67
LTIP 0.67
OKVQA 0.67
VQAv2 0.67
"""  # table 1 of Reed et al. 2022, as it is printed
CONFIG = """
import ml_collections
from experiments.configs import dummy

def get_config():
  config = dummy.get_config()
  config.leave_out_missing = True
  row = lambda weight, row, *tasks: ml_collections.ConfigDict(dict(weight=float(weight), tasks=tasks, row=row))
  config.domains = ml_collections.ConfigDict({
    "dummy": row(3, "Simulated", "reach", "reach_discrete"),
    "sokoban": row(2, "Boxes", "boxes_1"),
    "align": row(5, "Pictures", "files"),
    "text": row(1, "Texts", "python_docs"),
  })
  return config
"""


def test_the_rows_are_the_papers():
  paper = dict(
    (name, float(weight))
    for name, _, weight in (line.rpartition(" ") for line in PAPER.split("\n") if line)
  )

  assert {name: row[0] for name, row in gato.ROWS.items()} == paper and len(paper) == 24

  rows = cli.Experiment(gato.get_config()).rows

  assert {name: row.weight for name, row in rows.items()} == paper

  control = sum(
    row.weight
    for row in rows.values()
    if any(not isinstance(d, DocumentDomain) for d, _ in row.tasks)
  )

  assert (
    abs(control - 85.3) < 0.15 and abs(sum(paper.values()) - 100) < 0.15
  )  # the paper's own rounding
  assert [(d.name, t) for d, t in rows["Sokoban"].tasks] == [("sokoban", "boxes_4")]
  assert len(rows["ALE Atari"].tasks) == 50 + len(rlds_builders.get("unplugged_atari").tasks)


def test_a_domain_weighs_what_its_row_does():
  rows = cli.Experiment(gato.get_config()).rows.values()
  weights = {domain.name: (row.weight, domain.weight) for row in rows for domain, _ in row.tasks}

  assert all(own in (0.0, of_row) for of_row, own in weights.values()), weights

  others = {
    name
    for name, domain in rlds_builders.domains().items()
    if domain.weight and name not in weights
  }

  assert others == {"dummy"}  # nothing that has a share in the paper is forgotten


def test_the_papers_sizes_train_on_them():
  config = gato_1b.get_config()
  assert config.leave_out_missing and cli.Experiment(config).rows.keys() == gato.ROWS.keys()


def test_domains_of_a_row_share_its_weight():
  config = default.get_config()
  config.domains = default.domains(dummy=4.0, text=4.0, sokoban=(2.0, "boxes_1"))
  config.domains.text.row = "dummy"
  experiment = cli.Experiment(config)
  tasks = [name for name in experiment.weights if not name.startswith("sokoban")]

  assert all(experiment.weights[name] == 4.0 / len(tasks) for name in tasks)
  assert experiment.weights["sokoban.boxes_1"] == 2.0

  config.domains.text.weight = 3.0

  with pytest.raises(GatoError, match="row 'dummy' has two weights, 4 and 3"):
    cli.Experiment(config)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, dummy_raw):
  """A data directory without dummy's second task and without two other rows."""
  data = tmp_path_factory.mktemp("data")
  build_dummy(dummy_raw, data / "tfds")
  (data / "tfds/dummy/reach/1.0.0").rename(data / "elsewhere")
  (data / "experiment.py").write_text(CONFIG)
  return data


def run(verb: str, data: pathlib.Path, *more: str) -> subprocess.CompletedProcess:
  return commands.run(
    f"experiments.{verb}",
    f"--config={data / 'experiment.py'}",
    f"--config.data_dir={data}",
    f"--config.workdir={data}/work",
    *more,
  )


@pytest.fixture(scope="module")
def built(data_dir):
  return run("build", data_dir)


@pytest.mark.slow  # builds all documents that are here
def test_build_makes_what_it_can_and_says_what_is_missing(built):
  assert built.returncode == 0, built.stderr[-2000:]

  said = [line for line in built.stderr.splitlines() if "left out: " in line]
  said = sorted(line[line.index("left out: ") :] for line in said)

  assert [line.split(": ")[1] for line in said] == ["align.files", "dummy", "sokoban"]
  assert "data/sources/align" in said[0] and "run python -m experiments.collect" in said[1]
  assert (
    "build: 1 of 5 datasets built, 1 prepared, 3 left out, the others were there" in built.stdout
  )


@pytest.mark.slow  # counts what the test above has built
def test_describe_prints_the_rows(built, data_dir, dummy_raw):
  done = run("describe", data_dir)
  assert done.returncode == 0, done.stderr[-2000:]

  rows = {line.split("  ")[0].strip(): line.split()[1:] for line in done.stdout.splitlines()}
  played = [
    row.episode_return
    for row in logs.rows(logs.task_directory(dummy_raw, "dummy", "reach_discrete"))
  ]
  expert = results.expert_return(played)
  kept = sum(one >= expert - 0.2 * abs(expert) for one in played)

  assert rows["Simulated"][:4] == ["1", "of", "2", str(kept)] and rows["Simulated"][-3:] == [
    "3.00",
    "75.00",
    "%",
  ]
  assert rows["Texts"][:3] == ["1", "of", "1"] and int(rows["Texts"][3].replace(",", "")) > 1000
  assert rows["Texts"][-3:] == ["1.00", "25.00", "%"]
  assert rows["Pictures"] == ["0", "of", "1", "-", "-", "5.00", "-"]
  assert rows["all"][:3] == ["2", "of", "5"] and rows["all"][-3:] == ["11.00", "100.00", "%"]
  assert (
    "left out: Boxes (2), no dataset of sokoban: python -m experiments.collect, then" in done.stdout
  )
  assert (
    "left out: Pictures (5), no dataset of align: python -m experiments.build says what it needs"
    in done.stdout
  )
  assert (
    "dummy.reach_discrete: 25 tokens a step" in done.stdout and "dummy.reach: " not in done.stdout
  )


def test_a_mixture_of_nothing_is_one_line(tmp_path):
  config = gato.get_config()
  config.data_dir = str(tmp_path)
  with pytest.raises(GatoError, match="^no row of the mixture has a dataset in [^\\n]*$"):
    cli.Experiment(config).left_out()


def test_prompts_in_windows_of_one_step_are_refused():
  config = default.get_config()
  config.data.window_steps = 1
  with pytest.raises(GatoError, match="no prompt fits into windows of one step"):
    cli.Experiment(config)
  default.one_step_context(config, 128)
  assert cli.Experiment(config).config.model.memory_length == 128


@pytest.mark.parametrize("module", ["mixture", "demonstrations", "freshness"])
def test_no_tensorflow_where_configs_and_simulators_read(module):
  source = f"import sys, gato_jax.data.{module}; sys.exit('tensorflow' in sys.modules)"
  assert not subprocess.run([sys.executable, "-c", source], cwd=ROOT, timeout=300).returncode
