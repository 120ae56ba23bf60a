"""What runs, in which order, on which partitions: study file, lake writer, Prefect flows, command line."""
