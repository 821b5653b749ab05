"""What hostile code tries, as data, and what runs it against a sandbox: ``jupyter trainjob doctor --sandbox``.

Bombs and fills are bounded: each stops by itself at what would prove it, far below what a machine minds. Network
targets are servers of the suite's own, on loopback or in a network namespace that it was started in.
"""
