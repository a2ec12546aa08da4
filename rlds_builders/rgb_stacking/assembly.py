"""The cell of RGB stacking, built from dm-robotics' parts: a Sawyer arm over a basket.

Positions, limits and gains are those of google-deepmind/rgb_stacking (Lee et al. 2021, Apache
2.0), so that actions and episodes mean the same as there.
"""

import rlds_builders.worlds.mujoco_rendering  # noqa: F401  before dm_control

# isort: split
import numpy as np
from dm_control import composer
from dm_control.composer.variation import distributions, rotations
from dm_robotics.geometry import pose_distribution
from dm_robotics.manipulation.props.rgb_objects import rgb_object
from dm_robotics.manipulation.standard_cell import rgb_basket
from dm_robotics.moma import base_task, entity_initializer, prop, robot
from dm_robotics.moma.effectors import (
  arm_effector,
  cartesian_4d_velocity_effector,
  cartesian_6d_velocity_effector,
  default_gripper_effector,
  min_max_effector,
)
from dm_robotics.moma.models.arenas import empty
from dm_robotics.moma.models.end_effectors.robot_hands import robotiq_2f85
from dm_robotics.moma.models.end_effectors.wrist_sensors import robotiq_fts300
from dm_robotics.moma.models.robots.robot_arms import sawyer, sawyer_constants
from dm_robotics.moma.utils import mujoco_collisions

# Timesteps in seconds.
CONTROL_TIMESTEP = 0.05
_PHYSICS_TIMESTEP = 0.0005

BASKET_HEIGHT = 0.0498  # m, of the basket's floor

# Box that the tool centre point stays in, in metres.
WORKSPACE_CENTRE = np.array([0.6, 0.0, 0.1698])
WORKSPACE_SIZE = np.array([0.25, 0.25, 0.2])

# Highest velocity in x, y, z in m/s and about z in rad/s.
MAX_VELOCITY = np.array([0.07, 0.07, 0.07, 1.0])
_WRIST_RANGE = (-np.pi / 2, np.pi / 2)

COLOURS = ("red", "green", "blue")

# Lowest and highest start: position in metres, and of the tool also Euler angles.
_TOOL_START = ([0.5, -0.14, 0.22, np.pi, 0, -np.pi / 4], [0.7, 0.14, 0.43, np.pi, 0, np.pi / 4])
_OBJECT_START = ([0.50, -0.10, 0.12], [0.70, 0.10, 0.12])

# Joint angles that the controller prefers among those with the same pose of the wrist.
_REST = [0.0, -0.5186220703125, -0.529384765625, 1.220857421875, 0.40857421875, 1.07831640625, 0.0]


def triplet(task: str, random: np.random.Generator) -> tuple[str, str, str]:
  """Returns the names of the red, green and blue object.

  They are a fixed test triplet, or for "train" three draws from the training objects.
  """
  if task != "train":
    return tuple(rgb_object.PROP_TRIPLETS_TEST[f"rgb_test_{task}"].ids)

  return tuple(random.choice(sorted(rgb_object.RGB_OBJECTS_TRAIN_SET), 3).tolist())


def build(triplet: tuple[str, str, str]) -> composer.Environment:
  """Returns the simulated cell.

  Its steps take an empty action: actions go to the robot's effectors.

  Args:
    triplet: Names of the red, green and blue object.
  """
  arena = empty.Arena()

  # With one contact point a pair, as in the MuJoCo of 2021, objects tremble on their faces and
  # never settle.
  arena.mjcf_model.option.flag.multiccd = "enable"

  basket = rgb_basket.RGBBasket()
  site = arena.mjcf_model.worldbody.add(
    "site", pos=[0.6, 0.0, BASKET_HEIGHT], rgba="0 0 0 0", size="0.01"
  )
  arena.attach(basket, site)

  # As rgb_stacking's sensors have it; the basket's own cameras are wider.
  for camera in basket.cameras:
    camera.fovy = 30

  arm = _robot()
  arena.attach(arm.arm)
  arena.mjcf_model.worldbody.add(
    "camera", name="main_camera", pos="1.4 0.0 0.45", quat="0.541 0.455 0.456 0.541"
  )

  # Opaque red, green and blue.
  colours = np.eye(3, 4) + np.eye(4)[3]
  props = []
  for colour, name, rgba in zip(COLOURS, triplet, colours, strict=True):
    shape = rgb_object.RgbObjectProp(obj_id=name, color=list(rgba), name=f"rgb_object_{colour}")
    wrapped = prop.WrapperProp(wrapped_entity=shape, name=f"rgb_object_{colour}")
    wrapped.set_freejoint(arena.add_free_entity(wrapped).freejoint)
    props.append(wrapped)

  task = base_task.BaseTask(
    task_name="rgb_stacking",
    arena=arena,
    robots=[arm],
    props=props,
    extra_sensors=[],
    extra_effectors=[],
    scene_initializer=lambda random: None,
    episode_initializer=_initializer(arm, props),
    control_timestep=CONTROL_TIMESTEP,
  )
  task.physics_timestep = _PHYSICS_TIMESTEP
  mujoco_collisions.exclude_bodies_based_on_contype_conaffinity(arena.mjcf_model)

  return composer.Environment(
    task,
    random_state=np.random.RandomState(0),
    recompile_mjcf_every_episode=False,
    max_reset_attempts=20,
  )


def _initializer(
  arm: robot.StandardRobot, props: list[prop.Prop]
) -> entity_initializer.TaskEntitiesInitializer:
  """Returns what begins an episode: it draws the gripper's pose and drops the objects."""
  tool_pose = pose_distribution.UniformPoseDistribution(*_TOOL_START)

  return entity_initializer.TaskEntitiesInitializer(
    [
      entity_initializer.PoseInitializer(arm.position_gripper, tool_pose.sample_pose),
      entity_initializer.PropPlacer(
        props=props,
        position=distributions.Uniform(*_OBJECT_START),
        quaternion=rotations.UniformQuaternion(),
        settle_physics=True,
        min_settle_physics_time=1.0,
        # Objects that lean on the basket's slope tremble a little for ever.
        max_qvel_tol=0.1,
        max_qacc_tol=np.inf,
      ),
    ]
  )


def _robot() -> robot.StandardRobot:
  """Returns the Sawyer arm with its gripper, moved by Cartesian velocities."""
  name = "robot0"
  arm = sawyer.Sawyer(name=name, actuation=sawyer_constants.Actuation.INTEGRATED_VELOCITY)
  gripper = robotiq_2f85.Robotiq2F85()
  wrist = robotiq_fts300.RobotiqFTS300()
  robot.standard_compose(arm=arm, gripper=gripper, wrist_ft=wrist, wrist_cameras=[])

  # From the six velocities of the wrist to joint velocities.
  effector_6d = cartesian_6d_velocity_effector.Cartesian6dVelocityEffector(
    robot_name=name,
    joint_velocity_effector=arm_effector.ArmEffector(
      arm=arm, action_range_override=None, robot_name=name
    ),
    model_params=cartesian_6d_velocity_effector.ModelParams(
      element=arm.wrist_site, joints=arm.joints
    ),
    control_params=cartesian_6d_velocity_effector.ControlParams(
      control_timestep_seconds=CONTROL_TIMESTEP,
      max_lin_vel=MAX_VELOCITY[0],
      max_rot_vel=MAX_VELOCITY[3],
      joint_velocity_limits=np.array(sawyer_constants.VELOCITY_LIMITS["max"]),
      nullspace_gain=0.025,
      nullspace_joint_position_reference=np.array(_REST),
      regularization_weight=1e-2,
      enable_joint_position_limits=True,
      minimum_distance_from_joint_position_limit=0.01,
      joint_position_limit_velocity_scale=0.95,
      max_cartesian_velocity_control_iterations=300,
      max_nullspace_control_iterations=300,
    ),
  )

  # From four velocities, in which the gripper points down, to six.
  effector_4d = cartesian_4d_velocity_effector.limit_to_workspace(
    cartesian_effector=cartesian_4d_velocity_effector.Cartesian4dVelocityEffector(
      effector_6d=effector_6d, element=arm.wrist_site, effector_prefix=f"{name}_cart_4d_vel"
    ),
    element=gripper.tool_center_point,
    min_workspace_limits=WORKSPACE_CENTRE - WORKSPACE_SIZE / 2,
    max_workspace_limits=WORKSPACE_CENTRE + WORKSPACE_SIZE / 2,
    wrist_joint=arm.joints[-1],
    wrist_limits=_WRIST_RANGE,
    reverse_wrist_range=True,
  )

  return robot.StandardRobot(
    arm=arm,
    arm_base_site_name="base_site",
    gripper=gripper,
    # The environment reads the physics: composer's observables take more time.
    robot_sensors=[],
    arm_effector=effector_4d,
    gripper_effector=min_max_effector.MinMaxEffector(
      default_gripper_effector.DefaultGripperEffector(gripper, name)
    ),
    wrist_ft=wrist,
    name=name,
  )
