"""GKE: a JobSet of TPU slices in a Kueue queue, with a job that evaluates each checkpoint.

The pods of the slices are those that xpk makes, except for what is said where it differs.
"""

import dataclasses
import json
import re
import shlex
from typing import Any, ClassVar

import yaml

from gato_jax.errors import GatoError
from gato_jax.train.config import PREEMPTED
from launch import jobs, tpus
from launch.jobs import Job, JobState, setting

_QUEUE = "kueue.x-k8s.io/queue-name"
_ACCELERATOR = "cloud.google.com/gke-tpu-accelerator"
_TOPOLOGY = "cloud.google.com/gke-tpu-topology"

_CHIPS = "google.com/tpu"
_SLICE = "slice"  # the replicated jobs that train
_ALWAYS = 2**31 - 1  # restarts
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Counts of a replicated job's jobs, the first that is not 0 decides.
_COUNTS = {
  "active": JobState.RUNNING,
  "failed": JobState.FAILED,
  "succeeded": JobState.DONE,
}

# Conditions of a JobSet, the last ones first: a JobSet that has ended may have been suspended, too.
_STATES = {
  "Completed": JobState.DONE,
  "Failed": JobState.FAILED,
  "Suspended": JobState.QUEUED,
}


@dataclasses.dataclass(frozen=True)
class Gke:
  """JobSets, controlled through kubectl; a handle is the JobSet's name."""

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
  env: str = setting("", "NAME=VALUE,...: environment variables.")
  pull_secret: str = setting("", "A Kubernetes Secret that the image's registry asks for.")
  priority: str = setting("", "Kubernetes priority class.")
  spot: bool = setting(False, "Cheap machines that may be taken away.")
  reservation: str = setting("", "Name of a reservation.")
  restarts: int = setting(5, "Restarts after failures; preemptions do not count.")
  grace: int = setting(120, "Seconds from SIGTERM to SIGKILL.")
  ttl: int = setting(604_800, "Seconds that a job that is over is kept, with its logs.")
  cache_gib: int = setting(50, "GiB of local disk for what was read of the bucket.")
  evaluator: bool = setting(True, "A second job that evaluates each checkpoint of a training.")
  evaluator_cpus: int = setting(8, "CPUs of the evaluator.")
  evaluator_memory: str = setting("32Gi", "Memory of the evaluator.")

  def render(self, job: Job) -> dict[str, str]:
    command = shlex.join(self._kubectl("create", "--filename=-"))
    return {f"standard input of: {command}": self.manifest(job)}

  def manifest(self, job: Job) -> str:
    """Returns the YAML of a JobSet."""
    # The width keeps long arguments on one line.
    return yaml.safe_dump(self._jobset(job), sort_keys=False, width=1000)

  def check(self, job: Job) -> None:
    missing = [name for name in ("topology", "image", "bucket", "queue") if not getattr(self, name)]
    if missing:
      raise GatoError(
        f"gke needs --{', --'.join(missing)} (flags, environment or launch/cluster.json)"
      )
    if self.slices < 1 or (self.spot and self.reservation):
      raise GatoError("--slices is at least 1, and --spot and --reservation exclude each other")
    self._environment()

    self._check_queue()
    # Under another name: one of this name may be over, and the server refuses a second one.
    checked = dataclasses.replace(job, name=job.name[:34] + "-check")
    jobs.run(self._kubectl("create", "--dry-run=server", "--filename=-"), self.manifest(checked))

  def submit(self, job: Job) -> str:
    # One of the same name is over: jobs.submit has asked.
    self._delete(job.name)
    jobs.cancelled(self.name, job.name).unlink(missing_ok=True)
    jobs.run(self._kubectl("create", "--filename=-"), self.manifest(job))
    return job.name

  def state(self, handle: str) -> JobState:
    status = self._status(handle)
    if status is None:
      is_cancelled = jobs.cancelled(self.name, handle).exists()
      return JobState.CANCELLED if is_cancelled else JobState.UNKNOWN

    conditions = {c["type"] for c in status.get("conditions", []) if c["status"] == "True"}
    for condition, state in _STATES.items():
      if condition in conditions:
        return state

    # Kueue has admitted the JobSet, but its pods may still wait for machines.
    return _state_of(status, _SLICE)

  def others(self, handle: str) -> dict[str, JobState]:
    status = self._status(handle) or {}
    names = [job["name"] for job in status.get("replicatedJobsStatus", [])]
    return {name: _state_of(status, name) for name in names if name != _SLICE}

  def logs(self, handle: str, lines: int) -> str:
    # Index 0: the first host of each slice.
    labels = (
      f"jobset.sigs.k8s.io/jobset-name={handle}",
      f"jobset.sigs.k8s.io/replicatedjob-name={_SLICE}",
      "batch.kubernetes.io/job-completion-index=0",
    )
    selector = f"--selector={','.join(labels)}"
    return jobs.run(
      self._kubectl("logs", selector, f"--tail={lines}", "--prefix", "--container=gato")
    )

  def cancel(self, handle: str) -> None:
    """Deletes the JobSet: SIGTERM, and SIGKILL `grace` seconds later."""
    jobs.cancelled(self.name, handle).touch()
    self._delete(handle)

  def _status(self, handle: str) -> dict[str, Any] | None:
    """Returns the status of a JobSet; None where there is no such JobSet."""
    output = jobs.run(self._kubectl("get", "jobset", handle, "--ignore-not-found", "--output=json"))
    return json.loads(output).get("status", {}) if output.strip() else None

  def _delete(self, name: str) -> None:
    jobs.run(self._kubectl("delete", f"jobset/{name}", "--ignore-not-found", "--wait=true"))

  def _kubectl(self, *arguments: str) -> list[str]:
    context = [f"--context={self.context}"] if self.context else []
    return ["kubectl", *context, f"--namespace={self.namespace}", *arguments]

  def _check_queue(self) -> None:
    """Checks that the queue admits jobs and has machines of the slice's kind.

    Only the LocalQueue is asked, which users may read. Whether its quota suffices is Kueue's to
    say: it may be borrowed.

    Raises:
      GatoError: There is no such queue, it is stopped, or it has other machines.
    """
    tpu = tpus.tpu(self.topology)
    if not tpu.generation.gke:
      raise GatoError(
        f"--topology={self.topology}: GKE has no slices of this generation; try v5e, v5p or v6e"
      )

    output = jobs.run(
      self._kubectl("get", "localqueues.kueue.x-k8s.io", self.queue, "--output=json")
    )
    status = json.loads(output).get("status", {})
    for condition in status.get("conditions", []):
      if condition["type"] == "Active" and condition["status"] != "True":
        raise GatoError(
          f"queue {self.queue} admits no jobs now ({condition.get('message', 'not active')}); "
          "ask its administrator"
        )

    # Flavors are kinds of machines; one without a label has machines of any kind. Older versions of
    # Kueue do not list them.
    flavors = [f for f in status.get("flavors", []) if _CHIPS in f.get("resources", [])]
    wanted = {_ACCELERATOR: tpu.generation.gke, _TOPOLOGY: tpu.shape}
    labels = [flavor.get("nodeLabels", {}) for flavor in flavors]
    if labels and not any(
      all(of_flavor.get(name, value) == value for name, value in wanted.items())
      for of_flavor in labels
    ):
      kinds = [f"{of.get(_ACCELERATOR, 'any')} {of.get(_TOPOLOGY, '')}".strip() for of in labels]
      raise GatoError(
        f"queue {self.queue} has no {self.topology} ({tpu.generation.gke} {tpu.shape}): "
        f"it has {', '.join(kinds)}"
      )

  def _jobset(self, job: Job) -> dict[str, Any]:
    """Returns the JobSet: one Job a slice, one pod a host, and the evaluator."""
    replicated = [self._slices(job)]
    if self.evaluator and job.verb == "train":
      replicated.append(self._evaluator(job))

    # What was preempted starts again as often as it takes.
    preempted = {
      "name": "preempted",
      "action": "RestartJobSetAndIgnoreMaxRestarts",
      "onJobFailureReasons": ["PodFailurePolicy"],
    }
    metadata = {"name": job.name, "namespace": self.namespace, "labels": {_QUEUE: self.queue}}
    return {
      "apiVersion": "jobset.x-k8s.io/v1alpha2",
      "kind": "JobSet",
      "metadata": metadata,
      "spec": {
        "ttlSecondsAfterFinished": self.ttl,
        "failurePolicy": {"maxRestarts": self.restarts, "rules": [preempted]},
        "replicatedJobs": replicated,
      },
    }

  def _slices(self, job: Job) -> dict[str, Any]:
    """Returns the jobs that train, one a slice."""
    tpu = tpus.tpu(self.topology)
    selector = {_ACCELERATOR: tpu.generation.gke, _TOPOLOGY: tpu.shape}
    if self.spot:
      selector["cloud.google.com/gke-spot"] = "true"
    if self.reservation:
      selector["cloud.google.com/reservation-name"] = self.reservation

    # Two dicts, or YAML would write the second one as a reference to the first.
    chips = {_CHIPS: tpu.chips_per_host}
    pod = self._pod(job, {"limits": chips, "requests": {**chips}}, host_network=self.slices > 1)
    pod["spec"] |= {"restartPolicy": "Never", "nodeSelector": selector}
    pod["spec"]["tolerations"] = [
      {"key": "google.com/tpu", "operator": "Exists", "effect": "NoSchedule"}
    ]

    # libtpu locks the memory that chips read, more than containers may lock by default.
    (container,) = pod["spec"]["containers"]
    container["securityContext"] = {"privileged": True}

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
    spec = {
      "parallelism": tpu.hosts,
      "completions": tpu.hosts,
      "completionMode": "Indexed",
      "backoffLimit": 0,
      "podFailurePolicy": pod_failure_policy,
      "template": pod,
    }

    # One slice, one job: its pods lie on one node pool, which is a slice, and no other job's do.
    # The evaluator needs no node pool of its own, so that this is not said of the whole JobSet.
    exclusive = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    template = {"metadata": {"annotations": exclusive}, "spec": spec}
    return {"name": _SLICE, "replicas": self.slices, "template": template}

  def _evaluator(self, job: Job) -> dict[str, Any]:
    """Returns the job that plays each checkpoint of a training, on CPUs.

    It is part of the JobSet, so that it waits in the queue, is suspended, restarts and ends as the
    training does. It ends by itself after the last step, and waits for checkpoints until then.
    """
    # Only settings of the experiment: --flag is for the verb that was submitted.
    config_overrides = [override for override in job.overrides if override.startswith("--config.")]
    follow = dataclasses.replace(
      job,
      verb="evaluate",
      overrides=("--config.evaluate.idle_minutes=0", *config_overrides, "--follow"),
    )
    # CPUs are not limited, so that idle ones of the machine are used.
    resources = {
      "requests": {"cpu": str(self.evaluator_cpus), "memory": self.evaluator_memory},
      "limits": {"memory": self.evaluator_memory},
    }
    pod = self._pod(follow, resources, JAX_PLATFORMS="cpu")
    pod["spec"]["restartPolicy"] = "OnFailure"

    # A failure of the evaluator is no reason to end the training.
    spec = {"backoffLimit": _ALWAYS, "parallelism": 1, "completions": 1, "template": pod}
    return {"name": "evaluator", "replicas": 1, "template": {"spec": spec}}

  def _environment(self) -> dict[str, str]:
    """Returns the variables of --env.

    Raises:
      GatoError: A part is none.
    """
    variables = {}
    for pair in filter(None, self.env.split(",")):
      name, is_pair, value = pair.partition("=")
      if not is_pair or not _VARIABLE.fullmatch(name):
        raise GatoError(f"--env={self.env}: it looks like NAME=VALUE,OTHER=VALUE")
      variables[name] = value
    return variables

  def _pod(
    self,
    job: Job,
    resources: dict[str, Any],
    host_network: bool = False,
    **environment: str,
  ) -> dict[str, Any]:
    """Returns the template of a pod with one container.

    Args:
      job: What it runs.
      resources: Of the container.
      host_network: True for slices that train together: they talk over the machines' network.
      **environment: Variables beside those of --env.
    """
    container: dict[str, Any] = {
      "name": "gato",
      "image": self.image,
      "command": ["python", *job.bucket_arguments(self.bucket)],
      "resources": resources,
    }
    cache = {"GATO_CACHE_DIR": jobs.CACHE, "GATO_CACHE_GIB": str(self.cache_gib)}
    variables = {**cache, **self._environment(), **environment}
    container["env"] = [{"name": name, "value": value} for name, value in variables.items()]
    if self.secret:
      container["envFrom"] = [{"secretRef": {"name": self.secret}}]
    container["volumeMounts"] = [
      {"name": "memory", "mountPath": "/dev/shm"},
      {"name": "cache", "mountPath": jobs.CACHE},
    ]
    volumes: list[dict[str, Any]] = [
      {"name": "memory", "emptyDir": {"medium": "Memory"}},
      {"name": "cache", "emptyDir": {}},
    ]

    spec: dict[str, Any] = {
      "serviceAccountName": self.service_account,
      "terminationGracePeriodSeconds": self.grace,
      # Process 1 ignores a SIGTERM that it does not handle, as Python before training has begun;
      # with a shared namespace that is another process.
      "shareProcessNamespace": True,
      "containers": [container],
      "volumes": volumes,
    }
    if host_network:
      spec |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    if self.priority:
      spec["priorityClassName"] = self.priority
    if self.pull_secret:
      spec["imagePullSecrets"] = [{"name": self.pull_secret}]

    template: dict[str, Any] = {"spec": spec}
    if job.needs_mount:
      self._mount_bucket(template, container)
    return template

  def _mount_bucket(self, template: dict[str, Any], container: dict[str, Any]) -> None:
    """Adds the bucket as a directory to a pod, by Cloud Storage FUSE."""
    # A bucket written by other programs has no objects for its folders: implicit-dirs shows them.
    attributes = {
      "bucketName": self.bucket,
      "mountOptions": "implicit-dirs",
      "fileCacheCapacity": f"{self.cache_gib}Gi",
    }
    if "hostNetwork" in template["spec"]:
      # The driver then needs the pod's Kubernetes account by another way.
      attributes["hostNetworkPodKSA"] = "true"

    csi = {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": attributes}
    template["spec"]["volumes"].append({"name": "bucket", "csi": csi})
    container["volumeMounts"].append({"name": "bucket", "mountPath": jobs.MOUNT})

    # Without a limit, "0", the driver's sidecar is not ended where many files are read at once.
    unlimited = [f"gke-gcsfuse/{name}-limit" for name in ("cpu", "memory", "ephemeral-storage")]
    annotations = {"gke-gcsfuse/volumes": "true", **dict.fromkeys(unlimited, "0")}
    template["metadata"] = {"annotations": annotations}


def _state_of(status: dict[str, Any], name: str) -> JobState:
  """Returns the state of one of the replicated jobs of a JobSet that is not over."""
  for replicated in status.get("replicatedJobsStatus", []):
    if replicated["name"] == name:
      for count, state in _COUNTS.items():
        if replicated.get(count, 0):
          return state
  return JobState.QUEUED
