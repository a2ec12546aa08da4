"""Compiled programs are kept where a run asks for it, and found by its next start."""

import os
import subprocess
import sys

import pytest

_START = """
import pathlib, sys
import jax, jax.numpy as jnp
from gato_jax.train import compiled

hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append("cache_hits" in name))
directory = compiled.keep(sys.argv[1], pathlib.Path(sys.argv[2]))
jax.jit(lambda x: jnp.sin(x @ x) + 1)(jnp.ones((64, 64))).block_until_ready()
print(directory, sum(hits))
"""


def start(setting, workdir, **environment):
  """Compiles in a process of its own; returns the directory and the number of programs found."""
  alone = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION")}
  alone |= {"JAX_PLATFORMS": "cpu", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
  alone["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
  done = subprocess.run(
    [sys.executable, "-c", _START, setting, str(workdir)],
    env=alone | environment,
    capture_output=True,
    text=True,
    check=True,
  )
  directory, hits = done.stdout.split()
  return directory, int(hits)


def test_the_second_start_finds_what_the_first_one_compiled(tmp_path):
  kept = tmp_path / "kept"
  assert start(str(kept), tmp_path) == (str(kept), 0)
  assert list(kept.iterdir())
  directory, hits = start(str(kept), tmp_path)
  assert directory == str(kept) and hits > 0


@pytest.mark.parametrize("setting", ["auto", ""])
def test_on_cpus_nothing_is_kept_unless_it_is_asked_for(tmp_path, setting):
  assert start(setting, tmp_path) == ("None", 0)
  assert not list(tmp_path.iterdir())


def test_the_users_own_directory_comes_first(tmp_path):
  own = tmp_path / "own"
  found = start(str(tmp_path / "kept"), tmp_path, JAX_COMPILATION_CACHE_DIR=str(own))
  assert found[0] == "None" and list(own.iterdir()) and not (tmp_path / "kept").exists()
