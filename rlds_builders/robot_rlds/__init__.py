"""Real robots of the Open X-Embodiment, from recorded RLDS episodes: the paper's real-robot row.

Another robot is another entry of SOURCES; nothing else changes.
"""

from gato_jax.domain import RecordedDomain, Source

SOURCES = {
  "bridge": Source(
    "tfds:bridge:0.1.0",
    observation={
      "camera": "observation/image",
      "instruction": "observation/natural_language_instruction",
      "state": "observation/state",
    },
    action=("action/world_vector", "action/rotation_delta", "action/open_gripper"),
    # Metres and radians a step, and the gripper.
    minimum=(-0.05,) * 3 + (-0.25,) * 3 + (0.0,),
    maximum=(0.05,) * 3 + (0.25,) * 3 + (1.0,),
    image_size=(96, 128),
  ),
  # The same robots; what TFDS' catalogue now calls bridge.
  "bridge_data_v2": Source(
    "tfds:bridge_data_v2:0.0.1",
    observation={
      "camera": "observation/image_0",
      "instruction": "language_instruction",
      "state": "observation/state",
    },
    minimum=(-0.05,) * 3 + (-0.25,) * 3 + (0.0,),
    maximum=(0.05,) * 3 + (0.25,) * 3 + (1.0,),
    image_size=(128, 128),
  ),
  "fractal20220817_data": Source(
    "tfds:fractal20220817_data:0.1.0",
    observation={
      "camera": "observation/image",
      "gripper": "observation/gripper_closed",
      "instruction": "observation/natural_language_instruction",
      "pose": "observation/base_pose_tool_reached",
    },
    action=("action/world_vector", "action/rotation_delta", "action/gripper_closedness_action"),
    minimum=(-1.0,) * 3 + (-1.5708,) * 3 + (-1.0,),
    maximum=(1.0,) * 3 + (1.5708,) * 3 + (1.0,),
    image_size=(128, 160),
  ),
  "jaco_play": Source(
    "tfds:jaco_play:0.1.0",
    observation={
      "camera": "observation/image",
      "instruction": "observation/natural_language_instruction",
      "joints": "observation/joint_pos",
      "pose": "observation/end_effector_cartesian_pos",
      "wrist_camera": "observation/image_wrist",
    },
    action=("action/world_vector", "action/gripper_closedness_action"),
    minimum=(-0.2,) * 3 + (-1.0,),
    maximum=(0.2,) * 3 + (1.0,),
    image_size=(96, 96),
  ),
  # It records no proprioception.
  "roboturk": Source(
    "tfds:roboturk:0.1.0",
    observation={
      "camera": "observation/front_rgb",
      "instruction": "observation/natural_language_instruction",
    },
    action=("action/world_vector", "action/rotation_delta", "action/gripper_closedness_action"),
    image_size=(96, 128),
  ),
}
DOMAIN = RecordedDomain(
  name="robot_rlds",
  tasks=tuple(SOURCES),
  weight=1.33,  # "RGB Stacking real robot" (Reed et al. 2022, table 1)
  agent_id="open-x-recorded",
  max_text_tokens={"instruction": 24},
  sources=SOURCES,
)
