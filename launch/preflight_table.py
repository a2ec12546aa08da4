"""Pre-flights the paper's three sizes on five slices of 256 chips and writes docs/preflight.md.

nice -n 19 python -m launch preflight_table

The cases run one after the other, each in a process of its own with a time limit, and each ends as
one line of results/preflight.jsonl. A case that is there is compiled again when the step, the
configs or libtpu have changed since, or when it failed.
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import Any

import jax

from gato_jax import progress
from gato_jax.model import flops
from gato_jax.train.hardware import GIB
from launch import preflight, roofline

SIZES = ("gato_79m", "gato_364m", "gato_1b")
SLICES = ("v3:16x16", "v4:4x8x8", "v5e:16x16", "v5p:4x8x8", "v6e:16x16")
ROOT = pathlib.Path(__file__).resolve().parent.parent

# Files that decide a row, from the repository's root.
_SOURCES = (
  "gato_jax/train/step.py",
  "gato_jax/train/loss.py",
  "gato_jax/train/state.py",
  "gato_jax/train/optimizer.py",
  "gato_jax/train/hardware.py",
  "gato_jax/model/*.py",
  "experiments/configs/default.py",
  "experiments/configs/gato_*.py",
  "launch/collectives.py",
  "launch/compiled_step.py",
  "launch/hlo.py",
  "launch/preflight.py",
  "launch/products.py",
  "launch/roofline.py",
  "launch/slices.py",
  "launch/requirements.txt",
)

_PAGE_WIDTH = 118  # columns of the page's text

# Columns of the tables on the page.
_VERDICTS = (
  "size",
  "slice",
  "data x fsdp x model",
  "attention",
  "GiB a device",
  "of usable",
  "fits",
  "model FLOPs a step",
  "products / model",
  "of peak",
  "bound by",
  "hours",
  "chip-hours",
  "compiled in",
)
_MEMORY = (
  "parameters",
  "optimizer",
  "batch, padding of layouts",
  "gradients, activations, buffers",
  "program",
)
_KINDS = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute")


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--results", type=pathlib.Path, default=ROOT / "results/preflight.jsonl")
  parser.add_argument("--page", type=pathlib.Path, default=ROOT / "docs/preflight.md")
  parser.add_argument("--limit", type=float, default=1800.0, help="seconds that one case may take")
  arguments = parser.parse_args()

  # The results are written after every case: an interrupted run continues.
  rows = read(arguments.results)
  cases = missing(rows)
  for size, topology in progress.Bar(cases, unit="case", desc="pre-flight"):
    rows[size, topology] = run(size, topology, limit=arguments.limit)
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))

  errors = [row["error"] for row in rows.values() if "error" in row]
  if len(errors) == len(rows):
    sys.exit(f"error: every case failed, the last so: {errors[-1]}")

  arguments.page.write_text(page(rows))
  print(
    f"preflight_table: {len(cases)} of {len(rows)} cases compiled, the others were there;"
    f" {arguments.page}"
  )
  if errors:
    sys.exit(
      f"error: {len(errors)} cases failed; the page says which, and running this again tries them"
      " again"
    )


def read(path: pathlib.Path) -> dict[tuple[str, str], dict[str, Any]]:
  """Returns (size, slice) -> row of the results file."""
  lines = path.read_text().splitlines() if path.exists() else []
  rows = [json.loads(line) for line in lines]
  return {(row["name"], row["topology"]): row for row in rows}


def missing(rows: dict[tuple[str, str], dict[str, Any]]) -> list[tuple[str, str]]:
  """Returns the cases without a row, with a row of other sources, or that failed."""
  now = sources()
  result = []
  for size in SIZES:
    for topology in SLICES:
      row = rows.get((size, topology))
      if row is None or row["sources"] != now or "error" in row:
        result.append((size, topology))

  return result


def sources() -> str:
  """Returns a hash of all that a row depends on.

  It covers the step, the configs, pre-flight itself, and the versions of jax and libtpu.
  """
  paths = {path for pattern in _SOURCES for path in ROOT.glob(pattern)}
  content = b"\0".join(path.read_bytes() for path in sorted(paths))
  return hashlib.sha256(content + jax.__version__.encode()).hexdigest()[:16]


def run(size: str, topology: str, limit: float) -> dict[str, Any]:
  """Runs `launch preflight --json` in a process of its own and returns the row.

  The row of a case that fails otherwise than by not fitting has "error".
  """
  config = f"experiments/configs/{size}.py"
  command = [sys.executable, "-m", "launch", "preflight", f"--config={config}"]
  command += [f"--topology={topology}", "--json"]

  began = time.perf_counter()
  try:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit)
    if done.stdout.startswith("{"):
      row = json.loads(done.stdout)
    else:
      row = {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
  except subprocess.TimeoutExpired:
    row = {"error": f"stopped after {limit:.0f} s"}

  # The row's own "name" is the config's, which is the same.
  return {
    "name": size,
    "topology": topology,
    "sources": sources(),
    "wall_seconds": time.perf_counter() - began,
    **row,
  }


def page(rows: dict[tuple[str, str], dict[str, Any]]) -> str:
  """Returns docs/preflight.md for the lines of results/preflight.jsonl."""
  ordered = [rows[size, name] for size in SIZES for name in SLICES if (size, name) in rows]
  succeeded = [row for row in ordered if "error" not in row]
  compiled = [row for row in succeeded if row["memory"]]

  # The assumptions are those of every row.
  first = succeeded[0]
  memory_rows = [[*_case(row), *_memory_cells(row)] for row in compiled]
  collective_rows = [[*_case(row), *_collective_cells(row)] for row in succeeded]
  return _PAGE.format(
    **first["shapes"],
    steps=first["steps"],
    minutes=sum(row["wall_seconds"] for row in ordered) / 60,
    verdicts=_table(_VERDICTS, [_verdict_cells(row) for row in ordered]),
    memory=_table(["size", "slice", *_MEMORY], memory_rows),
    collectives=_table(["size", "slice", *_KINDS], collective_rows),
    ratios=_ratios(ROOT / "results/roofline.jsonl"),
    formula=textwrap.fill(f"- {flops.FORMULA}.", _PAGE_WIDTH, subsequent_indent="  "),
  )


def _ratios(path: pathlib.Path) -> str:
  """Returns the range of measured over expected times."""
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  ratios = sorted(row["measured_over_expected"] for row in rows)
  return f"{ratios[0]:.2f} to {ratios[-1]:.2f}"


def _case(row: dict[str, Any]) -> list[str]:
  return [row["name"].removeprefix("gato_"), row["topology"]]


def _verdict_cells(row: dict[str, Any]) -> list[str]:
  if "error" in row:
    empty = [""] * (len(_VERDICTS) - 3)
    return [*_case(row), f"failed: {row['error']}", *empty]

  products = ""
  if row["program_flops"]:
    products = f"{row['program_flops'] / row['model_flops']:.2f}"

  return [
    *_case(row),
    " x ".join(str(n) for n in row["mesh"].values()),
    row.get("attention", "xla"),  # rows of before there was another one
    f"{row['total'] / GIB:.2f}",
    f"{row['device_usable'] / GIB:.2f}",
    "yes" if row["fits"] else "no",
    f"{row['model_flops']:.3g}",
    products,
    *_cost_cells(row),
    f"{row['seconds']:.0f} s",
  ]


def _cost_cells(row: dict[str, Any]) -> list[str]:
  """Returns utilisation, what binds the step, hours and chip-hours; empty without a program."""
  if not row["step_seconds"]:
    return [""] * 4

  low, high = preflight.hours(row)
  least, most = preflight.utilisation(row)
  return [
    f"{least:.0%} to {most:.0%}",
    roofline.Roofline(**row["roofline"]).bound,
    f"{low:,.1f} to {high:,.1f}",
    f"{low * row['chips']:,.0f} to {high * row['chips']:,.0f}",
  ]


def _memory_cells(row: dict[str, Any]) -> list[str]:
  return [f"{row['memory'][kind] / GIB:.3f}" for kind in _MEMORY]


def _collective_cells(row: dict[str, Any]) -> list[str]:
  cells = []
  for kind in _KINDS:
    if kind not in row["collectives"]:
      cells.append("")
      continue
    runs, size = row["collectives"][kind]
    cells.append(f"{runs:,} runs, {size / GIB:.2f}")

  return cells


def _table(head: Sequence[str], rows: list[list[str]]) -> str:
  lines = [head, ["---"] * len(head), *rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_PAGE = """# Pre-flight: the paper's sizes on slices of 256 chips

This page shows whether the paper's three sizes fit TPU slices of 256 chips, and how long training \
would take there.

It is written by `nice -n 19 python -m launch preflight_table` ({minutes:.0f} minutes on a shared \
machine of two cores, one
compilation at a time) from `results/preflight.jsonl`. Every case is the real training step of
`experiments/configs/gato_*.py` at {rows} rows x {length} tokens, compiled by libtpu for the slice \
without a TPU; nothing was
run on one. A JAX device is a core on v3 (two per chip, so 512 devices on 256 chips) and a chip \
elsewhere.

Assumptions: every row holds {patches} image patches and {targets} targets (steps of one 64 x 80 \
image, a separator and one action;
larger images would have a few patches more, control and text none). Hours are those of {steps:,} \
steps by the
roofline of `launch/roofline.py`: the first number has products, memory and links all busy at \
once, the second one
instruction after the other. They count what an ideal device cannot avoid, so that products which \
do not fill its units,
and waiting, come on top; arrays that a cache holds come off. Nobody has measured this step on a \
TPU. On a CPU, which
has large caches, steps of five kinds took {ratios} of the second number \
(`benchmarks/roofline.py`,
`results/roofline.jsonl`). [Training](training.md#attention) has what the fused kernel for \
attention changes on TPUs from v5 on.

{verdicts}

- GiB a device: arguments + temporaries + outputs - aliases, from XLA's memory analysis, plus the \
program itself.
- of usable: the memory that libtpu gives to a program, a little less than the chip's.
{formula}
- products / model: FLOPs of the matrix products in the compiled program, counting loops as often \
as they iterate,
  divided by the model FLOPs. More than 1 means rematerialised blocks, scores above the diagonal, \
and logits up to a
  whole chunk.

## Memory of one device, GiB

{memory}

Outputs that do not reuse the buffer of an argument are the metrics, a few kilobytes.

## Collectives of one step: runs, GiB

{collectives}

Bytes are those of the whole array that a group of devices works on; `launch/collectives.py` has \
the rules. On a ring
of n devices each device sends (n-1)/n of them, and twice that for an all-reduce.
"""


if __name__ == "__main__":
  main()
