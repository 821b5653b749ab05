"""What a job's own Python can import: this folder is on its ``PYTHONPATH``."""
