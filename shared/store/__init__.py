"""All SQL. One module for each thing that is stored; moves of tasks are in `lifecycle`."""
