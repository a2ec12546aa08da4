"""Checkpoints: what is saved comes back, damage is survived, acting needs nothing else."""

import logging
import pathlib
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax import checkpoint
from gato_jax.errors import GatoError

META = {"model": {"width": 8}, "specs": {"dummy.all": {"action": None}}}
TOKENIZER = bytes(range(256))


def state(value):
  params = {"layer": {"kernel": jnp.full((300, 200), value)}, "bias": jnp.arange(3.0) * value}
  return params, {"moments": jax.tree.map(lambda p: p / 2, params), "count": jnp.int32(value)}


def template():
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=device), state(0.0))


def save(directory, *steps):
  checkpoints = checkpoint.Checkpoints(directory)
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
  assert step == 10 and meta["step"] == 10 and meta["tokenizer"] == TOKENIZER and meta["model"] == META["model"]
  jax.tree.map(np.testing.assert_array_equal, (params, optimizer), state(10.0))


def test_acting_needs_only_the_folder(tmp_path):
  save(tmp_path, 5, 10)
  params, meta, step = checkpoint.load_for_acting(tmp_path)
  assert step == 10 and meta["tokenizer"] == TOKENIZER and meta["specs"] == META["specs"]
  jax.tree.map(np.testing.assert_array_equal, params, state(10.0)[0])
  np.testing.assert_array_equal(checkpoint.load_for_acting(tmp_path, 5)[0]["bias"], [0.0, 5.0, 10.0])


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
  with caplog.at_level(logging.WARNING, "gato_jax.checkpoint"):
    assert restore(tmp_path)[0] == 5
    assert checkpoint.load_for_acting(tmp_path)[2] == 5
  ours = [r.getMessage() for r in caplog.records if r.name == "gato_jax.checkpoint"]
  assert len(ours) == 2 and all(str(tmp_path / "10") in line and "\n" not in line for line in ours)
  with pytest.raises(GatoError, match="cannot be read"):
    checkpoint.load_for_acting(tmp_path, 10)


def test_all_damaged_is_an_error(tmp_path):
  save(tmp_path, 5)
  damage(tmp_path / "5" / "params", "cut")
  with pytest.raises(GatoError, match="none of the checkpoints"):
    restore(tmp_path)


def test_a_kill_while_saving_keeps_the_earlier(tmp_path):
  save(tmp_path, 5)
  source = "\n".join([
    "import jax.numpy as jnp, os, pathlib, signal, sys",
    "from gato_jax import checkpoint",
    "checkpoints = checkpoint.Checkpoints(pathlib.Path(sys.argv[1]))",
    "big = {'layer': {'kernel': jnp.ones((4000, 4000))}}",
    "checkpoints.save(10, big, big, {}, b'')",
    "os.kill(os.getpid(), signal.SIGKILL)",
  ])  # fmt: skip
  killed = subprocess.run([sys.executable, "-c", source, str(tmp_path)], capture_output=True)
  assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
  assert restore(tmp_path)[0] == 5
