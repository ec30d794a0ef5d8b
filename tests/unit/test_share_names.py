"""Which names stay, which become pseudonyms, and what looks like a secret."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import UsageError
from tracekit.share.names import PSEUDONYM, Names, read_allowed, read_key
from tracekit.share.secrets import has_random, names_secret, shapes_of
from tracekit.text import COMM_BYTES

KEY = b"k" * 32
ALLOWED = read_allowed(())


def names(host: str | None = None, *allow: str) -> Names:
    return Names(KEY, read_allowed(allow) if allow else ALLOWED, host)


def masked(text: str) -> str:
    return PSEUDONYM.sub("X", text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("/usr/bin/../../home/alice/acme", "/usr/bin/../../home/X/X"),
        ("/usr/local/lib/acme.so", "/usr/local/lib/X.so"),
        ("/etc/passwd", "/etc/passwd"),
        ("/etc/acme/customers.conf", "/etc/X/X.conf"),
        ("/home/alice/.ssh/id_rsa", "/home/X/X/X"),
        ("/proc/4711/status", "/proc/4711/status"),
        ("/proc/4711/root/home/alice", "/proc/X/root/home/X"),
        ("/proc/../home/alice", "/proc/../home/X"),
        ("/srv/app/worker.conf.local", "/srv/X/X.conf.local"),
        ("relative/alice.txt", "X/X.txt"),
        ("./data//log/", "./data//log/"),
        ("/run/user/0/bus", "/run/user/0/X"),
        ("/system.slice/acme-billing.service", "/system.slice/X.service"),
        ("/system.slice/systemd-journald.service", "/system.slice/systemd-journald.service"),
        ("/data/4711", "/data/X"),
        ("/usr/lib/ghp_" + "a1" * 18, "/usr/lib/X"),
        ("", ""),
        ("\x00\u202e/\udcff".encode("utf-8", "surrogatepass").decode("utf-8", "replace"), "X/X"),
    ],
)
def test_paths(path: str, expected: str) -> None:
    assert masked(names().path(path)) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("-n", "-n"),
        ("100", "100"),
        ("0.25", "0.25"),
        ("12345", "X"),
        ("--max-count", "--max-count"),
        ("--user=alice", "--user=X"),
        ("--password=postgres", "--password=X"),
        ("DB_PASSWORD=postgres", "X=X"),
        ("-psecret", "X"),
        ("-u", "-u"),
        ("root:hunter2", "X"),
        ("if=/dev/zero", "X=/dev/zero"),
        ("of=/home/alice/disk.img", "X=/home/X/X"),
        ("/usr/bin/python3", "/usr/bin/python3"),
        ("grep", "grep"),
        ("https://alice:pw@acme.example/login?token=1", "https://X/X"),
        ("Authorization: Bearer abcdefgh", "X"),
        ("a=" * 5000, "X=X"),
        ("--customer-" + "x" * 40, "X"),
    ],
)
def test_arguments(argument: str, expected: str) -> None:
    assert masked(names().argument(argument)) == expected


def test_the_host_never_stays() -> None:
    with_host = names("nginx.example.com")
    assert masked(with_host.component("nginx")) == "X"
    assert masked(with_host.path("/usr/lib/nginx/modules")) == "/usr/lib/X/X"
    assert masked(with_host.path("/var/log/nginx.example.com.log")) == "/var/log/X.log"
    assert with_host.path("/usr/share/nginxes") == "/usr/share/nginxes"
    assert names("localhost").component("localhost") == "localhost"


def test_users() -> None:
    one = names()
    assert [one.user(uid) for uid in (-1, 0, 33, 999, 65534)] == [-1, 0, 33, 999, 65534]
    alice, bob = one.user(1000), one.user(1001)
    assert alice != bob
    assert 1 << 31 <= min(alice, bob) <= max(alice, bob) < 1 << 32
    assert one.user(alice) == alice
    assert one.path("/user.slice/user-1000.slice/user@1000.service").count(str(alice)) == 2
    assert one.path("/run/user/1000/bus").startswith(f"/run/user/{alice}/")


def test_more_may_stay(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("# ours\n/opt/acme/**\nacme*\n\n.acme\n")
    allowed = names(None, f"@{own}", "billing")
    assert allowed.path("/opt/acme/lib/x") == "/opt/acme/lib/x"
    assert allowed.component("acmed") == "acmed"
    assert masked(allowed.path("/srv/billing/customer.acme")) == "/srv/billing/X.acme"
    # What looks like a secret goes all the same.
    assert masked(allowed.path("/opt/acme/AKIAIOSFODNN7EXAMPLE")) == "/opt/acme/X"
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no text"):
        read_allowed([f"@{binary}"])
    with pytest.raises(UsageError, match="No such file"):
        read_allowed([f"@{tmp_path / 'none'}"])


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_pseudonym_is_of_one_name(one: str, other: str) -> None:
    first, again = names(), names()
    assert (first.component(one) == again.component(other)) == (one == other)
    assert first.component(first.component(one)) == first.component(one)
    assert first.component(one) == one or len(first.pseudonym(one)) <= COMM_BYTES
    assert Names(b"l" * 32, ALLOWED).pseudonym(one) != first.pseudonym(one)


@given(st.lists(st.text(st.characters(exclude_characters="/"), max_size=8), max_size=6).map("/".join))
def test_the_shape_of_a_tree_stays(path: str) -> None:
    replaced = names().path(path)
    assert [part == "" for part in replaced.split("/")] == [part == "" for part in path.split("/")]


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("-----BEGIN RSA PRIVATE KEY-----", "private key"),
        ("postgres://app:pw@db.example/x", "URL with credentials"),
        ("--db-password=hunter2", "password in an argument"),
        ('{"api_key": "abc"}', "password in an argument"),
        ("Authorization: Bearer abcdef123456", "authorization header"),
        ("AKIAIOSFODNN7EXAMPLE", "AWS access key"),
        ("ghp_" + "a" * 36, "GitHub token"),
        ("github_pat_" + "A1" * 20, "GitHub token"),
        ("glpat-" + "a1" * 10, "GitLab token"),
        ("xoxb-123456789012-abcdef", "Slack token"),
        ("AIza" + "B" * 35, "Google key"),
        ("sk_live_" + "a1" * 8, "Stripe key"),
        ("sk-proj-" + "a1" * 12, "API key"),
        ("npm_" + "a1" * 18, "package registry token"),
        ("hvs." + "a1" * 12, "vault token"),
        ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.sig", "JSON web token"),
        ("$6$saltsalt$" + "aB1" * 10, "password hash"),
    ],
)
def test_shapes(text: str, shape: str) -> None:
    assert shapes_of(text) == (shape,)
    assert shapes_of(f"x {text} y")[0] == shape
    assert shapes_of(names().argument(text)) == ()


@pytest.mark.parametrize(
    "text",
    [
        "/usr/lib/python3/dist-packages/passwords.py",
        "--password-file",
        "/etc/pam.d/common-password",
        "http://localhost:8080/x@y",
        "--output=table",
        "x-abcdefghij",
        "--password=x-abcdefghij",
        "systemd-private",
    ],
)
def test_what_is_no_secret(text: str) -> None:
    assert shapes_of(text) == ()
    assert not has_random(text)


def test_random_text() -> None:
    assert has_random("/var/lib/docker/0f3a9c1d5e7b2468ace013579bdf8642ffee00112233445566778899aabbccdd")
    assert has_random("q9Zk2Lr8Xw4Tn6Vb1Mc3Hs7Jd5Gf0PyAeUiO")
    assert not has_random("a-very-long-name-of-a-file-with-2-numbers-in-it-and-more")
    assert not has_random("0" * 64)


def test_options_that_are_followed_by_a_secret() -> None:
    assert all(
        map(names_secret, ("--password", "--db-password", "-token", "API_KEY", "PGPASSWORD", "--aws.secret-access-key"))
    )
    assert not any(map(names_secret, ("--user", "compass", "--passes", "--tokenizer", "-p")))


def test_a_key_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = read_key(path)
    assert key == read_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(read_key(None)) >= 32
    assert read_key(None) != read_key(None)
    path.write_text("short\n")
    with pytest.raises(UsageError, match="less than 32 bytes"):
        read_key(path)
    with pytest.raises(UsageError, match="cannot be made"):
        read_key(tmp_path / "no" / "key")
