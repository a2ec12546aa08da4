"""The GKE backend: its manifest against schemas (test_xpk.py: against xpk), and its
questions to a queue.
"""

import copy
import json
import os
import subprocess

import api_server
import jsonschema
import kubernetes_validate
import pytest
import yaml

from gato_jax.errors import GatoError
from launch import jobs
from launch.backends.gke import Gke

ROOT = api_server.ROOT
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


def jobset(backend=BACKEND, job=JOB):
  return yaml.safe_load(backend.manifest(job))


def replicated(document, name):
  return next(job for job in document["spec"]["replicatedJobs"] if job["name"] == name)


def pod_of(document, name="slice"):
  return replicated(document, name)["template"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
  "more",
  [
    {},
    {"spot": True, "secret": ""},
    {"reservation": "ours", "topology": "v5p:4x8x12", "slices": 1},
    {"topology": "v5e:1x1", "priority": "high", "pull_secret": "registry", "env": "A=1,B=x=y"},
    {"topology": "tpu7x:4x4x4"},
  ],
)
def test_manifests_have_only_fields_that_kubernetes_jobset_and_kueue_know(more):
  document = jobset(Gke(**{**vars(BACKEND), **more}))
  assert jobs._NAME.fullmatch(document["metadata"]["name"])
  assert [job["name"] for job in document["spec"]["replicatedJobs"]] == ["slice", "evaluator"]
  for found in [document, *yaml.safe_load_all((ROOT / "launch/kueue.yaml").read_text())]:
    api_server.validate(found)


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
    ("JobSet", ("spec", "replicatedJobs", 1, "template", "spec"), "backofLimit"),
    ("ClusterQueue", ("spec", "resourceGroups", 0, "flavors", 0, "resources", 0), "quota"),
  ],
)
def test_a_field_that_nobody_knows_is_found(kind, path, key):
  everything = [jobset(), *yaml.safe_load_all((ROOT / "launch/kueue.yaml").read_text())]
  document = copy.deepcopy(next(d for d in everything if d["kind"] == kind))
  place = document
  for part in path:
    place = place[part]
  place[key] = 1

  with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
    api_server.validate(document)


def test_the_manifest_says_what_was_asked_for():
  document = jobset()
  assert document["metadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "research"}

  slices = replicated(document, "slice")
  assert slices["replicas"] == 2

  job = slices["template"]["spec"]
  # Hosts of 4 chips.
  assert (job["parallelism"], job["completions"], job["backoffLimit"]) == (4, 4, 0)

  # 42 and a lost node restart without being counted, other failures are counted.
  assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [42, 143]
  assert job["podFailurePolicy"]["rules"][1]["onPodConditions"] == [
    {"type": "DisruptionTarget", "status": "True"}
  ]
  assert document["spec"]["failurePolicy"]["rules"] == [
    {
      "name": "preempted",
      "action": "RestartJobSetAndIgnoreMaxRestarts",
      "onJobFailureReasons": ["PodFailurePolicy"],
    }
  ]

  (train,) = pod_of(document)["containers"]
  assert train["command"] == [
    "python",
    "-m",
    "experiments.train",
    "--config=experiments/configs/gato_1b.py",
    "--config.data_dir=gs://store/data",
    "--config.workdir=gs://store/work/big",
    "--config.train.steps=5",
    "--accept_changes",
  ]
  assert train["envFrom"] == [{"secretRef": {"name": "keys"}}]  # the name, never a value

  spot = pod_of(jobset(Gke(**{**vars(BACKEND), "spot": True})))
  assert spot["nodeSelector"]["cloud.google.com/gke-spot"] == "true"


def test_the_evaluator_waits_restarts_and_ends_with_the_training():
  document = jobset()
  evaluator = replicated(document, "evaluator")
  (container,) = pod_of(document, "evaluator")["containers"]

  # No clock ends it, the last step does; a queue or a restart is the whole JobSet's.
  assert container["command"][2] == "experiments.evaluate"
  assert container["command"][-3:] == [
    "--config.evaluate.idle_minutes=0",
    "--config.train.steps=5",
    "--follow",
  ]
  assert "successPolicy" not in document["spec"]  # all replicated jobs

  # Its own failures restart it, and are none of the training's.
  spec = evaluator["template"]["spec"]
  assert spec["backoffLimit"] == 2**31 - 1 and "podFailurePolicy" not in spec
  assert pod_of(document, "evaluator")["restartPolicy"] == "OnFailure"

  # It needs no node pool of its own.
  assert "metadata" not in evaluator["template"] and "annotations" not in document["metadata"]
  annotations = replicated(document, "slice")["template"]["metadata"]["annotations"]
  assert annotations == {
    "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
  }

  for other in (jobs.Job("big", JOB.config, verb="study"), JOB):
    backend = Gke(**{**vars(BACKEND), "evaluator": other.verb != "train"})
    assert len(jobset(backend, other)["spec"]["replicatedJobs"]) == 1


def test_pods_have_what_tpus_and_buckets_need():
  document = jobset(
    Gke(**{**vars(BACKEND), "priority": "high", "pull_secret": "registry", "env": "A=1,B=x=y"})
  )
  pod = pod_of(document)
  (container,) = pod["containers"]

  assert container["securityContext"] == {"privileged": True}
  assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
  assert pod["priorityClassName"] == "high"
  assert pod["imagePullSecrets"] == [{"name": "registry"}]
  assert {"name": "B", "value": "x=y"} in container["env"]
  assert pod["shareProcessNamespace"]  # Python is not process 1

  # What is read of the bucket is kept on a disk of the machine.
  assert {"name": "cache", "mountPath": "/cache"} in container["volumeMounts"]
  assert {"name": "GATO_CACHE_DIR", "value": "/cache"} in container["env"]
  assert {"name": "GATO_CACHE_GIB", "value": "50"} in container["env"]
  assert document["spec"]["ttlSecondsAfterFinished"] == 604_800

  # One slice needs no network between slices, and the evaluator no privileges.
  alone = pod_of(jobset(Gke(**{**vars(BACKEND), "slices": 1})))
  assert "hostNetwork" not in alone and alone["containers"][0]["securityContext"]
  evaluator = pod_of(document, "evaluator")
  assert "securityContext" not in evaluator["containers"][0] and "hostNetwork" not in evaluator


def test_a_verb_that_needs_directories_sees_the_bucket_mounted():
  document = jobset(job=jobs.Job("big", JOB.config, verb="collect"))
  pod = pod_of(document)
  (container,) = pod["containers"]
  assert "--config.data_dir=/mnt/gato/data" in container["command"]

  (bucket,) = [volume for volume in pod["volumes"] if "csi" in volume]
  attributes = bucket["csi"]["volumeAttributes"]
  assert attributes["fileCacheCapacity"] == "50Gi" and attributes["hostNetworkPodKSA"] == "true"
  template = replicated(document, "slice")["template"]["spec"]["template"]
  assert template["metadata"]["annotations"]["gke-gcsfuse/memory-limit"] == "0"

  assert not [volume for volume in pod_of(jobset())["volumes"] if "csi" in volume]


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
  """A kubectl whose server refuses what servers refuse, and writes down what it is asked."""
  api_server.install(tmp_path)
  monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
  monkeypatch.setattr(jobs, "FOLDER", tmp_path / "records")
  return tmp_path


@pytest.mark.parametrize(
  ("more", "said"),
  [
    ({"queue": "other"}, 'localqueues.kueue.x-k8s.io "other" not found'),
    (
      {"topology": "v5p:2x2x4"},
      "queue research has no v5p:2x2x4 .tpu-v5p-slice 2x2x4.: it has tpu-v5-lite-podslice 4x4",
    ),
    ({"topology": "v5e:3x4"}, "v5e has slices of 1x1, 2x2, 2x4, 4x4"),
    ({"topology": "v5p:4x4x6"}, "v5p has slices of 2x2x1, .* sides of multiples of 4"),
    ({"topology": "v5p:12x4x4"}, "v5p has slices of 2x2x1"),
    ({"env": "A"}, "--env=A: it looks like NAME=VALUE"),
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


def test_a_queue_that_is_stopped_is_named(kubectl):
  api_server.Server(kubectl).update_queues(active=False)
  with pytest.raises(GatoError, match="queue research admits no jobs now .LocalQueue is stopped."):
    jobs.submit(BACKEND, JOB)


def test_a_field_that_the_server_does_not_know_is_one_line(kubectl, monkeypatch):
  manifest = yaml.safe_dump(jobset() | {"specs": 1})
  monkeypatch.setattr(Gke, "manifest", lambda self, job: manifest)
  with pytest.raises(GatoError, match="strict decoding error: .*specs") as error:
    jobs.submit(BACKEND, JOB)
  assert "\n" not in str(error.value) and not jobs.records()


def test_submitted_watched_and_cancelled(kubectl):
  record = jobs.submit(BACKEND, JOB)
  asked = [json.loads(line) for line in (kubectl / "asked").read_text().splitlines()]

  assert asked[-3:] == [
    ["--namespace=default", "create", "--dry-run=server", "--filename=-"],
    ["--namespace=default", "delete", "jobset/big", "--ignore-not-found", "--wait=true"],
    ["--namespace=default", "create", "--filename=-"],
  ]
  # No user needs to read more than that.
  assert [words[2] for words in asked if words[1] == "get"] == ["localqueues.kueue.x-k8s.io"]

  server = api_server.Server(kubectl)
  active = [{"name": "slice", "active": 2}, {"name": "evaluator", "active": 1}]
  for status, state, others in (
    ({}, jobs.JobState.QUEUED, {}),
    ({"conditions": [{"type": "Suspended", "status": "True"}]}, jobs.JobState.QUEUED, {}),
    ({"replicatedJobsStatus": active}, jobs.JobState.RUNNING, {"evaluator": "running"}),
    (
      {"replicatedJobsStatus": [{"name": "slice"}, {"name": "evaluator", "active": 1}]},
      jobs.JobState.QUEUED,
      {"evaluator": "running"},
    ),
    ({"conditions": [{"type": "Completed", "status": "True"}]}, jobs.JobState.DONE, {}),
    ({"conditions": [{"type": "Failed", "status": "True"}]}, jobs.JobState.FAILED, {}),
  ):
    server.set_status("JobSet", "big", status)
    assert BACKEND.state(record.handle) == state
    assert BACKEND.others(record.handle) == others

  # One that is over is submitted again; one that runs is refused.
  record = jobs.submit(BACKEND, JOB)
  assert BACKEND.state(record.handle) == jobs.JobState.QUEUED
  with pytest.raises(GatoError, match="big is queued on gke; cancel it first"):
    jobs.submit(BACKEND, JOB)

  BACKEND.cancel(record.handle)
  assert BACKEND.state(record.handle) == jobs.JobState.CANCELLED

  jobs.submit(BACKEND, JOB)
  server.path("JobSet", "big").unlink()
  assert BACKEND.state(record.handle) == jobs.JobState.UNKNOWN


def test_the_stand_in_refuses_what_a_server_refuses(kubectl):
  def ask(*arguments, text=""):
    done = subprocess.run(
      [kubectl / "kubectl", *arguments], input=text, capture_output=True, text=True
    )
    return done.returncode, done.stderr + done.stdout

  manifest = BACKEND.manifest(JOB)
  assert ask("create", "--filename=-", text=manifest)[0] == 0
  for flags in ([], ["--dry-run=server"]):
    status, said = ask("create", *flags, "--filename=-", text=manifest)
    assert status == 1 and "(AlreadyExists)" in said and '"big" already exists' in said

  status, said = ask("get", "clusterqueues.kueue.x-k8s.io", "research")
  assert status == 1 and "(Forbidden)" in said

  status, said = ask("get", "jobset", "big", "--output=json")
  found = json.loads(said)
  assert ask("replace", "--filename=-", text=json.dumps(found))[0] == 0
  status, said = ask("replace", "--filename=-", text=json.dumps(found))
  assert status == 1 and "(Conflict)" in said

  assert "(NotFound)" in ask("delete", "jobset/other")[1]
  assert ask("delete", "jobset/other", "--ignore-not-found")[0] == 0
