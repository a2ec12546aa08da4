"""GKE: a JobSet of TPU slices in a Kueue queue, and a job that evaluates each checkpoint."""

import dataclasses
import json
import shlex
from typing import Any, ClassVar

import yaml

from gato_jax.errors import GatoError
from gato_jax.train.config import PREEMPTED
from launch import jobs, tpus
from launch.jobs import Job, JobState, setting

MOUNT = "/mnt/gato"  # where a container sees the bucket
_QUEUE = "kueue.x-k8s.io/queue-name"
_ACCELERATOR = "cloud.google.com/gke-tpu-accelerator"
_TOPOLOGY = "cloud.google.com/gke-tpu-topology"

# Conditions of a JobSet, the last ones first: a JobSet that has ended may have been suspended, too.
_STATES = {
  "Completed": JobState.DONE,
  "Failed": JobState.FAILED,
  "Suspended": JobState.QUEUED,
}


@dataclasses.dataclass(frozen=True)
class Gke:
  """JobSets, controlled through kubectl; a handle is the JobSet's name.

  Containers see the bucket as a folder.
  """

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
    command = shlex.join(self._kubectl("create", "--filename=-"))
    return {f"standard input of: {command}": self.manifest(job)}

  def manifest(self, job: Job) -> str:
    """Returns the YAML of a JobSet and, where there is an evaluator, of its Job."""
    documents = [self._jobset(job)]
    if self.evaluator and job.verb == "train":
      documents.append(self._evaluator(job))

    # The width keeps long arguments on one line.
    return yaml.safe_dump_all(documents, sort_keys=False, width=1000)

  def check(self, job: Job) -> None:
    missing = [name for name in ("topology", "image", "bucket", "queue") if not getattr(self, name)]
    if missing:
      raise GatoError(
        f"gke needs --{', --'.join(missing)} (flags, environment or launch/cluster.json)"
      )
    if self.slices < 1 or (self.spot and self.reservation):
      raise GatoError("--slices is at least 1, and --spot and --reservation exclude each other")

    self._check_queue()
    jobs.run(self._kubectl("create", "--dry-run=server", "--filename=-"), self.manifest(job))

  def submit(self, job: Job) -> str:
    # One of the same name is over: jobs.submit has asked.
    self._delete(job.name)
    jobs.cancelled(self.name, job.name).unlink(missing_ok=True)
    jobs.run(self._kubectl("create", "--filename=-"), self.manifest(job))
    return job.name

  def state(self, handle: str) -> JobState:
    output = jobs.run(self._kubectl("get", "jobset", handle, "--ignore-not-found", "--output=json"))
    if not output.strip():
      is_cancelled = jobs.cancelled(self.name, handle).exists()
      return JobState.CANCELLED if is_cancelled else JobState.UNKNOWN

    status = json.loads(output).get("status", {})
    conditions = {c["type"] for c in status.get("conditions", []) if c["status"] == "True"}
    for condition, state in _STATES.items():
      if condition in conditions:
        return state

    # Kueue has admitted the JobSet, but its pods may still wait for machines.
    replicated_jobs = status.get("replicatedJobsStatus", [])
    is_active = any(replicated.get("active", 0) for replicated in replicated_jobs)
    return JobState.RUNNING if is_active else JobState.QUEUED

  def logs(self, handle: str, lines: int) -> str:
    # Index 0: the first host of each slice.
    labels = (
      f"jobset.sigs.k8s.io/jobset-name={handle}",
      "batch.kubernetes.io/job-completion-index=0",
    )
    selector = f"--selector={','.join(labels)}"
    return jobs.run(
      self._kubectl("logs", selector, f"--tail={lines}", "--prefix", "--container=gato")
    )

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

  def _kueue_spec(self, kind: str, name: str) -> dict[str, Any]:
    output = jobs.run(self._kubectl("get", f"{kind}.kueue.x-k8s.io", name, "--output=json"))
    return json.loads(output)["spec"]

  def _check_queue(self) -> None:
    """Checks that the queue may have so many chips of the accelerator.

    Raises:
      GatoError: It has no such accelerator, or fewer chips.
    """
    tpu = tpus.tpu(self.topology)
    if not tpu.generation.gke:
      raise GatoError(
        f"--topology={self.topology}: GKE has no slices of this generation; try v5e, v5p or v6e"
      )

    chips = tpu.chips * self.slices
    wanted = {_ACCELERATOR: tpu.generation.gke, _TOPOLOGY: tpu.shape}

    # Local queue -> cluster queue -> resource groups -> flavors, which are kinds of machines.
    cluster_queue = self._kueue_spec("localqueues", self.queue)["clusterQueue"]
    quotas = []
    for group in self._kueue_spec("clusterqueues", cluster_queue)["resourceGroups"]:
      for flavor in group["flavors"]:
        labels = self._kueue_spec("resourceflavors", flavor["name"]).get("nodeLabels", {})
        quota = None
        for resource in flavor["resources"]:
          if resource["name"] == "google.com/tpu":
            quota = int(resource["nominalQuota"])
            break
        if quota is None:
          continue

        accelerator = labels.get(_ACCELERATOR, "any")
        topology = labels.get(_TOPOLOGY, "")
        quotas.append(f"{quota} chips of {accelerator} {topology}".strip())

        # A flavor without a label has machines of any kind.
        is_match = all(labels.get(name, value) == value for name, value in wanted.items())
        if is_match and quota >= chips:
          return

    raise GatoError(
      f"queue {self.queue} has not {self.slices} x {self.topology} ({chips} chips of"
      f" {tpu.generation.gke} {tpu.shape}): it has {', '.join(quotas) or 'no TPUs'}"
    )

  def _jobset(self, job: Job) -> dict[str, Any]:
    """Returns the JobSet: one Job a slice, one pod a host."""
    tpu = tpus.tpu(self.topology)
    selector = {_ACCELERATOR: tpu.generation.gke, _TOPOLOGY: tpu.shape}
    if self.spot:
      selector["cloud.google.com/gke-spot"] = "true"
    if self.reservation:
      selector["cloud.google.com/reservation-name"] = self.reservation

    # Two dicts, or YAML would write the second one as a reference to the first.
    chips = {"google.com/tpu": tpus.CHIPS_PER_HOST}
    arguments = job.arguments(f"{MOUNT}/data", f"{MOUNT}/work/{job.name}")
    pod = self._pod(arguments, {"limits": chips, "requests": {**chips}})
    pod["spec"] |= {"restartPolicy": "Never", "nodeSelector": selector}
    pod["spec"]["tolerations"] = [
      {"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"}
    ]

    # Exit status 42 and lost nodes fail the job with the reason PodFailurePolicy, everything else
    # with another one. Only restarts for other reasons count against maxRestarts.
    exits = {"containerName": "gato", "operator": "In", "values": [PREEMPTED, jobs.TERMINATED]}
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    pod_failure_policy = {
      "rules": [
        {"action": "FailJob", "onExitCodes": exits},
        {"action": "FailJob", "onPodConditions": disrupted},
      ]
    }
    preempted = {
      "name": "preempted",
      "action": "RestartJobSetAndIgnoreMaxRestarts",
      "onJobFailureReasons": ["PodFailurePolicy"],
    }

    slice_spec = {
      "parallelism": tpu.hosts,
      "completions": tpu.hosts,
      "completionMode": "Indexed",
      "backoffLimit": 0,
      "podFailurePolicy": pod_failure_policy,
      "template": pod,
    }
    slices = {"name": "slice", "replicas": self.slices, "template": {"spec": slice_spec}}

    # One slice, one job: its pods lie on one node pool, which is a slice, and no other job's do.
    annotations = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    return {
      "apiVersion": "jobset.x-k8s.io/v1alpha2",
      "kind": "JobSet",
      "metadata": {**self._metadata(job.name), "annotations": annotations},
      "spec": {
        "failurePolicy": {"maxRestarts": self.restarts, "rules": [preempted]},
        "replicatedJobs": [slices],
      },
    }

  def _evaluator(self, job: Job) -> dict[str, Any]:
    """Returns the Job that plays each checkpoint of a training, on CPUs."""
    # Only settings of the experiment: --flag is for the verb that was submitted.
    config_overrides = [override for override in job.overrides if override.startswith("--config.")]
    follow = dataclasses.replace(job, verb="evaluate", overrides=(*config_overrides, "--follow"))
    arguments = follow.arguments(f"{MOUNT}/data", f"{MOUNT}/work/{job.name}")

    # CPUs are not limited, so that idle ones of the machine are used.
    resources = {
      "requests": {"cpu": str(self.evaluator_cpus), "memory": self.evaluator_memory},
      "limits": {"memory": self.evaluator_memory},
    }
    pod = self._pod(arguments, resources, JAX_PLATFORMS="cpu")
    pod["spec"]["restartPolicy"] = "OnFailure"

    return {
      "apiVersion": "batch/v1",
      "kind": "Job",
      "metadata": self._metadata(f"{job.name}-evaluator"),
      "spec": {"backoffLimit": self.restarts, "template": pod},
    }

  def _metadata(self, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": self.namespace, "labels": {_QUEUE: self.queue}}

  def _pod(
    self, arguments: list[str], resources: dict[str, Any], **environment: str
  ) -> dict[str, Any]:
    """Returns the template of a pod with one container, which sees the bucket."""
    container: dict[str, Any] = {
      "name": "gato",
      "image": self.image,
      "command": ["python", *arguments],
      "resources": resources,
    }
    if environment:
      container["env"] = [{"name": name, "value": value} for name, value in environment.items()]
    if self.secret:
      container["envFrom"] = [{"secretRef": {"name": self.secret}}]
    container["volumeMounts"] = [{"name": "bucket", "mountPath": MOUNT}]

    # A bucket written by other programs has no objects for its folders: implicit-dirs shows them.
    volume = {
      "name": "bucket",
      "csi": {
        "driver": "gcsfuse.csi.storage.gke.io",
        "volumeAttributes": {"bucketName": self.bucket, "mountOptions": "implicit-dirs"},
      },
    }
    return {
      "metadata": {"annotations": {"gke-gcsfuse/volumes": "true"}},
      "spec": {
        "serviceAccountName": self.service_account,
        "terminationGracePeriodSeconds": self.grace,
        "containers": [container],
        "volumes": [volume],
      },
    }
