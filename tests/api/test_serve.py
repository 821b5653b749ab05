"""A served instance, a real process: people with tokens, and nothing else of jupyter_server."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jupyter_trainjob.api.tokencommand import token_main
from jupyter_trainjob.api.tokens import Person, TokenFile, TokenFileError

from . import processes
from .processes import Running

CELL = {"metadata": {"generateName": "digits"}, "spec": {"source": {"type": "cell", "code": "print(1)"}}}


# The file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.yaml"


def test_a_token_is_known_by_its_hash_only(path: Path) -> None:
    file = TokenFile(path)
    token = file.add(Person("ada", "Ada", ("course",), {"ml": "instructor"}))
    other = file.add(Person("bob"))
    text = path.read_text()
    assert token.rpartition("_")[2] not in text
    assert token.split("_", 2)[2] not in text
    person = TokenFile(path).person_of(token)
    assert person is not None
    assert (person.username, person.groups, dict(person.roles)) == ("ada", ("course",), {"ml": "instructor"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for wrong in ("", "x", token[:-1], token + "x", token[:12] + other[12:], token.upper()):
        assert file.person_of(wrong) is None, wrong
    assert file.namespaces() == {"ml"}


def test_changes_count_at_once(path: Path) -> None:
    file, elsewhere = TokenFile(path), TokenFile(path)
    token = elsewhere.add(Person("ada"))
    assert file.person_of(token) is not None
    second = elsewhere.add(Person("ada", roles={"ml": "viewer"}))
    known = file.person_of(token)
    assert known is not None
    assert dict(known.roles) == {"ml": "viewer"}
    assert elsewhere.revoke("ada", token.split("_")[1]) == 1
    assert file.person_of(token) is None
    assert file.person_of(second) is not None
    assert elsewhere.revoke("ada") == 1
    assert file.person_of(second) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("users: [", "is no YAML at line 1"),
        ("people: {}", "has no mapping 'users'"),
        (
            "users: {ada: {roles: {ml: emperor}}}",
            "'emperor' is no role (of ada in ml). Roles: viewer, member, instructor.",
        ),
        ("users: {ada: {roles: {'A B': member}}}", "'A B' (a role of ada) is no namespace and no 'queue:<name>'."),
        ("users: {ada: {operator: 'yes'}}", "operator of ada is neither true nor false"),
        ("users: {ada: {tokens: [{id: a}]}}", "can't be understood: KeyError('salt')"),
    ],
)
def test_a_file_that_can_not_be_used_says_why(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(TokenFileError) as caught:
        TokenFile(path).people()
    assert message in str(caught.value)


def test_a_file_that_others_may_read_is_refused_with_the_command_that_helps(path: Path) -> None:
    TokenFile(path).add(Person("ada"))
    path.chmod(0o640)
    with pytest.raises(TokenFileError, match=rf"can be read by others \(mode 0640\). Run: chmod 600 {path}"):
        TokenFile(path).people()


READS = """
import os, sys
from pathlib import Path
from jupyter_trainjob.api.tokens import TokenFile
os.setgroups([1000]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
print(*TokenFile(Path(sys.argv[1])).people())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to root")
def test_a_secret_of_a_cluster_is_roots_and_its_pods_group_reads_it() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        path = Path(folder) / "tokens.yaml"
        Path(folder).chmod(0o755)
        TokenFile(path).add(Person("ada"))
        os.chown(path, 0, 1000)
        for mode, said in ((0o440, "ada"), (0o444, "can be read by others (mode 0444)"), (0o460, "(mode 0460)")):
            path.chmod(mode)
            done = subprocess.run([sys.executable, "-c", READS, str(path)], capture_output=True, text=True, timeout=60)
            assert said in done.stdout + done.stderr


def test_a_missing_file_says_how_to_make_one(path: Path) -> None:
    with pytest.raises(TokenFileError, match="jupyter trainjob token create --user NAME"):
        TokenFile(path).people()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(path: Path) -> None:
    TokenFile(path).add(Person("ada"))
    os.chown(path, 12345, 12345)
    if os.geteuid() == 0:
        with pytest.raises(TokenFileError, match=r"belongs to another user \(uid 12345\)"):
            TokenFile(path).people()


# The command


def test_the_command_prints_the_token_alone_and_keeps_what_it_was_told(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = ["--file", str(path)]
    assert (
        token_main(["create", "--user", "ines", "--role", "ml=instructor", "--group", "staff", "--operator", *file])
        == 0
    )
    out, err = capsys.readouterr()
    assert out.strip().startswith("tj_")
    assert out.count("\n") == 1
    assert "shown only now" in err
    person = TokenFile(path).person_of(out.strip())
    assert person is not None
    assert person.operator
    assert person.groups == ("staff",)
    assert token_main(["list", *file]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith("ines: operator, ml=instructor, group staff\n  token ")
    assert out.strip() not in listed
    assert token_main(["revoke", "--user", "ines", *file]) == 0
    assert TokenFile(path).person_of(out.strip()) is None


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["create", "--user", "a", "--role", "ml"], "--role ml: write NAMESPACE=ROLE or queue:NAME=ROLE"),
        (
            ["create", "--user", "a", "--role", "ml=king"],
            "'king' is no role (of a in ml). Roles: viewer, member, instructor.",
        ),
        (["create", "--user", "a\nb"], "is no user name: it must be printable and not empty."),
        (["create", "--user", ""], "'' is no user name"),
        (["list"], "Make it with: jupyter trainjob token create --user NAME"),
    ],
)
def test_mistakes_of_the_command(path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    assert token_main([*argv, "--file", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("jupyter trainjob token: ")


def test_revoking_what_is_not_there(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TokenFile(path).add(Person("ada"))
    assert token_main(["revoke", "--user", "eve", "--file", str(path)]) == 1
    assert "There is no user 'eve'" in capsys.readouterr().err
    assert token_main(["revoke", "--user", "ada", "--id", "nope", "--file", str(path)]) == 1
    assert "ada has no token 'nope'. Those there are: " in capsys.readouterr().err


# The server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def tokens(folder: Path) -> dict[str, str]:
    file = TokenFile(folder / "tokens.yaml")
    people = [
        Person("alice", "Alice A."),
        Person("bob"),
        Person("stu", roles={"ml": "member"}),
        Person("ines", roles={"ml": "instructor"}),
        Person("olga", operator=True),
    ]
    return {person.username: file.add(person) for person in people}


@pytest.fixture(scope="module")
def server(folder: Path, tokens: dict[str, str]) -> Iterator[Running]:
    with processes.service(folder, folder / "tokens.yaml") as found:
        yield found


def send(client: httpx.Client, namespace: str) -> dict[str, Any]:
    answer = client.post(f"/namespaces/{namespace}/trainjobs", json=CELL)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.mark.slow
def test_each_token_is_its_user(server: Running, tokens: dict[str, str]) -> None:
    with server.client(tokens["alice"]) as client:
        me = client.get("/me").json()
        assert (me["username"], me["displayName"], me["operator"]) == ("alice", "Alice A.", False)
        assert "Set-Cookie" not in client.get("/me").headers
    with server.client(tokens["olga"]) as client:
        assert client.get("/me").json()["operator"] is True
        assert {"name": "ml", "role": "operator"} in client.get("/me").json()["namespaces"]


@pytest.mark.slow
def test_two_users_neither_see_nor_touch_each_others_things(server: Running, tokens: dict[str, str]) -> None:
    with server.client(tokens["alice"]) as alice, server.client(tokens["bob"]) as bob:
        job = send(alice, "alice")["metadata"]
        assert job["uid"] not in bob.get("/trainjobs").text
        assert job["uid"] not in bob.get("/changes", params={"since": 0}).text
        for name in (job["name"], job["uid"], "digits"):
            path = f"/namespaces/alice/trainjobs/{name}"
            tries = [bob.get(path), bob.delete(path), bob.patch(path, json={"spec": {"priority": -1}})]
            tries += [bob.post(f"{path}/{verb}") for verb in ("cancel", "hold", "release", "retry")]
            tries += [
                bob.get(f"{path}/{part}") for part in ("log", "why", "outputs", "outputs/notebook", "outputs/files/a")
            ]
            tries += [bob.get(f"/namespaces/bob/trainjobs/{job['uid']}")]
            assert [answer.status_code for answer in tries] == [404] * len(tries), name
        assert bob.get("/namespaces/alice/trainjobs").status_code == 404
        assert bob.post("/namespaces/alice/trainjobs", json=CELL).status_code == 404
        assert alice.get(f"/namespaces/alice/trainjobs/{job['name']}").status_code == 200


@pytest.mark.slow
def test_an_instructor_sees_their_course_and_students_only_their_own(server: Running, tokens: dict[str, str]) -> None:
    with (
        server.client(tokens["stu"]) as stu,
        server.client(tokens["ines"]) as ines,
        server.client(tokens["bob"]) as bob,
    ):
        job = send(stu, "ml")["metadata"]
        path = f"/namespaces/ml/trainjobs/{job['name']}"
        assert job["uid"] in ines.get("/namespaces/ml/trainjobs").text
        assert ines.get(path).status_code == 200
        assert ines.delete(path).status_code == 403
        hers = send(ines, "ml")["metadata"]
        assert stu.get(f"/namespaces/ml/trainjobs/{hers['uid']}").status_code == 404
        assert bob.get(path).status_code == 404


@pytest.mark.slow
def test_nothing_else_of_jupyter_server_answers(server: Running, tokens: dict[str, str], folder: Path) -> None:
    (folder / "secret.txt").write_text("secret")
    headers = {"Authorization": f"token {tokens['olga']}"}
    for method, path in (
        ("GET", "/files/secret.txt"),
        ("GET", "/api/contents/secret.txt"),
        ("PUT", "/api/contents/evil.txt"),
        ("POST", "/api/kernels"),
        ("GET", "/api/kernelspecs"),
        ("POST", "/api/sessions"),
        ("POST", "/api/terminals"),
        ("POST", "/api/shutdown"),
        ("GET", "/api/events/subscribe"),
        ("GET", "/nbconvert/html/secret.txt"),
        ("GET", "/view/secret.txt"),
        ("GET", "/login"),
        ("GET", "/lab"),
        ("GET", "/tree"),
    ):
        answer = httpx.request(method, server.url + path, headers=headers, trust_env=False)
        assert answer.status_code == 404, (method, path, answer.status_code)
        assert "secret" not in answer.text


@pytest.mark.slow
def test_without_a_token_nobody_comes_in(server: Running, tokens: dict[str, str]) -> None:
    with server.client() as client:
        answer = client.get("/me")
        assert answer.status_code == 401
        assert answer.json()["remedy"] == "Send the header 'Authorization: token <token>'."
        assert client.get("/me", params={"token": tokens["alice"]}).status_code == 401  # addresses end up in logs
        assert client.get("/healthz").status_code == 200
    with server.client(tokens["alice"][:-1]) as client:
        assert client.get("/me").json()["message"] == "The token is not one that this server knows."


@pytest.mark.slow
def test_a_revoked_token_and_a_broken_file_close_the_door(
    server: Running, tokens: dict[str, str], folder: Path
) -> None:
    file = TokenFile(folder / "tokens.yaml")
    token = file.add(Person("eve"))
    with server.client(token) as eve, server.client(tokens["alice"]) as alice:
        assert eve.get("/me").status_code == 200
        file.revoke("eve")
        assert eve.get("/me").status_code == 401
        text = file.path.read_text()
        try:
            file.path.write_text("users: [")
            answer = alice.get("/me")
            assert answer.status_code == 503
            assert answer.json()["message"] == "The service can't tell who asks: its token file can't be used."
            assert str(folder) not in answer.text
        finally:
            file.path.write_text(text)
        assert alice.get("/me").status_code == 200


@pytest.mark.slow
def test_a_job_runs_in_a_sandbox_no_weaker_than_namespaces(server: Running, tokens: dict[str, str]) -> None:
    with server.client(tokens["alice"]) as client:
        name = send(client, "alice")["metadata"]["name"]
        deadline = time.monotonic() + 60
        while True:
            job = client.get(f"/namespaces/alice/trainjobs/{name}").json()
            if job["status"]["phase"] in ("Succeeded", "Failed", "Cancelled"):
                break
            assert time.monotonic() < deadline, job["status"]
            time.sleep(0.2)
    assert job["status"]["phase"] == "Succeeded", job["status"]
    assert job["status"]["attempts"][0]["isolation"].startswith("namespaces")


@pytest.mark.slow
def test_it_does_not_start_with_a_file_that_can_not_be_used(folder: Path) -> None:
    path = folder / "open.yaml"
    TokenFile(path).add(Person("ada"))
    path.chmod(0o644)
    with (
        pytest.raises(AssertionError, match=r"the server ended with 1:[\s\S]*can be read by others \(mode 0644\)"),
        processes.service(folder / "refused", path),
    ):
        pass


@pytest.mark.slow
@pytest.mark.slow
def test_it_reads_the_configuration_that_operators_know(tmp_path: Path) -> None:
    """``jupyter_server_config``, as every Jupyter server does: here it names the token file."""
    config = tmp_path / "jupyter_config_dir"
    config.mkdir()
    token = TokenFile(tmp_path / "people.yaml").add(Person("ada"))
    (config / "jupyter_server_config.json").write_text(
        json.dumps({"FileIdentityProvider": {"token_file": str(tmp_path / "people.yaml")}})
    )
    with processes.service(tmp_path, None) as server, server.client(token) as client:
        assert client.get("/me").json()["username"] == "ada"


def test_the_module_serves_as_the_command_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jupyter_trainjob", "serve", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=processes.environment(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "--token-file" in done.stdout
