"""Rows of results with returns that a test chooses."""

from gato_jax.env import results


def row(actor, seed, value, task="a.b", step=0, success=None):
  return results.Row(task, actor, seed, value, 10, success, 1.0, step)


def baselines(random=(0.0, 2.0), expert=(11.0,) * 10):
  return [row("random", i, v) for i, v in enumerate(random)] + [
    row("expert", i, v) for i, v in enumerate(expert)
  ]
