"""A resolved config: its tasks, their weights, its directories, and its sections as dataclasses."""

import dataclasses
import functools
import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import ml_collections

import rlds_builders
from experiments.analysis import studies
from experiments.cli import settings
from gato_jax import documents
from gato_jax.data import freshness, mirror, mixture
from gato_jax.domain import Domain, SimulatedDomain
from gato_jax.env import collect
from gato_jax.errors import GatoError, check_name
from gato_jax.storage import paths
from gato_jax.tokens import codec
from rlds_builders.base import sources


@dataclasses.dataclass
class MixtureRow:
  """A row of the mixture.

  Attributes:
    weight: The row's share of sequences, divided evenly among its tasks.
    tasks: Domain and name of each task.
  """

  weight: float
  tasks: list[tuple[Domain, str]] = dataclasses.field(default_factory=list)


def name_of(domain: Domain, task: str) -> str:
  """Returns "domain.task"."""
  return f"{domain.name}.{task}"


class Experiment:
  """A config, resolved.

  Attributes:
    config: The ConfigDict, with the changes of `run`.
    rows: Name -> row of the mixture.
    runs: The runs of the config's study; empty where the config has no study.
    run: The chosen run of the study, or None for the config as it is.
    raw: Directory of raw logs, which are never looked for in a bucket.
    workdir: Directory of the training run: its checkpoints and its report.
    results: Directory of what is played. It differs from `workdir` where the run plays another
      run's checkpoint.
    corrections: Directory of the corrections of the run's policy (experiments/dagger.py), with raw
      logs and datasets like the data directory.
    fine_tune: The section `fine_tune`.
  """

  def __init__(self, config: ml_collections.ConfigDict, run: str = ""):
    """Resolves a config.

    Args:
      config: The config as its file and the command line have it.
      run: Name of a run of its study; "" takes the config as it is.

    Raises:
      GatoError: A run, a domain or a task is unknown, or settings contradict each other.
    """
    self.runs = studies.read(config.study) if "study" in config else []
    self.run = next((candidate for candidate in self.runs if candidate.name == run), None)
    if run and not self.run:
      check_name(run, [candidate.name for candidate in self.runs], f"run of {config.name}")

    # Without a run the name is empty, and the directory that of the config itself.
    home = paths.path(config.workdir or f"work/{config.name}")
    self.workdir = self.results = home / run

    # The order matters: what the run changes may be one of the settings that are resolved next.
    if self.run:
      config = settings.with_changes(config, self.run.changes)
      if self.run.starts_from:
        config.fine_tune.start = str(self._workdir_of(home, self.run.starts_from))
      if self.run.plays:
        self.workdir = self._workdir_of(home, self.run.plays)

    self.config = settings.with_one_duration(config, self.run.changes if self.run else {})
    _check_prompts(self.config)

    self._data_dir = paths.path(self.config.data_dir)
    is_remote = paths.is_remote(self._data_dir)
    self.raw = (mirror.home(self._data_dir) if is_remote else self._data_dir) / "raw"
    self.corrections = self.workdir / "corrections"

    self.fine_tune: mixture.FineTuneConfig = self.section(mixture.FineTuneConfig, "fine_tune")
    self.rows = _rows(self.config)

  def _workdir_of(self, home: pathlib.Path, run_or_workdir: str) -> pathlib.Path:
    """Returns the directory whose checkpoints a run's `starts_from` or `plays` means."""
    while not studies.is_workdir(run_or_workdir):
      run = next(candidate for candidate in self.runs if candidate.name == run_or_workdir)
      if not run.plays:
        return home / run_or_workdir
      # A run that plays another one has no checkpoints of its own.
      run_or_workdir = run.plays

    return paths.path(run_or_workdir)

  # Tasks.

  @functools.cached_property
  def all_tasks(self) -> list[tuple[Domain, str]]:
    """Tasks that have to be collected and built, each once.

    These are the mixture's tasks, held out or not, and those that are fine-tuned on, played or
    interpreted; of a study, those of all its runs.
    """
    if self.runs and not self.run:
      tasks = [task for run in self.runs for task in Experiment(self.config, run.name).all_tasks]
    else:
      tasks = [*self._mixture_tasks, *self._fine_tuned, *self._requested_to_play, *self.looked_at]

    return list({name_of(*task): task for task in tasks}.values())

  @property
  def _mixture_tasks(self) -> list[tuple[Domain, str]]:
    return [task for row in self.rows.values() for task in row.tasks]

  @functools.cached_property
  def _fine_tuned(self) -> list[tuple[Domain, str]]:
    return self.matching(self.fine_tune.tasks, "fine_tune.tasks")

  @functools.cached_property
  def _requested_to_play(self) -> list[tuple[Domain, str]]:
    return self.matching(self.config.evaluate.tasks, "evaluate.tasks")

  @functools.cached_property
  def looked_at(self) -> list[tuple[Domain, str]]:
    """Tasks of config.interpret.tasks, which are interpreted beside those that train."""
    return self.matching(self.config.interpret.tasks, "interpret.tasks")

  def matching(self, patterns: Iterable[str], setting: str) -> list[tuple[Domain, str]]:
    """Returns the tasks that any of the patterns matches.

    Args:
      patterns: Either "domain.task", where * and ? stand for any letters, or "domain", which means
        the domain's tasks in the mixture, or its usual ones where the mixture has none.
      setting: Name of the setting that has the patterns, for error messages.
    """
    tasks: list[tuple[Domain, str]] = []
    for pattern in patterns:
      domain_name, dot, task_pattern = pattern.partition(".")
      domain = rlds_builders.get(domain_name)

      # A pattern of tasks looks at all of them, also at those that the domain itself holds out.
      if dot:
        names: Sequence[str] = mixture.matching_tasks(
          task_pattern, domain.tasks, domain_name=domain_name, setting=setting
        )
      else:
        in_mixture = [task for other, task in self._mixture_tasks if other.name == domain_name]
        names = in_mixture or [task for task in domain.tasks if task not in domain.held_out]

      tasks += [(domain, name) for name in names]

    return tasks

  @functools.cached_property
  def held_out(self) -> set[str]:
    """Names "domain.task" of config.held_out, which the mixture leaves out."""
    # A domain without a task stands for all its tasks, also those that are not in the mixture.
    patterns = [pattern if "." in pattern else f"{pattern}.*" for pattern in self.config.held_out]

    return {name_of(*task) for task in self.matching(patterns, "held_out")}

  # Cached because it is used often and looks for hundreds of datasets.
  @functools.cached_property
  def tasks(self) -> list[tuple[Domain, str]]:
    """Tasks that train (mixture.training_tasks); with `leave_out_missing` those with a dataset."""
    # mixture.py works on names only, so that it needs no domains.
    candidates = {name_of(*task): task for task in [*self._mixture_tasks, *self._fine_tuned]}
    names = mixture.training_tasks(
      [name_of(*task) for task in self._mixture_tasks],
      [name_of(*task) for task in self._fine_tuned],
      held_out=self.held_out,
      replay=self.fine_tune.replay,
    )

    tasks = [candidates[name] for name in names]
    if self.config.leave_out_missing:
      tasks = [task for task in tasks if self.dataset(*task).exists()]

    return tasks

  @property
  def control_tasks(self) -> list[tuple[SimulatedDomain, str]]:
    """Tasks that are played: config.evaluate.tasks, or all that train and have an environment."""
    candidates = self._requested_to_play or self.tasks

    return [(domain, task) for domain, task in candidates if isinstance(domain, SimulatedDomain)]

  @functools.cached_property
  def weights(self) -> dict[str, float]:
    """ "domain.task" -> share of sequences, of the tasks that train (mixture.task_weights)."""
    rows = [(row.weight, [name_of(*task) for task in row.tasks]) for row in self.rows.values()]

    return mixture.task_weights(
      rows,
      {name_of(*task) for task in self.tasks},
      [name_of(*task) for task in self._fine_tuned],
      replay=self.fine_tune.replay,
    )

  @property
  def subsets(self) -> dict[str, int]:
    """ "domain.task" -> number of its episodes that train, of fine-tuned tasks; 0 means all."""
    return {name_of(*task): self.fine_tune.episodes for task in self._fine_tuned}

  # Datasets.

  @functools.cached_property
  def tfds(self) -> pathlib.Path:
    """Directory of RLDS datasets; of those in a bucket, their mirror on this machine."""
    if not paths.is_remote(self._data_dir):
      return self._data_dir / "tfds"

    return mirror.update(self._data_dir, {domain.name for domain, _ in self.all_tasks})

  def dataset(self, domain: Domain, task: str) -> pathlib.Path:
    """Returns the path of the metadata that TFDS keeps beside a dataset's records.

    It is readable without TensorFlow, which must not be in the process of a simulator.
    """
    return self.tfds / domain.name / task / "1.0.0" / "metadata.json"

  def stale(self, domain: Domain, task: str) -> str:
    """Names what changed since a task was collected and its dataset was built, or returns ""."""
    metadata = self.dataset(domain, task)
    if not metadata.exists():
      return ""

    collect_config: collect.CollectConfig = self.section(collect.CollectConfig, "collect")
    expected = freshness.expected(
      domain,
      task,
      self.raw,
      settings=collect_config.settings_of(domain.name).origin,
      side=self.section(documents.ImageConfig, "images").side,
      sources=sources.sources_directory(),
    )

    return freshness.stale(metadata, expected)

  def refuse_stale(self, tasks: Iterable[tuple[Domain, str]], accept: bool) -> None:
    """Refuses datasets that no longer agree with their sources.

    Args:
      tasks: The tasks whose datasets are checked.
      accept: True to print what changed and go on.

    Raises:
      GatoError: A dataset is stale and `accept` is False.
    """
    reasons: dict[str, str] = {}
    for domain, task in tasks:
      if reason := self.stale(domain, task):
        reasons[name_of(domain, task)] = reason

    if not reasons:
      return

    name, reason = next(iter(reasons.items()))
    others = f" (and {len(reasons) - 1} more tasks)" if len(reasons) > 1 else ""
    message = f"the dataset of {name} is not what its sources are now: {reason}{others}"
    if not accept:
      raise GatoError(
        f"{message}; run python -m experiments.collect and .build with this config, or go on with "
        "--accept_changes"
      )

    print(f"{message}; going on", file=sys.stderr)

  def left_out(self) -> list[str]:
    """Returns a line for each row without a task that trains, which says how to get its data.

    Raises:
      GatoError: No row has a task that trains.
    """
    if self.rows and not self.tasks:
      raise GatoError(
        f"no row of the mixture has a dataset in {self.tfds}; run experiments.collect and .build"
      )

    # Rows are no concern of a run that is fine-tuned on tasks of its own.
    if self._fine_tuned:
      return []

    lines = []
    for row_name, row in self.rows.items():
      # A row that is held out as a whole is not missing: the config says so.
      if any(task in self.tasks or name_of(*task) in self.held_out for task in row.tasks):
        continue

      # Several domains may share a row, and a domain has many tasks: each is named once.
      domains = {domain.name: domain for domain, _ in row.tasks}
      is_simulated = any(isinstance(domain, SimulatedDomain) for domain in domains.values())
      advice = "collect, then experiments.build" if is_simulated else "build says what it needs"
      lines.append(
        f"left out: {row_name} ({row.weight:g}), no dataset of {', '.join(domains)}: "
        f"python -m experiments.{advice}"
      )

    return lines

  # Sections.

  def text_codec(self) -> codec.TextCodec:
    """Returns the text codec of --config.tokenizer.

    Raises:
      GatoError: It has more pieces than the network's token table has rows for.
    """
    text = codec.text_codec(self.config.tokenizer)
    pieces = self.config.model.text_pieces

    if text.size > pieces:
      raise GatoError(
        f"config.model.text_pieces={pieces}, but the tokenizer has {text.size} pieces: set it to "
        f"at least {text.size}, or config.tokenizer to a smaller one "
        "(python -m experiments.train_tokenizer --pieces)"
      )
    return text

  def section(self, dataclass: type, section: str, **more: Any) -> Any:
    """Returns a section of the config as the dataclass that the library reads.

    Args:
      dataclass: The class, whose fields are the section's settings and `more`.
      section: Name of the section.
      **more: Values of further fields.
    """
    return dataclass(**self.config[section].to_dict(), **more)


def _rows(config: ml_collections.ConfigDict) -> dict[str, MixtureRow]:
  """Returns the rows of config.domains, several of whose domains may share one."""
  rows: dict[str, MixtureRow] = {}
  for domain_name, entry in config.domains.items():
    domain = rlds_builders.get(domain_name)

    row = rows.setdefault(entry.row, MixtureRow(entry.weight))
    if row.weight != entry.weight:
      raise GatoError(
        f"config.domains: row {entry.row!r} has two weights, {row.weight:g} and {entry.weight:g}"
      )

    usual_tasks = [task for task in domain.tasks if task not in domain.held_out]
    for task in entry.tasks or usual_tasks:
      domain.check_task(task)
      row.tasks.append((domain, task))

  return rows


def _check_prompts(config: ml_collections.ConfigDict) -> None:
  """Refuses training prompts in windows of one step, where they could never be drawn.

  A prompt and the step that follows it are two steps of one window (data/episode_windows.py).
  """
  if config.data.window_steps == 1 and config.data.prompt_probability > 0:
    raise GatoError(
      f"data.prompt_probability={config.data.prompt_probability:g}, but no prompt fits into "
      "windows of one step (data.window_steps=1); set --config.data.prompt_probability=0 or larger "
      "windows"
    )
