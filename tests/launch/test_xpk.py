"""GKE's manifests and slices beside those of xpk, which Google's users submit with."""

import os
import subprocess

import api_server
import pytest
import yaml
from test_launch_gke import BACKEND, JOB, jobset, pod_of

from launch import tpus
from launch.backends.gke import Gke

XPK = api_server.ROOT / ".venv/xpk/bin/xpk"


@pytest.mark.slow  # 390 MB to install
@pytest.mark.skipif(not XPK.exists(), reason="`make setup-slow-tests` could not install xpk")
@pytest.mark.parametrize(
  ("topology", "slices"), [("v5e:4x4", 2), ("v5p:4x8x8", 1), ("v4:2x2x4", 1), ("v6e:16x16", 4)]
)
def test_xpk_makes_the_same_of_the_same_job(topology, slices, tmp_path):
  backend = Gke(
    **{**vars(BACKEND), "topology": topology, "slices": slices, "priority": "high", "ttl": 43_200}
  )
  ours = jobset(backend)
  (container,) = pod_of(ours)["containers"]
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
    *(
      "--max-restarts=5",
      "--priority=high",
      f"--output-manifest-file={tmp_path / 'manifest.yaml'}",
    ),
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

  # Everything of the training's JobSet, but for what is said here.
  assert set(differences(comparable(ours), comparable(theirs))) == {
    # Our preemptions are not counted, theirs end the job.
    "spec.failurePolicy.rules",
    "template.spec.podFailurePolicy.rules",
    "template.spec.template.metadata.labels",
    "template.spec.completionMode",  # Indexed is JobSet's default
    "pod.imagePullSecrets",
    "pod.schedulerName",
    "pod.serviceAccountName",
    "pod.shareProcessNamespace",
    "pod.terminationGracePeriodSeconds",
    "pod.volumes",
    *(["pod.dnsPolicy", "pod.hostNetwork"] if slices == 1 else []),
    "container.command",
    "container.env",
    "container.envFrom",
    "container.name",
    "container.resources.requests",
    "container.volumeMounts",
  }

  (theirs_container,) = pod_of(theirs, "slice-job")["containers"]
  script = theirs_container["command"][-1]

  assert " ".join(container["command"]) in script


def comparable(document):
  """Returns the parts of a JobSet by the names that differences are given, flat."""
  slices = document["spec"]["replicatedJobs"][0]
  template = slices["template"]
  # We say it of the slices, since the evaluator needs no node pool of its own; xpk of all.
  exclusive = template.get("metadata", document["metadata"])["annotations"]
  pod = template["spec"]["template"]["spec"]
  (container,) = pod["containers"]

  parts = {
    "api": {"version": document["apiVersion"], "name": document["metadata"]["name"]},
    "exclusive": exclusive,
    "queued": {"yes": "kueue.x-k8s.io/queue-name" in document["metadata"]["labels"]},
    "spec": {k: v for k, v in document["spec"].items() if k != "replicatedJobs"},
    "slices": {"replicas": slices["replicas"]},
    "template.spec": {k: v for k, v in template["spec"].items() if k != "template"},
    "template.spec.template.metadata": template["spec"]["template"].get("metadata", {}),
    "pod": {k: v for k, v in pod.items() if k not in ("containers", "tolerations")},
    "tolerated": {"keys": [toleration["key"] for toleration in pod["tolerations"]]},
    "container": container,
  }
  return {
    f"{part}.{key}": value for part, content in parts.items() for key, value in content.items()
  }


def differences(ours, theirs):
  """Names the parts that differ, one level deeper where both are dicts; empty ones are alike."""
  names = []
  for name in dict.fromkeys([*ours, *theirs]):
    a, b = ours.get(name), theirs.get(name)
    if not a and not b or a == b:
      continue
    if isinstance(a, dict) and isinstance(b, dict):
      names += [f"{name}.{key}" for key in {**a, **b} if a.get(key) != b.get(key)]
    else:
      names.append(name)
  return names


@pytest.mark.slow  # 390 MB to install
@pytest.mark.skipif(not XPK.exists(), reason="`make setup-slow-tests` could not install xpk")
def test_slices_are_those_of_xpks_table():
  script = """
from xpk.core import system_characteristics as table
names = table.UserFacingNameToSystemCharacteristics.items()
for name, machine in names:
  print(name.split("-")[0], machine.topology, machine.vms_per_slice, machine.gke_accelerator)
"""
  done = subprocess.run(
    [XPK.parent / "python", "-c", script], capture_output=True, text=True, check=True
  )
  prefixes = {generation.prefix: name for name, generation in tpus.GENERATIONS.items()}
  compared = 0
  for line in done.stdout.splitlines():
    prefix, shape, hosts, label = line.split()
    sides = shape.split("x")
    # Ours have the smallest side first; xpk turns v4's around.
    if prefix in prefixes and sides == sorted(sides, key=int):
      found = tpus.tpu(f"{prefixes[prefix]}:{shape}")
      assert (found.hosts, found.generation.gke) == (int(hosts), label), line
      compared += 1
  assert compared > 500
