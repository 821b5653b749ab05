"""A real Kubernetes cluster with a real object store, for tests; README.md beside this tells how it is made."""
