"""Where code, logs and outputs live. Standard library only, because supervisors load it at every job's start."""
