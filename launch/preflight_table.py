"""Pre-flights the paper's three sizes on five slices of 256 chips, one after the other, and writes docs/preflight.md.

nice -n 19 python -m launch preflight_table

Every case is a process of its own with a time limit and ends as one line of results/preflight.jsonl. A case that is
there is compiled again when the step, the configs or libtpu have changed since, or when it failed.
"""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import tqdm

from gato_jax.hardware import GIB
from gato_jax.model import flops

SIZES = ("gato_79m", "gato_364m", "gato_1b")
SLICES = ("v3:16x16", "v4:4x8x8", "v5e:16x16", "v5p:4x8x8", "v6e:16x16")
_SOURCES = (
  *(f"gato_jax/train/{name}.py" for name in ("step", "loss", "state", "optimizer")),
  *("gato_jax/model/*.py", "gato_jax/sharding.py", "gato_jax/hardware.py"),
  *("experiments/configs/default.py", "experiments/configs/gato_*.py", "launch/*.py", "launch/requirements.txt"),
)
ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--results", type=pathlib.Path, default=ROOT / "results/preflight.jsonl")
  parser.add_argument("--page", type=pathlib.Path, default=ROOT / "docs/preflight.md")
  parser.add_argument("--limit", type=float, default=1800.0, help="seconds that one case may take")
  arguments = parser.parse_args()
  rows = read(arguments.results)
  cases = missing(rows)
  for size, place in tqdm.tqdm(cases, unit="case", desc="pre-flight", dynamic_ncols=True):
    rows[size, place] = run(size, place, arguments.limit)
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
  failed = [row["error"] for row in rows.values() if "error" in row]
  if len(failed) == len(rows):
    sys.exit(f"error: every case failed, the last so: {failed[-1]}")
  arguments.page.write_text(page(rows))
  print(f"preflight_table: {len(cases)} of {len(rows)} cases compiled, the others were there; {arguments.page}")
  if failed:
    sys.exit(f"error: {len(failed)} cases failed; the page says which, and running this again tries them again")


def read(path: pathlib.Path) -> dict[tuple[str, str], dict[str, Any]]:
  lines = path.read_text().splitlines() if path.exists() else []
  rows = [json.loads(line) for line in lines]
  return {(row["name"], row["topology"]): row for row in rows}


def missing(rows: dict[tuple[str, str], dict[str, Any]]) -> list[tuple[str, str]]:
  """Cases without a row, with one of other sources, or with one that failed."""
  now = sources()

  def good(row: dict[str, Any] | None) -> bool:
    return row is not None and row["sources"] == now and "error" not in row

  return [(size, place) for size in SIZES for place in SLICES if not good(rows.get((size, place)))]


def sources() -> str:
  """A hash of all that a row depends on: the step, the configs, pre-flight itself, the versions of jax and libtpu."""
  found = {path for pattern in _SOURCES for path in ROOT.glob(pattern)} - {pathlib.Path(__file__).resolve()}
  return hashlib.sha256(b"\0".join(p.read_bytes() for p in sorted(found)) + jax.__version__.encode()).hexdigest()[:16]


def run(size: str, place: str, limit: float) -> dict[str, Any]:
  """`launch preflight --json` in a process of its own; a case that fails otherwise than by not fitting has "error"."""
  command = [sys.executable, "-m", "launch", "preflight", f"--config=experiments/configs/{size}.py"]
  command += [f"--topology={place}", "--json"]
  began = time.perf_counter()
  try:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit)
    error = (done.stderr.strip().splitlines() or ["no output"])[-1]
    row = json.loads(done.stdout) if done.stdout.startswith("{") else {"error": error}
  except subprocess.TimeoutExpired:
    row = {"error": f"stopped after {limit:.0f} s"}
  return {"name": size, "topology": place, "sources": sources(), "wall_seconds": time.perf_counter() - began, **row}


def page(rows: dict[tuple[str, str], dict[str, Any]]) -> str:
  """docs/preflight.md, of the lines of results/preflight.jsonl."""
  ordered = [rows[size, place] for size in SIZES for place in SLICES if (size, place) in rows]
  whole = [row for row in ordered if "error" not in row]
  shapes = whole[0]["shapes"]
  return _PAGE.format(
    **shapes,
    utilisation=whole[0]["utilisation"],
    steps=whole[0]["steps"],
    minutes=sum(row["wall_seconds"] for row in ordered) / 60,
    verdicts=_table(_VERDICTS, [_verdict(row) for row in ordered]),
    memory=_table(["size", "slice", *_MEMORY], [[*_case(row), *_memory(row)] for row in whole if row["memory"]]),
    collectives=_table(["size", "slice", *_KINDS], [[*_case(row), *_collectives(row)] for row in whole]),
    formula=flops.FORMULA,
  )


_VERDICTS = (
  "size,slice,data x fsdp x model,GiB a device,of usable,fits,model FLOPs a step,products / model,hours,chip-hours,"
  "compiled in"
).split(",")
_MEMORY = ("parameters", "optimizer", "batch, padding of layouts", "gradients, activations, buffers", "program")
_KINDS = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute")


def _case(row: dict[str, Any]) -> list[str]:
  return [row["name"].removeprefix("gato_"), row["topology"]]


def _verdict(row: dict[str, Any]) -> list[str]:
  if "error" in row:
    return [*_case(row), f"failed: {row['error']}", *[""] * (len(_VERDICTS) - 3)]
  return [
    *_case(row),
    " x ".join(str(n) for n in row["mesh"].values()),
    f"{row['total'] / GIB:.2f}",
    f"{row['device_usable'] / GIB:.2f}",
    "yes" if row["fits"] else "no",
    f"{row['model_flops']:.3g}",
    f"{row['program_flops'] / row['model_flops']:.2f}" if row["program_flops"] else "",
    f"{row['hours']:,.1f}",
    f"{row['chip_hours']:,.0f}",
    f"{row['seconds']:.0f} s",
  ]


def _memory(row: dict[str, Any]) -> list[str]:
  return [f"{row['memory'][kind] / GIB:.3f}" for kind in _MEMORY]


def _collectives(row: dict[str, Any]) -> list[str]:
  found = row["collectives"]
  return [f"{found[kind][0]:,} runs, {found[kind][1] / GIB:.2f}" if kind in found else "" for kind in _KINDS]


def _table(head: Sequence[str], lines: list[list[str]]) -> str:
  return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


_PAGE = """# Pre-flight: the paper's sizes on slices of 256 chips

Made by `nice -n 19 python -m launch preflight_table` ({minutes:.0f} minutes on a shared machine of two cores, one
compile at a time) from results/preflight.jsonl. Every case is the real training step of `experiments/configs/gato_*.py`
at {rows} rows x {length} tokens, compiled by libtpu for the slice without a TPU; nothing was run on one. A JAX device
is a core on v3 (two a chip, so 512 devices on 256 chips) and a chip elsewhere.

What is assumed: every row holds {patches} image patches and {targets} targets (steps of one 64 x 80 image, a separator
and one action; larger images mean a few patches more, control and text none). Hours are those of {steps:,} steps at
{utilisation:.0%} model FLOPs utilisation of the data sheet's bfloat16 peak; nobody has measured it on a TPU.

{verdicts}

- GiB a device: arguments + temporaries + outputs - aliases, from XLA's memory analysis, and the program itself.
- of usable: what libtpu gives to a program, a little less than the chip's memory.
- {formula}.
- products / model: matrix products in the compiled program, loops counted as often as they turn, over the model's. More
  than 1: rematerialised blocks, scores above the diagonal, logits up to a whole chunk.

## Memory of one device, GiB

{memory}

Outputs that reuse no argument are the metrics, some kilobytes.

## Collectives of one step: runs, GiB

{collectives}

Bytes are those of the whole array that a group of devices works on; the rules are in launch/collectives.py. On a ring
of n devices each sends (n-1)/n of them, for an all-reduce twice that.
"""


if __name__ == "__main__":
  main()
