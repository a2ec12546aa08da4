"""Scaling laws: known constants are found, real runs' too, intervals cover, best sizes, predictions, the page."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from experiments.configs import scaling as scaling_config
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.model import config as model_config
from gato_jax.report import scaling_figures, scaling_page
from gato_jax.scaling import analysis, bootstrap, budget, grid, isoflop, law, points

CHINCHILLA = law.Law(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)  # Hoffmann et al. 2022
REPLICATION = law.Law(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)  # Besiroglu et al. 2024
RUNS = pathlib.Path(__file__).parent / "data" / "chinchilla.csv"
SIX = budget.Cost(6, 0, 0)  # C = 6 N D


def designed(sizes=8, budgets=8):
  n = np.repeat(np.geomspace(5e7, 1e10, sizes), budgets)
  return n, np.tile(np.geomspace(1e9, 3e11, budgets), sizes)


def noisy(truth, n, d, seed, scale=0.01):
  return truth(n, d) * np.exp(scale * np.random.default_rng(seed).normal(size=len(n)))


def real_runs():
  table = np.loadtxt(RUNS, delimiter=",", skiprows=5)
  return table[:, 0] * 1e6, table[:, 1] * 1e9, table[:, 2]


@pytest.mark.parametrize("truth", [CHINCHILLA, REPLICATION, law.Law(0.2, 30.0, 9000.0, 0.2, 0.6)])
def test_exact_points_give_their_constants(truth):
  found = law.fit(*designed(), truth(*designed()))
  for name in law.NAMES:
    assert getattr(found, name) == pytest.approx(getattr(truth, name), rel=1e-3), name


def test_one_outlier_does_not_move_the_law():
  n, d = designed()
  losses = CHINCHILLA(n, d)
  losses[5] *= 1.5
  found = law.fit(n, d, losses)
  assert found.alpha == pytest.approx(CHINCHILLA.alpha, abs=2e-3)
  assert found.E == pytest.approx(CHINCHILLA.E, abs=5e-3)


def test_the_minimum_is_a_minimum():
  """Better than the truth and than its neighbours on noisy points; the gradient is that of the objective."""
  n, d = designed()
  losses = noisy(CHINCHILLA, n, d, 3)
  found = law.fit(n, d, losses)
  lowest = law.huber(found, n, d, losses)
  assert lowest < law.huber(CHINCHILLA, n, d, losses)
  for name in law.NAMES:
    for times in (0.99, 1.01):
      other = dataclasses.replace(found, **{name: getattr(found, name) * times})
      assert lowest < law.huber(other, n, d, losses), (name, times)


@pytest.mark.slow
def test_intervals_cover_the_truth():
  """Of 20 noisy sweeps, 90 % intervals of the constants and of a run twice as large on twice the tokens.

  Binomially, fewer than 14 of 20 happen once in 400 times.
  """
  n, d = designed(5, 5)
  beyond = np.array([2e10]), np.array([6e11])
  covered = dict.fromkeys((*law.NAMES, "prediction"), 0)
  for seed in range(20):
    found = bootstrap.fit(n, d, noisy(CHINCHILLA, n, d, seed), draws=60, seed=seed)
    for name in law.NAMES:
      low, high = found.interval(lambda one, name=name: getattr(one, name))
      covered[name] += low <= getattr(CHINCHILLA, name) <= high
      assert high > low
    _, low, high = found.prediction(2e10, 6e11)
    covered["prediction"] += low <= noisy(CHINCHILLA, *beyond, 1000 + seed)[0] <= high
  assert min(covered.values()) >= 14, covered


@pytest.mark.slow
def test_more_noise_gives_wider_intervals():
  n, d = designed(5, 5)
  widths = []
  for scale in (0.002, 0.02):
    low, high = bootstrap.fit(n, d, noisy(CHINCHILLA, n, d, 0, scale), draws=60).interval(lambda one: one.alpha)
    widths.append(high - low)
  assert widths[1] > 4 * widths[0]


def test_the_published_runs_give_the_published_constants():
  """124 real runs. Within our intervals are the replication's constants, and not the first paper's, as it found too."""
  n, d, losses = real_runs()
  assert len(n) == 124
  found = bootstrap.fit(n, d, losses, draws=200)
  for name in law.NAMES:
    low, high = found.interval(lambda one, name=name: getattr(one, name))
    assert low <= getattr(REPLICATION, name) <= high, (name, low, high)
  low, high = found.interval(lambda one: one.beta)
  assert not low <= CHINCHILLA.beta <= high
  # vpnls, another program, on these rows (its README; grid of 0.01): no better than ours, and the same exponents
  vpnls = law.Law(E=1.8608, A=4.1479 * 1e6**0.36, B=1.0546 * 1e9**0.40, alpha=0.36, beta=0.40)
  assert law.huber(found.best, n, d, losses) <= law.huber(vpnls, n, d, losses) * 1.0001
  assert found.best.alpha == pytest.approx(vpnls.alpha, abs=0.03) and found.best.beta == pytest.approx(0.40, abs=0.03)
  # Gopher's budget is best spent on about Chinchilla's 70B (the replication: 20 tokens a parameter)
  best = budget.optimum(found.best, SIX, 5.76e23, n)
  assert 5e10 < best.n < 1e11 and 15 < best.d / best.n < 26 and not best.inside


@pytest.mark.slow
def test_larger_published_runs_are_predicted():
  """The ten with the most FLOPs, from the others. Intervals: see docs/scaling.md."""
  n, d, losses = real_runs()
  largest = n * d >= np.sort(n * d)[-10]
  found = bootstrap.fit(n[~largest], d[~largest], losses[~largest], draws=60)
  for size, tokens, loss in zip(n[largest], d[largest], losses[largest], strict=True):
    predicted, low, high = found.prediction(size, tokens)
    assert predicted == pytest.approx(loss, rel=0.025) and low < predicted < high


def test_a_prediction_has_a_runs_own_scatter():
  n, d = designed(12, 12)  # so many runs that the constants are known: what is left is the scatter, 2 x 1.6 %
  found = bootstrap.fit(n, d, noisy(CHINCHILLA, n, d, 0), draws=30)
  predicted, low, high = found.prediction(1e9, 2e10)
  assert (high - low) / predicted == pytest.approx(0.033, rel=0.25)


def test_best_size_has_the_closed_form():
  """With C = 6 N D the optimum is G (C / 6)^(beta / (alpha + beta)) (Hoffmann et al. 2022, equation 4)."""
  n, _ = designed()
  for c in (1e20, 1e22, 1e25):
    total = CHINCHILLA.alpha + CHINCHILLA.beta
    g = (CHINCHILLA.alpha * CHINCHILLA.A / (CHINCHILLA.beta * CHINCHILLA.B)) ** (1 / total)
    best = budget.optimum(CHINCHILLA, SIX, c, n)
    assert best.n == pytest.approx(g * (c / 6) ** CHINCHILLA.size_exponent, rel=1e-3)
    assert best.d == pytest.approx(c / 6 / best.n)
    assert best.loss == pytest.approx(float(CHINCHILLA(best.n, best.d)))


def test_cost_of_a_token_is_that_of_our_networks():
  from gato_jax.model import flops

  n, each = [], []
  for width in (64, 128, 192, 256, 384):
    config = dataclasses.replace(model_config.VARIANTS["tiny"], **grid.network(width))
    parameters, tables = points.count(config)
    n.append(parameters - tables)
    each.append(flops.train_step(config, rows=1, length=78, targets=10, patches=20) / 78)
  fitted = budget.cost(np.array(n), np.full(5, 1e6), np.array(each) * 1e6)
  assert fitted(np.array(n)) == pytest.approx(np.array(each), rel=0.06)
  assert budget.cost(*designed(), 6 * np.prod(designed(), axis=0)).weights == pytest.approx(6)


def test_isoflop_minima():
  """Runs at exact budgets, and off them; a monotone profile has no minimum; three sizes make no parabola."""
  n = np.geomspace(3e8, 1.2e10, 9)
  budgets = np.array([1e20, 1e21])
  for shift in (1.0, 1.7):  # at the budgets, and at others around them, which are interpolated
    grid_n = np.concatenate([np.repeat(n, 4)])
    c = np.tile(np.array([1e20, 1e21, 3e19, 4e21]) * (1 if shift == 1.0 else 1 / shift), len(n))
    c = np.concatenate([c, np.full(len(n), 9e21)])
    grid_n = np.concatenate([grid_n, n])
    found = isoflop.profiles(grid_n, c, CHINCHILLA(grid_n, c / 6 / grid_n), budgets)
    assert len(found) == 2
    for one in found:
      best = budget.optimum(CHINCHILLA, SIX, one.flops, n)
      assert one.minimum == pytest.approx(best.n, rel=0.35), shift
      assert one.loss == pytest.approx(best.loss, rel=0.01)
    assert isoflop.exponent(found) == pytest.approx(CHINCHILLA.size_exponent, abs=0.1)
  large = np.geomspace(1e11, 1e12, 6)
  rising = isoflop.profiles(large, np.full(6, 1e20), CHINCHILLA(large, 1e20 / 6 / large), np.array([1e20]))
  assert rising[0].minimum is None and rising[0].loss is None and isoflop.exponent(rising) is None
  assert not isoflop.profiles(n[:3], np.full(3, 1e20), np.ones(3), np.array([1e20]))
  assert not isoflop.profiles(n, np.full(9, 1e20), np.ones(9), np.array([1.1e20]))  # never beyond a size's runs


@pytest.mark.parametrize(
  ("n", "losses", "message"),
  [
    ([1e6, 2e6], [2.0, 1.0], "cannot determine"),
    ([1e6] * 6, [2.0] * 6, "1 sizes"),
    ([1e6, 2e6] * 3, [2.0, 0.0] * 3, "positive"),
    ([1e6, 2e6] * 3, [2.0, np.nan] * 3, "positive"),
  ],
)
def test_what_cannot_be_fitted_is_an_error(n, losses, message):
  with pytest.raises(GatoError, match=message):
    law.fit(n, np.linspace(1e6, 5e6, len(n)), losses)


def test_a_law_that_is_not_determined_says_so():
  n, d = designed(4, 4)
  assert law.fit(n, d, CHINCHILLA(n, d)).undetermined(n, d) == ()
  assert set(law.fit(n, d, CHINCHILLA(1e9, d)).undetermined(n, d)) & {"A", "alpha"}  # size makes no difference
  assert set(law.fit(n, d, CHINCHILLA(n, 1e10)).undetermined(n, d)) & {"B", "beta"}
  assert law.fit(n, d, law.Law(1e-9, 400.0, 400.0, 0.3, 0.3)(n, d)).undetermined(n, d) == ("E",)
  assert law.Law(1.0, 400.0, 1e60, 0.3, 3.0).undetermined(n, d) == ("E", "A", "beta")


def test_the_rule_of_sizes():
  """The paper's networks and rates at its widths; below, its shape; nothing in between."""
  for width, name, rate in ((768, "gato_79m", 1e-4), (1536, "gato_364m", 2e-4), (2048, "gato_1b", 1e-4)):
    variant = model_config.variant(name)
    assert {k: getattr(variant, k) for k in grid.network(width)} == grid.network(width)
    assert grid.peak_learning_rate(width) == rate
  assert grid.network(128) == {"layers": 4, "heads": 4, "width": 128, "feed_forward": 512, "key_size": 32}
  assert grid.peak_learning_rate(128) == 2e-3 and grid.peak_learning_rate(64) == 4e-3
  for width in (100, 1024):
    with pytest.raises(GatoError, match="neither one of the paper's"):
      grid.GridConfig(widths=(64, width))
  with pytest.raises(GatoError, match="different positive"):
    grid.GridConfig(tokens=(1000, 1000))


def test_the_grid_of_the_config():
  config = scaling_config.get_config()
  runs = grid.runs(grid.GridConfig(**config.scaling.to_dict()))
  sizes = sorted({points.count(GatoConfig(**config.model.to_dict() | grid.network(r.width))) for r in runs})
  body = [parameters - tables for parameters, tables in sizes]
  assert len(sizes) >= 5 and len({r.tokens for r in runs}) >= 4 and body[-1] > 10 * body[0]
  assert [r.tokens for r in runs] == sorted(r.tokens for r in runs)
  assert [r.tokens for r in grid.runs(grid.GridConfig(widths=(64,), tokens=(5000, 900, 2000)))] == [900, 2000, 5000]
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
      points.Point(
        name=run.name, width=run.width, layers=config.layers, parameters=parameters,
        parameters_without_embeddings=parameters - tables, tokens=run.tokens, steps=run.steps(1248), batch_size=16,
        flops=6.0 * (parameters - tables + 3e5) * run.tokens, loss=loss,
        losses={"babyai": loss / 3, "text": 2 * loss}, target_tokens=9000, train_loss=loss,
        learning_rate=grid.peak_learning_rate(run.width), seed=run.seed,
        score=100 - 15 * loss if score else None, seconds=60.0, workdir=f"work/x/{run.name}",
      )
    )  # fmt: skip
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
  assert not analysis.analyse(made, hold_out=False, draws=20)[0].predictions
  flat = [dataclasses.replace(p, loss=float(SYNTHETIC(1e6, p.tokens))) for p in made]  # size makes no difference
  assert analysis.analyse(flat, draws=20)[0].optima == ()
  few = analysis.analyse(made[:5], draws=20)
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


@pytest.mark.parametrize("score", [True, False])
def test_page_with_its_files(tmp_path, score):
  made = make_points(score=score)
  series, others = (analysis.analyse(made, draws=20, size=size) for size in analysis.SIZES)
  path = scaling_page.write(tmp_path, made, series, others, {"config": "x", "commands": ["python -m launch sweep"]})
  page = path.read_text()
  names = {"loss_tokens", "loss_parameters", "loss_flops", "isoflops", "predicted", "exponents", "loss_domains"}
  names |= {"scores"} if score else set()
  assert {p.stem for p in tmp_path.glob("*.png")} == names == {p.stem for p in tmp_path.glob("*.svg")}
  assert page.count("data:image/png;base64") == len(names) and "python -m launch sweep" in page
  assert ("Figure 8 for these networks" in page) == score
  for name in names:
    image = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
    assert image.shape[1] > 600 and len(np.unique(image.reshape(-1, 3), axis=0)) > 20
    assert "</svg>" in (tmp_path / f"{name}.svg").read_text()
  lines = {name: (tmp_path / f"{name}.csv").read_text().splitlines() for name in ("points", "fits", "predictions")}
  assert [len(value) for value in lines.values()] == [21, 7, 7]
  row = dict(zip(lines["fits"][0].split(","), lines["fits"][1].split(","), strict=True))
  assert float(row["alpha"]) == series[0].fit.best.alpha
  assert float(row["alpha_low"]) < float(row["alpha_high"])
  assert made[0].name in page and scaling_page.number(made[-1].loss) in page


def test_figures_are_the_same_for_the_same_points(tmp_path):
  made = make_points()
  series = analysis.analyse(made, draws=20)
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
  (run / "config.json").write_text(json.dumps(sections | {"optimizer": {"peak_learning_rate": 4e-3}}))
  rows = [
    {"step": step, "tokens": 1000 * step, "loss": 5.0 - step / 10, "interval_target_tokens": weight}
    | {"interval_flops": 1e9, "interval_seconds": 2.0}
    for step, weight in ((10, 7), (19, 1), (20, 3))
  ]
  (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  assert points.of_run(run, 20) is None  # it has no held-out loss yet
  held_out = {"step": 20, "loss": 3.5, "loss/babyai": 1.0, "loss/babyai.GoTo": 1.0, "target_tokens": 90, "batches": 2}
  (run / "held_out.json").write_text(json.dumps(held_out))
  point = points.of_run(run, 20)
  assert (point.loss, point.losses, point.tokens, point.flops, point.seed) == (3.5, {"babyai": 1.0}, 20_000, 3e9, 3)
  assert point.train_loss == pytest.approx((3.1 * 1 + 3.0 * 3) / 4) and point.seconds == 6.0 and point.score is None
  assert points.of_run(run, 40) is None  # asked for a longer run
  lines = [
    {"task": "babyai.GoTo", "actor": actor, "seed": seed, "episode_return": value, "length": 3, "success": None}
    | {"seconds": 1.0, "step": 20 if actor == "gato" else 0}
    for actor, values in {"gato": (4.0, 6.0), "random": (0.0, 0.0), "expert": (10.0,) * 10}.items()
    for seed, value in enumerate(values)
  ]
  (run / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  assert points.of_run(run, 20).score == pytest.approx(50)
  longer = {**rows[-1], "step": 40}
  (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, longer]))
  assert points.of_run(run, 40) is None  # trained on, and not measured since
  (run / "held_out.json").write_text("{")
  with pytest.raises(GatoError, match="not JSON"):
    points.of_run(run, 20)
