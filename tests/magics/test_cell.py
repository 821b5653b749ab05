"""``%%trainjob`` in a real kernel, against a real server that runs the jobs."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from jupyter_trainjob.client import Client

from ..served import Served
from .conftest import Kernel, Ran, plain

MIME = "application/vnd.trainjob+json"


def refused(kernel: Kernel, cell: str) -> str:
    """What a cell says that submits nothing."""
    ran = kernel.run(cell)
    assert ran.status == "error"
    assert "Traceback" not in ran.printed and "site-packages" not in ran.traceback
    assert not ran.displays
    return ran.stderr + ran.traceback


def test_the_cell_returns_at_once_with_a_job_that_follows_itself(kernel: Kernel) -> None:
    kernel.run("import jupyter_trainjob.magics.cell, httpx")
    ran = kernel.run(
        "%%trainjob --name digits --time-limit 1m\nimport time\nprint('began')\ntime.sleep(3)\nprint('done')"
    )
    assert ran.status == "ok", ran
    assert ran.seconds < 3, "it did not wait for the job"
    assert len(ran.displays) == 1 and not ran.results
    display = ran.displays[0]
    reference = display["data"][MIME]
    assert set(reference) == {"uid", "namespace", "name"} and reference["name"].startswith("digits-")
    here = display["transient"]["display_id"]

    # A line of the log may be there a moment before the word of the state is: both are fetched on their own.
    running = kernel.updates_until(
        lambda update: all(word in update["data"]["text/plain"] for word in ("Running", "began"))
    )
    assert running["transient"]["display_id"] == here and "<pre" in running["data"]["text/html"]
    ended = kernel.updates_until(lambda update: "Succeeded" in update["data"]["text/plain"])
    assert "done" in ended["data"]["text/html"]
    assert ended["data"][MIME] == reference, "the card's payload never changes"

    kernel.run("import time; time.sleep(1.5)")
    seen = len(kernel.updates)
    alive = kernel.run("import threading\nprint([t.name for t in threading.enumerate()])")
    assert "trainjob-follower" not in alive.stdout and len(kernel.updates) == seen, "it stops at the end"


def test_the_job_is_the_value_of_the_cell_and_of_last(kernel: Kernel) -> None:
    kernel.run("%%trainjob --name held --hold\nprint(1)")
    assert kernel.run("print(_.short_name, _.phase)").stdout == "held Queued\n"
    assert kernel.run("job = %trainjob last\nprint(job.short_name)\njob.cancel();").stdout == "held\n"


def test_block_streams_the_log_and_brings_variables_back(kernel: Kernel) -> None:
    seen: list[str] = []

    def watch(message: dict, ran: object) -> None:  # type: ignore[type-arg]
        if message["msg_type"] == "stream":
            seen.append(message["content"]["text"])

    ran = kernel.run(
        "%%trainjob --block --out model,score --time-limit 1m\n"
        "import time\nfor i in range(3):\n    print('step', i, flush=True)\n    time.sleep(0.7)\n"
        "model = {'w': [1, 2]}\nscore = 0.5",
        on_message=watch,
    )
    assert ran.status == "ok", ran
    assert ran.stdout == "step 0\nstep 1\nstep 2\n"
    assert len(seen) >= 2, "it came in pieces, as it was printed"
    assert kernel.run("print(model, score)").stdout == "{'w': [1, 2]} 0.5\n"


def test_after_block_the_output_tells_the_end_and_the_card_leaves_the_log_to_the_text(kernel: Kernel) -> None:
    for code, end in (("print('said')", "Succeeded"), ("print('said')\n1/0", "Failed")):
        kernel.updates.clear()
        states: list[str] = []

        def watch(message: dict, ran: Ran, states: list[str] = states) -> None:  # type: ignore[type-arg]
            if message["msg_type"] in ("stream", "error"):
                states.append(message["msg_type"])

        ran = kernel.run(f"%%trainjob --name told --block\n{code}", on_message=watch)
        assert "said\n" in ran.stdout and states.count("error") == (end == "Failed")
        first, here = ran.displays[0]["data"], ran.displays[0]["transient"]["display_id"]
        assert first[MIME]["log"] == "below" and set(first[MIME]) == {"uid", "namespace", "name", "log"}
        last = kernel.updates[-1]
        assert last["transient"]["display_id"] == here, "it came before the cell was done"
        assert end in last["data"]["text/plain"] and end in last["data"]["text/html"]
        assert "said" not in last["data"]["text/plain"] + last["data"]["text/html"]
        assert last["data"][MIME] == first[MIME]
        count = len(kernel.updates)
        kernel.run("import time; time.sleep(2.5)")
        assert len(kernel.updates) == count, "nothing older comes after it"


def test_all_variables_that_did_not_come_back_are_named_and_the_others_are_there(kernel: Kernel) -> None:
    code = "import threading\nb = threading.Lock()\nc = 3"
    ran = kernel.run(f"%%trainjob --name parts --block --out a,b,c\n{code}")
    assert ran.ename == "ResultError" and kernel.run("print(c)").stdout == "3\n"
    lines = plain(ran.traceback).splitlines()
    assert lines[0].startswith("ResultError: 2 of 3 variables of parts-")
    assert lines[0].endswith(" did not come back:") and len(lines) == 3
    assert lines[1] == "  a: the code did not set a variable 'a'. Check the name in --out."
    assert re.fullmatch(
        r"  b: 'b' can't be pickled: .*lock.*\. Bring back what it is made of, or write it to a file\.", lines[2]
    )


@pytest.mark.parametrize(
    "cell", ["%%trainjob --help", "%%trainjob -h\n", "%%trainjob --name x --help\nprint(1)", "%trainjob submit --help"]
)
def test_help_prints_the_options_and_sends_no_job(kernel: Kernel, client: Client, cell: str) -> None:
    before = len(client.jobs(limit=None))
    ran = kernel.run(cell)
    assert ran.status == "ok" and not ran.displays and not ran.stderr, ran
    assert ran.stdout.startswith("usage: %%trainjob [--in" if cell.startswith("%%") else "usage: %trainjob submit [")
    lines = ran.stdout.splitlines()
    assert "  --time-limit TIME          Longest run: 5m, 1h30m, 90 (seconds)." in lines
    assert "  -n, --namespace NAMESPACE  Of this course or project, not your own namespace." in lines
    assert "  --notify                   Tell me in JupyterLab when it ended." in lines
    columns = {line.index(line[2:].split("  ")[-1].strip()) for line in lines if line.startswith("  -")}
    assert columns == {29}, "all in one column"
    assert "%%%" not in ran.stdout
    assert len(client.jobs(limit=None)) == before


def test_the_line_alone_is_told_to_be_empty(kernel: Kernel) -> None:
    assert "The cell is empty: write the code to run below the %%trainjob line." in refused(
        kernel, "%%trainjob --cpu 1"
    )
    assert kernel.run("%%trainjob?").status == "ok"


def test_errors_of_the_client_are_one_message_in_a_cell_and_a_traceback_in_plain_python(
    kernel: Kernel, served: Served
) -> None:
    ran = kernel.run("from jupyter_trainjob import Client\nClient().job('nope')")
    assert plain(ran.traceback).startswith("NotFound: There is no TrainJob 'nope' in the namespace ")
    assert "list -A" in ran.traceback and len(ran.traceback.splitlines()) == 1
    code = f"from jupyter_trainjob import Client\nClient({served.url!r}, {served.token!r}).job('nope')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Traceback (most recent call last)" in done.stderr and "NotFound: There is no TrainJob" in done.stderr


def test_a_number_that_no_float_holds_is_refused(kernel: Kernel) -> None:
    for options, said in (("--param x=1e999", "no float holds 1e999"), ("--param x=[-1e999]", "no float holds -1e999")):
        assert said in refused(kernel, f"%%trainjob {options}\nx")


def test_parameters_keep_their_types_up_to_the_job(kernel: Kernel) -> None:
    options = '--param lr=NaN --param day=2026-11-22 --param \'text="2026-11-22"\' --param \'tag={"$type": "own"}\''
    ran = kernel.run(f"%%trainjob --block {options}\nprint(repr([lr, day, text, tag]))")
    assert ran.stdout == "[nan, datetime.date(2026, 11, 22), '2026-11-22', {'$type': 'own'}]\n", ran


def test_an_open_file_is_not_sent(kernel: Kernel) -> None:
    kernel.run("handle = open('t.txt', 'w+')")
    said = refused(kernel, "%%trainjob --in handle\nhandle.read()")
    assert "--in handle: it can't be sent: _io.TextIOWrapper: an open file (t.txt) can't be carried" in said
    assert "--files" in said


def test_block_shows_the_jobs_own_traceback_and_no_frames_of_the_client(kernel: Kernel) -> None:
    ran = kernel.run("%%trainjob --block\nx = 1\ny = x / 0")
    assert ran.status == "error" and ran.ename == "JobFailed"
    assert "ZeroDivisionError" in ran.traceback and "y = x / 0" in ran.traceback
    assert "CodeError" in ran.evalue
    for wall in ("jupyter_trainjob/client", "transport.py", "httpx"):
        assert wall not in ran.traceback


def test_variables_and_files_and_parameters_go_along(kernel: Kernel) -> None:
    (kernel.folder / "data").mkdir()
    (kernel.folder / "data" / "a.csv").write_text("1,2\n")
    kernel.run("x = [1, 2, 3]\ndef double(values): return [2 * v for v in values]")
    ran = kernel.run(
        "%%trainjob --block --in x,double --files data/*.csv --param lr=0.1 --param name='a b' --env TOKEN=t --out y\n"
        "import os\ny = [double(x), open('data/a.csv').read(), lr, name, os.environ['TOKEN']]"
    )
    assert ran.status == "ok", ran
    assert kernel.run("print(y)").stdout == "[[2, 4, 6], '1,2\\n', 0.1, 'a b', 't']\n"


def test_an_empty_cell_is_refused(kernel: Kernel) -> None:
    assert "The cell is empty" in refused(kernel, "%%trainjob --name a\n\n   \n")


def test_a_syntax_error_is_shown_at_the_line_as_the_notebook_numbers_it(kernel: Kernel) -> None:
    said = refused(kernel, "%%trainjob\nx = 1\nprint(x\n")
    assert "Nothing was submitted" in said and "line 3 of the cell" in said and "print(x" in said
    said = refused(kernel, "\n%%trainjob --dry-run\n\n%time x = 1\nprint(x\n")
    assert "line 5 of the cell" in said and "print(x" in said


def test_what_fails_in_the_job_is_told_at_the_line_as_the_notebook_numbers_it(kernel: Kernel, client: Client) -> None:
    ran = kernel.run("\n%%trainjob --name wrong --block\n\nx = 1\nx / 0")
    assert ran.status == "error" and "line 5" in plain(ran.traceback)
    job = client.job("wrong")
    assert job.error["line"] == 5 and "(line 5)" in job.status["message"]


def test_ipythons_own_syntax_is_no_syntax_error(kernel: Kernel) -> None:
    ran = kernel.run("%%trainjob --dry-run\n!ls\nfiles = !ls\n%time x = 1\nawait asyncio.sleep(0)")
    assert ran.status == "ok", ran
    assert "Nothing was submitted. It would be Queued" in ran.stdout


def test_dry_run_submits_nothing(kernel: Kernel, client: Client) -> None:
    before = len(client.jobs(limit=None))
    ran = kernel.run("%%trainjob --dry-run --cpu 1 --memory 256Mi\nprint(1)")
    assert ran.status == "ok" and "memory 256Mi" in ran.stdout
    assert len(client.jobs(limit=None)) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--memroy 1Gi", "unknown option --memroy. Did you mean --memory"),
        ("--zzz", "unknown option --zzz. Known are: --block"),
        ("digits", "'digits' is one word too many"),
        ("--gpu many", "'many' is no whole number"),
        ("--name 'a", "No closing quotation"),
        ("--time-limit soon", "'soon' is no duration. Write for example 90"),
        ("--param lr", "--param lr: there is no '='. Write --param name=value."),
        ("--in nope", "--in nope: the notebook has no variable of this name."),
        ("--files nothing*", "--files nothing*: no file in"),
        ("--files ../x", "--files ../x leaves the notebook's folder"),
        ("--files /etc/passwd", "--files /etc/passwd leaves the notebook's folder"),
        ("--memory 1Gb", "unknown unit 'Gb'"),
        ("--memory -1Gi", "-1Gi is not more than nothing"),
        ("--cpu 100000", "100000 CPUs are more than any machine has"),
        ("--name ../x", "a name has 1 to 57 lower-case letters"),
        ("--param lrr=1", "the cell uses no such name"),
    ],
)
def test_a_mistake_is_one_clear_message(kernel: Kernel, options: str, said: str) -> None:
    assert said in refused(kernel, f"%%trainjob {options}\nlr = 1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--profile nope", "nope"),
        ("--queue nope", "nope"),
        ("--namespace nope", "nope"),
        ("--depends-on nope", "nope"),
    ],
)
def test_what_is_not_there_is_named(kernel: Kernel, options: str, said: str) -> None:
    text = refused(kernel, f"%%trainjob {options}\nprint(1)")
    assert said in text and " no " in text


def test_variables_that_can_not_be_sent_are_named_with_the_reason(kernel: Kernel) -> None:
    kernel.run(
        "import threading, os\nclass Model: pass\n"
        "model = Model(); model.parts = {'lock': threading.Lock()}\nvalues = [1]"
    )
    said = refused(kernel, "%%trainjob --in model\nprint(model)")
    assert "--in model: it can't be sent: model.parts['lock'] (_thread.lock): cannot pickle" in said
    assert "--in os: it is the module os" in refused(kernel, "%%trainjob --in os\nprint(os)")
    assert "Did you mean values?" in refused(kernel, "%%trainjob --in value\nprint(value)")


def test_links_among_the_files_are_named(kernel: Kernel) -> None:
    (kernel.folder / "link.csv").symlink_to("/etc/passwd")
    assert "link.csv is a symbolic link" in refused(kernel, "%%trainjob --files *.csv\nprint(1)")


def test_a_cell_of_50_megabytes_is_refused_before_it_is_sent(kernel: Kernel) -> None:
    ran = kernel.run(
        "from IPython.core.error import UsageError\n"
        "try:\n    get_ipython().run_cell_magic('trainjob', '', 'x = \"' + 'a' * 50_000_000 + '\"')\n"
        "except UsageError as error: print(error)"
    )
    assert ran.stdout.startswith("The cell is 47.7 MiB, the limit is 1 MiB.")


def test_the_front_ends_cell_id_goes_along(kernel: Kernel, client: Client) -> None:
    message = kernel.client.session.msg(
        "execute_request",
        {
            "code": "%%trainjob --name celled --hold\nprint(1)",
            "silent": False,
            "store_history": True,
            "allow_stdin": False,
        },
        metadata={"cellId": "cell-7"},
    )
    kernel.client.shell_channel.send(message)
    kernel.reply(message["header"]["msg_id"])
    job = client.job("celled")
    assert job.spec["source"]["cellId"] == "cell-7"
    job.cancel()


def test_help_names_every_option(kernel: Kernel) -> None:
    ran = kernel.run("print(get_ipython().find_cell_magic('trainjob').__doc__)")
    for option in ("--in", "--out", "--files", "--keep", "--env", "--label", "--depends-on", "--retries", "--block"):
        assert option in ran.stdout
    assert "%%%%" not in ran.stdout


def test_html_escapes_what_others_wrote() -> None:
    from jupyter_trainjob.client.view import JobView

    evil = "<script>alert(1)</script>"
    view = JobView({"metadata": {"name": evil, "uid": "u"}, "status": {"phase": "Failed", "message": evil}})
    bundle = view.mimebundle([evil])
    assert "<script>" not in bundle["text/html"] and "&lt;script&gt;" in bundle["text/html"]
    assert json.dumps(bundle[MIME])
