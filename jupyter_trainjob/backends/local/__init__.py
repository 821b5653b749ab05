"""Jobs on this machine: each has a small supervisor that outlives the server."""
