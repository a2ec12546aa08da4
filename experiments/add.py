"""Adds a domain of recorded episodes, or of a gymnasium environment.

python -m experiments.add --from=PATH --name=NAME

PATH is a LeRobot dataset, a Minari dataset, an HDF5 file of robomimic or D4RL, a folder of .npz
episodes, or RLDS that TFDS wrote; "tfds:NAME" takes a dataset of TFDS' catalogue, such as one of
Open X-Embodiment. The episodes are looked through, a folder rlds_builders/NAME is written that
declares how they are read, and a config experiments/configs/NAME.py, and experiments.check builds
them and reads them back.

--from=gymnasium:ID, or gymnasium:MODULE:ID, takes an environment instead, e.g. gymnasium:Taxi-v4.
Its specs follow from its spaces; what is left to write is its expert, rlds_builders/NAME/expert.py.
"""

import pathlib
import re
import subprocess
import sys

import rich.table
from absl import flags

import rlds_builders
from experiments import cli, configs
from experiments.analysis.adding import location
from experiments.analysis.report import console as terminal
from gato_jax.domain import RecordedDomain
from gato_jax.errors import GatoError
from gato_jax.tokens import codec, layout

_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")

_FROM = flags.DEFINE_string(
  "from", None, "Path or source of the episodes, or gymnasium:ID.", required=True
)
_NAME = flags.DEFINE_string("name", None, "Name of the new domain.", required=True)
_TASK = flags.DEFINE_string(
  "task", "", "Name of its task; by default that of the file or folder of the episodes."
)
_EPISODES = flags.DEFINE_integer("episodes", 1000, "Episodes to look through.", 1)
_CHECK = flags.DEFINE_bool("check", True, "Builds the dataset and reads it back.")
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder of the dataset that --check builds.")


_SETTING = flags.DEFINE_multi_string(
  "setting", [], "With gymnasium: an argument of gymnasium.make, such as max_episode_steps=200."
)

_GYMNASIUM = "gymnasium:"


def main() -> None:
  if _FROM.value.startswith(_GYMNASIUM):
    add_environment(_FROM.value.removeprefix(_GYMNASIUM))
  else:
    add_episodes()


def add_environment(environment: str) -> None:
  """Writes the folder and the config of a gymnasium environment."""
  from experiments.analysis.adding import config, gymnasium_domain

  task = _TASK.value or _task_name(f":{environment.rpartition(':')[2]}")
  folder = _folder(task)
  if folder.exists():
    raise GatoError(f"{folder} exists: choose another --name")

  settings = gymnasium_domain.settings_of(_SETTING.value)
  spec = gymnasium_domain.write(folder, _NAME.value, task, environment, settings)

  tokens = layout.TokenLayout(spec, codec.default_text_codec())
  path = config.write(_configs(), _NAME.value, tokens.length, is_played=True)
  print(tokens.describe())
  print(f"add: {folder} has the domain; write its expert, {folder / 'expert.py'}, then")
  print(f"  python -m experiments.check --domain={_NAME.value} --episodes=2 --data_dir=work/try")
  print(f"  python -m experiments.check --domain={_NAME.value} --episodes=0 --write_scores")
  print(f"add: {path} trains on it; its first lines say how")


def _folder(task: str) -> pathlib.Path:
  """Returns the folder of the new domain.

  Raises:
    GatoError: The names are no identifiers.
  """
  for what, value in (("name", _NAME.value), ("task", task)):
    if not _IDENTIFIER.fullmatch(value):
      raise GatoError(f"--{what}={value!r}: small letters, digits and '_' only, a letter first")

  return pathlib.Path(rlds_builders.__file__).parent / _NAME.value


def _configs() -> pathlib.Path:
  return pathlib.Path(configs.__file__).parent


def add_episodes() -> None:
  """Writes the folder and the config of recorded episodes, and checks them."""
  from experiments.analysis.adding import config, declaration, survey  # TensorFlow
  from rlds_builders.base import recorded_source, recorded_spec

  dataset = location.dataset_of(_FROM.value)
  task = _TASK.value or _task_name(dataset)
  folder = _folder(task)

  surveyed = survey.survey(dataset, _EPISODES.value, codec.default_text_codec())
  proposal = declaration.propose(surveyed)
  declaration.write(folder, _NAME.value, task, proposal)

  _show(surveyed, proposal)
  print(f"add: {folder / '__init__.py'} declares {_NAME.value}.{task}; read it, and change it")

  domain = rlds_builders.get(_NAME.value)
  assert isinstance(domain, RecordedDomain)  # it was written as one
  spec = recorded_spec.task_spec(domain, task, recorded_source.load(proposal.source))
  path = config.write(
    _configs(),
    _NAME.value,
    layout.TokenLayout(spec, codec.default_text_codec()).length,
    is_played=False,
    has_validation=bool(proposal.source.validation_split),
  )
  print(f"add: {path} trains on it; its first lines say how")

  if _CHECK.value:
    command = [sys.executable, "-m", "experiments.check", f"--domain={_NAME.value}"]
    status = subprocess.run([*command, f"--data_dir={_DATA_DIR.value}"], check=False).returncode
    if status:
      raise GatoError(
        f"the check failed: change {folder / '__init__.py'} as it says, then "
        f"python -m experiments.check --domain={_NAME.value}"
      )


def _task_name(dataset: str) -> str:
  """Returns a name for the task, from the last part of a path or name that is no version."""
  parts = [part for part in dataset.partition(":")[2].replace(":", "/").split("/") if part]
  named = [part for part in parts if not part.replace(".", "").isdigit()] or ["episodes"]
  stem = named[-1].split(".")[0].lower()
  name = "".join(letter if letter.isalnum() else "_" for letter in stem).strip("_")

  return name if name[:1].isalpha() else f"task_{name}"


def _show(surveyed, proposal) -> None:
  """Prints the fields with what becomes of them, and what was noticed."""
  keys = {path: key for key, path in proposal.source.observation.items()}
  result = rich.table.Table("field", "shape", "holds", "becomes", box=None, pad_edge=False)

  for path, field in surveyed.fields.items():
    if field.numbers is not None:
      holds = f"{field.numbers.minimum.min():.4g} to {field.numbers.maximum.max():.4g}"
    else:
      holds = "images" if field.kind == "image" else ", ".join(map(repr, field.examples[:2]))

    becomes = keys.get(path, "")
    if path in proposal.source.action:
      becomes = "the action"
    elif path.startswith("observation/") and keys.get(path) in proposal.source.image_range:
      becomes += ", an image"
    elif keys.get(path) in proposal.source.observation_bounds:
      becomes += ", scaled"
    result.add_row(path, str(list(field.shape)), holds, becomes or "[dim]-[/dim]")

  terminal.fitting(None, result).print(result, highlight=False)
  splits = ", ".join(f"{name} {count:,}" for name, count in surveyed.splits.items())
  print(
    f"{len(surveyed.lengths):,} episodes of {min(surveyed.lengths)} to {max(surveyed.lengths)} "
    f"steps looked through; splits: {splits or 'unknown'}"
  )
  if proposal.left_out:
    print(f"left out: {', '.join(proposal.left_out)}")
  for remark in proposal.remarks:
    print(f"note: {remark}")


if __name__ == "__main__":
  cli.run_without_config(main)
