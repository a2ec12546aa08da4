"""control_suite_random_small with wider intervals; the "DM Control Suite Random Large" of Gato's Table 1."""

import dataclasses

from rlds_builders import control_suite_random_small

DOMAIN = dataclasses.replace(
  control_suite_random_small.DOMAIN,
  name="control_suite_random_large",
  environment="rlds_builders.control_suite_random_large.environment:make",
)
