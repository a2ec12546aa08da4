"""What a job has used: chips of its slices, hours from its metrics; hooks that are told its end."""

import http.server
import json
import threading

import pytest

from launch import cost, jobs, notify
from launch.jobs import Job, JobState


def record(job=None, **settings):
  job = job or Job("big", "experiments/configs/gato_1b.py")
  return jobs.Record("gke", settings, job, handle="big", submitted="", revision="")


@pytest.mark.parametrize(
  "settings, chips",
  [
    ({"topology": "v5e:16x16", "slices": 2}, 512),
    ({"topology": "tpu7x:4x4x4"}, 64),
    ({"nodes": 2, "tasks_per_node": 8, "gpus_per_task": 1}, 16),
    ({"nodes": 1, "tasks_per_node": 1, "gpus_per_task": 0}, None),
    ({}, None),
  ],
)
def test_chips(settings, chips):
  assert cost.chips(record(**settings)) == chips


def test_hours_are_those_of_all_starts(tmp_path):
  job = Job("big", "experiments/configs/gato_1b.py", (f"--config.workdir={tmp_path}",))
  slices = {"topology": "v4:2x2x1", "slices": 1}
  assert cost.of_record(record(job, **slices)).cells() == ("-", "-")

  rows = [{"step": 10, "run_seconds": 1800.0}, {"step": 1200, "run_seconds": 9000.0}]
  (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  assert cost.of_record(record(job, **slices)).cells() == ("1,200", "10.0")

  # Older versions did not log it.
  (tmp_path / "metrics.jsonl").write_text('{"step": 10}\n')
  assert cost.of_record(record(job, **slices)).cells() == ("10", "-")


def test_the_workdir_of_a_job_in_a_bucket():
  assert str(cost.workdir(record(bucket="lab"))) == "gs://lab/work/big"
  given = Job("big", "experiments/configs/gato_1b.py", ("--config.workdir=gs://lab/other",))
  assert str(cost.workdir(record(given, bucket="lab"))) == "gs://lab/other"
  assert cost.workdir(record()) == jobs.ROOT / "work/big"


def test_a_hook_is_told():
  told = []

  class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
      told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
      self.send_response(200)
      self.end_headers()

    def log_message(self, *arguments):
      pass

  server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  job = Job("big", "experiments/configs/gato_1b.py")
  notify.send(f"http://127.0.0.1:{server.server_port}/x", job, JobState.DONE, "gs://lab/work/big")
  server.shutdown()
  server.server_close()

  (message,) = told
  assert message["state"] == "done" and message["name"] == "big"
  assert "big (train experiments/configs/gato_1b.py) is done" in message["text"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "nonsense"])
def test_a_hook_that_does_not_answer_ends_nothing(url, capsys):
  notify.send(url, Job("big", "experiments/configs/gato_1b.py"), JobState.FAILED, "work/big")
  assert f"--notify={url}: not sent" in capsys.readouterr().err
