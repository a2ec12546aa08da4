"""Checkpoints: restored as saved, robust to damage, and sufficient for acting."""

import errno
import json
import logging
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax.errors import GatoError
from gato_jax.storage import disk
from gato_jax.train import checkpoint, checksums

META = {"model": {"width": 8}, "specs": {"dummy.all": {"action": None}}}
TOKENIZER = bytes(range(256))


def state(value):
  params = {"layer": {"kernel": jnp.full((300, 200), value)}, "bias": jnp.arange(3.0) * value}
  return params, {"moments": jax.tree.map(lambda p: p / 2, params), "count": jnp.int32(value)}


def template():
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=device), state(0.0))


def save(directory, *steps, **settings):
  checkpoints = checkpoint.Checkpoints(directory, **settings)
  for step in steps:
    checkpoints.save(step, *state(float(step)), META, TOKENIZER)
  checkpoints.wait()
  checkpoints.close()


def restore(directory):
  checkpoints = checkpoint.Checkpoints(directory)
  try:
    return checkpoints.restore_latest(*template())
  finally:
    checkpoints.close()


def damage(folder: pathlib.Path, how):
  """Changes the largest file of a folder."""
  largest = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
  content = bytearray(largest.read_bytes())

  if how == "cut":
    content = content[: len(content) // 2]
  elif how == "changed":
    content[len(content) // 2] ^= 0xFF

  largest.write_bytes(content)


def test_everything_comes_back(tmp_path):
  save(tmp_path, 5, 10)
  step, params, optimizer, meta = restore(tmp_path)

  assert (
    step == 10
    and meta["step"] == 10
    and meta["tokenizer"] == TOKENIZER
    and meta["model"] == META["model"]
  )

  jax.tree.map(np.testing.assert_array_equal, (params, optimizer), state(10.0))


def test_acting_needs_only_the_folder(tmp_path):
  save(tmp_path, 5, 10)
  params, meta, step = checkpoint.load_for_acting(tmp_path)

  assert step == 10 and meta["tokenizer"] == TOKENIZER and meta["specs"] == META["specs"]

  jax.tree.map(np.testing.assert_array_equal, params, state(10.0)[0])

  np.testing.assert_array_equal(
    checkpoint.load_for_acting(tmp_path, 5)[0]["bias"], [0.0, 5.0, 10.0]
  )


def test_no_checkpoint_names_folder_and_command(tmp_path):
  with pytest.raises(GatoError, match=f"{tmp_path}.*python -m experiments.train"):
    checkpoint.load_for_acting(tmp_path / "checkpoints")
  save(tmp_path, 5)
  with pytest.raises(GatoError, match=r"step 7 .* only of \[5\]"):
    checkpoint.load_for_acting(tmp_path, 7)
  assert restore(tmp_path / "empty") is None


@pytest.mark.parametrize("how", ["cut", "changed"])
def test_damaged_newest_falls_back(tmp_path, caplog, how):
  save(tmp_path, 5, 10)
  damage(tmp_path / "10" / "params", how)
  with caplog.at_level(logging.WARNING, "gato_jax.train.checkpoint"):
    assert restore(tmp_path)[0] == 5
    assert checkpoint.load_for_acting(tmp_path)[2] == 5

  ours = [r.getMessage() for r in caplog.records if r.name == "gato_jax.train.checkpoint"]

  assert len(ours) == 2 and all(str(tmp_path / "10") in line and "\n" not in line for line in ours)
  with pytest.raises(GatoError, match="cannot be read"):
    checkpoint.load_for_acting(tmp_path, 10)


@pytest.mark.parametrize("how", ["cut", "missing"])
def test_damage_in_many_arrays_at_once_is_said_in_one_line(tmp_path, caplog, capfd, how):
  """TensorStore's threads, Orbax's log and a closed event loop print nothing beside it."""
  random = np.random.default_rng(0)
  params = {f"layer_{i}": jnp.asarray(random.normal(size=100_000), jnp.float32) for i in range(12)}
  checkpoints = checkpoint.Checkpoints(tmp_path)
  for step in (5, 10):
    checkpoints.save(step, params, {"count": jnp.int32(step)}, META, TOKENIZER)
  checkpoints.close()
  data = [
    p for p in (tmp_path / "10" / "params").rglob("*") if p.is_file() and p.parent.name == "d"
  ]

  for path in data:
    path.write_bytes(
      path.read_bytes()[: path.stat().st_size // 2]
    ) if how == "cut" else path.unlink()

  capfd.readouterr()
  with caplog.at_level(logging.WARNING, "gato_jax.train.checkpoint"):
    assert checkpoint.load_for_acting(tmp_path)[2] == 5
  ours = [r.getMessage() for r in caplog.records if r.name == "gato_jax.train.checkpoint"]

  # TensorStore decides how many files the twelve arrays share.
  assert len(data) > 1
  assert len(ours) == 1 and "10: cannot be read (" in ours[0] and "\n" not in ours[0]
  assert capfd.readouterr().err == ""


def test_damage_of_optimizer_and_meta_falls_back(tmp_path):
  save(tmp_path, 5, 10, 15)
  damage(tmp_path / "15" / "optimizer", "changed")
  (file,) = (
    p for p in (tmp_path / "10" / "meta").rglob("*") if p.is_file() and "width" in p.read_text()
  )
  file.write_text(file.read_text().replace('"width": 8', '"width": 9'))

  assert restore(tmp_path)[0] == 5
  assert checkpoint.newest_meta(tmp_path)["step"] == 15  # whose meta is intact
  with pytest.raises(GatoError, match="10: cannot be read .the meta is not what was saved"):
    checkpoint.load_for_acting(tmp_path, 10)


@pytest.mark.parametrize("item", ["params", "optimizer"])
def test_arrays_that_can_be_read_but_are_not_what_was_saved_fall_back(tmp_path, caplog, item):
  save(tmp_path, 5, 10, 15)
  shutil.rmtree(tmp_path / "15" / item)
  shutil.copytree(tmp_path / "10" / item, tmp_path / "15" / item)
  with caplog.at_level(logging.WARNING, "gato_jax.train.checkpoint"):
    assert restore(tmp_path)[0] == 10
  assert f"15: cannot be read ({item}" in caplog.text and "is not what was saved" in caplog.text


def test_checkpoints_with_the_sums_of_before_are_read_and_checked(tmp_path, monkeypatch):
  """Older checkpoints have no sums_version.

  Their sums miss two flipped signs but notice other changes.
  """
  monkeypatch.setattr(checksums, "VERSION", 1)
  monkeypatch.setattr(checksums.compute, "__defaults__", (1,))
  save(tmp_path, 5)
  monkeypatch.undo()
  (file,) = (
    p
    for p in (tmp_path / "5" / "meta").rglob("*")
    if p.is_file() and "sums_version" in p.read_text()
  )
  meta = json.loads(file.read_text())
  del meta["sums_version"], meta["sha256"]
  file.write_text(json.dumps({**meta, "sha256": checkpoint.digest(meta)}))

  assert restore(tmp_path)[0] == checkpoint.load_for_acting(tmp_path)[2] == 5

  meta["sums"]["params"]["['bias']"] += 1
  file.write_text(json.dumps({**meta, "sha256": checkpoint.digest(meta)}))

  with pytest.raises(GatoError, match=r"params\['bias'\] is not what was saved"):
    checkpoint.load_for_acting(tmp_path, 5)


def test_a_run_that_fell_back_saves_over_what_cannot_be_read(tmp_path):
  save(tmp_path, 5, 10, 15)
  for step in ("10", "15"):
    damage(tmp_path / step / "params", "cut")

  assert restore(tmp_path)[0] == 5

  save(tmp_path, 10)

  assert restore(tmp_path)[0] == 10

  save(tmp_path, 15)

  assert restore(tmp_path)[0] == 15


def test_the_newest_and_every_so_many_steps_are_kept(tmp_path):
  save(tmp_path, 2, 4, 6, 8, 10, 12, keep=2, keep_period=4)
  assert sorted(int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()) == [4, 8, 10, 12]


def test_how_long_a_save_takes_is_told_once(tmp_path, caplog):
  checkpoints = checkpoint.Checkpoints(tmp_path)
  with caplog.at_level(logging.INFO, "gato_jax.train.checkpoint"):
    checkpoints.save(5, *state(5.0), META, TOKENIZER)
    checkpoints.wait()

  told = checkpoints.take_seconds()

  assert 0 < told["save_blocking_seconds"] and 0 < told["save_background_seconds"]
  assert checkpoints.take_seconds() == {}

  checkpoints.close()

  assert (
    f"step 5: saving blocked training for {told['save_blocking_seconds']:.2f} s" in caplog.messages
  )
  assert (
    f"step 5: written {told['save_background_seconds']:.2f} s after the save began"
    in caplog.messages
  )


def test_a_full_disk_is_said_with_the_folder(tmp_path, monkeypatch):
  """Orbax's threads raise what write() raises, which names no file."""
  checkpoints = checkpoint.Checkpoints(tmp_path)

  def write():
    raise OSError(errno.ENOSPC, "No space left on device")

  with monkeypatch.context() as patched, pytest.raises(OSError) as raised:
    patched.setattr(checkpoints._manager, "wait_until_finished", write)
    checkpoints.wait()
  checkpoints.close()

  error = disk.failure(raised.value)
  assert str(error).startswith(f"{tmp_path}: no space left on device; make room")


def test_all_damaged_is_an_error(tmp_path):
  save(tmp_path, 5)
  damage(tmp_path / "5" / "params", "cut")
  with pytest.raises(GatoError, match="none of the checkpoints"):
    restore(tmp_path)


def test_a_kill_while_saving_keeps_the_earlier(tmp_path):
  save(tmp_path, 5)
  source = "\n".join(
    [
      "import jax.numpy as jnp, os, pathlib, signal, sys",
      "from gato_jax.train import checkpoint",
      "checkpoints = checkpoint.Checkpoints(pathlib.Path(sys.argv[1]))",
      "big = {'layer': {'kernel': jnp.ones((4000, 4000))}}",
      "checkpoints.save(10, big, big, {}, b'')",
      "os.kill(os.getpid(), signal.SIGKILL)",
    ]
  )
  killed = subprocess.run([sys.executable, "-c", source, str(tmp_path)], capture_output=True)

  assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
  assert restore(tmp_path)[0] == 5
