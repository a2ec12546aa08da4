"""The rules of the tree: layers, cycles, who may import simulators and TensorFlow, file lengths and
names.

docs/architecture.md explains the layers.
"""

import ast
import graphlib
import importlib.metadata
import pathlib
import re
import sys
from collections import defaultdict

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("gato_jax", "rlds_builders", "experiments", "launch", "benchmarks", "tests")
MAX_LINES = 400
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}

# Lower layers never import higher ones; the longest matching name counts.
LAYERS = {
  "gato_jax.errors": 0,
  "gato_jax.progress": 0,
  "gato_jax.randomness": 0,
  "gato_jax.documents": 1,
  "gato_jax.task": 1,
  "gato_jax.domain": 1,
  "gato_jax.storage": 2,
  "gato_jax.tokens": 2,
  "gato_jax.env": 3,
  "gato_jax.model": 3,
  "gato_jax.data": 4,
  "gato_jax.train": 4,
  "gato_jax.agent": 5,
  "gato_jax.evaluate": 5,
  "gato_jax.serve": 5,
  "experiments.analysis": 6,
  "experiments": 7,
}

# Domains see the contract that they implement, and nothing of what uses them.
BUILDERS_MAY_IMPORT = (
  "gato_jax.documents",
  "gato_jax.domain",
  "gato_jax.env.loop",
  "gato_jax.errors",
  "gato_jax.progress",
  "gato_jax.randomness",
  "gato_jax.storage.files",
  "gato_jax.task",
)
# They also read the raw logs and their rows.
LOG_READERS = ("rlds_builders.base.rlds_builder", "rlds_builders.base.logged_episodes")
BASE_MAY_IMPORT = (
  "gato_jax.data.freshness",
  "gato_jax.env.logs",
  "gato_jax.env.results",
  "gato_jax.storage.lock",
  "gato_jax.storage.origin",
)
SHARED_BUILDERS = ("base", "files", "planners", "recordings", "scenes", "worlds")

# Third-party package -> a pattern of the files that may import it. Tests and benchmarks may import
# anything.
SIMULATOR_FILES = (
  r"rlds_builders/([^/]+/(environment|doom|assembly|expert|experts/[^/]+)"
  r"|worlds/.*|scenes/(room|grid)_drawing)\.py"
)
TENSORFLOW_FILES = (
  r"gato_jax/data/.*\.py"
  r"|gato_jax/env/tfds_files\.py"  # it writes without TensorFlow
  r"|rlds_builders/base/(rlds_builder|records|recorded_(builder|episodes|source|spec)|tfds_source)\.py"
  r"|rlds_builders/[^/]+/[^/]+_dataset_builder\.py"
)
OWNERS = {
  **dict.fromkeys(
    ("dm_control", "metaworld", "minigrid", "ale_py", "envpool", "miniworld", "vizdoom", "pyglet"),
    SIMULATOR_FILES,
  ),
  "gymnasium": SIMULATOR_FILES,
  "mujoco": SIMULATOR_FILES + r"|rlds_builders/planners/.*\.py",
  **dict.fromkeys(
    ("tensorflow", "tensorflow_datasets", "tensorflow_text", "seqio", "rlds"), TENSORFLOW_FILES
  ),
  "matplotlib": r"experiments/analysis/report/.*\.py",
  "ml_collections": r"experiments/.*\.py",
  "absl.flags": r"(experiments|launch)/.*\.py",
  "absl.app": r"experiments/.*\.py",
}
OWN_PACKAGES = ("gato_jax", "rlds_builders", "experiments", "launch", "benchmarks", "tests")


def imports(source: str, file: str) -> list[tuple[int, str]]:
  """(line, full name) of everything a file imports, at its top or inside functions.

  `from a import b` counts as a.b.
  """
  found = []

  for node in ast.walk(ast.parse(source, file)):
    if isinstance(node, ast.Import):
      found += [(node.lineno, alias.name) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      package = file.removesuffix(".py").split("/")[: -node.level] if node.level else []
      base = ".".join([*package, *([node.module] if node.module else [])])
      found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]

  return found


def under(name: str, package: str) -> bool:
  return name == package or name.startswith(package + ".")


def layer(name: str) -> int | None:
  matches = [package for package in LAYERS if under(name, package)]
  return LAYERS[max(matches, key=len)] if matches else None


def violations(source: str, file: str) -> list[str]:
  """Returns what a file does against the rules, one line each; its path is relative to the root."""
  found = []
  module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
  if len(source.splitlines()) > MAX_LINES:
    found.append(f"{file}: {len(source.splitlines())} lines, more than {MAX_LINES}")
  if set(module.split(".")) & BANNED_NAMES:
    found.append(f"{file}: a name that says nothing; name the file after what it does")
  free = file.startswith(("tests/", "benchmarks/"))
  ours = layer(module)
  if module.startswith("gato_jax.") and ours is None:
    found.append(f"{file}: no layer; give {module} a place in LAYERS (docs/architecture.md)")

  for line, name in imports(source, file):
    where = f"{file}:{line}: imports {name}"
    if free:
      continue
    theirs = layer(name)
    if ours is not None and theirs is not None and theirs > ours:
      found.append(f"{where}, of a higher layer")
    above = ("rlds_builders", "launch", "experiments")
    if under(module, "gato_jax") and any(under(name, package) for package in above):
      found.append(f"{where}: the library knows tasks by their spec, never by name")

    if under(module, "rlds_builders") and under(name, "gato_jax"):
      allowed = (*BUILDERS_MAY_IMPORT, *(BASE_MAY_IMPORT if module in LOG_READERS else []))
      if not any(under(name, package) for package in allowed):
        found.append(f"{where}: builders see only {', '.join(allowed)}")

    if under(module, "rlds_builders") and under(name, "rlds_builders"):
      ours_folder, their_folder = (f"{path}.".split(".")[1] for path in (module, name))
      if their_folder not in (ours_folder, *SHARED_BUILDERS):
        found.append(f"{where}: a domain imports no other; what they share goes to a shared folder")

    for package, pattern in OWNERS.items():
      if under(name, package) and not re.fullmatch(pattern, file):
        found.append(f"{where}: only files matching {pattern} may")

  return found


def files() -> list[pathlib.Path]:
  return sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))


def test_the_tree_keeps_the_rules():
  assert len(files()) > 10
  found = [v for p in files() for v in violations(p.read_text(), p.relative_to(ROOT).as_posix())]
  assert not found, "\n".join(found)


def package(module: str) -> str:
  """The package whose imports must not form a cycle.

  "gato_jax.data", "experiments.analysis.report".
  """
  parts = module.split(".")
  depth = 3 if parts[:2] == ["experiments", "analysis"] else 2
  return ".".join(parts[:depth])


def package_graph(sources: dict[str, str]) -> dict[str, set[str]]:
  """Package -> the packages that its modules import, from file -> source."""
  graph: dict[str, set[str]] = defaultdict(set)

  for file, source in sources.items():
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    for _, name in imports(source, file):
      if name.split(".")[0] in ("gato_jax", "experiments", "rlds_builders", "launch"):
        graph[package(module)].add(package(name))

  return {user: used - {user} for user, used in graph.items()}


def cycle(sources: dict[str, str]) -> list[str]:
  """The packages of one import cycle, or [] where there is none."""
  try:
    graphlib.TopologicalSorter(package_graph(sources)).prepare()
  except graphlib.CycleError as e:
    return e.args[1]
  return []


def test_no_two_packages_import_each_other():
  code = [p for p in files() if p.relative_to(ROOT).parts[0] not in ("tests", "benchmarks")]
  found = cycle({p.relative_to(ROOT).as_posix(): p.read_text() for p in code})
  assert not found, " -> ".join(found)


def test_a_planted_cycle_is_found():
  assert cycle(
    {
      "gato_jax/agent/policy.py": "from gato_jax.serve import server",
      "gato_jax/serve/server.py": "def f():\n  from gato_jax.agent.policy import Policy",
    }
  )


@pytest.mark.parametrize(
  ("file", "source", "message"),
  [
    ("gato_jax/tokens/layout.py", "from gato_jax.model import gato", "higher layer"),
    ("gato_jax/tokens/layout.py", "from gato_jax import train", "higher layer"),
    ("gato_jax/tokens/layout.py", "from ..train import loop", "higher layer"),
    ("gato_jax/task.py", "def f():\n  import gato_jax.tokens.codec", "higher layer"),
    ("gato_jax/model/gato.py", "from gato_jax.agent import Agent", "higher layer"),
    ("gato_jax/env/collect/shards.py", "from gato_jax.evaluate import jobs", "higher layer"),
    ("gato_jax/evaluate/run.py", "from experiments.analysis.report import page", "never by name"),
    ("gato_jax/evaluate/run.py", "import rlds_builders.babyai", "never by name"),
    ("gato_jax/new.py", "", "no layer"),
    ("rlds_builders/babyai/__init__.py", "from gato_jax import model", "builders see only"),
    ("rlds_builders/babyai/__init__.py", "import minigrid", "only files matching"),
    ("rlds_builders/m3w/documents.py", "from rlds_builders.align import stamps", "no other"),
    ("rlds_builders/scenes/rooms.py", "import rlds_builders.playroom.environment", "no other"),
    ("gato_jax/evaluate/run.py", "import mujoco", "only files matching"),
    ("rlds_builders/babyai/environment.py", "import tensorflow as tf", "only files matching"),
    ("gato_jax/train/loop.py", "import seqio", "only files matching"),
    ("gato_jax/train/loop.py", "from matplotlib import pyplot", "only files matching"),
    ("gato_jax/train/loop.py", "from absl import flags", "only files matching"),
    ("gato_jax/utils.py", "", "says nothing"),
    ("gato_jax/train/loop.py", "x = 1\n" * 401, "401 lines"),
  ],
)
def test_a_planted_violation_is_found(file, source, message):
  assert any(message in v for v in violations(source, file)), violations(source, file)


@pytest.mark.parametrize(
  ("file", "source"),
  [
    (
      "gato_jax/train/loop.py",
      "from gato_jax.train import checkpoint\nfrom gato_jax.model import gato\nfrom absl import logging",
    ),
    ("gato_jax/agent/step.py", "from gato_jax.tokens.layout import TokenLayout"),
    ("gato_jax/data/tasks.py", "import seqio\nimport tensorflow_datasets as tfds"),
    ("experiments/analysis/report/page.py", "import matplotlib.figure"),
    (
      "rlds_builders/babyai/environment.py",
      "import minigrid\nfrom rlds_builders.base import wrappers",
    ),
    ("rlds_builders/babyai/babyai_dataset_builder.py", "import tensorflow_datasets as tfds"),
    (
      "rlds_builders/base/rlds_builder.py",
      "import tensorflow as tf\nfrom gato_jax.env import logs, results",
    ),
    ("rlds_builders/planners/mpc.py", "from mujoco import rollout"),
    (
      "experiments/train.py",
      "from absl import app, flags\nfrom gato_jax.train import loop\nimport rlds_builders",
    ),
  ],
)
def test_what_is_allowed_passes(file, source):
  assert not violations(source, file)


def normal(name: str) -> str:
  return re.sub(r"[-_.]+", "-", name).lower()


def pins(*files: str) -> dict[str, str]:
  """Package -> version of the lines name==version of requirements files."""
  lines = (
    line.split("#")[0].strip() for file in files for line in (ROOT / file).read_text().splitlines()
  )
  return {normal(line.split("==")[0]): line.split("==")[1] for line in lines if line}


def test_every_import_is_a_pinned_requirement():
  distributions = importlib.metadata.packages_distributions()
  required = pins(
    "requirements.txt", "benchmarks/requirements.txt", "rlds_builders/procgen/requirements.txt"
  )
  missing = set()

  for path in files():
    file = path.relative_to(ROOT).as_posix()
    for line, name in imports(path.read_text(), file):
      top = name.split(".")[0]
      if (
        top in sys.stdlib_module_names
        or top in OWN_PACKAGES
        or (path.parent / f"{top}.py").exists()
        or any((ROOT / folder / f"{top}.py").exists() for folder in ("tests", "tests/support"))
      ):
        continue

      owners = [normal(d) for d in distributions.get(top, [top])]

      if not any(owner in required for owner in owners):
        missing.add(
          f"{file}:{line}: {top} ({', '.join(owners) or 'not installed'}) is not in requirements.txt"
        )

  assert not missing, "\n".join(sorted(missing))


def test_requirements_agree_with_the_constraints_and_the_environment():
  constraints = pins("constraints.txt")
  for name, version in pins("requirements.txt").items():
    assert constraints.get(name) == version, f"{name}: run `make lock`"
    assert importlib.metadata.version(name) == version, f"{name}: run `make setup`"
