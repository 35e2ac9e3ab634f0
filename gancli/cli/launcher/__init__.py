"""gancli's own launcher of sweeps, for one machine: a process per job, and a slot of the machine for each."""
