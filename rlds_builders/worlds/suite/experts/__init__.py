"""Parts of the control suite's experts: rewards over rollouts, planner settings, feedback laws."""
