"""What a cluster needs for our jobs, built from the configuration and applied: ``jupyter trainjob deploy``."""
