"""The checkpoint of an untrained network, for tests that act."""

import pathlib
from typing import Any

import jax
import numpy as np

import rlds_builders
from gato_jax.data import demonstrations
from gato_jax.domain import environment_task_spec
from gato_jax.env import logs
from gato_jax.model import GatoConfig, abstract_params
from gato_jax.tokens import codec
from gato_jax.train import checkpoint

SMALL = GatoConfig(
  layers=2,
  heads=2,
  width=32,
  feed_forward=64,
  key_size=16,
  patch_channels=32,
  dtype="float32",
  remat="none",
  memory_length=256,
)


def random_params(seed: int = 3) -> Any:
  """Random parameters, larger than initial ones, so that no prediction is near uniform.

  Every bias counts. Drawn by NumPy: compiling an initialisation takes seconds.
  """
  random = np.random.default_rng(seed)

  def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    fan_in = leaf.shape[-1] if len(leaf.shape) < 3 else leaf.shape[1]
    is_scale = "scale" in jax.tree_util.keystr(path)
    drawn = (
      2.0 + random.normal(0.0, 0.2, leaf.shape)
      if is_scale
      else random.normal(0.0, 2 * fan_in**-0.5, leaf.shape)
    )
    return drawn.astype(leaf.dtype)

  return jax.tree_util.tree_map_with_path(draw, abstract_params(SMALL))


def write(path: pathlib.Path, dummy_raw: pathlib.Path) -> pathlib.Path:
  """Writes the workdir of a network that knows both dummy tasks.

  It holds checkpoint 5 and demonstrations.
  """
  params = random_params()
  domain, task_specs = rlds_builders.get("dummy"), {}

  for task in domain.tasks:
    environment = domain.make_environment(task)
    task_specs[f"dummy.{task}"] = environment_task_spec(domain, task, environment).to_json()
    shard = logs.shards(logs.task_directory(dummy_raw, "dummy", task))[0]
    pieces = []

    for row, columns in list(logs.read_shard(shard))[:2]:
      observation = {
        k.removeprefix("observation/"): v[: row.length]
        for k, v in columns.items()
        if "observation/" in k
      }
      pieces.append((observation, columns["action"][: row.length]))

    demonstrations.write(path, f"dummy.{task}", pieces)

  store = checkpoint.Checkpoints(path / "checkpoints", keep=1)
  meta = {"model": SMALL.to_json(), "specs": task_specs}
  store.save(5, params, {"count": np.zeros([], np.int32)}, meta, codec.default_text_codec().model)
  store.close()
  return path
