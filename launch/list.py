"""All jobs that were submitted from this checkout, and how they stand: python -m launch list"""

import sys

from experiments import cli
from gato_jax.errors import GatoError
from launch import jobs, settings


def state(record: jobs.Record) -> jobs.State:
  """UNKNOWN, with the reason on stderr, where the backend cannot be asked."""
  try:
    return settings.of_record(record).state(record.handle) if record.handle else jobs.State.UNKNOWN
  except GatoError as e:
    print(f"{record.job.name}: {e}", file=sys.stderr)
    return jobs.State.UNKNOWN


def main() -> None:
  found = jobs.records()
  rows = [("name", "backend", "state", "submitted", "what")]
  rows += [
    (r.job.name, r.backend, state(r), r.submitted.removesuffix("+00:00"), f"{r.job.verb} {r.job.config}") for r in found
  ]
  widths = [max(len(row[i]) for row in rows) for i in range(4)]
  for row in rows if found else []:
    print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]))
  if not found:
    print("no job was submitted from here")


if __name__ == "__main__":
  cli.run_without_config(main)
