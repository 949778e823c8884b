"""Flags win over the environment, which wins over defaults; bad values are refused before anything starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.command_line import BadSettings, read_settings
from server.settings import PREFIX, Settings

HASH = "0" * 64


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def test_the_defaults_start_a_server_for_this_machine_alone() -> None:
    settings = read_settings({})
    assert settings.loopback
    assert settings.api_keys == {}
    assert settings.dialects == ("comfyui", "sdapi", "openai", "replicate", "huggingface")


def test_flags_win_over_the_environment_and_that_over_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SD_PORT", "9000")
    monkeypatch.setenv("SD_MAX_QUEUED", "5")
    settings = read_settings({"port": "9001"})
    assert (settings.port, settings.max_queued, settings.max_attempts) == (9001, 5, 3)


def test_texts_become_what_they_stand_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SD_DIALECTS", "openai, sdapi")
    monkeypatch.setenv("SD_API_KEYS", f"alice:{HASH}, bob:{'1' * 64}")
    monkeypatch.setenv("SD_RETENTION_SECONDS", "none")
    monkeypatch.setenv("SD_MODEL_ALIASES", "dall-e-3:sub/b.safetensors, v:1:c")
    settings = read_settings({"memory_budget": "12GiB", "anonymous": "false", "retention_jobs": "none"})
    assert settings.dialects == ("openai", "sdapi")
    assert settings.api_keys == {"alice": HASH, "bob": "1" * 64}
    assert settings.model_aliases == {"dall-e-3": "sub/b.safetensors", "v:1": "c"}
    assert settings.memory_budget == 12 * 2**30
    assert settings.retention_seconds is None
    assert settings.retention_jobs is None
    assert read_settings({"dialects": ""}).dialects == ()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("port", "70000", "65535"),
        ("port", "http", "integer"),
        ("dtype", "float8", "'bfloat16'"),
        ("dialects", "openai,gradio", "'comfyui'"),
        ("public_url", "example.org", "https://example.org"),
        ("public_url", "https://example.org/?a=1", "https://example.org"),
        ("cors_origins", "https://example.org/page", "without a path"),
        ("max_body_bytes", "1", "1024"),
        ("retention_seconds", "0", "greater than 0"),
        ("drain_seconds", "inf", "finite"),
        ("log_level", "loud", "'debug'"),
        ("device", "tpu", "cuda"),
        ("model_aliases", "dall-e-3", "ALIAS:NAME"),
        ("model_aliases", "a:b,dall-e-3:", "ALIAS:NAME"),
        ("model_aliases", "a:b,a:c", "each alias once"),
    ],
)
def test_a_bad_value_is_refused_by_setting_value_and_what_is_allowed(
    name: str, value: str, allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadSettings) as by_flag:
        read_settings({name: value})
    assert f"--{name.replace('_', '-')}: " in str(by_flag.value)
    monkeypatch.setenv(f"SD_{name.upper()}", value)
    with pytest.raises(BadSettings) as by_variable:
        read_settings({})
    message = str(by_variable.value)
    assert f"SD_{name.upper()}: " in message
    assert value.rpartition(",")[2] in message
    assert allowed in message


def test_several_bad_values_are_reported_together() -> None:
    with pytest.raises(BadSettings, match=r"(?s)--port.*--max-steps"):
        read_settings({"port": "-1", "max_steps": "0"})


def test_a_misspelt_variable_is_refused_and_another_programs_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SD_CARD_PATH", "/mnt")
    assert read_settings({}).port == 8000
    monkeypatch.setenv("SD_MAX_QEUED", "5")
    with pytest.raises(BadSettings, match=r"SD_MAX_QEUED.*SD_MAX_QUEUED"):
        read_settings({})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_other_machines_are_let_in_with_keys_or_by_name_only(host: str) -> None:
    with pytest.raises(BadSettings, match=r"(?s)host.*key NAME.*--anonymous true"):
        read_settings({"host": host})
    assert not read_settings({"host": host, "anonymous": "true"}).loopback
    assert not read_settings({"host": host, "api_keys": f"alice:{HASH}"}).loopback


def test_keys_and_letting_everybody_in_exclude_each_other() -> None:
    with pytest.raises(BadSettings, match=r"anonymous.*api_keys"):
        read_settings({"anonymous": "true", "api_keys": f"alice:{HASH}"})


@pytest.mark.parametrize(
    "keys", ["alice", f"al ice:{HASH}", f":{HASH}", f"a:{HASH},a:{'1' * 64}", "alice:sd-plain-key"]
)
def test_keys_that_are_none_are_refused_without_showing_them(keys: str) -> None:
    with pytest.raises(BadSettings) as refused:
        read_settings({"api_keys": keys})
    assert "--api-keys" in str(refused.value)
    assert "sd-plain-key" not in str(refused.value)
    assert HASH not in str(refused.value)


def test_secrets_are_not_shown() -> None:
    settings = Settings(webhook_secret="a-secret-of-length", api_keys={"alice": HASH})
    assert "a-secret" not in repr(settings)
    assert HASH not in repr(settings)
    with pytest.raises(BadSettings) as refused:
        read_settings({"webhook_secret": "short"})
    assert "'short'" not in str(refused.value)


def test_a_model_that_is_not_there_is_reported_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"--model: .*'nowhere'"):
        read_settings({"model": "nowhere"})
    with pytest.raises(BadSettings, match="put AWPainting"):
        read_settings({"models_folders": str(tmp_path)})
    assert read_settings({"models_folders": str(tmp_path), "backend": "instant"}).backend == "instant"


def test_settings_are_the_engines_where_they_are_about_it() -> None:
    config = read_settings(
        {"unet_rows": "4", "batching": "fast", "device": "cpu", "max_in_flight": "3"}
    ).engine_config()
    assert (config.unet_rows, config.batching, config.device, config.max_in_flight) == (4, "fast", "cpu", 3)


def test_the_earlier_name_of_the_models_folder_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SD_MODELS_FOLDER", "/srv/models")
    assert Settings().models_folders == (Path("/srv/models"),)
    assert Settings(models_folders=(Path("/own"),)).models_folders == (Path("/own"),)
    monkeypatch.setenv("SD_MODELS_FOLDERS", "/a,/b")
    assert Settings().models_folders == (Path("/a"), Path("/b"))
