"""Builds on Apache Beam: the same records in the same order as without it.

Bad input is named in one line.
"""

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
from gato_jax.env import collect, logs
from gato_jax.errors import GatoError
from gato_jax.task import flatten
from rlds_builders.base import rlds_builder
from rlds_builders.dummy import dummy_dataset_builder

ROOT = pathlib.Path(rlds_builders.__file__).parent
DIRECT = "runner=DirectRunner,direct_running_mode=multi_processing,direct_num_workers=2"
PORTABLE = "runner=PortableRunner,job_endpoint=localhost:{port},environment_type=LOOPBACK,sdk_worker_parallelism=2"
TORN = (
  "shard-00001: half-written or corrupt log; delete the folder and run experiments.collect again"
)


def build_here(raw, data_dir, task="reach", runner=None):
  """Builds the dummy domain's dataset by TFDS in this process."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("GATO_RAW_DIR", str(raw))
    builder = dummy_dataset_builder.Builder(config=task, data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(beam_runner=runner))


def tfds_build(domain, task, raw, data_dir, options=""):
  """Runs `tfds build` as its users do."""
  command = [
    pathlib.Path(sys.executable).with_name("tfds"),
    "build",
    f"--config={task}",
    f"--data_dir={data_dir}",
  ]
  if options:
    command.append(f"--beam_pipeline_options={options}")
  environment = os.environ | {"GATO_RAW_DIR": str(raw), "PYTHONPATH": str(ROOT.parent)}
  return subprocess.run(command, cwd=ROOT / domain, env=environment, capture_output=True, text=True)


def records(data_dir, domain, task):
  source = tfds.builder_from_directory(data_dir / domain / task / "1.0.0").as_dataset(
    split="train",
    decoders={"steps": tfds.decode.SkipDecoding()},
    read_config=tfds.ReadConfig(interleave_cycle_length=1),
  )
  return [flatten(record) for record in tfds.as_numpy(source)]


def assert_same(ours, theirs):
  assert len(ours) == len(theirs) > 0
  for one, other in zip(ours, theirs, strict=True):
    assert one.keys() == other.keys()
    for key in one:
      np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def tear(raw, copy):
  """Copies the raw logs and cuts the largest file of dummy.reach's second shard in half."""
  shutil.copytree(raw, copy)
  log = max(logs.shards(copy / "dummy/reach")[1].glob("*/*"), key=lambda path: path.stat().st_size)
  log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
  return copy


@contextlib.contextmanager
def job_service():
  """Runs Beam's local job service in a process of its own and yields its port."""
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    port = probe.getsockname()[1]

  module = "apache_beam.runners.portability.local_job_service_main"
  service = subprocess.Popen(
    [sys.executable, "-m", module, f"--port={port}"], stderr=subprocess.DEVNULL
  )

  try:
    deadline = time.monotonic() + 60
    while True:
      try:
        socket.create_connection(("localhost", port), 1).close()
        break
      except ConnectionRefusedError:
        assert service.poll() is None and time.monotonic() < deadline, (
          "the job service does not answer"
        )
        time.sleep(0.1)

    yield port
  finally:
    service.terminate()
    service.wait()


@pytest.mark.parametrize("task", ["reach", "reach_discrete"])
def test_beam_in_this_process_builds_the_same_records(dummy_raw, tmp_path, task):
  build_here(dummy_raw, tmp_path / "plain", task)
  build_here(dummy_raw, tmp_path / "beam", task, "DirectRunner")
  ours = records(tmp_path / "plain", "dummy", task)

  assert [record["episode_metadata/seed"] for record in ours] == list(range(30))
  assert_same(ours, records(tmp_path / "beam", "dummy", task))

  domain = rlds_builders.get("dummy")

  assert not rlds_builder.build(
    domain, task, dummy_raw, tmp_path / "beam"
  )  # experiments.build keeps it


@pytest.mark.parametrize("runner", [None, "DirectRunner"])
def test_a_torn_log_is_one_clear_line(dummy_raw, tmp_path, runner):
  with pytest.raises(GatoError) as caught:
    build_here(tear(dummy_raw, tmp_path / "raw"), tmp_path, runner=runner)
  assert (
    TORN in str(caught.value)
    and "\n" not in str(caught.value)
    and "while running" not in str(caught.value)
  )
  assert not (tmp_path / "dummy/reach/1.0.0").exists()


@pytest.mark.parametrize("runner", [None, "DirectRunner"])
def test_no_logs_are_one_clear_line(dummy_raw, tmp_path, runner):
  with pytest.raises(
    GatoError, match="no raw logs of dummy.reach in .*; run python -m experiments.collect"
  ):
    build_here(tmp_path / "raw", tmp_path, runner=runner)

  (tmp_path / "raw/dummy/reach").mkdir(parents=True)
  shutil.copy(dummy_raw / "dummy/reach/spec.json", tmp_path / "raw/dummy/reach")

  with pytest.raises(
    GatoError, match="no complete shards in .*; run python -m experiments.collect"
  ):
    build_here(tmp_path / "raw", tmp_path, runner=runner)


@pytest.fixture(scope="module")
def meta_world_raw(tmp_path_factory):
  """Raw logs of 25 episodes of a real simulator, in three shards, played in other processes."""
  raw = tmp_path_factory.mktemp("raw")
  tasks = [(rlds_builders.get("meta_world"), "reach-v3")]
  for _ in collect.Collection(tasks, raw, collect.CollectConfig(episodes=25, workers=2)).play():
    pass
  return raw


@pytest.mark.slow
@pytest.mark.parametrize("runner", [DIRECT, PORTABLE], ids=["direct", "portable"])
@pytest.mark.parametrize(("domain", "task"), [("dummy", "reach"), ("meta_world", "reach-v3")])
def test_tfds_build_on_beam_builds_the_same_records(
  dummy_raw, meta_world_raw, tmp_path, domain, task, runner
):
  raw = {"dummy": dummy_raw, "meta_world": meta_world_raw}[domain]
  plain = tfds_build(domain, task, raw, tmp_path / "plain")
  with job_service() if runner == PORTABLE else contextlib.nullcontext() as port:
    beam = tfds_build(domain, task, raw, tmp_path / "beam", runner.format(port=port))

  assert plain.returncode == beam.returncode == 0, plain.stderr + beam.stderr
  assert (
    "using Beam" not in plain.stdout and "ordering is enabled, using Beam" in beam.stdout
  )  # TFDS says so

  if runner == DIRECT:  # each worker process reports to the first one when it is there
    assert beam.stdout.count('message: "Python sdk harness starting."') == 2
  else:
    assert "Job state changed to DONE" in beam.stdout

  assert_same(records(tmp_path / "plain", domain, task), records(tmp_path / "beam", domain, task))


@pytest.mark.slow
@pytest.mark.parametrize("runner", [DIRECT, PORTABLE], ids=["direct", "portable"])
def test_tfds_build_ends_with_the_line_that_names_a_torn_log(dummy_raw, tmp_path, runner):
  raw = tear(dummy_raw, tmp_path / "raw")
  with job_service() if runner == PORTABLE else contextlib.nullcontext() as port:
    done = tfds_build("dummy", "reach", raw, tmp_path / "beam", runner.format(port=port))

  assert done.returncode == 1

  last = done.stderr.strip().splitlines()[-1]

  assert (
    last.startswith("gato_jax.errors.GatoError: ") and TORN in last and "while running" not in last
  )
  assert not (tmp_path / "beam/dummy/reach/1.0.0").exists()
