"""Settings of a run of a few seconds, for tests that start it as a job."""

import train_process

STEPS = 100
TINY = (
  *("--config.model.layers=1", "--config.model.width=32", "--config.model.feed_forward=32"),
  *(
    "--config.model.memory_length=64",
    "--config.model.dtype=float32",
    "--config.data.sequence_length=64",
  ),
  *("--config.train.batch_size=4", f"--config.train.steps={STEPS}", "--config.train.log_every=1"),
  "--config.train.checkpoint_every=1000",
)


def rows(workdir):
  return train_process.rows(workdir) if (workdir / "metrics.jsonl").exists() else []
