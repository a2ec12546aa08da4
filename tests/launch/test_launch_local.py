"""The local backend: real training that outlives its shell, is preempted, goes on, is cancelled.

And its supervisor.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import commands
import pytest
import train_process
from slurm_cluster import until
from tiny_run import TINY, rows

from gato_jax.errors import GatoError
from launch import jobs, supervise
from launch.backends.local import Local
from launch.jobs import Job, JobState

DUMMY = "experiments/configs/dummy.py"
SUBMIT = """
import json, pathlib, sys
from launch import jobs
from launch.backends.local import Local
jobs.FOLDER = pathlib.Path(sys.argv[1])
print(jobs.submit(Local(processes=2, devices=1, restarts=1), jobs.Job("real", sys.argv[2], tuple(sys.argv[3:]))).handle)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
  monkeypatch.setattr(jobs, "FOLDER", tmp_path / "launch")
  jobs.FOLDER.mkdir()
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", train_process.cache())
  yield jobs.FOLDER

  for path in jobs.FOLDER.glob(
    "local.*/pid"
  ):  # whatever happened, nothing that was started here stays
    backend, handle = Local(), str(path.parent)
    if not backend.state(handle).over:
      os.killpg(int(path.read_text()), signal.SIGKILL)


def children(handle: str) -> list[int]:
  supervisor = (pathlib.Path(handle) / "pid").read_text()
  return [
    int(pid)
    for pid in pathlib.Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
  ]


# minutes; tests/launch/test_launch_slurm.py does the same under a real scheduler in every run
HOLDER = """
import fcntl, sys, time
with open(sys.argv[1], "w") as lock:
  fcntl.flock(lock, fcntl.LOCK_EX)
  print("locked", flush=True)
  time.sleep(float(sys.argv[2]))
"""


def hold(directory, seconds):
  """A supervisor that still holds the lock of its job."""
  holder = subprocess.Popen(
    [sys.executable, "-c", HOLDER, str(directory / "lock"), str(seconds)], stdout=subprocess.PIPE
  )
  holder.stdout.readline()
  return holder


def test_a_job_that_has_just_ended_can_be_submitted_again(folder):
  directory = folder / "local.again"
  directory.mkdir()
  backend = Local()

  # It has written its last state and exits a little later.
  (directory / "state").write_text(JobState.DONE)
  holder = hold(directory, 0.5)
  with open(directory / "lock", "w") as lock:
    backend._take_lock(lock, directory, "again")
  holder.wait()

  # One that runs is refused at once.
  (directory / "state").write_text(JobState.RUNNING)
  holder = hold(directory, 60)
  try:
    with open(directory / "lock", "w") as lock, pytest.raises(GatoError, match="again is running"):
      backend._take_lock(lock, directory, "again")
  finally:
    holder.kill()
    holder.wait()


@pytest.mark.slow
def test_real_training_outlives_its_shell_is_preempted_goes_on_and_is_cancelled(
  folder, dummy_tfds, tmp_path
):
  workdir = tmp_path / "work"
  settings = (*TINY, f"--config.data_dir={dummy_tfds.parent}", f"--config.workdir={workdir}")
  shell = subprocess.Popen(
    [
      "bash",
      "-c",
      '"$@"; sleep 60',
      "-",
      sys.executable,
      "-c",
      SUBMIT,
      str(folder),
      DUMMY,
      *settings,
    ],
    cwd=jobs.ROOT,
    stdout=subprocess.PIPE,
    text=True,
    start_new_session=True,
  )
  handle = shell.stdout.readline().strip()
  os.killpg(shell.pid, signal.SIGHUP)  # the terminal is closed
  shell.communicate()
  backend = Local()
  (record,) = jobs.records()

  assert record.handle == handle and record.settings == {
    "processes": 2,
    "devices": 1,
    "restarts": 1,
    "slots": 0,
  }

  until(lambda: len(rows(workdir)) >= 3, 240)

  assert backend.state(handle) == JobState.RUNNING
  with pytest.raises(GatoError, match="real is running on local"):
    jobs.submit(backend, record.job)

  first, second = children(handle)
  os.kill(second, signal.SIGTERM)
  until(lambda: backend.state(handle).over, 240)

  assert backend.state(handle) == JobState.DONE, backend.logs(handle, 30)

  supervisor = (pathlib.Path(handle) / "supervisor.log").read_text()

  assert "exit status 42, 42" in supervisor and "exit status 0, 0" in supervisor, supervisor

  said = backend.logs(handle, 500)

  assert (
    "== 0" in said
    and "== 1" in said
    and "SIGTERM: saved step" in said
    and "continuing from step" in said
  )
  assert [row["step"] for row in rows(workdir)] == list(range(1, 101))

  # longer, in one process: it goes on where the other ended, and is cancelled
  jobs.submit(backend, Job("real", DUMMY, (*settings, "--config.train.steps=100000")))
  until(lambda: len(rows(workdir)) > 102, 240)
  backend.cancel(handle)
  until(lambda: backend.state(handle).over, 120)

  assert backend.state(handle) == JobState.CANCELLED
  assert train_process.newest(workdir) > 102
  with pytest.raises(GatoError, match="it is cancelled already"):
    backend.cancel(handle)


def test_the_commands_of_a_run_that_fails(tmp_path):
  """As a user does it, with records in work/launch/."""
  name = f"test-{os.getpid()}"
  place = jobs.ROOT / "work/launch"

  def launch(command, *arguments):
    named = [] if command == "list" else [f"--name={name}"]
    done = commands.run("launch", command, *named, *arguments)
    return done.returncode, done.stdout, done.stderr

  try:
    where = (f"--config={DUMMY}", f"--config.data_dir={tmp_path}", f"--config.workdir={tmp_path}/w")
    status, output, error = launch("submit", "--on=local", *where)

    assert status == 0 and f"{name} is on local" in output, error

    until(lambda: Local().state(str(place / f"local.{name}")).over, 120)

    assert launch("status")[0] == 1
    assert f"{name}: failed on local" in launch("status")[1]

    (line,) = [line for line in launch("list")[1].splitlines() if line.startswith(name)]

    assert line.split()[1:3] == ["local", "failed"] and line.endswith(f"train {DUMMY}")
    assert "experiments.build" in launch("logs", "--lines=5")[1]  # the error says what to run first

    status, output, error = launch("cancel")

    assert (status, error) == (1, "error: it is failed already\n")
  finally:
    (place / f"local.{name}.json").unlink(missing_ok=True)
    shutil.rmtree(place / f"local.{name}", ignore_errors=True)


@pytest.mark.parametrize(
  ("backend", "job", "said"),
  [
    (Local(processes=0), Job("a", DUMMY), "--processes is at least 1"),
    (Local(processes=2), Job("a", DUMMY, verb="evaluate"), "only training takes several processes"),
    (Local(), Job("a", "experiments/configs/none.py"), "no such file"),
  ],
)
def test_what_cannot_be_is_refused(folder, backend, job, said):
  with pytest.raises(GatoError, match=said):
    jobs.submit(backend, job)
  assert not list(folder.iterdir())


def supervisor(folder, monkeypatch, scripts, **settings):
  """A supervisor in this process whose lives run scripts[0], scripts[1], ...

  (a list of Python texts each).
  """
  place = folder / "local.x"
  place.mkdir()
  (place / "lock").touch()
  order = {
    "backend": vars(Local(**settings)),
    "job": {"name": "x", "config": DUMMY, "overrides": [], "verb": "train"},
  }
  (place / "order.json").write_text(json.dumps(order))
  lives = iter(scripts)
  monkeypatch.setattr(
    Local, "commands", lambda self, job, address: [[sys.executable, "-c", s] for s in next(lives)]
  )
  before = signal.getsignal(signal.SIGTERM)

  try:
    return supervise.Supervisor(place).run(), (place / "state").read_text()
  finally:
    signal.signal(signal.SIGTERM, before)


SAVES = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(42)); {}; time.sleep(30)"
TELL = "import os, signal; os.kill(os.getppid(), signal.SIGTERM)"  # what `launch cancel` does


@pytest.mark.parametrize(
  ("scripts", "settings", "state"),
  [
    ([["exit(0)", "exit(0)"]], {}, JobState.DONE),
    ([["exit(0)", "exit(1)"]], {"restarts": 3}, JobState.FAILED),  # a failure is not started again
    ([["exit(42)"]], {}, JobState.FAILED),
    ([["exit(42)"], ["exit(42)"], ["exit(0)"]], {"restarts": 2}, JobState.DONE),
    ([["exit(42)"], ["exit(42)"]], {"restarts": 1}, JobState.FAILED),
    (
      [["import os, signal; os.kill(os.getpid(), 15)"], ["exit(0)"]],
      {"restarts": 1},
      JobState.DONE,
    ),  # before it listened
    ([[SAVES.format(TELL)]], {"restarts": 5}, JobState.CANCELLED),
    (
      [
        [
          f"{TELL}; import time; signal.signal(15, signal.SIG_IGN)\nwhile True: time.sleep(0.2); {TELL}"
        ]
      ],
      {},
      JobState.CANCELLED,
    ),
  ],
)
def test_how_lives_end(folder, monkeypatch, scripts, settings, state):
  assert supervisor(folder, monkeypatch, scripts, **settings) == (state, "running")


def test_processes_get_their_devices(folder, monkeypatch):
  script = "import os, sys; sys.exit(os.environ['XLA_FLAGS'] != '--xla_force_host_platform_device_count=3')"
  assert supervisor(folder, monkeypatch, [[script]], devices=3)[0] == JobState.DONE


LIVES = """
import pathlib, signal, sys
sys.path.insert(0, {root!r})
from launch import jobs, supervise
from launch.backends.local import Local
jobs.FOLDER = pathlib.Path({folder!r})
Local.commands = lambda self, job, address: [[sys.executable, "-c", {script!r}]]
supervise.main()
"""


def test_a_supervisor_that_is_killed_leaves_nothing_behind(folder, monkeypatch):
  script = SAVES.format(f"open({str(folder / 'pid')!r}, 'w').write(str(__import__('os').getpid()))")
  started = subprocess.Popen
  text = LIVES.format(root=str(jobs.ROOT), folder=str(folder), script=script)
  monkeypatch.setattr(
    subprocess,
    "Popen",
    lambda command, **more: started([sys.executable, "-c", text, *command[3:]], **more),
  )
  record = jobs.submit(Local(), Job("x", DUMMY))
  until(lambda: (folder / "pid").exists() and (folder / "pid").read_text(), 30)

  assert Local().state(record.handle) == JobState.RUNNING

  os.kill(int((pathlib.Path(record.handle) / "pid").read_text()), signal.SIGKILL)
  until(lambda: Local().state(record.handle) == JobState.UNKNOWN, 60)
  process = pathlib.Path("/proc") / (folder / "pid").read_text()
  until(lambda: not process.exists() or "Z" in (process / "stat").read_text().split()[2], 60)


def test_a_cancel_that_comes_before_the_supervisor_listens(folder):
  backend = Local()
  handle = jobs.submit(backend, Job("x", DUMMY)).handle
  backend.cancel(handle)
  until(lambda: backend.state(handle).over, 60)
  assert backend.state(handle) == JobState.CANCELLED
  assert not (pathlib.Path(handle) / "0.log").exists()  # nothing was started


def test_jobs_wait_for_a_slot(folder, monkeypatch):
  started = subprocess.Popen
  text = LIVES.format(root=str(jobs.ROOT), folder=str(folder), script=SAVES.format("pass"))
  monkeypatch.setattr(
    subprocess,
    "Popen",
    lambda command, **more: started([sys.executable, "-c", text, *command[3:]], **more),
  )
  backend = Local(slots=1)
  first, second, third = (jobs.submit(backend, Job(name, DUMMY)).handle for name in ("a", "b", "c"))
  until(
    lambda: sorted(map(backend.state, (first, second, third))) == ["queued", "queued", "running"],
    30,
  )
  running = next(
    handle for handle in (first, second, third) if backend.state(handle) == JobState.RUNNING
  )
  waiting = [handle for handle in (first, second, third) if handle != running]
  backend.cancel(waiting[0])
  until(lambda: backend.state(waiting[0]) == JobState.CANCELLED, 60)

  assert backend.state(waiting[1]) == JobState.QUEUED

  backend.cancel(running)
  until(lambda: backend.state(waiting[1]) == JobState.RUNNING, 60)

  assert backend.state(running) == JobState.CANCELLED

  backend.cancel(waiting[1])
  until(lambda: backend.state(waiting[1]) == JobState.CANCELLED, 60)


STUDY = """
from experiments.analysis import studies
from experiments.configs import dummy


def get_config():
  config = dummy.get_config()
  config.name = "pair"
  config.study = studies.section(
    "scores",
    [studies.StudyRun(f"S{seed}", {"train.seed": seed}, verbs=("train",)) for seed in (1, 2)],
  )
  return config
"""


@pytest.mark.slow  # two trainings, one after the other
def test_a_study_runs_as_a_job(folder, dummy_tfds, tmp_path):
  (tmp_path / "pair.py").write_text(STUDY)
  workdir = tmp_path / "work"
  settings = (*TINY, f"--config.data_dir={dummy_tfds.parent}", f"--config.workdir={workdir}")
  job = Job("pair", str(tmp_path / "pair.py"), (*settings, "--config.train.steps=4"), verb="study")
  record = jobs.submit(Local(), job)
  until(lambda: Local().state(record.handle).over, 600)

  assert Local().state(record.handle) == JobState.DONE, Local().logs(record.handle, 30)
  assert [train_process.newest(workdir / run) for run in ("S1", "S2")] == [4, 4]
