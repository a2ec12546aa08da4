"""Full or read-only disks end a verb in one line, and the same command continues later.

Complete files stay. The file systems are real: a tmpfs of some MB, filled up by a file.
"""

import errno
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import commands
import numpy as np
import pytest

from gato_jax.env import results
from gato_jax.storage import disk, files
from gato_jax.train import metrics

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = 4096


class Small:
  """A file system of a few MB.

  Attributes:
    path: Directory on which it is mounted.
  """

  def __init__(self, path: pathlib.Path):
    self.path = path
    self._ballast = path / "ballast"

  def fill(self, free: int = 0) -> None:
    """Fills the file system up to `free` bytes, rounded down to pages."""
    left = os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize
    self._ballast.write_bytes(bytes(left - free // PAGE * PAGE))

  def make_room(self) -> None:
    self._ballast.unlink()

  def remount(self, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(self.path)], check=True)


@pytest.fixture
def small(tmp_path):
  path = tmp_path / "small"
  path.mkdir()
  mounted = subprocess.run(
    ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(path)], capture_output=True, text=True
  )
  if mounted.returncode:
    pytest.skip(f"file systems cannot be mounted here: {mounted.stderr.strip()}")
  yield Small(path)
  subprocess.run(["umount", "--lazy", str(path)], check=True)


def error_lines(done: subprocess.CompletedProcess) -> list[str]:
  """Returns the lines on standard error, without those of progress bars."""
  lines = done.stderr.replace("\r", "\n").split("\n")
  return [line for line in lines if line.strip() and "%|" not in line]


def run(*command) -> tuple[int, list[str]]:
  """Runs Python; returns its exit status and its lines on standard error."""
  done = subprocess.run(
    [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300
  )
  return done.returncode, error_lines(done)


def verb(name, folder, *arguments) -> tuple[int, list[str]]:
  config = (
    "--config=experiments/configs/dummy.py",
    f"--config.data_dir={folder}/data",
    f"--config.workdir={folder}/run",
  )
  done = commands.run(f"experiments.{name}", *config, *arguments)
  return done.returncode, [line for line in error_lines(done) if not line.startswith("I")]


def is_full(ended, path) -> bool:
  status, lines = ended
  said = (
    lines[-1].startswith(f"error: {path}")
    and "no space left on device; make room and run the same" in lines[-1]
  )
  # On a slow machine a task may be complete before the disk is full: "dummy.reach 30/30, ...".
  others = [line for line in lines[:-1] if not re.match(r"\S+ \d+/\d+, ", line)]
  return status == 1 and not others and said


def test_rows_and_whole_files_are_there_entirely_or_not_at_all(small):
  row = results.Row("a.b", "gato", 1, 0.5, 10, None, 1.0)
  path = small.path / "results.jsonl"
  results.append(path, [row])
  files.write_json(small.path / "facts.json", {"old": 1})
  small.fill()

  for write in (
    lambda: results.append(path, [row] * 1000),
    lambda: files.write(small.path / "facts.json", b"x" * 10 * PAGE),
  ):
    with pytest.raises(OSError) as e:
      write()
    assert e.value.errno == errno.ENOSPC and str(small.path) in str(disk.failure(e.value))

  assert list(results.read(path)) == [row] and path.read_bytes().endswith(b"\n")
  assert json.loads((small.path / "facts.json").read_text()) == {"old": 1}
  assert sorted(p.name for p in small.path.iterdir()) == ["ballast", "facts.json", "results.jsonl"]

  small.make_room()
  results.append(path, [row] * 1000)

  assert len(list(results.read(path))) == 1001


def test_metrics_raise_and_do_not_wait_for_a_thread_that_is_gone(small):
  log = metrics.MetricsLog(small.path, step=0)
  log.write({"step": 1, "loss": 2.0})
  small.fill()

  with pytest.raises(OSError, match="metrics.jsonl|tensorboard"):
    for step in range(2, 1000):
      log.write({"step": step, **{f"loss/{i}": 1.0 for i in range(50)}})

  small.make_room()
  log.close()
  again = metrics.MetricsLog(small.path, step=1)  # the torn row is dropped
  again.write({"step": 2, "loss": 1.0})
  again.close()

  assert [
    json.loads(line)["step"] for line in (small.path / "metrics.jsonl").read_text().splitlines()
  ] == [1, 2]


SAVE = """
import pathlib
import jax.numpy as jnp, numpy as np
from experiments import cli
from gato_jax.train import checkpoint

def main():
  checkpoints = checkpoint.Checkpoints(pathlib.Path(FOLDER))
  random = np.random.default_rng(0)
  params = {f"layer_{i}": jnp.asarray(random.normal(size=(400, 500)), jnp.float32) for i in range(12)}
  try:
    checkpoints.save(STEP, params, {"moments": params}, {}, b"")
    checkpoints.wait()
  finally:
    checkpoints.close()

cli.run_without_config(main)
"""


def test_a_save_in_the_background_says_one_line_and_nothing_of_its_threads(small):
  """Arrays, threads and event loops that fail together print nothing of their own."""
  folder = small.path / "checkpoints"

  def save(step):
    return run("-c", SAVE.replace("STEP", str(step)).replace("FOLDER", repr(str(folder))))

  assert save(5) == (0, [])

  small.fill(5_000_000)
  ended = save(10)

  assert is_full(ended, folder / "10."), ended
  assert sorted(p.name for p in folder.iterdir() if p.name.isdigit()) == ["5"]

  small.make_room()

  assert save(10) == (0, [])
  assert sorted(p.name for p in folder.iterdir()) == ["10", "5"]


def test_collecting_on_a_full_disk_is_no_failure_of_a_simulator(small):
  small.fill(200_000)
  ended = verb("collect", small.path)

  assert is_full(ended, small.path / "data"), ended
  assert not list(small.path.rglob("failures.jsonl"))

  small.make_room()
  status, lines = verb("collect", small.path)

  assert status == 0, lines

  small.remount("ro")
  status, lines = verb("collect", small.path, "--config.collect.episodes=60")

  assert status == 1 and len(lines) == 1 and lines[0].startswith(f"error: {small.path}/data"), lines
  assert "read-only file system; make it writable" in lines[0]


@pytest.mark.slow  # ten verbs
def test_building_training_evaluating_and_reporting_on_a_full_disk(small, dummy_raw):
  shutil.copytree(dummy_raw, small.path / "data" / "raw")
  for name, free, where in (
    ("build", 20_000, "data/tfds"),
    ("train", 5_000_000, "run/checkpoints"),
    ("evaluate", 20_000, "run/"),
    ("report", 20_000, "run/report"),
  ):
    settings = (
      ["--config.train.steps=20", "--config.train.checkpoint_every=10"] if name == "train" else []
    )
    small.fill(free)
    ended = verb(name, small.path, *settings)

    assert is_full(ended, small.path / where), (name, ended)

    small.make_room()
    status, lines = verb(name, small.path, *settings)

    assert status == 0, (name, lines)

  small.remount("ro")
  for name in ("train", "evaluate", "report"):
    status, lines = verb(name, small.path)
    assert status == 1 and len(lines) == 1 and "read-only file system" in lines[0], (name, lines)


def raised(error, cause=None):
  try:
    raise error from cause
  except type(error) as e:
    return e


@pytest.mark.parametrize(
  "error, said",
  [
    (OSError(errno.ENOSPC, "full", "/a/b.npz"), "/a/b.npz: no space left on device; make room"),
    (OSError(errno.ENOSPC, "full", "/a", None, "/b"), "/b: no space left on device; make room"),
    (
      OSError(errno.EDQUOT, "quota", "/a"),
      "/a: disk quota exceeded; make room, or have the quota raised",
    ),
    (
      OSError(errno.EROFS, "ro", "/a"),
      "/a: read-only file system; make it writable or choose another folder",
    ),
    (PermissionError(errno.EACCES, "no", "/a"), "/a: permission denied; make it accessible"),
    (OSError(errno.ENOSPC, "full"), "the disk: no space left on device"),
    (
      ValueError('RESOURCE_EXHAUSTED: Error writing "/a/b/": ENOSPC No space left on device'),
      "/a/b/: no space left",
    ),
    (
      RuntimeError("UNKNOWN: No space left on device; writing /a/b.riegeli"),
      "/a/b.riegeli: no space left",
    ),
    (raised(KeyError("x"), OSError(errno.ENOSPC, "full", "/a")), "/a: no space left"),
    (ExceptionGroup("both", [ValueError("x"), OSError(errno.EROFS, "ro", "/a")]), "/a: read-only"),
    (FileNotFoundError(errno.ENOENT, "no", "/a"), None),
    (PermissionError(errno.EPERM, "kill"), None),  # of a signal or a socket: it names no file
    (KeyError("x"), None),
  ],
)
def test_what_libraries_raise_is_recognised(error, said):
  found = disk.failure(error)
  assert found is None if said is None else str(found).startswith(said) and "\n" not in str(found)


def test_a_bug_after_a_file_that_was_not_open_to_us_keeps_its_traceback():
  try:
    try:
      raise PermissionError(errno.EACCES, "no", "/a")
    except PermissionError:
      np.zeros(3)[7]
  except IndexError as e:
    assert disk.failure(e) is None
