"""Runs side by side: experiments.report --runs."""

import csv
import dataclasses
import json
import os

import browser
import commands
import pytest

from experiments.analysis.report import comparison
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import baselines
from gato_jax.train import provenance

START = provenance.Start(
  name="one",
  time="2026-01-01T00:00:00+00:00",
  seed=0,
  config_sha256="0",
  revision="a" * 40,
  command="x",
  step=0,
  processes=1,
  devices=8,
  device="TPU v3",
  machine="Linux",
  python="3.11.7",
  packages={"jax": "0.10.2", "flax": "1"},
)


def run(
  folder, layers=2, seed=0, returns=(2.0, 4.0), expert=10.0, starts=(START,), losses=(3.0, 2.0, 1.0)
):
  """Writes a run's directory as training and evaluation leave it.

  The run has ten steps, so that the last tenth of its losses is one row.
  """
  folder.mkdir(parents=True)
  model = {
    "layers": layers,
    "heads": 2,
    "width": 32,
    "feed_forward": 64,
    "key_size": 16,
    "patch_channels": 32,
  }
  config = {
    "name": folder.name,
    "workdir": str(folder),
    "model": model,
    "train": {"seed": seed, "steps": 10},
  }
  (folder / "config.json").write_text(json.dumps(config))
  rows = [
    {
      "step": step,
      "loss": loss,
      "loss/dummy": loss,
      "tokens": 100 * step,
      "tokens_per_second": 50.0 + step,
      "utilisation": 0.25,
      "interval_seconds": 60.0,
      "interval_target_tokens": 10,
    }
    for step, loss in zip((1, 5, 10), losses, strict=True)
  ]
  (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  for start in starts:
    provenance.append(folder, start)

  if returns:
    played = [
      results.Row("dummy.reach", "gato", seed, r, 5, None, 1.0, 10)
      for seed, r in enumerate(returns)
    ]
    results.append(folder / "results.jsonl", played)
    baselines.write(folder, {"dummy.reach": baselines.Baseline(random=0.0, expert=expert)})

  return folder


def test_facts_differences_and_scores(tmp_path):
  again = dataclasses.replace(START, step=5, revision="b" * 40 + "+")
  other = dataclasses.replace(START, packages={"jax": "0.10.3", "flax": "1"})
  one, two = (
    run(tmp_path / "one", starts=(START, again)),
    run(tmp_path / "two", 3, 1, (6.0, 8.0), starts=(other,)),
  )
  (two / "held_out.json").write_text(json.dumps({"loss": 1.5, "loss/dummy": 1.25}))
  runs = comparison.load([one, two])
  facts = comparison.facts(runs)

  assert facts["git revision"] == ["aaaaaaaaaaaa bbbbbbbbbbbb+", "aaaaaaaaaaaa"] and facts[
    "starts"
  ] == ["2", "1"]
  assert facts["seed"] == ["0", "1"] and facts["devices"] == ["8 TPU v3"] * 2
  assert facts["steps"] == ["10", "10"] and facts["tokens"] == ["1,000", "1,000"]
  assert facts["loss, last tenth"] == ["1.0000"] * 2 and facts["validation loss"] == ["–", "1.5000"]
  assert facts["minutes of training"] == ["3.0", "3.0"] and facts["tokens/s, median"] == [
    "55",
    "55",
  ]
  assert [cell.split()[0] for cell in facts["mean score over domains"]] == ["30.0", "70.0"]
  assert facts["tasks at 50 % of the expert"] == ["0 of 1", "1 of 1"]
  assert comparison.config_differences(runs) == {"model.layers": ["2", "3"]}
  assert comparison.package_differences(runs) == {"jax": ["0.10.2", "0.10.3"]}
  assert comparison.losses(runs) == {"dummy": ["1.000", "1.000"], "dummy, held out": ["–", "1.250"]}
  assert comparison.tasks(runs)["dummy.reach"][1].startswith("70.0 [60, 80]")
  assert not comparison.other_baselines(runs)


def test_the_page_and_its_tables(tmp_path):
  runs = comparison.load(
    [run(tmp_path / "one"), run(tmp_path / "two", expert=20.0), run(tmp_path / "none", returns=())]
  )
  path = comparison.write(tmp_path / "out", runs)
  browser.assert_readable(path)
  page = path.read_text()

  assert page.count("data:image/png") == 2 and "Nothing but folders, names and seeds" in page
  assert "Not to be compared: dummy.reach" in page

  rows = list(csv.DictReader((tmp_path / "out/tasks.csv").open()))

  assert (
    rows[0][""] == "dummy.reach" and rows[0]["none"] == "–" and rows[0]["two"].startswith("15.0")
  )


def test_runs_of_one_name_and_of_before_starts_were_kept(tmp_path):
  runs = comparison.load(
    [run(tmp_path / "a/w", starts=(), returns=()), run(tmp_path / "b/w", returns=())]
  )

  assert [r.label for r in runs] == [str(tmp_path / "a/w"), str(tmp_path / "b/w")]
  assert comparison.facts(runs)["starts"] == [
    "–",
    "1",
  ] and "mean score over domains" not in comparison.facts(runs)
  assert "Scores" not in comparison.write(tmp_path / "out", runs).read_text()


def test_what_cannot_be_compared_is_one_line(tmp_path):
  one = run(tmp_path / "one")
  (tmp_path / "empty").mkdir()
  bare = run(tmp_path / "bare")
  (bare / "baselines.json").unlink()

  for folders, said in (
    ([one], "two workdirs or more"),
    ([one, tmp_path / "." / "one"], "each once"),
    ([one, tmp_path / "empty"], "it has no config.json"),
    ([one, bare], "bare: dummy.reach: no rows of the 'random' baseline"),
  ):
    with pytest.raises(GatoError, match=said) as error:
      comparison.load(folders)
    assert "\n" not in str(error.value)


@pytest.mark.slow  # a process that imports everything
def test_the_verb(tmp_path):
  one, two = run(tmp_path / "one"), run(tmp_path / "two", 3)

  def verb(*arguments):
    environment = os.environ | {"COLUMNS": "100"}
    out = f"--out={tmp_path / 'out'}"
    return commands.run("experiments.report", out, *arguments, env=environment)

  done = verb(f"--runs={one},{two}")

  assert done.returncode == 0, done.stderr
  assert "model.layers" in done.stdout and f"report: {tmp_path}/out/index.html" in done.stdout

  failed = verb(f"--runs={one}")

  assert (
    failed.returncode == 1
    and failed.stderr.startswith("error: --runs=")
    and failed.stderr.count("\n") == 1
  )
