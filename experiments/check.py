"""Validates a domain before anyone trains on it: python -m experiments.check --domain=NAME

Holds each environment against its specs and dm_env's contract, plays and builds what is missing (a few episodes a
task), then reads every record back in a process of its own. A task with a fault gets a line that begins with FAIL, the
others go on, and the exit status is 1.
"""

import json
import multiprocessing
import pathlib
import signal
import sys

import tqdm
from absl import flags

import rlds_builders
from experiments import cli
from experiments import collect as collect_verb
from gato_jax import collect, environment_contract, errors, evaluate, files, scores_json, specs
from gato_jax.documents import PictureConfig
from gato_jax.errors import GatoError
from gato_jax.tokens import codec, layout

_DOMAIN = flags.DEFINE_string("domain", None, "A folder of rlds_builders/.", required=True)
_TASKS = flags.DEFINE_list("tasks", None, "Some of its tasks; all by default.")
_EPISODES = flags.DEFINE_integer(
  "episodes", 10, "Expert episodes a task, collected where they are missing; 0 with --write_scores measures only.", 0
)
_DATA_DIR = flags.DEFINE_string("data_dir", "data", "Raw logs and datasets.")
_LENGTH = flags.DEFINE_integer("sequence_length", 1024, "Of the windows whose reading is timed.")
_WRITE_SCORES = flags.DEFINE_bool(
  "write_scores", False, "Measures random and expert returns of --tasks into scores.json; the other tasks' stay there."
)
_SCORE_EPISODES = flags.DEFINE_integer("score_episodes", scores_json.EPISODES, "Of the expert a task, --write_scores.")
_RANDOM_EPISODES = flags.DEFINE_integer(
  "random_episodes", scores_json.RANDOM_EPISODES, "Of random actions a task, --write_scores; fewer where they are slow."
)
_SCORES_OF = flags.DEFINE_multi_enum(
  "scores_of", list(scores_json.ACTORS), scores_json.ACTORS, "Measures one of the two only; the other's numbers stay."
)

_TOKENIZER = flags.DEFINE_string("tokenizer", "", "A SentencePiece model; the one that ships when empty.")
_SIDE = flags.DEFINE_integer("picture_side", PictureConfig.side, "Of pictures in documents, pixels.")


def environment_faults(domain: specs.Domain, task: str, text: codec.TextCodec) -> list[str]:
  """Returns what is wrong with a task's environment before anyone plays it, one line each."""
  try:
    environment = domain.make_environment(task)
    try:
      spec = specs.environment_task_spec(domain, task, environment)
      layout.TokenLayout(spec, text)  # it refuses specs of which there are no tokens
      broken = environment_contract.broken_rules(environment)
      specs.check_environment(spec, environment)
    finally:
      environment.close()
  except GatoError as e:
    return [str(e)]
  except Exception as e:  # a fault of the simulator or of its wrapper, for the author of the domain to mend
    return [errors.describe(e)]

  return [f"breaks dm_env's contract (dm_env.test_utils): {rule}" for rule in broken]


def fail(task: str, fault: object) -> None:
  """Prints the line of a fault; many faults name their task already."""
  said = str(fault).removeprefix(f"{task}: ").removeprefix(f"{task}, ")
  print(f"FAIL {task}: {said}", flush=True)


def check_datasets(
  domain: str, tasks: list[str], data_dir: pathlib.Path, sequence_length: int, tokenizer: str, side: int
) -> None:
  """Runs in its own process: TensorFlow and simulators do not share one. Exit status 1 when something is wrong."""
  from gato_jax.data import check, prepare
  from rlds_builders import _builder

  text = codec.text_codec(tokenizer)
  found = {}
  for task in tasks:
    name = f"{domain}.{task}"
    try:
      _builder.build(rlds_builders.get(domain), task, data_dir / "raw", data_dir / "tfds", side)
      prepare.prepare(data_dir / "tfds", name, text)
    except GatoError as e:
      fail(name, e)
    else:
      found[name] = check.report(data_dir / "tfds", name, sequence_length, text)

  sound = {name: facts for name, facts in found.items() if facts}
  print(check.layouts(sound), end="")
  sys.exit(0 if len(sound) == len(tasks) else 1)


def write_scores(domain: specs.Domain, tasks: list[str]) -> None:
  """Task by task, so that a killed run keeps what it measured."""
  path = rlds_builders.scores_path(domain.name)
  scores = json.loads(path.read_text()) if path.exists() else {}
  for task in tqdm.tqdm(tasks, desc="measure scores", unit="task"):
    measured = scores_json.measure(
      domain, task, evaluate.FIRST_SEED, _SCORE_EPISODES.value, _RANDOM_EPISODES.value, _SCORES_OF.value
    )
    scores[task] = scores_json.replaced(scores.get(task, {}), measured)
    scores["how"] = scores_json.how(domain)
    files.write(path, json.dumps(scores, indent=1, sort_keys=True) + "\n")


def main() -> None:
  domain, data_dir = rlds_builders.get(_DOMAIN.value), pathlib.Path(_DATA_DIR.value)
  tasks = _TASKS.value or list(domain.tasks)
  for task in tasks:
    domain.check_task(task)

  if _WRITE_SCORES.value and domain.environment:
    write_scores(domain, tasks)
    if not _EPISODES.value:  # only the scores are asked for
      return

  sound = play(domain, tasks, data_dir) if domain.environment else tasks
  if not sound:
    sys.exit(1)

  spawn = multiprocessing.get_context("spawn")
  arguments = (domain.name, sound, data_dir, _LENGTH.value, _TOKENIZER.value, PictureConfig(_SIDE.value).side)
  process = spawn.Process(target=check_datasets, args=arguments)
  process.start()
  process.join()
  if process.exitcode < 0:
    raise GatoError(f"the process that reads the datasets was ended by {signal.Signals(-process.exitcode).name}")
  sys.exit(process.exitcode or len(sound) < len(tasks))


def play(domain: specs.Domain, tasks: list[str], data_dir: pathlib.Path) -> list[str]:
  """Checks the environments of `tasks` and collects those without a fault; returns which they are."""
  text = codec.text_codec(_TOKENIZER.value)
  sound = []
  for task in tasks:
    faults = environment_faults(domain, task, text)
    for fault in faults:
      fail(f"{domain.name}.{task}", fault)
    if not faults:
      sound.append(task)

  if not sound:
    return []
  pairs = [(domain, task) for task in sound]
  config = collect.CollectConfig(episodes=_EPISODES.value)
  collect_verb.run(collect.Collection(pairs, data_dir / "raw", config, cli.ACCEPT.value, as_collected=True))
  return sound


if __name__ == "__main__":
  cli.run_without_config(main)
