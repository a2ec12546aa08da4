"""Buckets: a run whose workdir and datasets are in one, killed in the middle; what is refused."""

import json
import pathlib
import shutil
import sys
import time
import types

import bucket
import commands
import numpy as np
import pytest
import train_process

from gato_jax.data import mirror, prepared
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.storage import bucket_lock, files, growing, lock, lock_holder, paths, piece_cache
from gato_jax.train import checkpoint, metrics


@pytest.fixture(scope="module")
def server():
  with bucket.server() as running, pytest.MonkeyPatch.context() as patch:
    for name, value in running.environment.items():
      patch.setenv(name, value)
    yield running


@pytest.fixture(scope="module")
def data_dir(server, dummy_tfds):
  """A data directory with the dummy domain."""
  address = paths.path(server.path("data"))
  system, name = paths.file_system(address)
  system.put(f"{dummy_tfds}/", f"{name}/tfds/", recursive=True)
  return address


# Paths and files.


def test_a_path_of_this_machine_stays_pathlibs(tmp_path):
  assert paths.path(tmp_path) == tmp_path and type(paths.path("a/b")) is type(pathlib.Path("a"))


@pytest.mark.parametrize(
  "address, said",
  [
    ("https://lab/demo", "https:// is not supported"),
    ("gs://", "names no bucket"),
  ],
)
def test_an_address_of_another_kind_is_refused(address, said):
  with pytest.raises(GatoError, match=said):
    paths.path(address)


def test_a_missing_package_is_named(monkeypatch):
  monkeypatch.setattr(paths.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(GatoError, match="pip install s3fs"):
    paths.path("s3://lab/demo")


@pytest.mark.parametrize(
  "name, said", [("nosuchbucket", "there is no such bucket"), ("forbidden", "access is denied")]
)
def test_a_bucket_that_cannot_be_reached_is_one_line(server, name, said):
  with pytest.raises(GatoError, match=said):
    paths.check_access(paths.path(f"gs://{name}/demo"), "--config.workdir")


def test_json_is_written_and_read(server):
  path = paths.path(server.path("files/a/b.json"))
  files.write_json(path, {"steps": 3})
  assert files.read_json(path, "delete it") == {"steps": 3}


def test_rows_are_appended(server):
  path = paths.path(server.path("files/rows.jsonl"))
  rows = [results.Row("dummy.reach", "gato", seed, 1.0, 5, True, 0.1) for seed in range(3)]
  results.append(path, rows[:1])
  results.append(path, rows[1:])
  assert list(results.read(path)) == rows


def test_a_growing_file_is_uploaded_now_and_then_and_at_its_end(server, monkeypatch):
  path = paths.path(server.path("files/growing.txt"))
  file = growing.GrowingFile(path, b"0")
  file.append(b"1")  # the first one at once
  file.append(b"2")
  assert path.read_bytes() == b"01"

  file.flush()
  assert path.read_bytes() == b"012"

  file.append(b"3")
  file.close()
  assert path.read_bytes() == b"0123"


def test_every_logged_row_is_in_the_bucket_when_it_is_flushed(server, monkeypatch):
  monkeypatch.setattr("gato_jax.train.tensorboard_log._LARGEST_BYTES", 1)
  workdir = paths.path(server.path("logs"))
  log = metrics.MetricsLog(workdir, step=0)
  for step in range(1, 6):
    log.write({"step": step, "loss": 1.0 / step})
  log.flush()

  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5]

  # A file of events that is large enough is followed by another one.
  log.write({"step": 6, "loss": 0.1})
  log.close()
  assert len(list((workdir / "tensorboard").iterdir())) >= 2


# Locks.


def test_a_second_writer_is_refused_and_the_first_ones_end_lets_it_in(server):
  workdir = paths.path(server.path("locked"))
  code = (
    "import time; from gato_jax.storage import lock, paths\n"
    f"with lock.only_writer(paths.path('{workdir}'), 'train'):\n"
    "  print('held', flush=True); time.sleep(1800)"
  )
  with train_process.process([sys.executable, "-c", code]) as other:
    assert other.stdout.readline() == "held\n"
    with pytest.raises(GatoError, match=rf"process {other.pid} on .* writes here \(train\)"):
      with lock.only_writer(workdir, "train"):
        pass

  # Killed: the object is still there, and its process is not.
  assert (workdir / "train.lock").exists()
  with lock.only_writer(workdir, "train"):
    pass
  assert not (workdir / "train.lock").exists()


def test_of_two_that_ask_at_the_same_time_the_first_one_gets_it(server):
  """Both have seen no lock: the store refuses the second object."""
  path = paths.path(server.path("raced.lock"))
  holder = lock_holder.Holder.this()
  for key in ("first", "second"):
    bucket_lock._create(path, bucket_lock._Entry(holder, key))
  assert bucket_lock._read(path).key == "first"


def test_a_process_elsewhere_holds_it_as_long_as_it_counts(server, monkeypatch):
  monkeypatch.setattr(lock_holder, "BEAT_SECONDS", 0.2)
  monkeypatch.setattr(lock_holder, "PATIENCE_SECONDS", 1.5)
  workdir = paths.path(server.path("elsewhere"))

  with lock.only_writer(workdir, "train"):
    # The same process, seen from another machine: its heartbeat is what tells that it lives.
    monkeypatch.setattr(lock_holder.socket, "gethostname", lambda: "another-host")
    with pytest.raises(GatoError, match="writes here"):
      with lock.only_writer(workdir, "train"):
        pass

  entry = {"holder": {"host": "gone", "pid": 1, "began": 0.0}, "key": "k", "beats": 7}
  (workdir / "train.lock").write_text(json.dumps(entry))
  with lock.only_writer(workdir, "train"):
    pass


# Datasets.


def windows(data):
  """Returns the steps of every episode."""
  return [data.read([(episode, 0, length)]) for episode, length in enumerate(data.lengths)]


def test_a_mirror_reads_what_the_dataset_holds(server, data_dir, dummy_tfds):
  tfds = mirror.update(data_dir, ["dummy"])
  there = prepared.load(tfds, "dummy.reach", keep=0)
  here = prepared.load(dummy_tfds, "dummy.reach", keep=0)

  assert not list(tfds.rglob("*.tfrecord*")) and not list(tfds.rglob("data.bin"))
  for ours, theirs in zip(windows(there), windows(here), strict=True):
    np.testing.assert_array_equal(ours.action, theirs.action)


def test_only_what_changed_is_copied_again_and_what_is_gone_goes(server, data_dir, dummy_tfds):
  tfds = mirror.update(data_dir, ["dummy"])
  description = tfds / "dummy/reach/1.0.0/dataset_info.json"
  written = description.stat().st_mtime_ns
  mirror.update(data_dir, ["dummy"])
  assert description.stat().st_mtime_ns == written

  system, name = paths.file_system(data_dir)
  system.rm(f"{name}/tfds/dummy/reach_discrete", recursive=True)
  mirror.update(data_dir, ["dummy"])
  assert not (tfds / "dummy/reach_discrete").exists() and description.exists()
  system.put(
    f"{dummy_tfds}/dummy/reach_discrete/",
    f"{name}/tfds/dummy/reach_discrete/",
    recursive=True,
  )


def test_a_dataset_that_was_built_anew_is_read_anew(server, data_dir, tmp_path, dummy_tfds):
  system, name = paths.file_system(data_dir)
  other = paths.path(server.path("other"))
  source = dummy_tfds / "dummy/reach"
  system.put(f"{source}/", "lab/other/tfds/dummy/reach/", recursive=True)
  tfds = mirror.update(other, ["dummy"])
  before = windows(prepared.load(tfds, "dummy.reach", keep=0))

  # Another dataset under the same name, whose data.bin is of another size.
  shutil.copytree(dummy_tfds / "dummy/reach_discrete", tmp_path / "new")
  system.rm("lab/other/tfds/dummy/reach", recursive=True)
  system.put(f"{tmp_path}/new/", "lab/other/tfds/dummy/reach/", recursive=True)
  mirror.update(other, ["dummy"])
  assert not list(tfds.rglob("*.piece"))
  after = windows(prepared.load(tfds, "dummy.reach", keep=0))
  assert after[0].action.dtype != before[0].action.dtype


@pytest.fixture
def cached(server, tmp_path, monkeypatch):
  """An object of 10.5 pieces of 1 kB, and how often the server was asked for a part of it."""
  monkeypatch.setattr(piece_cache, "PIECE_BYTES", 1000)
  monkeypatch.setenv("GATO_CACHE_DIR", str(tmp_path))
  piece_cache._room.cache_clear()

  content = np.random.default_rng(0).bytes(10_500)
  address = paths.path(server.path(f"objects/{tmp_path.name}"))
  address.write_bytes(content)

  fetched = []
  system, _ = paths.file_system(address)
  fetch = system.cat_file
  monkeypatch.setattr(
    system, "cat_file", lambda name, start, end: fetched.append(start) or fetch(name, start, end)
  )
  open_object = lambda: piece_cache.CachedObject(str(address), 10_500, tmp_path / "pieces")  # noqa: E731
  yield types.SimpleNamespace(content=content, open=open_object, fetched=fetched, folder=tmp_path)
  piece_cache._room.cache_clear()


def test_a_piece_is_fetched_once(cached):
  read = cached.open()
  assert read.read(1990, 20) == cached.content[1990:2010]
  assert read.read(10_400, 500) == cached.content[10_400:]
  assert cached.open().read(0, 3000) == cached.content[:3000]  # the next run
  assert sorted(cached.fetched) == [0, 1000, 2000, 10_000]


def test_a_piece_that_a_kill_or_the_disk_damaged_is_fetched_again(cached):
  cached.open().read(0, 10)
  (piece,) = (cached.folder / "pieces").iterdir()
  piece.write_bytes(piece.read_bytes()[:-1])
  assert cached.open().read(0, 10) == cached.content[:10]

  piece.write_bytes(b"\0" * len(piece.read_bytes()))
  assert cached.open().read(0, 10) == cached.content[:10]
  assert cached.fetched == [0, 0, 0]


def test_above_the_limit_the_pieces_read_longest_ago_go(cached, monkeypatch):
  monkeypatch.setenv("GATO_CACHE_GIB", str(4500 / 2**30))
  read = cached.open()
  for number in range(4):
    read.read(1000 * number, 1)
    time.sleep(0.01)
  read.read(0, 1)  # the oldest one, read again
  read.read(4000, 1)

  numbers = sorted(int(path.stem) for path in (cached.folder / "pieces").iterdir())
  assert 0 in numbers and 4 in numbers and 1 not in numbers
  assert read.read(1000, 10) == cached.content[1000:1010]


def test_a_limit_that_is_no_number_is_refused(cached, monkeypatch):
  monkeypatch.setenv("GATO_CACHE_GIB", "much")
  with pytest.raises(GatoError, match="GATO_CACHE_GIB='much'"):
    cached.open().read(0, 1)


def test_datasets_are_read_from_s3(monkeypatch, tmp_path, dummy_tfds):
  moto_server = pytest.importorskip("moto.server")
  s3 = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
  s3.start()
  try:
    host, port = s3.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("GATO_CACHE_DIR", str(tmp_path))

    address = paths.path("s3://shelf/data")
    with pytest.raises(GatoError, match="there is no such bucket"):
      paths.check_access(address, "--config.data_dir")
    system, name = paths.file_system(address)
    system.mkdir("shelf")
    system.put(f"{dummy_tfds}/", f"{name}/tfds/", recursive=True)

    there = prepared.load(mirror.update(address, ["dummy"]), "dummy.reach", keep=0)
    here = prepared.load(dummy_tfds, "dummy.reach", keep=0)
    np.testing.assert_array_equal(windows(there)[0].action, windows(here)[0].action)
  finally:
    s3.stop()


# Runs.


@pytest.mark.slow  # three runs, a minute
def test_a_killed_run_goes_on_with_the_same_losses(server, tmp_path):
  """Checkpoints, metrics and FLOPs of a run in a bucket are those of one that was never killed."""
  workdir = paths.path(server.path("run"))
  status, _ = train_process.run(workdir, 12, "--kill=9", environment=server.environment)
  assert status == -9

  # Steps that were logged after the checkpoint are logged again, not twice.
  status, error = train_process.run(workdir, 12, environment=server.environment)
  assert status == 0, error
  train_process.run(tmp_path, 12)

  assert checkpoint.saved_steps(workdir / "checkpoints") == [12, 8, 4]
  assert train_process.learned(workdir) == train_process.learned(tmp_path)
  rows = train_process.rows(workdir)
  assert rows[-1]["flops"] == sum(row["interval_flops"] for row in rows)


def test_a_checkpoint_without_its_mark_is_none(server):
  directory = paths.path(server.path("unfinished/checkpoints"))
  files.write(directory / "4/params/manifest.ocdbt", b"half")
  assert checkpoint.saved_steps(directory) == []


def test_checkpoints_need_a_store_that_orbax_knows(server):
  pytest.importorskip("s3fs")
  with pytest.raises(GatoError, match="gs://"):
    checkpoint.Checkpoints(paths.path("s3://lab/run/checkpoints"))


@pytest.mark.slow  # three verbs one after the other, half a minute
def test_the_verbs_train_and_evaluate_there(server, data_dir):
  arguments = (
    "--config=experiments/configs/dummy.py",
    f"--config.workdir={server.path('verbs')}",
    f"--config.data_dir={data_dir}",
  )
  environment = bucket.variables(server.environment)
  workdir = paths.path(server.path("verbs"))

  steps = ("--config.train.steps=4", "--config.train.checkpoint_every=4")
  trained = commands.run("experiments.train", *arguments, *steps, env=environment)
  assert trained.returncode == 0, trained.stderr

  small = ("--config.evaluate.episodes=1", "--config.evaluate.videos=False")
  played = commands.run("experiments.evaluate", *arguments, *small, env=environment)
  assert played.returncode == 0, played.stderr
  rows = list(results.read(workdir / "results.jsonl"))
  assert {row.task for row in rows if row.actor == "gato"} == {
    "dummy.reach",
    "dummy.reach_discrete",
  }

  reported = commands.run("experiments.report", *arguments, env=environment)
  assert reported.returncode == 0, reported.stderr
  assert "dummy.reach_discrete" in (workdir / "report/index.html").read_text()


@pytest.mark.parametrize(
  "verb, argument, said",
  [
    ("collect", "--config.data_dir=gs://lab/data", "gcloud storage rsync"),
    ("train", "--config.workdir=gs://forbidden/run", "access is denied"),
    ("train", "--config.workdir=s3://lab/run", "only gs://"),
    ("train", "--config.tokenizer=gs://lab/tokenizer.model", "not supported here"),
    ("measure", "--config.workdir=gs://lab/run", "not supported here"),
  ],
)
def test_a_verb_refuses_what_it_cannot_do_in_one_line(server, verb, argument, said):
  done = commands.run(
    f"experiments.{verb}",
    "--config=experiments/configs/dummy.py",
    argument,
    env=bucket.variables(server.environment),
  )
  assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
  assert len(done.stderr.strip().splitlines()) == 1
