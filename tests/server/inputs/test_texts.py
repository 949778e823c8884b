"""Tests which texts stand for a picture's bytes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.inputs.texts import bytes_of
from server.problems import Problem


@given(st.binary(min_size=1), st.sampled_from(["plain", "lines", "url-safe", "unpadded", "data", "DATA"]))
def test_base64_is_read_in_every_form_that_encoders_write(data: bytes, form: str) -> None:
    text = base64.b64encode(data).decode()
    forms = {
        "plain": text,
        "lines": base64.encodebytes(data).decode(),
        "url-safe": base64.urlsafe_b64encode(data).decode(),
        "unpadded": text.rstrip("="),
        "data": f"data:image/png;base64,{text}",
        "DATA": f" DATA:image/png;charset=x;BASE64,{text}\n",
    }
    assert bytes_of(forms[form], "image") == data


def test_a_data_url_may_be_percent_encoded() -> None:
    assert bytes_of("data:image/png,%89PNG", "image") == b"\x89PNG"


@pytest.mark.parametrize("text", ["a", "*", "data:image/png;base64", "ü", "data:;base64,?"])
def test_what_is_no_base64_is_refused_by_the_fields_name(text: str) -> None:
    with pytest.raises(Problem) as caught:
        bytes_of(text, "init_images[0]")
    assert (caught.value.status, caught.value.field) == (400, "init_images[0]")
    assert text in caught.value.detail
