"""Experts act and EnvLogger records them, in worker processes that never import TensorFlow."""

from gato_jax.env.collect.collection import Collection, MovedAside
from gato_jax.env.collect.config import CollectConfig, TaskSettings
from gato_jax.env.collect.shards import collect_shard, missing_shards

__all__ = [
  "MovedAside",
  "CollectConfig",
  "Collection",
  "TaskSettings",
  "collect_shard",
  "missing_shards",
]
