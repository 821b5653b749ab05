"""Whether a cluster does what our jobs rely on, tried and not guessed: for ``jupyter trainjob doctor``."""
