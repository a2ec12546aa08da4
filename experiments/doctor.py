"""Looks at this machine and says what works, what does not, and what to do: gato doctor

Nothing is changed. The exit status is 1 where something that was installed does not work.
"""

import ctypes
import dataclasses
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

_PATIENCE_SECONDS = 120  # for looking for devices
_GIB = 2**30
_LITTLE_SPACE = 20  # GiB

# Extra of pyproject.toml -> what it is for.
_EXTRAS = {
  "client": "act through a server",
  "act": "load a network",
  "train": "train",
  "collect": "collect experts' episodes",
  "report": "evaluate and report",
  "serve": "serve",
  "simulators": "most simulators",
  "lerobot": "read recordings of others",
  "buckets": "gs:// and s3://",
  "launch": "submit jobs",
}
_PROGRAMS = {
  "kubectl": "launch --on=gke",
  "gcloud": "launch --on=tpu_vm",
  "sbatch": "launch --on=slurm",
  "docker": "launch image",
}


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line.

  Attributes:
    name: What was looked at.
    state: "ok", "missing" (nobody asked for it) or "broken".
    text: What was found, or what to do.
  """

  name: str
  state: str
  text: str


def interpreter() -> Iterator[Finding]:
  """Yields the interpreter and the system."""
  version = platform.python_version()
  text = f"{version}, {sys.executable}"
  yield Finding("python", "ok" if sys.version_info >= (3, 11) else "broken", text)

  libc = " ".join(platform.libc_ver())
  yield Finding("system", "ok", f"{platform.system()} {platform.machine()}, {libc}")
  yield Finding("cores", "ok", f"{len(os.sched_getaffinity(0))}")


def extras() -> Iterator[Finding]:
  """Yields each extra of the package: whether all that it requires is installed."""
  if importlib.util.find_spec("packaging") is None:
    yield Finding("extras", "missing", "pip install packaging, to see which are complete")
    return

  for extra, use in _EXTRAS.items():
    lacking = [name for name in _requirements(extra) if not _is_installed(name)]
    if lacking:
      names = ", ".join(lacking[:4]) + ", ..." * (len(lacking) > 4)
      advice = f'{use}: pip install "gato_jax[{extra}]" ({names})'
      yield Finding(f"[{extra}]", "missing", advice)
    else:
      yield Finding(f"[{extra}]", "ok", use)


def _requirements(extra: str, seen: frozenset[str] = frozenset()) -> list[str]:
  """Returns the names of the packages that an extra needs here, with those that it builds on."""
  from packaging import requirements

  names = []
  for text in importlib.metadata.requires("gato_jax") or []:
    requirement = requirements.Requirement(text)
    if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
      continue
    if requirement.name.replace("-", "_") != "gato_jax":
      names.append(requirement.name)
      continue
    for inner in sorted(requirement.extras - seen):
      names += _requirements(inner, seen | {extra, inner})

  return sorted(set(names))


def _is_installed(name: str) -> bool:
  try:
    importlib.metadata.distribution(name)
  except importlib.metadata.PackageNotFoundError:
    return False
  return True


def devices() -> Iterator[Finding]:
  """Yields JAX's devices, looked for in a process of its own: drivers may hang or crash."""
  if importlib.util.find_spec("jax") is None:
    return

  code = "import jax; print(jax.__version__, *sorted({d.device_kind for d in jax.devices()}))"
  code += "; print(len(jax.devices()))"
  try:
    done = subprocess.run(
      [sys.executable, "-c", code], capture_output=True, text=True, timeout=_PATIENCE_SECONDS
    )
  except subprocess.TimeoutExpired:
    yield Finding(
      "jax", "broken", f"no answer in {_PATIENCE_SECONDS} s; JAX_PLATFORMS=cpu may help"
    )
    return

  if done.returncode:
    line = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
    yield Finding("jax", "broken", line)
    return
  first, count = done.stdout.strip().splitlines()[-2:]
  version, _, kinds = first.partition(" ")
  yield Finding("jax", "ok", f"{version}, {count} x {kinds}")

  # A GPU that the driver sees and JAX does not.
  if kinds == "cpu" and pathlib.Path("/dev/nvidia0").exists():
    yield Finding(
      "gpu", "missing", 'there is one that JAX does not use: pip install "gato_jax[gpu]"'
    )


def graphics() -> Iterator[Finding]:
  """Yields the libraries that render without a screen."""
  for library, package in (("libEGL.so.1", "libegl1"), ("libOSMesa.so.8", "libosmesa6")):
    try:
      ctypes.CDLL(library)
    except OSError:
      yield Finding(library, "missing", f"pictures of simulators: apt-get install {package}")
    else:
      yield Finding(library, "ok", "renders without a screen")


def disks() -> Iterator[Finding]:
  """Yields the free space where data, runs and pieces of buckets go."""
  from gato_jax.storage import piece_cache

  places = {"data": pathlib.Path("data"), "work": pathlib.Path("work")}
  places["cache"] = piece_cache.directory()
  for name, place in places.items():
    there = next(
      folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists()
    )
    free = shutil.disk_usage(there).free / _GIB
    is_writable = os.access(there, os.W_OK)
    text = f"{free:,.0f} GiB free in {there}"
    if not is_writable:
      yield Finding(f"disk: {name}", "broken", f"{text}, which is not writable")
    elif free < _LITTLE_SPACE:
      yield Finding(f"disk: {name}", "missing", f"{text}: collecting wants {_LITTLE_SPACE}")
    else:
      yield Finding(f"disk: {name}", "ok", text)


def buckets() -> Iterator[Finding]:
  """Yields which credentials there are; no store is asked."""
  home = pathlib.Path.home()
  google = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
  google_file = pathlib.Path(google or home / ".config/gcloud/application_default_credentials.json")
  if google_file.exists():
    yield Finding("gs://", "ok", f"credentials in {google_file}")
  else:
    advice = "gcloud auth application-default login; machines of Google have their own"
    yield Finding("gs://", "missing", f"no credentials: {advice}")

  aws = "AWS_ACCESS_KEY_ID" in os.environ or (home / ".aws/credentials").exists()
  yield Finding("s3://", "ok" if aws else "missing", "credentials" if aws else "aws configure")


def programs() -> Iterator[Finding]:
  """Yields the programs that backends of `launch` call."""
  for name, use in _PROGRAMS.items():
    path = shutil.which(name)
    yield Finding(name, "ok" if path else "missing", f"{use}: {path}" if path else use)


def network() -> Iterator[Finding]:
  """Yields the shipped network."""
  model = pathlib.Path("pretrained/generalist/model.json")
  if model.exists():
    yield Finding("pretrained", "ok", "gato play")
  else:
    yield Finding("pretrained", "missing", "the shipped network: run in a clone of the repository")


def main() -> None:
  if len(sys.argv) > 1:
    print(f"error: doctor takes no arguments, not {sys.argv[1]!r}", file=sys.stderr)
    sys.exit(1)

  broken = 0
  for title, found in (
    ("Python", interpreter()),
    ("Packages", extras()),
    ("Devices", devices()),
    ("Graphics", graphics()),
    ("Disks", disks()),
    ("Buckets", buckets()),
    ("Programs", programs()),
    ("Network", network()),
  ):
    print(title)
    for finding in found:
      broken += finding.state == "broken"
      text = re.sub(r"\s+", " ", finding.text)
      print(f"  {finding.state:<8}{finding.name:<18}{text}", flush=True)

  sys.exit(1 if broken else 0)


if __name__ == "__main__":
  # It has to run where little is installed: not by `cli`, which parses flags with absl.
  main()
