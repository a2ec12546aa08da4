"""Submitting in general.

Records, settings, flags, pre-flight, what is refused, and the container recipe.
"""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys

import commands
import pytest
from absl import flags

from gato_jax.errors import GatoError
from gato_jax.model import sharding
from launch import jobs, settings, slices
from launch.backends.local import Local
from launch.jobs import Job, JobState

ROOT = pathlib.Path(__file__).resolve().parents[2]
DUMMY = "experiments/configs/dummy.py"


def launch(*arguments, **environment):
  """python -m launch, its exit status, output and error."""
  done = commands.run("launch", *arguments, env=os.environ | environment)
  return done.returncode, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def records(tmp_path, monkeypatch):
  monkeypatch.setattr(jobs, "FOLDER", tmp_path / "launch")
  return jobs.FOLDER


@dataclasses.dataclass(frozen=True)
class Place:
  """A backend whose jobs stand as `stands` says."""

  name = "place"
  refuses: str = ""
  stands: JobState = JobState.RUNNING

  def render(self, job):
    return {}

  def check(self, job):
    if self.refuses:
      raise GatoError(self.refuses)

  def submit(self, job):
    return f"handle of {job.name}"

  def state(self, handle):
    return self.stands


def test_a_record_is_what_was_submitted():
  job = Job("a-1", DUMMY, ("--config.train.steps=3",))
  record = jobs.submit(Place(), job)
  assert (record.job, record.handle, record.backend) == (job, "handle of a-1", "place")
  assert re.fullmatch(r"[0-9a-f]{40}\+?", record.revision), record.revision
  assert jobs.records() == [record] and jobs.find("a-1") == record
  assert json.loads(record.path.read_text())["settings"] == {"refuses": "", "stands": "running"}


def test_one_that_runs_is_not_submitted_again_and_one_that_is_over_is_replaced():
  jobs.submit(Place(), Job("a", DUMMY))
  with pytest.raises(
    GatoError, match="a is running on place; cancel it first or choose another --name"
  ):
    jobs.submit(Place(), Job("a", DUMMY))

  jobs.submit(Place(stands=JobState.FAILED), Job("a", DUMMY, ("--config.train.steps=9",)))
  (record,) = jobs.records()

  assert record.job.overrides == ("--config.train.steps=9",)


def test_what_is_refused_leaves_no_record():
  with pytest.raises(GatoError, match="no such zone"):
    jobs.submit(Place(refuses="no such zone"), Job("a", DUMMY))
  assert not jobs.records()


def test_finding_says_what_is_missing(records):
  with pytest.raises(GatoError, match="no job 'b'; `python -m launch list`"):
    jobs.find("b")

  jobs.submit(Place(), Job("b", DUMMY))
  (records / "other.b.json").write_text(
    (records / "place.b.json").read_text().replace('"place"', '"other"')
  )

  with pytest.raises(GatoError, match="'b' is a job on place and other|other and place"):
    jobs.find("b")
  assert jobs.find("b", "other").backend == "other"

  (records / "broken.json").write_text("{}")

  with pytest.raises(GatoError, match="broken.json is no record of a job"):
    jobs.records()


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    (("A", DUMMY), "--name='A'"),
    (("a-", DUMMY), "--name='a-'"),
    (("a" * 41, DUMMY), "up to 40"),
    (("a b", DUMMY), "--name='a b'"),
    (("a", DUMMY, ("train.steps=3",)), "it looks like --config.train.steps=100"),
    (("a", DUMMY, (), "serve"), "--verb='serve' is none of"),
  ],
)
def test_jobs_that_cannot_be(arguments, said):
  with pytest.raises(GatoError, match=said):
    Job(*arguments)


def test_overrides_count_more_than_where_a_backend_has_things():
  job = Job("a", DUMMY, ("--config.workdir=elsewhere",))
  arguments = job.arguments("/data", "/work/a")

  assert arguments[:4] == [
    "-m",
    "experiments.train",
    f"--config={DUMMY}",
    "--config.data_dir=/data",
  ]
  assert arguments.index("--config.workdir=elsewhere") > arguments.index("--config.workdir=/work/a")


@pytest.fixture(scope="module")
def parsed():
  """Flags as `launch submit` defines them."""
  # Importing `launch submit`, as other tests do, defines them too.
  if "topology" not in flags.FLAGS:
    settings.define_flags()
  return lambda *given: flags.FLAGS(["launch", *given])


@pytest.fixture
def cluster(tmp_path, monkeypatch, parsed):
  path = tmp_path / "cluster.json"
  monkeypatch.setattr(settings, "CLUSTER", path)
  yield lambda text: path.write_text(text if isinstance(text, str) else json.dumps(text))
  flags.FLAGS.unparse_flags()
  for kind in settings.BACKENDS.values():
    for field in dataclasses.fields(kind):
      flags.FLAGS[field.name].value = None


def test_a_flag_goes_before_the_environment_and_that_before_the_file(parsed, cluster, monkeypatch):
  cluster(
    {
      "gke": {"queue": "file", "bucket": "file", "image": "file", "slices": 2},
      "slurm": {"nodes": 7},
    }
  )
  monkeypatch.setenv("GATO_LAUNCH_BUCKET", "environment")
  monkeypatch.setenv("GATO_LAUNCH_SPOT", "true")
  monkeypatch.setenv("GATO_LAUNCH_IMAGE", "environment")
  parsed("--image=flag")
  found = settings.backend("gke")

  assert (found.queue, found.bucket, found.image, found.slices) == (
    "file",
    "environment",
    "flag",
    2,
  )
  assert found.spot is True and found.namespace == "default"

  record = jobs.Record("gke", dataclasses.asdict(found), Job("a", DUMMY), "a", "", "")

  assert settings.of_record(record) == found


@pytest.mark.parametrize(
  ("given", "environment", "text", "said"),
  [
    (["--zone=a"], {}, {}, "--zone is no setting of gke; it has --topology"),
    ([], {"GATO_LAUNCH_SLICES": "two"}, {}, "GATO_LAUNCH_SLICES='two': int is expected"),
    ([], {}, {"gke": {"zone": "a"}}, "gke has no setting 'zone'"),
    ([], {}, {"gke": {"slices": "2"}}, "gke.slices='2': int is expected"),
    ([], {}, "{", "cluster.json: "),
    ([], {}, "[]", "cluster.json: "),
  ],
)
def test_wrong_settings_are_one_line(parsed, cluster, monkeypatch, given, environment, text, said):
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  cluster(text)
  parsed(*given)

  with pytest.raises(GatoError, match=said) as error:
    settings.backend("gke")
  assert "\n" not in str(error.value)


def test_git_sees_neither_settings_nor_records():
  hidden = ["launch/cluster.json", "work/launch/gke.a.json", "work/launch/local.a/0.log"]
  done = subprocess.run(["git", "check-ignore", *hidden], cwd=ROOT, capture_output=True, text=True)
  assert done.stdout.split() == hidden


def test_a_dry_run_shows_all_and_sends_nothing():
  status, output, error = launch(
    *(
      "submit",
      "--on=gke",
      "--name=shown",
      f"--config={DUMMY}",
      "--config.train.steps=7",
      "--dry_run",
    ),
    *("--topology=v5e:4x4", "--image=i", "--bucket=b", "--queue=q"),
    PATH="/nowhere",
  )

  assert status == 0, error
  assert output.startswith("--- standard input of: kubectl") and "--config.train.steps=7" in output
  assert not (ROOT / "work/launch/gke.shown.json").exists()


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    (
      ("submit", "--name=a", f"--config={DUMMY}"),
      "--on=BACKEND (local, slurm, gke, tpu_vm) and --name=NAME",
    ),
    (("submit", "--on=local", "--name=a"), "--config=experiments/configs/NAME.py is missing"),
    (
      ("submit", "--on=local", "--name=a", f"--config={DUMMY}", "--config.train.stepz=3"),
      "Did you mean",
    ),
    (
      ("submit", "--on=local", "--name=a", f"--config={DUMMY}", "--topology=v5e:4x4"),
      "no setting of local",
    ),
    (
      ("submit", "--on=gke", "--name=a", f"--config={DUMMY}", "--nopreflight"),
      "gke needs --topology",
    ),
    (("status", "--name=never-was"), "no job 'never-was'"),
    (("logs", "--name=never-was"), "no job 'never-was'"),
    (("cancel", "--name=never-was"), "no job 'never-was'"),
  ],
)
def test_a_wrong_command_is_one_line(arguments, said):
  status, output, error = launch(*arguments)
  assert (status, output) == (1, "") and said in error, error
  assert len(error.splitlines()) == 1


# Slow: a minute of compiling.
@pytest.mark.slow
def test_preflight_refuses_what_does_not_fit_before_anything_is_asked():
  """The real one: 8 layers of width 4096 with 256 rows a device on one slice of 4 chips."""
  arguments = (
    *("submit", "--on=gke", "--name=large", f"--config={DUMMY}", "--topology=v5e:2x4", "--image=i"),
    *("--bucket=b", "--queue=q", "--config.model.width=8192", "--config.model.feed_forward=32768"),
    *("--config.model.heads=16", "--config.train.mesh_fsdp=1", "--config.model.layers=4"),
  )
  status, output, error = launch(
    *arguments, PATH="/nowhere"
  )  # neither kubectl nor anything else can be asked

  assert (status, output) == (1, ""), error

  compiling, refused = error.splitlines()

  assert "compiling the training step for v5e:2x4" in compiling
  assert (
    "error: large does not fit v5e:2x4" in refused
    and "--nopreflight" in refused
    and "mesh_fsdp" in refused
  )

  status, _, error = launch(*arguments, "--nopreflight", PATH="/nowhere")

  assert status == 1 and "`kubectl` is not installed here" in error


def test_several_slices_share_the_data_axis():
  place = slices.describe("2*v5e:4x4")
  assert (len(place.devices), place.chips) == (32, 32)

  mesh = sharding.make_mesh(0, 4, 2, place.devices)

  assert dict(mesh.shape) == {"data": 4, "fsdp": 4, "model": 2}

  numbers = [[device.slice_index for device in part.flat] for part in mesh.devices]

  assert numbers == [[0] * 8, [0] * 8, [1] * 8, [1] * 8]  # fsdp and model never leave a slice
  with pytest.raises(
    GatoError, match="the 2 slices each take a part of the data axis, which has 1 devices"
  ):
    sharding.make_mesh(1, 32, 1, place.devices)

  with pytest.raises(GatoError, match="is no slice"):
    slices.describe("0*v5e:4x4")


def test_a_command_that_fails_is_told_by_its_error():
  script = "import sys; sys.exit('warming up\\nERROR: (x) no such zone\\n- details')"
  with pytest.raises(GatoError, match=r"failed \(1\): ERROR: \(x\) no such zone$"):
    jobs.run([sys.executable, "-c", script])
  with pytest.raises(GatoError, match="`no-such-program` is not installed here"):
    jobs.run(["no-such-program"])


def test_local_shows_every_process():
  rendered = Local(processes=2, devices=4).render(Job("a", DUMMY, ("--config.train.steps=1",)))
  ((title, text),) = rendered.items()
  first, second = text.splitlines()
  assert first.startswith("JAX_PLATFORMS=cpu XLA_FLAGS=--xla_force_host_platform_device_count=4 ")
  assert first.endswith("--coordinator=localhost:PORT --processes=2 --process=0")
  assert second.endswith("--process=1") and "PORT" in title


def test_the_image_has_the_pins_and_no_secrets():
  recipe = ROOT / "launch/container/Dockerfile"
  hadolint = pathlib.Path(sys.executable).parent / "hadolint"
  done = subprocess.run([hadolint, recipe], capture_output=True, text=True)

  assert done.returncode == 0, done.stdout

  worse = recipe.read_text().replace("--no-install-recommends", "")

  assert (
    subprocess.run([hadolint, "-"], input=worse, capture_output=True, text=True).returncode == 1
  )

  text = recipe.read_text()

  assert "pip install --no-cache-dir -r requirements.txt -c constraints.txt" in text

  copied = [
    word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]
  ]
  seen = [
    line[1:]
    for line in (recipe.parent / "Dockerfile.dockerignore").read_text().splitlines()
    if line[:1] == "!"
  ]

  # The builder sees what is copied and nothing else: no data, work, .git, settings.
  whole = [name for name in copied if not any(name.startswith(f"{other}/") for other in seen)]
  assert sorted(whole) == sorted(seen)
  assert "launch/cluster.json" in (recipe.parent / "Dockerfile.dockerignore").read_text()
  assert not [name for name in seen if "cluster" in name or not (ROOT / name).exists()]
  assert not re.search(r"(?i)^(ARG|ENV).*(key|token|secret|password)", text, re.MULTILINE)
