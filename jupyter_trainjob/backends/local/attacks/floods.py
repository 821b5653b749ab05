"""Attacks through what a job gives back: output, files, reports, and attacks on what watches it."""

from __future__ import annotations

from .attack import EVERY, Attack

_LOG = {"log": "1Mi"}
_RUNNER = "the supervisor, which is out of reach"

ATTACKS = (
    Attack(
        "stdout-flood",
        "24 MiB in one line",
        "for _ in range(24):\n    sys.stdout.write('x' * 2**20)\n    sys.stdout.flush()\n",
        "the log's cap",
        claimed=EVERY,
        seen="log",
        alone=True,
        resources=_LOG,
    ),
    Attack(
        "stderr-flood",
        "24 MiB in 300,000 lines on stderr",
        "for _ in range(300):\n    sys.stderr.write(('e' * 79 + '\\n') * 1000)\n    sys.stderr.flush()\n",
        "the log's cap",
        claimed=EVERY,
        seen="log",
        alone=True,
        resources=_LOG,
    ),
    Attack(
        "display-flood",
        "700 displayed objects of 100 kB",
        "from IPython.display import HTML, display\nfor n in range(700):\n    display(HTML('y' * 100_000))\n",
        "the notebook's cap",
        claimed=EVERY,
        seen="notebook",
        alone=True,
        resources=_LOG,
    ),
    Attack(
        "image",
        "an image of 64 MiB",
        "from IPython.display import display\ndisplay({'image/png': 'A' * (64 * 2**20)}, raw=True)\n",
        "the notebook's cap",
        claimed=EVERY,
        seen="notebook",
        alone=True,
        resources=_LOG,
    ),
    Attack(
        "daemon",
        "a daemon that outlives the job: forked twice, in a session of its own, without its parent's environment",
        """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        command = [sys.executable, "-I", "-c", "import time; time.sleep(60)", given["mark"]]
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.closerange(3, 200)
        os.execve(sys.executable, command, {})
    os._exit(0)
time.sleep(0.5)
got("it began")
""",
        "the process namespace, the control group, the subreaper",
        claimed=EVERY,
        seen="outlives",
        alone=True,
    ),
    Attack(
        "stop-the-runner",
        "stop the process that leads it",
        "got('it began')\ntime.sleep(1)\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(30)",
        _RUNNER,
        claimed=EVERY,
        seen="ends",
        alone=True,
        seconds=2,
    ),
    Attack(
        "kill-the-runner",
        "kill the process that leads it, and go on",
        "got('it began')\ntime.sleep(1)\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(30)",
        _RUNNER,
        claimed=EVERY,
        seen="ends",
        alone=True,
        seconds=20,
    ),
    Attack(
        "outputs",
        "links to others' files, pipes, sockets, devices and .. among its outputs",
        """
for number, path in enumerate(given["home"] + given["tokens"] + given["job"]):
    os.symlink(path, f"link-{number}")
    os.symlink(os.path.dirname(path), f"folder-{number}")
    os.symlink("../" * 20 + path.lstrip("/"), f"up-{number}")
    try:
        os.link(path, f"hard-{number}")
    except OSError:
        pass
os.mkfifo("pipe")
socket.socket(socket.AF_UNIX).bind("socket")
for kind, device in ((0o020000, os.makedev(1, 3)), (0o060000, os.makedev(7, 0))):
    try:
        os.mknod(f"device-{kind}", 0o666 | kind, device)
    except OSError:
        pass
os.mkdir("swapped")
open("swapped/file", "w").write("mine")
if os.fork() == 0:  # a folder that is now a folder and now a link
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            os.rename("swapped", "aside")
            os.symlink(os.path.dirname(given["home"][0]), "swapped")
            os.unlink("swapped")
            os.rename("aside", "swapped")
        except OSError:
            pass
    os._exit(0)
print("made", flush=True)
""",
        "only regular files with one name are kept, opened step by step",
        claimed=EVERY,
        seen="stored",
        alone=True,
    ),
)
