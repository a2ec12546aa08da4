"""Parts of the scripted experts: the arm's kinematics, the bricks, and plans for each task."""
