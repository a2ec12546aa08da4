"""What the scripted experts are made of: the arm's kinematics and the bricks to be moved."""
