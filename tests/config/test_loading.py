from __future__ import annotations

from pathlib import Path

import pytest

from rllama_sb3.config.loading import load_reward_config, read_yaml
from rllama_sb3.errors import ConfigError, Problem


def write(folder: Path, text: str, name: str = "a.yaml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_is_read_with_its_lines(tmp_path: Path) -> None:
    file = write(tmp_path, "env:\n  id: CartPole-v1\n")
    document = read_yaml(str(file))
    assert document.data == {"env": {"id": "CartPole-v1"}}
    assert document.locate(("env", "id")) == f"{file}:2"


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert read_yaml(write(tmp_path, "\ufeffa: 1\n")).data == {"a": 1}


def test_a_missing_key_is_located_at_its_nearest_ancestor(tmp_path: Path) -> None:
    file = write(tmp_path, "# comment\na: 1\nenv:\n  kwargs: {}\n")
    document = read_yaml(file)
    assert document.locate(("env", "kwargs", "x", 0)) == f"{file}:4"
    assert document.locate(("env", "id")) == f"{file}:3"
    assert document.locate(("training", "seed")) == f"{file}:2"


def test_attach_fills_in_locations_that_are_not_known_yet(tmp_path: Path) -> None:
    file = write(tmp_path, "a: 1\nb: 2\n")
    attached = read_yaml(file).attach([Problem(("b",), "r"), Problem((), "r", location="x")])
    assert [problem.location for problem in attached] == [f"{file}:2", "x"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a mapping, but is empty"),
        ("# only a comment\n", "must be a mapping, but is empty"),
        ("- 1\n", r"must be a mapping, but got \[1\]"),
        ("hello\n", "must be a mapping, but got 'hello'"),
    ],
)
def test_a_file_must_be_a_mapping(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"a\.yaml:1: {said}\. Write keys at the top level"):
        read_yaml(write(tmp_path, text))


def test_a_missing_file_gets_the_nearest_name_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "a: 1", "mountain_car.yaml")
    missing = tmp_path / "montain_car.yaml"
    with pytest.raises(ConfigError, match="must be an existing file") as caught:
        read_yaml(missing)
    assert str(caught.value) == (
        f"{missing}: must be an existing file. Did you mean 'mountain_car.yaml'?"
    )


def test_a_missing_file_among_many_does_not_list_them_all(tmp_path: Path) -> None:
    for i in range(20):
        write(tmp_path, "", f"config_{i}.yaml")
    with pytest.raises(ConfigError, match=r"must be an existing file\. Check the path\.$"):
        read_yaml(tmp_path / "zzz")
    with pytest.raises(ConfigError, match=r"must be an existing file\. Check the path\.$"):
        read_yaml(tmp_path / "no" / "such" / "a.yaml")


def test_a_directory_is_refused_with_the_files_in_it(tmp_path: Path) -> None:
    write(tmp_path, "")
    with pytest.raises(ConfigError, match=r"not a directory\. Name a file in it: a\.yaml\.$"):
        read_yaml(tmp_path)


def test_an_unreadable_file_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigError, match=r"must be readable \(Permission denied\)\. Check"):
        read_yaml(tmp_path / "a.yaml")


def test_a_path_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be readable \(embedded null byte\)"):
        read_yaml("a\0.yaml")


def test_a_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(ConfigError, match=r"a\.yaml:2: must be UTF-8 text, but got b'\\xe9'\."):
        read_yaml(file)


def test_malformed_yaml_is_told_with_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml:2: must be valid YAML"):
        read_yaml(write(tmp_path, "a: 1\nb: c: 2\n"))


def test_the_reward_of_a_file_is_its_key_reward_shaping(tmp_path: Path) -> None:
    file = write(tmp_path, "reward_shaping:\n  goal: {class: GoalReward}\nagent: {anything: 1}\n")
    assert load_reward_config(file) == {"goal": {"class": "GoalReward"}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reward_shapin: {}\n", r"a\.yaml:1: reward_shaping: missing key\. Did you mean"),
        ("goal: {class: GoalReward}\n", r"missing key\. Indent the components below"),
        ("{}\n", r"a\.yaml:1: reward_shaping: missing key\.$"),
        ("a: 1\nreward_shaping:\n", r"a\.yaml:2: reward_shaping: must be a mapping, but got None"),
    ],
)
def test_a_file_without_components_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_reward_config(write(tmp_path, text))
