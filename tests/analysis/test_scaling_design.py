"""The runs of a sweep: the family of sizes, the grid, and budgets with inner minima."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from experiments.analysis.scaling import design, family, forecast, isoflop, law, points, runs
from gato_jax.errors import GatoError
from gato_jax.model import config as model_config
from gato_jax.model import flops


def test_the_family_of_sizes():
  """One rule from 0.03M to beyond the paper's 1.18B, without a jump."""
  assert family.network(128) == {
    "layers": 4,
    "heads": 4,
    "width": 128,
    "feed_forward": 512,
    "key_size": 32,
    "parametrization": "mup",
  }
  assert family.network(2048)["layers"] == model_config.variant("gato_1b").layers

  sizes = [family.parameters(width, 96) for width in family.widths()]
  assert sizes[0] < 2.5e5 and sizes[-1] > 1.18e9
  # The third layer is the largest step.
  ratios = [large / small for small, large in itertools.pairwise(sizes)]
  assert 1 < min(ratios) and max(ratios) < 1.6
  for width in family.widths():
    network = family.network(width)
    assert network["heads"] * network["key_size"] == width and network["layers"] >= 2

  for width in (0, 100):
    with pytest.raises(GatoError, match="not a positive multiple of 8"):
      family.network(width)


def test_parameters_of_the_family_are_those_of_its_networks():
  tiny = model_config.VARIANTS["tiny"]
  for width in (8, 72, 208, 512):
    config = dataclasses.replace(tiny, **family.network(width))
    parameters, tables = points.count(config)
    assert family.parameters(width, tiny.patch_channels) == parameters - tables


def test_the_papers_networks_stand_beside_it():
  for name in ("gato_79m", "gato_364m", "gato_1b"):
    variant = model_config.variant(name)
    for field, value in family.published(name).items():
      assert getattr(variant, field) == value
  assert family.published("gato_1b")["parametrization"] == "standard"


def test_the_grid():
  config = runs.SweepConfig(widths=(96, 64), tokens=(5000, 900), rates=(1.0, 2.0), seeds=(0, 3))
  names = [run.name for run in runs.grid(config)]
  assert names[:4] == ["w64-t900-s0", "w64-t900-s3", "w64-t900-s0-r2", "w64-t900-s3-r2"]
  assert len(names) == 16 and [run.tokens for run in runs.grid(config)] == [900] * 8 + [5000] * 8

  beside = runs.grid(runs.SweepConfig(variants=("gato_79m",), tokens=(480_000,)))
  assert [run.name for run in beside] == ["gato_79m-t480k-s0"]
  assert beside[0].network["layers"] == 8


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({}, "nothing to train"),
    ({"tokens": (1000, 1000), "widths": (64,)}, "different positive"),
    ({"tokens": (1000,), "widths": (70,)}, "multiple of 8"),
    ({"tokens": (1000,), "variants": ("gato_2b",)}, "gato_2b"),
    ({"budgets": (2e12, 1e12)}, "ascending"),
    ({"budgets": (1e12, 2e12), "sizes": 4}, "at least 5"),
    ({"budgets": (1e12, 2e12), "size_factor": 1.0}, "ratio above 1"),
    ({"budgets": (1e12, 2e12), "repeat_seeds": (0,)}, "none of scaling.seeds"),
    ({"budgets": (1e12, 2e12), "predicted_budgets": 2}, "fewer than the 2 budgets"),
    ({"budgets": (1e12, 2e12), "cosine_budget": 3}, "number of one of the 2"),
  ],
)
def test_bad_sweeps_are_one_line(settings, message):
  with pytest.raises(GatoError, match=message):
    runs.SweepConfig(**settings)


def test_settings_of_a_run():
  run = runs.SweepRun(12_480, 3, width=64, budget=1e12, rate=0.5, schedule="cosine")
  changed = runs.settings(run, 1248, peak_learning_rate=2e-3, branch_from="work/x")
  assert run.name == "c1e12-w64-s3-r0.5-cosine"
  assert changed["model.width"] == 64 and changed["model.parametrization"] == "mup"
  assert changed["train.steps"] == 10 and changed["train.seed"] == changed["data.seed"] == 3
  assert changed["optimizer.peak_learning_rate"] == 1e-3
  assert changed["optimizer.schedule"] == "cosine" and changed["train.branch_from"] == "work/x"
  assert "--config.train.steps=10" in runs.overrides(changed)


LAW = law.Law(1.0, 60.0, 400.0, 0.35, 0.4)
# The best sizes of these budgets under LAW lie inside of the family.
BUDGETS = (2e13, 1e14, 5e14)


def flops_per_token(width):
  config = dataclasses.replace(
    model_config.VARIANTS["tiny"], text_pieces=2048, **family.network(width)
  )
  return flops.train_step(config, rows=16, length=78, targets=150.0, patches=16) / 1248


def make_design(**settings):
  config = runs.SweepConfig(budgets=BUDGETS, **settings)
  return design.Design(config, flops_per_token, patch_channels=32, batch_tokens=1248)


def train(planned, truth=LAW):
  """Losses of runs, by name."""
  return {run.name: float(truth(family.parameters(run.width, 32), run.tokens)) for run in planned}


def train_all(made, truth=LAW):
  """Trains whatever is planned until no run is missing; returns the stages."""
  losses = {}
  for _ in range(30):
    stages = made.stages(losses)
    missing = [run for stage in stages for run in stage.runs if run.name not in losses]
    if not missing:
      return stages
    losses |= train(missing, truth)
  raise AssertionError("the plan does not end")


def test_every_budget_has_an_inner_minimum():
  stages = train_all(make_design())
  assert [stage.budget for stage in stages] == list(BUDGETS)
  assert [stage.predicted for stage in stages] == [False, False, True]

  for stage in stages:
    losses = train(run for run in stage.runs if run.seed == 0)
    ordered = [losses[run.name] for run in stage.runs if run.seed == 0]
    assert 5 <= len(ordered) <= 9
    assert min(ordered) not in (ordered[0], ordered[-1])
    # The grid of sizes is coarse: the true minimum is found to a factor.
    truth = min(
      family.widths(),
      key=lambda width: LAW(family.parameters(width, 32), stage.budget / flops_per_token(width)),
    )
    assert stage.minimum == pytest.approx(family.parameters(truth, 32), rel=0.5)

  # Two seeds at the two cheapest budgets.
  assert [{run.seed for run in stage.runs} for stage in stages] == [{0, 1}, {0, 1}, {0}]


def test_tokens_spend_the_budget():
  made = make_design()
  for run in made.stages({})[0].runs:
    assert run.tokens % 1248 == 0
    assert run.tokens * flops_per_token(run.width) == pytest.approx(BUDGETS[0], rel=0.02)


def test_a_profile_is_extended_where_its_loss_falls():
  """The first guess is far too small, so the largest size is the best one."""
  made = make_design(first_tokens_per_parameter=3000.0)
  first = made.stages({})[0].runs
  stages = train_all(made)
  largest = max(run.width for run in first)
  assert max(run.width for run in stages[0].runs) > largest
  assert stages[0].minimum is not None

  # Never beyond the cap.
  capped = train_all(make_design(first_tokens_per_parameter=3000.0, most_sizes=5))
  assert len({run.width for run in capped[0].runs}) == 5 and capped[0].minimum is None


def test_the_plan_is_a_function_of_the_losses():
  made = make_design()
  losses = train(made.stages({})[0].runs)
  again = make_design().stages(dict(reversed(losses.items())))
  assert again == made.stages(losses) and len(again) == 2

  # While one of its runs is missing, a budget has no successor.
  losses.popitem()
  assert len(made.stages(losses)) == 1


def test_cosines_are_trained_beside_and_do_not_count():
  made = make_design(cosine_budget=1)
  stage = made.stages({})[0]
  cosines = [run for run in stage.runs if run.schedule == "cosine"]
  assert len(cosines) == 5 and {run.seed for run in cosines} == {0}

  losses = train(stage.runs) | {run.name: 0.001 for run in cosines}
  plain = train_all(make_design())[0].minimum
  assert made.stages(losses)[0].minimum == plain


def test_outlook_has_all_budgets():
  planned = make_design().outlook({})
  assert {run.budget for run in planned} == set(BUDGETS)
  assert len(planned) == 10 + 10 + 5


def parameters(run):
  return family.parameters(run.width, 32)


def cost(run):
  return run.tokens * flops_per_token(run.width)


def test_standard_errors_are_those_of_noisy_fits():
  """The scatter of the constants over noisy sweeps is the forecast one, within a factor two."""
  planned = [run for run in make_design().outlook({}) if run.seed == 0]
  told = forecast.forecast(planned, LAW, 1e-4, parameters, cost)

  random = np.random.default_rng(0)
  n = np.array([parameters(run) for run in planned], float)
  d = np.array([run.tokens for run in planned], float)
  fits = [
    law.fit(n, d, LAW(n, d) * np.exp(1e-4 * random.normal(size=len(n))), starts=(LAW,), delta=1.0)
    for _ in range(40)
  ]
  for name in ("E", "alpha", "beta"):
    scatter = np.std([getattr(one, name) for one in fits]) / getattr(LAW, name)
    assert told.errors[name] == pytest.approx(scatter, rel=0.5), name


def test_what_cannot_be_determined_is_said():
  one_size = [runs.SweepRun(tokens, 0, width=64) for tokens in (10_000, 20_000, 40_000, 80_000)]
  told = forecast.forecast(one_size, LAW, 1e-3, parameters, cost)
  assert told.undetermined and math.isinf(told.errors["alpha"])

  # Budgets and sizes that lie close together.
  config = runs.SweepConfig(budgets=(2e13, 3e13), size_factor=1.2, predicted_budgets=0)
  near = design.Design(config, flops_per_token, patch_channels=32, batch_tokens=1248)
  text = forecast.text(config, near, [], [], parameters, cost)
  assert "20 runs" in text and "FLOPs" in text
  assert "cannot determine" in text and "every run with another seed" in text

  # Less noise than measured anywhere: everything is determined.
  told = forecast.forecast(make_design().outlook({}), LAW, 1e-6, parameters, cost)
  assert not told.undetermined


def test_a_loss_that_still_falls_at_the_end_is_no_minimum():
  """A parabola through it may have one inside."""
  made = make_design()
  measured = dict(zip((64, 96, 128, 160, 192), (5.0, 4.2, 3.9, 3.85, 3.84), strict=True))
  n = np.array([family.parameters(width, 32) for width in measured], float)
  losses = np.array(list(measured.values()))
  assert isoflop.fit_parabola(BUDGETS[0], n, losses).minimum is not None

  profile = {width: [loss] for width, loss in measured.items()}
  assert made._parabola(BUDGETS[0], profile, noise=None) is None


def test_a_minimum_that_noise_could_move_outside_is_extended():
  made = make_design()
  first = made.stages({})[0]
  widths = sorted({run.width for run in first.runs})
  # Those of a budget of docs/scaling.md: the two smallest networks are nearly equal.
  level = dict(zip(widths, (4.147, 4.141, 4.333, 4.486, 4.803), strict=True))

  def planned(noise):
    losses = {run.name: level[run.width] * math.exp(noise * (-1) ** run.seed) for run in first.runs}
    return made.stages(losses)[0]

  assert planned(1e-5).finished and planned(1e-5).minimum > family.parameters(widths[0], 32)

  extended = planned(0.008)
  further = {run.width for run in extended.runs} - set(widths)
  assert not extended.finished and len(further) == 1 and further < set(range(widths[0]))


def test_more_seeds_place_a_minimum_better():
  n = np.geomspace(1e5, 1e6, 5)
  losses = 2 + 0.1 * np.log(n / 3e5) ** 2
  widths = []
  for seeds in (1, 4):
    (profile,) = isoflop.exact_profiles(
      np.tile(n, seeds), np.full(5 * seeds, 1e13), np.tile(losses, seeds), noise=0.002
    )
    widths.append(np.log(profile.interval[1] / profile.interval[0]))
  assert widths[1] == pytest.approx(widths[0] / 2, rel=0.2)
