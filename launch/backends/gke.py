"""GKE: a JobSet of TPU slices in a Kueue queue, and beside it a job that evaluates each checkpoint."""

import dataclasses
import json
import shlex
from typing import Any, ClassVar

import yaml

from gato_jax.errors import GatoError
from gato_jax.train.config import PREEMPTED
from launch import jobs, tpus
from launch.jobs import Job, State, setting

MOUNT = "/mnt/gato"  # where a container sees the bucket
_QUEUE = "kueue.x-k8s.io/queue-name"
_ACCELERATOR, _TOPOLOGY = "cloud.google.com/gke-tpu-accelerator", "cloud.google.com/gke-tpu-topology"


@dataclasses.dataclass(frozen=True)
class Gke:
  """Commands go through kubectl; a handle is the JobSet's name. Containers see the bucket as a folder."""

  name: ClassVar[str] = "gke"
  topology: str = setting("", "The slice, as pre-flight calls it: v5e:16x16.")
  slices: int = setting(1, "Slices that train together.")
  image: str = setting("", "Container image (launch/container/Dockerfile).")
  bucket: str = setting("", "Cloud Storage bucket with data/ in it; work/ is written there.")
  queue: str = setting("", "Kueue's LocalQueue.")
  namespace: str = setting("default", "Kubernetes namespace.")
  context: str = setting("", "kubectl's context; the current one if empty.")
  service_account: str = setting("default", "Account that may read and write the bucket.")
  secret: str = setting("", "A Kubernetes Secret; its keys become environment variables.")
  spot: bool = setting(False, "Cheap machines that may be taken away.")
  reservation: str = setting("", "Name of a reservation.")
  restarts: int = setting(5, "Restarts after failures; preemptions do not count.")
  grace: int = setting(120, "Seconds from SIGTERM to SIGKILL.")
  evaluator: bool = setting(True, "A second job that evaluates each checkpoint of a training.")
  evaluator_cpus: int = setting(8, "CPUs of the evaluator.")
  evaluator_memory: str = setting("32Gi", "Memory of the evaluator.")

  def render(self, job: Job) -> dict[str, str]:
    return {"standard input of: " + shlex.join(self._kubectl("create", "--filename=-")): self.manifest(job)}

  def manifest(self, job: Job) -> str:
    """YAML: a JobSet, and a Job behind --- where there is an evaluator."""
    parts = [self._jobset(job)] + ([self._evaluator(job)] if self.evaluator and job.verb == "train" else [])
    return yaml.safe_dump_all(parts, sort_keys=False, width=1000)

  def check(self, job: Job) -> None:
    missing = [name for name in ("topology", "image", "bucket", "queue") if not getattr(self, name)]
    if missing:
      raise GatoError(f"gke needs --{', --'.join(missing)} (flags, environment or launch/cluster.json)")
    if self.slices < 1 or (self.spot and self.reservation):
      raise GatoError("--slices is at least 1, and --spot and --reservation exclude each other")
    self._check_queue()
    jobs.run(self._kubectl("create", "--dry-run=server", "--filename=-"), self.manifest(job))

  def submit(self, job: Job) -> str:
    self._delete(job.name)  # one that is over: jobs.submit asked
    jobs.cancelled(self.name, job.name).unlink(missing_ok=True)
    jobs.run(self._kubectl("create", "--filename=-"), self.manifest(job))
    return job.name

  def state(self, handle: str) -> State:
    shown = jobs.run(self._kubectl("get", "jobset", handle, "--ignore-not-found", "--output=json"))
    if not shown.strip():
      return State.CANCELLED if jobs.cancelled(self.name, handle).exists() else State.UNKNOWN
    status = json.loads(shown).get("status", {})
    holds = {condition["type"] for condition in status.get("conditions", []) if condition["status"] == "True"}
    for condition, state in (("Completed", State.DONE), ("Failed", State.FAILED), ("Suspended", State.QUEUED)):
      if condition in holds:
        return state
    active = any(replicated.get("active", 0) for replicated in status.get("replicatedJobsStatus", []))
    return State.RUNNING if active else State.QUEUED

  def logs(self, handle: str, lines: int) -> str:
    selector = f"--selector=jobset.sigs.k8s.io/jobset-name={handle},batch.kubernetes.io/job-completion-index=0"
    return jobs.run(self._kubectl("logs", selector, f"--tail={lines}", "--prefix", "--container=gato"))

  def cancel(self, handle: str) -> None:
    """Deletes JobSet and evaluator: SIGTERM, and SIGKILL `grace` seconds later."""
    jobs.cancelled(self.name, handle).touch()
    self._delete(handle)

  def _delete(self, name: str) -> None:
    names = [f"jobset/{name}", f"job/{name}-evaluator"]
    jobs.run(self._kubectl("delete", *names, "--ignore-not-found", "--wait=true"))

  def _kubectl(self, *arguments: str) -> list[str]:
    context = [f"--context={self.context}"] if self.context else []
    return ["kubectl", *context, f"--namespace={self.namespace}", *arguments]

  def _check_queue(self) -> None:
    """Raises GatoError where the queue has no such accelerator, or not so many."""
    tpu = tpus.tpu(self.topology)
    if not tpu.generation.gke:
      raise GatoError(f"--topology={self.topology}: GKE has no slices of this generation; try v5e, v5p or v6e")

    def get(kind: str, name: str) -> dict[str, Any]:
      return json.loads(jobs.run(self._kubectl("get", f"{kind}.kueue.x-k8s.io", name, "--output=json")))["spec"]

    wanted, have = {_ACCELERATOR: tpu.generation.gke, _TOPOLOGY: tpu.shape}, []
    for group in get("clusterqueues", get("localqueues", self.queue)["clusterQueue"])["resourceGroups"]:
      for flavor in group["flavors"]:
        labels = get("resourceflavors", flavor["name"]).get("nodeLabels", {})
        quota = [int(r["nominalQuota"]) for r in flavor["resources"] if r["name"] == "google.com/tpu"]
        if quota:
          have.append(f"{quota[0]} chips of {labels.get(_ACCELERATOR, 'any')} {labels.get(_TOPOLOGY, '')}".strip())
        if quota and all(labels.get(name, value) == value for name, value in wanted.items()):
          if quota[0] >= tpu.chips * self.slices:
            return
    raise GatoError(
      f"queue {self.queue} has not {self.slices} x {self.topology} ({tpu.chips * self.slices} chips of"
      f" {tpu.generation.gke} {tpu.shape}): it has {', '.join(have) or 'no TPUs'}"
    )

  def _jobset(self, job: Job) -> dict[str, Any]:
    tpu = tpus.tpu(self.topology)
    selector = {_ACCELERATOR: tpu.generation.gke, _TOPOLOGY: tpu.shape}
    if self.spot:
      selector["cloud.google.com/gke-spot"] = "true"
    if self.reservation:
      selector["cloud.google.com/reservation-name"] = self.reservation
    chips = {"google.com/tpu": tpus.CHIPS_PER_HOST}
    arguments = job.arguments(f"{MOUNT}/data", f"{MOUNT}/work/{job.name}")
    pod = self._pod(arguments, {"limits": chips, "requests": {**chips}})
    pod["spec"] |= {"restartPolicy": "Never", "nodeSelector": selector}
    pod["spec"]["tolerations"] = [{"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"}]
    # Exit status 42 and lost nodes fail the job with the reason PodFailurePolicy, everything else with another one.
    exits = {"containerName": "gato", "operator": "In", "values": [PREEMPTED, jobs.TERMINATED]}
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    restart = {"name": "preempted", "action": "RestartJobSetAndIgnoreMaxRestarts"}
    return {
      "apiVersion": "jobset.x-k8s.io/v1alpha2",
      "kind": "JobSet",
      "metadata": {
        "name": job.name,
        "namespace": self.namespace,
        "labels": {_QUEUE: self.queue},
        # one slice, one job: its pods lie on one node pool, which is a slice, and no other job's do
        "annotations": {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"},
      },
      "spec": {
        "failurePolicy": {
          "maxRestarts": self.restarts,
          "rules": [restart | {"onJobFailureReasons": ["PodFailurePolicy"]}],
        },
        "replicatedJobs": [
          {
            "name": "slice",
            "replicas": self.slices,
            "template": {
              "spec": {
                "parallelism": tpu.hosts,
                "completions": tpu.hosts,
                "completionMode": "Indexed",
                "backoffLimit": 0,
                "podFailurePolicy": {
                  "rules": [
                    {"action": "FailJob", "onExitCodes": exits},
                    {"action": "FailJob", "onPodConditions": disrupted},
                  ]
                },
                "template": pod,
              }
            },
          }
        ],
      },
    }

  def _evaluator(self, job: Job) -> dict[str, Any]:
    follow = dataclasses.replace(job, verb="evaluate", overrides=(*_config_only(job.overrides), "--follow"))
    size = {"cpu": str(self.evaluator_cpus), "memory": self.evaluator_memory}
    arguments = follow.arguments(f"{MOUNT}/data", f"{MOUNT}/work/{job.name}")
    pod = self._pod(arguments, {"requests": size, "limits": {"memory": self.evaluator_memory}}, JAX_PLATFORMS="cpu")
    pod["spec"]["restartPolicy"] = "OnFailure"
    return {
      "apiVersion": "batch/v1",
      "kind": "Job",
      "metadata": {
        "name": f"{job.name}-evaluator",
        "namespace": self.namespace,
        "labels": {_QUEUE: self.queue},
      },
      "spec": {"backoffLimit": self.restarts, "template": pod},
    }

  def _pod(self, arguments: list[str], resources: dict[str, Any], **environment: str) -> dict[str, Any]:
    container = {"name": "gato", "image": self.image, "command": ["python", *arguments], "resources": resources}
    if environment:
      container["env"] = [{"name": name, "value": value} for name, value in environment.items()]
    if self.secret:
      container["envFrom"] = [{"secretRef": {"name": self.secret}}]
    container["volumeMounts"] = [{"name": "bucket", "mountPath": MOUNT}]
    bucket = {"bucketName": self.bucket, "mountOptions": "implicit-dirs"}
    return {
      "metadata": {"annotations": {"gke-gcsfuse/volumes": "true"}},
      "spec": {
        "serviceAccountName": self.service_account,
        "terminationGracePeriodSeconds": self.grace,
        "containers": [container],
        "volumes": [{"name": "bucket", "csi": {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": bucket}}],
      },
    }


def _config_only(overrides: tuple[str, ...]) -> tuple[str, ...]:
  """Those that every verb understands."""
  return tuple(override for override in overrides if override.startswith("--config."))
