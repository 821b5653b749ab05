"""What is printed reaches the log: at once, in order, byte for byte, however the kernel ends."""

import itertools
import json
import re
import threading
import time
from contextlib import contextmanager, suppress

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_trainjob.runner.stream import Parser

from .harness import notebook, run, start


def test_a_cell_prints_and_succeeds(tmp_path):
    ended = run(tmp_path, notebook("print(1)"))
    assert ended.log == b"1\n"
    assert (ended.outcome, ended.end["error"], ended.status) == ("ok", None, 0)
    assert ended.stderr == ""
    assert [event["type"] for event in ended.events][:2] == ["hello", "started"]
    assert ended.of("hello")[0]["runnerProtocol"] == 1


def test_streams_displays_and_results_keep_their_order(tmp_path):
    code = """
import sys
for i in range(200):
    print("out", i)
    print("err", i, file=sys.stderr)
    display(i)
"last"
"""
    ended = run(tmp_path, notebook(code))
    expected = "".join(f"out {i}\nerr {i}\n{i}\n" for i in range(200)) + "'last'\n"
    assert ended.log.decode() == expected
    outputs = ended.notebook.cells[0].outputs
    assert [one.output_type for one in outputs[:4]] == ["stream", "stream", "display_data", "stream"]
    assert [one.get("name") for one in outputs[:2]] == ["stdout", "stderr"]
    assert outputs[-1].data["text/plain"] == "'last'"


def test_bytes_that_are_no_text_pass_unchanged_and_subprocesses_fall_into_place(tmp_path):
    code = r"""
import os, subprocess, sys
sys.stdout.buffer.write(b"\xff\xfe\n")
print("one")
os.write(1, b"\x80\x81\n")
subprocess.run(["sh", "-c", "printf 'two\\377\\n'; printf 'three\\n' >&2"])
print(os.fsdecode(b"name-\xe9"))
print("four \ud800")
"""
    ended = run(tmp_path, notebook(code))
    assert ended.outcome == "ok", ended.end
    assert ended.log == b"\xff\xfe\none\n\x80\x81\ntwo\xff\nthree\nname-\xe9\nfour \\ud800\n"
    assert "\ufffd" in ended.notebook.cells[0].outputs[0].text


def test_output_arrives_while_the_cell_runs_without_newlines_too(tmp_path):
    runner = start(tmp_path, notebook("import time\nfor i in range(4):\n    print('.', end='')\n    time.sleep(0.5)"))
    runner.wait_for(lambda: len(runner.log) >= 1)
    first = time.monotonic()
    runner.wait_for(lambda: len(runner.log) >= 4)
    assert time.monotonic() - first > 0.5  # of 1.5 s: at the cell's end, they would come at once
    assert runner.finish().outcome == "ok"


def test_carriage_returns_and_colours_pass(tmp_path):
    code = (
        "import sys\nfor i in range(3):\n    print(f'\\r{i}/2', end='', file=sys.stderr)\nprint('\\x1b[31mred\\x1b[0m')"
    )
    assert run(tmp_path, notebook(code)).log == b"\r0/2\r1/2\r2/2\x1b[31mred\x1b[0m\n"


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os; os._exit(7)", "exited with status 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "was killed by SIGSEGV"),
        ("import os; os.kill(os.getpid(), 40)", "was killed by signal 40"),
    ],
)
def test_a_kernel_that_dies_leaves_all_it_had_printed(tmp_path, code, how):
    ended = run(tmp_path, notebook("print('first')", f"print('x' * 300_000, end='')\nprint('end', end='')\n{code}"))
    assert ended.outcome == "kernelDied"
    assert how in ended.end["error"]["evalue"]
    assert ended.end["error"]["cellId"] == "cell-1"
    assert ended.log.startswith(b"first\n" + b"x" * 300_000 + b"end")
    assert ended.notebook.cells[0].outputs[0].text == "first\n"
    assert ended.status == 0


class Memory:
    """The largest resident size that any process started meanwhile had."""

    def __init__(self):
        self.peak_bytes = 0


@contextmanager
def watched_memory():
    memory, done = Memory(), threading.Event()
    before = {process.pid for process in psutil.Process().children(recursive=True)}

    def watch():
        while not done.wait(0.02):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if process.pid not in before:
                        memory.peak_bytes = max(memory.peak_bytes, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield memory
    finally:
        done.set()
        watcher.join()


def test_a_hundred_megabytes_on_one_line_stream_in_bounded_memory(tmp_path):
    code = "import sys\nfor _ in range(100):\n    print('x' * 1_000_000, end='')\nprint('the end')"
    with watched_memory() as memory:
        ended = run(tmp_path, notebook(code))
    assert len(ended.log) == 100_000_008
    assert ended.log.endswith(b"xthe end\n")
    assert 30 * 2**20 < memory.peak_bytes < 200 * 2**20
    saved = (tmp_path / "out" / "notebook.ipynb").read_bytes()
    assert len(saved) < 1_500_000
    text = "".join(one.text for one in ended.notebook.cells[0].outputs)
    left = re.search(r"\n\[… ([0-9,]+) characters are left out here; the job's log has them all …\]\n", text)
    assert left is not None
    assert len(text) - len(left[0]) + int(left[1].replace(",", "")) == 100_000_008
    assert text.endswith("the end\n")


def test_printing_faster_than_anyone_reads_waits_and_loses_nothing(tmp_path):
    code = "for i in range(300_000):\n    print(i)\ndisplay('shown')"
    ended = run(tmp_path, notebook(code))
    assert ended.log == b"".join(b"%d\n" % i for i in range(300_000)) + b"'shown'\n"


def test_a_displayed_text_may_be_anything(tmp_path):
    code = """
for text in (None, 5, ["a", "b"], ["c", None]):
    display({"text/plain": text, "application/json": text}, raw=True)
print("after")
"""
    ended = run(tmp_path, notebook(code, "print('next')"))
    assert ended.outcome == "ok"
    assert ended.log.decode().splitlines() == ["null", "5", "ab", '["c", null]', "after", "next"]
    outputs = ended.notebook.cells[0].outputs
    assert [one.data["application/json"] for one in outputs[:4]] == [None, 5, ["a", "b"], ["c", None]]


def test_many_displays_are_not_dropped(tmp_path):
    ended = run(tmp_path, notebook("for i in range(5000):\n    display(i)"))
    assert ended.log == b"".join(b"%d\n" % i for i in range(5000))


def test_rich_outputs_are_kept_up_to_a_cap_and_named_in_the_log(tmp_path):
    code = """
display({"image/png": "aGVsbG8="}, raw=True)
for _ in range(3):
    display({"image/png": "A" * 15_000_000}, raw=True)
"""
    ended = run(tmp_path, notebook(code))
    outputs = ended.notebook.cells[0].outputs
    assert outputs[0].data["image/png"].strip() == "aGVsbG8="
    assert "too large to be saved" in outputs[-1].data["text/plain"]
    assert ended.log.startswith(b"<image/png> [in the executed notebook]\n")


@pytest.mark.parametrize("wait", [True, False])
def test_of_what_is_cleared_nothing_is_kept_and_what_comes_after_has_all_the_room(tmp_path, wait):
    text = f"""
from IPython.display import clear_output
for i in range(300):
    clear_output(wait={wait})
    print(f"round {{i}} " + "x" * 10_000)
"""
    picture = f"""
for i in range(40):
    clear_output(wait={wait})
    display({{"image/png": f"{{i:04}}" + "A" * 2**20}}, raw=True)
"""
    ended = run(tmp_path, notebook(text, picture))
    shown = [one.outputs for one in ended.notebook.cells]
    assert [one.text for one in shown[0]] == ["round 299 " + "x" * 10_000 + "\n"]
    assert [one.data["image/png"][:4] for one in shown[1]] == ["0039"]
    assert ended.log.count(b"round ") == 300, "the log has them all"


def test_a_clearing_that_waits_lets_the_last_stand(tmp_path):
    code = "from IPython.display import clear_output\nfor i in range(3):\n    print(i)\n    clear_output(wait=True)"
    assert run(tmp_path, notebook(code)).notebook.cells[0].outputs[0].text == "2\n"


def test_a_picture_that_is_updated_takes_its_room_once(tmp_path):
    code = """
for i in range(40):
    display({"image/png": f"{i:04}" + "A" * 2**20}, raw=True, display_id="plot", update=i > 0)
"""
    outputs = run(tmp_path, notebook(code)).notebook.cells[0].outputs
    assert [one.data["image/png"][:4] for one in outputs] == ["0039"]


def test_an_output_that_is_too_large_takes_no_other_along(tmp_path):
    code = 'display({"image/png": "A" * 33 * 2**20}, raw=True)\ndisplay({"image/png": "aGVsbG8="}, raw=True)'
    outputs = run(tmp_path, notebook(code)).notebook.cells[0].outputs
    assert "too large to be saved" in outputs[0].data["text/plain"]
    assert outputs[1].data["image/png"].strip() == "aGVsbG8="


def test_the_code_tells_its_own_progress(tmp_path):
    code = 'display({"application/vnd.trainjob.progress+json": {"fraction": 0.5, "message": "epoch 1"}}, raw=True)'
    ended = run(tmp_path, notebook(code))
    assert (0.5, "epoch 1") in [(event["fraction"], event["message"]) for event in ended.of("progress")]
    assert ended.log == b""


def test_output_of_atexit_and_threads_is_still_brought_out(tmp_path):
    code = """
import atexit, threading
atexit.register(print, "bye")
threading.Timer(0.3, print, ["from a thread"]).start()
"""
    ended = run(tmp_path, notebook(code, "import time; time.sleep(0.5)"))
    assert ended.log == b"from a thread\nbye\n"


def test_what_the_kernel_says_while_it_closes_is_not_the_codes(tmp_path):
    code = """
import atexit
from ipykernel.kernelapp import IPKernelApp
class Broken:
    def term(self):
        import os  # the shell has emptied its namespace by now
        open("closed", "w").close()
        os.write(2, b"Assertion failed: pfd.revents & POLLIN\\n")
        os.abort()  # as libzmq does
IPKernelApp.instance().heartbeat.context = Broken()
atexit.register(print, "bye");
"""
    ended = run(tmp_path, notebook(code))
    assert (tmp_path / "work" / "closed").exists()
    assert ended.log == b"bye\n"
    assert ended.outcome == "ok"


def test_multiprocessing_workers_print_into_the_log(tmp_path):
    code = r"""
import multiprocessing
def work(n):
    print(f"worker {n}\n", end="")  # one write: several of several processes may mix
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(work, range(4))
"""
    ended = run(tmp_path, notebook(code))
    assert sorted(ended.log.splitlines()) == [b"worker %d" % n for n in range(4)]


MARK = b"\0tj0123"


@given(
    tokens=st.lists(
        st.one_of(
            st.tuples(st.just("stdout"), st.binary(max_size=30)),
            st.tuples(st.just("stderr"), st.binary(max_size=30)),
            st.tuples(st.just("mark"), st.integers(1, 10**9)),
        )
    ),
    cuts=st.lists(st.integers(0, 400)),
)
def test_marks_are_found_wherever_reads_cut_them(tokens, cuts):
    stream = b""
    for name, value in tokens:
        if name == "mark":
            stream += MARK + b"d%d;" % value
        else:
            text = value.replace(b"\0", b"")
            stream += text if name == "stdout" else MARK + b"e" + text + MARK + b"o"
    parser, found = Parser(MARK), []
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for begin, end in itertools.pairwise(edges):
        found += parser.feed(stream[begin:end])
    found += parser.end()

    def joined(parts):
        whole = []
        for name, value in parts:
            if name == "mark" or not whole or whole[-1][0] != name:
                whole.append([name, value])
            else:
                whole[-1][1] += value
        return whole

    wanted = [(name, value if name == "mark" else value.replace(b"\0", b"")) for name, value in tokens]
    assert joined(found) == joined([one for one in wanted if one[1]])


def test_text_that_looks_like_a_mark_stays_text():
    parser = Parser(MARK)
    found = [*parser.feed(b"a" + MARK + b"zb" + MARK[:4]), *parser.end()]
    assert b"".join(value for _, value in found) == b"a" + MARK + b"zb" + MARK[:4]


def test_modules_in_the_work_folder_are_found_but_do_not_stand_in_for_the_kernels_own(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine.py").write_text("x = 'mine'")
    (tmp_path / "work" / "ipykernel.py").write_text("raise SystemExit('wrong one')")
    ended = run(tmp_path, notebook("import mine, debugpy\nprint(mine.x, debugpy.__name__)"))
    assert (ended.outcome, ended.log) == ("ok", b"mine debugpy\n")


def test_events_are_lines_of_json(tmp_path):
    ended = run(tmp_path, notebook("raise ValueError('a\\nb\\u2028c')"))
    assert json.loads(json.dumps(ended.end))["error"]["evalue"] == "a\nb\u2028c"
