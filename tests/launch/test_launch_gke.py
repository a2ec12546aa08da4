"""The GKE backend: its manifest against schemas and against xpk's of the same job, and its
questions to a queue.
"""

import copy
import json
import os
import pathlib
import subprocess
import sys

import jsonschema
import kubernetes_validate
import pytest
import yaml

from gato_jax.errors import GatoError
from launch import jobs, tpus
from launch.backends.gke import Gke

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMAS = {
  name: json.loads((ROOT / f"launch/schemas/{name}.json").read_text())
  for name in ("jobset", "kueue")
}
XPK = ROOT / ".venv/xpk/bin/xpk"
KUBERNETES = "1.33"
JOB = jobs.Job(
  "big", "experiments/configs/gato_1b.py", ("--config.train.steps=5", "--accept_changes")
)
BACKEND = Gke(
  topology="v5e:4x4",
  slices=2,
  image="registry/gato:1",
  bucket="store",
  queue="research",
  secret="keys",
)


def documents(backend=BACKEND, job=JOB):
  return list(yaml.safe_load_all(backend.manifest(job)))


def validate(document):
  """Raises where an API server would refuse it, or silently drop a field."""
  if document["kind"] == "JobSet":
    jsonschema.validate(document, SCHEMAS["jobset"])
    assert jobs._NAME.fullmatch(document["metadata"]["name"])
    for replicated in document["spec"]["replicatedJobs"]:
      job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": document["metadata"]}
      kubernetes_validate.validate(
        job | {"spec": replicated["template"]["spec"]}, KUBERNETES, strict=True
      )
  elif document["apiVersion"].startswith("kueue"):
    jsonschema.validate(document, SCHEMAS["kueue"])
  else:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize(
  "more", [{}, {"spot": True, "secret": ""}, {"reservation": "ours", "topology": "v5p:4x8x8"}]
)
def test_manifests_have_only_fields_that_kubernetes_jobset_and_kueue_know(more):
  found = documents(Gke(**{**vars(BACKEND), **more}))
  assert [document["kind"] for document in found] == ["JobSet", "Job"]
  for document in [*found, *yaml.safe_load_all((ROOT / "launch/kueue.yaml").read_text())]:
    validate(document)


@pytest.mark.parametrize(
  ("kind", "path", "key"),
  [
    ("JobSet", (), "specs"),
    ("JobSet", ("spec",), "replicas"),
    ("JobSet", ("spec", "failurePolicy", "rules", 0), "onFailure"),
    ("JobSet", ("spec", "replicatedJobs", 0, "template", "spec"), "podFailurePolicies"),
    (
      "JobSet",
      ("spec", "replicatedJobs", 0, "template", "spec", "template", "spec", "containers", 0),
      "imagee",
    ),
    ("Job", ("spec",), "backofLimit"),
    ("ClusterQueue", ("spec", "resourceGroups", 0, "flavors", 0, "resources", 0), "quota"),
  ],
)
def test_a_field_that_nobody_knows_is_found(kind, path, key):
  everything = [*documents(), *yaml.safe_load_all((ROOT / "launch/kueue.yaml").read_text())]
  document = copy.deepcopy(next(d for d in everything if d["kind"] == kind))
  place = document
  for part in path:
    place = place[part]
  place[key] = 1

  with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
    validate(document)


def test_the_manifest_says_what_was_asked_for():
  jobset, evaluator = documents()
  assert (
    jobset["metadata"]["labels"]
    == evaluator["metadata"]["labels"]
    == {"kueue.x-k8s.io/queue-name": "research"}
  )

  (replicated,) = jobset["spec"]["replicatedJobs"]

  assert replicated["replicas"] == 2  # slices

  job = replicated["template"]["spec"]

  assert (job["parallelism"], job["completions"], job["backoffLimit"]) == (
    4,
    4,
    0,
  )  # hosts of 4 chips

  # 42 and a lost node restart without being counted, other failures are counted
  assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [42, 143]
  assert job["podFailurePolicy"]["rules"][1]["onPodConditions"] == [
    {"type": "DisruptionTarget", "status": "True"}
  ]
  assert jobset["spec"]["failurePolicy"]["rules"] == [
    {
      "name": "preempted",
      "action": "RestartJobSetAndIgnoreMaxRestarts",
      "onJobFailureReasons": ["PodFailurePolicy"],
    }
  ]

  train, evaluate = (
    d["spec"]["containers"][0] for d in (job["template"], evaluator["spec"]["template"])
  )
  where = [
    "--config.data_dir=/mnt/gato/data",
    "--config.workdir=/mnt/gato/work/big",
    "--config.train.steps=5",
  ]
  config = "--config=experiments/configs/gato_1b.py"

  assert train["command"] == [
    "python",
    "-m",
    "experiments.train",
    config,
    *where,
    "--accept_changes",
  ]
  assert evaluate["command"] == ["python", "-m", "experiments.evaluate", config, *where, "--follow"]
  assert train["envFrom"] == [{"secretRef": {"name": "keys"}}]  # the name, never a value

  spot = documents(Gke(**{**vars(BACKEND), "spot": True}))[0]["spec"]["replicatedJobs"][0][
    "template"
  ]["spec"]

  assert spot["template"]["spec"]["nodeSelector"]["cloud.google.com/gke-spot"] == "true"


@pytest.mark.slow  # 390 MB to install
@pytest.mark.skipif(not XPK.exists(), reason="`make setup-slow-tests` could not install xpk")
@pytest.mark.parametrize(
  ("topology", "slices"), [("v5e:4x4", 2), ("v5p:4x8x8", 1), ("v4:2x2x4", 1), ("v6e:16x16", 4)]
)
def test_xpk_makes_the_same_of_the_same_job(topology, slices, tmp_path):
  backend = Gke(**{**vars(BACKEND), "topology": topology, "slices": slices})
  ours = documents(backend)[0]
  container = ours["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"][
    "containers"
  ][0]
  command = [
    *(
      XPK,
      "workload",
      "create",
      "--dry-run",
      "--skip-validation",
      f"--workload={JOB.name}",
      "--cluster=cluster",
    ),
    *(
      "--project=project",
      "--project-number=1",
      "--zone=us-east5-a",
      f"--tpu-type={tpus.tpu(topology).type}",
    ),
    *(
      f"--num-slices={slices}",
      f"--docker-image={container['image']}",
      f"--command={' '.join(container['command'])}",
    ),
    *("--max-restarts=5", f"--output-manifest-file={tmp_path / 'manifest.yaml'}"),
  ]
  alone = {
    "TELEMETRY_ENABLED": "false",
    "DEPENDENCY_AUTO_DOWNLOAD": "false",
    "HOME": str(tmp_path),
  }  # asks nobody
  alone |= {
    "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
    "CLOUDSDK_CONFIG": str(tmp_path / "gcloud"),
  }
  done = subprocess.run(
    command, env=os.environ | alone, capture_output=True, text=True, cwd=tmp_path
  )

  assert done.returncode == 0 and "Exiting XPK cleanly" in done.stdout, done.stdout + done.stderr

  theirs = next(
    d for d in yaml.safe_load_all((tmp_path / "manifest.yaml").read_text()) if d["kind"] == "JobSet"
  )

  def facts(jobset):
    (replicated,) = jobset["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    pod = job["template"]["spec"]
    return {
      "api": (jobset["apiVersion"], jobset["metadata"]["name"], jobset["metadata"]["annotations"]),
      "queued": "kueue.x-k8s.io/queue-name" in jobset["metadata"]["labels"],
      "slices": replicated["replicas"],
      "hosts": (job["parallelism"], job["completions"], job["backoffLimit"]),
      "machines": {k: v for k, v in pod["nodeSelector"].items() if "gke-tpu" in k},
      "chips": pod["containers"][0]["resources"]["limits"]["google.com/tpu"],
      "restarts": (jobset["spec"]["failurePolicy"]["maxRestarts"], pod["restartPolicy"]),
      "tolerates": [toleration["key"] for toleration in pod["tolerations"]],
      "image": pod["containers"][0]["image"],
    }

  assert facts(ours) == facts(theirs)

  script = theirs["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"][
    "containers"
  ][0]["command"][-1]

  assert " ".join(container["command"]) in script


FAKE = """#!{python}
import json, pathlib, sys
import yaml
asked, here = sys.argv[1:], pathlib.Path(__file__).parent
with open(here / "asked", "a") as log:
  log.write(json.dumps(asked) + "\\n")
asked = [a for a in asked if not a.startswith("--")]
if asked[0] == "get" and "kueue" in asked[1]:
  objects = yaml.safe_load_all(pathlib.Path("{root}/launch/kueue.yaml").read_text())
  kind = asked[1].split(".")[0][:-1]
  found = [o for o in objects if o["kind"].lower() == kind and o["metadata"]["name"] == asked[2]]
  if not found:
    sys.exit(f'Error from server (NotFound): {{asked[1]}} "{{asked[2]}}" not found')
  print(json.dumps(found[0]))
elif asked[0] == "get":
  print((here / "jobset").read_text() if (here / "jobset").exists() else "")
elif asked[0] == "create":
  list(yaml.safe_load_all(sys.stdin))
  if "--dry-run=server" not in sys.argv:
    (here / "jobset").write_text(json.dumps({{"status": {{}}}}))
elif asked[0] == "delete":
  (here / "jobset").unlink(missing_ok=True)
"""


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
  """A kubectl that knows launch/kueue.yaml, keeps one JobSet and writes down what it is asked.

  Nothing of a cluster.
  """
  fake = tmp_path / "kubectl"
  fake.write_text(FAKE.format(python=sys.executable, root=ROOT))
  fake.chmod(0o755)
  monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
  monkeypatch.setattr(jobs, "FOLDER", tmp_path / "records")
  return tmp_path


@pytest.mark.parametrize(
  ("more", "said"),
  [
    ({"queue": "other"}, 'localqueues.kueue.x-k8s.io "other" not found'),
    ({"slices": 3}, "has not 3 x v5e:4x4 .48 chips of tpu-v5-lite-podslice 4x4.: it has 32 chips"),
    ({"topology": "v5p:2x2x4"}, "has not 2 x v5p:2x2x4"),
    ({"topology": "v5e:3x4"}, "v5e has slices of 2x4, 4x4"),
    ({"topology": "v9:4x4"}, "a generation of v2, v3"),
    ({"topology": "v3:4x4"}, "GKE has no slices of this generation"),
    ({"image": "", "bucket": ""}, "gke needs --image, --bucket"),
    ({"spot": True, "reservation": "x"}, "exclude each other"),
  ],
)
def test_what_the_cluster_has_not_is_one_line_before_anything_is_created(kubectl, more, said):
  with pytest.raises(GatoError, match=said) as error:
    jobs.submit(Gke(**{**vars(BACKEND), **more}), JOB)
  assert "\n" not in str(error.value) and not jobs.records()
  asked = (kubectl / "asked").read_text() if (kubectl / "asked").exists() else ""
  assert '"create"' not in asked


def test_submitted_watched_and_cancelled(kubectl):
  record = jobs.submit(BACKEND, JOB)
  asked = [json.loads(line) for line in (kubectl / "asked").read_text().splitlines()]

  assert asked[-3:] == [
    ["--namespace=default", "create", "--dry-run=server", "--filename=-"],
    [
      "--namespace=default",
      "delete",
      "jobset/big",
      "job/big-evaluator",
      "--ignore-not-found",
      "--wait=true",
    ],
    ["--namespace=default", "create", "--filename=-"],
  ]

  for status, state in (
    ({}, jobs.JobState.QUEUED),
    ({"conditions": [{"type": "Suspended", "status": "True"}]}, jobs.JobState.QUEUED),
    ({"replicatedJobsStatus": [{"name": "slice", "active": 2}]}, jobs.JobState.RUNNING),
    ({"conditions": [{"type": "Completed", "status": "True"}]}, jobs.JobState.DONE),
    ({"conditions": [{"type": "Failed", "status": "True"}]}, jobs.JobState.FAILED),
  ):
    (kubectl / "jobset").write_text(json.dumps({"status": status}))
    assert BACKEND.state(record.handle) == state

  BACKEND.cancel(record.handle)

  assert BACKEND.state(record.handle) == jobs.JobState.CANCELLED

  jobs.submit(BACKEND, JOB)  # one that is over may be submitted again
  (kubectl / "jobset").unlink()

  assert BACKEND.state(record.handle) == jobs.JobState.UNKNOWN
