"""The HTTP face of Taskmill."""
