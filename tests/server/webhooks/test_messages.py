"""The signature of webhooks is that of Standard Webhooks."""

from __future__ import annotations

import pytest

from server.command_line import BadSettings, read_settings
from server.settings import webhook_key
from server.webhooks.messages import signed


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example is that of the specification's own libraries."""
    key = webhook_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert "webhook-signature" not in signed("msg_1", 0, b"", None)
    assert webhook_key("any other text") == b"any other text"


@pytest.mark.parametrize(
    "secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "whsec_not base64 at all", "whsec_ääääääääääää"]
)
def test_a_mistyped_secret_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("SD_WEBHOOK_SECRET", secret)
    with pytest.raises(BadSettings, match=r"SD_WEBHOOK_SECRET: .*base64 after whsec_") as caught:
        read_settings({"backend": "instant"})
    assert secret not in str(caught.value)
