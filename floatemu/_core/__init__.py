"""Integers in, integers out: the compiled core, which knows no Format object."""
