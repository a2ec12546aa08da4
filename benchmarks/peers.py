"""Training steps and actions beside NEKO, JAT and nanoGPT: same sizes, same machine, in turn.

python3.11 -m venv .torch && .torch/bin/pip install -r benchmarks/requirements.txt
git clone https://github.com/ManifoldRG/NEKO && git clone https://github.com/huggingface/jat
python benchmarks/peers.py --python=.torch/bin/python --neko=NEKO --jat=jat

Everyone trains on batches of one task of continuous observations and actions, and acts at the end
of the longest history that its context holds. NEKO and JAT run their own code
(benchmarks/peer_models.py), nanoGPT is its decoder at our vocabulary (benchmarks/torch_decoder.py:
forward and backward, logits everywhere). The projects do not compute the same:

  ours     one token a number, 33,025 token ids, logits at actions alone, a KV cache
  NEKO     one token a number, 52,305 token ids, logits everywhere, no KV cache
  JAT      two positions a timestep, squared errors of a linear output, a KV cache
  nanoGPT  one token a number, 33,025 token ids, logits everywhere

So the unit is the timestep of the task, whatever its tokens.
"""

import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

_FOLDER = pathlib.Path(__file__).parent

SIZES = {"layers": 4, "heads": 4, "width": 256, "feed_forward": 1024}
_KEY_SIZE = 64
TASK = {"observations": 17, "actions": 6}
TIMESTEP = TASK["observations"] + 1 + TASK["actions"]  # with the separator
BATCH, TIMESTEPS = 16, 10
MEMORY = 1024  # tokens
HISTORY = MEMORY // TIMESTEP  # timesteps

# Milliseconds of every training step and action, by project.
Times = dict[str, dict[str, list[float]]]


def flags(values: dict[str, Any]) -> list[str]:
  """Returns a command line's --name=value for each value."""
  return [f"--{name}={value}" for name, value in values.items()]


def run_script(script: str, *arguments: str) -> dict[str, Any]:
  """Runs one of our benchmarks and returns the row that it writes."""
  with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
    command = [sys.executable, str(_FOLDER / script), *arguments, f"--out={file.name}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(file.read())


def run_peer(name: str, source: str, args: argparse.Namespace) -> dict[str, Any]:
  """Returns the seconds of a peer, as benchmarks/peer_models.py prints them."""
  sizes = SIZES | TASK | {"memory": MEMORY, "history": HISTORY, "threads": os.cpu_count()}
  sizes |= {"batch": BATCH, "timesteps": TIMESTEPS, "steps": args.steps}
  command = [args.python, str(_FOLDER / "peer_models.py"), name, f"--source={source}"]

  done = subprocess.run([*command, *flags(sizes)], check=True, stdout=subprocess.PIPE, text=True)
  return json.loads(done.stdout.splitlines()[-1])


def one_round(args: argparse.Namespace, times: Times) -> None:
  """Adds the milliseconds of each project's steps and actions."""
  sizes = [f"{name}={value}" for name, value in (SIZES | {"key_size": _KEY_SIZE}).items()]
  batch = {"batch": BATCH, "length": TIMESTEPS * TIMESTEP, "steps": args.steps} | TASK
  row = run_script(
    "train_step.py", "--preset=cpu", *flags(batch), f"--beside={args.python}", "--set", *sizes
  )
  # Percentiles 10, 50 and 90 of the steps of a round.
  times["gato_jax"]["train"].append(1000 * row["seconds"]["step"][1])
  times["nanoGPT"]["train"].append(1000 * row["seconds"]["PyTorch, logits everywhere"][1])

  acting = {"memory": MEMORY, "patches": 0, "steps": 30 * args.steps, "rounds": 1} | TASK
  row = run_script("act.py", "--preset=cpu", *flags(acting))
  times["gato_jax"]["act"].append(row["p50_ms"])

  for name, label in (("neko", "NEKO"), ("jat", "JAT")):
    seconds = run_peer(name, getattr(args, name), args)
    times[label]["train"].append(1000 * float(np.median(seconds["step"])))
    times[label]["act"].append(1000 * float(np.median(seconds["act"])))


def print_table(times: Times) -> None:
  """Prints medians over rounds with their spread, and how often ours is faster, as Markdown."""

  def cells(project: str, what: str) -> str:
    values = times[project][what]
    if not values:
      return "| | "
    ratios = np.array(values) / np.array(times["gato_jax"][what])
    spread = f"{np.median(values):,.1f} [{min(values):,.1f}, {max(values):,.1f}]"
    return f"| {spread} | {np.median(ratios):.1f} [{min(ratios):.1f}, {max(ratios):.1f}] "

  print("| | ms a training step | times ours | timesteps/s | ms an action | times ours |")
  print("|---|---|---|---|---|---|")
  for project in times:
    speed = 1000 * BATCH * TIMESTEPS / np.median(times[project]["train"])
    train, act = cells(project, "train"), cells(project, "act")
    print(f"| {project} {train}| {speed:,.0f} {act}|")


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--python", required=True, help="an interpreter that has PyTorch")
  parser.add_argument("--neko", required=True, help="checkout of NEKO")
  parser.add_argument("--jat", required=True, help="checkout of JAT")
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--steps", type=int, default=5, help="training steps and actions of a round")
  parser.add_argument("--out", type=pathlib.Path, help="appends the result to this JSONL file")
  args = parser.parse_args()

  for name in ("neko", "jat"):
    if not pathlib.Path(getattr(args, name)).is_dir():
      parser.error(
        f"--{name}={getattr(args, name)}: no such folder; clone the project (see --help)"
      )

  times: Times = collections.defaultdict(lambda: collections.defaultdict(list))
  for number in range(args.rounds):
    one_round(args, times)
    print(f"round {number + 1} of {args.rounds}", file=sys.stderr)

  print_table(times)
  if args.out:
    row = {"sizes": SIZES, "task": TASK, "batch": BATCH, "timesteps": TIMESTEPS, "history": HISTORY}
    row |= {"cores": os.cpu_count(), "milliseconds": times}
    with args.out.open("a") as file:
      file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
  main()
