"""Records code, packages and machine of each start of a run, one line each in its directory."""

import dataclasses
import datetime
import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys

from gato_jax.env import results

_FILE = "starts.jsonl"
_ROOT = pathlib.Path(__file__).parents[2]
# Set in images, which have the code without its repository (launch/container/Dockerfile).
_REVISION_VARIABLE = "GATO_REVISION"


@dataclasses.dataclass(frozen=True)
class Start:
  """One start of a run.

  Attributes:
    name: Of the config.
    time: UTC, ISO 8601.
    seed: Of the training.
    config_sha256: Of the resolved config, which is in <workdir>/config.json.
    revision: Git commit, with "+" for uncommitted changes; "" where it is not known.
    command: As it was typed.
    step: Step from which it continued; 0 for the beginning of a run.
    processes: Number of processes that train together.
    devices: Number of their devices.
    device: Kind of the devices.
    machine: Of the first process.
    python: Version.
    packages: Name of each installed distribution -> its version.
  """

  name: str
  time: str
  seed: int
  config_sha256: str
  revision: str
  command: str
  step: int
  processes: int
  devices: int
  device: str
  machine: str
  python: str
  packages: dict[str, str]


def this(
  name: str, seed: int, config_sha256: str, step: int, processes: int, devices: int, device: str
) -> Start:
  """Describes the current start, in this process; see Start for the arguments."""
  return Start(
    name=name,
    time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    seed=seed,
    config_sha256=config_sha256,
    revision=revision(),
    command=shlex.join([os.path.basename(sys.executable), *sys.orig_argv[1:]]),
    step=step,
    processes=processes,
    devices=devices,
    device=device,
    machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    python=platform.python_version(),
    packages=packages(),
  )


def revision() -> str:
  """Returns the git commit of the running code.

  "" where it is no checkout and no image that knows its commit.
  """
  if _REVISION_VARIABLE in os.environ:
    return os.environ[_REVISION_VARIABLE]

  # No tag matches --exclude=*, so that it prints a commit.
  command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
  try:
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
  except FileNotFoundError:
    return ""  # git is not installed

  return done.stdout.strip()


def packages() -> dict[str, str]:
  """Returns the name and version of every installed distribution, sorted by name."""
  versions = {}
  for distribution in importlib.metadata.distributions():
    # Remains of a broken installation have no name.
    if name := distribution.metadata["Name"]:
      versions[name] = distribution.version

  return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


def append(workdir: pathlib.Path, start: Start) -> None:
  """Adds a start to those of a run."""
  results.append(workdir / _FILE, [start])


def read(workdir: pathlib.Path) -> list[Start]:
  """Returns all starts of a run, in order; [] for runs of versions that did not record them."""
  return list(results.read(workdir / _FILE, Start))
