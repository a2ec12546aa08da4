"""Collects tasks of failing_domain in a process that tests may kill.

Usage: python collect_process.py RAW EPISODES TASK...
"""

import pathlib
import sys

import failing_domain

from gato_jax.env import collect

if __name__ == "__main__":
  tasks = [(failing_domain.DOMAIN, task) for task in sys.argv[3:]]
  config = collect.CollectConfig(episodes=int(sys.argv[2]), workers=2)
  for event in collect.Collection(tasks, pathlib.Path(sys.argv[1]), config).play():
    print(*event, flush=True)
