"""By what every object of ours in a cluster is known."""

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "jupyter-trainjob"
INSTALLATION = "jupyter-trainjob/installation"
