"""The images of ``kernels/``, built by ``jupyter trainjob images build`` and run."""
