"""What every verb shares: --config, errors in one line, and the config as the library's dataclasses."""

import contextlib
import dataclasses
import faulthandler
import fnmatch
import functools
import io
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import ml_collections
import tqdm
from absl import app, flags, logging
from ml_collections import config_flags

import rlds_builders
from experiments import addresses
from gato_jax import collect, disk, documents, freshness, mixture, specs, studies
from gato_jax.errors import GatoError
from gato_jax.tokens import codec
from rlds_builders import _sources


@dataclasses.dataclass
class Row:
  """A row of the mixture: its share of sequences, divided evenly among its tasks."""

  weight: float
  tasks: list[tuple[specs.Domain, str]] = dataclasses.field(default_factory=list)


_ENDING_SECONDS = 60
_NOWHERE = open(os.devnull, "w")  # the watchdog of _end_soon keeps no reference of its own

ACCEPT = flags.DEFINE_bool(
  "accept_changes", False, "Goes on with data, or with a run, whose sources or settings changed; says what changed."
)
_RUN = flags.DEFINE_string("run", "", "Of the config's study: with its settings, in its folder (experiments/study.py).")


class Experiment:
  """A resolved config.

  Attributes:
    config: the ConfigDict, with the changes of `run`. rows: name -> Row. runs: of its study, none where it has none.
    run: of the study; None: the config as it is.
    raw, tfds: folders of raw logs and of RLDS datasets.
    workdir: of training, its checkpoints and report. results: of what is played; another folder where run.plays.
  """

  def __init__(self, config: ml_collections.ConfigDict, run: str = ""):
    self.runs = studies.read(config.study) if "study" in config else []
    self.run = next((one for one in self.runs if one.name == run), None)
    if run and not self.run:
      specs.check_name(run, [one.name for one in self.runs], f"run of {config.name}")
    home = pathlib.Path(config.workdir or f"work/{config.name}")
    self.workdir = self.results = home / run
    if self.run:
      config = _changed(config, self.run.changes)
      if self.run.starts_from:
        config.fine_tune.start = str(self._workdir_of(home, self.run.starts_from))
      if self.run.plays:
        self.workdir = self._workdir_of(home, self.run.plays)
    self.config = config = _with_one_length(config, self.run.changes if self.run else {})
    data = pathlib.Path(config.data_dir)
    self.raw, self.tfds = data / "raw", data / "tfds"
    self.fine_tune = self.section(mixture.FineTuneConfig, "fine_tune")
    self.rows: dict[str, Row] = {}
    for name, mix in config.domains.items():
      domain = rlds_builders.get(name)
      row = self.rows.setdefault(mix.row, Row(mix.weight))
      if row.weight != mix.weight:
        raise GatoError(f"config.domains: row {mix.row!r} has two weights, {row.weight:g} and {mix.weight:g}")
      for task in tuple(mix.tasks) or (t for t in domain.tasks if t not in domain.held_out):
        domain.check_task(task)
        row.tasks.append((domain, task))

  def _workdir_of(self, home: pathlib.Path, before: str) -> pathlib.Path:
    """Of a run's `starts_from` or `plays`; a run that itself plays another has its checkpoints."""
    while not studies.is_workdir(before):
      run = next(one for one in self.runs if one.name == before)
      if not run.plays:
        return home / before
      before = run.plays
    return pathlib.Path(before)

  @functools.cached_property
  def all_tasks(self) -> list[tuple[specs.Domain, str]]:
    """What has to be collected and built: the mixture, held out or not, and what is tuned on, played or looked at.

    Of a study: of all its runs.
    """
    if self.runs and not self.run:
      every = [Experiment(self.config, run.name).all_tasks for run in self.runs]
    else:
      every = [[one for row in self.rows.values() for one in row.tasks], self._fine_tuned, self._asked_to_play]
      every.append(self.looked_at)
    return list({name_of(*one): one for tasks in every for one in tasks}.values())

  @functools.cached_property
  def _fine_tuned(self) -> list[tuple[specs.Domain, str]]:
    return [one for pattern in self.fine_tune.tasks for one in self._matching(pattern, "fine_tune.tasks")]

  @functools.cached_property
  def _asked_to_play(self) -> list[tuple[specs.Domain, str]]:
    return [one for pattern in self.config.evaluate.tasks for one in self._matching(pattern, "evaluate.tasks")]

  @functools.cached_property
  def looked_at(self) -> list[tuple[specs.Domain, str]]:
    """config.interpret.tasks: what experiments.interpret looks at beside the tasks that train."""
    return [one for pattern in self.config.interpret.tasks for one in self._matching(pattern, "interpret.tasks")]

  def _matching(self, pattern: str, setting: str) -> list[tuple[specs.Domain, str]]:
    """The tasks of "domain.task", * and ? for any letters; of "domain" those in the mixture, else its usual ones."""
    name, dot, task = pattern.partition(".")
    domain = rlds_builders.get(name)
    if not dot:
      in_mixture = [one for row in self.rows.values() for one in row.tasks if one[0].name == name]
      return in_mixture or [(domain, task) for task in domain.tasks if task not in domain.held_out]
    found = [(domain, one) for one in domain.tasks if fnmatch.fnmatchcase(one, task)]
    if not found:
      specs.check_name(task, domain.tasks, f"task of {name} in {setting}")
    return found

  @functools.cached_property
  def held_out(self) -> set[str]:
    """ "domain.task" of everything that config.held_out names: never in the mixture. A domain stands for all of it."""
    patterns = [pattern if "." in pattern else f"{pattern}.*" for pattern in self.config.held_out]
    return {name_of(*one) for pattern in patterns for one in self._matching(pattern, "held_out")}

  @functools.cached_property  # asked for often; every time it would look for hundreds of datasets
  def tasks(self) -> list[tuple[specs.Domain, str]]:
    """Those that train: the mixture less what is held out, or what is fine-tuned on, and with `replay` the rest too.

    With `leave_out_missing` only those with a dataset.
    """
    tuned = {name_of(*one): one for one in self._fine_tuned}
    out = self.held_out | tuned.keys()
    mixed = [one for row in self.rows.values() for one in row.tasks if name_of(*one) not in out]
    tasks = [*tuned.values(), *(mixed if self.fine_tune.replay or not tuned else ())]
    if not self.config.leave_out_missing:
      return tasks
    return [(domain, task) for domain, task in tasks if self.dataset(domain, task).exists()]

  @property
  def control_tasks(self) -> list[tuple[specs.Domain, str]]:
    """Those that are played: config.evaluate.tasks, or all that train and have an environment to act in."""
    return [(domain, task) for domain, task in self._asked_to_play or self.tasks if domain.environment]

  @functools.cached_property
  def weights(self) -> dict[str, float]:
    """ "domain.task" -> share of sequences, of the tasks that train; a row's share is that of those it has left."""
    trained, mixed = {name_of(*one) for one in self.tasks}, {}
    tuned = [name_of(*one) for one in self._fine_tuned]
    for row in self.rows.values():
      names = [name for name in (name_of(*one) for one in row.tasks) if name in trained and name not in tuned]
      mixed |= {name: row.weight / len(names) for name in names}
    if not tuned:
      return mixed
    replay, total = self.fine_tune.replay, sum(mixed.values())
    if replay and not mixed:
      raise GatoError(f"fine_tune.replay={replay:g}, but the mixture has nothing besides {', '.join(tuned)}")
    return {name: (1 - replay) / len(tuned) for name in tuned} | {
      name: replay * weight / total for name, weight in mixed.items()
    }

  @property
  def subsets(self) -> dict[str, int]:
    """ "domain.task" -> so many of its episodes train; 0: all."""
    return {name_of(*one): self.fine_tune.episodes for one in self._fine_tuned}

  def dataset(self, domain: specs.Domain, task: str) -> pathlib.Path:
    """What TFDS keeps beside a dataset's records, readable without TensorFlow: simulators may be in this process."""
    return self.tfds / domain.name / task / "1.0.0" / "metadata.json"

  def stale(self, domain: specs.Domain, task: str) -> str:
    """Names what changed since a task's dataset was built, and since its episodes were collected; "" where nothing."""
    metadata = self.dataset(domain, task)
    if not metadata.exists():
      return ""
    settings = self.section(collect.CollectConfig, "collect").settings_of(domain.name).origin
    side = self.section(documents.PictureConfig, "pictures").side
    now = freshness.expected(domain, task, self.raw, settings=settings, side=side, sources=_sources.sources_directory())
    return freshness.stale(metadata, now)

  def refuse_stale(self, tasks: Iterable[tuple[specs.Domain, str]], accept: bool) -> None:
    """Raises GatoError where a dataset is not what its sources are now; with `accept` only says so."""
    stale = {name_of(*one): why for one in tasks if (why := self.stale(*one))}
    if not stale:
      return
    name, why = next(iter(stale.items()))
    others = f" (and {len(stale) - 1} more tasks)" if len(stale) > 1 else ""
    line = f"the dataset of {name} is not what its sources are now: {why}{others}"
    if not accept:
      raise GatoError(
        f"{line}; run python -m experiments.collect and .build with this config, or go on with --accept_changes"
      )
    print(f"{line}; going on", file=sys.stderr)

  def left_out(self) -> list[str]:
    """A line for each row of which nothing trains: how to get it; GatoError where no row has anything."""
    lines, trained = [], self.tasks
    if self.rows and not trained:
      raise GatoError(f"no row of the mixture has a dataset in {self.tfds}; run experiments.collect and .build")
    for name, row in self.rows.items() if not self._fine_tuned else ():
      if any(one in trained or name_of(*one) in self.held_out for one in row.tasks):
        continue
      domains = {domain.name: domain for domain, _ in row.tasks}
      played = any(domain.environment for domain in domains.values())
      verb = "collect, then experiments.build" if played else "build says what it needs"
      lines.append(
        f"left out: {name} ({row.weight:g}), no dataset of {', '.join(domains)}: python -m experiments.{verb}"
      )
    return lines

  def text_codec(self) -> codec.TextCodec:
    """Of --config.tokenizer."""
    return codec.text_codec(self.config.tokenizer)

  def section(self, dataclass: type, section: str, **more: Any) -> Any:
    """A section of the config as the dataclass that the library reads."""
    return dataclass(**self.config[section].to_dict(), **more)


def name_of(domain: specs.Domain, task: str) -> str:
  """ "domain.task"."""
  return f"{domain.name}.{task}"


def _given() -> set[str]:
  """Returns the settings that the command line names."""
  return {a.removeprefix("--config.").partition("=")[0] for a in sys.argv if a.startswith("--config.")}


def _with_one_length(config: ml_collections.ConfigDict, changes: Mapping[str, Any]) -> ml_collections.ConfigDict:
  """Of train.steps and train.minutes the one said last counts: on the command line, by a study's run, in the file.

  A file with both, or a command line with both, stays as it is: training refuses it.
  """
  if config.train.steps is None or config.train.minutes is None:
    return config
  both = {"train.steps", "train.minutes"}
  for said in (_given() & both, changes.keys() & both):
    if said:
      config = config.copy_and_resolve_references()
      config.update_from_flattened_dict(dict.fromkeys(both - said))
      return config
  return config


def _changed(config: ml_collections.ConfigDict, changes: Mapping[str, Any]) -> ml_collections.ConfigDict:
  """A copy with the changes of a run, those left out that the command line says otherwise."""
  given = _given()
  config = config.copy_and_resolve_references()
  with _config_errors():
    config.update_from_flattened_dict({name: value for name, value in changes.items() if name not in given})
  return config


def section_of(instance: Any, *without: str) -> ml_collections.ConfigDict:
  """A dataclass's defaults as a config section; fields that may be None keep their type."""
  section = ml_collections.ConfigDict()
  for field in dataclasses.fields(instance):
    value = getattr(instance, field.name)
    if field.name in without:
      continue
    if value is None:
      value = ml_collections.config_dict.placeholder(int if "int" in str(field.type) else float)
    section[field.name] = ml_collections.ConfigDict(value) if isinstance(value, dict) else value
  return section


def run(main: Callable[[Experiment], None]) -> None:
  """Runs a verb on --config; bad input ends in one line and exit status 1, a bug keeps its traceback."""
  with _config_errors():  # overrides of the default config are read here, those of a --config by the parser
    config = config_flags.DEFINE_config_file(
      "config", "experiments/configs/demo.py", "Experiment config; override as --config.train.steps=1000."
    )

  def with_experiment() -> None:
    if not isinstance(config.value, ml_collections.ConfigDict):  # a stand-in for a file that could not be read
      path = next(a.partition("=")[2] for a in sys.argv if a.startswith("--config="))
      raise GatoError(f"no config file {path!r}; experiments/configs/ holds them")
    main(Experiment(config.value, _RUN.value))

  run_without_config(with_experiment)


def run_without_config(main: Callable[[], None]) -> None:
  """The same for verbs with flags of their own."""

  def guarded(argv: list[str]) -> None:
    if len(argv) > 1:
      _fail(f"unknown argument {argv[1]!r}; options look like --config.train.steps=1000, --help lists them")
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_handler().python_handler.stream = _AboveBars()
    try:
      message = _error_of(main)
    except BaseException:
      _end_soon()
      raise
    if message is not None:
      _end_soon()
      _fail(message)

  def parse(argv: list[str]) -> list[str]:
    with _config_errors():
      return app.parse_flags_with_usage(argv)

  app.run(guarded, flags_parser=parse)


def _error_of(main: Callable[[], None]) -> str | None:
  """Runs a verb; returns the line to end with where the user can mend what went wrong, None where it went well.

  Returned and not raised: an exception on its way out keeps every object alive that was in use where it was raised,
  iterators of TensorFlow among them, and Python must not destroy those while it ends (gato_jax/data/pipeline.py).
  """
  try:
    addresses.refuse()
    main()
  except GatoError as e:
    return str(e)
  except KeyboardInterrupt:
    return "interrupted; run the same command again to continue"
  except Exception as e:
    full = disk.failure(e)
    if full is None:
      raise
    return str(full)
  return None


def _end_soon() -> None:
  """Ends the process with status 1 where it has not ended by itself in a while; called before an error is printed.

  What a verb writes is closed by then, by the contexts that the error has left. What is left are threads of libraries:
  one that waits for another that is gone must not keep a script waiting that would see the error.
  """
  faulthandler.dump_traceback_later(_ENDING_SECONDS, exit=True, file=_NOWHERE)


class _AboveBars(io.TextIOBase):
  """Where log lines go: to stderr, above a progress bar that is being drawn there."""

  def write(self, text: str) -> int:
    tqdm.tqdm.write(text, file=sys.stderr, end="")
    return len(text)


@contextlib.contextmanager
def _config_errors() -> Iterator[None]:
  """A key or value that ml_collections refuses ends in one line; a bug in a config file keeps its traceback."""
  try:
    yield
  except (AttributeError, KeyError, OSError, TypeError, ValueError) as e:
    if "ml_collections" not in _raised_in(e):
      raise
    _fail(f"config: {_one_line(e)}")


def _one_line(error: BaseException) -> str:
  """The error's text without line breaks, quotes upon quotes and the paths that were tried twice."""
  text = str(error.args[0] if error.args else error).replace("\\n", " ").replace("\\'", "")
  return " ".join(text.replace("'", "").split())


def _raised_in(error: BaseException) -> str:
  """The file whose code raised `error`."""
  trace = error.__traceback__
  while trace.tb_next:
    trace = trace.tb_next
  return trace.tb_frame.f_code.co_filename


def _fail(message: str) -> None:
  print(f"error: {message}", file=sys.stderr)
  sys.exit(1)
