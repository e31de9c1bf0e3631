"""The rules of Taskmill, without any I/O."""
