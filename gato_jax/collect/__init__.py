"""Experts act, EnvLogger records: shards of episodes in worker processes that never import TensorFlow."""

from gato_jax.collect.config import CollectConfig
from gato_jax.collect.pool import Collection
from gato_jax.collect.shards import collect_shard, missing_shards

__all__ = ["CollectConfig", "Collection", "collect_shard", "missing_shards"]
