from __future__ import annotations

import os
from pathlib import Path

import optuna
import pytest

from rllama_sb3.errors import ConfigError, MissingExtraError
from rllama_sb3.optimization import open_storage
from rllama_sb3.optimization.storage import opening
from rllama_sb3.optimization.storage.url import hide_passwords, is_same_storage


def message_of(url: object) -> str:
    with pytest.raises(ConfigError, match=r"^storage: ") as caught:
        open_storage(url)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_file_and_its_folder_are_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "study.db"
    optuna.create_study(storage=open_storage(f"sqlite:///{path}"))
    assert path.exists()


def test_a_storage_of_optuna_is_taken_as_it_is() -> None:
    memory = optuna.storages.InMemoryStorage()
    assert open_storage(memory) is memory


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("study.db", "got 'study.db'. Write for example sqlite:///study.db."),
        ("mongodb://me:secret@host/db", "got 'mongodb://...'. Write for example"),
        ("sqllite:///study.db", "Did you mean 'sqlite'?"),
        ("postgres://me:secret@host/db", "Did you mean 'postgresql'?"),
        ("postgresql://me:secret@host:port/db", "Write scheme://user:password@host:port/database"),
        ("me:secret@host", "must be a URL"),
        ("grcp://host:13000", "Did you mean 'grpc'?"),
        ("mysql+nodriver://me:secret@host/db?password=secret", "must use a database driver"),
        ("me:secret@postgresql://host/db", "got '<text with @>'"),
        ("postgresql://me:half@secret@host/db", "Write %40 for an @ in the password"),
        ("postgresql:///me:secret@host/db", "Write %40 for an @ in the password"),
        ("mysql+nodriver://me:secret@host/db", "plugin: sqlalchemy.dialects:mysql.nodriver)"),
        ("grpc://me:secret@host:13000", "must be grpc://host:port and no more"),
        ("grpc://host:13000/study?password=secret", "must be grpc://host:port and no more"),
        (7, "must be a URL, an Optuna storage or None, but got 7"),
    ],
)
def test_what_is_no_storage_is_told_without_its_password(url: object, words: str) -> None:
    message = message_of(url)
    assert words in message
    assert "secret" not in message


def test_a_file_that_is_no_database_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but a page of notes\n" * 10)
    assert "file is not a database" in message_of(f"sqlite:///{path}")
    assert path.read_text().startswith("not a database")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "must be a file, not a folder" in message_of(f"sqlite:///{tmp_path}")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "must be a file in a folder that can be made" in message_of(
        f"sqlite:///{tmp_path}/file/study.db"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "must be a database" in message_of(f"sqlite:///{tmp_path}/study.db")


def test_the_missing_postgres_driver_is_told_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise ImportError("no driver")

    monkeypatch.setattr(opening, "PatientDatabase", refuse)
    with pytest.raises(MissingExtraError, match=r"pip install 'rllama-sb3\[postgres\]'"):
        open_storage("postgresql://me:secret@host/db")


def test_the_missing_driver_of_mysql_is_told_by_its_name() -> None:
    # Not a dependency of anything here.
    message = message_of("mysql+pymysql://me:secret@host/db")
    assert "must use a database driver that is installed (No module named 'pymysql')" in message
    assert "me:***@host/db" in message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host/db#study", "postgresql://me:***@host/db#study"),
        ("--storage=mysql+x://me:se@c/r#e:t@host", "--storage=mysql+x://me:***@host"),
        ("postgresql://me@host/db#study", "postgresql://me@host/db#study"),
        (
            "postgresql://h/db?host=a&password=s&x=s#n",
            "postgresql://h/db?host=a&password=***&x=***#n",
        ),
        ("sqlite:///a/study.db#me@home", "sqlite:///a/study.db#me@home"),
        ("reward.me@home=a?b=c", "reward.me@home=a?b=c"),
    ],
)
def test_an_argument_is_shown_without_the_password_of_a_url(text: str, shown: str) -> None:
    assert hide_passwords(text) == shown


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("postgresql://me:a@host/db", "postgresql+psycopg://you@host/db", True),
        ("postgresql://me@host/db", "postgresql://me@host/other", False),
        ("postgresql:///db?host=/one", "postgresql:///db?host=/other", False),
        ("sqlite:///a/../study.db", "sqlite:///study.db", True),
        ("sqlite:///study.db", "mysql://host/study.db", False),
    ],
)
def test_storages_are_the_same_whoever_asks(one: str, other: str, is_same: bool) -> None:
    assert is_same_storage(one, other) is is_same


def test_braces_in_a_path_are_no_placeholders(tmp_path: Path) -> None:
    open_storage(f"sqlite:///{tmp_path}/{{run}}.db")
    assert (tmp_path / "{run}.db").exists()
