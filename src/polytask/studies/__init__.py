"""Studies and sweeps: their files, their runs as processes, what finished runs say, the tables."""
