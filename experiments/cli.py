"""What every verb shares: --config, errors in one line, and the config as the library's dataclasses."""

import contextlib
import dataclasses
import functools
import io
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import ml_collections
import tqdm
from absl import app, logging
from ml_collections import config_flags

import rlds_builders
from gato_jax import specs
from gato_jax.errors import GatoError
from gato_jax.tokens import codec


@dataclasses.dataclass
class Row:
  """A row of the mixture: its share of sequences, divided evenly among its tasks."""

  weight: float
  tasks: list[tuple[specs.Domain, str]] = dataclasses.field(default_factory=list)


class Experiment:
  """A resolved config.

  Attributes:
    config: the ConfigDict. rows: name -> Row.
    raw, tfds: folders of raw logs and of RLDS datasets. workdir: of training, evaluation and report.
  """

  def __init__(self, config: ml_collections.ConfigDict):
    self.config = config
    data = pathlib.Path(config.data_dir)
    self.raw, self.tfds = data / "raw", data / "tfds"
    self.workdir = pathlib.Path(config.workdir or f"work/{config.name}")
    self.rows: dict[str, Row] = {}
    for name, mix in config.domains.items():
      domain = rlds_builders.get(name)
      row = self.rows.setdefault(mix.row, Row(mix.weight))
      if row.weight != mix.weight:
        raise GatoError(f"config.domains: row {mix.row!r} has two weights, {row.weight:g} and {mix.weight:g}")
      for task in tuple(mix.tasks) or (t for t in domain.tasks if t not in domain.held_out):
        domain.check_task(task)
        row.tasks.append((domain, task))

  @property
  def all_tasks(self) -> list[tuple[specs.Domain, str]]:
    return [one for row in self.rows.values() for one in row.tasks]

  @functools.cached_property  # asked for often; every time it would look for hundreds of datasets
  def tasks(self) -> list[tuple[specs.Domain, str]]:
    """Those that train: all, or with `leave_out_missing` those with a dataset."""
    if not self.config.leave_out_missing:
      return self.all_tasks
    return [(domain, task) for domain, task in self.all_tasks if self.dataset(domain, task).exists()]

  @property
  def control_tasks(self) -> list[tuple[specs.Domain, str]]:
    """Those that train and have an environment to act in."""
    return [(domain, task) for domain, task in self.tasks if domain.environment]

  @functools.cached_property
  def weights(self) -> dict[str, float]:
    """ "domain.task" -> share of sequences, of the tasks that train; a row's share is that of those it has left."""
    trained, weights = {f"{domain.name}.{task}" for domain, task in self.tasks}, {}
    for row in self.rows.values():
      names = [f"{domain.name}.{task}" for domain, task in row.tasks]
      names = [name for name in names if name in trained]
      weights |= {name: row.weight / len(names) for name in names}
    return weights

  def dataset(self, domain: specs.Domain, task: str) -> pathlib.Path:
    """What TFDS keeps beside a dataset's records, readable without TensorFlow: simulators may be in this process."""
    return self.tfds / domain.name / task / "1.0.0" / "metadata.json"

  def left_out(self) -> list[str]:
    """A line for each row of which nothing trains: how to get it; GatoError where no row has anything."""
    lines, trained = [], self.tasks
    if self.rows and not trained:
      raise GatoError(f"no row of the mixture has a dataset in {self.tfds}; run experiments.collect and .build")
    for name, row in self.rows.items():
      if any(one in trained for one in row.tasks):
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
    main(Experiment(config.value))

  run_without_config(with_experiment)


def run_without_config(main: Callable[[], None]) -> None:
  """The same for verbs with flags of their own."""

  def guarded(argv: list[str]) -> None:
    if len(argv) > 1:
      _fail(f"unknown argument {argv[1]!r}; options look like --config.train.steps=1000, --help lists them")
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_handler().python_handler.stream = _AboveBars()
    try:
      main()
    except GatoError as e:
      _fail(str(e))
    except KeyboardInterrupt:
      _fail("interrupted; run the same command again to continue")

  def parse(argv: list[str]) -> list[str]:
    with _config_errors():
      return app.parse_flags_with_usage(argv)

  app.run(guarded, flags_parser=parse)


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
