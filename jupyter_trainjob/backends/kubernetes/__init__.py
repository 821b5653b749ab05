"""Jobs of a Kubernetes cluster, one an attempt. ``backend.py`` acts; objects, evidence and capacity are pure."""
