"""Ways to run Taskmill."""
