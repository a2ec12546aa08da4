"""Experts act, EnvLogger records: shards of episodes in worker processes that never import TensorFlow."""

from gato_jax.collect.config import CollectConfig, TaskSettings
from gato_jax.collect.pool import Changed, Collection
from gato_jax.collect.shards import collect_shard, missing_shards

__all__ = ["Changed", "CollectConfig", "Collection", "TaskSettings", "collect_shard", "missing_shards"]
