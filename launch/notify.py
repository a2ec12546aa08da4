"""Tells a web hook that a job is over."""

import json
import sys
import urllib.error
import urllib.request

from launch.jobs import Job, JobState

_PATIENCE_SECONDS = 30


def send(url: str, job: Job, state: JobState, workdir: str) -> None:
  """Posts {"text", "name", "state", "workdir"} as JSON; chat services show the text.

  A hook that does not answer is said on stderr: it is no reason to lose the job's exit status.
  """
  content = {
    "text": f"{job.name} ({job.verb} {job.config}) is {state}: {workdir}",
    "name": job.name,
    "state": str(state),
    "workdir": workdir,
  }
  try:
    request = urllib.request.Request(
      url, json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS).close()
  except (urllib.error.URLError, OSError, ValueError) as e:
    print(f"--notify={url}: not sent ({e})", file=sys.stderr)
