"""``python -I <this folder> main|sidecar``, or ``-m`` and its name."""

import sys

if not __package__:
    sys.path.insert(0, __file__.rsplit("/jupyter_trainjob/", 1)[0])

if __name__ == "__main__":
    part = sys.argv[1] if len(sys.argv) == 2 else ""
    if part == "main":
        from jupyter_trainjob.backends.kubernetes.pod.main import main
    elif part == "sidecar":
        from jupyter_trainjob.backends.kubernetes.pod.sidecar import main
    else:
        sys.exit("usage: python -I <folder of the pod's code> main|sidecar")
    sys.exit(main())
