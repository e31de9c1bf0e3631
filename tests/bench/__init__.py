"""Measures Taskmill as shipped, beside other systems that do the same work: `make bench`."""
