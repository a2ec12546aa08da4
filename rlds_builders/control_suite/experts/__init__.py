"""The control suite's experts by what they are: rewards over rollouts, planners' settings and feedback laws."""
