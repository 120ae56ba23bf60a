"""What runs, in which order, on which partitions: study file, lake writer, Prefect flows, command line."""

from flows.memory import bound_arenas

bound_arenas()  # before anything starts threads
