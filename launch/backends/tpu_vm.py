"""TPU VMs without a cluster: a queued resource, whose machines run the container at every boot."""

import dataclasses
import json
import shlex
import tempfile
from typing import Any, ClassVar

from gato_jax.errors import GatoError
from gato_jax.train.config import PREEMPTED
from launch import jobs, tpus
from launch.jobs import Job, JobState, setting

_TPUS = ("gcloud", "compute", "tpus")

# FAILED, which is missing here, is a request that cannot be granted. Machines of a suspended
# resource were taken away: `launch keep` creates it again.
_STATES = {
  "CREATING": JobState.QUEUED,
  "ACCEPTED": JobState.QUEUED,
  "WAITING_FOR_RESOURCES": JobState.QUEUED,
  "PROVISIONING": JobState.QUEUED,
  "SUSPENDING": JobState.QUEUED,
  "SUSPENDED": JobState.QUEUED,
  "ACTIVE": JobState.RUNNING,
  "DELETING": JobState.RUNNING,
}

# Runs as root at every boot of every machine. Only the first machine writes the exit status: all
# end together.
_STARTUP = """\
#!/bin/bash
set -uo pipefail
exec >>/var/log/gato.log 2>&1
[ -e /var/lib/gato.over ] && exit 0
metadata=http://metadata.google.internal/computeMetadata/v1/instance
attribute() {{ curl -sf -H 'Metadata-Flavor: Google' "$metadata/attributes/$1"; }}
export DEBIAN_FRONTEND=noninteractive
mkdir -p {mount} /var/cache/gato
{mounting}gcloud auth configure-docker {registry} --quiet
environment=()
{secrets}until docker pull {image}; do sleep 10; done
failures=0
while true; do
  docker rm -f gato
  docker run --name gato --init --stop-timeout={grace} --privileged --net=host \
-v {mount}:{mount} -v /var/cache/gato:{cache} -e GATO_CACHE_DIR={cache} \
"${{environment[@]}}" {image} \
{command}
  status=$?
  case "$status" in
    {again}) continue ;;  # saved at SIGTERM: maintenance
    0) break ;;
  esac
  failures=$((failures + 1))
  [ "$failures" -gt {restarts} ] && break
  sleep 30
done
touch /var/lib/gato.over
if [ "$(attribute agent-worker-number)" = 0 ]; then
  until echo "$status" | gcloud storage cp - {exit_url}; do sleep 10; done
fi
"""

# For the verbs that see the bucket as a directory.
_MOUNTING = """\
until command -v gcsfuse; do
  from=https://packages.cloud.google.com/apt
  echo "deb $from gcsfuse-$(lsb_release -c -s) main" >/etc/apt/sources.list.d/gcsfuse.list
  curl -sf "$from/doc/apt-key.gpg" -o /etc/apt/trusted.gpg.d/gcsfuse.asc
  if ! apt-get update -qq || ! apt-get install -y -qq gcsfuse; then sleep 10; fi
done
mountpoint -q {mount} || gcsfuse --implicit-dirs -o allow_other {bucket} {mount} || exit 1
"""


@dataclasses.dataclass(frozen=True)
class TpuVm:
  """Queued resources, controlled through gcloud.

  A handle is the resource's name. After the job `launch keep` deletes it.
  """

  name: ClassVar[str] = "tpu_vm"
  topology: str = setting("", "The slice, as pre-flight calls it: v5e:16x16.")
  slices: int = setting(1, "Slices that train together.")
  image: str = setting("", "Container image (launch/container/Dockerfile).")
  bucket: str = setting("", "Cloud Storage bucket with data/ in it; work/ is written there.")
  zone: str = setting("", "Zone, e.g. us-east5-b.")
  project: str = setting("", "Project; gcloud's current one if empty.")
  runtime: str = setting(
    "", "Runtime version; the one that Google names for the generation if empty."
  )
  spot: bool = setting(False, "Cheap machines that may be taken away.")
  reserved: bool = setting(False, "From the project's reservation.")
  reservation: str = setting("", "Name of a reservation, where the project has several.")
  flex_start: bool = setting(False, "Machines for --max_run_duration, as soon as there are any.")
  max_run_duration: str = setting("", "Time after which the machines are taken away, e.g. 4h.")
  network: str = setting("", "VPC network.")
  subnetwork: str = setting("", "VPC subnetwork.")
  internal_ips: bool = setting(False, "No external addresses; the network then needs Cloud NAT.")
  labels: str = setting("", "NAME=VALUE,...: labels of the machines, beside gato-job.")
  grace: int = setting(120, "Seconds from SIGTERM to SIGKILL.")
  service_account: str = setting(
    "", "Account that may read the image and the secrets, and write the bucket."
  )
  secret: str = setting("", "VARIABLE=NAME,...: environment variables from Secret Manager.")
  restarts: int = setting(5, "Restarts of the container after failures; preemptions do not count.")

  def render(self, job: Job) -> dict[str, str]:
    command = self._create_command(job, "startup.sh")
    return {"startup.sh": self.startup(job), "command": shlex.join(command) + "\n"}

  def startup(self, job: Job) -> str:
    """Returns the script that the machines run at every boot."""
    secrets = ""
    for pair in self.secret.split(","):
      if not pair:
        continue
      variable, _, name = pair.partition("=")
      value = shlex.join(["gcloud", "secrets", "versions", "access", "latest", f"--secret={name}"])
      secrets += f'environment+=(-e {shlex.quote(variable)}="$({value})")\n'

    bucket = shlex.quote(self.bucket)
    return _STARTUP.format(
      mount=jobs.MOUNT,
      mounting=_MOUNTING.format(mount=jobs.MOUNT, bucket=bucket) if job.needs_mount else "",
      cache=jobs.CACHE,
      registry=shlex.quote(self.image.partition("/")[0]),
      secrets=secrets,
      image=shlex.quote(self.image),
      command=shlex.join(["python", *job.bucket_arguments(self.bucket)]),
      again=f"{PREEMPTED} | {jobs.TERMINATED}",
      restarts=self.restarts,
      grace=self.grace,
      exit_url=shlex.quote(self._exit_url(job.name)),
    )

  def check(self, job: Job) -> None:
    missing = [name for name in ("topology", "image", "bucket", "zone") if not getattr(self, name)]
    if missing:
      raise GatoError(
        f"tpu_vm needs --{', --'.join(missing)} (flags, environment or launch/cluster.json)"
      )
    if self.slices < 1 or sum(self._capacities().values()) > 1:
      kinds = ", --".join(self._capacities())
      raise GatoError(f"--slices is at least 1, and --{kinds} exclude each other")
    if bool(self.flex_start) != bool(self.max_run_duration):
      raise GatoError("--flex_start and --max_run_duration are given together")
    if not tpus.tpu(self.topology).generation.runtime:
      raise GatoError(f"--topology={self.topology}: there are no TPU VMs of it; use --on=gke")
    for pair in self.secret.split(","):
      if pair and not all(pair.partition("=")):
        raise GatoError(f"--secret={self.secret}: it looks like WANDB_API_KEY=my-secret,OTHER=name")

    tpu = tpus.tpu(self.topology)
    zone = self._zone_flags()
    jobs.run([*_TPUS, "accelerator-types", "describe", tpu.type, *zone])
    jobs.run([*_TPUS, "tpu-vm", "versions", "describe", self._runtime(), *zone])
    jobs.run(["gcloud", "storage", "ls", f"gs://{self.bucket}/data/"])

  def submit(self, job: Job) -> str:
    # An earlier job of the same name is over; whatever it left would be read as this one's end.
    if self._describe(job.name):
      self._delete(job.name)
    jobs.cancelled(self.name, job.name).unlink(missing_ok=True)
    if self._exit_status(job.name):
      jobs.run(["gcloud", "storage", "rm", self._exit_url(job.name)])

    self.create(job)
    return job.name

  def create(self, job: Job) -> None:
    """Requests the machines; the quota is checked at once."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
      script.write(self.startup(job))
      script.flush()
      jobs.run(self._create_command(job, script.name))

  def state(self, handle: str) -> JobState:
    resource = self._describe(handle)
    if not resource and jobs.cancelled(self.name, handle).exists():
      return JobState.CANCELLED

    # The machines outlive the job, so its exit status counts more than their state.
    status = self._exit_status(handle)
    if status:
      return JobState.DONE if status == "0" else JobState.FAILED
    if not resource:
      return JobState.UNKNOWN

    return _STATES.get(resource["state"]["state"], JobState.FAILED)

  def others(self, handle: str) -> dict[str, JobState]:
    del handle
    return {}

  def logs(self, handle: str, lines: int) -> str:
    # With --node-prefix the nodes are numbered.
    node = f"{handle}-0" if self.slices > 1 else handle
    command = f"--command=sudo tail -n {lines} /var/log/gato.log"
    return jobs.run([*_TPUS, "tpu-vm", "ssh", node, "--worker=0", command, *self._zone_flags()])

  def cancel(self, handle: str) -> None:
    """Deletes the machines; training since the newest checkpoint is lost."""
    jobs.cancelled(self.name, handle).touch()
    self._delete(handle)

  def keep(self, job: Job) -> JobState:
    """Looks once after a job and returns its state.

    Deletes the machines of a job that is over, and requests again those that were taken away.
    """
    state = self.state(job.name)
    resource = self._describe(job.name)
    if state.over and resource:
      self._delete(job.name)
    elif resource and resource["state"]["state"] == "SUSPENDED":
      self._delete(job.name)
      self.create(job)
    elif not resource and state == JobState.UNKNOWN:
      # An earlier look has deleted the resource, and its second request had failed.
      self.create(job)

    return state

  def _create_command(self, job: Job, script: str) -> list[str]:
    nodes = [f"--node-id={job.name}"]
    if self.slices > 1:
      nodes = [f"--node-count={self.slices}", f"--node-prefix={job.name}"]

    capacity = [f"--{kind}" for kind in ("spot", "reserved") if getattr(self, kind)]
    if self.internal_ips:
      capacity.append("--internal-ips")

    # What only the alpha track knows so far.
    alpha = {"reservation": self.reservation, "max-run-duration": self.max_run_duration}
    if self.flex_start:
      alpha["provisioning-model"] = "flex-start"
    options = {
      **alpha,
      "labels": ",".join(filter(None, [f"gato-job={job.name}", self.labels])),
      "network": self.network,
      "subnetwork": self.subnetwork,
      "service-account": self.service_account,
    }
    track = ["gcloud", "alpha", *_TPUS[1:]] if any(alpha.values()) else _TPUS
    return [
      *track,
      "queued-resources",
      "create",
      job.name,
      *nodes,
      f"--accelerator-type={tpus.tpu(self.topology).type}",
      f"--runtime-version={self._runtime()}",
      f"--metadata-from-file=startup-script={script}",
      *capacity,
      *(f"--{name}={value}" for name, value in options.items() if value),
      *self._zone_flags(),
    ]

  def _capacities(self) -> dict[str, bool]:
    """Returns the kinds of machines, of which one may be asked for."""
    return {
      "spot": self.spot,
      "reserved": self.reserved,
      "reservation": bool(self.reservation),
      "flex_start": self.flex_start,
    }

  def _delete(self, name: str) -> None:
    command = [*_TPUS, "queued-resources", "delete", name, "--force", "--quiet"]
    jobs.run([*command, *self._zone_flags()])

  def _describe(self, name: str) -> dict[str, Any] | None:
    """Returns the queued resource, or None where there is none."""
    # `list` and not `describe`: a resource that does not exist is no error there.
    filters = [f"--filter=name~/{name}$", "--format=json"]
    output = jobs.run([*_TPUS, "queued-resources", "list", *filters, *self._zone_flags()])
    resources = json.loads(output)
    return resources[0] if resources else None

  def _exit_status(self, name: str) -> str:
    """Returns the exit status that the first machine left in the bucket; "" before the end."""
    try:
      return jobs.run(["gcloud", "storage", "cat", self._exit_url(name)]).strip()
    except GatoError as e:
      if "matched no objects" not in str(e):
        raise
      return ""

  def _exit_url(self, name: str) -> str:
    return f"gs://{self.bucket}/launch/{name}.exit"

  def _runtime(self) -> str:
    return self.runtime or tpus.tpu(self.topology).generation.runtime

  def _zone_flags(self) -> list[str]:
    project = [f"--project={self.project}"] if self.project else []
    return [f"--zone={self.zone}", *project]
