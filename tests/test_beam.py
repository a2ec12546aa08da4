"""`tfds build` on Apache Beam: the same records in the same order as without it, through both runners."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

import rlds_builders
from gato_jax import collect, specs

DIRECT = "runner=DirectRunner,direct_running_mode=multi_processing,direct_num_workers=2"
PORTABLE = "runner=PortableRunner,job_endpoint=localhost:{port},environment_type=LOOPBACK,sdk_worker_parallelism=2"


def build(domain, task, raw, data_dir, options=""):
  """`tfds build` as its users know it; returns what it printed."""
  command = [pathlib.Path(sys.executable).with_name("tfds"), "build", f"--config={task}", f"--data_dir={data_dir}"]
  if options:
    command.append(f"--beam_pipeline_options={options}")
  folder = pathlib.Path(rlds_builders.__file__).parent / domain
  environment = os.environ | {"GATO_RAW_DIR": str(raw), "PYTHONPATH": str(folder.parent.parent)}
  done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return done.stdout + done.stderr


def records(data_dir, domain, task):
  source = tfds.builder_from_directory(data_dir / domain / task / "1.0.0").as_data_source(
    "train", decoders={"steps": tfds.decode.SkipDecoding()}
  )
  return [specs.flatten(record) for record in source]


def assert_same(ours, theirs):
  assert len(ours) == len(theirs) > 0
  for one, other in zip(ours, theirs, strict=True):
    assert one.keys() == other.keys()
    for key in one:
      np.testing.assert_array_equal(one[key], other[key], err_msg=key)


@contextlib.contextmanager
def job_service():
  """Beam's local job service in a process of its own; yields its port."""
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    port = probe.getsockname()[1]
  module = "apache_beam.runners.portability.local_job_service_main"
  service = subprocess.Popen([sys.executable, "-m", module, f"--port={port}"], stderr=subprocess.DEVNULL)
  try:
    for _ in range(600):
      with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("localhost", port), 1):
        break
      time.sleep(0.1)
    yield port
  finally:
    service.terminate()
    service.wait()


@pytest.fixture(scope="module")
def meta_world_raw(tmp_path_factory):
  """Real logs: 25 episodes of a simulator, in three shards; played in processes of their own."""
  raw = tmp_path_factory.mktemp("raw")
  tasks = [(rlds_builders.get("meta_world"), "reach-v3")]
  for _ in collect.Collection(tasks, raw, collect.CollectConfig(episodes=25, workers=2)).play():
    pass
  return raw


@pytest.mark.slow
@pytest.mark.parametrize("runner", [DIRECT, PORTABLE], ids=["direct", "portable"])
@pytest.mark.parametrize(("domain", "task"), [("dummy", "reach"), ("meta_world", "reach-v3")])
def test_beam_builds_the_same_records(dummy_raw, meta_world_raw, tmp_path, domain, task, runner):
  raw = {"dummy": dummy_raw, "meta_world": meta_world_raw}[domain]
  assert "using Beam" not in build(domain, task, raw, tmp_path / "plain")
  with job_service() if "Portable" in runner else contextlib.nullcontext() as port:
    said = build(domain, task, raw, tmp_path / "beam", runner.format(port=port))
  assert "ordering is enabled, using Beam" in said  # as TFDS says where the builder gave it a transform
  assert ("Worker: severity" if runner == DIRECT else "Job state changed to DONE") in said
  assert_same(records(tmp_path / "plain", domain, task), records(tmp_path / "beam", domain, task))


@pytest.mark.slow
def test_a_torn_log_fails_the_build_on_beam_with_one_clear_line(dummy_raw, tmp_path):
  shutil.copytree(dummy_raw, tmp_path / "raw")
  shard = tmp_path / "raw/dummy/reach/shard-00001"
  log = max((p for p in shard.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
  log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
  with pytest.raises(AssertionError, match="shard-00001: half-written or corrupt log; delete the folder"):
    build("dummy", "reach", tmp_path / "raw", tmp_path / "beam", DIRECT)
  assert not (tmp_path / "beam/dummy/reach/1.0.0").exists()
