"""Speed, memory and start-up of the training input: python -m benchmarks.input_pipeline

4 minutes, after experiments.build. Rows of --label replace the ones of that label in --output; a
table with a column for each label is printed from it, below the next paragraph.

How the numbers come about. Every measurement is a process of its own. A window is one row of L
tokens as the train step gets it, through the whole input: seqio, packing, tokens, batches of 16.
"1 core" means that the process may run on one core only (sched_setaffinity, TensorFlow's threads
included). A rate is the median of five intervals after a warm-up, the lowest and the highest beside
it; a rate by CPU second is the rate of the core if nobody else used it. Tokens are those that are
no padding. Resident memory is read from /proc/self/statm. A domain alone is a mixture of its tasks;
"mixture" is the config's. Start-up counts from before Python starts to the first batch in hand;
"input alone" leaves the imports out. Episodes of 200 and of 2,000 steps are read in turns in one
process. The 40 domains and the long episodes are real RLDS datasets of the dummy world, made once
in --cache_dir.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import pathlib
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_BATCH = 16
_INTERVALS = 5
_SHORT, _LONG = 200, 2_000  # steps an episode
_DOMAINS = 40


def _resident_mb() -> float:
  return (
    int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    * os.sysconf("SC_PAGE_SIZE")
    / 2**20
  )


def _experiment(args: argparse.Namespace) -> Any:
  from experiments import cli

  name = args.config.removesuffix(".py").replace("/", ".")
  experiment = cli.Experiment(importlib.import_module(name).get_config())
  experiment.tfds = pathlib.Path(args.data_dir) / "tfds"
  return experiment


def _input(tfds_dir: pathlib.Path, weights: dict[str, float], length: int, **settings: Any) -> Any:
  from gato_jax.data import pipeline
  from gato_jax.data.mixture import MixtureConfig
  from gato_jax.tokens import codec

  config = MixtureConfig(weights=weights, sequence_length=length, **settings)
  return pipeline.Input(
    config, tfds_dir, _BATCH, codec.default_text_codec(), max_local_positions=512
  )


def _mixture(args: argparse.Namespace, length: int, domain: str = "") -> Any:
  """Returns the config's mixture, or one of its domains alone.

  The config's windows are used at the config's own length only.
  """
  experiment = _experiment(args)
  data = experiment.config.data.to_dict()
  own = data.pop("sequence_length")
  if length and length != own:
    # Windows of one step are for short rows.
    data.pop("window_steps")
  weights = {
    task: w for task, w in experiment.weights.items() if not domain or task.startswith(f"{domain}.")
  }
  return _input(experiment.tfds, weights, length or own, **data)


def rate(
  args: argparse.Namespace, make: Callable[..., Any], *arguments: Any
) -> Iterator[dict[str, Any]]:
  """Yields the windows and tokens a second of an Input."""
  iterator = make(args, *arguments).batches()

  # One interval warms up.
  end = time.perf_counter() + args.seconds / _INTERVALS
  while time.perf_counter() < end:
    next(iterator)

  windows, by_cpu, tokens = [], [], []
  for _ in range(_INTERVALS):
    began, busy, rows, used = time.perf_counter(), time.process_time(), 0, 0
    while time.perf_counter() - began < args.seconds / _INTERVALS:
      batch = next(iterator)
      rows += len(batch["tokens"])
      used += np.count_nonzero(batch["segments"])
    windows.append(rows / (time.perf_counter() - began))
    tokens.append(used / (time.perf_counter() - began))
    by_cpu.append(rows / (time.process_time() - busy))

  for unit, values in (("windows/s", windows), ("windows/CPU s", by_cpu), ("tokens/s", tokens)):
    yield {"unit": unit, "value": np.median(values), "low": min(values), "high": max(values)}


def memory(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
  """Yields the resident memory after the first batch and after many windows of the mixture."""
  iterator = _mixture(args, 1024).batches()
  next(iterator)
  first = last = _resident_mb()
  yield {"what": "after the first batch", "unit": "MB", "value": first}

  read = _BATCH
  for stop in (1_000, args.windows):
    while read < stop:
      read += len(next(iterator)["tokens"])
    last = _resident_mb()
    yield {"what": f"after {stop:,} windows", "unit": "MB", "value": last}

  yield {"what": "growth from the first batch", "unit": "%", "value": 100 * (last / first - 1)}


def start(
  args: argparse.Namespace, asked: float, step: int, make: Callable[..., Any], *arguments: Any
):
  """Yields the seconds until batch(step) is there.

  `asked` is time.time() when the process was started.
  """
  import experiments.cli  # noqa: F401
  import gato_jax.data.pipeline  # noqa: F401

  began = time.perf_counter()
  next(make(args, *arguments).batches(step))
  yield {"what": "input alone", "unit": "s", "value": time.perf_counter() - began}
  yield {"what": "whole process", "unit": "s", "value": time.time() - asked}


def lengths(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
  """Yields the milliseconds of a window of short and of ten times longer episodes, in turns.

  Also yields their ratio turn by turn.
  """
  inputs = [
    _input(pathlib.Path(args.cache_dir) / "tfds", {f"{n}.reach": 1.0}, 1024)
    for n in ("short", "long")
  ]
  rows = [i.windows[i.names[0]] for i in inputs]

  seconds: list[list[float]] = [[], []]
  for turn in range(60):
    for which, windows in enumerate(rows):
      began = time.perf_counter()
      for i in range(10):
        windows.row(np.random.default_rng([turn, i]), 0)
      seconds[which].append((time.perf_counter() - began) / 10)

  for name, values in zip((f"{_SHORT} steps", f"{_LONG:,} steps"), seconds, strict=True):
    yield {"what": name, "unit": "ms", "value": 1e3 * np.median(values), "low": 1e3 * min(values)}
  yield {"what": "ratio", "unit": "", "value": np.median(np.divide(seconds[1], seconds[0]))}


def _forty(args: argparse.Namespace) -> Any:
  weights = {f"domain{i:02d}.reach": 1.0 for i in range(_DOMAINS)}
  return _input(pathlib.Path(args.cache_dir) / "tfds", weights, 1024)


def make_data(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
  """Builds the datasets of `lengths` and of the 40 domains, where they are not there yet."""
  from benchmarks import synthetic_rlds
  from gato_jax.data import prepare
  from gato_jax.tokens import codec

  cache = pathlib.Path(args.cache_dir)
  wanted = {"short": (40, _SHORT), "long": (40, _LONG)} | {
    f"domain{i:02d}": (30, 40) for i in range(_DOMAINS)
  }
  for name, (episodes, length) in wanted.items():
    synthetic_rlds.build(cache, name, episodes, length)
    prepare.prepare(cache / "tfds", f"{name}.reach", codec.default_text_codec())
  yield from ()


def _disk(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
  """Yields the bytes of the prepared form against those of the records, by domain."""
  tfds_dir = _experiment(args).tfds
  for domain in _experiment(args).config.domains:
    records = sum(p.stat().st_size for p in (tfds_dir / domain).glob("*/*/*.array_record*"))
    prepared = sum(p.stat().st_size for p in (tfds_dir / domain).glob("*/*/gato_prepared/*"))
    yield {"domain": domain, "what": "prepared : records", "unit": "", "value": prepared / records}


def _run_child(
  cores: int, results: Any, measure: Callable[..., Iterator[dict[str, Any]]], arguments: tuple
) -> None:
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
  results.put([{key: _plain(value) for key, value in row.items()} for row in measure(*arguments)])


def _plain(value: Any) -> Any:
  return float(f"{value:.4g}") if isinstance(value, float) else value


def in_a_process(
  cores: int, measure: Callable[..., Iterator[dict[str, Any]]], *arguments: Any
) -> list[dict[str, Any]]:
  """Returns the rows of `measure(*arguments)`, run in a fresh process on so many cores."""
  spawn = multiprocessing.get_context("spawn")
  results = spawn.SimpleQueue()
  process = spawn.Process(target=_run_child, args=(cores, results, measure, arguments))
  process.start()
  process.join()

  if process.exitcode:
    raise SystemExit(f"{measure.__name__} failed with exit status {process.exitcode}")
  return results.get()


def measurements(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
  """Yields everything, one row a number, as it is measured."""
  cores = len(os.sched_getaffinity(0))

  def rows(group: str, on: int, *call: Any, **more: Any) -> Iterator[dict[str, Any]]:
    for row in in_a_process(on, *call):
      yield {"group": group, "cores": on, **more, **row}

  yield from rows("disk", 1, _disk, args)
  yield from rows("data", cores, make_data, args)
  domains = list(_experiment(args).config.domains)

  # 0: the config's own.
  for length in (1024, 0):
    shown = length or _experiment(args).config.data.sequence_length
    for domain in (*domains, ""):
      name = domain or "mixture"
      yield from rows("rate", 1, rate, args, _mixture, length, domain, domain=name, length=shown)
    yield from rows("rate", cores, rate, args, _mixture, length, domain="mixture", length=shown)

  yield from rows("length", 1, lengths, args)
  yield from rows("memory", 1, memory, args, domain="mixture", length=1024)
  yield from rows("start", 1, start, args, time.time(), 0, _mixture, 0, domain="mixture")
  yield from rows(
    "resume at step 500,000", 1, start, args, time.time(), 500_000, _mixture, 0, domain="mixture"
  )
  yield from rows("start", 1, start, args, time.time(), 0, _forty, domain="40 domains")
  yield from rows("rate", 1, rate, args, _forty, domain="40 domains", length=1024)


def machine() -> dict[str, Any]:
  model = next(
    (li.split(":")[1].strip() for li in open("/proc/cpuinfo") if li.startswith("model name")), ""
  )
  commit = subprocess.run(
    ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
  ).stdout.strip()
  load = f"{os.getloadavg()[0]:.2f}"
  when = time.strftime("%Y-%m-%d %H:%M")
  return {
    "cpu": model or platform.machine(),
    "cpus": os.cpu_count(),
    "commit": commit,
    "load": load,
    "when": when,
  }


def table(rows: list[dict[str, Any]]) -> str:
  """Returns the table: one line a measurement, one column a label."""
  labels = list(dict.fromkeys(r["label"] for r in rows))
  lines: dict[tuple, dict[str, str]] = {}
  for r in rows:
    if r["group"] == "machine":
      continue
    length = f"L={r['length']}" if "length" in r else ""
    key = (r["group"], r.get("domain", ""), length, r.get("what", ""), f"{r['cores']}", r["unit"])
    spread = f" ({r['low']:,.4g} to {r['high']:,.4g})" if "high" in r else ""
    lines.setdefault(key, {})[r["label"]] = f"{r['value']:,.4g}{spread}"

  cells = [("what", "domain", "length", "", "cores", "unit", *labels)]
  cells += [(*key, *(values.get(label, "-") for label in labels)) for key, values in lines.items()]
  widths = [max(len(c[i]) for c in cells) for i in range(len(cells[0]))]
  text = [
    "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells
  ]

  machines = [r for r in rows if r["group"] == "machine"]
  notes = [
    f"{r['label']}: commit {r['commit']}, {r['when']}, {r['cpus']} x {r['cpu']}, load {r['load']}"
    for r in machines
  ]
  return "\n".join([*text, "", *notes])


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "--config", default="experiments/configs/demo.py", help="whose mixture is measured"
  )
  parser.add_argument("--data_dir", default="data", help="its datasets, prepared")
  parser.add_argument(
    "--cache_dir", default="/tmp/gato_input_benchmark", help="of the datasets that are made"
  )
  parser.add_argument(
    "--output", default="results/input_pipeline.jsonl", help="JSON lines, one a number"
  )
  parser.add_argument("--label", default="now", help="of this run's rows and column")
  parser.add_argument("--seconds", type=float, default=5.0, help="of every rate")
  parser.add_argument(
    "--windows", type=int, default=20_000, help="before memory is looked at again"
  )
  args = parser.parse_args()

  output = pathlib.Path(args.output)
  before = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
  rows = [{"label": args.label, "group": "machine", **machine()}]
  for row in measurements(args):
    rows.append({"label": args.label, **row})
    print(json.dumps(rows[-1]), flush=True)

  rows = [r for r in before if r["label"] != args.label] + rows
  output.parent.mkdir(parents=True, exist_ok=True)
  output.write_text("".join(json.dumps(r) + "\n" for r in rows))
  print(__doc__.split("\n\n")[2], table(rows), sep="\n\n")


if __name__ == "__main__":
  main()
