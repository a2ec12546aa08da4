"""Validates a domain before anyone trains on it: python -m experiments.check --domain=NAME

Holds each environment against its specs and dm_env's contract, collects and builds what is missing
(a few episodes of each task), then reads every record back in a process of its own. A task with a
fault gets a line that begins with FAIL, the others continue, and the exit status is 1.
"""

import json
import multiprocessing
import pathlib
import signal
import sys

from absl import flags

import rlds_builders
from experiments import cli
from experiments import collect as collect_verb
from gato_jax import errors, progress
from gato_jax.documents import ImageConfig
from gato_jax.domain import SimulatedDomain, environment_task_spec
from gato_jax.env import collect, contract
from gato_jax.errors import GatoError
from gato_jax.evaluate import reference_scores
from gato_jax.randomness import FIRST_EVALUATION_SEED
from gato_jax.storage import files
from gato_jax.task import check_environment
from gato_jax.tokens import codec, layout

_DOMAIN = flags.DEFINE_string(
  "domain", None, "Name of the domain, a folder of rlds_builders/.", required=True
)
_TASKS = flags.DEFINE_list(
  "tasks", None, "Names of the tasks to check; all tasks of the domain by default."
)
_EPISODES = flags.DEFINE_integer(
  "episodes",
  10,
  "Number of expert episodes of each task, collected where they are missing; with 0 and "
  "--write_scores nothing but the scores is measured.",
  0,
)
_DATA_DIR = flags.DEFINE_string(
  "data_dir", "data", "Folder that raw logs and datasets are written to."
)
_LENGTH = flags.DEFINE_integer(
  "sequence_length", 1024, "Number of tokens in the windows whose reading is timed."
)
_WRITE_SCORES = flags.DEFINE_bool(
  "write_scores",
  False,
  "Measures random and expert returns of --tasks and writes them into the domain's scores.json; "
  "other tasks keep theirs.",
)
_SCORE_EPISODES = flags.DEFINE_integer(
  "score_episodes",
  reference_scores.EPISODES,
  "With --write_scores: number of the expert's episodes of each task.",
)
_RANDOM_EPISODES = flags.DEFINE_integer(
  "random_episodes",
  reference_scores.RANDOM_EPISODES,
  "With --write_scores: number of episodes of random actions of each task; fewer where they are "
  "slow.",
)
_SCORES_OF = flags.DEFINE_multi_enum(
  "scores_of",
  list(reference_scores.ACTORS),
  reference_scores.ACTORS,
  "With --write_scores: measures only this actor; the numbers of the other one are kept.",
)
_TOKENIZER = flags.DEFINE_string(
  "tokenizer",
  "",
  "Path of a SentencePiece model; the one that ships with the library by default.",
)
_SIDE = flags.DEFINE_integer(
  "image_side", ImageConfig.side, "Pixels of the longer side of images in documents."
)


def environment_faults(domain: SimulatedDomain, task: str, text: codec.TextCodec) -> list[str]:
  """Returns what is wrong with a task's environment before anyone plays it, one line for each."""
  try:
    environment = domain.make_environment(task)
    try:
      spec = environment_task_spec(domain, task, environment)
      # The layout refuses specs that cannot be tokenised.
      layout.TokenLayout(spec, text)
      broken_rules = contract.broken_rules(environment)
      check_environment(spec, environment)
    finally:
      environment.close()
  except GatoError as e:
    return [str(e)]
  except Exception as e:
    # A fault of the simulator or of its wrapper, which the author of the domain has to mend.
    return [errors.describe(e)]

  return [f"breaks dm_env's contract (dm_env.test_utils): {rule}" for rule in broken_rules]


def fail(task: str, fault: object) -> None:
  """Prints the line of a fault; many faults already begin with their task."""
  message = str(fault).removeprefix(f"{task}: ").removeprefix(f"{task}, ")
  print(f"FAIL {task}: {message}", flush=True)


def check_datasets(
  domain: str,
  tasks: list[str],
  data_dir: pathlib.Path,
  sequence_length: int,
  tokenizer: str,
  side: int,
) -> None:
  """Builds, prepares and checks the datasets of tasks, and ends the process with the exit status.

  It runs in a process of its own: TensorFlow and simulators do not share one.

  Args:
    domain: Name of the domain.
    tasks: Short names of its tasks.
    data_dir: Directory of raw logs and datasets.
    sequence_length: Tokens in the windows whose reading is timed.
    tokenizer: Path of a SentencePiece model; "" takes the one of the library.
    side: Pixels of the longer side of images in documents.
  """
  from experiments.analysis.view import content
  from gato_jax.data import check, prepare, prepared
  from rlds_builders.base import rlds_builder

  text = codec.text_codec(tokenizer)
  raw, tfds_dir = data_dir / "raw", data_dir / "tfds"

  facts_by_task = {}
  for task in tasks:
    name = f"{domain}.{task}"
    try:
      declared = rlds_builders.get(domain)
      source = rlds_builder.episode_source(declared, task)
      rlds_builder.build(declared, task, raw=raw, tfds_dir=tfds_dir, side=side, copy_recorded=False)
      prepare.prepare(tfds_dir, name, text, source=source)
    except GatoError as e:
      fail(name, e)
      continue

    facts = check.report(tfds_dir, name, sequence_length, text, source)
    # The report of a dataset with problems has printed them and is empty.
    if facts:
      facts_by_task[name] = facts

    # Nothing here breaks training; experiments.view shows where it is.
    data = prepared.load(tfds_dir, name)
    if isinstance(data, prepared.PreparedEpisodes):
      for finding in content.look(data, text):
        print(f"note {name}: {finding.kind}: {finding.text}", flush=True)

  print(check.layouts(facts_by_task), end="")
  sys.exit(0 if len(facts_by_task) == len(tasks) else 1)


def write_scores(domain: SimulatedDomain, tasks: list[str]) -> None:
  """Measures the random and the expert returns of tasks into the domain's scores.json."""
  path = rlds_builders.scores_path(domain.name)
  scores = json.loads(path.read_text()) if path.exists() else {}

  for task in progress.Bar(tasks, desc="measure scores", unit="task"):
    measured = reference_scores.measure(
      domain,
      task,
      FIRST_EVALUATION_SEED,
      episodes=_SCORE_EPISODES.value,
      random_episodes=_RANDOM_EPISODES.value,
      actors=_SCORES_OF.value,
    )

    # Written after every task, so that a killed run keeps what it has measured.
    scores[task] = reference_scores.replaced(scores.get(task, {}), measured)
    scores["how"] = reference_scores.how(domain)
    files.write(path, json.dumps(scores, indent=1, sort_keys=True) + "\n")


def check_environments(
  domain: SimulatedDomain, tasks: list[str], data_dir: pathlib.Path
) -> list[str]:
  """Checks the environments of `tasks`, collects those without a fault, and returns their names."""
  text = codec.text_codec(_TOKENIZER.value)

  sound_tasks = []
  for task in tasks:
    faults = environment_faults(domain, task, text)
    for fault in faults:
      fail(f"{domain.name}.{task}", fault)
    if not faults:
      sound_tasks.append(task)

  if sound_tasks:
    collection = collect.Collection(
      [(domain, task) for task in sound_tasks],
      data_dir / "raw",
      collect.CollectConfig(episodes=_EPISODES.value),
      accept=cli.ACCEPT.value,
      as_collected=True,
    )
    collect_verb.run(collection)

  return sound_tasks


def main() -> None:
  domain = rlds_builders.get(_DOMAIN.value)
  data_dir = pathlib.Path(_DATA_DIR.value)
  tasks = _TASKS.value or list(domain.tasks)
  for task in tasks:
    domain.check_task(task)

  if _WRITE_SCORES.value and isinstance(domain, SimulatedDomain):
    write_scores(domain, tasks)
    if not _EPISODES.value:
      return

  if isinstance(domain, SimulatedDomain):
    sound_tasks = check_environments(domain, tasks, data_dir)
  else:
    sound_tasks = tasks
  if not sound_tasks:
    sys.exit(1)

  process = multiprocessing.get_context("spawn").Process(
    target=check_datasets,
    kwargs={
      "domain": domain.name,
      "tasks": sound_tasks,
      "data_dir": data_dir,
      "sequence_length": _LENGTH.value,
      "tokenizer": _TOKENIZER.value,
      "side": ImageConfig(_SIDE.value).side,
    },
  )
  process.start()
  process.join()
  assert process.exitcode is not None  # the process was joined

  # A negative exit code is the number of a signal.
  if process.exitcode < 0:
    signal_name = signal.Signals(-process.exitcode).name
    raise GatoError(f"the process that reads the datasets was ended by {signal_name}")
  sys.exit(process.exitcode or len(sound_tasks) < len(tasks))


if __name__ == "__main__":
  cli.run_without_config(main)
