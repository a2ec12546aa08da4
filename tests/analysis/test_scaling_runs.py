"""The grid of a sweep, the points of its runs, and the page of the law."""

import dataclasses
import json

import browser
import numpy as np
import pytest
from PIL import Image

from experiments.analysis.report import scaling_figures, scaling_page
from experiments.analysis.scaling import analysis, grid, law, points
from experiments.configs.studies import scaling as scaling_config
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.model import config as model_config


def test_the_rule_of_sizes():
  """Has the paper's networks and rates at its widths, its shape below, nothing in between."""
  for width, name, rate in (
    (768, "gato_79m", 1e-4),
    (1536, "gato_364m", 2e-4),
    (2048, "gato_1b", 1e-4),
  ):
    variant = model_config.variant(name)
    assert {k: getattr(variant, k) for k in grid.network(width)} == grid.network(width)
    assert grid.peak_learning_rate(width) == rate

  assert grid.network(128) == {
    "layers": 4,
    "heads": 4,
    "width": 128,
    "feed_forward": 512,
    "key_size": 32,
  }
  assert grid.peak_learning_rate(128) == 2e-3 and grid.peak_learning_rate(64) == 4e-3

  for width in (100, 1024):
    with pytest.raises(GatoError, match="neither one of the paper's"):
      grid.GridConfig(widths=(64, width))

  with pytest.raises(GatoError, match="different positive"):
    grid.GridConfig(tokens=(1000, 1000))


def test_the_grid_of_the_config():
  config = scaling_config.get_config()
  runs = grid.runs(grid.GridConfig(**config.scaling.to_dict()))
  sizes = sorted(
    {points.count(GatoConfig(**config.model.to_dict() | grid.network(r.width))) for r in runs}
  )
  body = [parameters - tables for parameters, tables in sizes]

  assert len(sizes) >= 5 and len({r.tokens for r in runs}) >= 4 and body[-1] > 10 * body[0]
  assert [r.tokens for r in runs] == sorted(r.tokens for r in runs)
  assert [r.tokens for r in grid.runs(grid.GridConfig(widths=(64,), tokens=(5000, 900, 2000)))] == [
    900,
    2000,
    5000,
  ]

  batch = config.train.batch_size * config.data.sequence_length
  for run in runs:
    assert run.steps(batch) * batch == pytest.approx(run.tokens, rel=0.01)


def test_parameters_are_counted_with_and_without_tables():
  config = dataclasses.replace(model_config.VARIANTS["tiny"], **grid.network(64))
  parameters, tables = points.count(config)
  assert parameters == count_parameters(abstract_params(config))
  assert tables == 64 * (33_025 + 512 + 2 * 128 + 1)


SYNTHETIC = law.Law(1.0, 60.0, 400.0, 0.35, 0.4)


def make_points(truth=SYNTHETIC, scale=0.003, score=True):
  random, made = np.random.default_rng(1), []
  for run in grid.runs(grid.GridConfig(seeds=(0,))):
    config = dataclasses.replace(model_config.VARIANTS["tiny"], **grid.network(run.width))
    parameters, tables = points.count(config)
    loss = float(truth(parameters - tables, run.tokens) * np.exp(scale * random.normal()))
    made.append(
      points.ScalingPoint(
        name=run.name,
        width=run.width,
        layers=config.layers,
        parameters=parameters,
        parameters_without_embeddings=parameters - tables,
        tokens=run.tokens,
        steps=run.steps(1248),
        batch_size=16,
        flops=6.0 * (parameters - tables + 3e5) * run.tokens,
        loss=loss,
        losses={"babyai": loss / 3, "text": 2 * loss},
        target_tokens=9000,
        train_loss=loss,
        learning_rate=grid.peak_learning_rate(run.width),
        seed=run.seed,
        score=100 - 15 * loss if score else None,
        seconds=60.0,
        workdir=f"work/x/{run.name}",
      )
    )

  return made


@pytest.mark.slow
def test_analysis_predicts_the_largest_run():
  made = make_points()
  series = analysis.analyse(made, draws=40)

  assert [s.domain for s in series] == ["all", "babyai", "text"]

  for one, times in zip(series, (1, 1 / 3, 2), strict=True):
    assert len(one.fitted) == len(made) - 1

    (left_out,) = one.predictions

    assert left_out.point.width == 192 and left_out.point.tokens == 960_000
    assert left_out.measured == pytest.approx(times * left_out.point.loss)
    assert abs(left_out.error) < 0.03 and left_out.low < left_out.measured < left_out.high
    assert [o.flops for o in one.optima] == [max(p.flops for p in made) * t for t in (1, 10, 100)]

    for optimum in one.optima:
      for value, low, high in (optimum.n, optimum.d, optimum.loss):
        assert low <= high and value > 0

  assert not analysis.analyse(made, predict_largest=False, draws=4)[0].predictions

  flat = [
    dataclasses.replace(p, loss=float(SYNTHETIC(1e6, p.tokens))) for p in made
  ]  # size makes no difference

  assert analysis.analyse(flat, draws=4)[0].optima == ()

  few = analysis.analyse(made[:5], draws=4)

  assert few[0].fit is None and "cannot determine" in few[0].reason


def test_points_are_kept_and_bad_ones_named(tmp_path):
  path = tmp_path / "points.jsonl"
  made = make_points()
  points.write(path, reversed(made))

  assert sorted(p.name for p in points.read(path)) == sorted(p.name for p in made)
  assert {p.name: p for p in points.read(path)} == {p.name: p for p in made}

  path.write_text(path.read_text() + '{"name": 1}\n')

  with pytest.raises(GatoError, match="points.jsonl:21: not a point"):
    points.read(path)
  with pytest.raises(GatoError, match="no points in"):
    points.read(tmp_path / "none.jsonl")


# Half a minute of fits each; without scores the page has less.
@pytest.mark.slow
@pytest.mark.parametrize("score", [True, False])
def test_page_with_its_files(tmp_path, score):
  made = make_points(score=score)
  series, others = (analysis.analyse(made, draws=4, size=size) for size in analysis.SIZES)
  path = scaling_page.write(
    tmp_path, made, series, others, {"config": "x", "commands": ["python -m launch sweep"]}
  )
  browser.assert_readable(path)
  page = path.read_text()
  names = {
    "loss_tokens",
    "loss_parameters",
    "loss_flops",
    "isoflops",
    "predicted",
    "exponents",
    "loss_domains",
  }
  names |= {"scores"} if score else set()

  assert (
    {p.stem for p in tmp_path.glob("*.png")} == names == {p.stem for p in tmp_path.glob("*.svg")}
  )
  assert page.count("data:image/png;base64") == len(names) and "python -m launch sweep" in page
  assert ("Figure 8 for these networks" in page) == score

  for name in names:
    image = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
    assert image.shape[1] > 600 and len(np.unique(image.reshape(-1, 3), axis=0)) > 20
    assert "</svg>" in (tmp_path / f"{name}.svg").read_text()

  lines = {
    name: (tmp_path / f"{name}.csv").read_text().splitlines()
    for name in ("points", "fits", "predictions")
  }

  assert [len(value) for value in lines.values()] == [21, 7, 7]

  row = dict(zip(lines["fits"][0].split(","), lines["fits"][1].split(","), strict=True))

  assert float(row["alpha"]) == series[0].fit.best.alpha
  assert float(row["alpha_low"]) < float(row["alpha_high"])
  assert made[0].name in page and scaling_page.number(made[-1].loss) in page


# Slow: half a minute: all figures twice.
@pytest.mark.slow
def test_figures_are_the_same_for_the_same_points(tmp_path):
  made = make_points()
  series = analysis.analyse(made, draws=4)
  for name in ("a", "b"):
    scaling_figures.draw(made, series, tmp_path / name)
  for path in (tmp_path / "a").iterdir():
    assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_point_is_read_from_a_run(tmp_path):
  config = dataclasses.replace(model_config.VARIANTS["tiny"], **grid.network(64))
  run = tmp_path / "w64-t20k-s3"
  run.mkdir()

  assert points.of_run(run, 20) is None

  sections = {"model": config.to_json(), "train": {"batch_size": 4, "seed": 3}}
  (run / "config.json").write_text(
    json.dumps(sections | {"optimizer": {"peak_learning_rate": 4e-3}})
  )
  rows = [
    {"step": step, "tokens": 1000 * step, "loss": 5.0 - step / 10, "interval_target_tokens": weight}
    | {"interval_flops": 1e9, "interval_seconds": 2.0}
    for step, weight in ((10, 7), (19, 1), (20, 3))
  ]
  (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

  assert points.of_run(run, 20) is None  # it has no held-out loss yet

  held_out = {
    "step": 20,
    "loss": 3.5,
    "loss/babyai": 1.0,
    "loss/babyai.GoTo": 1.0,
    "target_tokens": 90,
    "batches": 2,
  }
  (run / "validation.json").write_text(json.dumps(held_out))
  point = points.of_run(run, 20)

  assert (point.loss, point.losses, point.tokens, point.flops, point.seed) == (
    3.5,
    {"babyai": 1.0},
    20_000,
    3e9,
    3,
  )
  assert (
    point.train_loss == pytest.approx((3.1 * 1 + 3.0 * 3) / 4)
    and point.seconds == 6.0
    and point.score is None
  )
  assert points.of_run(run, 40) is None  # asked for a longer run

  lines = [
    {
      "task": "babyai.GoTo",
      "actor": actor,
      "seed": seed,
      "episode_return": value,
      "length": 3,
      "success": None,
    }
    | {"seconds": 1.0, "step": 20 if actor == "gato" else 0}
    for actor, values in {"gato": (4.0, 6.0), "random": (0.0, 0.0), "expert": (10.0,) * 10}.items()
    for seed, value in enumerate(values)
  ]
  (run / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

  assert points.of_run(run, 20).score == pytest.approx(50)

  longer = {**rows[-1], "step": 40}
  (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, longer]))

  assert points.of_run(run, 40) is None  # trained on, and not measured since

  (run / "validation.json").write_text("{")

  with pytest.raises(GatoError, match="not JSON"):
    points.of_run(run, 20)
