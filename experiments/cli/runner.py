"""Runs a verb: its flags, its errors in one line, and its end."""

import faulthandler
import io
import os
import pathlib
import sys
from collections.abc import Callable

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from experiments.cli import addresses, config_names, errors, settings
from experiments.cli.experiment import Experiment
from gato_jax import progress
from gato_jax.errors import GatoError
from gato_jax.storage import disk, files, paths

_ENDING_SECONDS = 60
# Where the watchdog of `_end_soon` writes its traceback. It keeps no reference to the file itself.
_NOWHERE = open(os.devnull, "w")

ACCEPT = flags.DEFINE_bool(
  "accept_changes",
  False,
  "Goes on with data or with a run whose sources or settings have changed, and prints what "
  "changed.",
)
_RUN = flags.DEFINE_string(
  "run",
  "",
  "Name of a run of the config's study: uses its settings and its folder (experiments/study.py).",
)


def run(
  main: Callable[[Experiment], None],
  plays: bool = False,
  default_checkpoint: str = "",
  buckets: bool = False,
  reaches: bool = True,
) -> None:
  """Runs a verb on the experiment of --config and --run.

  Input that the user can mend ends in one line and exit status 1; a bug keeps its traceback.

  Args:
    main: The verb.
    plays: True for verbs that only use a trained network: they have --checkpoint, too.
    default_checkpoint: Path that --checkpoint has where neither it nor --config is given.
    buckets: True for verbs whose workdir and datasets may be in a bucket.
    reaches: False for those that only pass its address on.
  """
  if plays:
    flags.DEFINE_string(
      "checkpoint",
      default_checkpoint,
      "Path of exported weights (experiments.export) or of a run's folder, instead of "
      "--config.workdir; without --config its own config is used.",
    )

  try:
    config_names.replace_in_sys_argv()
    default_config = config_names.resolve("experiments/configs/demo.py")
  except GatoError as e:
    errors.fail(str(e))

  # The overrides of the default config are read here, those of a given --config by the parser.
  with errors.config_errors():
    config = config_flags.DEFINE_config_file(
      "config",
      default_config,
      "Path of the experiment's config file. Single settings are overridden as in "
      "--config.train.steps=1000.",
    )

  def with_experiment() -> None:
    # For a file that cannot be read, ml_collections returns a stand-in instead of an error.
    if not isinstance(config.value, ml_collections.ConfigDict):
      path = next(a.partition("=")[2] for a in sys.argv if a.startswith("--config="))
      raise GatoError(f"no config file {path!r}; experiments/configs/ holds them")

    checkpoint = flags.FLAGS.checkpoint if plays else ""
    if _is_given("config") and not _is_given("checkpoint"):
      checkpoint = ""
    chosen = _config_of(paths.path(checkpoint)) if checkpoint else config.value
    main(Experiment(chosen, _RUN.value))

  run_without_config(with_experiment, buckets, reaches)


def _is_given(flag: str) -> bool:
  """Returns True if the command line has --flag=..."""
  return f"--{flag}" in {argument.partition("=")[0] for argument in sys.argv}


def _config_of(checkpoint: pathlib.Path) -> ml_collections.ConfigDict:
  """Returns the config of --config, or else of a trained network, with its folder as workdir."""
  flag = flags.FLAGS["config"]
  config: ml_collections.ConfigDict = flag.value

  if not _is_given("config"):
    from gato_jax.train import export  # JAX, which --help does without

    # An exported folder describes itself; a run's folder has the config that it was started with.
    if export.is_exported(checkpoint):
      saved = files.read_json(checkpoint / export.MODEL, remedy="give --config")["config"]
    elif (checkpoint / "config.json").exists():
      saved = files.read_json(checkpoint / "config.json", remedy="give --config")
    else:
      raise GatoError(
        f"--checkpoint={checkpoint}: neither exported weights nor the folder of a run is there"
      )

    config = settings.from_json(saved)
    with errors.config_errors():
      config.update_from_flattened_dict(config_flags.get_override_values(flag))

  config.workdir = str(checkpoint)
  return config


def config_path() -> str:
  """Returns the path of the config file, as --config gives it."""
  return config_flags.get_config_filename(flags.FLAGS["config"])


def run_without_config(
  main: Callable[[], None], buckets: bool = False, reaches: bool = True
) -> None:
  """Runs a verb that has flags of its own and no --config; errors end as in `run`."""

  def guarded(argv: list[str]) -> None:
    if len(argv) > 1:
      errors.fail(
        f"unknown argument {argv[1]!r}; options look like --config.train.steps=1000, "
        "--help lists them"
      )

    # Libraries log through absl, too: their warnings must not tear a progress bar apart.
    logging.set_verbosity(logging.WARNING)
    logging.get_absl_handler().python_handler.stream = _AboveProgressBars()

    try:
      message = _error_message_of(main, buckets, reaches)
    except BaseException:
      _end_soon()
      raise

    if message is not None:
      _end_soon()
      errors.fail(message)

  def parse(argv: list[str]) -> list[str]:
    with errors.config_errors():
      return app.parse_flags_with_usage(argv)

  app.run(guarded, flags_parser=parse)


def _error_message_of(main: Callable[[], None], buckets: bool, reaches: bool) -> str | None:
  """Runs a verb and returns the message of an error that the user can mend, or None.

  The message is returned and not raised: an exception on its way out keeps every object alive that
  was in use where it was raised. Iterators of TensorFlow are among them, and Python must not
  destroy those while it shuts down (gato_jax/data/pipeline.py).
  """
  try:
    addresses.check(buckets, reaches)
    main()
  except GatoError as e:
    return str(e)
  except KeyboardInterrupt:
    return "interrupted; run the same command again to continue"
  except Exception as e:
    # A full disk is no bug, wherever a library noticed it.
    disk_error = disk.failure(e)
    if disk_error is None:
      raise
    return str(disk_error)

  return None


def _end_soon() -> None:
  """Starts a watchdog that ends the process with status 1 if it has not ended by itself in time.

  To be called before an error is printed. The contexts that the error has left have closed what the
  verb writes. Only threads of libraries can still be alive: one that waits for another that is gone
  must not block a script that waits for the exit status.
  """
  faulthandler.dump_traceback_later(_ENDING_SECONDS, exit=True, file=_NOWHERE)


class _AboveProgressBars(io.TextIOBase):
  """Writes log lines to standard error, above a progress bar that is being drawn there."""

  def write(self, text: str) -> int:
    progress.Bar.write(text, file=sys.stderr, end="")
    return len(text)
