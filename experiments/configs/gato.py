"""The paper's mixture: 24 rows with the paper's weights, 85.3 % of them control.

python -m experiments.build --config=experiments/configs/gato.py
python -m experiments.describe --config=experiments/configs/gato.py

The first builds what it can and prints what is missing; the second prints the rows, how much data
of each is here, and the shares that result. Rows without a dataset are left out and the others keep
their proportions. The network is the tiny one; gato_79m.py, gato_364m.py and gato_1b.py are the
paper's sizes.
"""

from typing import Any

import ml_collections

from experiments.configs import default

# Row of the paper's table 1 -> share of sequences in per cent, and the domains that share it: with
# all tasks that they do not hold out themselves, or with those named. docs/domains.md says which
# domains stand in for data that was never published.
ROWS: dict[str, tuple[Any, ...]] = {
  "DM Lab": (9.35, "labyrinth", "unplugged_dmlab"),
  "ALE Atari": (9.5, "atari", "unplugged_atari"),
  "ALE Atari Extended": (10.0, "atari_extended"),
  "Sokoban": (1.33, ("sokoban", "boxes_4")),
  "BabyAI": (9.06, "babyai"),
  "DM Control Suite": (4.62, "control_suite"),
  "DM Control Suite Pixels": (7.07, "control_suite_pixels"),
  "DM Control Suite Random Small": (3.04, "control_suite_random_small"),
  "DM Control Suite Random Large": (3.04, "control_suite_random_large"),
  "Meta-World": (8.96, "meta_world"),
  "Procgen": (5.34, "procgen"),
  "RGB Stacking simulator": (1.33, "rgb_stacking"),
  "RGB Stacking real robot": (1.33, "robot_rlds"),
  "Modular RL": (8.23, "modular_rl"),
  "DM Manipulation Playground": (1.68, "manipulation"),
  "Playroom": (1.33, "playroom"),
  "MassiveText": (6.7, "text"),
  "M3W": (4.0, "m3w"),
  "ALIGN": (0.67, "align"),
  "MS-COCO Captions": (0.67, "ms_coco"),
  "Conceptual Captions": (0.67, "conceptual_captions"),
  "LTIP": (0.67, "ltip"),
  "OKVQA": (0.67, "ok_vqa"),
  "VQAv2": (0.67, "vqa_v2"),
}


def get_config(variant: str = "tiny") -> ml_collections.ConfigDict:
  config = default.get_config(variant)
  config.name = "gato"
  config.leave_out_missing = True

  config.domains = ml_collections.ConfigDict()
  for row, (weight, *domains) in ROWS.items():
    for domain in domains:
      name, *tasks = (domain,) if isinstance(domain, str) else domain
      config.domains[name] = ml_collections.ConfigDict(
        {"weight": weight, "tasks": tuple(tasks), "row": row}
      )

  return config
