"""Where a run comes from: each time it is started, a line in its folder says with which code, packages and machine."""

import dataclasses
import datetime
import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys

from gato_jax import results

_FILE = "starts.jsonl"
_ROOT = pathlib.Path(__file__).parent.parent
_VARIABLE = "GATO_REVISION"  # of images, which hold the code and not its repository (launch/container/Dockerfile)


@dataclasses.dataclass(frozen=True)
class Start:
  """One start of a run.

  Attributes:
    name: the config's. time: UTC, ISO 8601. seed: of parameters and data order.
    config_sha256: of the whole resolved config, which <workdir>/config.json holds.
    revision: of git, "+" with changes that are not committed, "" where nothing says it.
    command: as it was typed. step: at which it went on; 0 for a run's beginning.
    processes, devices: that train together. device: their kind. machine: of the first process.
    packages: distribution -> version, all that are installed.
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


def this(name: str, seed: int, config_sha256: str, step: int, processes: int, devices: int, device: str) -> Start:
  """The start that is happening, in this process."""
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
  """The git commit of the tree that is being run; "" where it is no checkout and no image that knows it."""
  if _VARIABLE in os.environ:
    return os.environ[_VARIABLE]
  asked = ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
  try:
    return subprocess.run(asked, cwd=_ROOT, capture_output=True, text=True).stdout.strip()
  except FileNotFoundError:  # no git here
    return ""


def packages() -> dict[str, str]:
  """Distribution -> version of everything that is installed, by name."""
  found = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions() if d.metadata["Name"]}
  return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def append(workdir: pathlib.Path, start: Start) -> None:
  results.append(workdir / _FILE, [start])


def read(workdir: pathlib.Path) -> list[Start]:
  """All starts of a run, in order; [] for a run of before they were kept."""
  return list(results.read(workdir / _FILE, Start))
