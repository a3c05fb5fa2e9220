"""The same work as one would write it by hand: the driver and nothing else."""
