"""The TPU VM backend: every line of what it would send, and its life with a gcloud that only
answers as one would.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest

from gato_jax.errors import GatoError
from launch import jobs
from launch.backends.tpu_vm import TpuVm

JOB = jobs.Job("big", "experiments/configs/gato_1b.py", ("--config.train.steps=5",))
BACKEND = TpuVm(
  topology="v5p:4x8x8",
  image="us-docker.pkg.dev/p/gato:1",
  bucket="store",
  zone="us-east5-a",
  project="p",
)


def having(**settings):
  return TpuVm(**{**vars(BACKEND), **settings})


def test_the_command_line_by_line():
  assert shlex.split(BACKEND.render(JOB)["command"]) == [
    *("gcloud", "compute", "tpus", "queued-resources", "create", "big"),
    "--node-id=big",
    "--accelerator-type=v5p-512",
    "--runtime-version=v2-alpha-tpuv5",
    "--metadata-from-file=startup-script=startup.sh",
    "--labels=gato-job=big",
    "--zone=us-east5-a",
    "--project=p",
  ]

  several = having(
    slices=4,
    spot=True,
    topology="v5e:16x16",
    network="n",
    service_account="a@p",
    runtime="r",
    project="",
  )

  assert shlex.split(several.render(JOB)["command"])[6:] == [
    "--node-count=4",
    "--node-prefix=big",
    "--accelerator-type=v5litepod-256",
    "--runtime-version=r",
    "--metadata-from-file=startup-script=startup.sh",
    "--spot",
    "--labels=gato-job=big",
    "--network=n",
    "--service-account=a@p",
    "--zone=us-east5-a",
  ]
  assert "--reserved" in having(reserved=True).render(JOB)["command"]
  private = shlex.split(having(internal_ips=True, labels="team=robots").render(JOB)["command"])
  assert {"--internal-ips", "--labels=gato-job=big,team=robots"} < set(private)


@pytest.mark.parametrize(
  ("settings", "flags"),
  [
    ({"reservation": "ours"}, {"--reservation=ours"}),
    (
      {"flex_start": True, "max_run_duration": "4h"},
      {"--provisioning-model=flex-start", "--max-run-duration=4h"},
    ),
  ],
)
def test_what_only_the_alpha_track_knows_is_asked_of_it(settings, flags):
  words = shlex.split(having(**settings).render(JOB)["command"])
  assert words[:4] == ["gcloud", "alpha", "compute", "tpus"] and flags < set(words)


@pytest.mark.parametrize(
  ("topology", "kind"),
  [
    ("v2:4x4", "v2-32"),
    ("v3:16x16", "v3-512"),
    ("v4:4x8x8", "v4-512"),
    ("v5e:4x4", "v5litepod-16"),
    ("v6e:8x8", "v6e-64"),
  ],
)
def test_accelerator_types_are_counted_as_google_counts(topology, kind):
  assert f"--accelerator-type={kind}" in having(topology=topology).render(JOB)["command"].split()


def test_the_startup_script_line_by_line():
  script = having(secret="WANDB_API_KEY=wandb,OTHER=two").startup(JOB)
  lines = [line.strip() for line in script.splitlines()]
  run = (
    "docker run --name gato --init --stop-timeout=120 --privileged --net=host"
    " -v /mnt/gato:/mnt/gato -v /var/cache/gato:/cache -e GATO_CACHE_DIR=/cache"
    ' "${environment[@]}"'
    " us-docker.pkg.dev/p/gato:1 python -m experiments.train --config=experiments/configs/gato_1b.py"
    " --config.data_dir=gs://store/data --config.workdir=gs://store/work/big --config.train.steps=5"
  )
  steps = [
    "[ -e /var/lib/gato.over ] && exit 0",  # a boot after the end starts nothing
    "gcloud auth configure-docker us-docker.pkg.dev --quiet",
    'environment+=(-e WANDB_API_KEY="$(gcloud secrets versions access latest --secret=wandb)")',
    'environment+=(-e OTHER="$(gcloud secrets versions access latest --secret=two)")',
    "until docker pull us-docker.pkg.dev/p/gato:1; do sleep 10; done",
    "docker rm -f gato",
    run,
    "42 | 143) continue ;;  # saved at SIGTERM: maintenance",
    "0) break ;;",
    '[ "$failures" -gt 5 ] && break',
    "touch /var/lib/gato.over",
    'until echo "$status" | gcloud storage cp - gs://store/launch/big.exit; do sleep 10; done',
  ]

  assert [line for line in lines if line in steps] == steps  # all, and in this order

  for command in (
    ["bash", "-n"],
    [shutil.which("shellcheck", path=os.path.dirname(sys.executable)), "-"],
  ):
    checked = subprocess.run(command, input=script, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


# Machine parts of the script are replaced: what is run is its loop, with a docker that ends as the
# test says.
@pytest.mark.parametrize(
  ("ends", "runs", "written"),
  [([42, 143, 42, 0], 4, "0"), ([1, 42, 0], 3, "0"), ([1, 7, 0], 2, "7"), ([0], 1, "0")],
)
def test_the_startup_script_runs(tmp_path, ends, runs, written):
  docker = [
    f"ends=({' '.join(map(str, ends))}); n=$(wc -l <{tmp_path}/runs)",
    f'if [ "$1" = run ]; then echo run >>{tmp_path}/runs; exit "${{ends[$n]}}"; fi',
  ]
  programs = {
    "docker": "\n".join(docker),
    "curl": "echo 0",
    "gcloud": f'[ "$1" = storage ] && cat >{tmp_path}/exit',
    **dict.fromkeys(("gcsfuse", "mountpoint", "sleep"), "exit 0"),
  }
  for name, text in programs.items():
    (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
    (tmp_path / name).chmod(0o755)

  (tmp_path / "runs").touch()
  script = having(restarts=1).startup(JOB)
  for place in ("/var/log", "/var/lib", "/var/cache", "/mnt/gato"):
    (tmp_path / place.strip("/")).mkdir(parents=True)
    script = script.replace(place, str(tmp_path / place.strip("/")))

  for _ in range(2):  # the second boot finds that it is over
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", script], env=environment, check=True, timeout=600)
    assert len((tmp_path / "runs").read_text().splitlines()) == runs
    assert (tmp_path / "exit").read_text().strip() == written


def test_a_verb_that_needs_directories_mounts_the_bucket_first():
  script = having().startup(jobs.Job("big", JOB.config, verb="collect"))
  lines = [line.strip() for line in script.splitlines()]
  steps = [
    "if ! apt-get update -qq || ! apt-get install -y -qq gcsfuse; then sleep 10; fi",
    "mountpoint -q /mnt/gato || gcsfuse --implicit-dirs -o allow_other store /mnt/gato || exit 1",
    "gcloud auth configure-docker us-docker.pkg.dev --quiet",
  ]
  assert [line for line in lines if line in steps] == steps
  assert "--config.data_dir=/mnt/gato/data" in script and "gcsfuse" not in having().startup(JOB)


@pytest.mark.skipif(not shutil.which("gcloud"), reason="no Google Cloud SDK here")
def test_gcloud_knows_every_command_and_flag(gcloud, tmp_path):
  """The SDK's own linter, which asks nobody; a flag that does not exist is found."""
  one = having(spot=True, network="n", subnetwork="s", service_account="a")
  record = jobs.submit(one, JOB)
  one.logs(record.handle, 5)
  one.cancel(record.handle)
  asked = [json.loads(line) for line in (gcloud / "asked").read_text().splitlines()]
  asked += [
    shlex.split(b.render(JOB)["command"])[1:]
    for b in (
      having(slices=2),
      having(reserved=True, internal_ips=True, labels="team=robots"),
      having(reservation="ours"),
      having(flex_start=True, max_run_duration="4h"),
    )
  ]
  asked.append([*asked[-1], "--no-such-flag=1"])
  text = tmp_path / "commands.json"
  text.write_text(
    json.dumps([{"command_string": shlex.join(["gcloud", *command])} for command in asked])
  )
  alone = {
    "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
    "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
  }
  alone |= {
    "CLOUDSDK_CONFIG": str(tmp_path / "config"),
    "PATH": os.environ["PATH"].partition(":")[2],
  }
  lint = ["gcloud", "meta", "lint-gcloud-commands", f"--commands-file={text}"]
  done = subprocess.run(lint, env=os.environ | alone, capture_output=True, text=True)
  found = json.loads(done.stdout)

  assert len(found) == len(asked)
  assert [each["error_message"] for each in found[:-1] if not each["success"]] == []
  assert "--no-such-flag" in found[-1]["error_message"]


FAKE = """#!{python}
import json, pathlib, sys
asked, here = sys.argv[1:], pathlib.Path(__file__).parent
with open(here / "asked", "a") as log:
  log.write(json.dumps(asked) + "\\n")
resource, left = here / "resource", here / "exit"
words = [a for a in asked if not a.startswith("--")]
if words[2:4] == ["accelerator-types", "describe"] and words[4] != "v5p-512":
  sys.exit(f"ERROR: (gcloud.compute.tpus.accelerator-types.describe) NOT_FOUND: {{words[4]}} in the zone\\n- more")
if words[:3] == ["compute", "tpus", "queued-resources"]:
  if words[3] == "create":
    if (here / "no quota").exists():
      sys.exit("ERROR: (gcloud.compute.tpus.queued-resources.create) RESOURCE_EXHAUSTED: Quota limit is 0\\n- more")
    script = next(a for a in asked if a.startswith("--metadata-from-file=")).partition("startup-script=")[2]
    (here / "script").write_text(pathlib.Path(script).read_text())
    resource.write_text("WAITING_FOR_RESOURCES")
  elif words[3] == "delete":
    resource.unlink()
  else:
    print(json.dumps([{{"state": {{"state": resource.read_text()}}}}] if resource.exists() else []))
if words[:2] == ["storage", "cat"]:
  if not left.exists():
    sys.exit(f"ERROR: (gcloud.storage.cat) The following URLs matched no objects or files:\\n{{words[2]}}")
  print(left.read_text())
if words[:2] == ["storage", "rm"]:
  left.unlink()
"""


@pytest.fixture
def gcloud(tmp_path, monkeypatch):
  """A gcloud with one queued resource and one file in a bucket, which writes down what it is asked."""
  folder = tmp_path / "fake"
  folder.mkdir()
  (folder / "gcloud").write_text(FAKE.format(python=sys.executable))
  (folder / "gcloud").chmod(0o755)
  monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
  monkeypatch.setattr(jobs, "FOLDER", tmp_path / "records")
  return folder


@pytest.mark.parametrize(
  ("settings", "said"),
  [
    ({"topology": "v5p:2x2x4"}, "NOT_FOUND: v5p-32 in the zone"),
    ({"topology": "v5p:3x3x3"}, "v5p has slices of 2x2x1"),
    ({"zone": "", "bucket": ""}, "tpu_vm needs --bucket, --zone"),
    ({"spot": True, "reserved": True}, "exclude each other"),
    ({"spot": True, "reservation": "ours"}, "exclude each other"),
    ({"flex_start": True}, "--flex_start and --max_run_duration are given together"),
    ({"topology": "tpu7x:4x4x4"}, "there are no TPU VMs of it; use --on=gke"),
    ({"secret": "WANDB_API_KEY"}, "looks like WANDB_API_KEY=my-secret"),
  ],
)
def test_what_cannot_be_is_one_line_before_anything_is_created(gcloud, settings, said):
  with pytest.raises(GatoError, match=said) as error:
    jobs.submit(having(**settings), JOB)
  assert "\n" not in str(error.value) and not jobs.records() and not (gcloud / "resource").exists()


def test_too_little_quota_is_one_line(gcloud):
  (gcloud / "no quota").touch()
  with pytest.raises(GatoError, match="RESOURCE_EXHAUSTED: Quota limit is 0$"):
    jobs.submit(BACKEND, JOB)


def test_created_again_when_taken_away_and_deleted_at_the_end(gcloud):
  (gcloud / "exit").write_text("1")  # of an earlier submission
  backend = having(spot=True)
  record = jobs.submit(backend, JOB)

  assert (gcloud / "script").read_text() == backend.render(JOB)["startup.sh"]

  resource = gcloud / "resource"

  def creations():
    return sum("create" in json.loads(line) for line in (gcloud / "asked").read_text().splitlines())

  assert backend.keep(JOB) == jobs.JobState.QUEUED

  resource.write_text("ACTIVE")

  assert backend.keep(JOB) == jobs.JobState.RUNNING and creations() == 1

  resource.write_text("SUSPENDED")  # preempted

  assert backend.keep(JOB) == jobs.JobState.QUEUED and creations() == 2
  assert resource.read_text() == "WAITING_FOR_RESOURCES"

  (gcloud / "no quota").touch()
  resource.write_text("SUSPENDED")

  with pytest.raises(GatoError, match="RESOURCE_EXHAUSTED"):
    backend.keep(JOB)

  (gcloud / "no quota").unlink()
  backend.keep(JOB)  # asked again though nothing is left of it

  assert resource.read_text() == "WAITING_FOR_RESOURCES"

  resource.write_text("ACTIVE")
  (gcloud / "exit").write_text("0\n")

  assert backend.keep(JOB) == jobs.JobState.DONE
  assert not resource.exists()  # nobody pays for machines that wait
  assert backend.state(record.handle) == jobs.JobState.DONE


def test_cancelled_and_failed(gcloud):
  record = jobs.submit(BACKEND, JOB)
  with pytest.raises(GatoError, match="big is queued on tpu_vm; cancel it first"):
    jobs.submit(BACKEND, JOB)

  BACKEND.cancel(record.handle)

  assert BACKEND.state(record.handle) == jobs.JobState.CANCELLED
  assert BACKEND.keep(JOB) == jobs.JobState.CANCELLED and not (gcloud / "resource").exists()

  jobs.submit(BACKEND, JOB)
  (gcloud / "resource").write_text("FAILED")

  assert BACKEND.state(record.handle) == jobs.JobState.FAILED
